"""sd-scripts' files of sample prompts: read whatever form they have, or refused with the reason."""

from __future__ import annotations

import codecs
import json
from pathlib import Path

import pytest

from engine.settings.files import read_settings
from engine.settings.prompt_files import read_prompt_file
from engine.settings.samples import SamplePrompt, Samples

TOML = """
[prompt]
width = 512
height = 768
negative_prompt = "blurry"

[[prompt.subset]]
prompt = "a cat"
seed = 42
scale = 7.5

[[prompt.subset]]
prompt = "a dog"
width = 640
sample_steps = 20
sample_sampler = "ddim"
guidance_scale = 3.5
flow_shift = 3.1
"""

JSON = [
    "a cat --w 512 --d 1",
    {"prompt": "a dog,\nsitting", "width": 640, "height": 768, "seed": 3, "scale": 5, "negative_prompt": "blurry"},
    {"prompt": "a bird", "enum": 2, "renorm_cfg": 1.0, "cfg_trunc_ratio": 0.25, "seed": None},
]


def prompts(text: str) -> list[SamplePrompt]:
    return Samples(sample_prompts=text).prompts()


def test_toml_has_what_is_common_and_what_is_a_prompts_own(tmp_path: Path):
    (tmp_path / "p.toml").write_text(TOML, encoding="utf-8")
    assert prompts(read_prompt_file(tmp_path / "p.toml")) == [
        SamplePrompt("a cat", "blurry", width=512, height=768, seed=42, guidance_scale=7.5),
        SamplePrompt(
            "a dog", "blurry", 640, 768, 20, told_guidance=3.5, sampler="ddim", ignored=("--fs",)
        ),
    ]  # fmt: skip


def test_json_has_lines_and_tables(tmp_path: Path):
    (tmp_path / "p.json").write_text(json.dumps(JSON), encoding="utf-8")
    assert prompts(read_prompt_file(tmp_path / "p.json")) == [
        SamplePrompt("a cat", width=512, seed=1),
        SamplePrompt("a dog, sitting", "blurry", 640, 768, seed=3, guidance_scale=5),
        SamplePrompt("a bird", cfg_trunc_ratio=0.25, renorm_cfg=1.0),
    ]


@pytest.mark.parametrize(
    "written",
    [
        "a caf\u00e9\na dog".encode(),
        "a caf\u00e9\r\na dog\r\n".encode("utf-8-sig"),
        codecs.BOM_UTF16_LE + "a caf\u00e9\r\na dog".encode("utf-16-le"),
        codecs.BOM_UTF16_BE + "a caf\u00e9\na dog".encode("utf-16-be"),
    ],
)
@pytest.mark.parametrize("ending", [".txt", ".TXT", ".prompts"])
def test_text_of_any_encoding_that_says_what_it_is(tmp_path: Path, written: bytes, ending: str):
    (tmp_path / f"p{ending}").write_bytes(written)
    assert [prompt.text for prompt in prompts(read_prompt_file(tmp_path / f"p{ending}"))] == ["a caf\u00e9", "a dog"]


@pytest.mark.parametrize(
    ("name", "content", "why"),
    [
        ("p.txt", "a caf\u00e9".encode("cp1252"), "it is not UTF-8 text; save it as UTF-8"),
        ("p.txt", "a cat".encode("utf-16-le"), "it is not UTF-8 text; save it as UTF-8"),
        ("p.json", "[\"a caf\u00e9\"]".encode("cp1252"), "it is not UTF-8 text; save it as UTF-8"),
        ("p.json", b'{"prompt": "a cat"}', "its JSON is no list of prompts"),
        ("p.json", b'["a cat",', "it is not valid JSON"),
        ("p.json", b"[" * 100_000, "it is not valid JSON"),
        ("p.json", b'["a cat", 3]', "prompt 2 in it is neither text nor a table with a prompt"),
        ("p.json", b'[{"prompt": "a cat", "hight": 512}]', "hight in its prompt 1 is not known"),
        ("p.json", b'[{"prompt": "a cat", "width": "wide"}]', "in its prompt 1, --w is 'wide'; it takes a number"),
        ("p.json", b'[{"prompt": "a cat --w 512"}]', "its prompt 1 cannot be written as a line"),
        ("p.json", b'[{"prompt": "# a cat"}]', "its prompt 1 cannot be written as a line"),
        ("p.toml", b"[prompt]\nwidth = 512\n", "it has no [[prompt.subset]]"),
        ("p.toml", b"prompt = 'a cat'", "it has no [[prompt.subset]]"),
        ("p.toml", b"[prompt\nwidth = 512\n", "it is not valid TOML in line 1"),
        ("p.txt", b"a" * (2**20 + 1), "it is too large for sample prompts"),
    ],
)  # fmt: skip
def test_others_are_refused_with_the_reason(tmp_path: Path, name: str, content: bytes, why: str):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ValueError, match="^" + why.replace("[", r"\[")):
        read_prompt_file(tmp_path / name)
    (tmp_path / "run.sh").write_text(f"accelerate launch train_network.py --sample_prompts {name}\n")
    loaded = read_settings(tmp_path / "run.sh")
    assert f"The sample prompts are in {name}, which was not read: {why}" in " ".join(loaded.report())
    assert loaded.settings.hardware.additional_parameters == f"--sample_prompts {name}"


@pytest.mark.parametrize("name", ["gone.txt", "gone.toml", "D:/gym/prompts.json"])
def test_one_that_is_not_there_is_said_to_be_so(tmp_path: Path, name: str):
    (tmp_path / "run.sh").write_text(f"accelerate launch train_network.py --sample_prompts {name}\n")
    assert f"{name}, which was not read: it does not exist. Copy them into Sample prompts." in " ".join(
        read_settings(tmp_path / "run.sh").report()
    )


def test_a_command_names_one(tmp_path: Path):
    (tmp_path / "p.toml").write_text(TOML, encoding="utf-8")
    (tmp_path / "run.sh").write_text("accelerate launch train_network.py --sample_prompts p.toml\n")
    s = read_settings(tmp_path / "run.sh").settings
    assert [prompt.text for prompt in s.samples.prompts()] == ["a cat", "a dog"]
