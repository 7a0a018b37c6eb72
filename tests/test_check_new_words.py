"""What is said before a start about words that cannot be taught, or not like this."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from engine.check.check import check
from engine.check.problem import Problem
from engine.settings.training import TrainingSettings

GOOD = {"token_string": "zig", "caption_template": "object template", "init_word": "circle"}


def problems(settings: TrainingSettings, **changes: Any) -> dict[str, Problem]:
    """The first of each option."""
    told = settings.for_method("textual_inversion").with_values(GOOD | changes)
    return {problem.option: problem for problem in reversed(check(told).problems)}


def test_a_word_with_a_template_has_nothing_against_it(settings: TrainingSettings):
    assert problems(settings) == {}


@pytest.mark.parametrize(
    ("changes", "option", "what"),
    [
        ({"token_string": " , "}, "token_string", "No word to teach is given."),
        ({"token_string": "my cat"}, "token_string", '"my cat" contains a blank.'),
        ({"token_string": "(zig:2)"}, "token_string", '"(zig:2)" contains (, ), :.'),
        ({"token_string": "circle"}, "token_string", 'The text encoder already knows "circle" as a single token'),
        ({"token_string": "zig, Zig", "caption_template": "caption"}, "token_string", '"Zig" is there twice.'),
        ({"token_string": "zig, a/b", "caption_template": "caption"}, "token_string", '"a/b"'),
        ({"token_string": "zig, zag"}, "caption_template", "The object template is about one word, but"),
        ({"init_word": " "}, "init_word", "Init word is empty."),
        ({"caption_template": "caption"}, "token_string", 'No caption contains "zig", so it would not be learned.'),
        ({"token_string": "zig, zag", "caption_template": "caption", "caption_prefix": "zig, zag ",
          "embedding_weights": "a.pt"}, "embedding_weights", "A file of one word cannot begin several."),
        ({"dreamartist": True, "token_string": "zig, zag", "caption_prefix": "zig zag "}, "token_string",
         "DreamArtist teaches one word and its opposite, but Token string has 2."),
        ({"embedding_weights": "/nowhere/a.pt"}, "embedding_weights", 'There is no file "/nowhere/a.pt".'),
        ({"token_string": "zig, ema", "caption_prefix": "zig ema "}, "token_string", 'The file of "ema" would have'),
        ({"token_string": "zig, step00000001"}, "token_string", 'The file of "step00000001" would have the name'),
        ({"token_string": "zig, " + "z" * 60}, "token_string", f'"{"z" * 40}…" has 60 letters.'),
        ({"token_string": "--n"}, "token_string", '"--n" contains --.'),
        ({"token_string": "z\u200big"}, "token_string", '"z\u200big" contains an invisible character.'),
        ({"lumina_checkbox": True}, "token_string", "Lumina Image 2.0 reads captions without CLIP, so it cannot be"),
        ({"flux1_checkbox": True, "flux_model_type": "chroma"}, "token_string", "Chroma reads captions without CLIP"),
    ],
)  # fmt: skip
def test_what_cannot_be_taught_is_refused_in_a_sentence(
    settings: TrainingSettings, changes: dict[str, Any], option: str, what: str
):
    found = problems(settings, **changes)[option]
    assert found.what.startswith(what)
    assert found.blocking
    assert found.mend


def test_words_in_the_captions_need_no_template(settings: TrainingSettings):
    assert problems(settings, caption_template="caption", caption_prefix="a Zig, ") == {}


@pytest.mark.parametrize(
    ("vectors", "init_word", "what"),
    [
        (3, "circle", "Init word is of 1 token and Vectors is 3: it begins each of them."),
        (3, "red circle", "Init word is of 2 tokens and Vectors is 3: they begin them in turn."),
        (2, "red circle", None),
        (1, "red circle", None),
        (3, "zigzagging", None),  # of several tokens, which are not counted here
    ],
)
def test_fewer_tokens_than_vectors_are_told(settings: TrainingSettings, vectors: int, init_word: str, what: str | None):
    found = problems(settings, num_vectors_per_token=vectors, init_word=init_word).get("init_word")
    assert (found and found.what, bool(found and found.blocking)) == (what, False)


@pytest.mark.parametrize(("rate", "is_told"), [(0.05, False), (0.2, True)])
def test_a_word_may_learn_faster_than_a_model(settings: TrainingSettings, rate: float, is_told: bool):
    assert ("learning_rate" in problems(settings, learning_rate=rate)) == is_told


def test_a_word_in_any_folder_s_prefix_will_do(settings: TrainingSettings, tmp_path: Path):
    (folder,) = Path(settings.folders.train_data_dir).iterdir()
    shutil.copytree(folder, tmp_path / "more")
    (tmp_path / "set.toml").write_text(
        f"""[[datasets]]
        resolution = 64
        [[datasets.subsets]]
        image_dir = "{folder}"
        [[datasets.subsets]]
        image_dir = "{tmp_path}/more"
        num_repeats = 2
        caption_prefix = "a zig"
        """
    )
    told = {"caption_template": "caption", "dataset_config": str(tmp_path / "set.toml"), "train_data_dir": ""}
    assert "token_string" not in problems(settings, **told)
    assert "token_string" in problems(settings, **told, token_string="zag")


@pytest.mark.parametrize("vocabulary", ["[" * 200_000, "5", "{"])
def test_a_vocabulary_that_is_none_ends_no_check(settings: TrainingSettings, tmp_path: Path, vocabulary: str):
    folder = tmp_path / "model"
    shutil.copytree(settings.source_model.pretrained_model_name_or_path, folder)
    (folder / "tokenizer" / "vocab.json").write_text(vocabulary)
    assert "token_string" not in problems(settings, pretrained_model_name_or_path=str(folder))
