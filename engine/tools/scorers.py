"""Aesthetic predictors, pictures → numbers: a head on CLIP's embeddings of them, or one ONNX file that does it all.

Sources: Schuhmann et al. 2022, arXiv:2210.08402 (LAION-Aesthetics); github.com/LAION-AI/aesthetic-predictor (linear
heads); github.com/christophschuhmann/improved-aesthetic-predictor (several layers).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from engine.failure import Failure
from engine.tools.describing import loaded, place
from engine.tools.onnx_file import OnnxFile

if TYPE_CHECKING:
    import torch

CLIP_FILES = ("config.json", "model.safetensors", "preprocessor_config.json")

MEAN, DEVIATION = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)
"""Of CLIP's pictures, for red, green and blue in 0–1: Radford et al. 2021, github.com/openai/CLIP."""

USUAL_SIZE = 224
"""Pixels of a side where an ONNX file does not say it."""

_LAYER = re.compile(r"layers\.(\d{1,3})\.(weight|bias)")


@dataclass(frozen=True)
class Head:
    """Linear layers in order, as (weight (out, in), bias (out,)).  relu: whether max(x, 0) stands between any two."""

    layers: tuple[tuple[torch.Tensor, torch.Tensor], ...]
    relu: bool = False

    @property
    def width(self) -> int:
        """How long the embeddings are that it takes."""
        return self.layers[0][0].shape[1]

    def __call__(self, embeddings: torch.Tensor) -> torch.Tensor:
        """embeddings: (N, width), of length 1 each.  Returns (N,)."""
        x = embeddings
        for number, (weight, bias) in enumerate(self.layers):
            x = x.clamp(min=0) if self.relu and number else x
            x = x @ weight.T + bias
        return x[:, 0]


def read_head(file: Path, option: str) -> Head:
    """A head from a .safetensors file, or from a .pth file without running any of it.

    weight and bias are one layer; layers.N.weight and layers.N.bias are several, N the place among all that the
    network was made of. A dropout alone between two makes their N differ by 2, a ReLU and a dropout by 3: so the
    published files with ReLUs tell themselves from those without.  Raises Failure.
    """
    from engine.models.single_file import Weights

    weights = Weights(file, option)
    tensors = {name: weights[name].float() for name in weights}
    if set(tensors) == {"weight", "bias"}:
        numbered = {0: ""}
    else:
        found = [_LAYER.fullmatch(name) for name in tensors]
        numbered = {int(match[1]): f"layers.{match[1]}." for match in found if match}
        if not numbered or not all(found):
            odd = next((name for name, match in zip(tensors, found, strict=True) if not match), "none at all")
            raise _no_head(file, f"it has the tensor {odd[:80]}" if tensors else "it has no tensors", option)
    layers = []
    for number in sorted(numbered):
        weight, bias = (tensors.get(f"{numbered[number]}{kind}") for kind in ("weight", "bias"))
        if weight is None or bias is None:
            raise _no_head(file, f"layer {number} has no {'weight' if weight is None else 'bias'}", option)
        if weight.ndim != 2 or bias.shape != weight.shape[:1] or not weight.numel():
            raise _no_head(file, f"layer {number} has the shape {tuple(weight.shape)}", option)
        layers.append((weight, bias))
    for (before, _), (after, _) in pairwise(layers):
        if after.shape[1] != before.shape[0]:
            raise _no_head(file, f"a layer gives {before.shape[0]} numbers and the next takes {after.shape[1]}", option)
    if layers[-1][0].shape[0] != 1:
        raise _no_head(file, f"it gives {layers[-1][0].shape[0]} numbers and not one", option)
    return Head(tuple(layers), any(after - before == 3 for before, after in pairwise(sorted(numbered))))


def _no_head(file: Path, why: str, option: str) -> Failure:
    return Failure(
        f"{file.name} is not an aesthetic predictor of a kind that is read here: {why}.",
        "Choose one with weight and bias, or with layers.N.weight and layers.N.bias, as LAION publishes them.",
        option,
    )


class ClipScorer:
    """A CLIP image model and a head on its embeddings."""

    def __init__(self, source: str, head: Path) -> None:
        """source: a folder or a name of the hub, for option model_id; head: for option head.  Raises Failure."""
        import transformers

        self._head = read_head(head, "head")
        transformers.utils.logging.disable_progress_bar()
        self._device, self._dtype = place()

        def load(where: str, local: bool) -> tuple[Any, Any]:
            known: dict[str, Any] = {"local_files_only": local}
            config = transformers.AutoConfig.from_pretrained(where, **known)
            if config.model_type not in ("clip", "clip_vision_model"):
                raise Failure(f"{source} is a {config.model_type} model, not CLIP.", "Choose a CLIP model.", "model_id")
            # pillow's own scaling, as the heads were trained with
            processor = transformers.AutoImageProcessor.from_pretrained(where, backend="pil", **known)
            model, found = transformers.CLIPVisionModelWithProjection.from_pretrained(
                where, dtype=self._dtype, output_loading_info=True, **known
            )
            if missing := sorted(found["missing_keys"]):
                raise Failure(
                    f"{source} lacks {len(missing)} tensors of CLIP's image model, such as {missing[0]}.",
                    "Choose another model, or download it again.",
                    "model_id",
                )
            return model.to(self._device).eval(), processor

        self._model, self._processor = loaded(source, load, CLIP_FILES, "model_id")
        width = self._model.config.projection_dim
        if width != self._head.width:
            raise Failure(
                f"{head.name} takes embeddings of {self._head.width} numbers, but {source} gives {width}.",
                "Choose the CLIP model that the predictor was trained with; most of 768 numbers were trained with "
                "openai/clip-vit-large-patch14.",
                "model_id",
            )

    def scores(self, pictures: Sequence[Image.Image]) -> list[float]:
        """The head of CLIP's embedding e, brought to length 1: h(e / ‖e‖)."""
        import torch

        with torch.no_grad():
            pixels = self._processor(images=list(pictures), return_tensors="pt")["pixel_values"]
            embeddings = self._model(pixel_values=pixels.to(self._device, self._dtype)).image_embeds.float().cpu()
            scores: list[float] = self._head(embeddings / embeddings.norm(dim=-1, keepdim=True)).tolist()
        return scores


class OnnxScorer:
    """(N, 3, size, size) pictures as CLIP sees them → (N,) or (N, 1) scores."""

    def __init__(self, file: Path, option: str) -> None:
        """Raises Failure where the file is of another kind."""
        self._model, self._option, self._name = OnnxFile(file, option), option, file.name
        given, answer = self._model.given, self._model.answer
        if len(given) != 4 or given[1] != 3:
            raise self._failure(f"it takes pictures of shape {given}, not (N, 3, height, width)")
        if len(answer) > 1 and any(isinstance(size, int) and size != 1 for size in answer[1:]):
            raise self._failure(f"it answers with the shape {answer}, not with one number for each picture")
        self.size = given[2] if isinstance(given[2], int) else USUAL_SIZE

    def prepared(self, image: Image.Image) -> np.ndarray:
        """An RGB picture → (3, size, size), float32: its shorter side scaled to size (bicubic), cut to a square around
        the centre, less CLIP's mean and divided by its deviation.
        """
        scale = self.size / min(image.size)
        width, height = (max(self.size, round(side * scale)) for side in image.size)
        scaled = image.resize((width, height), Image.Resampling.BICUBIC)
        left, top = (width - self.size) // 2, (height - self.size) // 2
        square = scaled.crop((left, top, left + self.size, top + self.size))
        values = np.asarray(square, dtype=np.float32) / np.float32(255)
        values = (values - np.array(MEAN, np.float32)) / np.array(DEVIATION, np.float32)
        return np.ascontiguousarray(values.transpose(2, 0, 1))

    def scores(self, pictures: Sequence[np.ndarray]) -> list[float]:
        answers = self._model.answers(np.stack(pictures))
        if answers.size != len(pictures):
            raise self._failure(f"it answers with {answers.size // len(pictures)} numbers for each picture, not one")
        return [float(answer) for answer in answers.reshape(-1)]

    def _failure(self, why: str) -> Failure:
        return Failure(f"{self._name} is not an aesthetic predictor: {why}.", "Choose another file.", self._option)
