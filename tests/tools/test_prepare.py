"""Pictures laid out for training, and grouped by shape: copied, never moved, never replaced."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from engine.data.folders import scan
from engine.runs.folder import RunFolder
from engine.tools.copying import UNFINISHED
from tests.tools.running import run_job, settings_of


@pytest.fixture
def flat(tmp_path: Path) -> Path:
    """Ten pictures of 40 × 20, one of them with a caption and a score; and one that shares its name with another."""
    folder = tmp_path / "photos"
    folder.mkdir()
    for number in range(10):
        Image.new("RGB", (40, 20), (number, 0, 0)).save(folder / f"{number}.png")
    (folder / "3.txt").write_text("three")
    (folder / "3.score").write_text("6.5")
    Image.new("RGB", (20, 40)).save(folder / "3.jpg")
    return folder


def state(folder: Path) -> dict[str, bytes]:
    return {str(file.relative_to(folder)): file.read_bytes() for file in sorted(folder.rglob("*")) if file.is_file()}


@pytest.mark.shows(
    "prepare-dataset.train_data_dir", "prepare-dataset.instance_prompt", "prepare-dataset.class_prompt",
    "prepare-dataset.repeats", "prepare-dataset.destination",
)  # fmt: skip
def test_a_flat_folder_is_copied_into_the_layout_that_training_reads(flat: Path, tmp_path: Path):
    before = state(flat)
    (how, count), history = run_job(
        "prepare-dataset", train_data_dir=str(flat), instance_prompt="sks", class_prompt="cat", repeats=7,
        destination=str(tmp_path / "out"),
    )  # fmt: skip
    assert (how, count) == ("done", 11)
    (concept,) = scan(tmp_path / "out" / "img").concepts
    assert (concept.repeats, concept.words, len(concept.pictures)) == (7, "sks cat", 11)
    inside = tmp_path / "out" / "img" / "7_sks cat"
    assert (inside / "0.png").read_bytes() == before["0.png"]  # copied as it is
    assert {file.name for file in inside.glob("3*")} == {
        "3.jpg", "3.txt", "3.score", "3_2.png", "3_2.txt", "3_2.score",
    }  # fmt: skip
    assert state(flat) == before
    assert not (tmp_path / "out" / UNFINISHED).exists()
    assert "Choose" in history.results[-1].text


@pytest.mark.shows("prepare-dataset.concept_steps", "prepare-dataset.validation_split", "prepare-dataset.seed")
def test_concepts_are_balanced_and_some_pictures_are_kept_for_validation(flat: Path, tmp_path: Path):
    for name, count in (("3_dog", 2), ("bird", 5)):
        for number in range(count):
            (flat / name).mkdir(exist_ok=True)
            Image.new("RGB", (8, 8), (0, number, 0)).save(flat / name / f"{number}.png")

    def kept(out: str, seed: int) -> set[str]:
        run_job("prepare-dataset", train_data_dir=str(flat), destination=str(tmp_path / out), concept_steps=22,
                validation_split=0.5, seed=seed)  # fmt: skip
        return set(state(tmp_path / out / "val"))

    first = kept("a", 1)
    # max(1, round(22 / pictures)), as kohya_ss has it, before pictures are set apart
    assert {c.folder.name: len(c.pictures) for c in scan(tmp_path / "a" / "img").concepts} == {
        "2_concept": 5, "4_bird": 3, "11_dog": 1
    }  # fmt: skip
    assert {c.folder.name: len(c.pictures) for c in scan(tmp_path / "a" / "val").concepts} == {
        "1_concept": 6, "1_bird": 2, "1_dog": 1
    }  # fmt: skip
    assert not first & set(state(tmp_path / "a" / "img"))
    assert kept("b", 1) == first
    assert kept("c", 2) != first


@pytest.mark.shows("prepare-dataset.reg_data_dir", "prepare-dataset.reg_repeats")
def test_regularisation_pictures_get_a_folder_of_the_class(flat: Path, tmp_path: Path):
    run_job("prepare-dataset", train_data_dir=str(flat), class_prompt="cat", reg_data_dir=str(flat), reg_repeats=2,
            destination=str(tmp_path / "out"))  # fmt: skip
    (concept,) = scan(tmp_path / "out" / "reg").concepts
    assert (concept.repeats, concept.words) == (2, "cat")


@pytest.mark.shows("prepare-dataset.convert_to", "prepare-dataset.shorter_side")
def test_copies_are_converted_and_scaled_down_but_never_up(flat: Path, tmp_path: Path):
    see_through = Image.new("RGBA", (60, 30), (255, 0, 0, 0))
    see_through.save(flat / "clear.png")
    turned = Image.new("RGB", (60, 30), "blue")
    exif = turned.getexif()
    exif[0x0112] = 6  # lies on its side
    turned.save(flat / "turned.jpg", exif=exif)
    run_job("prepare-dataset", train_data_dir=str(flat), convert_to="webp", shorter_side=15,
            destination=str(tmp_path / "out"))  # fmt: skip
    inside = tmp_path / "out" / "img" / "10_concept"
    assert {file.suffix for file in inside.iterdir()} == {".webp", ".txt", ".score"}
    sizes = {}
    for file in inside.glob("*.webp"):
        with Image.open(file) as image:
            assert image.format == "WEBP"
            sizes[file.stem] = (image.size, image.mode)
    assert sizes["0"] == ((30, 15), "RGB")
    assert sizes["clear"] == ((30, 15), "RGBA")
    assert sizes["turned"] == ((15, 30), "RGB")

    run_job("prepare-dataset", train_data_dir=str(flat), shorter_side=100, destination=str(tmp_path / "same"))
    same = tmp_path / "same" / "img" / "10_concept"
    assert (same / "clear.png").read_bytes() == (flat / "clear.png").read_bytes()


@pytest.mark.parametrize("kind", ["as it is", "png"])
def test_a_broken_picture_is_left_out_by_name(flat: Path, tmp_path: Path, kind: str):
    (flat / "broken.png").write_bytes(b"no picture")
    (flat / "broken.txt").write_text("its caption")
    (_, count), history = run_job(
        "prepare-dataset", train_data_dir=str(flat), convert_to=kind, destination=str(tmp_path / "out")
    )
    assert not list((tmp_path / "out").rglob("broken*"))
    assert count == 11
    assert [left.file.endswith("broken.png") for left in history.left_out] == [True]


def test_nothing_is_replaced_but_a_stopped_run_goes_on(flat: Path, tmp_path: Path):
    given = {"train_data_dir": str(flat), "destination": str(tmp_path / "out")}
    settings = settings_of("prepare-dataset", **given)
    run = RunFolder.create("prepare-dataset", settings.model_dump_json(), settings.title())
    run.ask("stop")
    outcome, _ = run_job("prepare-dataset", run, **given)
    assert outcome == ("stopped", 0)
    (half := tmp_path / "out" / "img" / "10_concept").mkdir(parents=True)
    (half / "0.png").write_bytes(b"there already")
    assert not list(settings.failures())  # its own beginning does not stand in its way
    assert list(settings.with_values({"repeats": 3}).failures())
    outcome, _ = run_job("prepare-dataset", **given)
    assert outcome[0] == "done"
    assert (half / "0.png").read_bytes() == b"there already"
    (failure,) = settings.failures()
    assert "is not empty" in failure.what


@pytest.mark.parametrize(
    ("values", "option"),
    [
        ({"instance_prompt": "a/b"}, "instance_prompt"),
        ({"reg_data_dir": "nowhere"}, "reg_data_dir"),
        ({"train_data_dir": "EMPTY"}, "train_data_dir"),
    ],
)
def test_bad_input_is_named(flat: Path, tmp_path: Path, values: dict[str, str], option: str):
    (tmp_path / "EMPTY").mkdir()
    given = {"train_data_dir": str(flat), "destination": str(tmp_path / "out"), **values}
    given = {name: str(tmp_path / text) if text == "EMPTY" else text for name, text in given.items()}
    (failure,) = settings_of("prepare-dataset", **given).failures()
    assert failure.option == option


@pytest.mark.shows("group-images.*")
def test_pictures_are_grouped_by_shape(flat: Path, tmp_path: Path):
    (flat / "more").mkdir()
    Image.new("RGB", (90, 30)).save(flat / "more" / "wide.png")
    given = {"train_data_dir": str(flat), "output_folder": str(tmp_path / "out"), "group_size": 6}
    (how, count), _ = run_job("group-images", **given, recursive=True, convert_to="png", shorter_side=10)
    assert (how, count) == ("done", 12)
    groups = sorted((tmp_path / "out" / "groups").iterdir())
    assert [len(list(group.glob("*.png"))) for group in groups] == [6, 6]
    assert (groups[0] / "3.png").exists()  # the one that stands upright comes first
    assert (groups[1] / "wide.png").exists()
    with Image.open(groups[1] / "wide.png") as image:
        assert image.size == (30, 10)
    (failure,) = settings_of("group-images", **given).failures()
    assert failure.option == "output_folder"
