"""What the Dataset page says of a training set, without a page."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image, ImageFilter

from engine.data import looks, thumbnails
from engine.data.buckets import Placed
from engine.data.duplicates import duplicate_groups
from engine.data.sifting import (
    BEST_FIRST,
    BLURRY,
    CHANGED,
    DUPLICATE,
    NO_CAPTION,
    UNREADABLE,
    WORST_FIRST,
    Sieve,
    counts,
    sifted,
    tag_counts,
)
from engine.data.survey import FLAT, Survey, survey
from engine.failure import Failure
from engine.settings.training import TrainingSettings

SIZE = (96, 64)


def noise(seed: int, size: tuple[int, int] = SIZE) -> Image.Image:
    """Coloured noise with large and small parts, a different one for each seed."""
    import numpy as np

    random = np.random.default_rng(seed)
    coarse = Image.fromarray(random.integers(0, 256, (4, 4, 3), dtype=np.uint8)).resize(size, Image.Resampling.BICUBIC)
    fine = Image.fromarray(random.integers(0, 256, (size[1], size[0], 3), dtype=np.uint8))
    return Image.blend(coarse, fine, 0.3)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    cat, dog = tmp_path / "img" / "3_cat", tmp_path / "img" / "2_dog"
    cat.mkdir(parents=True)
    dog.mkdir()
    for number in range(3):
        noise(number).save(cat / f"{number}.png")
    (cat / "0.txt").write_text("cat, sofa\nanother line")
    (cat / "1.txt").write_text("Cat, window")
    noise(1).resize((192, 128)).save(dog / "copy.jpg", quality=70)
    noise(9).filter(ImageFilter.GaussianBlur(6)).save(dog / "soft.png")
    noise(10, (32, 100)).save(dog / "thin.png")
    (dog / "broken.png").write_bytes(b"no picture")
    (dog / "soft.txt").write_bytes(b"\xff\xfe")
    return tmp_path / "img"


@pytest.fixture
def settings(folder: Path) -> TrainingSettings:
    return TrainingSettings().with_values(
        {"train_data_dir": str(folder), "max_resolution": "64,64", "min_bucket_reso": 64, "train_batch_size": 2}
    )


@pytest.fixture
def surveyed(settings: TrainingSettings) -> Survey:
    return survey(settings)


def names(surveyed: Survey, sieve: Sieve, changed=None, known=None) -> list[str]:
    return [surveyed.seen[index].picture.name for index in sifted(surveyed, sieve, changed or {}, known or {})]


def test_concepts_are_counted_with_what_is_left_out(surveyed: Survey, folder: Path):
    dog, cat = surveyed.concepts
    assert (cat.words, cat.pictures, cat.repeats, cat.captioned, cat.left_out, cat.shown) == ("cat", 3, (3,), 2, 0, 9)
    assert (dog.words, dog.pictures, dog.repeats, dog.captioned, dog.left_out, dog.shown) == ("dog", 4, (2,), 0, 1, 6)
    assert surveyed.plan is not None
    assert surveyed.plan.pictures == 15
    assert any("broken.png" in note for note in surveyed.notes)
    assert sum(pictures for _, pictures, _ in surveyed.buckets()) == 6
    assert sum(shown for _, _, shown in surveyed.buckets()) == 15


def test_pictures_are_found_by_what_is_odd_about_them(surveyed: Survey):
    known = dict(looks.looks_of([one.picture for one in surveyed.seen]))
    assert names(surveyed, Sieve(NO_CAPTION)) == ["broken.png", "copy.jpg", "soft.png", "thin.png", "2.png"]
    assert names(surveyed, Sieve("Extreme aspect")) == ["thin.png"]
    assert names(surveyed, Sieve("Too small")) == ["thin.png"]
    assert names(surveyed, Sieve(DUPLICATE), known=known) == ["copy.jpg", "1.png"]
    assert names(surveyed, Sieve(BLURRY), known=known) == ["soft.png"]
    assert names(surveyed, Sieve(UNREADABLE), known=known) == ["broken.png"]
    assert names(surveyed, Sieve(says="cat")) == ["0.png", "1.png"]
    assert names(surveyed, Sieve(says="so", whole_tag=True)) == []
    assert names(surveyed, Sieve(says="sofa", whole_tag=True)) == ["0.png"]
    assert names(surveyed, Sieve(folder=surveyed.seen[0].picture.parent, says="cat")) == []
    assert DUPLICATE not in counts(surveyed, {}, {}, 100)
    assert counts(surveyed, {}, known, 100)[DUPLICATE] == 2


def test_filters_and_tags_follow_captions_that_are_not_saved_yet(surveyed: Survey):
    last = surveyed.seen[-1]
    changed = {last.file: "dog, dog, sofa"}
    assert names(surveyed, Sieve(says="dog"), changed) == ["2.png"]
    assert names(surveyed, Sieve(CHANGED), changed) == ["2.png"]
    assert tag_counts(surveyed, range(len(surveyed.seen)), changed)[0] == ("sofa", 2)
    assert ("dog", 1) in tag_counts(surveyed, range(len(surveyed.seen)), changed)


def test_pictures_are_ordered_by_their_scores_and_those_without_one_come_last(settings: TrainingSettings, folder: Path):
    for name, score in (("3_cat/0", 5), ("3_cat/2", 7.5), ("2_dog/thin", -1)):
        (folder / f"{name}.score").write_text(str(score))
    surveyed = survey(settings)
    assert sorted(surveyed.scores()) == [-1, 5, 7.5]
    best = names(surveyed, Sieve(order=BEST_FIRST))
    assert best[:3] == ["2.png", "0.png", "thin.png"]
    assert sorted(best) == sorted(names(surveyed, Sieve()))
    assert names(surveyed, Sieve(order=WORST_FIRST))[:3] == ["thin.png", "0.png", "2.png"]
    assert names(surveyed, Sieve(says="cat", order=WORST_FIRST)) == ["0.png", "1.png"]


def test_a_caption_that_is_no_text_is_told_and_the_rest_is_shown(surveyed: Survey):
    soft = next(one for one in surveyed.seen if one.picture.name == "soft.png")
    assert "UTF-8" in soft.problem
    assert soft.text is None


def test_a_flat_folder_is_shown_and_it_is_said_that_training_finds_nothing_there(settings, folder: Path):
    flat = survey(settings, str(folder / "3_cat"))
    assert [one.picture.name for one in flat.seen] == ["0.png", "1.png", "2.png"]
    assert flat.notes[0] == FLAT


@pytest.mark.parametrize("empty", ["nowhere", "empty"])
def test_a_folder_without_pictures_is_refused_in_a_sentence(settings, tmp_path: Path, empty: str):
    (tmp_path / "empty").mkdir()
    (tmp_path / "a.png").write_bytes(b"")
    with pytest.raises(Failure, match="is a file, not a folder"):
        survey(settings, str(tmp_path / "a.png"))
    with pytest.raises(Failure, match=r"There (is no folder|are no pictures)"):
        survey(settings, str(tmp_path / empty))


def test_what_the_crop_leaves_out_is_what_the_bucket_does_not_cover(surveyed: Survey):
    thin = next(one for one in surveyed.seen if one.picture.name == "thin.png")
    assert isinstance(thin.place, Placed)
    width, height = thin.place.bucket
    across, down = thin.place.resized
    assert thin.cropped_away == pytest.approx(1 - width * height / (across * down))
    assert thin.is_enlarged == (across > 32)


def test_a_thumbnail_is_made_once_and_again_when_the_picture_changes(folder: Path, monkeypatch: pytest.MonkeyPatch):
    picture = folder / "3_cat" / "0.png"
    first = looks.look(picture)
    assert first.thumbnail is not None
    assert first.thumbnail.is_relative_to(thumbnails.thumbnails_root())
    with monkeypatch.context() as without:
        without.setattr(looks, "_made", lambda *_: pytest.fail("it was made again"))
        assert looks.look(picture) == first
        looks._read.cache_clear()
        assert looks.look(picture) == first  # also what is read from the disk
    noise(50, (60, 60)).save(picture)
    assert looks.look(picture).thumbnail != first.thumbnail


def test_a_damaged_thumbnail_is_made_again(folder: Path):
    picture = folder / "3_cat" / "0.png"
    thumbnail = looks.look(picture).thumbnail
    assert thumbnail is not None
    thumbnail.write_bytes(b"half a fi")
    again = looks.look(picture).thumbnail
    assert again is not None
    with Image.open(again) as image:
        assert image.size == SIZE


def test_a_picture_that_is_cut_off_has_no_look_but_a_reason(folder: Path):
    picture = folder / "3_cat" / "0.png"
    picture.write_bytes(picture.read_bytes()[:2000])
    found = looks.look(picture)
    assert found.thumbnail is None
    assert found.unreadable


def test_flat_drawings_of_other_colours_are_no_duplicates(tmp_path: Path):
    pictures = []
    for name, colour in (("red", "red"), ("blue", "blue"), ("red2", "#fa0000")):
        pictures.append(tmp_path / f"{name}.png")
        Image.new("RGB", (80, 80), colour).save(pictures[-1])
    assert duplicate_groups([looks.look(picture) for picture in pictures]) == [1, 0, 1]
    assert duplicate_groups([]) == []


def test_sharpness_is_the_variance_of_the_laplacian():
    import numpy as np

    grey = np.zeros((3, 4), dtype=np.float32)
    grey[1, 1] = 10  # Laplacians of the two inner places: −40 and 10, whose variance is 25²
    assert looks.sharpness(grey) == pytest.approx(625)
    assert looks.sharpness(grey[:2]) == 0


def test_what_is_held_out_is_shown_and_not_counted_among_what_is_learned(settings: TrainingSettings):
    plain, split = survey(settings), survey(settings.with_values({"validation_split": 0.5}))
    out = [one for one in split.seen if one.held_out]
    assert len(split.seen) == len(plain.seen)
    assert len(out) == sum(concept.held_out for concept in split.concepts) > 0
    assert sum(c.shown for c in split.concepts) == split.plan.pictures == sum(count for *_, count in split.buckets())
    assert split.plan.pictures < plain.plan.pictures
    assert any(f"{len(out)} of {len(split.seen)} pictures are held out" in note for note in split.notes)
    assert not any("held out" in note for note in plain.notes)
