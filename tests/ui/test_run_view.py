"""A run as HTML: what is told, and that nothing in it can break the page."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path

import pytest

from engine.runs import saved_state
from engine.runs.curve import Curve
from engine.runs.events import (
    Checkpoint,
    Finished,
    LeftOut,
    Planned,
    Problem,
    Progress,
    Result,
    Sample,
    Stage,
    Started,
    StateSaved,
    Step,
    Validated,
)  # fmt: skip
from engine.runs.folder import RunFolder
from engine.runs.history import History
from ui import run_view
from ui.chart import loss_chart
from ui.samples_view import MOST_COLUMNS


def step(number: int, loss: float | None = 0.5) -> Step:
    return Step(step=number, epoch=1, loss=loss, smoothed_loss=loss or 0.5, learning_rates={"unet": 1e-4, "te": 5e-5},
                images_per_second=3.5, eta=95, memory=2 * 2**30)  # fmt: skip


def curve_of(steps: list[Step]) -> Curve:
    curve = Curve()
    for one in steps:
        curve.add(one.step, one.loss, one.smoothed_loss)
    return curve


@pytest.fixture
def history() -> History:
    run = RunFolder.create("train", "{}", "cat")
    run.writer().write(Started(), Planned(total_steps=10, steps_per_epoch=5, seed=1, device="CPU"))
    return History(run)


@pytest.fixture
def alive(history: History):
    """The same run, with a living process that has spoken."""
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)", *history.run.work_arguments()])
    history.run.set_process(child.pid, history.run.events_size())
    history.run.beat()
    history.run.writer().write(Started())
    yield history
    child.kill()
    child.wait()


def text_of(html: str) -> str:
    return " ".join(re.sub(r"<[^>]+>", " ", html).split())


def test_waiting_for_pictures_is_told_where_it_costs_something(alive: History):
    alive.run.writer().write(step(1).model_copy(update={"waiting": 0.02}))
    assert "waiting for pictures" not in text_of(run_view.overview(alive.update()))
    alive.run.writer().write(step(2).model_copy(update={"waiting": 0.25}))
    assert "waiting for pictures 25% of the time" in text_of(run_view.overview(alive.update()))


def test_a_download_shows_how_much_has_come(alive: History):
    alive.run.writer().write(Stage(name="loading", done=1_500_000_000, total=6_000_000_000))
    shown = run_view.overview(alive.update())
    assert "Downloading the model: 1.50 of 6.00 GB" in text_of(shown)
    assert 'style="width:25.0%"' in shown


def test_a_run_in_progress_shows_its_figures(alive: History):
    alive.run.writer().write(Stage(name="training"), step(1), step(2))
    shown = text_of(run_view.overview(alive.update()))
    for figure in (
        "Training",
        "2 / 10",
        "0.5000",
        "1.00e-04 · 5.00e-05",
        "3.50 images/s",
        "0:01:35",
        "2.00 GiB",
        "CPU",
    ):
        assert figure in shown, figure


def test_stages_say_how_far_they_are(alive: History):
    alive.run.writer().write(Stage(name="caching", done=30, total=120))
    assert "Caching 30 of 120" in text_of(run_view.overview(alive.update()))
    alive.run.writer().write(Stage(name="captions", done=50, total=200))
    shown = run_view.overview(alive.update())
    assert "Encoding captions 50 of 200" in text_of(shown)
    assert 'aria-valuenow="25"' in shown


def test_a_stop_is_seen_before_it_is_obeyed(alive: History):
    alive.run.writer().write(Stage(name="training"), step(1))
    alive.run.ask("stop")
    assert "Stopping after this step" in text_of(run_view.overview(alive.update()))


def test_a_dead_engine_is_called_dead_with_its_last_words_a_cause_and_a_way_on(history: History):
    history.run.log_file.write_text("step 3\nRuntimeError: CUDA out of memory\n")
    history.run.writer().write(step(1), StateSaved(step=1), step(2))
    history.run.state_folder.mkdir()
    (history.run.state_folder / "progress.json").write_text(json.dumps(asdict(saved_state.Progress(1, 10, 7))))
    shown = text_of(run_view.overview(history.update()))
    assert "The engine crashed" in shown
    assert "RuntimeError: CUDA out of memory" in shown
    assert "Lower Train batch size" in shown
    assert "Resume continues from step 1" in shown


def test_a_failure_shows_what_and_how_to_mend_it(history: History):
    history.run.writer().write(Problem(what="The disk is full.", mend="Free some space."), Finished(how="failed"))
    shown = text_of(run_view.overview(history.update()))
    assert "Failed" in shown
    assert "The disk is full. Free some space." in shown


def test_saved_files_are_named_with_their_folder(history: History, tmp_path: Path):
    history.run.writer().write(Checkpoint(file=str(tmp_path / "cat.safetensors"), step=10, final=True))
    shown = run_view.overview(history.update())
    assert f"Saved cat.safetensors in {tmp_path}" in text_of(shown)
    assert f'data-copy="{tmp_path / "cat.safetensors"}"' in shown


def test_samples_stand_in_a_row_a_prompt_and_a_column_a_step(history: History):
    for number in (0, 5, 10):
        for index, prompt in enumerate(("a cat", "a dog")):
            sample = Sample(file="x.png", preview=f"{number}_{index}.webp", prompt=prompt, prompt_index=index,
                            seed=1, step=number)  # fmt: skip
            history.run.writer().write(sample)
    html = run_view.samples(history.update())
    assert html.count("<img") == 6
    assert re.findall(r"<b>(.*?)</b>", html) == ["step 10", "step 10"]  # the newest come first, and large
    assert re.findall(r"<th>(.*?)</th>", html) == ["step 5", "before"]
    assert html.index("a cat") < html.index("a dog")


def test_of_very_many_samples_the_first_and_the_last_are_among_those_shown(history: History):
    for number in range(0, 1000, 10):
        history.run.writer().write(Sample(file="x", preview="x", prompt="a", prompt_index=0, seed=1, step=number))
    heads = re.findall(r"<th>(.*?)</th>", run_view.samples(history.update()))
    assert len(heads) == MOST_COLUMNS
    assert (heads[0], heads[-1]) == ("step 980", "before")  # 990 is the large one


def test_while_samples_are_drawn_the_earlier_ones_of_other_prompts_stay(history: History):
    for number, index in ((0, 0), (0, 1), (5, 0)):
        sample = Sample(file="x", preview=f"{number}_{index}.webp", prompt="a", prompt_index=index, seed=1, step=number)
        history.run.writer().write(sample)
    html = run_view.samples(history.update())
    assert re.findall(r"<b>(.*?)</b>", html) == ["step 5", "before"]
    assert html.count("<img") == 3


def test_a_pause_is_told_in_place_of_a_speed_that_is_none(alive: History):
    for stage, words in (("sampling", "drawing samples"), ("validating", "measuring"), ("saving", "saving")):
        alive.run.writer().write(Stage(name="training"), step(1), Stage(name=stage))
        shown = text_of(run_view.overview(alive.update()))
        assert f"speed paused: {words} time left …" in shown
        assert "images/s" not in shown


def test_nothing_is_said_of_steps_whose_number_is_not_known():
    run = RunFolder.create("train", "{}", "cat")
    run.writer().write(Started())
    assert "?" not in text_of(run_view.overview(History(run).update()))
    run.writer().write(Problem(what="No.", mend=""), Finished(how="failed"))
    shown = text_of(run_view.overview(History(run).update()))
    assert "No steps were run" in shown
    assert "?" not in shown


def test_words_from_outside_cannot_become_markup(history: History):
    evil = '<script>alert(1)</script>"><img onerror=x>'
    history.run.log_file.write_text(evil)
    history.run.writer().write(
        Stage(name="loading", detail=evil),
        Sample(file=evil, preview=evil, prompt=evil, prompt_index=0, seed=1, step=1),
        Checkpoint(file=evil, step=1),
        Problem(what=evil, mend=evil),
    )
    for html in (run_view.overview(history.update()), run_view.samples(history)):
        assert "<script>" not in html
        assert "<img onerror" not in html


def test_no_run_leads_to_the_first_one():
    assert "Try it now" in run_view.overview(None)


class TestChart:
    def test_a_point_a_step(self):
        assert loss_chart(curve_of([step(n) for n in range(1, 8)]), 10, Curve()).count('data-points="7"') == 2

    def test_losses_that_are_no_numbers_are_left_out(self):
        steps = [step(1), step(2, None), step(3, None), step(4)]
        assert 'data-points="2"' in loss_chart(curve_of(steps), 10, Curve())

    def test_one_outlier_does_not_flatten_the_rest(self):
        losses = [0.1 + 0.001 * (n % 10) for n in range(300)]
        losses[3] = 50.0
        chart = loss_chart(curve_of([step(n + 1, loss) for n, loss in enumerate(losses)]), 300, Curve())
        heights = [float(pair.split(",")[1]) for pair in re.findall(r' points="([^"]*)"', chart)[0].split()]
        assert max(heights) - min(heights) > 100

    def test_before_the_first_step_there_is_an_empty_frame(self):
        assert 'data-points="0"' in loss_chart(Curve(), 0, Curve())


def test_a_utility_shows_its_progress_what_it_left_out_and_what_it_says_as_text(runs: Path):
    run = RunFolder.create("caption-wd14", "{}", "captions")
    told = [
        Started(),
        Progress(done=3, total=10, per_second=0.05, eta=140, last="a.png: <b>cat</b>"),
        LeftOut(file="<img>.png", why="is not a picture that can be read"),
        Result(text="3 captions written."),
        Result(text="Tags:", lines=["<i>: 3"]),
        Finished(how="stopped", step=3),
    ]
    run.writer().write(*told)
    html = run_view.overview(History(run).update())
    shown = text_of(html)
    for words in (
        "3 / 10",
        "20 s each",
        "0:02:20",
        "3 captions written.",
        "is not a picture",
        "Resume continues where it left off",
    ):
        assert words in shown
    assert "<img>" not in html
    assert "<i>: 3" not in html
    assert run_view.chart(History(run).update()) == ""


def test_the_chart_has_a_second_curve_with_a_legend_where_pictures_are_held_out():
    steps = curve_of([step(number, 0.1) for number in range(1, 11)])
    alone = loss_chart(steps, 10, Curve())
    assert "validation" not in alone
    measured = Curve()
    for number, loss in ((0, 0.4), (5, None), (10, 0.2)):
        measured.add(number, loss, None)
    both = loss_chart(steps, 10, measured)
    assert both.count("<circle") == 2
    assert "validation loss 0.2000 after step 10" in both
    assert "validation loss" in text_of(both)
    assert both.count('cy="12.0"') == 1  # the highest value of all is the top of the frame


def test_the_figures_tell_the_last_validation_loss(alive: History):
    alive.run.writer().write(Validated(step=0, loss=0.4321, pictures=2))
    assert "validation loss 0.4321" in text_of(run_view.overview(alive.update()))
    alive.run.writer().write(step(1), Validated(step=1, loss=0.1234, pictures=2))
    assert "loss 0.5000 validation loss 0.1234" in text_of(run_view.overview(alive.update()))
