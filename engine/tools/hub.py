"""Models of utilities: a folder that the user names, or a name of the Hugging Face hub, downloaded once."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from engine.failure import Failure
from engine.settings.paths import is_hub_name, typed_path


def files_of(source: str, names: Sequence[str], option: str) -> list[Path]:
    """Where the files of these names lie.  A model that was downloaded before is taken without asking the hub.

    source: a folder that holds them, or OWNER/MODEL, or OWNER/MODEL/FOLDER.  Raises Failure that says which files
    belong where.
    """
    folder = typed_path(source)
    if folder.is_dir():
        missing = [name for name in names if not (folder / name).is_file()]
        if missing:
            raise Failure(f"The folder {folder} is missing {' and '.join(missing)}.", wanted(source, names), option)
        return [folder / name for name in names]
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import EntryNotFoundError, LocalEntryNotFoundError

    source, within = _repository(source)
    refuse_no_name(source, option)
    found = []
    for name in (within + name for name in names):
        try:
            found.append(Path(hf_hub_download(source, name, local_files_only=True)))
        except (LocalEntryNotFoundError, OSError, ValueError):
            try:
                found.append(Path(hf_hub_download(source, name)))
            except EntryNotFoundError as error:
                if isinstance(error, LocalEntryNotFoundError):
                    raise cannot_load(source, names, option, error) from error
                raise Failure(f"{source} has no file {name}.", "Choose another model.", option) from error
            except Exception as error:  # the hub's and the network's libraries raise many kinds
                raise cannot_load(source, names, option, error) from error
    return found


def _repository(source: str) -> tuple[str, str]:
    """OWNER/MODEL, and FOLDER/ where one of its folders is named too."""
    owner, _, rest = source.partition("/")
    model, _, folder = rest.partition("/")
    name = f"{owner}/{model}"
    return (name, f"{folder}/") if folder and "/" not in folder and is_hub_name(name) else (source, "")


def refuse_no_name(source: str, option: str) -> None:
    """Raises Failure where a text is neither a folder nor a name of the hub."""
    if not source.strip() or not is_hub_name(source):
        raise Failure(
            f"There is no folder {source!r}.", "Enter a folder, or a Hugging Face name such as OWNER/MODEL.", option
        )


def cannot_load(source: str, names: Sequence[str], option: str, error: Exception) -> Failure:
    """A model of the hub that is not on this machine and cannot be fetched."""
    from huggingface_hub.errors import RepositoryNotFoundError

    causes = [error]
    while cause := causes[-1].__cause__ or causes[-1].__context__:
        causes.append(cause)  # type: ignore[arg-type]
    if any(isinstance(cause, RepositoryNotFoundError) for cause in causes):
        return Failure(f"Hugging Face has no model {source}, or it is not public.", "Check the name.", option)
    return Failure(
        f"The model {source} is not on this machine yet, and Hugging Face cannot be reached.",
        f"Connect to the internet and start again. {wanted(source, names)}",
        option,
    )


def wanted(source: str, names: Sequence[str]) -> str:
    page = f" of https://huggingface.co/{source}" if source.strip() and is_hub_name(source) else ""
    return f"Or put {' and '.join(names)}{page} into a folder and enter its path here."
