"""What every captioner does around its model, shown with the tagger."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from engine.__main__ import main
from engine.check.utility import check_utility
from engine.data.opening import TooManyPixels
from engine.jobs import UTILITIES
from engine.runs import process
from engine.runs.folder import RunFolder, all_runs
from engine.runs.history import History
from engine.runs.report import Report, shown_name
from engine.tools.caption_files import CaptionWriter
from engine.tools.captioning import AroundTheCaption, CaptionerSettings, caption_folder
from engine.tools.folder_work import Captioner
from engine.tools.pictures import decoded_ahead, on_white, unreadable, upright
from tests.tools.running import run_job, settings_of
from tests.tools.small_tagger import save_tagger
from ui.form import Form

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def tagger(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(save_tagger(tmp_path_factory.mktemp("captioning") / "tagger"))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return draw(tmp_path / "img", 4)


def draw(folder: Path, count: int) -> Path:
    folder.mkdir(parents=True)
    for number in range(count):
        Image.new("RGB", (10, 10), "white").save(folder / f"{number}.png")
    return folder


def caption(run: RunFolder, describe, folder: Path, batch_size: int = 1, **values) -> tuple:
    """A run with a captioner of one's own."""
    settings = CaptionerSettings().with_values({"train_data_dir": str(folder), **values})
    writer = run.writer()
    outcome = caption_folder(settings, run, Report(writer), lambda: Captioner(describe, batch_size))
    writer.close()
    return outcome


@pytest.fixture
def run() -> RunFolder:
    return RunFolder.create("caption-wd14", "{}", "test")


@pytest.mark.shows("caption-*.prefix", "caption-*.postfix")
def test_prefix_and_postfix_stand_around_the_caption(folder: Path, run: RunFolder):
    caption(run, lambda pictures: [" a cat "] * len(pictures), folder, prefix="photo of", postfix=", outside")
    assert (folder / "0.txt").read_text() == "photo of a cat , outside\n"


@given(prefix=st.text(), text=st.text(), postfix=st.text())
def test_around_a_caption_nothing_is_lost_and_no_blank_hangs_over(prefix: str, text: str, postfix: str):
    whole = AroundTheCaption(prefix=prefix, postfix=postfix).around(text)
    assert whole == whole.strip()
    rest = whole
    for part in filter(None, (prefix.strip(), text.strip(), postfix.strip())):
        assert part in rest
        rest = rest.partition(part)[2]


@pytest.mark.shows("caption-*.overwrite")
def test_a_picture_with_a_caption_is_skipped_or_its_caption_kept_as_a_backup(folder: Path, run: RunFolder):
    (folder / "1.txt").write_text("mine")
    assert caption(run, lambda pictures: ["a cat"], folder) == ("done", 3)
    assert (folder / "1.txt").read_text() == "mine"
    assert History(run).update().results[0].text == "3 captions written, 1 picture already had one."
    for number, words in enumerate(["a dog", "a cow"], start=1):
        again = RunFolder.create("caption-wd14", "{}", str(number))
        caption(again, lambda pictures, words=words: [words], folder, overwrite=True)
    assert (folder / "1.txt").read_text() == "a cow\n"
    assert (folder / "1.txt.bak").read_text() == "mine"
    assert (folder / "1.txt.bak2").read_text() == "a dog\n"


@pytest.mark.shows("caption-*.train_data_dir", "caption-*.recursive", "caption-*.caption_extension")
def test_pictures_in_folders_within_are_captioned_where_that_is_asked_for(folder: Path, run: RunFolder):
    draw(folder / "inner", 2)
    draw(folder / ".hidden", 1)
    assert caption(run, lambda pictures: ["a"], folder) == ("done", 4)
    assert caption(run, lambda pictures: ["a"], folder, recursive=True, caption_extension=".caption") == ("done", 6)
    assert (folder / "inner" / "1.caption").read_text() == "a\n"


# ── stopping and going on ─────────────────────────────────────────────────────────────────────────────


def test_stopping_keeps_what_is_done_and_the_run_goes_on_there(folder: Path, run: RunFolder):
    (folder / "3.txt").write_text("mine")
    seen: list[int] = []

    def stop_after_two(pictures: list) -> list[str]:
        seen.append(len(pictures))
        if len(seen) == 2:
            run.ask("stop")
        return ["a cat"]

    assert caption(run, stop_after_two, folder, overwrite=True) == ("stopped", 2)
    assert not (folder / "2.txt").exists()
    run.forget_process()
    (folder / "0.txt").write_text("mended by hand")
    assert caption(run, lambda pictures: ["a cat"], folder, overwrite=True) == ("done", 2)
    assert (folder / "0.txt").read_text() == "mended by hand"  # though overwriting is on: this run has done it
    assert (folder / "3.txt.bak").read_text() == "mine"


def test_a_caption_that_was_noted_and_not_written_is_written_after_all(folder: Path, run: RunFolder):
    """As a kill between the two leaves it."""
    (folder / "0.txt").write_text("old")
    CaptionWriter(run)._note(folder / "0.txt", "digest of what was never written")
    assert not CaptionWriter(run).has_done(folder / "0.txt")
    CaptionWriter(run).write(folder / "0.txt", "new")
    assert CaptionWriter(run).has_done(folder / "0.txt")
    with run.done_file.open("ab") as notes:
        notes.write(b'{"file": "/half')
    assert CaptionWriter(run).has_done(folder / "0.txt")
    CaptionWriter(run).write(folder / "1.txt", "new")
    assert CaptionWriter(run).has_done(folder / "1.txt")
    assert CaptionWriter(run).has_done(folder / "0.txt")


def test_a_killed_run_leaves_every_caption_old_or_new_and_resumes_to_the_end(tmp_path: Path, tagger: str):
    folder = draw(tmp_path / "img", 60)
    for number in range(60):
        (folder / f"{number}.txt").write_text("old")
    given = {"train_data_dir": str(folder), "repo_id": tagger, "overwrite": True}
    settings = settings_of("caption-wd14", **given)
    run = RunFolder.create("caption-wd14", settings.model_dump_json(), "killed")
    process.start(run, settings)
    until = time.monotonic() + 30
    while sum(file.read_text() != "old" for file in folder.glob("*.txt")) < 5:
        assert time.monotonic() < until, run.log_tail()
    for member in process.processes_of(run):
        os.kill(member.pid, signal.SIGKILL)
    process.wait(run, 10)
    new = "1girl, long hair, (o)_(o), hatsune miku (vocaloid)\n"
    texts = [file.read_text() for file in folder.glob("*.txt")]
    assert set(texts) == {"old", new}
    assert History(run).update().status == "died"
    before = texts.count(new)
    outcome, _ = run_job("caption-wd14", run, **given)
    assert outcome == ("done", 60 - before)
    assert {file.read_text() for file in folder.glob("*.txt")} == {new}
    assert {file.read_text() for file in folder.glob("*.bak*")} == {"old"}


# ── hostile folders ───────────────────────────────────────────────────────────────────────────────────


def test_what_cannot_be_captioned_is_listed_at_the_end_and_the_rest_is_done(folder: Path, run: RunFolder):
    odd = folder / 'a "quoted"\nname <b>.png'
    Image.new("RGB", (5, 5)).save(odd)
    os.rename(folder / "0.png", os.fsencode(folder) + b"/\xff.png")
    (folder / "broken.png").write_bytes((folder / "1.png").read_bytes()[:50])
    (folder / "text.jpg").write_text("no picture")
    (folder / "2.jpg").write_bytes((folder / "2.png").read_bytes())
    (folder / "3.txt").mkdir()
    assert caption(run, lambda pictures: ["a cat"] * len(pictures), folder, 3, overwrite=True) == ("done", 4)
    assert (odd.with_suffix(".txt")).read_text() == "a cat\n"
    told = History(run).update()
    left_out = {Path(item.file).name: item.why for item in told.left_out}
    assert left_out["text.jpg"] == "is not a picture that can be read"
    assert left_out["2.png"] == "has the same caption file as 2.jpg; rename one"
    assert left_out["3.png"].startswith("its caption cannot be written")
    assert left_out["broken.png"].startswith("cannot be")
    assert len(left_out) == 4
    assert told.results[-1].text == "4 captions written, 4 left out."
    assert told.progress
    assert (told.progress.done, told.progress.total) == (7, 7)


def test_names_are_told_as_one_line_of_text():
    assert shown_name(Path("a\nb")) == "a\\nb"
    assert shown_name(Path(os.fsdecode(b"a\xff"))) == "a�"


def test_a_folder_that_cannot_be_written_to_costs_no_work(folder: Path, run: RunFolder, monkeypatch):
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    assert caption(run, lambda pictures: pytest.fail("the model was asked"), folder) == ("done", 0)
    assert {item.why for item in History(run).update().left_out} == {"is in a folder that cannot be written to"}


def test_a_picture_of_too_many_pixels_is_refused_in_words(tmp_path: Path, monkeypatch):
    Image.new("1", (100, 100)).save(tmp_path / "huge.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 4000)
    with pytest.raises(TooManyPixels) as refused:
        upright(tmp_path / "huge.png")
    assert unreadable(refused.value).startswith("is too large")


def test_a_full_disk_ends_the_run(folder: Path, run: RunFolder, monkeypatch):
    def full(self, file, text, said):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(CaptionWriter, "write", full)
    with pytest.raises(OSError, match="No space"):
        caption(run, lambda pictures: ["a"], folder)


def test_transparent_pictures_stand_on_white():
    half = Image.new("RGBA", (1, 1), (0, 0, 0, 128))
    assert on_white(half).getpixel((0, 0)) == (127, 127, 127)  # 255 · (1 - 128/255)
    palette = Image.new("P", (1, 1))
    palette.info["transparency"] = 0
    assert on_white(palette).getpixel((0, 0)) == (255, 255, 255)


def test_only_some_pictures_are_decoded_before_they_are_asked_for(tmp_path: Path):
    decoded: list[Path] = []
    files = [Path(str(number)) for number in range(50)]
    results = decoded_ahead(files, lambda file: decoded.append(file) or file, ahead=3)
    assert next(results) == (files[0], files[0])
    time.sleep(0.05)
    assert len(decoded) <= 4
    assert [file for file, _ in results] == files[1:]


# ── checks, command line ──────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("values", "option", "words"),
    [
        ({"train_data_dir": ""}, "train_data_dir", "Image folder to caption is empty."),
        ({"train_data_dir": "/nowhere"}, "train_data_dir", "There is no folder /nowhere."),
        ({"train_data_dir": "a\0b"}, "train_data_dir", "holds a character that no path can have"),
        ({"repo_id": " "}, "repo_id", "Repo ID is empty."),
        ({"caption_extension": "txt"}, "caption_extension", "'txt', which is not a file extension"),
        ({"caption_extension": "../x.txt"}, "caption_extension", "which is not a file extension"),
        ({"caption_extension": ".PNG"}, "caption_extension", "would replace the pictures"),
    ],
)
def test_what_is_wrong_is_told_before_the_start(folder: Path, values: dict, option: str, words: str):
    settings = settings_of("caption-wd14", **{"train_data_dir": str(folder), **values})
    problem = check_utility(settings).problems[0]
    assert problem.option == option
    assert words in problem.what


def test_a_folder_without_pictures_says_where_some_are(tmp_path: Path, tagger: str):
    draw(tmp_path / "10_cat", 1)
    problem = check_utility(settings_of("caption-wd14", train_data_dir=str(tmp_path))).problems[0]
    assert "turn on Recursive" in problem.mend
    told = {"train_data_dir": str(tmp_path), "recursive": True, "repo_id": tagger}
    assert check_utility(settings_of("caption-wd14", **told)).can_start


def test_the_command_line_runs_it_and_its_exit_code_says_whether_all_was_done(
    folder: Path, tagger: str, capfd: pytest.CaptureFixture[str]
):
    arguments = ["caption-wd14", "--train_data_dir", str(folder), "--repo_id", tagger]
    assert main(arguments) == 0
    assert "4 captions written." in capfd.readouterr().out
    (folder / "bad.png").write_bytes(b"no")
    assert main([*arguments, "--overwrite"]) == 1
    assert "bad.png: is not a picture that can be read" in capfd.readouterr().out
    assert main([*arguments[:2], "/nowhere"]) == 2
    assert len(list(all_runs())) == 2


@pytest.mark.parametrize("job", ["caption-blip", "caption-wd14"])
def test_help_lists_the_options_that_the_form_has(job: str, capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit):
        main([job, "--help"])
    shown = capsys.readouterr().out
    assert all(f"--{name} " in shown for name in Form(UTILITIES[job].settings_class(), job).options)


def test_a_stopped_run_is_resumed_from_the_command_line(folder: Path, tagger: str, capfd):
    given = {"train_data_dir": str(folder), "repo_id": tagger}
    settings = settings_of("caption-wd14", **given)
    run = RunFolder.create("caption-wd14", settings.model_dump_json(), "stopped")
    CaptionWriter(run).write(folder / "0.txt", "by the first engine")
    assert main(["resume", run.name]) == 0
    assert "3 captions written, 1 picture already had one." in capfd.readouterr().out


def test_a_utilitys_engine_and_the_page_do_without_torch():
    code = (
        "import sys; from engine.jobs import UTILITIES; import ui.page\n"
        "for job in UTILITIES.values(): job.settings_class()\n"
        "assert not {'torch', 'transformers', 'diffusers', 'onnxruntime'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)
