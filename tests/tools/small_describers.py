"""Captioners of transformers with random weights, saved as the hub would give them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import (
    Blip2Config,
    Blip2ForConditionalGeneration,
    Blip2QFormerConfig,
    Blip2VisionConfig,
    BlipConfig,
    BlipForConditionalGeneration,
    BlipImageProcessorPil,
    CLIPImageProcessorPil,
    GitConfig,
    GitForCausalLM,
    OPTConfig,
    PreTrainedTokenizerFast,
)

WORDS = ["a", "cat", "dog", "red", "blue", "house", "tree", "on", "the", "with", "small", "big"]
MARKS = ["[PAD]", "[CLS]", "[SEP]", "[UNK]", "<image>"]
SIZE = {"height": 32, "width": 32}


def tokenizer() -> PreTrainedTokenizerFast:
    known = {word: number for number, word in enumerate(MARKS + WORDS)}
    words = Tokenizer(models.WordLevel(known, unk_token="[UNK]"))
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    return PreTrainedTokenizerFast(
        tokenizer_object=words, pad_token="[PAD]", cls_token="[CLS]", sep_token="[SEP]", unk_token="[UNK]",
        bos_token="[CLS]", eos_token="[SEP]", additional_special_tokens=["<image>"],
    )  # fmt: skip


MARK_IDS = {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}
SMALL = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}


def save_blip(folder: Path) -> Path:
    text = {**SMALL, **MARK_IDS, "sep_token_id": 2, "vocab_size": len(tokenizer()), "encoder_hidden_size": 16}
    vision = {**SMALL, "image_size": 32, "patch_size": 8}
    config = BlipConfig(text_config=text, vision_config=vision, projection_dim=16)
    return _saved(folder, BlipForConditionalGeneration(config), BlipImageProcessorPil(size=SIZE))


def save_git(folder: Path) -> Path:
    vision = {**SMALL, "image_size": 32, "patch_size": 8}
    config = GitConfig(vision_config=vision, **SMALL, **MARK_IDS, vocab_size=len(tokenizer()))
    processor = CLIPImageProcessorPil(size={"shortest_edge": 32}, crop_size=SIZE)
    return _saved(folder, GitForCausalLM(config), processor)


def save_blip2(folder: Path) -> Path:
    vision = Blip2VisionConfig(**SMALL, image_size=32, patch_size=8)
    asking = Blip2QFormerConfig(**SMALL, encoder_hidden_size=16, vocab_size=len(tokenizer()))
    words = OPTConfig(
        hidden_size=16, ffn_dim=32, num_hidden_layers=2, num_attention_heads=2, word_embed_proj_dim=16, **MARK_IDS,
        vocab_size=len(tokenizer()),
    )  # fmt: skip
    config = Blip2Config(
        vision_config=vision.to_dict(), qformer_config=asking.to_dict(), text_config=words.to_dict(),
        num_query_tokens=4, image_token_id=4,
    )  # fmt: skip
    return _saved(folder, Blip2ForConditionalGeneration(config), BlipImageProcessorPil(size=SIZE))


def _saved(folder: Path, model: Any, processor: Any) -> Path:
    _made_lively(model)
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    tokenizer().save_pretrained(folder)
    return folder


def _made_lively(model: Any) -> None:
    """Weights large enough that what is said depends on the picture."""
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.5)
