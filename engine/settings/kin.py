"""Methods of our own: which of kohya_ss's options they have too."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

TABS = ("dreambooth", "lora", "textual_inversion", "finetune")
"""kohya_ss's training tabs, as its settings files' folders name them."""


@dataclass(frozen=True)
class Kin:
    """tabs: what all of these have, the method has too.  without: but not these groups, nor these options."""

    tabs: tuple[str, ...]
    without: frozenset[str] = frozenset()


def _names(text: str) -> frozenset[str]:
    return frozenset(text.split())


OF_PICTURES = _names("""
    taste validation
    caption_extension cache_latents cache_latents_to_disk enable_bucket min_bucket_reso max_bucket_reso skip_cache_check
    color_aug flip_aug masked_loss mask_dir bucket_no_upscale bucket_reso_steps random_crop face_crop_aug_range
    vae_batch_size max_data_loader_n_workers use_latent_files
    keep_tokens shuffle_caption caption_dropout_every_n_epochs caption_dropout_rate caption_prefix caption_suffix
    enable_wildcard caption_separator keep_tokens_separator secondary_separator caption_tag_dropout_rate
    token_warmup_min token_warmup_step
    train_data_dir dataset_config reg_data_dir opposite_data_dir in_json train_inpainting prior_loss_weight
    train_lora_ggpo ggpo_sigma ggpo_beta
    min_timestep max_timestep noise_offset_type noise_offset_random_strength adaptive_noise_scale
    multires_noise_iterations multires_noise_discount ip_noise_gamma ip_noise_gamma_random_strength
    epoch max_train_epochs sample_every_n_epochs save_every_n_epochs save_last_n_epochs save_last_n_epochs_state
""")
"""What is said of pictures, of their captions, of the noise that is added to them, and of going through them; GGPO's
noise would be added to what the model does without the network too."""

OF_TEXT_ENCODERS = _names(
    "textual_inversion stop_text_encoder_training text_encoder_lr loraplus_text_encoder_lr_ratio t5xxl_lr"
)

OF_OTHER_FAMILIES = _names("sd3 flux flux_ranks lumina hunyuan anima")

KIN: Mapping[str, Kin] = {
    "hypernetwork": Kin(
        ("dreambooth", "lora", "textual_inversion"), _names("save_model_as metadata") | OF_OTHER_FAMILIES
    ),
    "leco": Kin(("lora",), OF_PICTURES | OF_TEXT_ENCODERS | OF_OTHER_FAMILIES),
}

EVERY_METHOD = (*TABS, *KIN)
"""They, and what no tab of kohya_ss's trains, or one that saves other files."""
