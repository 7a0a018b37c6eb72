"""sd-scripts' names for our options: its scripts, its arguments, its defaults.

An option's argument has the name of its kohya_ss key, without the prefix of its family. Everything else
stands in ELSEWHERE. What sd-scripts does where an argument is missing stands in ABSENT, where that is not
the option's default here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal, NamedTuple

from engine.settings.kin import KIN
from engine.settings.option import Option
from engine.settings.training import training_options


@dataclass(frozen=True)
class Place:
    """Where sd-scripts has what an option says.

    kind: "argument": an argument of its script. "network": KEY=VALUE of its network_args. "launch": an
    argument of accelerate. "script": the script's name says it. "together": several options and arguments say
    it together, see sd_scripts_read.py and sd_scripts_write.py. "nowhere": it has no word for it.
    """

    kind: Literal["argument", "network", "launch", "script", "together", "nowhere"]
    name: str = ""


LAUNCH = Place("launch")
NETWORK = Place("network")
SCRIPT = Place("script")
TOGETHER = Place("together")
NOWHERE = Place("nowhere")

ELSEWHERE: Mapping[str, Place] = {
    "max_resolution": Place("argument", "resolution"),
    "optimizer": Place("argument", "optimizer_type"),
    "image_folder": Place("argument", "train_data_dir"),
    "lycoris_preset": Place("network", "preset"),
    "oft_constrain": Place("network", "constraint"),
    **dict.fromkeys(
        (
            "sdxl", "sdxl_checkbox", "flux1_checkbox", "sd3_checkbox", "lumina_checkbox", "hunyuan_image_checkbox",
            "anima_checkbox",
        ),
        SCRIPT,
    ),
    **dict.fromkeys(
        (
            "num_cpu_threads_per_process", "num_processes", "num_machines", "multi_gpu", "gpu_ids",
            "main_process_port", "dynamo_backend", "dynamo_mode", "dynamo_use_fullgraph", "dynamo_use_dynamic",
        ),
        LAUNCH,
    ),
    **dict.fromkeys(
        (
            "full_matrix", "unbalanced_factorization", "wd_on_output",
            "lokr_factor", "decompose_both", "bypass_mode", "dora_wd", "use_cp", "use_tucker", "use_scalar",
            "rank_dropout_scale", "oft_rescaled", "train_norm", "train_on_input", "dylora_unit", "rs_lora",
            "conv_dim", "conv_alpha", "rank_dropout", "module_dropout",
            "down_lr_weight", "mid_lr_weight", "up_lr_weight", "block_lr_zero_threshold",
            "block_dims", "block_alphas", "conv_block_dims", "conv_block_alphas",
            "exclude_patterns", "include_patterns", "network_reg_dims", "network_reg_lrs",
            "loraplus_lr_ratio", "loraplus_unet_lr_ratio", "loraplus_text_encoder_lr_ratio",
            "ggpo_sigma", "ggpo_beta", "train_blocks", "split_qkv", "train_t5xxl", "enable_all_linear",
            "img_attn_dim", "txt_attn_dim", "img_mlp_dim", "txt_mlp_dim", "img_mod_dim", "txt_mod_dim",
            "single_dim", "single_mod_dim", "in_dims", "train_double_block_indices", "train_single_block_indices",
        ),
        NETWORK,
    ),
    **dict.fromkeys(
        (
            "lora_type", "train_lora_ggpo", "cross_attention", "learning_rate", "text_encoder_lr", "unet_lr",
            "t5xxl_lr", "epoch", "max_train_epochs", "max_train_steps", "lr_warmup", "lr_warmup_steps",
            "sample_prompts", "resume", "resume_from_huggingface", "caption_template", "noise_offset_type",
            "optimizer_args", "lr_scheduler_args", "mixed_precision", "extra_accelerate_launch_args",
            "additional_parameters",
        ),
        TOGETHER,
    ),
    **dict.fromkeys(
        (
            "overwrite", "lora_file_dialect", "model_list", "lowvram", "mask_dir", "mem_eff_save",
            "score_threshold", "score_weighting", "score_low", "score_high", "score_low_weight", "score_words",
            "score_words_at",
            "start_from_ema", "pivotal", "words_lr", "save_words",
            "dreamartist", "dreamartist_guidance", "negative_init_word", "negative_vectors",
            "opposite_data_dir", "leco_target", "leco_positive", "leco_unconditional", "leco_neutral", "leco_action",
            "leco_guidance_scale", "leco_multiplier",
            "hypernetwork_weights", "hypernetwork_sizes", "hypernetwork_structure", "hypernetwork_activation",
            "hypernetwork_activate_output", "hypernetwork_layer_norm", "hypernetwork_dropout", "hypernetwork_init",
            "single_blocks_to_swap",
            "double_blocks_to_swap", "stop_text_encoder_training", "stop_text_encoder_training_pct",
            "ema", "ema_decay", "ema_warmup", "ema_every_n_steps", "ema_on_cpu", "ema_save", "ema_samples",
            "tlora_least_rank", "tlora_exponent", "train_dir", "preparation_batch_size", "generate_caption_database",
            "generate_image_buckets",
            "use_latent_files", "caption_metadata_filename", "latent_metadata_filename", "metadata_full_path",
        ),
        NOWHERE,
    ),
}  # fmt: skip

ABSENT: Mapping[str, Any] = {
    # What sd-scripts does where the argument is missing, by option, where that is not the default here; None where it
    # hangs on something else, so that the argument is always to be written.
    "pretrained_model_name_or_path": "",
    "max_resolution": None,
    "caption_extension": ".caption",
    "cache_latents": False,
    "enable_bucket": False,
    "bucket_no_upscale": False,
    "max_bucket_reso": 1024,
    "max_data_loader_n_workers": 8,
    "network_dim": 4,
    "optimizer": "AdamW",
    "lr_scheduler": "constant",
    "save_every_n_epochs": 0,
    "save_precision": "float",
    "sample_sampler": "ddim",
    "weighting_scheme": "uniform",
    "dataset_repeats": 1,
    "train_text_encoder": False,
    "sd3_text_encoder_batch_size": None,
    "t5xxl_dtype": None,
}

ABSENT_IN: Mapping[str, Mapping[str, Any]] = {
    # The same where it is a family's own.
    "sd3": {"t5xxl_max_token_length": 256},
    "flux": {"t5xxl_max_token_length": None},  # 512, and 256 for FLUX.1-schnell
}

SHARED_BY: Mapping[str, tuple[str, ...]] = {
    # The families whose scripts have an option's argument, where these are some and not one.
    "blocks_to_swap": ("flux", "sd3", "lumina", "hunyuan_image", "anima"),
    "clip_l": ("flux", "sd3"),
    "t5xxl": ("flux", "sd3"),
    "t5xxl_max_token_length": ("flux", "sd3"),
    "apply_t5_attn_mask": ("flux", "sd3"),
    "train_inpainting": ("", "sdxl"),
    "show_timesteps": ("flux", "sd3"),
    "show_timesteps_resolution": ("flux", "sd3"),
}

OTHER_VALUES: Mapping[str, Mapping[str, str]] = {
    # An argument's value, and what says the same among the option's.
    "attn_mode": {"sdpa": "torch"},
    "save_model_as": {"pt": "ckpt"},
    "weighting_scheme": {"none": "uniform"},
}

COMPILES_NOT = "no"
"""kohya_ss's dynamo_backend where nothing is compiled, which is no choice of the scripts' own argument."""

ONLY_THERE = frozenset(
    (
        "base_weights", "base_weights_multiplier", "cache_info", "cache_text_encoder_outputs_to_disk",
        "conditioning_data_dir", "console_log_file", "console_log_level", "console_log_simple", "control_net_lr",
        "cond_emb_dim", "cross_attn_lr", "dataset_class", "ddp_gradient_as_bucket_view", "ddp_static_graph",
        "ddp_timeout", "debug_dataset", "deepspeed", "diffusers_xformers",
        "fp16_master_weights_and_gradients", "initial_epoch", "initial_step", "learning_rate_te3",
        "llm_adapter_lr", "log_prefix", "lowram",
        "metadata_is_negative_embedding", "metadata_merged_from",
        "metadata_preprocessor", "metadata_thumbnail", "metadata_trigger_phrase", "metadata_usage_hint", "mlp_lr",
        "mod_lr", "num_last_block_to_freeze", "offload_optimizer_device", "offload_optimizer_nvme_path",
        "offload_param_device", "offload_param_nvme_path", "resize_interpolation", "sample_batch_size",
        "save_n_epoch_ratio", "self_attn_lr", "skip_until_initial_step", "skip_latents_validity_check",
        "stop_text_encoder_training", "text_encoder_batch_size", "tokenizer_cache_dir", "torch_compile",
        "training_shift", "use_safetensors", "use_t5xxl_cache_only", "zero3_init_flag", "zero3_save_16bit_model",
        "zero_stage", "apply_lg_attn_mask",
    )
)  # fmt: skip
"""Arguments of sd-scripts that no option stands for; they go into Additional parameters."""


class Family(NamedTuple):
    """flag: the option that says so.  prefixes: of its options' keys.  telling: arguments that only it has."""

    flag: str
    prefixes: tuple[str, ...]
    telling: tuple[str, ...]


FAMILIES: Mapping[str, Family] = {
    "sdxl": Family("sdxl", ("sdxl_",), ("no_half_vae",)),
    "lumina": Family("lumina_checkbox", ("lumina_",), ("gemma2",)),
    "sd3": Family("sd3_checkbox", ("sd3_",), ("clip_g",)),
    "flux": Family("flux1_checkbox", ("flux1_", "flux_"), ("ae", "t5xxl", "apply_t5_attn_mask")),
    "hunyuan_image": Family("hunyuan_image_checkbox", ("hunyuan_image_", "hunyuan_"), ("byt5",)),
    "anima": Family("anima_checkbox", ("anima_",), ("qwen3",)),
}
"""By the prefix of their scripts; Stable Diffusion 1 and 2, whose scripts have none, are ""."""

SCRIPTS: Mapping[str, tuple[str, str]] = {
    "train_db": ("dreambooth", ""),
    "fine_tune": ("finetune", ""),
    "train_network": ("lora", ""),
    "train_textual_inversion": ("textual_inversion", ""),
    "train_textual_inversion_xti": ("textual_inversion", ""),
    "train_leco": ("leco", ""),
    "sdxl_train_leco": ("leco", "sdxl"),
    "train_controlnet": ("controlnet", ""),
    "train_control_net": ("controlnet", ""),
    "sdxl_train_control_net": ("controlnet", "sdxl"),
    "sdxl_train_control_net_lllite": ("controlnet", "sdxl"),
    "sdxl_train_control_net_lllite_old": ("controlnet", "sdxl"),
    "flux_train_control_net": ("controlnet", "flux"),
    "sdxl_train": ("finetune", "sdxl"),
    "sdxl_train_textual_inversion": ("textual_inversion", "sdxl"),
    **{f"{family}_train_network": ("lora", family) for family in FAMILIES},
    **{f"{family}_train": ("finetune", family) for family in ("flux", "sd3", "lumina", "anima")},
}
"""What a script trains, as (method, family), by its name in lower case without .py."""


def place_of(item: Option) -> Place:
    """Where sd-scripts has it, with the name that it has there."""
    return _places()[item.name]


def family_of_option(item: Option) -> str | None:
    """The family that an option belongs to, None where it is not one's own."""
    condition = {} if item.also_when else item.applies_when or {}
    return next((name for name, family in FAMILIES.items() if True in condition.get(family.flag, ())), None)


def family_of_values(values: Mapping[str, Any]) -> str:
    if values.get("sdxl_checkbox"):
        return "sdxl"
    return next((name for name, family in FAMILIES.items() if values.get(family.flag)), "")


def counts_for(item: Option, family: str) -> bool:
    """Whether the scripts of a family know what an option says."""
    own = family_of_option(item)
    return family in SHARED_BY.get(item.name, (family,)) if own is None else own == family


def option_for(argument: str, family: str, method: str) -> Option | None:
    """The option that an argument sets in a family's script: the family's own one before the common one."""
    fitting = _by_argument().get(argument, ())
    own = method in KIN
    return next(
        (
            item
            for item in fitting
            if (item.is_for(method) if own else method in item.kohya.methods) and counts_for(item, family)
        ),
        None,
    )


def absent(item: Option, family: str) -> Any:
    """What a family's script does where an option's argument is missing."""
    return ABSENT_IN.get(family, {}).get(item.name, ABSENT.get(item.name, item.default))


@cache
def _places() -> dict[str, Place]:
    found = {item.name: ELSEWHERE.get(item.name, Place("argument")) for item in training_options()}
    return {
        item.name: place if (place := found[item.name]).name else Place(place.kind, _without_prefix(item))
        for item in training_options()
    }


@cache
def _by_argument() -> dict[str, list[Option]]:
    """The options by the argument that says them, those of one family first."""
    found: dict[str, list[Option]] = {}
    for item in sorted(training_options(), key=lambda item: family_of_option(item) is None):
        if (place := place_of(item)).kind == "argument":
            found.setdefault(place.name, []).append(item)
    return found


def _without_prefix(item: Option) -> str:
    family = family_of_option(item)
    for prefix in FAMILIES[family].prefixes if family else ():
        if item.kohya.key.startswith(prefix):
            return item.kohya.key.removeprefix(prefix)
    return item.kohya.key
