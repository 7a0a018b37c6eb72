"""Files of new words: what A1111, Forge, ComfyUI, diffusers and sd-scripts read, and what they write.

One encoder's embeddings are emb_params, as sd-scripts names them; of several, or of one that could be another, clip_l
and clip_g.  In torch's format there is A1111's own layout.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from engine.failure import Failure
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


def read_embeddings(file: Path, widths: Mapping[str, int]) -> dict[str, Tensor]:
    """(vectors, width) float32 of each encoder.  widths: by the encoders' names.  Raises Failure."""
    found = _named(_loaded(file))
    if ALONE in widths and len(found) == 1:
        found = {ALONE: next(iter(found.values()))}
    if missing := [name for name in widths if name not in found]:
        raise _refused(f"{file.name} has no embeddings for this model's text encoder {missing[0]}.")
    tables: dict[str, Tensor] = {}
    for name, width in widths.items():
        table = torch.atleast_2d(found[name].float())
        if table.dim() != 2 or table.shape[1] != width:
            raise _refused(
                f"The embeddings in {file.name} are {table.shape[-1]} numbers wide, for another family of models; this "
                f"model's text encoder has {width}."
            )
        tables[name] = table
    if len({len(table) for table in tables.values()}) > 1:
        raise _refused(f"{file.name} has more vectors for one text encoder than for the other.")
    return tables


def _loaded(file: Path) -> Any:
    try:
        if file.suffix.lower() == ".safetensors":
            from safetensors.torch import load_file

            return load_file(file)
        return torch.load(file, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise _refused(f'There is no file "{file}".') from None
    except Exception as error:
        raise _refused(f"{file.name} is no file of embeddings, or it is damaged.") from error


def _named(loaded: Any) -> dict[str, Tensor]:
    if isinstance(loaded, Mapping) and isinstance(loaded.get("string_to_param"), Mapping):
        loaded = loaded["string_to_param"]
    if isinstance(loaded, Tensor):
        return {ALONE: loaded}
    if not isinstance(loaded, Mapping):
        return {}
    return {name: value for name, value in loaded.items() if isinstance(value, Tensor)}


def _refused(what: str) -> Failure:
    return Failure(what, "Choose a file of a trained word, or clear the field.", OPTION)
