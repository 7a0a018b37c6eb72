"""Secrets in scripts' other lines, and words that only sound like secrets in what is trained on."""

from __future__ import annotations

import pytest

from engine.check.choices import check_choices
from engine.settings.files import parse_settings
from engine.settings.secrets import hidden, is_secret, without_secrets
from engine.settings.training import TrainingSettings

S = "S3CRETS3CRETabcdefghijkl"
TOKEN = f"hf_{S}"


@pytest.mark.parametrize(
    "name", ["caption_prefix", "caption_suffix", "sample_prompts", "training_comment", "metadata_title"]
)
@pytest.mark.parametrize(
    "text",
    [
        "token=sks, a photo",
        "a note 'secret': cat",
        "password = 1girl",
        "--hub_token x",
        "hf_short",
        "//a@b, Bearer of x",
    ],
)
def test_a_run_is_given_its_texts_as_they_were_written(name: str, text: str):
    settings = TrainingSettings().with_values({name: text})
    assert settings.parted_from_secrets() == (settings, [])


@pytest.mark.parametrize("token", [TOKEN, "ghp_" + "a1B2" * 9, "github_pat_" + "a1B2_" * 9])
def test_an_access_token_in_a_text_is_hidden_and_told(token: str):
    for name, label in (("caption_prefix", "Caption prefix"), ("additional_parameters", "Additional parameters")):
        settings = TrainingSettings().with_values({name: f"see {token}, cat"})
        kept, names = settings.parted_from_secrets()
        assert (kept.values()[name], names) == ("see …, cat", [label])
        assert any(label in problem.what for problem in check_choices(settings) if "secrets" in problem.what)


LINES = [
    f'$x = 1\n$wandb_api_key = "{S}" # my key',
    f'$env:WANDB_API_KEY = "{S}" ; echo hi',
    f'$x = 1\n[string]$wandb_api_key = Join-String "{S}" x',
    f"set WANDB_API_KEY = {S}",
    f'set "HF_TOKEN={S}" & echo x',
    f"setx HF_TOKEN {S}",
    f'setx /m x 1\nsetx "HF_TOKEN" "{S}"',
    f'$hf_token = Get-Secret "{S}"',
    f'[Environment]::SetEnvironmentVariable("HF_TOKEN", "{S}")',
    f"git clone https://user:{S}@huggingface.co/x/y",
    f"git clone https://{S}@github.com/x/y",
    f'curl -H "Authorization: Bearer {S}" https://x',
    f"curl -H 'Authorization: Basic {S}' https://x",
    f"export HF_TOKEN {S}",
    f'if [ x ]; then\n  export HF_TOKEN="{S}"\nfi',
    f"KEY_TOKEN={S}\ncurl -d key:$KEY_TOKEN x",
    f"set MY_SECRET={S}\ncurl %MY_SECRET%",
    f'$my_secret = "{S}"\nInvoke-It $my_secret',
]


@pytest.mark.parametrize("lines", LINES)
def test_what_is_said_of_a_scripts_other_lines_holds_no_secret(lines: str):
    loaded = parse_settings(f"{lines}\naccelerate launch train_network.py --network_dim=16\n")
    assert loaded.settings.network.network_dim == 16
    said = [*loaded.notes, *loaded.report()]
    assert not any(S[:12] in sentence for sentence in said), said


def test_names_of_ways_to_log_in_are_secrets_and_authors_are_none():
    for name in ("hf_auth", "auth", "HF_AUTH", "oauth", "basicAuth"):
        assert is_secret(name), name
    for name in ("author", "metadata_author", "authors", "authority"):
        assert not is_secret(name), name
    assert without_secrets({"hf_auth": S, "author": "me"}) == ({"author": "me"}, ["hf_auth"])


@pytest.mark.parametrize("text", ["see https://a.b/c@d", "mail a@b.c", "the bearer of it", "ask for authorization"])
def test_plain_words_near_those_stay(text: str):
    assert hidden(text) == text
