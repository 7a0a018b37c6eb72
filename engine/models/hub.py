"""Downloads models from the Hugging Face hub: only what a run reads, reporting progress in bytes."""

from __future__ import annotations

import re
import shutil
import threading
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path, PurePosixPath
from typing import Any

from huggingface_hub import HfApi, constants, hf_hub_download, snapshot_download, try_to_load_from_cache
from tqdm.auto import tqdm

from engine.failure import Failure, Stopped
from engine.models.hub_reach import not_reached, users_token
from engine.models.recognise import LARGEST_LIST, LISTS, MOVED
from engine.models.single_file import first_line
from engine.reading import small_json

INDEX = LISTS[0]

Tell = Callable[[int, int], None]
"""Called with bytes done and bytes in total, from any thread; raising ends the download."""

_TELL: ContextVar[Tell | None] = ContextVar("tell", default=None)

WEIGHTS = (".safetensors", ".bin")

_VARIANTS = {"fp16", "bf16", "fp32", "non_ema", "ema_only"}
"""Marks in the names of weights that duplicate others in a different format."""


@contextmanager
def downloads_told(tell: Tell) -> Iterator[None]:
    """Within the block, downloads report to `tell`."""
    token = _TELL.set(tell)
    try:
        yield
    finally:
        _TELL.reset(token)


def fetched(name: str, kinds: Mapping[str, Collection[str]], option: str, weights: bool = True) -> Path:
    """The local folder of a hub model, downloaded if it is not there yet.

    kinds: diffusers' names of what it may be, the usual one first, and the sub-folders to read for each.
    option: the one that names it.  weights: otherwise only configurations and tokenizers, some kilobytes.
    The token comes from HF_TOKEN. Interrupted downloads are resumed.
    Raises Failure with a sentence for people; Stopped and the like from `tell` come through.
    """
    name = MOVED.get(name, name)
    token = users_token()
    files, kind = _files_and_kind(name, token, option)
    if kind not in kinds:
        raise _another(name, kind, next(iter(kinds)), option)
    return _downloaded(name, files, [INDEX, *_wanted(needed_files(files, kinds[kind]), weights)], token, option)


def fetch_lists(name: str, option: str) -> None:
    """Download what recognise() needs of a hub model: some kilobytes, from which it can recognise the model.

    option: the one that names it.  Raises as fetched() does.
    """
    name = MOVED.get(name, name)
    token = users_token()
    files, _ = _files_and_kind(name, token, option)
    _downloaded(name, files, [file for file in LISTS if file in files], token, option)


def fetched_module(name: str, within: str, option: str, weights: bool = True) -> Path:
    """The local folder of one module from the hub, which is a repository or part of a model's.

    within: the part's sub-folder.  option: the one that names it.  weights: otherwise only the configuration.
    Raises as fetched() does.
    """
    token = users_token()
    try:
        files = _listed(name, token)
    except Exception as error:
        raise not_reached(name, error, option) from error
    place = next((place for place in (within, ".") if str(PurePosixPath(place) / "config.json") in files), None)
    if place is None:
        raise Failure(
            f"{name} on the hub has no config.json, neither at the top level nor in {within}.",
            "Choose a model in diffusers' format, or download its file and give the path.",
            option,
        )
    return _downloaded(name, files, _wanted(needed_files(files, [place]), weights), token, option) / place


def _wanted(files: list[str], weights: bool) -> list[str]:
    return [file for file in files if weights or not file.endswith(WEIGHTS)]


def _downloaded(name: str, files: dict[str, int], needed: list[str], token: str | bool, option: str) -> Path:
    missing = {file: files[file] for file in needed if not isinstance(try_to_load_from_cache(name, file), str)}
    _refuse_full_disk(name, sum(missing.values()), option)
    try:
        with _bar_class(sum(missing.values())) as bar:
            folder = snapshot_download(name, allow_patterns=[_literal(f) for f in needed], token=token, tqdm_class=bar)
    except (Failure, Stopped):
        raise
    except Exception as error:
        _refuse_full_disk(name, 0, option, error)
        raise Failure(
            f"The download of {name} was interrupted: {first_line(error)}.",
            "Start again; what has already been downloaded is kept.",
            option,
        ) from error
    return Path(folder)


def needed_files(files: Collection[str], parts: Collection[str]) -> list[str]:
    """The files that diffusers reads of the parts: configurations, tokenizers, and each part's weights in one format,
    preferring safetensors, and plain files over those in another number format.
    """
    chosen: list[str] = []
    for part in sorted(parts):
        own = [file for file in files if str(PurePosixPath(file).parent) == part]
        chosen += [file for file in own if file.endswith((".json", ".txt", ".model")) and ".index." not in file]
        for ending in WEIGHTS:
            weights = [file for file in own if file.endswith((ending, f"{ending}.index.json")) and _is_diffusers(file)]
            plain = [file for file in weights if not _VARIANTS & set(re.split("[.-]", PurePosixPath(file).name))]
            # A table of shards may exist next to an older file; diffusers uses the shards that the table names.
            if plain:
                sharded = any(file.endswith(".index.json") for file in plain)
                chosen += [file for file in plain if not sharded or "-of-" in file or file.endswith(".json")]
                break
    return sorted(chosen)


def _is_diffusers(file: str) -> bool:
    """Whether diffusers or transformers would name weights like this, rather than OpenVINO or the like."""
    return PurePosixPath(file).name.startswith(("diffusion_pytorch_model", "pytorch_model", "model"))


def _files_and_kind(name: str, token: str | bool, option: str) -> tuple[dict[str, int], str]:
    """All files of a model with their sizes, and diffusers' name of what it is.  Raises Failure."""
    try:
        files = _listed(name, token)
        if INDEX not in files:
            raise _no_diffusers_model(name, files, option)
        index = small_json(Path(hf_hub_download(name, INDEX, token=token)), LARGEST_LIST)
        return files, str(index.get("_class_name"))
    except Failure:
        raise
    except Exception as error:
        raise not_reached(name, error, option) from error


def _listed(name: str, token: str | bool) -> dict[str, int]:
    """All files of a model and their sizes in bytes."""
    siblings = HfApi(token=token).model_info(name, files_metadata=True).siblings or []
    return {file.rfilename: file.size or 0 for file in siblings}


def _another(name: str, kind: str, wanted: str, option: str) -> Failure:
    found, needed = (text.removesuffix("Pipeline") for text in (kind, wanted))
    return Failure(
        f"{name} on the hub is a {found} model, not a {needed} model.",
        "Choose another model, or set the model family to this one's.",
        option,
    )


def _no_diffusers_model(name: str, files: Collection[str], option: str) -> Failure:
    single = sorted(file for file in files if file.endswith((".safetensors", ".ckpt")) and "/" not in file)
    mend = "Choose a model that has a model_index.json."
    if single:
        mend = f"Download {single[0]} from its page, and give the path of that file."
    return Failure(f"{name} on the hub is not a model in diffusers' format: it has no {INDEX}.", mend, option)


def _refuse_full_disk(name: str, needed: int, option: str, error: BaseException | None = None) -> None:
    """Raise Failure if the disk has less than `needed` bytes free, or if an error was caused by a full disk."""
    cache = Path(constants.HF_HUB_CACHE)
    there = next(parent for parent in (cache, *cache.parents) if parent.is_dir())
    free = shutil.disk_usage(there).free
    full = False
    while error is not None and not full:
        full, error = isinstance(error, OSError) and error.errno == 28, error.__cause__ or error.__context__
    if full or free < needed:
        more = f"{needed / 1e9:.1f} GB still have to be downloaded" if needed else "there is no room for the rest"
        raise Failure(
            f"{name} does not fit on the disk: {more}, and {there} has {free / 1e9:.1f} GB free.",
            "Free up some space, or set the environment variable HF_HOME to a folder on another disk.",
            option,
        )


def _literal(file: str) -> str:
    """A pattern that only this name matches."""
    return "".join(f"[{letter}]" if letter in "*?[" else letter for letter in file)


@contextmanager
def _bar_class(total: int) -> Iterator[type[tqdm]]:
    """The progress bar class for huggingface_hub: it shows nothing, and reports what it counts.

    There is a bar for bytes received and one for bytes written, of which some ways of downloading only move one and
    others both; and one for files, which is not reported.
    """
    tell, lock, counts = _TELL.get(), threading.Lock(), dict[int, float]()

    class Bar(tqdm):
        def __init__(self, *args: Any, **given: Any) -> None:
            self._counts = given.get("unit") == "B"
            super().__init__(*args, **given | {"disable": True})

        def update(self, n: float | None = 1) -> None:
            if tell is None or not self._counts:
                return
            with lock:
                counts[id(self)] = counts.get(id(self), 0) + (n or 0)
                tell(min(int(max(counts.values())), total), total)

    if tell is not None and total:
        tell(0, total)
    yield Bar
    if tell is not None and total:
        tell(total, total)


def local_first(load: Callable[[bool], Any]) -> Any:
    """What was downloaded before, without asking the hub, so at once and offline."""
    try:
        return load(True)
    except OSError:
        return load(False)
