"""What a model's file says about itself in words: the metadata that sd-scripts, this program and others write.

Shapes reveal a model's family, but not what it predicts.  Needs no torch.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Literal

from engine.settings.families import FamilyName

Predicted = Literal["epsilon", "v_prediction"]

VELOCITY, NO_TRACE = "v_pred", "ztsnr"
"""Empty tensors by which ComfyUI, reForge and sd-scripts users mark that an SDXL model predicts velocity, and that it
has zero terminal SNR."""

_PREDICTIONS: Mapping[str, Predicted] = {
    "epsilon": "epsilon", "eps": "epsilon", "v": "v_prediction", "v_prediction": "v_prediction",
    "velocity": "v_prediction",
}  # fmt: skip
"""modelspec.prediction_type: "epsilon" and "v" by the specification, the others in the wild."""

_ARCHITECTURES: tuple[tuple[str, FamilyName], ...] = (
    ("stable-diffusion-v1", "sd1"),
    ("stable-diffusion-v2", "sd2"),
    ("stable-diffusion-xl-v1-refiner", "sdxl-refiner"),
    ("stable-diffusion-xl", "sdxl"),
    ("stable-diffusion-3", "sd3"),
    ("flux-1", "flux"),
    ("chroma", "chroma"),
    ("lumina-2", "lumina"),
    ("hunyuan-image", "hunyuan"),
    ("anima", "anima"),
    ("qwen-image", "qwen"),
)
"""How modelspec.architecture begins.  Source: github.com/Stability-AI/ModelSpec."""

_VERSIONS: tuple[tuple[str, FamilyName], ...] = (
    ("sd_v1", "sd1"), ("sd_v2", "sd2"), ("sdxl_refiner", "sdxl-refiner"), ("sdxl", "sdxl"), ("sd3", "sd3"),
    ("flux", "flux"), ("chroma", "chroma"), ("lumina", "lumina"), ("hunyuan_image", "hunyuan"), ("anima", "anima"),
)  # fmt: skip
"""How ss_base_model_version begins."""


def predicted(metadata: Mapping[str, str], names: Collection[str] = ()) -> Predicted | None:
    """What the model predicts, None if the file does not say.  names: of its tensors.

    The marker among the tensors comes first, because other programs follow it; then what the file's writer said, before
    what a training run said about the model it started from.
    """
    if VELOCITY in names:
        return "v_prediction"
    if said := _PREDICTIONS.get(_plain(metadata.get("modelspec.prediction_type", "")).replace("-", "_")):
        return said
    if (switch := _plain(metadata.get("ss_v_parameterization", ""))) in ("true", "false"):
        return "v_prediction" if switch == "true" else "epsilon"
    version = _plain(metadata.get("ss_base_model_version", ""))
    if version in ("sd_v1_v", "sd_v2_v"):
        return "v_prediction"
    if version in ("sd_v1", "sd_v2"):
        return "epsilon"
    architecture = _architecture(metadata)
    if architecture == "stable-diffusion-v2-768-v":
        return "v_prediction"
    return "epsilon" if architecture == "stable-diffusion-v2-512" else None


def family_told(metadata: Mapping[str, str]) -> FamilyName | None:
    """The family from its words alone: for a LoRA, the one that it was made for."""
    architecture, version = _architecture(metadata), _plain(metadata.get("ss_base_model_version", ""))
    for told, known in ((architecture, _ARCHITECTURES), (version, _VERSIONS)):
        if family := next((family for begin, family in known if told.startswith(begin)), None):
            return family
    return "sd2" if _plain(metadata.get("ss_v2", "")) == "true" else None


def name_told(metadata: Mapping[str, str]) -> str:
    """The name it gives its kind, "" if none."""
    return (_architecture(metadata) or _plain(metadata.get("ss_base_model_version", "")))[:60]


def _architecture(metadata: Mapping[str, str]) -> str:
    return _plain(metadata.get("modelspec.architecture", "")).partition("/")[0]


def _plain(text: str) -> str:
    return text.strip().lower()
