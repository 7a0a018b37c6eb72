"""Models of full size with random weights, made in a moment and without a file of weights.

A model begins as a diffusers folder of lists and tokenizers alone. The engine's own load() makes a skeleton of it, as
its estimate of memory does, and the weights are filled in behind it: views of one block of noise where they are about
to be copied to a GPU anyway. So FLUX.1's 12 billion weights take no more than that block, and no time.
"""

from __future__ import annotations

import importlib
import json
import shutil
import string
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import torch
from accelerate import init_empty_weights
from torch import Tensor, nn

from engine.demo.demo import MODEL_FOLDER
from engine.disk import write_text_whole
from engine.models.families import TRAINED
from engine.models.makers import CONFIGS
from engine.models.skeleton import is_without_weights, without_weights

SPREAD = 0.02
"""Standard deviation of the weights, as transformers are commonly initialised: what is computed stays finite."""

FLUX_SCHEDULER = {"shift": 3.0, "use_dynamic_shifting": True}


def make_skeleton(family: str, folder: Path, tiny: bool) -> None:
    """A model's folder without weights.  tiny: the small model of the same structure that the tests have."""
    if not tiny:
        {"sd1": _sd1, "sdxl": _sdxl, "flux": _flux}[family](folder)
    elif family == "sd1":
        shutil.copytree(MODEL_FOLDER, folder)
    else:
        from tests.models.small import pipeline

        pipeline(family).save_pretrained(folder)


@contextmanager
def random_weights(family: str, device: str) -> Iterator[None]:
    """Within the block, what the engine loads of this family has random weights, on the CPU as what it loads always is.

    device: where they will be copied; on a CPU each tensor gets memory of its own, for it may be trained there.
    """
    module, _, name = TRAINED[family].partition(":")  # type: ignore[index]
    kind = getattr(importlib.import_module(module), name)
    load = kind.load

    def filled(self: Any, settings: Any, dtype: torch.dtype) -> Any:
        if is_without_weights():
            return load(self, settings, dtype)
        with without_weights():
            parts = load(self, settings, dtype)
        fill(parts.modules(), device)
        return parts

    kind.load = filled
    try:
        yield
    finally:
        kind.load = load


def fill(modules: Iterable[nn.Module], device: str) -> None:
    """Give the empty parameters of modules their values; those that are shared stay shared."""
    places = [
        (inner, name, parameter)
        for module in modules
        for inner in {id(one): one for one in module.modules()}.values()
        for name, parameter in inner._parameters.items()
        if parameter is not None and parameter.is_meta
    ]
    noise = {
        dtype: _noise(max(p.numel() for _, _, p in places if p.dtype == dtype), dtype, device)
        for dtype in {parameter.dtype for _, _, parameter in places}
    }
    made: dict[int, nn.Parameter] = {}
    for number, (module, name, empty) in enumerate(places):
        if id(empty) not in made:
            made[id(empty)] = nn.Parameter(
                _values(name, empty, noise[empty.dtype], number, device != "cpu"), empty.requires_grad
            )
        module._parameters[name] = made[id(empty)]


def _values(name: str, like: Tensor, noise: Tensor, number: int, is_shared: bool) -> Tensor:
    """Norms begin as ones, biases as zeros, as in any model; matrices and kernels are noise."""
    if like.ndim < 2:
        return (torch.zeros if name == "bias" else torch.ones)(like.shape, dtype=like.dtype)
    start = number * 7919 % (len(noise) - like.numel() + 1)  # no two of one size alike
    values = noise[start : start + like.numel()].view(like.shape)
    return values if is_shared else values.clone()


def _noise(largest: int, dtype: torch.dtype, device: str) -> Tensor:
    """Somewhat more of it than the largest tensor takes.  Drawn on the GPU, where that takes no time."""
    return torch.randn(largest + 2**16, dtype=dtype, device=device).mul_(SPREAD).cpu()


def _sd1(folder: Path) -> None:
    from diffusers import AutoencoderKL, StableDiffusionPipeline, UNet2DConditionModel
    from transformers import CLIPTextModel

    _write(
        folder,
        StableDiffusionPipeline,
        {"unet": _listed(UNet2DConditionModel, CONFIGS / "sd1" / "unet"),
         "vae": _listed(AutoencoderKL, CONFIGS / "sd1" / "vae"),
         "text_encoder": _listed(CLIPTextModel, CONFIGS / "sd1" / "text_encoder")},
        CONFIGS / "sd1" / "scheduler",
    )  # fmt: skip


def _sdxl(folder: Path) -> None:
    from diffusers import AutoencoderKL, StableDiffusionXLPipeline, UNet2DConditionModel
    from transformers import CLIPTextModel, CLIPTextModelWithProjection

    of = CONFIGS / "sdxl"
    _write(
        folder,
        StableDiffusionXLPipeline,
        {"unet": _listed(UNet2DConditionModel, of / "unet"), "vae": _listed(AutoencoderKL, of / "vae"),
         "text_encoder": _listed(CLIPTextModel, of / "text_encoder"),
         "text_encoder_2": _listed(CLIPTextModelWithProjection, of / "text_encoder_2")},
        of / "scheduler",
    )  # fmt: skip


def _flux(folder: Path) -> None:
    """FLUX.1-dev: diffusers' own defaults are its transformer, and T5-XXL v1.1's encoder is Google's."""
    from diffusers import AutoencoderKL, FlowMatchEulerDiscreteScheduler, FluxPipeline, FluxTransformer2DModel
    from transformers import CLIPTextModel, T5Config, T5EncoderModel, T5TokenizerFast

    t5 = T5Config(
        vocab_size=32128, d_model=4096, d_kv=64, d_ff=10240, num_layers=24, num_heads=64,
        feed_forward_proj="gated-gelu", is_encoder_decoder=False, use_cache=False, tie_word_embeddings=False,
    )  # fmt: skip
    FlowMatchEulerDiscreteScheduler(**FLUX_SCHEDULER).save_config(folder / "scheduler")
    _write(
        folder,
        FluxPipeline,
        {"transformer": partial(FluxTransformer2DModel, guidance_embeds=True),
         "vae": _listed(AutoencoderKL, CONFIGS / "flux" / "vae"),
         "text_encoder": _listed(CLIPTextModel, CONFIGS / "sd1" / "text_encoder"),
         "text_encoder_2": partial(T5EncoderModel, t5)},
        folder / "scheduler",
    )  # fmt: skip
    pieces = ["<pad>", "</s>", "<unk>", "▁", *string.ascii_lowercase, *string.digits, ",", "."]  # each a letter
    tokenizer = T5TokenizerFast(vocab=[(piece, -1.0 * place) for place, piece in enumerate(pieces)], extra_ids=0)
    tokenizer.save_pretrained(folder / "tokenizer_2")


def _listed(kind: Any, config: Path) -> Callable[[], Any]:
    if hasattr(kind, "load_config"):  # diffusers'
        return partial(kind.from_config, kind.load_config(config))
    return partial(kind, kind.config_class.from_pretrained(config))


def _write(folder: Path, pipeline: Any, makers: dict[str, Callable[[], Any]], scheduler: Path) -> None:
    """The lists of a model's parts, and CLIP's tokenizers; the built-in model's stands in for the real one."""
    index: dict[str, Any] = {"_class_name": pipeline.__name__, "_diffusers_version": "0"}
    for name, make in makers.items():
        with init_empty_weights():
            module = make()
        (folder / name).mkdir(parents=True, exist_ok=True)
        if hasattr(module, "save_config"):
            module.save_config(folder / name)
        else:
            module.config.architectures = [type(module).__name__]
            module.config.save_pretrained(folder / name)
        index[name] = [type(module).__module__.partition(".")[0], type(module).__name__]
        if name.startswith("text_encoder") and type(module).__name__.startswith("CLIP"):
            tokenizer = name.replace("text_encoder", "tokenizer")
            shutil.copytree(MODEL_FOLDER / "tokenizer", folder / tokenizer)
            index[tokenizer] = ["transformers", "CLIPTokenizer"]
        elif name.startswith("text_encoder"):
            index[name.replace("text_encoder", "tokenizer")] = ["transformers", "T5TokenizerFast"]
    if scheduler != folder / "scheduler":
        shutil.copytree(scheduler, folder / "scheduler")
    found = json.loads((folder / "scheduler" / "scheduler_config.json").read_text(encoding="utf-8"))
    index["scheduler"] = ["diffusers", found["_class_name"]]
    write_text_whole(folder / "model_index.json", json.dumps(index))
