"""What a model file or folder contains, from its header and config files alone: in milliseconds, without torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from engine.models.file_kind import file_kind
from engine.models.header import NoModel, read_header
from engine.models.layouts.ema import averages
from engine.models.pickled import Harmful, read_checkpoint
from engine.models.told import family_told, name_told, predicted
from engine.reading import small_json
from engine.settings.families import KNOWN, TITLES, FamilyName
from engine.settings.paths import is_hub_name, typed_path

Kind = Literal["model", "denoiser", "lora", "vae", "text encoder", "embedding", "unknown"]
"""A denoiser is only the UNet or transformer; its text encoders and VAE are in other files."""

MOVED = {"runwayml/stable-diffusion-v1-5": "stable-diffusion-v1-5/stable-diffusion-v1-5"}
"""Models that have been renamed on the hub since kohya users' presets were written."""

INDEX, UNET, SCHEDULER = LISTS = ("model_index.json", "unet/config.json", "scheduler/scheduler_config.json")
"""The files that identify a model in diffusers' format."""

REFINERS_LABELS = 2560
"""Width of the refiner's extra conditioning: five sizes of 256 each and its encoder's 1280; SDXL has six."""

VAE_PREFIXES = ("first_stage_model.", "vae.")
"""The prefixes of a VAE's tensors in files of whole models."""

PREDICTING: tuple[FamilyName, ...] = ("sd1", "sd2", "sdxl", "sdxl-refiner")
"""Families of which some models predict noise and some velocity."""

LARGEST_LIST = 2**20
"""Bytes of one of LISTS, which are some two thousand long."""

LARGEST_JSON = 2**27
"""Bytes of any other JSON file in a model's folder: large tokenizers have 40 MB."""

VARIANTS = {9: "inpainting", 5: "depth"}
"""UNet variants by input channels; ordinary ones have the 4 of a latent."""

FLUX_PATCH = 64
"""Input width of FLUX.1's patches; its variants for filling in and following pictures take more."""


@dataclass(frozen=True)
class Found:
    """kind, family: what it is.  channels: of the UNet's input, see VARIANTS.

    prediction: "epsilon" or "v_prediction" if the files say so.  called: the name that an unknown kind gives itself.
    has_vae: whether one is in the file of a model with a UNet.  has_ema: whether it holds an average of the
    weights beside them.
    """

    kind: Kind
    family: FamilyName | None = None
    channels: int = 4
    prediction: str | None = None
    called: str = ""
    has_vae: bool = field(default=True, compare=False)
    has_ema: bool = field(default=False, compare=False)

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
    """What is at a path or hub name; None if that cannot be known without loading it.

    Raises NoModel if it is not a model at all.
    """
    path = typed_path(source)
    if path.is_dir():
        return _folder(path)
    if path.is_file():
        return _file(path)
    if is_hub_name(source):
        return _hub(source)
    return None


def _file(file: Path) -> Found | None:
    if file_kind(file) == "safetensors":
        header = read_header(file)
        return by_shapes(header.shapes, header.metadata)
    try:
        tensors = read_checkpoint(file).tensors
    except Harmful:
        raise
    except NoModel:
        return None  # torch may be able to read it
    return by_shapes({name: tensor.shape for name, tensor in tensors.items()})


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


def by_shapes(shapes: Mapping[str, tuple[int, ...]], metadata: Mapping[str, str] = {}) -> Found:
    """What tensors with these names and shapes are.  metadata: what the file says about itself."""
    found = replace(_by_shapes(shapes), has_ema=bool(averages(shapes)))
    if found.kind == "lora":
        return replace(found, family=family_told(metadata))
    if found.kind == "unknown":
        return replace(found, called=name_told(metadata))
    if found.family in PREDICTING:
        return replace(found, prediction=predicted(metadata, shapes))
    return found


def _by_shapes(shapes: Mapping[str, tuple[int, ...]]) -> Found:
    if any(part in name for name in shapes for part in _LORA):
        return Found("lora")
    whole = any(name.startswith(_WHOLE) for name in shapes)
    kind: Kind = "model" if whole else "denoiser"
    plain = {name.removeprefix("model.diffusion_model."): shape for name, shape in shapes.items()}
    if len(plain.get("input_blocks.0.0.weight", ())) == 4:
        return _unet(plain, shapes, kind)
    if "cap_pad_token" in plain:  # Z-Image, which derives from Lumina and uses its names
        return Found("unknown")
    for name, family in _DENOISERS:
        if name in plain:
            patches = _side(plain, "img_in.weight", FLUX_PATCH)
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
    has_vae = any(name.startswith(VAE_PREFIXES) for name in shapes)
    if labels := _side(plain, "label_emb.0.0.weight"):
        return Found(kind, "sdxl-refiner" if labels == REFINERS_LABELS else "sdxl", channels, has_vae=has_vae)
    wide = next((_side(plain, name) for name in plain if name.endswith("attn2.to_k.weight")), 0)
    openclip = wide == 1024 or any(name.startswith("cond_stage_model.model.") for name in shapes)
    return Found(kind, "sd2" if openclip else "sd1", channels, has_vae=has_vae)


def _side(shapes: Mapping[str, tuple[int, ...]], name: str, otherwise: int = 0) -> int:
    """The width of a matrix; `otherwise` if it is not one, or missing."""
    shape = shapes.get(name, ())
    return shape[1] if len(shape) == 2 else otherwise


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
    if index is not None:
        _refuse_endless(folder)
    return None if index is None else _by_lists(index, _read(folder / UNET), _read(folder / SCHEDULER))


def _refuse_endless(folder: Path) -> None:
    """The libraries that load a folder open anything with the right name, and wait for endless files."""
    for file in (*folder.glob("*"), *folder.glob("*/*")):
        if file.exists() and not (file.is_file() or file.is_dir()):
            raise NoModel(f"{file} is a device or a pipe, not a file.", "Remove it, or choose another folder.")
        if file.suffix == ".json" and file.is_file() and file.stat().st_size > LARGEST_JSON:
            raise NoModel(f"{file} is too large to be a model's configuration.", "Download the model again.")


def _hub(name: str) -> Found | None:
    """From what was downloaded before; the hub is not asked."""
    from huggingface_hub import try_to_load_from_cache

    def read(file: str) -> dict[str, Any] | None:
        path = try_to_load_from_cache(MOVED.get(name, name), file)
        return _read(Path(path)) if isinstance(path, str) else None

    index, unet = read(INDEX), read(UNET)
    if index is None or ("unet" in index and unet is None):  # an interrupted download; the UNet distinguishes 1 and 2
        return Found("model", KNOWN[name], _channels_by_name(name)) if name in KNOWN else None
    return _by_lists(index, unet, read(SCHEDULER))


def _channels_by_name(name: str) -> int:
    """For a model in KNOWN, whose name says it."""
    return next((channels for channels, variant in VARIANTS.items() if variant in name), 4)


def _by_lists(index: dict[str, Any], unet: dict[str, Any] | None, scheduler: dict[str, Any] | None) -> Found | None:
    pipeline = index.get("_class_name")
    unet, prediction = unet or {}, (scheduler or {}).get("prediction_type")
    prediction = prediction if isinstance(prediction, str) else None
    said = unet.get("in_channels")
    channels = said if type(said) is int else 4
    if isinstance(pipeline, str) and pipeline in _PIPELINES:
        return Found("model", _PIPELINES[pipeline], channels, prediction)
    if isinstance(pipeline, str) and pipeline.startswith("StableDiffusion"):
        return Found("model", "sd2" if unet.get("cross_attention_dim") == 1024 else "sd1", channels, prediction)
    return Found("unknown")


def _read(file: Path) -> dict[str, Any] | None:
    try:
        found = small_json(file, LARGEST_LIST)
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) else None
