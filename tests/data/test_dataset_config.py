"""Datasets with settings of their own, as sd-scripts' dataset_config describes them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from PIL import Image

from engine.data.batches import Batches
from engine.data.items import TrainingSet, captions_of, places_of
from engine.data.steps import plan_of
from engine.data.training_set import training_set
from engine.failure import Failure
from engine.settings.training import TrainingSettings

TWO = """
[general]
shuffle_caption = true
caption_extension = ".cap"
keep_tokens = 2

[[datasets]]
resolution = 64
batch_size = 2
keep_tokens = 1

  [[datasets.subsets]]
  image_dir = "cats"
  num_repeats = 3
  class_tokens = "sks cat"
  keep_tokens = 4
  flip_aug = true

  [[datasets.subsets]]
  image_dir = "dogs"

  [[datasets.subsets]]
  image_dir = "others"
  is_reg = true

[[datasets]]
resolution = [128, 96]
batch_size = 4
enable_bucket = false

  [[datasets.subsets]]
  image_dir = "cats"
  caption_prefix = "large,"
  shuffle_caption = false
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two cats, three dogs, one other, 80 pixels square; one cat has a caption."""
    folder = tmp_path_factory.mktemp("data")
    for name, count in (("cats", 2), ("dogs", 3), ("others", 1), ("empty", 0)):
        (folder / name).mkdir()
        for number in range(count):
            Image.new("RGB", (80, 80)).save(folder / name / f"{number}.png")
    (folder / "cats" / "0.cap").write_text("a cat")
    return folder


def described(folder: Path, text: str, name: str = "d.toml", **changes: object) -> TrainingSet:
    (folder / name).write_text(text, encoding="utf-8")
    settings = TrainingSettings().with_values({"dataset_config": str(folder / name), "keep_tokens": 7, **changes})
    return training_set(settings)


@pytest.mark.shows("dataset_config")
def test_each_subset_has_its_own_word_before_its_datasets_and_the_general_one(folder: Path):
    items = described(folder, TWO, color_aug=True, flip_aug=False).items
    cats, dogs, others, large = items[0], items[2], items[5], items[6]
    assert [item.repeats for item in items] == [3, 3, 1, 1, 1, 9, 1, 1]  # as many others as cats and dogs: 2·3 + 3
    assert [item.subset.captions.keep_tokens for item in (cats, dogs, large)] == [4, 1, 2]
    assert [item.subset.captions.shuffle_caption for item in (cats, dogs, large)] == [True, True, False]
    assert [item.subset.pictures.flip_aug for item in (cats, dogs)] == [True, False]
    assert all(item.subset.pictures.color_aug for item in items)  # as the run has it
    assert (others.is_regularisation, dogs.is_regularisation) == (True, False)
    assert large.subset.captions.caption_prefix == "large,"
    assert [item.subset.batch_size for item in (cats, dogs, large)] == [2, 2, 4]
    assert captions_of(items)[:3] == ["a cat", "sks cat", ""]
    assert [place.bucket for place in places_of([cats, dogs, large])] == [(64, 64), (64, 64), (128, 96)]


def test_a_batch_holds_pictures_of_one_dataset_and_the_datasets_are_mixed(folder: Path):
    items = described(folder, TWO.replace("[128, 96]", "64")).items
    places = places_of(items)
    assert len({place.bucket for place in places}) == 1
    batches = Batches(
        [item.repeats for item in items],
        [item.subset.batch_size for item in items],
        1,
        seed=4,
        buckets=[item.bucket(place) for item, place in zip(items, places, strict=True)],
    )
    epoch = [batches.at(step)[0].pictures for step in range(batches.steps_per_epoch)]
    assert len(epoch) == 9 + 1  # 18 pictures in twos, 2 in fours
    of = [{items[index].subset.dataset for index in pictures} for pictures in epoch]
    assert sorted(len(pictures) for pictures in epoch) == [2] * 10
    assert sorted(map(sorted, of)) == [[0]] * 9 + [[1]]
    orders = {tuple(batches.at(step)[0].pictures for step in range(n * 10, n * 10 + 10)) for n in range(20)}
    assert any(items[order[-1][0]].subset.dataset == 0 for order in orders)  # the second is not always last


def test_steps_are_the_datasets_quotients_added_up(folder: Path):
    """18 pictures × repeats by 2 and 2 by 4 are 9.5 steps an epoch: 29 in three."""
    items = described(folder, TWO).items
    settings = TrainingSettings().with_values({"epoch": 3})
    plan = plan_of(items, settings, places_of(items))
    assert plan.steps == 29
    assert (plan.pictures, plan.batches) == (20, 10)
    assert plan.arithmetic() == "20 (pictures × repeats) ÷ batch 2 or 4 × 3 epochs = 29 steps"


def test_repeats_that_a_subset_does_not_say_are_one_and_of_fine_tuning_its_own(folder: Path):
    text = "[[datasets]]\n[[datasets.subsets]]\nimage_dir = 'dogs'\n"
    assert [item.repeats for item in described(folder, text).items] == [1, 1, 1]
    settings = TrainingSettings(method="finetune").with_values(
        {"dataset_config": str(folder / "d.toml"), "dataset_repeats": 5}
    )
    assert [item.repeats for item in training_set(settings).items] == [5, 5, 5]


@pytest.mark.parametrize(
    ("line", "of_the_run", "masked"),
    [("alpha_mask = true", False, True), ("alpha_mask = false", False, False), ("alpha_mask = false", True, True)],
)
def test_alpha_mask_is_masked_loss_for_its_folder_alone(folder: Path, line: str, of_the_run: bool, masked: bool):
    text = f"[[datasets]]\n[[datasets.subsets]]\nimage_dir = 'cats'\n{line}\n[[datasets.subsets]]\nimage_dir = 'dogs'\n"
    found = described(folder, text, masked_loss=of_the_run)
    assert [item.subset.pictures.masked_loss for item in found.items] == [masked] * 2 + [of_the_run] * 3
    assert not any("alpha_mask" in note for note in found.notes)


def test_what_is_left_out_is_told(folder: Path):
    found = described(
        folder,
        TWO.replace('image_dir = "dogs"', 'image_dir = "empty"') + '\n[[datasets.subsets]]\nimage_dir = "cats"\n'
        '[[datasets.subsets]]\nimage_dir = "dogs"\nnum_repeats = 0\ncache_info = true\n',
    )
    assert found.notes == (
        'd.toml, dataset 1, subset 2: "empty" has no pictures or 0 repeats, and is left out.',
        'd.toml, dataset 2, subset 2: "cats" is listed twice; the second time is ignored.',
        'd.toml, dataset 2, subset 3: "dogs" has no pictures or 0 repeats, and is left out.',
        "d.toml: cache_info has no effect.",
    )
    assert len(found.items) == 2 + 1 + 2


def test_a_list_and_json_will_do_too(folder: Path):
    (folder / "list.json").write_text(json.dumps({"0": {"caption": "first"}, "1.png": {"tags": "a, b"}}))
    config = {"datasets": [{"subsets": [{"metadata_file": "list.json", "image_dir": "dogs", "num_repeats": 2}]}]}
    items = described(folder, json.dumps(config), "d.json").items
    assert [(item.picture.name, item.repeats, item.caption) for item in items] == [
        ("0.png", 2, "first"),
        ("1.png", 2, "a, b"),
    ]


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        ("keep_tokens = 4", "keep_tokens = 1.5", r"dataset 1, subset 1: keep_tokens: Keep n tokens is 1\.5; it takes"),
        ("batch_size = 4", "batch_size = 'many'", "dataset 2, subset 1: batch_size: Train batch size is 'many'"),
        ("num_repeats = 3", "num_repeats = '3'", "subset 1: num_repeats is '3'; it takes a whole number"),
        ("num_repeats = 3", "num_repeats = 1000000000000", "num_repeats is 1000000000000; it takes at most 1000000"),
        ('".cap"', '"a/b"', r'"\.a/b" cannot be a file extension'),
        ("is_reg = true", "is_reg = 1", "subset 3: is_reg is 1; it takes true or false"),
        ("resolution = 64", "resolution = [1, 2, 3]", "Max resolution is '1,2,3'"),
        ("keep_tokens = 4", "keep_token = 4", r"keep_token is not known in \[\[datasets.subsets\]\]"),
        ("keep_tokens = 4", "resolution = 64", r"resolution is not known in \[\[datasets.subsets\]\]"),
        ("batch_size = 4", "image_dir = 'cats'", r"image_dir is not known in \[\[datasets\]\]"),
        ('image_dir = "dogs"', 'image_dir = "gone"', "subset 2: image_dir .*gone. cannot be read: No such"),
        ('image_dir = "dogs"', "image_dir = 3", "image_dir is 3; it takes text"),
        ('image_dir = "dogs"', "", "subset 2: it names no image_dir"),
        ('image_dir = "dogs"', 'metadata_file = "x.json"', "mixes folders and lists"),
        ("[general]", "[generel]", "generel is not known in a dataset config"),
        (TWO, "[general]\n", r"has no \[\[datasets\]\]"),
        (TWO, "[[datasets]]\n", r"dataset 1 has no \[\[subsets\]\]"),
        (TWO, "general = 3\ndatasets = [1]", r"\[general\] is not a table"),
        (TWO, "datasets = [1]", r"\[\[datasets\]\] is not a table"),
        (TWO, "[[datasets]]\n[[datasets.subsets]]\nimage_dir = 'empty'\n", "no pictures to learn from"),
        (TWO, "[[datasets]]\n[[datasets.subsets]]\nimage_dir = 'cats'\nis_reg = true", "no pictures to learn from"),
        (TWO, "resolution = \n", "not valid TOML in line 1"),
    ],
)
def test_what_is_wrong_is_one_sentence_that_says_where(folder: Path, old: str, new: str, sentence: str):
    assert old in TWO
    with pytest.raises(Failure, match=sentence) as failure:
        described(folder, TWO.replace(old, new))
    assert failure.value.option == "dataset_config"
    assert "d.toml" in failure.value.what


def test_a_config_that_is_not_there_or_is_no_text_is_told(folder: Path):
    (folder / "broken.toml").write_bytes(b"\xff\xfe\xfa")
    for name in ("gone.toml", "broken.toml", "cats"):
        with pytest.raises(Failure, match="cannot be read"):
            training_set(TrainingSettings().with_values({"dataset_config": str(folder / name)}))


def test_a_dataset_holds_out_its_own_share(folder: Path):
    text = TWO.replace("[[datasets]]", "[[datasets]]\nvalidation_split = 0.5", 1)
    plain, split = described(folder, TWO), described(folder, text)
    assert {item.subset.dataset for item in split.held_out} == {0}
    assert len(split.items) < len(plain.items)
    assert not any("validation_split is not followed" in note for note in split.notes)


ALL = "validation_split = 1.0\n"


@pytest.mark.parametrize("place", ["[[datasets]]", "[[datasets.subsets]]"])
def test_a_whole_folder_is_for_validation_where_its_dataset_or_subset_says_so(folder: Path, place: str):
    """sd-scripts' documentation has the key in subsets; its parser takes it in datasets."""
    text = "[[datasets]]\nresolution = 64\n[[datasets.subsets]]\nimage_dir = 'cats'\n"
    apart = "[[datasets]]\n[[datasets.subsets]]\nimage_dir = 'dogs'\n".replace(place, f"{place}\n{ALL}")
    found = described(folder, text + apart)
    assert [item.picture.parent.name for item in found.items] == ["cats"] * 2
    assert [item.picture.parent.name for item in found.held_out] == ["dogs"] * 3
    assert not described(folder, text + apart, validation_split=0).notes


def test_subsets_of_one_dataset_have_splits_of_their_own(folder: Path):
    text = f"[[datasets]]\n[[datasets.subsets]]\nimage_dir='cats'\n[[datasets.subsets]]\nimage_dir='dogs'\n{ALL}"
    found = described(folder, text, validation_split=0.5)
    assert [item.picture.parent.name for item in (*found.items, *found.held_out)] == ["cats"] * 2 + ["dogs"] * 3
    assert len(found.items) == 1  # of the cats, as the run has it


def test_a_run_that_is_left_nothing_to_learn_from_is_told_so(folder: Path):
    with pytest.raises(Failure, match="none are left to train on") as failure:
        described(folder, f"[[datasets]]\n{ALL}[[datasets.subsets]]\nimage_dir = 'cats'\n")
    assert failure.value.option == "dataset_config"


def test_what_one_dataset_holds_out_the_others_do_not_learn_from(folder: Path):
    """The same folder at two sizes, as it is trained at several resolutions, named in two ways."""
    text = """
[[datasets]]
validation_split = 0.34
resolution = 64
  [[datasets.subsets]]
  image_dir = "dogs"
[[datasets]]
resolution = 96
  [[datasets.subsets]]
  image_dir = "cats/../dogs"
  [[datasets.subsets]]
  image_dir = "others"
  num_repeats = 1
  is_reg = true
"""
    found = described(folder, text)
    (out,) = found.held_out
    learned = [(item.subset.dataset, item.picture.name) for item in found.items if not item.is_regularisation]
    assert len(learned) == 4
    assert out.picture.name not in {name for _, name in learned}
    assert sum(item.repeats for item in found.items if item.is_regularisation) == 2  # as the second dataset's own
    assert [note for note in found.notes if "held out" in note] == [
        "1 of the pictures held out is also listed elsewhere, in another dataset or as regularisation pictures: they "
        "are not trained on there either."
    ]
    both = described(
        folder,
        text.replace("validation_split = 0.34", "").replace(
            "[[datasets]]", "[general]\nvalidation_split = 0.34\n[[datasets]]", 1
        ),
    )
    assert [item.subset.dataset for item in both.held_out] == [0, 1]  # the same picture, measured at both sizes
    assert not any("held out" in note for note in both.notes)
