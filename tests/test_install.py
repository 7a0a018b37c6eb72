"""What a user may rely on from the first start, and from every start after it.  No pip, no network."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from engine import install

ROOT = Path(__file__).resolve().parent.parent

# What nvidia-smi says of one GPU: "driver version, compute capability".  The capabilities are NVIDIA's
# (developer.nvidia.com/cuda-gpus), and so are the oldest drivers: 580 for CUDA 13, 525 for CUDA 12.
RTX_4090_NEW_DRIVER = "580.65.06, 8.9\n"
RTX_4090_OLD_DRIVER = "550.54.14, 8.9\n"
RTX_5090_NEW_DRIVER = "581.15, 12.0\n"
RTX_5090_OLD_DRIVER = "572.16, 12.0\n"
GTX_1080_NEW_DRIVER = "580.65.06, 6.1\n"
T4_ANCIENT_DRIVER = "470.82.01, 7.5\n"


class Machine:
    """A computer without packages, whose pip keeps a list of what it was asked and obeys `refuses`."""

    def __init__(self) -> None:
        self.system = "Linux"
        self.nvidia_smi = ""
        self.torch: str | None = None
        self.pip_calls: list[tuple[str, ...]] = []
        self.refuses: Callable[[tuple[str, ...]], str] = lambda arguments: ""

    def pip(self, *arguments: str) -> str:
        self.pip_calls.append(arguments)
        return self.refuses(arguments)

    def start(self, *options: str) -> int:
        """One start of the program; pip_calls then tells what this start installed."""
        self.pip_calls = []
        return install.main(options)


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    machine = Machine()
    pyproject = tmp_path / "pyproject.toml"
    pyproject.write_text(
        '[project]\ndependencies = ["torch==2.13.0", "gradio>=6"]\n'
        '[project.optional-dependencies]\ndev = ["pytest>=9"]\n'
    )
    monkeypatch.setattr(install, "PYPROJECT", pyproject)
    monkeypatch.setattr(install, "STAMP", tmp_path / "stamp.json")
    monkeypatch.setattr(install, "run_pip", machine.pip)
    monkeypatch.setattr(install, "ask_nvidia_smi", lambda: machine.nvidia_smi)
    monkeypatch.setattr(install, "installed_torch", lambda: machine.torch)
    monkeypatch.setattr("platform.system", lambda: machine.system)
    monkeypatch.setattr("platform.machine", lambda: "x86_64")
    return machine


@pytest.mark.parametrize(
    ("nvidia_smi", "build"),
    [
        (RTX_4090_NEW_DRIVER, "cu130"),
        (RTX_4090_OLD_DRIVER, "cu126"),
        (RTX_5090_NEW_DRIVER, "cu130"),
        (RTX_5090_OLD_DRIVER, None),  # only cu130 has Blackwell kernels, and this driver cannot run it
        (GTX_1080_NEW_DRIVER, "cu126"),  # CUDA 13 has no Pascal kernels
        (T4_ANCIENT_DRIVER, None),
        (GTX_1080_NEW_DRIVER + RTX_4090_NEW_DRIVER, "cu130"),  # the better card decides
        ("", None),
        ("580.65.06, [N/A]\nNo devices were found\n", None),
    ],
)
def test_the_cuda_build_runs_on_the_driver_and_the_gpu(nvidia_smi: str, build: str | None) -> None:
    assert install.cuda_build(nvidia_smi) == build


def test_a_linux_gpu_gets_the_plain_wheel_of_pypi() -> None:
    assert install.torch_requirement("Linux", "x86_64", "cu130") == [["torch==2.13.0"]]


def test_an_apple_chip_gets_the_plain_wheel_of_pypi() -> None:
    assert install.torch_requirement("Darwin", "arm64", None) == [["torch==2.13.0"]]


@pytest.mark.parametrize(("system", "cuda"), [("Windows", "cu130"), ("Windows", "cu126"), ("Linux", "cu126")])
def test_a_gpu_never_gets_a_wheel_that_cannot_see_it(system: str, cuda: str) -> None:
    attempts = install.torch_requirement(system, "x86_64", cuda)
    assert all(f"torch==2.13.0+{cuda}" in attempt for attempt in attempts)
    assert f"https://download.pytorch.org/whl/{cuda}" in attempts[-1]


@pytest.mark.parametrize("system", ["Linux", "Windows"])
def test_without_a_gpu_the_small_cpu_wheel_is_tried_before_the_plain_one(system: str) -> None:
    configured, from_pytorch, plain = install.torch_requirement(system, "x86_64", None)
    assert configured == ["torch==2.13.0+cpu"]
    assert "torch==2.13.0+cpu" in from_pytorch
    assert "https://download.pytorch.org/whl/cpu" in from_pytorch
    assert "--timeout" in from_pytorch, "an unreachable host must not hang the first start"
    assert plain == ["torch==2.13.0"]


def test_the_first_start_installs_torch_and_then_the_packages_of_pyproject(machine: Machine) -> None:
    assert machine.start() == 0
    assert machine.pip_calls == [("install", "torch==2.13.0+cpu"), ("install", "torch==2.13.0", "gradio>=6")]


def test_the_second_start_runs_no_pip(machine: Machine) -> None:
    machine.start()
    assert machine.start() == 0
    assert machine.pip_calls == []


def test_a_dev_install_serves_a_plain_start_but_not_the_other_way_round(machine: Machine) -> None:
    machine.start()
    machine.start("--dev")
    assert "pytest>=9" in machine.pip_calls[-1]
    machine.start()
    assert machine.pip_calls == []


def test_an_update_of_the_program_installs_what_it_newly_needs(machine: Machine) -> None:
    machine.start()
    machine.torch = "2.13.0+cpu"
    install.PYPROJECT.write_text('[project]\ndependencies = ["torch==2.13.0", "gradio>=7"]\n')
    machine.start()
    assert machine.pip_calls == [("install", "torch==2.13.0", "gradio>=7")]


def test_an_unreachable_cpu_index_falls_back_to_the_plain_wheel(machine: Machine) -> None:
    machine.refuses = lambda arguments: "NewConnectionError" if "torch==2.13.0+cpu" in arguments else ""
    assert machine.start() == 0
    assert machine.pip_calls[2] == ("install", "torch==2.13.0")


def test_an_install_that_broke_off_is_not_taken_for_the_one_before_it(machine: Machine) -> None:
    machine.start()
    machine.refuses = lambda arguments: "broken"
    assert machine.start("--dev") == 1
    machine.refuses = lambda arguments: ""
    machine.start()
    assert machine.pip_calls != []


def test_a_full_disk_is_not_filled_by_a_bigger_download(machine: Machine) -> None:
    machine.refuses = lambda arguments: "[Errno 28] No space left on device"
    assert machine.start() == 1
    assert len(machine.pip_calls) == 1


@pytest.mark.parametrize("step", ["torch==2.13.0", "gradio>=6"])
def test_a_step_that_failed_is_done_again_by_the_next_start(machine: Machine, step: str) -> None:
    machine.refuses = lambda arguments: "broken" if step in arguments or step + "+cpu" in arguments else ""
    assert machine.start() == 1
    machine.refuses = lambda arguments: ""
    assert machine.start() == 0
    assert any(step in call for call in machine.pip_calls)


def test_ctrl_c_leaves_the_rest_to_the_next_start(machine: Machine) -> None:
    def interrupted(arguments: tuple[str, ...]) -> str:
        raise KeyboardInterrupt

    machine.refuses = interrupted
    assert machine.start() == 1
    machine.refuses = lambda arguments: ""
    machine.start()
    assert len(machine.pip_calls) == 2


def test_a_stamp_cut_short_by_a_power_failure_is_not_trusted(machine: Machine) -> None:
    install.STAMP.write_text('{"torch": "2.13')
    machine.start()
    assert len(machine.pip_calls) == 2


@pytest.mark.parametrize(
    ("system", "torch", "nvidia_smi"),
    [
        ("Linux", "2.13.0+cpu", ""),
        ("Linux", "2.13.0", ""),  # a CUDA build computes on the CPU as well
        ("Linux", "2.13.0", RTX_4090_NEW_DRIVER),  # how PyPI's cu130 wheel calls itself
        ("Windows", "2.13.0+cu130", RTX_4090_NEW_DRIVER),
        ("Windows", "2.13.0", ""),
    ],
)
def test_the_right_torch_is_left_alone(machine: Machine, system: str, torch: str, nvidia_smi: str) -> None:
    machine.system, machine.torch, machine.nvidia_smi = system, torch, nvidia_smi
    machine.start()
    assert machine.pip_calls == [("install", "torch==2.13.0", "gradio>=6")]


@pytest.mark.parametrize(
    ("system", "torch", "nvidia_smi"),
    [
        ("Linux", "2.12.1+cpu", ""),
        ("Linux", "2.13.0+cpu", RTX_4090_NEW_DRIVER),
        ("Linux", "2.13.0", RTX_4090_OLD_DRIVER),
        ("Windows", "2.13.0", RTX_4090_NEW_DRIVER),  # PyPI's Windows wheel knows no GPU
    ],
)
def test_a_wrong_torch_is_removed_first(machine: Machine, system: str, torch: str, nvidia_smi: str) -> None:
    """Not only replaced: for pip an installed 2.13.0+cpu already satisfies torch==2.13.0."""
    machine.system, machine.torch, machine.nvidia_smi = system, torch, nvidia_smi
    machine.start()
    assert machine.pip_calls[0] == ("uninstall", "--yes", "torch")
    assert machine.pip_calls[1][1].startswith("torch==2.13.0")


def test_a_new_graphics_card_is_noticed(machine: Machine) -> None:
    machine.start()
    machine.torch, machine.nvidia_smi = "2.13.0+cpu", RTX_4090_NEW_DRIVER
    machine.start()
    assert ("install", "torch==2.13.0") in machine.pip_calls


@pytest.mark.parametrize(
    ("pip_says", "advice"),
    [
        (
            "ERROR: Could not install packages: [Errno 28] No space left on device",
            "disk is full",
        ),
        (
            "WARNING: Retrying (Retry(total=4)) after connection broken by 'NewConnectionError(...)'\n"
            "ERROR: No matching distribution found for torch==2.13.0",
            "internet connection",
        ),
        ("ERROR: No matching distribution found for torch==2.13.0", "no package for Python"),
        ("ERROR: something new", "something new"),
    ],
)
def test_a_failure_ends_with_the_step_and_the_cure(
    machine: Machine, capsys: pytest.CaptureFixture[str], pip_says: str, advice: str
) -> None:
    machine.refuses = lambda arguments: pip_says
    assert machine.start() == 1
    complaint = capsys.readouterr().err
    assert advice in complaint
    assert "PyTorch could not be installed" in complaint.splitlines()[-1]


def test_an_intel_mac_is_told_that_there_is_no_pytorch_for_it(
    machine: Machine, capsys: pytest.CaptureFixture[str]
) -> None:
    machine.system = "Darwin"
    assert machine.start() == 1
    assert "Intel Mac" in capsys.readouterr().err


def test_the_stamp_says_what_was_installed(machine: Machine) -> None:
    machine.nvidia_smi = RTX_4090_NEW_DRIVER
    machine.start()
    stamp = json.loads(install.STAMP.read_text())
    assert stamp == {"torch": "2.13.0", "cuda": "cu130", "requirements": ["torch==2.13.0", "gradio>=6"]}


def test_pyproject_asks_for_the_torch_that_is_installed() -> None:
    assert f"torch=={install.TORCH_VERSION}" in install.read_requirements(ROOT / "pyproject.toml", dev=False)


def test_the_installer_runs_before_any_package_is_there() -> None:
    """-S hides the environment's packages, as on a first start."""
    subprocess.run([sys.executable, "-S", "-c", "import engine.install"], cwd=ROOT, check=True)
