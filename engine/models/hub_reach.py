"""Is a Hugging Face hub model on this machine, and if not, can it be downloaded?  Within seconds, without torch."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterable, Sequence
from pathlib import Path

from huggingface_hub import constants, get_hf_file_metadata, hf_hub_url, try_to_load_from_cache
from huggingface_hub.errors import EntryNotFoundError, GatedRepoError, LocalEntryNotFoundError, RepositoryNotFoundError

from engine.failure import Failure
from engine.models.recognise import INDEX, LARGEST_LIST, MOVED
from engine.reading import small_json

PATIENCE = 4.0
"""Seconds to wait for the hub's answer; a later one is available the next time."""

REMEMBERED_GOOD, REMEMBERED_BAD = 600.0, 15.0
"""Seconds for which an answer is kept: a problem may be fixed the next moment."""

NOT_LOADED = ("safety_checker", "feature_extractor", "image_encoder")
"""Parts of diffusers' pipelines that look at pictures: finished ones, or ones to imitate."""

_WEIGHTS = (".safetensors", ".bin")


class TooSlow(Exception):
    """The hub has not answered in time, so nothing is known."""


class _Asked:
    """One request to the hub, in a separate thread: waiting for a dead name server can take half a minute."""

    def __init__(self, name: str, files: Sequence[str]) -> None:
        self._name, self._files = name, files
        self.answered = threading.Event()
        self.error: Exception | None = None
        self.until = float("inf")
        threading.Thread(target=self._ask, daemon=True, name="hub").start()

    def _ask(self) -> None:
        for file in self._files:
            try:
                url = hf_hub_url(self._name, file, endpoint=constants.ENDPOINT)
                get_hf_file_metadata(url, token=users_token())
                self.error = None
                break
            except Exception as error:  # the hub and network libraries raise many kinds of errors
                self.error = error
                if not isinstance(error, EntryNotFoundError):
                    break
        self.until = time.monotonic() + (REMEMBERED_BAD if self.error else REMEMBERED_GOOD)
        self.answered.set()


_asked: dict[tuple[object, ...], _Asked] = {}
_lock = threading.Lock()


def users_token() -> str | bool:
    """The token, for models that require one; without it, none is sent."""
    return os.environ.get("HF_TOKEN") or False


def refuse_unreachable(name: str, files: Sequence[str], option: str) -> None:
    """Raise Failure if a hub model cannot be downloaded, TooSlow if that is not known in time.

    files: it must have at least one of these, the likeliest first.  option: the one that names it.
    """
    name = MOVED.get(name, name)
    key = (name, *files, constants.ENDPOINT, constants.HF_HUB_OFFLINE, users_token())
    with _lock:
        asked = _asked.get(key)
        if asked is None or asked.until < time.monotonic():
            asked = _asked[key] = _Asked(name, files)
    if not asked.answered.wait(PATIENCE):
        raise TooSlow
    if asked.error is not None:
        raise not_reached(name, asked.error, option, files)


def is_cached(name: str, files: Iterable[str]) -> bool:
    """Whether one of these files of a model was downloaded before."""
    return any(isinstance(try_to_load_from_cache(MOVED.get(name, name), file), str) for file in files)


def is_whole(name: str) -> bool:
    """Whether everything that a run loads of a model in diffusers' format was downloaded before."""
    index = try_to_load_from_cache(MOVED.get(name, name), INDEX)
    if not isinstance(index, str):
        return False
    try:
        listed = small_json(Path(index), LARGEST_LIST)
        parts = [part for part, kind in listed.items() if isinstance(kind, list) and kind and kind[0]]
    except (OSError, ValueError, AttributeError):
        return False
    return all(_has_part(Path(index).parent / part) for part in parts if part not in NOT_LOADED)


def _has_part(folder: Path) -> bool:
    """A tokenizer or scheduler only has config files; any other part has weights, in one file or several."""
    if not (folder / "config.json").exists():
        return folder.is_dir() and any(folder.iterdir())
    names = {file.name for file in folder.iterdir()}
    tables = [folder / name for name in names if name.endswith(".index.json")]
    for table in tables:
        try:
            if set(small_json(table, LARGEST_LIST)["weight_map"].values()) <= names:
                return True
        except (OSError, ValueError, KeyError, AttributeError, TypeError):
            continue
    return not tables and any(name.endswith(_WEIGHTS) for name in names)


def not_reached(name: str, error: Exception, option: str, files: Sequence[str] = (INDEX,)) -> Failure:
    """A message about why the hub did not provide a model.  files: the requested alternatives."""
    page = f"{constants.ENDPOINT}/{name}"
    if isinstance(error, GatedRepoError):
        return Failure(
            f"{name} asks its users to accept a licence first.",
            f"Accept it at {page}, then set the environment variable HF_TOKEN to your token and start again.",
            option,
        )
    if isinstance(error, RepositoryNotFoundError):
        return Failure(
            f"The Hugging Face hub has no model {name!r}, or it is private.",
            "Check the name; for a private model, set the environment variable HF_TOKEN to your token.",
            option,
        )
    if isinstance(error, EntryNotFoundError) and not isinstance(error, LocalEntryNotFoundError):
        return Failure(
            f"{name} on the hub has no {' and no '.join(files)}, so it is not a model that can be loaded here.",
            f"Choose another one. If {page} has a single .safetensors file, download that and give its path.",
            option,
        )
    return Failure(
        f"{name} is not on this machine, and the Hugging Face hub cannot be reached.",
        "Connect to the internet for the first download, or download the model elsewhere and give its folder or "
        f".safetensors file here. ({_first_lines(error)})",
        option,
    )


def _first_lines(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return (" ".join(lines[:2]) if lines else type(error).__name__).rstrip(".")
