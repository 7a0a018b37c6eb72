"""Text encoders and VAEs in separate files, as used by the transformer families."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from transformers import (
    CLIPTextConfig,
    CLIPTextModel,
    CLIPTextModelWithProjection,
    Gemma2Config,
    Gemma2Model,
    T5Config,
    T5EncoderModel,
)

from engine.failure import Failure
from engine.models.layouts.clip import clip_entries
from engine.models.layouts.entry import Entry, to_original
from engine.models.makers import own_names, tokenizer_beside
from engine.models.single_file import Weights, module_from
from engine.settings.paths import typed_path

HEAD = 64
"""Width of an attention head in CLIP and T5."""

GEMMA2_HEAD = 256
"""The same in Gemma 2."""

CLIP_L = ("text_encoders.clip_l.transformer.", "text_encoders.clip_l.")
CLIP_G = ("text_encoders.clip_g.transformer.", "text_encoders.clip_g.")
T5 = ("text_encoders.t5xxl.transformer.", "text_encoders.t5xxl.")
GEMMA2 = ("text_encoders.gemma2_2b.transformer.model.", "model.")
"""The prefixes of each part's names in files that contain several."""

Place = tuple[Weights, str]
"""A file, and the prefix of one part's tensors in it."""


def place_of(path: str, option: str, whole: Weights, prefixes: tuple[str, ...], what: str) -> Place | None:
    """Where a part's tensors are: in a separate file, otherwise in the whole model's; None if in neither.

    path: the option's value.  Raises Failure if that is not a file.
    """
    if path:
        file = typed_path(path)
        if not file.is_file():
            raise Failure(f"There is no file {path!r} for {what}.", "Correct the path.", option)
        own = Weights(file, option)
        return own, next((prefix for prefix in prefixes if own.has(prefix)), "")
    return next(((whole, prefix) for prefix in prefixes if whole.has(prefix)), None)


def needed(place: Place | None, option: str, whole: Weights, what: str, usual: str) -> Place:
    """The place.  usual: a common name of the file.  Raises Failure if there is no place."""
    if place is None:
        raise Failure(
            f"{whole.file.name} contains no {what}.", f"Enter its file as {what} Path, such as {usual}.", option
        )
    return place


def clip(place: Place, dtype: torch.dtype, what: str, projects: bool) -> Any:
    """A CLIP text encoder of the file's size.  projects: with its projection."""
    weights, prefix = place
    base = f"{prefix}text_model."
    vocabulary, width = _shape(weights, f"{base}embeddings.token_embedding.weight", what)
    layers = count(weights, f"{base}encoder.layers.")
    config = CLIPTextConfig(
        vocab_size=vocabulary,
        hidden_size=width,
        intermediate_size=_shape(weights, f"{base}encoder.layers.0.mlp.fc1.weight", what)[0],
        num_hidden_layers=layers,
        num_attention_heads=width // HEAD,
        # OpenAI's smallest encoder has the quick approximation; the larger ones, trained by others, do not.
        hidden_act="quick_gelu" if width <= 768 else "gelu",
        projection_dim=width,
        bos_token_id=vocabulary - 2,  # CLIP's vocabulary ends with its start and end tokens
        eos_token_id=vocabulary - 1,
    )
    if not projects:
        return module_from(weights, lambda: CLIPTextModel(config), clip_entries, prefix, dtype, what)
    known = f"{prefix}text_projection.weight" in weights
    found = module_from(
        weights, lambda: CLIPTextModelWithProjection(config), clip_entries if known else _without_projection, prefix,
        dtype, what,
    )  # fmt: skip
    if not known:  # files made for FLUX.1 lack it, because FLUX.1 does not use it
        found.text_projection.weight = torch.nn.Parameter(torch.eye(width, dtype=dtype))
    return found


def t5(place: Place, dtype: torch.dtype, what: str) -> Any:
    """T5's encoder of the file's size; in bfloat16 instead of float16, whose range it exceeds."""
    dtype = torch.bfloat16 if dtype == torch.float16 else dtype
    weights, prefix = place
    shared = f"{prefix}shared.weight" if f"{prefix}shared.weight" in weights else f"{prefix}encoder.embed_tokens.weight"
    vocabulary, width = _shape(weights, shared, what)
    block = f"{prefix}encoder.block.0.layer."
    inner = _shape(weights, f"{block}0.SelfAttention.q.weight", what)[0]
    config = T5Config(
        vocab_size=vocabulary,
        d_model=width,
        d_kv=HEAD,
        d_ff=_shape(weights, f"{block}1.DenseReluDense.wi_0.weight", what)[0],
        num_layers=count(weights, f"{prefix}encoder.block."),
        num_heads=inner // HEAD,
        feed_forward_proj="gated-gelu",
        is_encoder_decoder=False,
        use_cache=False,
        tie_word_embeddings=False,
    )
    return module_from(weights, lambda: T5EncoderModel(config), _t5_entries(shared), prefix, dtype, what)


def t5_tensors(encoder: Any) -> dict[str, torch.Tensor]:
    """T5's tensors as in its file: the token embedding only once, under the name that most programs expect."""
    return to_original(encoder, _t5_entries("shared.weight")(encoder, ""))


def gemma2(place: Place, dtype: torch.dtype, what: str) -> Any:
    """Gemma 2 of the file's size, without its language model head."""
    weights, prefix = place
    layer = f"{prefix}layers.0."
    vocabulary, width = _shape(weights, f"{prefix}embed_tokens.weight", what)
    config = Gemma2Config(
        vocab_size=vocabulary,
        hidden_size=width,
        intermediate_size=_shape(weights, f"{layer}mlp.gate_proj.weight", what)[0],
        num_hidden_layers=count(weights, f"{prefix}layers."),
        num_attention_heads=_shape(weights, f"{layer}self_attn.q_proj.weight", what)[0] // GEMMA2_HEAD,
        num_key_value_heads=_shape(weights, f"{layer}self_attn.k_proj.weight", what)[0] // GEMMA2_HEAD,
        head_dim=GEMMA2_HEAD,
        query_pre_attn_scalar=GEMMA2_HEAD,
    )
    return module_from(weights, lambda: Gemma2Model(config), own_names, prefix, dtype, what)


def gemma2_tokenizer(file: Path) -> Any:
    from transformers import AutoTokenizer

    # Google's own requires accepting a licence; this is the same.
    return tokenizer_beside(
        file, AutoTokenizer, "tokenizer", "Alpha-VLLM/Lumina-Image-2.0", "the folder tokenizer", subfolder="tokenizer"
    )


def t5_tokenizer(file: Path) -> Any:
    from transformers import T5TokenizerFast

    return tokenizer_beside(
        file, T5TokenizerFast, "tokenizer_2", "google/t5-v1_1-xxl", "spiece.model and tokenizer_config.json"
    )


def _t5_entries(shared: str) -> Callable[[Any, str], list[Entry]]:
    def entries(module: Any, prefix: str) -> list[Entry]:
        """Both names of the token embedding stand for one tensor, whichever the file has."""
        tables = ("shared.weight", "encoder.embed_tokens.weight")
        return [
            Entry(shared, entry.names) if entry.names[0] in tables else entry for entry in own_names(module, prefix)
        ]

    return entries


def _without_projection(module: Any, prefix: str) -> list[Entry]:
    return [entry for entry in clip_entries(module, prefix) if entry.names != ("text_projection.weight",)]


def _shape(weights: Weights, name: str, what: str) -> tuple[int, ...]:
    try:
        return weights.shape(name)
    except KeyError:
        raise Failure(
            f"{weights.file.name} is not a {what}: it has no {name}.", "Choose another file.", weights.option
        ) from None


def count(weights: Weights, prefix: str) -> int:
    """The number of numbered parts after a prefix."""
    return len({name.removeprefix(prefix).partition(".")[0] for name in weights if name.startswith(prefix)})
