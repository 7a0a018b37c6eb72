"""The WD14 tagger: what it sees, and which tags it writes in which order."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from engine.failure import Failure
from engine.runs.folder import RunFolder
from engine.tools.taggers import CATEGORIES, Tag, Tagger, load_tagger, prepared, read_mapping, read_tags
from engine.tools.wd14 import Tagging, chosen_tags, expanded, replacements_in, without_underscores
from tests.tools.running import run_job, settings_of
from tests.tools.small_tagger import SIZE, TAGS, save_mapped_tagger, save_tagger

ROWS = [Tag(name, CATEGORIES[str(category)]) for name, category, _ in TAGS]
SURE = [factor for _, _, factor in TAGS]
"""The probabilities for a white picture."""


@pytest.fixture(scope="module")
def tagger(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tagger(tmp_path_factory.mktemp("wd14") / "tagger")


# ── what it sees ──────────────────────────────────────────────────────────────────────────────────────


def test_a_picture_is_padded_with_white_and_given_as_blue_green_red_from_0_to_255():
    wide = Image.new("RGB", (4, 2), (10, 20, 30))
    seen = prepared(wide, 4)
    assert seen.shape == (4, 4, 3)
    assert seen.dtype == np.float32
    assert (seen[0] == 255).all()  # (4 - 2) / 2 = one row of white above, one below
    assert (seen[3] == 255).all()
    assert (seen[1:3] == [30, 20, 10]).all()


def test_an_odd_row_of_padding_is_below_as_the_taggers_own_program_has_it():
    seen = prepared(Image.new("RGB", (3, 2), "black"), 3)
    assert seen[:, 0, 0].tolist() == [0, 0, 255]  # (3 - 2) // 2 = 0 above


def test_scaling_keeps_the_mean_and_the_size_is_the_models(tagger: Path):
    checks = Image.fromarray(np.indices((64, 64)).sum(axis=0).astype(np.uint8) % 2 * 255).convert("RGB")
    model = Tagger(tagger / "model.onnx", tagger / "selected_tags.csv")
    seen = prepared(checks, model.size)
    assert seen.shape == (SIZE, SIZE, 3)
    assert abs(seen.mean() - 127.5) < 1


@pytest.mark.parametrize("batch", ["N", 1, 3])
def test_models_of_any_batch_size_give_every_picture_its_own_answer(tmp_path: Path, batch: int | str):
    folder = save_tagger(tmp_path / "tagger", batch)
    model = Tagger(folder / "model.onnx", folder / "selected_tags.csv")
    pictures = [np.full((SIZE, SIZE, 3), level, np.float32) for level in (0, 51, 102, 255)]
    expected = np.outer([0, 0.2, 0.4, 1], SURE)  # brightness times factor
    assert np.allclose(model.probabilities(pictures), expected, atol=1e-6)


def test_files_that_are_no_taggers_are_named(tmp_path: Path):
    (tmp_path / "model.onnx").write_bytes(b"no model")
    (tmp_path / "selected_tags.csv").write_text("a,b\n1,2\n")
    with pytest.raises(Failure, match="needs the columns name and category"):
        Tagger(tmp_path / "model.onnx", tmp_path / "selected_tags.csv")
    short = save_tagger(tmp_path / "short", rows=3)
    with pytest.raises(Failure, match=r"has 10 tags, but selected_tags.csv lists 3"):
        Tagger(short / "model.onnx", short / "selected_tags.csv")
    (short / "model.onnx").write_bytes(b"no model")
    with pytest.raises(Failure, match=r"model.onnx cannot be loaded"):
        Tagger(short / "model.onnx", short / "selected_tags.csv")


HEAD = "tag_id,name,category,count\n"


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("", "has no row"),
        (HEAD, "has no row"),
        ("tag_id,name\n1,a\n", "needs the columns"),
        (HEAD + "1\n", "needs the columns"),  # a row that ends before its name
        (HEAD + "1,a,0,1\n2\n", "needs the columns"),
        (HEAD + f"1,{'a' * 1001},0,1\n", "needs the columns"),
        (HEAD + f"1,{'a' * 10**6},0,1\n", "needs the columns"),
        (HEAD + '1,"a\nb",0,1\n', "needs the columns"),
        ("\udc00", "needs the columns"),  # bytes that are no UTF-8
    ],
    ids=range(9),
)
def test_a_list_that_no_tagger_has_is_refused_in_one_sentence(tmp_path: Path, content: str, words: str):
    file = tmp_path / "selected_tags.csv"
    file.write_bytes(content.encode(errors="surrogatepass"))
    with pytest.raises(Failure, match=words) as refused:
        read_tags(file)
    assert len(refused.value.what) < 300


def test_numbers_of_a_list_that_mean_nothing_here_do_no_harm(tmp_path: Path):
    file = tmp_path / "selected_tags.csv"
    rows = f"-5,a,0,1\n{'9' * 5000},b,{'9' * 5000},1\n3,c,-4,x\n4,d\n5,,0,1\n6,e,4,6,7,8\n"
    file.write_text("\ufeff" + HEAD + rows, encoding="utf-8")
    read = [(tag.name, tag.category) for tag in read_tags(file)]
    assert read == [("a", "general"), ("b", None), ("c", None), ("d", None), ("", None), ("e", "character")]


def test_a_mapping_with_numbers_far_beyond_its_tags_is_refused(tmp_path: Path):
    file, entry = tmp_path / "tag_mapping.json", {"tag": "a", "category": "General"}
    for numbers in (["999999999999"], ["0", "-1"], ["0", "20"], ["9" * 4000], ["9" * 5000]):
        file.write_text(json.dumps(dict.fromkeys(numbers, entry)))
        with pytest.raises(Failure, match="is not a tag list") as refused:
            read_mapping(file)
        assert len(refused.value.what) < 300
    for wrong in ({}, {"0": "a"}, {"0": {**entry, "tag": 7}}, {"0": {**entry, "tag": "a\nb"}}, {"0": {"tag": "a"}}):
        file.write_text(json.dumps(wrong))
        with pytest.raises(Failure, match="is not a tag list"):
            read_mapping(file)
    file.write_text(json.dumps({"0": entry, "3": entry}))
    assert [tag.name for tag in read_mapping(file)] == ["a", "", "", "a"]


def test_the_list_is_read_in_the_order_of_the_model(tagger: Path):
    assert read_tags(tagger / "selected_tags.csv") == ROWS


# ── which tags, in which order ────────────────────────────────────────────────────────────────────────

MIKU = "hatsune miku (vocaloid)"


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({}, ["1girl", "long hair", "(o)_(o)", MIKU]),
        ({"general_threshold": 0.8}, ["1girl", "long hair", MIKU]),  # 0.8 itself is enough
        ({"general_threshold": 0.2}, ["1girl", "long hair", "(o)_(o)", "smile", MIKU]),
        ({"character_threshold": 0.96}, ["1girl", "long hair", "(o)_(o)"]),
        ({"character_threshold": 0.1}, ["1girl", "long hair", "(o)_(o)", MIKU, "rin"]),
        ({"undesired_tags": "long hair, 1girl"}, ["(o)_(o)", MIKU]),
        ({"undesired_tags": "long_hair,hatsune_miku_(vocaloid)"}, ["1girl", "(o)_(o)"]),
        ({"undesired_tags": "long hair", "remove_underscore": False}, ["1girl", "(o)_(o)", "hatsune_miku_(vocaloid)"]),
        ({"always_first_tags": "smile, (o)_(o), long hair"}, ["(o)_(o)", "long hair", "1girl", MIKU]),
        ({"remove_underscore": False}, ["1girl", "long_hair", "(o)_(o)", "hatsune_miku_(vocaloid)"]),
        ({"use_rating_tags": True}, ["sensitive", "1girl", "long hair", "(o)_(o)", MIKU]),
        ({"use_rating_tags_as_last_tag": True}, ["1girl", "long hair", "(o)_(o)", MIKU, "sensitive"]),
        ({"use_rating_tags": True, "undesired_tags": "sensitive"}, ["1girl", "long hair", "(o)_(o)", MIKU]),
        ({"character_tag_expand": True}, ["1girl", "long hair", "(o)_(o)", "hatsune miku", "vocaloid"]),
        ({"character_tags_first": True}, [MIKU, "1girl", "long hair", "(o)_(o)"]),
        ({"tag_replacement": "1girl,one girl;long hair,1girl"}, ["one girl", "1girl", "(o)_(o)", MIKU]),
        ({"tag_replacement": "long hair,1girl"}, ["1girl", "(o)_(o)", MIKU]),  # written once
        ({"caption_separator": "; ", "undesired_tags": "1girl; smile"}, ["long hair", "(o)_(o)", MIKU]),
    ],
)
@pytest.mark.shows(
    "caption-wd14.general_threshold", "caption-wd14.character_threshold", "caption-wd14.undesired_tags",
    "caption-wd14.always_first_tags", "caption-wd14.remove_underscore", "caption-wd14.use_rating_tags",
    "caption-wd14.use_rating_tags_as_last_tag", "caption-wd14.character_tag_expand",
    "caption-wd14.character_tags_first", "caption-wd14.tag_replacement",
)  # fmt: skip
def test_tags_follow_the_options(settings: dict, expected: list[str]):
    assert chosen_tags(ROWS, SURE, Tagging(**settings)) == expected


@pytest.mark.parametrize(
    ("name", "shown"),
    [("long_hair", "long hair"), ("^_^", "^_^"), ("0_0", "0_0"), (">_o", ">_o"), ("(o)_(o)", "(o)_(o)"),
     ("<|>_<|>", "<|>_<|>"), ("||_||", "||_||"), ("a_b_c", "a_b_c"), ("ok_sign", "ok sign"), ("1girl", "1girl")],
)  # fmt: skip
def test_underscores_stay_in_emoticons_alone(name: str, shown: str):
    assert without_underscores(name) == shown


@pytest.mark.parametrize(
    ("name", "parts"),
    [("saber_(fate)", ["saber", "fate"]), ("saber_(summer)_(fate)", ["saber_(summer)", "fate"]), ("rin", ["rin"]),
     ("(fate)", ["(fate)"])],
)  # fmt: skip
def test_characters_are_expanded_into_name_and_series(name: str, parts: list[str]):
    assert expanded(name) == parts


def test_replacements_may_hold_commas_and_semicolons():
    assert replacements_in(r"a\,b,A\;B; c , d ;") == {"a,b": "A;B", "c": "d"}
    assert replacements_in("") == {}
    with pytest.raises(Failure, match="is not a tag, a comma and another tag"):
        replacements_in("a,b,c")


words = st.text("ab_() ^", min_size=1, max_size=6)


@given(st.lists(words, unique=True), st.lists(words), st.lists(words), st.booleans(), st.data())
def test_whatever_the_tags_none_is_written_twice_and_no_undesired_one(names, undesired, first, underscores, data):
    tags = [Tag(name, "general") for name in names]
    sure = data.draw(st.lists(st.floats(0, 1), min_size=len(tags), max_size=len(tags)))
    settings = Tagging(
        undesired_tags=",".join(undesired), always_first_tags=",".join(first), remove_underscore=underscores
    )
    found = chosen_tags(tags, sure, settings)
    assert len(found) == len(set(found))
    assert not {tag.strip() for tag in undesired} & set(found)
    assert {tag.replace("_", " ") for tag in found} <= {
        tag.name.replace("_", " ") for tag, p in zip(tags, sure, strict=True) if p >= 0.35
    }


# ── the whole job ─────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "img").mkdir()
    for name, level in (("bright", 255), ("dim", 128)):
        Image.new("RGB", (10, 10), (level,) * 3).save(tmp_path / "img" / f"{name}.png")
    return tmp_path / "img"


@pytest.mark.shows("caption-wd14.repo_id", "caption-wd14.frequency_tags", "caption-wd14.caption_separator")
def test_a_folder_is_tagged_and_the_tags_are_counted(folder: Path, tagger: Path):
    outcome, told = run_job("caption-wd14", train_data_dir=str(folder), repo_id=str(tagger), caption_separator="; ")
    assert outcome == ("done", 2)
    assert (folder / "bright.txt").read_text() == f"1girl; long hair; (o)_(o); {MIKU}\n"
    assert (folder / "dim.txt").read_text() == f"1girl; long hair; (o)_(o); {MIKU}\n".replace("(o)_(o)", "(o)_(o)")
    written, frequencies = told.results
    assert written.text == "2 captions written."
    assert frequencies.lines == ["(o)_(o): 2", "1girl: 2", f"{MIKU}: 2", "long hair: 2"]
    _, told = run_job(
        "caption-wd14", train_data_dir=str(folder), repo_id=str(tagger), overwrite=True, frequency_tags=False
    )
    assert len(told.results) == 1


def test_the_tags_of_a_run_that_was_stopped_are_all_counted(folder: Path, tagger: Path):
    given = {"train_data_dir": str(folder), "repo_id": str(tagger), "prefix": "photo of, x"}
    run = RunFolder.create("caption-wd14", "{}", "x")
    run_job("caption-wd14", run, **given)
    (folder / "bright.txt").unlink()
    Image.new("RGB", (10, 10), "white").save(folder / "third.png")
    _, told = run_job("caption-wd14", run, **given)
    Image.new("RGB", (10, 10), "white").save(folder / "fourth.png")
    _, told = run_job("caption-wd14", run, **given)
    assert told.results[-1].text == "Tags of 4 pictures:"
    assert told.results[-1].lines == ["(o)_(o): 4", "1girl: 4", f"{MIKU}: 4", "long hair: 4"]


@pytest.mark.shows("caption-wd14.append_tags")
def test_tags_are_added_to_those_that_there_are(folder: Path, tagger: Path):
    (folder / "bright.txt").write_text("sks, 1girl")
    given = {"train_data_dir": str(folder), "repo_id": str(tagger), "append_tags": True}
    assert run_job("caption-wd14", **given)[0] == ("done", 2)
    expected = f"sks, 1girl, long hair, (o)_(o), {MIKU}\n"
    assert (folder / "bright.txt").read_text() == expected
    assert (folder / "bright.txt.bak").read_text() == "sks, 1girl"
    run_job("caption-wd14", **given)
    assert (folder / "bright.txt").read_text() == expected


@pytest.mark.parametrize(
    ("before", "lacking"),
    [
        ("1Girl, long_hair", f", (o)_(o), {MIKU}"),
        ("LONG HAIR, 1girl, (O)_(O)", f", {MIKU}"),
        (f"{MIKU.replace(' ', '_').upper()}, Long_Hair, 1girl, (o) (o)", ""),
    ],
)
def test_a_tag_that_differs_by_underscores_or_capitals_alone_is_not_added(
    folder: Path, tagger: Path, before: str, lacking: str
):
    (folder / "bright.txt").write_text(before)
    run_job("caption-wd14", train_data_dir=str(folder), repo_id=str(tagger), append_tags=True)
    assert (folder / "bright.txt").read_text().strip() == before + lacking


def test_undesired_tags_and_those_that_come_first_are_known_in_capitals_too():
    settings = Tagging(undesired_tags="1Girl", always_first_tags="LONG_hair", remove_underscore=True)
    found = chosen_tags(ROWS, SURE, settings)
    assert "1girl" not in found
    assert found[0] == "long hair"


@pytest.mark.shows("caption-wd14.batch_size")
def test_pictures_are_looked_at_in_batches(folder: Path, tagger: Path, monkeypatch: pytest.MonkeyPatch):
    sizes: list[int] = []
    real = Tagger.probabilities
    monkeypatch.setattr(
        Tagger, "probabilities", lambda self, pictures: sizes.append(len(pictures)) or real(self, pictures)
    )
    for number in range(3):
        Image.new("RGB", (9, 9)).save(folder / f"{number}.png")
    run_job("caption-wd14", train_data_dir=str(folder), repo_id=str(tagger), batch_size=2)
    assert sizes == [2, 2, 1]


def test_a_model_that_is_not_here_says_which_files_belong_where(folder: Path, tmp_path: Path):
    with pytest.raises(Failure) as refused:
        run_job("caption-wd14", train_data_dir=str(folder), repo_id="nobody/tagger")
    assert "put model.onnx and selected_tags.csv of https://huggingface.co/nobody/tagger" in refused.value.mend
    assert refused.value.option == "repo_id"
    (tmp_path / "empty").mkdir()
    with pytest.raises(Failure, match=r"is missing model.onnx and selected_tags.csv"):
        run_job("caption-wd14", train_data_dir=str(folder), repo_id=str(tmp_path / "empty"))


def test_what_is_wrong_with_the_settings_is_known_before_the_start(folder: Path):
    settings = settings_of("caption-wd14", train_data_dir=str(folder), tag_replacement="a")
    assert [failure.option for failure in settings.failures()] == ["tag_replacement"]


# ── cl_tagger's form ──────────────────────────────────────────────────────────────────────────────────


@pytest.mark.shows("caption-wd14.other_threshold", "caption-wd14.use_quality_tags")
def test_a_tagger_with_a_mapping_is_fed_as_sd_scripts_feeds_it(folder: Path, tmp_path: Path):
    """Its answers are logits; of a white picture, whose pixels are 1 there, they are the factors themselves."""
    tagger = save_mapped_tagger(tmp_path / "mapped")

    def said(**values) -> str:
        given = {"train_data_dir": str(folder), "repo_id": str(tagger), "overwrite": True, **values}
        assert run_job("caption-wd14", **given)[0] == ("done", 2)
        return (folder / "bright.txt").read_text().strip()

    sure = load_tagger(str(tagger)).probabilities([np.full((SIZE, SIZE, 3), 255, np.float32)])[0]
    assert sure[0] == pytest.approx(1 / (1 + np.exp(-2)), abs=1e-6)
    assert said() == "miku, 1girl, an artist, smile"  # 3, 2, 1.5 and 1: the likeliest first
    assert said(other_threshold=0.9) == "miku, 1girl, smile"  # 1.5 is 0.818
    assert said(use_quality_tags=True, use_rating_tags=True) == "safe, best quality, miku, 1girl, an artist, smile"
    assert said(general_threshold=0.8) == "miku, 1girl, an artist"  # 1 is 0.731


def test_a_folder_of_a_hub_model_is_named_behind_it(folder: Path):
    with pytest.raises(Failure, match="nobody/cl_tagger is not on this machine yet") as refused:
        load_tagger("nobody/cl_tagger/one")
    assert "model_optimized.onnx and tag_mapping.json" in refused.value.mend
    with pytest.raises(Failure, match="There is no folder '/not/here/at all'"):
        load_tagger("/not/here/at all")
    (folder / "tag_mapping.json").write_text("[]")
    (folder / "model.onnx").write_bytes(b"")
    with pytest.raises(Failure, match="is not a tag list"):
        load_tagger(str(folder))
