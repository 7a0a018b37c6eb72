"""Installs what Darkroom needs into the Python that runs it:  python -m engine.install [--dev]

The right build of PyTorch comes first, then the packages that pyproject.toml names.  A stamp left beside
them makes every later start instant.  Only the standard library is imported: on the first start there is
nothing else yet.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import math
import platform
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

TORCH_VERSION = "2.13.0"
PYPROJECT = Path(__file__).resolve().parent.parent / "pyproject.toml"
STAMP = Path(sys.prefix) / "darkroom-installed.json"


class CudaBuild(NamedTuple):
    name: str
    oldest_driver: int
    oldest_gpu: float  # compute capability; a GPU outside this range has no kernels in the build
    newest_gpu: float


# The stable CUDA builds of PyTorch 2.13, best first.
# Sources: pytorch/pytorch RELEASE.md, "CUDA Support Matrix"; NVIDIA CUDA Compatibility, table 1.
CUDA_BUILDS = (
    CudaBuild("cu130", oldest_driver=580, oldest_gpu=7.5, newest_gpu=math.inf),
    CudaBuild("cu126", oldest_driver=525, oldest_gpu=5.0, newest_gpu=9.0),
)
PYPI_LINUX_BUILD = "cu130"  # PyPI's Linux wheels are this build; its Windows wheels have no CUDA
WHEEL_INDEX = "https://download.pytorch.org/whl"

# What pip writes when it fails, and what that means to someone who has never used pip.
DISK_FULL = ("No space left on device", "[Errno 28]", "not enough space on the disk")
REASONS = (
    (DISK_FULL, "the disk is full. Free up about 10 GB and start again."),
    (
        ("connection broken by", "ConnectionError", "Max retries exceeded", "timed out", "IncompleteRead"),
        "the download server could not be reached. Check the internet connection and start again.",
    ),
    (
        ("[Errno 13]", "Permission denied", "[WinError 5]", "[WinError 32]"),
        "a file could not be written. Close every other Darkroom window and start again.",
    ),
    (
        ("No matching distribution found",),
        f"there is no package for Python {platform.python_version()} on {platform.system()} {platform.machine()}. "
        "Install a 64-bit Python 3.12, delete the folder .venv and start again.",
    ),
)


class InstallError(Exception):
    """Says which step failed, why, and what to do."""


def cuda_build(nvidia_smi: str) -> str | None:
    """The best CUDA build that a GPU of this machine can run; None if there is none.

    nvidia_smi: a line of "driver version, compute capability" for each GPU, such as "580.65.06, 8.9".
    """
    gpus = []
    for line in nvidia_smi.splitlines():
        driver, _, capability = line.partition(",")
        try:
            gpus.append((int(driver.split(".")[0]), float(capability)))
        except ValueError:
            continue  # a message, or a GPU that answers "[N/A]"
    for build in CUDA_BUILDS:
        for driver_version, gpu in gpus:
            if driver_version >= build.oldest_driver and build.oldest_gpu <= gpu <= build.newest_gpu:
                return build.name
    return None


def torch_requirement(system: str, machine: str, cuda: str | None) -> list[list[str]]:
    """What to give `pip install` to get PyTorch: argument lists to try in turn.  Empty: there is no wheel.

    system, machine: as the platform module names them.  cuda: see cuda_build.
    """
    plain = [f"torch=={TORCH_VERSION}"]
    if system == "Darwin":
        return [plain] if machine == "arm64" else []
    if system == "Linux" and cuda == PYPI_LINUX_BUILD:
        return [plain]
    # The indexes pip is set up with come first: a company's mirror may be all that can be reached.
    build = cuda or "cpu"
    exact = [f"torch=={TORCH_VERSION}+{build}"]
    from_pytorch = [*exact, "--extra-index-url", f"{WHEEL_INDEX}/{build}"]
    if cuda:
        return [exact, from_pytorch]  # the plain wheel would install, and then not find the GPU
    return [exact, [*from_pytorch, "--retries", "1", "--timeout", "10"], plain]


def torch_fits(installed: str | None, system: str, cuda: str | None) -> bool:
    """Whether the installed PyTorch can stay.  Every build runs on the CPU; a GPU needs its own."""
    version, _, build = (installed or "").partition("+")
    if not build and system == "Linux":
        build = PYPI_LINUX_BUILD
    return version == TORCH_VERSION and cuda in (None, build)


def installed_torch() -> str | None:
    try:
        return importlib.metadata.version("torch")
    except importlib.metadata.PackageNotFoundError:
        return None


def ask_nvidia_smi() -> str:
    """What nvidia-smi says of the GPUs, for cuda_build; empty where there is none or it cannot say."""
    program = shutil.which("nvidia-smi")
    if program is None:
        return ""
    command = [program, "--query-gpu=driver_version,compute_cap", "--format=csv,noheader"]
    try:
        answer = subprocess.run(command, capture_output=True, text=True, errors="replace", timeout=30)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return answer.stdout if answer.returncode == 0 else ""


def run_pip(*arguments: str) -> str:
    """Runs pip with its progress in view.  Returns its complaint, empty when it succeeded."""
    command = [sys.executable, "-m", "pip", *arguments, "--disable-pip-version-check", "--no-input"]
    pip = subprocess.run(command, stderr=subprocess.PIPE, text=True, errors="replace")
    return "" if pip.returncode == 0 else pip.stderr or "pip stopped without a message."


def failed(step: str, complaint: str) -> InstallError:
    print(complaint, file=sys.stderr)
    for signs, reason in REASONS:
        if any(sign in complaint for sign in signs):
            return InstallError(f"{step} could not be installed: {reason}")
    return InstallError(f"{step} could not be installed: see pip's message above. Start again to retry.")


def say(text: str) -> None:
    print(text, flush=True)


def install_torch(cuda: str | None) -> None:
    system, machine = platform.system(), platform.machine()
    installed = installed_torch()
    if torch_fits(installed, system, cuda):
        return
    attempts = torch_requirement(system, machine, cuda)
    if not attempts:
        raise InstallError(
            f"PyTorch {TORCH_VERSION} does not exist for Intel Macs. If this Mac has an Apple chip, install "
            "the arm64 Python from python.org, delete the folder .venv and start again."
        )
    if cuda is None and shutil.which("nvidia-smi"):
        say(
            f"nvidia-smi shows no graphics card that PyTorch {TORCH_VERSION} can use, so training will run on the CPU. "
            "If you have an NVIDIA card, update its driver to version 580 or newer and start again."
        )
    when = "Update" if installed else "First start"
    what = f"NVIDIA card ({cuda}, about 3 GB)" if cuda else "computer (about 200 MB)"
    say(f"{when}: installing PyTorch {TORCH_VERSION} for your {what}...")
    if installed:
        run_pip("uninstall", "--yes", "torch")  # to pip, 2.13.0+cpu already is a torch==2.13.0
    complaint = ""
    for attempt in attempts:
        if attempt != attempts[0]:
            say("Not found there; trying the next source...")
        complaint = run_pip("install", *attempt)
        if not complaint:
            return
        if any(sign in complaint for sign in DISK_FULL):
            break  # the next place has the bigger wheel
    raise failed("PyTorch", complaint)


def read_requirements(pyproject: Path, dev: bool) -> list[str]:
    if sys.version_info >= (3, 11):
        import tomllib
    else:
        from pip._vendor import tomli as tomllib  # 3.10 has no tomllib, and always has pip here
    project = tomllib.loads(pyproject.read_text(encoding="utf-8"))["project"]
    return project["dependencies"] + (project["optional-dependencies"]["dev"] if dev else [])


def read_stamp() -> dict[str, Any]:
    try:
        return dict(json.loads(STAMP.read_text(encoding="utf-8")))
    except (OSError, ValueError):
        return {}  # never installed, or stopped while writing


def is_installed(requirements: list[str]) -> bool:
    """Whether an earlier run installed all this.  What a --dev run installed serves a plain start too."""
    stamp = read_stamp()
    if stamp.get("torch") != TORCH_VERSION or not set(requirements) <= set(stamp["requirements"]):
        return False
    # A GPU once found is not looked for again, because nvidia-smi may take a second to answer.
    return stamp["cuda"] is not None or cuda_build(ask_nvidia_smi()) is None


def install(requirements: list[str]) -> None:
    STAMP.unlink(missing_ok=True)
    cuda = cuda_build(ask_nvidia_smi())
    install_torch(cuda)
    say("Installing the other packages (about 200 MB on the first start)...")
    complaint = run_pip("install", *requirements)
    if complaint:
        raise failed("The other packages", complaint)
    stamp = {"torch": TORCH_VERSION, "cuda": cuda, "requirements": requirements}
    STAMP.write_text(json.dumps(stamp, indent=1), encoding="utf-8")
    say("Everything is installed.")


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser("python -m engine.install", description="Installs what Darkroom needs.")
    parser.add_argument("--dev", action="store_true", help="also install what the tests need")
    requirements = read_requirements(PYPROJECT, parser.parse_args(arguments).dev)
    if is_installed(requirements):
        return 0
    try:
        install(requirements)
    except InstallError as error:
        print(f"\n{error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nStopped before everything was installed. Start again to continue.", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
