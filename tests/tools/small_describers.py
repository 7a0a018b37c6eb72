"""Captioners of transformers with random weights, saved as the hub would give them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import (
    BartConfig,
    Blip2Config,
    Blip2ForConditionalGeneration,
    Blip2QFormerConfig,
    Blip2VisionConfig,
    BlipConfig,
    BlipForConditionalGeneration,
    BlipImageProcessorPil,
    CLIPImageProcessorPil,
    Florence2Config,
    Florence2ForConditionalGeneration,
    Florence2Processor,
    Florence2VisionConfig,
    GitConfig,
    GitForCausalLM,
    OPTConfig,
    PreTrainedTokenizerFast,
    Qwen2_5_VLConfig,
    Qwen2_5_VLForConditionalGeneration,
    Qwen2VLImageProcessorPil,
)

WORDS = ["a", "cat", "dog", "red", "blue", "house", "tree", "on", "the", "with", "small", "big"]
MARKS = ["[PAD]", "[CLS]", "[SEP]", "[UNK]", "<image>"]
SIZE = {"height": 32, "width": 32}


def tokenizer(**more: Any) -> PreTrainedTokenizerFast:
    known = {word: number for number, word in enumerate(MARKS + WORDS)}
    words = Tokenizer(models.WordLevel(known, unk_token="[UNK]"))
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    return PreTrainedTokenizerFast(
        tokenizer_object=words, pad_token="[PAD]", cls_token="[CLS]", sep_token="[SEP]", unk_token="[UNK]",
        bos_token="[CLS]", eos_token="[SEP]", additional_special_tokens=["<image>"], **more,
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


def save_florence2(folder: Path) -> Path:
    words = tokenizer(image_token="<image>")
    text = BartConfig(
        vocab_size=len(words), d_model=16, encoder_layers=1, decoder_layers=1, encoder_attention_heads=2,
        decoder_attention_heads=2, encoder_ffn_dim=32, decoder_ffn_dim=32, decoder_start_token_id=1,
        forced_eos_token_id=None, **MARK_IDS,
    )  # fmt: skip
    vision = Florence2VisionConfig(
        embed_dim=[16] * 4, num_heads=[2] * 4, num_groups=[2] * 4, depths=[1] * 4, projection_dim=16, window_size=4
    )
    config = Florence2Config(vision_config=vision.to_dict(), text_config=text.to_dict(), image_token_id=4)
    model = Florence2ForConditionalGeneration(config)
    # 32 pixels, halved five times by the strides, are one place; the mean of all is another
    processor = Florence2Processor(
        CLIPImageProcessorPil(size=SIZE, do_center_crop=False, image_seq_length=1), words, num_additional_image_tokens=1
    )
    processor.image_processor.image_seq_length = 2
    processor.save_pretrained(folder)
    _made_lively(model)
    model.save_pretrained(folder)
    return folder


def save_qwen(folder: Path) -> Path:
    text = {
        **SMALL, **MARK_IDS, "num_key_value_heads": 2,
        "vocab_size": len(tokenizer()), "rope_parameters": {"rope_type": "default", "mrope_section": [1, 1, 2]},
    }  # fmt: skip
    vision = {"depth": 1, "hidden_size": 16, "num_heads": 2, "intermediate_size": 32, "out_hidden_size": 16,
              "patch_size": 14, "spatial_merge_size": 2, "fullatt_block_indexes": [0]}  # fmt: skip
    config = Qwen2_5_VLConfig(text_config=text, vision_config=vision, image_token_id=4)
    words = tokenizer()
    words.chat_template = CHAT
    return _saved(folder, Qwen2_5_VLForConditionalGeneration(config), Qwen2VLImageProcessorPil(**QWEN_PIXELS), words)


QWEN_PIXELS = {"min_pixels": 28 * 28, "max_pixels": 56 * 56}

CHAT = (
    "{% for message in messages %}[CLS] {% for part in message.content %}"
    "{% if part.type == 'image' %}<image> {% else %}{{ part.text }} {% endif %}{% endfor %}[SEP] {% endfor %}"
)


def _saved(folder: Path, model: Any, processor: Any, words: PreTrainedTokenizerFast | None = None) -> Path:
    _made_lively(model)
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    (words or tokenizer()).save_pretrained(folder)
    return folder


def _made_lively(model: Any) -> None:
    """Weights large enough that what is said depends on the picture."""
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.5)
