"""Captioners that are asked in words: Florence-2 with its tasks, and chat models that see, such as Qwen-VL.

Sources: Xiao et al. 2023, arXiv:2311.06242; Bai et al. 2025, arXiv:2502.13923.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from PIL import Image
from pydantic import Field

from engine.failure import Failure
from engine.runs.folder import RunFolder
from engine.runs.report import Report
from engine.settings.option import Group, option
from engine.tools.describing import (
    MODEL,
    MODEL_FILES,
    WORDS,
    Decoding,
    Describer,
    Weights,
    load_describer,
    loaded,
    narrowing,
    place,
)
from engine.tools.folder_work import Outcome
from engine.tools.sentences import Describe, SentenceSettings, describe_folder

FLORENCE_FILES = (*MODEL_FILES, "processor_config.json")

GOOD_PROMPTS = (
    "Describe this picture in one sentence, for training a text-to-image model. Begin with the subject.",
    "Describe this picture in detail: subject, pose, clothing, setting, light, style. Plain prose, no guesses.",
    "List what is in this picture as short tags between commas, the most important first.",
    "Describe everything but the style of this picture, in one sentence.",
)


class FlorenceModel(Group):
    model_id: str = option(
        "florence-community/Florence-2-base",
        label="Model",
        section=MODEL,
        widget="path",
        help="A Hugging Face model name, or a folder with the model's files.",
        suggestions=tuple(f"florence-community/Florence-2-{size}" for size in ("base", "large", "base-ft", "large-ft")),
        must_be="given",
    )
    prompt: str = option(
        "<MORE_DETAILED_CAPTION>",
        label="Prompt",
        section=MODEL,
        help="The task to give the model, such as a short or a long caption.",
        suggestions=("<CAPTION>", "<DETAILED_CAPTION>", "<MORE_DETAILED_CAPTION>"),
        must_be="given",
    )


class ChatModel(Group):
    model_id: str = option(
        "Qwen/Qwen2.5-VL-3B-Instruct",
        label="Model",
        section=MODEL,
        widget="path",
        help="A Hugging Face model name, or a folder with the model's files.",
        suggestions=("Qwen/Qwen2.5-VL-3B-Instruct", "Qwen/Qwen2.5-VL-7B-Instruct", "Qwen/Qwen2-VL-2B-Instruct"),
        must_be="given",
    )
    prompt: str = option(
        GOOD_PROMPTS[0],
        label="Prompt",
        section=MODEL,
        help="The instruction given to the model with each picture.",
        suggestions=GOOD_PROMPTS,
        must_be="given",
    )


class LongDecoding(Decoding):
    max_length: int = option(
        300,
        ge=1,
        le=4096,
        label="Max length",
        section=WORDS,
        help="Maximum number of tokens per caption; about three tokens for two words.",
    )
    min_length: int = option(
        0, ge=0, le=4096, label="Min length", section=WORDS, help="Minimum number of tokens per caption."
    )


class _Asked(SentenceSettings):
    decoding: LongDecoding = Field(default_factory=LongDecoding)


class FlorenceSettings(_Asked):
    model: FlorenceModel = Field(default_factory=FlorenceModel)


class ChatSettings(_Asked):
    model: ChatModel = Field(default_factory=ChatModel)


def florence(settings: FlorenceSettings, run: RunFolder, report: Report) -> Outcome:
    """Caption with Florence-2."""

    def load() -> Describe:
        processor, describer = _load_florence(settings.model.model_id, settings.batch.weights)

        def describe(pictures: Sequence[Image.Image]) -> list[str]:
            prompts = [settings.model.prompt] * len(pictures)
            inputs = processor(text=prompts, images=list(pictures), return_tensors="pt", padding=True)
            tokens = describer.model.generate(**describer.placed(inputs), **settings.decoding.arguments())
            return describer.words(tokens)

        return describe

    return describe_folder(settings, settings.model.model_id, run, report, load)


def _load_florence(source: str, weights: Weights) -> tuple[Any, Describer]:
    import transformers

    transformers.utils.logging.disable_progress_bar()
    device, dtype = place()
    narrowed = narrowing(weights, device, dtype)

    def load(where: str, local: bool) -> tuple[Any, Describer]:
        known: dict[str, Any] = {"local_files_only": local}
        processor = transformers.AutoProcessor.from_pretrained(where, backend="pil", **known)
        model = transformers.Florence2ForConditionalGeneration.from_pretrained(where, dtype=dtype, **known, **narrowed)
        placed = (model if narrowed else model.to(device)).eval()
        return processor, Describer(placed, processor.image_processor, processor.tokenizer, device, dtype)

    found: tuple[Any, Describer] = loaded(source, load, FLORENCE_FILES, "model_id")
    return found


def chat(settings: ChatSettings, run: RunFolder, report: Report) -> Outcome:
    """Caption with a chat model of Qwen's kind."""

    def load() -> Describe:
        describer = load_describer(settings.model.model_id, "AutoModelForImageTextToText", settings.batch.weights)
        refuse_other_kinds(describer, settings.model.model_id)

        def describe(pictures: Sequence[Image.Image]) -> list[str]:
            inputs = asked(describer, pictures, settings.model.prompt)
            tokens = describer.model.generate(**inputs, **settings.decoding.arguments())
            return describer.words(tokens[:, inputs["input_ids"].shape[1] :])

        return describe

    return describe_folder(settings, settings.model.model_id, run, report, load)


def refuse_other_kinds(describer: Describer, source: str) -> None:
    """Raises Failure where the model is not one whose pictures take as many tokens as they have patches."""
    if not hasattr(describer.image_processor, "merge_size") or not describer.tokenizer.chat_template:
        raise Failure(f"{source} is not a Qwen-VL chat model.", "Choose another model.", "model_id")


def asked(describer: Describer, pictures: Sequence[Image.Image], prompt: str) -> dict[str, Any]:
    """The prompt with each picture, as a Qwen-VL takes it.

    The place of a picture in the text is as many tokens long as it has patches, merged by merge_size² (Wang et
    al. 2024, arXiv:2409.12191, section 2.1).  transformers' own processor does this too, but not without torchvision,
    which it needs for films.
    """
    import torch

    pixels = describer.pixels(pictures)
    content = [{"type": "image"}, {"type": "text", "text": prompt}]
    text = describer.tokenizer.apply_chat_template(
        [{"role": "user", "content": content}], tokenize=False, add_generation_prompt=True
    )
    mark = describer.tokenizer.convert_ids_to_tokens(describer.model.config.image_token_id)
    lengths = pixels["image_grid_thw"].prod(dim=1) // describer.image_processor.merge_size**2
    texts = [text.replace(mark, mark * int(length), 1) for length in lengths]
    words = describer.tokenizer(texts, return_tensors="pt", padding=True, padding_side="left")
    kinds = (words["input_ids"] == describer.model.config.image_token_id).to(torch.int32)
    return (
        describer.placed(
            {"input_ids": words["input_ids"], "attention_mask": words["attention_mask"], "mm_token_type_ids": kinds}
        )
        | pixels
    )
