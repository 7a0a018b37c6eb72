"""Text encoders and tokenizers in files that transformers 4 and 5 both read, as models on the hub have them.

transformers 5 dropped a prefix from CLIP's names, stores a tokenizer in a file that only the fast kind reads, and
renamed some fields. Version 4 reads its files with a warning at best, and without a single weight of the text encoder.
Version 5 reads version 4's files.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

from huggingface_hub import try_to_load_from_cache
from transformers import CLIPTextModel, CLIPTextModelWithProjection

from engine.models.layouts.clip import clip_entries
from engine.models.layouts.entry import to_original

CLASSES = {
    "T5Tokenizer": "T5TokenizerFast",
    "GemmaTokenizer": "GemmaTokenizerFast",
    "TokenizersBackend": "PreTrainedTokenizerFast",
    "DPTImageProcessorPil": "DPTImageProcessor",
}
"""Version 4's names of classes that version 5 renamed. For CLIP's tokenizer both kinds appear in lists of parts, and
its files are written for both.
"""

_PIECES = ("spiece.model", "tokenizer.model")
"""SentencePiece's files, from which version 4 makes the slow tokenizers of T5 and Gemma: these are copied."""

_OF_USE = {
    "backend", "is_local", "local_files_only", "max_length", "pad_to_multiple_of", "pad_token_type_id", "stride",
    "truncation_strategy", "unk_id",
}  # fmt: skip
"""What version 5 writes about a tokenizer's origin and last call."""


def save_module(module: Any, folder: Path, max_shard_size: str) -> None:
    """Save a transformers module: its weights as safetensors, under the old names, and its configuration."""
    if isinstance(module, CLIPTextModel | CLIPTextModelWithProjection):
        named = to_original(module, clip_entries(module, ""))
        module.save_pretrained(folder, max_shard_size=max_shard_size, state_dict=named)
    else:
        module.save_pretrained(folder, max_shard_size=max_shard_size)
    _change(folder / "config.json", _config)


def save_tokenizer(tokenizer: Any, folder: Path) -> None:
    """Save all files of a tokenizer: those of the fast kind, and those of the slow kind if there are any."""
    tokenizer.save_pretrained(folder)
    added = {
        str(number): {"content": token.content, "single_word": token.single_word, "lstrip": token.lstrip,
                      "rstrip": token.rstrip, "normalized": token.normalized, "special": token.special}
        for number, token in sorted(tokenizer.added_tokens_decoder.items())
    }  # fmt: skip
    special = tokenizer.special_tokens_map
    more = [str(token) for token in tokenizer.extra_special_tokens if str(token) not in special.values()]
    special |= {"additional_special_tokens": more} if more else {}
    _write(folder / "special_tokens_map.json", special)
    _change(
        folder / "tokenizer_config.json",
        lambda config: {
            **{name: value for name, value in config.items() if name not in (*_OF_USE, "extra_special_tokens")},
            **special,
            "added_tokens_decoder": added,
            "tokenizer_class": classic_class(type(tokenizer).__name__),
        },
    )
    if type(tokenizer).__name__.startswith("CLIP"):
        tokenizer.backend_tokenizer.model.save(str(folder))  # vocab.json and merges.txt
    for name in _PIECES:
        if (source := _source(tokenizer, name)) is not None:
            shutil.copyfile(source, folder / name)


def classic_class(name: str) -> str:
    return CLASSES.get(name, name)


def name_classes(index: Path) -> None:
    """Change the names of classes in a model_index.json to those that both versions know."""
    _change(
        index,
        lambda listed: {
            part: [said[0], classic_class(said[1])] if isinstance(said, list) and said[0] == "transformers" else said
            for part, said in listed.items()
        },
    )


def _config(config: dict[str, Any]) -> dict[str, Any]:
    """A module's configuration, with its number format and rotary positions under their old names."""
    said = {"torch_dtype" if name == "dtype" else name: value for name, value in config.items()}
    turned = said.get("rope_parameters")
    if isinstance(turned, dict) and "rope_theta" in turned:
        said["rope_theta"] = turned["rope_theta"]
    return dict(sorted(said.items()))


def _source(tokenizer: Any, name: str) -> Path | None:
    """The file of that name in the folder or hub model that a tokenizer was loaded from; None if it has none."""
    place = str(tokenizer.name_or_path)
    beside = tokenizer.init_kwargs.get("vocab_file")
    if isinstance(beside, str) and Path(beside).name == name and Path(beside).is_file():
        return Path(beside)
    if (Path(place) / name).is_file():
        return Path(place) / name
    if not place or Path(place).exists():
        return None
    cached = try_to_load_from_cache(place, name)
    return Path(cached) if isinstance(cached, str) else None


def _change(file: Path, change: Any) -> None:
    _write(file, change(json.loads(file.read_text(encoding="utf-8"))))


def _write(file: Path, said: dict[str, Any]) -> None:
    file.write_text(json.dumps(said, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
