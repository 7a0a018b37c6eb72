"""Aesthetic scores as training reads them: thresholds, weights and words, each against a calculation by hand."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from PIL import Image

from engine.check.check import check
from engine.data.folders import move_into_concept
from engine.data.items import captions_of
from engine.data.scores import score_of, score_weights
from engine.data.survey import survey
from engine.data.training_set import training_set
from engine.failure import Failure
from engine.settings.taste import Taste
from engine.settings.training import TrainingSettings

SCORES = {"a": 4.0, "b": 5.5, "c": 7.0, "d": 9.0, "none": None}


@pytest.fixture
def scored(tmp_path: Path, settings: TrainingSettings) -> TrainingSettings:
    """A folder with SCORES, and one of regularisation pictures that have a low one."""
    for folder, scores in (("img/2_cat", SCORES), ("reg/1_animal", {"r": 0.5})):
        place = tmp_path / "scored" / folder
        place.mkdir(parents=True)
        for name, score in scores.items():
            Image.new("RGB", (64, 64), (30, 60, 90)).save(place / f"{name}.png")
            (place / f"{name}.txt").write_text(f"{name}, sitting")
            if score is not None:
                (place / f"{name}.score").write_text(f"{score}\n")
    return settings.with_values(
        {"train_data_dir": str(tmp_path / "scored/img"), "reg_data_dir": str(tmp_path / "scored/reg")}
    )


def names(settings: TrainingSettings) -> list[str]:
    return [item.picture.stem for item in training_set(settings).items]


def problems(settings: TrainingSettings, **changes) -> dict[str, tuple[str, bool]]:
    """(What is said, whether it hinders the start) by option; of several about one, that which does."""
    checked = check(settings.with_values(changes))
    order = sorted(checked.problems, key=lambda problem: problem.blocking)
    return {problem.option: (problem.sentences, problem.blocking) for problem in order}


# ── threshold ─────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.shows("score_threshold")
def test_pictures_below_the_threshold_are_left_out_and_the_plan_says_how_many(scored: TrainingSettings):
    assert names(scored) == ["a", "b", "c", "d", "none", "r"]
    sifted = scored.with_values({"score_threshold": 5.5})
    assert names(sifted) == ["b", "c", "d", "none", "r"]
    sentence = "1 of 5 pictures is left out: its aesthetic score is below 5.5, the Score threshold."
    assert training_set(sifted).notes == (sentence,)
    assert (sentence, False) in [(problem.what, problem.blocking) for problem in check(sifted).problems]
    assert sentence in survey(sifted).notes
    plan, before = check(sifted).plan, check(scored).plan
    assert plan
    assert before
    # 2 repeats of 4 and of 5 pictures, and as many regularisation pictures
    assert (plan.pictures, before.pictures) == (16, 20)
    assert "2 of 5 pictures are left out: their" in training_set(scored.with_values({"score_threshold": 6})).notes[0]


def test_a_threshold_that_leaves_nothing_is_refused(scored: TrainingSettings):
    (Path(scored.folders.train_data_dir) / "2_cat/none.score").write_text("1")
    said, blocks = problems(scored, score_threshold=9.5)["score_threshold"]
    assert blocks
    assert said == (
        "The aesthetic scores of all 5 pictures are below 9.5, the Score threshold, so none are left to train on. "
        "Lower Score threshold."
    )


def test_the_threshold_acts_before_pictures_are_held_out(scored: TrainingSettings):
    held = training_set(scored.with_values({"score_threshold": 5.5, "validation_split": 0.5}))
    assert len(held.held_out) == 2  # half of the four that are left
    assert "a" not in {item.picture.stem for item in (*held.items, *held.held_out)}


# ── weights ───────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.shows("score_weighting", "score_low", "score_high", "score_low_weight")
def test_weights_rise_in_a_straight_line_and_their_mean_over_an_epoch_is_one():
    taste = Taste(score_weighting=True, score_low=5, score_high=7, score_low_weight=0.5)
    # r = 0.5 + 0.5 · clip((s - 5) / 2, 0, 1): 0.5, 0.5, 0.75, 1, 1
    scores, shown = [2.0, 5.0, 6.0, 7.0, 9.5, None], [1, 1, 2, 1, 1, 3]
    mean = (0.5 + 0.5 + 2 * 0.75 + 1 + 1) / 6
    weights = score_weights(scores, shown, taste)
    assert weights == pytest.approx([0.5 / mean, 0.5 / mean, 0.75 / mean, 1 / mean, 1 / mean, 1])
    assert sum(w * n for w, n in zip(weights, shown, strict=True)) / sum(shown) == pytest.approx(1)
    assert score_weights(scores, shown, Taste()) == [1] * 6
    assert score_weights([None, None], [1, 1], taste) == [1, 1]


def test_bounds_that_are_no_range_are_refused(scored: TrainingSettings):
    given = {"score_weighting": True, "score_low": 7, "score_high": 7}
    assert problems(scored, **given)["score_low"] == (
        "Low score is 7, not below High score, which is 7. Lower it, or raise High score.", True,
    )  # fmt: skip
    assert "score_low" not in problems(scored, **{**given, "score_weighting": False})


# ── words ─────────────────────────────────────────────────────────────────────────────────────────────

WORDS = "7: masterpiece, best quality\n5:\n0: low quality"


@pytest.mark.shows("score_words", "score_words_at")
def test_captions_get_the_words_of_the_highest_line_that_the_score_reaches(scored: TrainingSettings):
    def captions(**changes: str) -> list[str]:
        return captions_of(training_set(scored.with_values({"score_words": WORDS, **changes})).items)

    assert captions() == [
        "low quality, a, sitting", "b, sitting", "masterpiece, best quality, c, sitting",
        "masterpiece, best quality, d, sitting", "none, sitting", "r, sitting",
    ]  # fmt: skip
    assert captions(score_words_at="end")[0] == "a, sitting, low quality"
    assert captions(score_words="-1: poor; 8.5 : great,")[:4] == [
        "poor, a, sitting", "poor, b, sitting", "poor, c, sitting", "great, d, sitting",
    ]  # fmt: skip
    assert captions(score_words="6: good", caption_separator=";")[2] == "good; c, sitting"
    assert captions(score_words="6: good")[0] == "a, sitting"  # no line reaches down to it


def test_words_go_into_every_line_of_a_caption_and_stand_alone_where_there_is_none():
    taste = Taste(score_words="5: good")
    assert taste.told("one\ntwo", 6, ",") == "good, one\ngood, two"
    assert taste.told("", 6, ",") == "good"
    assert taste.told("", 4, ",") == ""


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("masterpiece", 'has the line "masterpiece", which does not begin with a score and a colon'),
        ("5: a\nb", 'the line "b"'),
        ("5,5: a", 'the line "5,5: a"'),
        (f"{'9' * 400}: a", "does not begin with a score"),
        ("5: a\n5.0: b", "two lines for the score 5.0"),
    ],
)
def test_lines_that_are_no_scores_and_words_are_refused(scored: TrainingSettings, text: str, words: str):
    said, blocks = problems(scored, score_words=text)["score_words"]
    assert blocks
    assert words in said


def test_bounds_that_all_scores_are_beyond_are_pointed_out(scored: TrainingSettings):
    beyond = problems(scored, score_weighting=True, score_low=0, score_high=4, score_words="9.5: best")
    assert beyond["score_low"] == (
        "The aesthetic scores go from 4 to 9, which is all outside Low score and High score (0 to 4), so every picture "
        "gets the same weight. Enter a range within the scores.", False,
    )  # fmt: skip
    assert beyond["score_words"] == (
        "The aesthetic scores go from 4 to 9, so no picture gets any of the words. Enter lines for lower scores.",
        False,
    )  # fmt: skip
    within = problems(scored, score_weighting=True, score_low=0, score_high=5, score_words="9: best")
    assert not {"score_low", "score_words"} & set(within)


# ── where scores come from ────────────────────────────────────────────────────────────────────────────


def test_pictures_without_a_score_are_named_and_where_none_has_one_nothing_starts(scored: TrainingSettings):
    said, blocks = problems(scored, score_weighting=True)["score_weighting"]
    assert not blocks
    assert said.startswith('1 picture has no aesthetic score: "2_cat/none.png". They are used as they are')
    for file in Path(scored.folders.train_data_dir).rglob("*.score"):
        file.unlink()
    for changes in ({"score_threshold": 5}, {"score_weighting": True}, {"score_words": WORDS}):
        said, blocks = problems(scored, **changes)[next(iter(changes))]
        assert blocks
        assert said.startswith("No picture has an aesthetic score, so")
    assert not {"score_threshold", "score_weighting", "score_words"} & set(problems(scored))


@pytest.mark.parametrize("content", [b"good", b"nan", b"inf", b"", b"\xff", b"1" * 500], ids=range(6))
def test_a_file_without_a_number_is_named_and_is_no_matter_where_nothing_asks(scored: TrainingSettings, content: bytes):
    file = Path(scored.folders.train_data_dir) / "2_cat/b.score"
    file.write_bytes(content)
    with pytest.raises(Failure, match=r"aesthetic score .*b.score"):
        score_of(file.with_suffix(".png"))
    assert problems(scored, score_threshold=5)["score_threshold"][1]
    assert names(scored)[1] == "b"
    assert "b.score" in next(one.problem for one in survey(scored).seen if one.picture.stem == "b")


def test_a_list_says_scores_too_and_a_file_beside_counts_for_what_it_leaves_out(
    scored: TrainingSettings, tmp_path: Path
):
    folder, listed = Path(scored.folders.train_data_dir) / "2_cat", tmp_path / "list.json"
    listed.write_text(json.dumps({"a": {"caption": "a", "aesthetic_score": 8}, "b": {"tags": "b"}, "none": {}}))
    given = {"train_data_dir": str(folder), "reg_data_dir": "", "in_json": str(listed), "score_threshold": 5}
    fine = scored.with_values(given).model_copy(update={"method": "finetune"})
    assert [item.score for item in training_set(fine).items] == [8, 5.5, None]
    assert names(fine.with_values({"score_threshold": 6})) == ["a", "none"]
    listed.write_text(json.dumps({"a": {"aesthetic_score": "good"}}))
    with pytest.raises(Failure, match='aesthetic_score of "a" must be a number'):
        training_set(fine)
    assert names(fine.with_values({"score_threshold": 0})) == ["a"]


def test_pictures_of_a_dataset_config_are_sifted_and_described_alike(scored: TrainingSettings, tmp_path: Path):
    config = tmp_path / "data.toml"
    folder = Path(scored.folders.train_data_dir) / "2_cat"
    config.write_text(f"[[datasets]]\n[[datasets.subsets]]\nimage_dir = '{folder}'\nnum_repeats = 2\n")
    given = {"dataset_config": str(config), "score_threshold": 6, "score_words": WORDS, "caption_extension": ".txt"}
    found = training_set(scored.with_values(given))
    assert captions_of(found.items) == [
        "masterpiece, best quality, c, sitting", "masterpiece, best quality, d, sitting", "none, sitting",
    ]  # fmt: skip
    assert found.notes[0].startswith("2 of 5 pictures are left out")


def test_a_score_moves_with_its_picture(tmp_path: Path):
    Image.new("RGB", (64, 64)).save(tmp_path / "a.png")
    (tmp_path / "a.score").write_text("5")
    target = move_into_concept(tmp_path, ".txt")
    assert score_of(target / "a.png") == 5
