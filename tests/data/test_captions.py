"""What becomes of a caption each time its picture is shown: sd-scripts' conventions, worked out by hand."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.data.captions import Moment, caption_of, may_vary, varied, with_wildcards, worded
from engine.data.items import Item, Subset, captions_of
from engine.failure import Failure
from engine.settings.captions import Captions

CAPTION = "sks cat, sitting, red hat, indoors"


NOW = Moment()


def seen(count: int = 200, moment: Moment = NOW, caption: str = CAPTION, **settings: object) -> list[str]:
    rng = random.Random(3)
    return [varied(caption, Captions(**settings), moment, rng) for _ in range(count)]


def test_a_caption_is_left_as_it_is():
    assert set(seen()) == {CAPTION}


@pytest.mark.shows("shuffle_caption", "keep_tokens")
def test_parts_are_shuffled_but_those_kept_in_front():
    shuffled = seen(shuffle_caption=True)
    assert {tuple(sorted(caption.split(", "))) for caption in shuffled} == {tuple(sorted(CAPTION.split(", ")))}
    assert len(set(shuffled)) == 24  # 4!
    kept = seen(shuffle_caption=True, keep_tokens=2)
    assert set(kept) == {CAPTION, "sks cat, sitting, indoors, red hat"}


@pytest.mark.shows("keep_tokens_separator")
def test_a_mark_keeps_what_stands_before_it_in_front_and_what_stands_behind_a_second_one_at_the_end():
    options = {"shuffle_caption": True, "keep_tokens_separator": "|||", "keep_tokens": 1}
    assert set(seen(caption="a, b ||| c, d ||| e,, f", **options)) == {"a, b, c, d, e, f", "a, b, d, c, e, f"}
    assert {caption[:4] for caption in seen(caption="a, b ||| c, d", **options)} == {"a, b"}
    assert {caption[0] for caption in seen(caption="a, b, c", **options)} == {"a"}  # no mark: the number counts


@pytest.mark.shows("secondary_separator")
def test_parts_tied_together_are_moved_as_one():
    tied = set(seen(caption="a;;;b, c", shuffle_caption=True, secondary_separator=";;;"))
    assert tied == {"a,b, c", "c, a,b"}
    assert set(seen(caption="a;;;b", secondary_separator=";;;")) == {"a,b"}


SHUFFLED_BEHIND_A_MARK = {"shuffle_caption": True, "keep_tokens_separator": "|||"}


@pytest.mark.shows("caption_separator")
def test_parts_are_told_apart_by_the_separator_and_joined_by_it_and_a_blank():
    """As sd-scripts has it since its pull request 2390 of June 2026, which joined them by commas before."""
    assert set(seen(caption="a. b", shuffle_caption=True, caption_separator=".")) == {"a. b", "b. a"}
    assert set(seen(caption="a, b", shuffle_caption=True, caption_separator=".")) == {"a, b"}
    sentences = seen(
        caption="A man stands. He holds a cup. It rains", shuffle_caption=True, keep_tokens=1, caption_separator=". "
    )
    assert set(sentences) == {"A man stands.  He holds a cup.  It rains", "A man stands.  It rains.  He holds a cup"}
    assert set(seen(caption="a ; b|||c;d|||e", caption_separator=";", **SHUFFLED_BEHIND_A_MARK)) == {
        "a; b; c; d; e", "a; b; d; c; e",
    }  # fmt: skip
    assert set(seen(caption="a|b|c", caption_separator="|", token_warmup_step=4.0, token_warmup_min=2)) == {"a| b"}


@pytest.mark.parametrize("separator", [",", ""])
def test_by_default_they_are_joined_as_ever(separator: str):
    assert set(seen(caption="a,b", shuffle_caption=True, caption_separator=separator)) == {"a, b", "b, a"}


@pytest.mark.shows("caption_prefix", "caption_suffix")
def test_words_stand_before_and_behind_every_caption_and_count_among_its_parts():
    around = {"caption_prefix": "photo,", "caption_suffix": ", film"}
    assert set(seen(caption="cat", **around)) == {"photo, cat , film"}
    kept = seen(caption="cat, red", shuffle_caption=True, keep_tokens=1, **around)
    assert {caption.split(", ")[0] for caption in kept} == {"photo"}
    assert set(seen(**around, caption_dropout_rate=1)) == {""}
    assert worded("", Captions(**around), Moment(), random.Random()) == "photo,  , film"


@pytest.mark.shows("enable_wildcard")
def test_of_braces_one_is_chosen_and_of_several_lines_one_too():
    assert set(seen(caption="a {red|blue} cat\na dog", enable_wildcard=True)) == {"a red cat", "a blue cat", "a dog"}
    assert set(seen(caption="a {red|blue} cat\na dog")) == {"a {red|blue} cat"}


@pytest.mark.parametrize(
    ("caption", "wordings"),
    [
        ("{{plain}}", {"{plain}"}),
        ("{{{a|b}}}", {"{a", "{b}"}),  # }} is taken first, and belongs to b
        ("{a|{b|c} d}", {"a d}", "{b d}", "c d}"}),
        ("{}", {"{}"}),
        ("{a||b}", {"a", "", "b"}),
        ("{open", {"{open"}),
    ],
)
def test_wildcards_end_at_the_first_brace_as_sd_scripts_has_it(caption: str, wordings: set[str]):
    rng = random.Random(0)
    assert {with_wildcards(caption, rng) for _ in range(60)} == wordings


@pytest.mark.shows("caption_dropout_rate")
def test_captions_are_dropped_at_their_rate():
    assert 60 < seen(400, caption_dropout_rate=0.25).count("") < 140  # 100 expected, deviation 8.7


@pytest.mark.shows("caption_dropout_every_n_epochs")
def test_every_nth_epoch_has_no_captions():
    """Epochs count from 1, as in sd-scripts."""
    without = [epoch for epoch in range(1, 8) if set(seen(5, Moment(epoch), caption_dropout_every_n_epochs=3)) == {""}]
    assert without == [3, 6]


@pytest.mark.shows("caption_tag_dropout_rate")
def test_parts_are_left_out_at_their_rate_but_those_in_front():
    thinned = seen(400, caption_tag_dropout_rate=0.25, keep_tokens=1)
    assert {caption.split(", ")[0] for caption in thinned} == {"sks cat"}
    assert 230 < sum("red hat" in caption for caption in thinned) < 370  # 300 expected, deviation 8.7
    assert set(seen(caption_tag_dropout_rate=1, keep_tokens=1)) == {"sks cat"}


@pytest.mark.shows("token_warmup_min", "token_warmup_step")
def test_captions_grow_with_the_steps():
    """Between 4 parts and 1 kept: ⌊step · (3 − 1) / 10⌋ + 1 of the three others."""

    def parts(step: int, **options: object) -> int:
        caption = seen(1, Moment(step=step, steps=20), keep_tokens=1, **options)[0]
        return len(caption.split(", "))

    warmup = {"token_warmup_min": 1, "token_warmup_step": 10}
    assert [parts(step, **warmup) for step in (0, 4, 5, 9, 10, 11)] == [2, 2, 3, 3, 4, 4]
    assert [parts(step, token_warmup_step=0.5) for step in (0, 9, 10)] == [2, 3, 4]  # a share of the 20 steps
    assert parts(0, token_warmup_min=0, token_warmup_step=10) == 1
    assert parts(0, token_warmup_min=9, token_warmup_step=10) == 4


any_settings = st.builds(
    Captions,
    shuffle_caption=st.booleans(),
    keep_tokens=st.integers(0, 4),
    keep_tokens_separator=st.sampled_from(["", "|||"]),
    secondary_separator=st.sampled_from(["", ";;;"]),
    caption_separator=st.sampled_from([",", ".", ""]),
    caption_prefix=st.sampled_from(["", "sks"]),
    enable_wildcard=st.booleans(),
    caption_dropout_rate=st.sampled_from([0, 0.5]),
    caption_tag_dropout_rate=st.sampled_from([0, 0.5]),
    token_warmup_step=st.sampled_from([0, 0.5, 3]),
    token_warmup_min=st.integers(0, 3),
)
any_caption = st.text("ab ,.;|{}\n", max_size=24)


@given(any_caption, any_settings, st.integers(0, 9), st.integers(0, 2**32))
def test_a_caption_is_a_function_of_its_settings_moment_and_seed_and_has_one_line(caption, settings, step, seed):
    moment = Moment(1 + step // 5, step, 10)
    first, again = (varied(caption, settings, moment, random.Random(seed)) for _ in range(2))
    assert first == again
    assert "\n" not in first
    if not settings.secondary_separator and not settings.caption_prefix and not settings.enable_wildcard:
        assert set(first) <= set(caption) | set(", ")  # nothing is invented


@given(any_caption, any_settings)
def test_what_does_not_vary_has_one_wording(caption, settings):
    if not may_vary(caption, settings):
        moments = [Moment(1 + step // 5, step, 10) for step in range(10)]
        assert len({worded(caption, settings, moment, random.Random(moment.step)) for moment in moments}) == 1


@given(st.lists(st.sampled_from("abcdefg"), max_size=8), st.integers(0, 4), st.integers())
def test_shuffling_loses_and_adds_no_part(parts: list[str], keep: int, seed: int):
    settings = Captions(shuffle_caption=True, keep_tokens=keep)
    shuffled = worded(", ".join(parts), settings, Moment(), random.Random(seed)).split(", ")
    assert shuffled[:keep] == (parts or [""])[:keep]
    assert sorted(shuffled) == sorted(parts or [""])


class TestFiles:
    def test_the_first_line_counts_or_every_line_with_wildcards(self, tmp_path: Path):
        (tmp_path / "a.txt").write_bytes("\ufeff a cat \r\n\r\na red cat\n".encode())
        assert caption_of(tmp_path / "a.png", ".txt", "") == "a cat"
        assert caption_of(tmp_path / "a.png", ".txt", "", all_lines=True) == "a cat\na red cat"

    def test_a_picture_without_one_has_its_folders_words(self, tmp_path: Path):
        assert caption_of(tmp_path / "b.png", ".txt", "sks cat") == "sks cat"

    def test_a_cut_out_face_may_share_the_whole_pictures_caption(self, tmp_path: Path):
        (tmp_path / "a_b.txt").write_text("two of us")
        assert caption_of(tmp_path / "a_b_0_10_20_30.png", ".txt", "") == "two of us"
        assert caption_of(tmp_path / "a_b_0_10.png", ".txt", "none") == "none"
        (tmp_path / "a_b_0_10_20_30.txt").write_text("one")
        assert caption_of(tmp_path / "a_b_0_10_20_30.png", ".txt", "") == "one"

    def test_those_that_cannot_be_read_are_told_together(self, tmp_path: Path):
        for name in ("a", "b", "c"):
            (tmp_path / f"{name}.txt").write_bytes(b"caf\xe9")
        items = [Item(tmp_path / f"{name}.png", "", 1, subset=Subset()) for name in ("a", "b", "c")]
        with pytest.raises(Failure) as failure:
            captions_of(items)
        assert all(f"{name}.txt" in failure.value.what for name in ("a", "b", "c"))
        assert failure.value.mend == "Save it as UTF-8."
