"""Can new words be taught as the settings ask?"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Mapping
from pathlib import Path

from engine.check.problem import Problem
from engine.data.items import Item, captions_of
from engine.data.output_names import AVERAGED, beside_names, why_no_name
from engine.data.templates import SENTENCES
from engine.failure import Failure
from engine.reading import small_json
from engine.settings.families import TITLES, FamilyName
from engine.settings.textual_inversion import as_a_word, folded
from engine.settings.training import TrainingSettings

WITHOUT_CLIP: tuple[FamilyName, ...] = ("chroma", "lumina", "hunyuan", "anima", "qwen")
LARGEST_VOCABULARY = 2**25

MARKS = '{}|()[]:"\\'
"""That have a meaning of their own in captions and prompts."""

LONGEST_WORD = 50

APART = "as files"

RESERVED = re.compile(rf"({AVERAGED[1:]}|state|(step)?\d+)(-.*)?", re.IGNORECASE)
"""What else follows an output name and a hyphen: averages, states, epochs and steps."""


def check_new_words(items: list[Item], settings: TrainingSettings) -> Iterator[Problem]:
    if not settings.teaches_words:
        return
    family, s = settings.family(), settings.textual_inversion
    if family in WITHOUT_CLIP:
        yield Problem(
            "token_string",
            f"{TITLES[family]} reads captions without CLIP, so it cannot be taught new words.",
            "Choose another base model, or train a LoRA.",
        )
        return
    words = s.words()
    if not words:
        yield Problem("token_string", "No word to teach is given.", "Enter one that does not exist, such as my-cat.")
        return
    yield from _of_each(words, settings)
    yield from _beside_vocabulary(words, settings)
    if s.caption_template in SENTENCES and len(words) > 1:
        yield Problem(
            "caption_template",
            f"The {s.caption_template} is about one word, but Token string has {len(words)}.",
            "Set Template to caption and write the words in the captions, or teach one word.",
        )
    if settings.applied("dreamartist") and len(words) > 1:
        yield Problem(
            "token_string",
            f"DreamArtist teaches one word and its opposite, but Token string has {len(words)}.",
            "Name one word, or turn off DreamArtist.",
        )
    if s.embedding_weights and len(words) > 1:
        yield Problem(
            "embedding_weights", "A file of one word cannot begin several.", "Clear it, or teach one word at a time."
        )
    elif s.embedding_weights and not Path(s.embedding_weights).is_file():
        yield Problem(
            "embedding_weights", f'There is no file "{s.embedding_weights}".', "Correct the path, or clear the field."
        )
    if not s.init_word.strip():
        yield Problem(
            "init_word", "Init word is empty.", "Enter an existing word that is near to the new one, such as cat."
        )
    if settings.applied("dreamartist") and not s.negative_init_word.strip():
        yield Problem("negative_init_word", "Negative init word is empty.", "Enter an existing word; * is any.")
    if s.caption_template not in SENTENCES:
        yield from _in_captions(words, items)


def _of_each(words: list[str], settings: TrainingSettings) -> Iterator[Problem]:
    for word in words:
        marks = sorted({mark for mark in word if mark in MARKS or unicodedata.category(mark)[0] in "CZ"})
        if marks or word.startswith("--"):
            said = ", ".join("a blank" if mark.isspace() else mark if mark.isprintable() else "an invisible character"
                             for mark in marks or ["--"])  # fmt: skip
            yield Problem(
                "token_string",
                f'"{word}" contains {said}.',
                "Use letters, digits, - and _; other characters mean something else in prompts.",
            )
        elif "." in word and settings.method == "lora" and settings.textual_inversion.save_words != APART:
            yield Problem(
                "token_string", f'"{word}" contains a dot, at which programs end the names of words in LoRA files.',
                "Choose a word without one, or save new words as files.",
            )  # fmt: skip
        elif len(word) > LONGEST_WORD:
            yield Problem(
                "token_string", f'"{word[:40]}…" has {len(word)} letters.', f"Use at most {LONGEST_WORD} letters."
            )
        elif f"-{word}" in beside_names(settings):
            if why := why_no_name(word):
                yield Problem("token_string", f'"{word}" {why}.', "The word is part of its file's name.")
            elif RESERVED.fullmatch(word):
                yield Problem(
                    "token_string",
                    f'The file of "{word}" would have the name of another file of this run.',
                    "Choose another word, or name it first where only words are taught.",
                )
    twice = [word for number, word in enumerate(words) if folded(word) in map(folded, words[:number])]
    if twice:
        yield Problem("token_string", f'"{twice[0]}" is there twice.', "Name each word once.")


def _beside_vocabulary(words: list[str], settings: TrainingSettings) -> Iterator[Problem]:
    """Where the model is a folder that has its vocabulary; of other models a run sees it once they are loaded."""
    folder, s = Path(settings.source_model.pretrained_model_name_or_path), settings.textual_inversion
    try:
        vocabulary = small_json(folder / "tokenizer" / "vocab.json", LARGEST_VOCABULARY)
    except (OSError, ValueError):
        return
    if not isinstance(vocabulary, dict):
        return
    if known := [word for word in words if _is_token(word, vocabulary)]:
        yield Problem(
            "token_string",
            f'The text encoder already knows "{known[0]}" as a single token, and other prompts would lose it.',
            "Choose a word that does not exist.",
        )
    begins_as = s.init_word.split()
    count = len(begins_as)
    # Words of several tokens are not counted here: how CLIP divides them is its tokenizer's to say.
    if 0 < count < s.num_vectors_per_token and all(_is_token(word, vocabulary) for word in begins_as):
        yield Problem(
            "init_word",
            f"Init word is of {count} {'token' if count == 1 else 'tokens'} and Vectors is {s.num_vectors_per_token}: "
            f"{'it begins each of them' if count == 1 else 'they begin them in turn'}.",
            f"Nothing needs to be done; up to {s.num_vectors_per_token} words can be given.",
            blocking=False,
        )


def _is_token(word: str, vocabulary: Mapping[str, int]) -> bool:
    return f"{folded(word)}</w>" in vocabulary


def _in_captions(words: list[str], items: list[Item]) -> Iterator[Problem]:
    """A word that no caption has is not learned; none of them: nothing is."""
    own = [item for item in items if not item.is_regularisation]
    try:
        captions = captions_of(own)
    except Failure:  # said elsewhere
        return
    subsets = {id(item.subset): item.subset.captions for item in own}.values()
    around = [text for one in subsets for text in (one.caption_prefix, one.caption_suffix)]
    texts = [folded(text) for text in (*captions, *around)]
    missing = [word for word in words if not any(map(as_a_word(folded(word)).search, texts))]
    if missing and own:
        yield Problem(
            "token_string",
            f'No caption contains "{missing[0]}", so it would not be learned.',
            "Write it in the captions, set Caption prefix to it, or choose a template.",
        )
