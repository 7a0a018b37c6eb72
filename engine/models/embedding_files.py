"""Files of new words: what A1111, Forge, ComfyUI, diffusers and sd-scripts read, and what they write.

One encoder's embeddings are emb_params, as sd-scripts names them; of several, or of one that could be another, clip_l
and clip_g.  In torch's format there is A1111's own layout.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from engine.failure import Failure
from engine.models.bundled_words import OF_ONE, PREFIX
from engine.models.weights_file import write_weights

ALONE = "emb_params"
OPTION = "embedding_weights"


def write_embeddings(file: Path, word: str, tables: Mapping[str, Tensor], metadata: Mapping[str, str]) -> None:
    """tables: (vectors, width) by the encoders' names.  Raises DiskFull, OSError."""
    pickled: Any = dict(tables)
    if set(tables) == {ALONE}:
        pickled = {"string_to_token": {"*": 265}, "string_to_param": {"*": tables[ALONE]}, "name": word, "step": None,
                   "sd_checkpoint": None, "sd_checkpoint_name": None}  # fmt: skip
    write_weights(file, tables, metadata, pickled=pickled)


def bundled(words: Iterable[tuple[str, Mapping[str, Tensor]]]) -> dict[str, Tensor]:
    """By their names in the LoRA file that they go into.  words: each with its tables by the encoders' names."""
    return {
        f"{PREFIX}{word}.{OF_ONE if name == ALONE else name}": table
        for word, tables in words
        for name, table in tables.items()
    }


def read_embeddings(file: Path, widths: Mapping[str, int], word: str = "") -> dict[str, Tensor]:
    """(vectors, width) float32 of each encoder.  widths: by the encoders' names.  word: which, of a LoRA file that has
    words bundled with it.  Raises Failure.
    """
    found = _named(_loaded(file, word))
    if len(widths) == len(found) == 1:  # by whatever name
        found = dict(zip(widths, found.values(), strict=True))
    if missing := [name for name in widths if name not in found]:
        raise _refused(f"{file.name} has no embeddings for this model's text encoder {missing[0]}.")
    tables: dict[str, Tensor] = {}
    for name, width in widths.items():
        table = torch.atleast_2d(found[name].float())
        if table.dim() != 2 or not len(table) or not table.isfinite().all():
            raise _refused(f"{file.name} is no file of embeddings, or it is damaged.")
        if table.shape[1] != width:
            raise _refused(
                f"The embeddings in {file.name} are {table.shape[-1]} numbers wide, for another family of models; this "
                f"model's text encoder has {width}."
            )
        tables[name] = table
    if len({len(table) for table in tables.values()}) > 1:
        raise _refused(f"{file.name} has more vectors for one text encoder than for the other.")
    return tables


def _loaded(file: Path, word: str) -> Any:
    try:
        if file.suffix.lower() == ".safetensors":
            from safetensors.torch import load_file

            return _of_word(load_file(file), word)
        with torch.serialization.safe_globals([nn.ParameterDict]):  # of the paper's own files
            return _of_word(torch.load(file, map_location="cpu", weights_only=True), word)
    except FileNotFoundError:
        raise _refused(f'There is no file "{file}".') from None
    except Exception as error:
        raise _refused(f"{file.name} is no file of embeddings, or it is damaged.") from error


def _of_word(loaded: Any, word: str) -> Any:
    """Of names as in a LoRA file those of the word, without what stands before the encoders' names."""
    before = f"{PREFIX}{word}."
    if word and isinstance(loaded, Mapping):
        return {name.removeprefix(before): one for name, one in loaded.items() if str(name).startswith(before)}
    return loaded


def _named(loaded: Any) -> dict[str, Tensor]:
    if isinstance(loaded, Mapping) and isinstance(loaded.get("string_to_param"), Mapping | nn.ParameterDict):
        loaded = dict(loaded["string_to_param"].items())
    if isinstance(loaded, Tensor):
        return {ALONE: loaded}
    if not isinstance(loaded, Mapping):
        return {}
    return {name: value.detach() for name, value in loaded.items() if isinstance(value, Tensor) and not value.is_sparse}


def _refused(what: str) -> Failure:
    return Failure(what, "Choose a file of a trained word, or clear the field.", OPTION)
