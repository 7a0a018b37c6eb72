"""The line that says what the network will be."""

from __future__ import annotations

from typing import Any

import pytest

from engine.demo.demo import MODEL_FOLDER
from engine.settings.training import TrainingSettings
from ui.form import Form
from ui.network_line import CountingProcess, NetworkLine, line_of

ANSWER = {"layers": 264, "of": 264, "parameters": 3_190_000, "file": 6_500_000, "too_narrow": 0, "usual": False}


def line(settings: TrainingSettings | None = None, **changes: Any) -> str:
    return line_of(ANSWER | changes, settings or TrainingSettings())


def test_sizes_are_said_as_people_say_them():
    assert line() == "<p>The network: 264 layers, 3.19 million parameters, a file of 6.2 MB.</p>"
    assert "1 of 264 layers, 900 parameters, a file of 4 KB" in line(layers=1, parameters=900, file=4096)
    assert "1.2 billion parameters, a file of 2.24 GB" in line(parameters=1_200_000_000, file=2_400_000_000)
    assert "a file of 6.2 MB, at the usual size of Stable Diffusion 1." in line(usual=True)
    assert "no layer is trained" in line(layers=0)


def test_ranks_that_add_nothing_are_told_where_a_rank_is_a_matrix_s():
    assert "30 of the layers have fewer rows or columns than their rank" in line(too_narrow=30)
    assert "rank" not in line(too_narrow=20)
    assert "rank" not in line(TrainingSettings().with_values({"lora_type": "LyCORIS/LoKr"}), too_narrow=264)


def test_what_is_wrong_is_said_here_only_where_the_network_is_meant():
    assert "<b>The network:</b> &lt;why&gt;" in line_of(
        {"failure": "<why>", "option": "block_dims"}, TrainingSettings()
    )
    for option in ("pretrained_model_name_or_path", "", "no option"):
        assert not line_of({"failure": "why", "option": option}, TrainingSettings())


@pytest.fixture
def process():
    process = CountingProcess()
    yield process
    process.end()


def test_the_process_answers_and_starts_anew_when_it_was_ended(process: CountingProcess):
    settings = TrainingSettings().with_values({"pretrained_model_name_or_path": str(MODEL_FOLDER)})
    first = process.ask(settings.model_dump_json())
    assert first
    assert first["layers"] > 0
    assert process._process
    number = process._process.pid
    assert process.ask(settings.model_dump_json()) is first  # what was asked last is known
    process._process.kill()
    process._process.wait()
    again = settings.with_values({"network_dim": 16}).model_dump_json()
    assert process.ask(again)["parameters"] == 2 * first["parameters"]
    assert process._process.pid != number


def test_nothing_is_asked_for_other_methods_or_without_a_model():
    class Untouched(CountingProcess):
        def ask(self, question: str) -> Any:
            raise AssertionError(question)

    form = Form(TrainingSettings)
    shown = NetworkLine(form)
    shown._process = Untouched()
    for settings in (
        TrainingSettings().with_values({"pretrained_model_name_or_path": ""}),
        TrainingSettings().with_values({"pretrained_model_name_or_path": "x"}).for_method("finetune"),
    ):
        assert not shown._line(form.fill(settings))
