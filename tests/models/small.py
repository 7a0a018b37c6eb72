"""Small models of every family, with random weights: their structure is the real one's, their widths are not."""

from __future__ import annotations

import string
from typing import Any

import torch
from diffusers import (
    AutoencoderKL,
    ChromaPipeline,
    ChromaTransformer2DModel,
    DDIMScheduler,
    EulerDiscreteScheduler,
    FlowMatchEulerDiscreteScheduler,
    FluxPipeline,
    FluxTransformer2DModel,
    Lumina2Pipeline,
    Lumina2Transformer2DModel,
    SD3Transformer2DModel,
    StableDiffusion3Pipeline,
    StableDiffusionDepth2ImgPipeline,
    StableDiffusionInpaintPipeline,
    StableDiffusionPipeline,
    StableDiffusionXLImg2ImgPipeline,
    StableDiffusionXLPipeline,
    UNet2DConditionModel,
)
from transformers import (
    CLIPTextConfig,
    CLIPTextModel,
    CLIPTextModelWithProjection,
    CLIPTokenizer,
    DPTConfig,
    DPTForDepthEstimation,
    DPTImageProcessor,
    Gemma2Config,
    Gemma2Model,
    GemmaTokenizer,
    T5Config,
    T5EncoderModel,
    T5TokenizerFast,
)

from engine.demo.demo import MODEL_FOLDER

SCHEDULE = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}


FLUX = {"flux1_checkbox": True, "model_prediction_type": "raw", "t5xxl_max_token_length": 64}

SETTINGS: dict[str, dict[str, Any]] = {
    "sd2": {"v2": True, "v_parameterization": True},
    "sd2-inpainting": {"v2": True, "train_inpainting": True, "cache_latents": False},
    "sd2-depth": {"v2": True},
    "sdxl": {"sdxl": True},
    "sdxl-refiner": {"sdxl": True},
    "sd3": {"sd3_checkbox": True},
    "flux": FLUX,
    "chroma": FLUX | {"flux_model_type": "chroma"},
    "lumina": {"lumina_checkbox": True, "lumina_gemma2_max_token_length": 64},
}
"""What each family is trained with: the options that name it, and those that make it quick."""

FAMILIES = tuple(SETTINGS)

REFINERS_LABELS = 5 * 16 + 128
"""Numbers that the small refiner is told beside the caption."""


def pipeline(family: str) -> Any:
    torch.manual_seed(0)
    makers = {
        "sd2": _sd2, "sd2-inpainting": _sd2_inpainting, "sd2-depth": _sd2_depth, "sdxl": _sdxl,
        "sdxl-refiner": _refiner, "sd3": _sd3, "flux": _flux, "chroma": _chroma, "lumina": _lumina,
    }  # fmt: skip
    return makers[family]()


def _sd2() -> StableDiffusionPipeline:
    """Velocity-predicting, as the 768-pixel ones are."""
    return StableDiffusionPipeline(
        **_parts_of_sd2(4, "v_prediction"), safety_checker=None, feature_extractor=None, requires_safety_checker=False
    )


def _sd2_inpainting() -> StableDiffusionInpaintPipeline:
    return StableDiffusionInpaintPipeline(
        **_parts_of_sd2(9), safety_checker=None, feature_extractor=None, requires_safety_checker=False
    )


def _sd2_depth() -> StableDiffusionDepth2ImgPipeline:
    config = DPTConfig(
        hidden_size=32, num_hidden_layers=4, num_attention_heads=2, intermediate_size=32, image_size=384,
        patch_size=32, num_channels=3, neck_hidden_sizes=[8, 8, 8, 8], fusion_hidden_size=8,
        backbone_out_indices=[0, 1, 2, 3], is_hybrid=False,
    )  # fmt: skip
    return StableDiffusionDepth2ImgPipeline(
        **_parts_of_sd2(5), depth_estimator=DPTForDepthEstimation(config).eval(), feature_extractor=DPTImageProcessor()
    )


def _parts_of_sd2(channels: int, prediction: str = "epsilon") -> dict[str, Any]:
    unet = UNet2DConditionModel(
        in_channels=channels, sample_size=64,
        block_out_channels=(32, 64), layers_per_block=2, cross_attention_dim=1024, use_linear_projection=True,
        down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"), up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
        attention_head_dim=(2, 4), norm_num_groups=8,
    )  # fmt: skip
    encoder = CLIPTextModel(_clip(1024, layers=2, act="gelu"))
    scheduler = DDIMScheduler(**SCHEDULE, prediction_type=prediction, steps_offset=1)
    return {
        "vae": _vae(), "unet": unet, "text_encoder": encoder, "tokenizer": _tokenizer("!"), "scheduler": scheduler,
    }  # fmt: skip


def _refiner() -> StableDiffusionXLImg2ImgPipeline:
    unet = UNet2DConditionModel(
        block_out_channels=(32, 32, 64), layers_per_block=2, cross_attention_dim=128, use_linear_projection=True,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
        transformer_layers_per_block=2, attention_head_dim=(2, 2, 4), norm_num_groups=8,
        addition_embed_type="text_time", addition_time_embed_dim=16,
        projection_class_embeddings_input_dim=REFINERS_LABELS,
    )  # fmt: skip
    return StableDiffusionXLImg2ImgPipeline(
        vae=_vae(), unet=unet, text_encoder=None, text_encoder_2=CLIPTextModelWithProjection(_clip(128, act="gelu")),
        tokenizer=None, tokenizer_2=_tokenizer("!"), scheduler=EulerDiscreteScheduler(**SCHEDULE),
        requires_aesthetics_score=True, force_zeros_for_empty_prompt=False,
    )  # fmt: skip


def _sdxl() -> StableDiffusionXLPipeline:
    unet = UNet2DConditionModel(
        block_out_channels=(32, 32, 64), layers_per_block=2, cross_attention_dim=192, use_linear_projection=True,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
        transformer_layers_per_block=(1, 1, 2), attention_head_dim=(2, 2, 4), norm_num_groups=8,
        addition_embed_type="text_time", addition_time_embed_dim=16, projection_class_embeddings_input_dim=6 * 16 + 128,
    )  # fmt: skip
    return StableDiffusionXLPipeline(
        vae=_vae(), unet=unet, text_encoder=CLIPTextModel(_clip(64)),
        text_encoder_2=CLIPTextModelWithProjection(_clip(128, act="gelu")), tokenizer=_tokenizer(),
        tokenizer_2=_tokenizer("!"), scheduler=EulerDiscreteScheduler(**SCHEDULE),
    )  # fmt: skip


def _sd3() -> StableDiffusion3Pipeline:
    """Of 3.5-medium's kind: normalised queries and keys, and a second attention in some blocks."""
    transformer = SD3Transformer2DModel(
        sample_size=16, patch_size=2, in_channels=16, out_channels=16, num_layers=3, attention_head_dim=64,
        num_attention_heads=1, joint_attention_dim=256, caption_projection_dim=64, pooled_projection_dim=192,
        pos_embed_max_size=24, qk_norm="rms_norm", dual_attention_layers=(0, 1),
    )  # fmt: skip
    return StableDiffusion3Pipeline(
        transformer=transformer, scheduler=FlowMatchEulerDiscreteScheduler(shift=3.0), vae=_vae(16),
        text_encoder=CLIPTextModelWithProjection(_clip(64)), tokenizer=_tokenizer(),
        text_encoder_2=CLIPTextModelWithProjection(_clip(128)), tokenizer_2=_tokenizer("!"),
        text_encoder_3=_t5(), tokenizer_3=_t5_tokenizer(),
    )  # fmt: skip


def _flux() -> FluxPipeline:
    transformer = FluxTransformer2DModel(
        patch_size=1, in_channels=64, num_layers=2, num_single_layers=2, attention_head_dim=32, num_attention_heads=2,
        joint_attention_dim=256, pooled_projection_dim=64, guidance_embeds=True, axes_dims_rope=(4, 14, 14),
    )  # fmt: skip
    return FluxPipeline(
        transformer=transformer, scheduler=FlowMatchEulerDiscreteScheduler(shift=3.0, use_dynamic_shifting=True),
        vae=_vae(16), text_encoder=CLIPTextModel(_clip(64)), tokenizer=_tokenizer(), text_encoder_2=_t5(),
        tokenizer_2=_t5_tokenizer(),
    )  # fmt: skip


def _chroma() -> ChromaPipeline:
    transformer = ChromaTransformer2DModel(
        patch_size=1, in_channels=64, num_layers=2, num_single_layers=2, attention_head_dim=32, num_attention_heads=2,
        joint_attention_dim=256, axes_dims_rope=(4, 14, 14), approximator_num_channels=16, approximator_hidden_dim=48,
        approximator_layers=3,
    )  # fmt: skip
    return ChromaPipeline(
        transformer=transformer, scheduler=FlowMatchEulerDiscreteScheduler(shift=3.0, use_dynamic_shifting=True),
        vae=_vae(16), text_encoder=_t5(), tokenizer=_t5_tokenizer(),
    )  # fmt: skip


def _lumina() -> Lumina2Pipeline:
    tokenizer = _gemma_tokenizer()
    gemma = Gemma2Config(
        vocab_size=len(tokenizer), hidden_size=64, intermediate_size=128, num_hidden_layers=3, num_attention_heads=2,
        num_key_value_heads=1, head_dim=256, query_pre_attn_scalar=256,
    )  # fmt: skip
    transformer = Lumina2Transformer2DModel(
        sample_size=16, in_channels=16, hidden_size=96, num_layers=2, num_refiner_layers=2, num_attention_heads=2,
        num_kv_heads=1, axes_dim_rope=(16, 16, 16), cap_feat_dim=64,
    )  # fmt: skip
    return Lumina2Pipeline(
        transformer=transformer, scheduler=FlowMatchEulerDiscreteScheduler(shift=6.0), vae=_vae(16),
        text_encoder=Gemma2Model(gemma).eval(), tokenizer=tokenizer,
    )  # fmt: skip


def _gemma_tokenizer() -> GemmaTokenizer:
    """Letters, a token each, behind the one that begins a text."""
    tokens = ["<pad>", "<eos>", "<bos>", "<unk>", "<mask>", "▁", *string.ascii_letters, *string.digits, *",.<>"]
    return GemmaTokenizer(vocab={token: place for place, token in enumerate(tokens)}, merges=[], add_bos_token=True)


def _vae(channels: int = 4) -> AutoencoderKL:
    """Of 16 channels as SD 3's and FLUX.1's: shifted, and without the convolutions around the latents."""
    more: dict[str, Any] = {}
    if channels == 16:
        more = {"shift_factor": 0.1, "scaling_factor": 0.5, "use_quant_conv": False, "use_post_quant_conv": False}
    return AutoencoderKL(
        block_out_channels=(16, 16, 16, 32), down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4, latent_channels=channels, norm_num_groups=8, sample_size=64, **more,
    )  # fmt: skip


def _clip(width: int, layers: int = 3, act: str = "quick_gelu") -> CLIPTextConfig:
    tokenizer = _tokenizer()
    return CLIPTextConfig(
        vocab_size=len(tokenizer), hidden_size=width, intermediate_size=2 * width, num_hidden_layers=layers,
        num_attention_heads=width // 64, projection_dim=width, hidden_act=act, bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
    )  # fmt: skip


def _tokenizer(padding: str | None = None) -> CLIPTokenizer:
    """The built-in model's.  padding: the token that captions are filled up with, its first one for "!"."""
    tokenizer = CLIPTokenizer.from_pretrained(MODEL_FOLDER / "tokenizer")
    if padding is not None:
        tokenizer.pad_token = tokenizer.convert_ids_to_tokens(0)
    return tokenizer


def _t5() -> T5EncoderModel:
    return T5EncoderModel(
        T5Config(
            vocab_size=len(_t5_tokenizer()), d_model=256, d_kv=64, d_ff=128, num_layers=2, num_heads=2,
            feed_forward_proj="gated-gelu", is_encoder_decoder=False, use_cache=False, tie_word_embeddings=False,
        )
    ).eval()  # fmt: skip


def _t5_tokenizer() -> T5TokenizerFast:
    """Letters, a piece each."""
    pieces = ["<pad>", "</s>", "<unk>", "▁", *string.ascii_lowercase, *string.digits, ",", "."]
    return T5TokenizerFast(vocab=[(piece, -1.0 * place) for place, piece in enumerate(pieces)], extra_ids=0)
