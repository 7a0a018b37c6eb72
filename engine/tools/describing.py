"""What captioners of transformers share: the model and its processors loaded, captions generated and cleaned."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from PIL import Image

from engine.failure import Failure
from engine.settings.option import Group, option
from engine.settings.paths import typed_path
from engine.tools.hub import cannot_load, refuse_no_name

if TYPE_CHECKING:
    import torch

MODEL_FILES = ("config.json", "model.safetensors", "preprocessor_config.json", "tokenizer.json")

Weights = Literal["16 bits", "8 bits", "4 bits"]

MODEL, WORDS = "Model", "Generation"


class Batch(Group):
    batch_size: int = option(
        1, ge=1, le=256, label="Batch size", section=MODEL, help="How many pictures to process at once."
    )
    weights: Weights = option(
        "16 bits",
        label="Weights",
        section=MODEL,
        help="8 bits take half the memory, 4 bits a quarter. Both need an NVIDIA GPU and are slightly less accurate. "
        "Without a GPU, 16 bits work like 32.",
        source="Dettmers et al. 2022, arXiv:2208.07339; 2023, arXiv:2305.14314",
        also=("load_in_8bit", "load_in_4bit", "quantization"),
    )


class Decoding(Group):
    """How words are chosen, in the terms of kohya_ss's BLIP tab."""

    beam_search: bool = option(
        True,
        label="Use beam search",
        section=WORDS,
        help="On: always pick the most likely words, so the result is the same each time. Off: pick words at random "
        "(nucleus sampling).",
    )
    num_beams: int = option(
        1,
        ge=1,
        le=32,
        label="Number of beams",
        section=WORDS,
        help="How many candidate captions are followed at once. More beams are slower and give plainer captions.",
        applies_when={"beam_search": (True,)},
    )
    top_p: float = option(
        0.9,
        ge=0.01,
        le=1,
        label="Top p",
        section=WORDS,
        help="Words are picked from the most likely ones that together have this probability.",
        source="Holtzman et al. 2020, arXiv:1904.09751",
        applies_when={"beam_search": (False,)},
    )
    seed: int = option(
        42,
        ge=0,
        label="Seed",
        section=WORDS,
        help="A different seed picks different words.",
        applies_when={"beam_search": (False,)},
    )
    max_length: int = option(
        75,
        ge=1,
        le=1024,
        label="Max length",
        section=WORDS,
        help="Maximum number of tokens per caption; about three tokens for two words.",
    )
    min_length: int = option(
        5, ge=0, le=1024, label="Min length", section=WORDS, help="Minimum number of tokens per caption."
    )

    def too_short(self) -> Failure | None:
        """Why no caption could meet both lengths."""
        if self.min_length <= self.max_length:
            return None
        return Failure(
            f"Min length is {self.min_length}, above Max length, which is {self.max_length}.",
            "Lower it, or raise Max length.",
            "min_length",
        )

    def arguments(self) -> dict[str, Any]:
        """As generate() of transformers takes them."""
        chance = {"do_sample": True, "top_p": self.top_p, "top_k": 0, "num_beams": 1}
        search = {"do_sample": False, "num_beams": self.num_beams}
        lengths = {"max_new_tokens": self.max_length, "min_new_tokens": self.min_length}
        return {**(search if self.beam_search else chance), **lengths}


@dataclass
class Describer:
    """A model of transformers with what stands before and behind it."""

    model: Any
    image_processor: Any
    tokenizer: Any
    device: torch.device
    dtype: torch.dtype

    def pixels(self, pictures: Sequence[Image.Image]) -> dict[str, Any]:
        """The pictures as the model takes them; floats in its precision, the rest as it is."""
        return self.placed(self.image_processor(images=list(pictures), return_tensors="pt"))

    def placed(self, inputs: Any) -> dict[str, Any]:
        """Tensors on the model's device; floats in its precision, the rest as it is."""
        return {
            name: value.to(self.device, self.dtype if value.is_floating_point() else None)
            for name, value in inputs.items()
        }

    def words(self, tokens: Any) -> list[str]:
        """Captions on one line each, without the marks around them."""
        texts = self.tokenizer.batch_decode(tokens, skip_special_tokens=True)
        return [" ".join(text.split()) for text in texts]


def load_describer(source: str, model_class: str, weights: Weights = "16 bits", option: str = "model_id") -> Describer:
    """A captioner from a folder or the hub; what was downloaded before is taken without asking the hub.

    model_class: its name in transformers.  On a GPU in half precision or less, else in float32.  Raises Failure.
    """
    import transformers

    transformers.utils.logging.disable_progress_bar()
    device, dtype = place()
    narrowed = narrowing(weights, device, dtype)

    def load(where: str, local: bool) -> Describer:
        known: dict[str, Any] = {"local_files_only": local}
        # pillow's own scaling, as the models were trained with: torchvision is not installed, and rounds otherwise
        image_processor = transformers.AutoImageProcessor.from_pretrained(where, backend="pil", **known)
        tokenizer = transformers.AutoTokenizer.from_pretrained(where, **known)
        model = getattr(transformers, model_class).from_pretrained(where, dtype=dtype, **known, **narrowed)
        # What is narrowed has been put where it computes, and must not be moved.
        return Describer((model if narrowed else model.to(device)).eval(), image_processor, tokenizer, device, dtype)

    return loaded(source, load, MODEL_FILES, option)


def loaded(source: str, load: Any, files: Sequence[str], option: str) -> Any:
    """What load(where, without asking the hub) gives for a folder or a name of the hub.

    files: what such a model has, for people.  Raises Failure.
    """
    folder = typed_path(source)
    if folder.is_dir():
        try:
            return load(str(folder), True)
        except (OSError, ValueError, KeyError, RuntimeError) as error:
            raise _no_model(folder, files, option, error) from error
    refuse_no_name(source, option)
    try:
        return load(source, True)
    except (OSError, ValueError):
        try:
            return load(source, False)
        except (OSError, ValueError) as error:
            raise cannot_load(source, files, option, error) from error


def place() -> tuple[torch.device, torch.dtype]:
    """Where captioners compute, and in which precision."""
    import torch

    if torch.cuda.is_available():
        return torch.device("cuda"), torch.bfloat16 if torch.cuda.is_bf16_supported() else torch.float16
    if torch.backends.mps.is_available():
        return torch.device("mps"), torch.float16
    return torch.device("cpu"), torch.float32


def narrowing(weights: Weights, device: torch.device, dtype: torch.dtype) -> dict[str, Any]:
    """What from_pretrained() is told for weights of 8 or 4 bits, by bitsandbytes; nothing for 16.

    dtype: in which is computed.  Raises Failure where there is no NVIDIA GPU.
    """
    if weights == "16 bits":
        return {}
    if device.type != "cuda":
        raise Failure(
            f"Weights in {weights} need an NVIDIA GPU, and this machine has none.", "Choose 16 bits.", "weights"
        )
    from transformers import BitsAndBytesConfig

    four = {"load_in_4bit": True, "bnb_4bit_quant_type": "nf4", "bnb_4bit_compute_dtype": dtype}
    how = BitsAndBytesConfig(**(four if weights == "4 bits" else {"load_in_8bit": True}))
    return {"quantization_config": how, "device_map": {"": device}}


def seeded(seed: int) -> None:
    """Begin chance anew: the same pictures in the same batches get the same words."""
    import torch

    random.seed(seed)
    torch.manual_seed(seed)


def _no_model(folder: Path, files: Sequence[str], option: str, error: Exception) -> Failure:
    what = str(error).strip().split("\n")[0]
    return Failure(
        f"The folder {folder} does not contain a model of this kind: {what}",
        f"It needs {', '.join(files[:-1])} and {files[-1]}.",
        option,
    )
