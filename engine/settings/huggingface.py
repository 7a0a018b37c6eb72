"""Trained files that go to Hugging Face."""

from __future__ import annotations

from engine.settings.option import Group, option
from engine.settings.waiting import HUB

SECTION = "Parameters/HuggingFace"


class HuggingFace(Group):
    huggingface_repo_id: str = option(
        "",
        label="Huggingface repo id",
        section=SECTION,
        help="Repository to upload the trained files to, as owner/name. Leave empty not to upload.",
        standing=HUB,
    )
    huggingface_token: str = option(
        "",
        label="Huggingface token",
        section=SECTION,
        help="Your access token with write permission. It is never written to a file.",
        standing=HUB,
        widget="secret",
    )
    huggingface_repo_type: str = option(
        "",
        label="Huggingface repo type",
        section=SECTION,
        help="model, dataset or space; model is usual.",
        standing=HUB,
        suggestions=("model", "dataset", "space"),
    )
    huggingface_repo_visibility: str = option(
        "",
        label="Huggingface repo visibility",
        section=SECTION,
        help="public or private; if empty, private.",
        standing=HUB,
        suggestions=("private", "public"),
    )
    huggingface_path_in_repo: str = option(
        "",
        label="Huggingface path in repo",
        section=SECTION,
        help="Folder in the repository.",
        standing=HUB,
    )
    save_state_to_huggingface: bool = option(
        False,
        label="Save state to huggingface",
        section=SECTION,
        help="Also upload training states.",
        standing=HUB,
    )
    resume_from_huggingface: str = option(
        "",
        label="Resume from huggingface",
        section=SECTION,
        help="A training state to resume from, as owner/name/folder.",
        standing=HUB,
    )
    async_upload: bool = option(
        False,
        label="Async upload",
        section=SECTION,
        help="Continue training while files are being uploaded.",
        standing=HUB,
    )
