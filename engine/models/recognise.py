"""What a model file or folder holds, by its header and its lists alone: in milliseconds, without torch."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from engine.settings.families import KNOWN, TITLES, FamilyName
from engine.settings.paths import is_hub_name

Kind = Literal["model", "denoiser", "lora", "vae", "text encoder", "embedding", "unknown"]
"""A denoiser is the UNet or transformer alone, whose text encoders and VAE lie in other files."""

MOVED = {"runwayml/stable-diffusion-v1-5": "stable-diffusion-v1-5/stable-diffusion-v1-5"}
"""Models that stand under another name on the hub since the presets of kohya's users were written."""

INDEX, UNET, SCHEDULER = LISTS = ("model_index.json", "unet/config.json", "scheduler/scheduler_config.json")
"""Of a model in diffusers' format, what says what it is."""

REFINERS_LABELS = 2560
"""Numbers that the refiner is told beside the caption: five sizes of 256 each and its encoder's 1280; SDXL has six."""

VARIANTS = {9: "inpainting", 5: "depth"}
"""Of UNets, by the channels of their input; ordinary ones have the 4 of a latent."""

FLUX_PATCH = 64
"""Numbers in a patch of latents that FLUX.1 is shown; its variants that fill in and follow pictures are shown more."""

LARGEST_HEADER = 100_000_000
"""Bytes; safetensors itself reads no longer one."""


class NoModel(ValueError):
    """Why a file is none, as a sentence."""


@dataclass(frozen=True)
class Found:
    """kind, family: what it is.  channels: of the UNet's input, see VARIANTS.

    prediction: "epsilon" or "v_prediction" where the files say so.
    """

    kind: Kind
    family: FamilyName | None = None
    channels: int = 4
    prediction: str | None = None

    @property
    def title(self) -> str:
        """For people, such as "an SDXL model"."""
        family = TITLES[self.family] if self.family else ""
        if variant := VARIANTS.get(self.channels):
            family = f"{family} {variant}"
        nouns = {"lora": "LoRA", "vae": "VAE", "embedding": "textual inversion", "denoiser": "transformer or UNet"}
        name = f"{family} {nouns.get(self.kind, self.kind)}".strip()
        return f"{'an' if name.startswith('SDXL') else 'a'} {name}"


def recognise(source: str) -> Found | None:
    """What lies at a path or stands under a hub name; None where that cannot be known without loading it.

    Raises NoModel where it is no model at all.
    """
    path = Path(source).expanduser()
    if path.is_dir():
        return _folder(path)
    if path.is_file():
        return by_shapes(header(path)) if path.suffix.lower() in (".safetensors", ".sft") else None
    if is_hub_name(source):
        return _hub(source)
    return None


def header(file: Path) -> dict[str, tuple[int, ...]]:
    """The shape of each tensor in a safetensors file.  Raises NoModel where it is damaged, or something else."""
    try:
        with file.open("rb") as stream:
            length = int.from_bytes(stream.read(8), "little")
            if not 2 <= length <= LARGEST_HEADER:
                raise NoModel(f"{file.name} is no safetensors file, or not a whole one.")
            listed = json.loads(stream.read(length))
            end = stream.seek(0, 2)
        tensors = {name: entry for name, entry in listed.items() if name != "__metadata__"}
        last = max((entry["data_offsets"][1] for entry in tensors.values()), default=0)
        if end < 8 + length + last:
            raise NoModel(f"{file.name} was not downloaded completely: {8 + length + last - end} bytes are missing.")
        return {name: tuple(entry["shape"]) for name, entry in tensors.items()}
    except NoModel:
        raise
    except OSError as error:
        raise NoModel(f"{file.name} cannot be read: {error.strerror}.") from None
    except (ValueError, KeyError, TypeError, AttributeError, IndexError, RecursionError):
        raise NoModel(f"{file.name} is no safetensors file: its list of tensors cannot be read.") from None


_LORA = (".lora_down.", ".lora_up.", ".lora_A.", ".lora_B.", ".hada_w1_a", ".lokr_w1", ".oft_blocks", ".oft_diag")
_WHOLE = ("first_stage_model.", "cond_stage_model.", "conditioner.embedders.", "text_encoders.", "vae.")
_DENOISERS: tuple[tuple[str, FamilyName], ...] = (
    ("distilled_guidance_layer.in_proj.weight", "chroma"),
    ("double_blocks.0.img_attn.qkv.weight", "flux"),
    ("joint_blocks.0.x_block.attn.qkv.weight", "sd3"),
    ("cap_embedder.1.weight", "lumina"),
    ("byt5_in.fc1.weight", "hunyuan"),
    ("transformer_blocks.0.img_mod.1.weight", "qwen"),
)


def by_shapes(shapes: Mapping[str, tuple[int, ...]]) -> Found:
    """What tensors of these names and shapes are."""
    if any(part in name for name in shapes for part in _LORA):
        return Found("lora")
    whole = any(name.startswith(_WHOLE) for name in shapes)
    kind: Kind = "model" if whole else "denoiser"
    plain = {name.removeprefix("model.diffusion_model."): shape for name, shape in shapes.items()}
    if "input_blocks.0.0.weight" in plain:
        return _unet(plain, shapes, kind)
    if "cap_pad_token" in plain:  # Z-Image, which has grown out of Lumina and has its names
        return Found("unknown")
    for name, family in _DENOISERS:
        if name in plain:
            patches = plain.get("img_in.weight", (0, FLUX_PATCH))[-1]
            return Found(kind, family, 4 if family != "flux" or patches == FLUX_PATCH else patches)
    if any(name.endswith("decoder.conv_in.weight") for name in shapes):
        return Found("vae")
    if any(".SelfAttention.q.weight" in name or "layers.0.self_attn." in name for name in shapes):
        return Found("text encoder")
    if "emb_params" in shapes or {"clip_l", "clip_g"} & shapes.keys():
        return Found("embedding")
    return Found("unknown")


def _unet(plain: Mapping[str, tuple[int, ...]], shapes: Mapping[str, tuple[int, ...]], kind: Kind) -> Found:
    channels = plain["input_blocks.0.0.weight"][1]
    prediction = "v_prediction" if "v_pred" in shapes else None
    labels = plain.get("label_emb.0.0.weight")
    if labels:
        return Found(kind, "sdxl-refiner" if labels[1] == REFINERS_LABELS else "sdxl", channels, prediction)
    wide = next((shape[1] for name, shape in plain.items() if name.endswith("attn2.to_k.weight")), 0)
    openclip = wide == 1024 or any(name.startswith("cond_stage_model.model.") for name in shapes)
    return Found(kind, "sd2" if openclip else "sd1", channels, prediction)


_PIPELINES: dict[str, FamilyName] = {
    "StableDiffusionXLPipeline": "sdxl",
    "StableDiffusionXLInpaintPipeline": "sdxl",
    "StableDiffusionXLImg2ImgPipeline": "sdxl-refiner",
    "StableDiffusion3Pipeline": "sd3",
    "FluxPipeline": "flux",
    "ChromaPipeline": "chroma",
    "Lumina2Pipeline": "lumina",
    "Lumina2Text2ImgPipeline": "lumina",
    "HunyuanImagePipeline": "hunyuan",
    "QwenImagePipeline": "qwen",
}


def _folder(folder: Path) -> Found | None:
    index = _read(folder / INDEX)
    return None if index is None else _by_lists(index, _read(folder / UNET), _read(folder / SCHEDULER))


def _hub(name: str) -> Found | None:
    """By what was downloaded before; the hub is not asked."""
    from huggingface_hub import try_to_load_from_cache

    def read(file: str) -> dict[str, Any] | None:
        path = try_to_load_from_cache(MOVED.get(name, name), file)
        return _read(Path(path)) if isinstance(path, str) else None

    index, unet = read(INDEX), read(UNET)
    if index is None or ("unet" in index and unet is None):  # a download that broke off; the UNet tells 1 from 2
        return Found("model", KNOWN[name], _channels_by_name(name)) if name in KNOWN else None
    return _by_lists(index, unet, read(SCHEDULER))


def _channels_by_name(name: str) -> int:
    """Of a model in KNOWN, whose names say it."""
    return next((channels for channels, variant in VARIANTS.items() if variant in name), 4)


def _by_lists(index: dict[str, Any], unet: dict[str, Any] | None, scheduler: dict[str, Any] | None) -> Found | None:
    pipeline = index.get("_class_name")
    unet, prediction = unet or {}, (scheduler or {}).get("prediction_type")
    channels = unet.get("in_channels", 4)
    if isinstance(pipeline, str) and pipeline in _PIPELINES:
        return Found("model", _PIPELINES[pipeline], channels, prediction)
    if isinstance(pipeline, str) and pipeline.startswith("StableDiffusion"):
        return Found("model", "sd2" if unet.get("cross_attention_dim") == 1024 else "sd1", channels, prediction)
    return Found("unknown")


def _read(file: Path) -> dict[str, Any] | None:
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) else None
