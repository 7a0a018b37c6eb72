"""What diffusers makes of a model's folder, with nothing of this program: PYTHON as_diffusers_reads.py FOLDER …

Prints one line of JSON a folder: what it complained of, the ids of captions by each tokenizer, a hash of each weight,
what the text encoders say of a caption, and the latents of a picture drawn in two steps. Any diffusers' Python runs it.
"""

from __future__ import annotations

import hashlib
import json
import logging
import sys
import warnings
from pathlib import Path
from typing import Any

import diffusers
import torch
import transformers
from PIL import Image

CAPTIONS = ("a red circle", "A blue   Star, (zebra) 12!", "")
OF_NO_CONCERN = ("safety checker", "no file named diffusion_pytorch_model.safetensors", "unsafe serialization",
                 "requires torchvision", "`torch_dtype` is deprecated")  # fmt: skip
"""What is said of any model without that part, of weights in .bin, without torchvision, and of how this file asks."""


class Heard(logging.Handler):
    """Keeps the warnings that libraries log."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(record.getMessage())


def facts_of(folder: Path) -> dict[str, Any]:
    """Raises whatever the library raises where it cannot load the folder."""
    heard = Heard()
    for library in (transformers, diffusers):
        library.utils.logging.get_logger().addHandler(heard)
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        pipeline = diffusers.DiffusionPipeline.from_pretrained(folder, torch_dtype=torch.float32)
    for library in (transformers, diffusers):
        library.utils.logging.get_logger().removeHandler(heard)
    pipeline.set_progress_bar_config(disable=True)
    parts = {name: part for name, part in pipeline.components.items() if part is not None}
    encoders = {name: part for name, part in parts.items() if name.startswith("text_encoder")}
    tokenizers = {name: part for name, part in parts.items() if name.startswith("tokenizer")}
    tokenizers |= {f"{name} by pieces": transformers.T5Tokenizer.from_pretrained(folder / name)
                   for name in tokenizers if (folder / name / "spiece.model").is_file()}  # fmt: skip
    told = [line for line in heard.lines if not any(known in line for known in OF_NO_CONCERN)]
    return {
        "complaints": [*told, *(str(w.message) for w in warned if "weights" in str(w.message)), *misfits(folder)],
        "classes": {name: type(part).__name__ for name, part in parts.items()},
        "tokens": {n: [p(c).input_ids for c in CAPTIONS] for n, p in tokenizers.items()},
        "limits": {n: min(p.model_max_length, 10**6) for n, p in tokenizers.items()},
        "weights": {
            f"{name}.{key.removeprefix('text_model.')}": hashlib.sha256(
                tensor.contiguous().flatten().view(torch.uint8).numpy().tobytes()
            ).hexdigest()[:16]
            for name, part in parts.items()
            if isinstance(part, torch.nn.Module)
            for key, tensor in part.state_dict().items()
            if not key.endswith("position_ids")  # a table that is counted up, and stood in files of old
        },
        "said": {name: said_by(encoder) for name, encoder in encoders.items()},
        "drawn": drawn(pipeline),
    }


def misfits(folder: Path) -> list[str]:
    """Weights of the text encoders that are missing, or for which there is no place."""
    found = []
    for part in sorted(folder.glob("text_encoder*")):
        name = json.loads((part / "config.json").read_text())["architectures"][0]
        _, told = getattr(transformers, name).from_pretrained(part, output_loading_info=True)
        for what in ("missing_keys", "unexpected_keys", "mismatched_keys"):
            if told[what]:
                found.append(f"{part.name}: {len(told[what])} {what}")
    return found


@torch.no_grad()
def said_by(encoder: Any) -> list[float]:
    ids = torch.arange(3, 15)[None] % encoder.config.vocab_size
    state = encoder(ids).last_hidden_state.float()
    return [round(value, 6) for value in (state.mean().item(), state.std().item(), *state[0, -1, :6].tolist())]


def drawn(pipeline: Any) -> list[float]:
    kind, picture = type(pipeline).__name__, Image.new("RGB", (64, 64), "teal")
    given: dict[str, Any] = {"width": 64, "height": 64}
    if "Img2Img" in kind or "Depth2Img" in kind:
        given = {"image": picture, "strength": 1.0}
    if "Inpaint" in kind:
        given |= {"image": picture, "mask_image": Image.new("L", (64, 64), 255)}
    if "Lumina" in kind:
        given |= {"system_prompt": "You draw."}
    if "Chroma" in kind:  # versions of it hide other places of a caption
        told = torch.linspace(-1, 1, 8 * pipeline.text_encoder.config.d_model).reshape(1, 8, -1)
        seen = torch.ones(1, 8)
        given |= {"prompt_embeds": told, "prompt_attention_mask": seen, "negative_prompt_embeds": -told,
                  "negative_prompt_attention_mask": seen}  # fmt: skip
    else:
        given |= {"prompt": "a red circle"}
    with torch.no_grad():
        latents = pipeline(
            num_inference_steps=2, generator=torch.Generator().manual_seed(1), output_type="latent", **given
        ).images  # fmt: skip
    return [round(value, 5) for value in (latents.mean().item(), latents.std().item(), *latents.flatten()[:6].tolist())]


def main() -> None:
    torch.set_num_threads(1)
    for name in sys.argv[1:]:
        try:
            facts = facts_of(Path(name))
        except Exception as error:
            facts = {"complaints": [f"{type(error).__name__}: {error}"]}
        print(json.dumps({"folder": Path(name).name, **facts}), flush=True)


if __name__ == "__main__":
    main()
