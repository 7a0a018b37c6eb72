"""Where each option of a training run stands on the page: in kohya_ss's order, under short headings.

A tutorial is read beside kohya_ss, so its reader looks for a field where it stands there: top to bottom, as in
kohya_ss 26.  Options of our own stand beside those that they belong to.  An option that is not named here comes
at the end of its section, in order of declaration.
"""

from __future__ import annotations

from collections.abc import Sequence

from engine.settings.option import Option

PLAN: dict[str, tuple[tuple[str, str], ...]] = {
    "Source Model": (
        ("Model", """pretrained_model_name_or_path model_list start_from_ema
            v2 v_parameterization sdxl sdxl_checkbox sd3_checkbox flux1_checkbox
            hunyuan_image_checkbox anima_checkbox lumina_checkbox"""),
        ("Saving", "save_model_as save_precision lora_file_dialect"),
    ),
    "Folders": (
        ("", """train_data_dir image_folder dataset_config in_json
            output_dir reg_data_dir opposite_data_dir logging_dir
            output_name overwrite training_comment train_dir"""),
    ),
    "Parameters/Basic": (
        ("LoRA", "lora_type lycoris_preset network_weights dim_from_weights"),
        ("New words", """pivotal embedding_weights token_string init_word num_vectors_per_token caption_template
            dreamartist dreamartist_guidance negative_init_word negative_vectors words_lr save_words"""),
        ("Hypernetwork", """hypernetwork_weights hypernetwork_sizes hypernetwork_structure hypernetwork_activation
            hypernetwork_activate_output hypernetwork_layer_norm hypernetwork_dropout hypernetwork_init"""),
        ("Prompts", """prompts_file leco_target leco_positive leco_unconditional leco_neutral leco_action
            leco_guidance_scale leco_multiplier max_denoising_steps leco_denoise_guidance_scale"""),
        ("Steps", "train_batch_size epoch max_train_epochs max_train_steps save_every_n_epochs"),
        ("Captions, seed and cache", "caption_extension seed cache_latents cache_latents_to_disk"),
        ("Learning rate and optimizer", """lr_scheduler lr_scheduler_type
            optimizer max_grad_norm lr_scheduler_args optimizer_args
            learning_rate learning_rate_te learning_rate_te1 learning_rate_te2
            lr_warmup lr_warmup_steps lr_scheduler_num_cycles lr_scheduler_power
            lr_decay_steps lr_scheduler_min_lr_ratio lr_scheduler_timescale"""),
        ("Resolution and buckets", """max_resolution stop_text_encoder_training stop_text_encoder_training_pct
            enable_bucket min_bucket_reso max_bucket_reso"""),
        ("What to train", "dataset_repeats train_text_encoder train_inpainting"),
        ("LoRA learning rates", """text_encoder_lr t5xxl_lr unet_lr
            loraplus_lr_ratio loraplus_unet_lr_ratio loraplus_text_encoder_lr_ratio"""),
        ("LoRA network", """network_dim network_alpha rs_lora tlora_least_rank tlora_exponent conv_dim conv_alpha
            scale_weight_norms network_dropout rank_dropout module_dropout dylora_unit
            train_lora_ggpo ggpo_sigma ggpo_beta"""),
    ),
    "Parameters/Basic/SDXL": (
        ("", """sdxl_cache_text_encoder_outputs sdxl_no_half_vae
            fused_backward_pass fused_optimizer_groups disable_mmap_load_safetensors"""),
    ),
    "Parameters/Basic/LyCORIS": (
        ("", """lokr_factor bypass_mode dora_wd wd_on_output use_cp use_tucker use_scalar rank_dropout_scale
            oft_constrain oft_rescaled train_norm decompose_both full_matrix unbalanced_factorization
            train_on_input"""),
    ),
    "Parameters/Basic/Text encoders": (("", "clip_l clip_g t5xxl"),),
    "Parameters/Basic/FLUX.1": (
        ("Model", "flux_model_type flux_vae flux1_clip_l flux1_t5xxl"),
        ("Training", """discrete_flow_shift model_prediction_type timestep_sampling apply_t5_attn_mask
            split_mode train_blocks split_qkv train_t5xxl cpu_offload_checkpointing
            flux_guidance_scale t5xxl_max_token_length enable_all_linear"""),
        ("Memory", """flux1_cache_text_encoder_outputs flux1_cache_text_encoder_outputs_to_disk
            mem_eff_save single_blocks_to_swap double_blocks_to_swap
            blockwise_fused_optimizers flux_fused_backward_pass"""),
    ),
    "Parameters/Basic/FLUX.1/Blocks to train": (("", "train_double_block_indices train_single_block_indices"),),
    "Parameters/Basic/FLUX.1/Rank for layers": (
        ("", """img_attn_dim img_mlp_dim img_mod_dim single_dim
            txt_attn_dim txt_mlp_dim txt_mod_dim single_mod_dim in_dims"""),
    ),
    "Parameters/Basic/SD3": (
        ("Timesteps", "weighting_scheme logit_mean logit_std mode_scale"),
        ("Text encoders", """sd3_clip_l sd3_t5xxl save_clip save_t5xxl t5xxl_device t5xxl_dtype
            sd3_text_encoder_batch_size
            sd3_cache_text_encoder_outputs sd3_cache_text_encoder_outputs_to_disk
            sd3_clip_l_dropout_rate clip_g_dropout_rate sd3_t5_dropout_rate"""),
        ("Memory", "sd3_fused_backward_pass sd3_disable_mmap_load_safetensors"),
        ("Positions", "sd3_enable_scaled_pos_embed pos_emb_random_crop_rate"),
    ),
    "Parameters/Basic/HunyuanImage-2.1": (
        ("", """hunyuan_text_encoder hunyuan_byt5 hunyuan_vae
            hunyuan_discrete_flow_shift hunyuan_model_prediction_type hunyuan_timestep_sampling hunyuan_sigmoid_scale
            hunyuan_attn_mode hunyuan_split_attn hunyuan_fp8_scaled hunyuan_fp8_vl hunyuan_text_encoder_cpu
            hunyuan_vae_chunk_size
            hunyuan_image_cache_text_encoder_outputs hunyuan_image_cache_text_encoder_outputs_to_disk"""),
    ),
    "Parameters/Basic/Anima": (
        ("", """anima_qwen3 anima_vae anima_llm_adapter_path anima_t5_tokenizer_path
            anima_discrete_flow_shift anima_timestep_sampling anima_sigmoid_scale
            anima_qwen3_max_token_length anima_t5_max_token_length
            anima_attn_mode anima_split_attn anima_vae_chunk_size anima_vae_disable_cache anima_qwen_image_vae_2d
            anima_cache_text_encoder_outputs anima_cache_text_encoder_outputs_to_disk
            anima_unsloth_offload_checkpointing anima_compile anima_torch_compile
            anima_compile_backend anima_compile_mode anima_compile_dynamic anima_compile_fullgraph
            anima_compile_cache_size_limit"""),
    ),
    "Parameters/Basic/Lumina Image 2.0": (
        ("", """lumina_gemma2 lumina_ae
            lumina_discrete_flow_shift lumina_model_prediction_type lumina_timestep_sampling lumina_sigmoid_scale
            lumina_gemma2_max_token_length lumina_system_prompt lumina_use_flash_attn lumina_use_sage_attn
            lumina_cache_text_encoder_outputs lumina_cache_text_encoder_outputs_to_disk"""),
    ),
    "Parameters/Advanced": (
        ("General", """block_lr no_token_padding gradient_accumulation_steps weighted_captions
            prior_loss_weight vae additional_parameters"""),
        ("Saving", """save_every_n_steps save_last_n_steps save_last_n_steps_state
            save_last_n_epochs save_last_n_epochs_state"""),
        ("Captions and tokens", "keep_tokens clip_skip max_token_length"),
        ("Precision and checkpointing", """fp8_base fp8_base_unet base_weights full_fp16 full_bf16
            highvram lowvram skip_cache_check gradient_checkpointing"""),
        ("Augmentation", """shuffle_caption persistent_data_loader_workers mem_eff_attn cross_attention
            color_aug flip_aug"""),
        ("Loss", """masked_loss mask_dir
            scale_v_pred_loss_like_noise_pred min_snr_gamma debiased_estimation_loss"""),
        ("Buckets and cropping", "bucket_no_upscale bucket_reso_steps random_crop face_crop_aug_range"),
        ("V-prediction and timesteps", "v_pred_like_loss min_timestep max_timestep zero_terminal_snr"),
        ("Noise", """noise_offset_type noise_offset noise_offset_random_strength adaptive_noise_scale
            multires_noise_iterations multires_noise_discount ip_noise_gamma ip_noise_gamma_random_strength"""),
        ("Caption dropout", "caption_dropout_every_n_epochs caption_dropout_rate"),
        ("Memory", "vae_batch_size blocks_to_swap"),
        ("Timestep preview", "show_timesteps show_timesteps_resolution"),
        ("Training state", "save_state save_state_on_train_end resume"),
        ("Data loading", "max_data_loader_n_workers"),
    ),
    "Parameters/Advanced/Weights": (
        ("", "down_lr_weight mid_lr_weight up_lr_weight block_lr_zero_threshold"),
    ),
    "Parameters/Advanced/Blocks": (("", "block_dims block_alphas"),),
    "Parameters/Advanced/Conv": (("", "conv_block_dims conv_block_alphas"),),
    "Parameters/Advanced/Layers": (("", "exclude_patterns include_patterns network_reg_dims network_reg_lrs"),),
    "Parameters/Advanced/Captions": (
        ("", """caption_prefix caption_suffix enable_wildcard caption_separator keep_tokens_separator
            secondary_separator caption_tag_dropout_rate token_warmup_min token_warmup_step"""),
    ),
    "Parameters/Advanced/Scheduled Huber Loss": (("", "loss_type huber_schedule huber_c huber_scale"),),
    "Parameters/Advanced/EMA": (
        ("", "ema ema_decay ema_warmup ema_every_n_steps ema_on_cpu ema_save ema_samples"),
    ),
    "Parameters/Advanced/Validation": (
        ("", """validation_split validation_seed validate_every_n_epochs validate_every_n_steps
            max_validation_steps"""),
    ),
    "Parameters/Advanced/Aesthetic scores": (
        ("", """score_threshold score_weighting score_low score_high score_low_weight
            score_words score_words_at"""),
    ),
    "Parameters/Advanced/Logging": (
        ("", "log_with wandb_api_key wandb_run_name log_config log_tracker_name log_tracker_config"),
    ),
    "Parameters/Samples": (
        ("", "sample_every_n_steps sample_every_n_epochs sample_at_first sample_sampler sample_prompts"),
    ),
    "Parameters/HuggingFace": (
        ("", """huggingface_repo_id huggingface_token huggingface_repo_type huggingface_repo_visibility
            huggingface_path_in_repo save_state_to_huggingface resume_from_huggingface async_upload"""),
    ),
    "Parameters/Accelerate launch": (
        ("Resource Selection", """mixed_precision num_processes num_machines num_cpu_threads_per_process
            dynamo_backend dynamo_mode dynamo_use_fullgraph dynamo_use_dynamic"""),
        ("Hardware Selection", "multi_gpu gpu_ids main_process_port extra_accelerate_launch_args"),
    ),
    "Parameters/Metadata": (
        ("", """metadata_title metadata_author metadata_description metadata_license metadata_tags
            no_metadata"""),
    ),
    "Dataset Preparation": (
        ("", "preparation_batch_size generate_caption_database generate_image_buckets use_latent_files"),
    ),
    "Dataset Preparation/Advanced parameters": (
        ("", "caption_metadata_filename latent_metadata_filename metadata_full_path"),
    ),
}  # fmt: skip
"""By section, in order: (heading, the names of its options in kohya_ss's order); "" for a block without a heading."""

_SECTION_PLACE = {section: place for place, section in enumerate(PLAN)}


def headed(section: str, options: Sequence[Option]) -> list[tuple[str, list[Option]]]:
    """A section's options in blocks, each with its heading, "" for none; no block is empty.

    options: all of them in this section, or those that have a field; those of other sections are left out.
    """
    rest = {item.name: item for item in options if item.section == section}
    blocks = [
        (heading, [rest.pop(name) for name in names.split() if name in rest])
        for heading, names in PLAN.get(section, ())
    ]
    return [block for block in [*blocks, ("", list(rest.values()))] if block[1]]


def in_form_order(options: Sequence[Option]) -> list[Option]:
    """The options as they stand on the page, section by section; sections that the plan does not name come last."""
    sections = dict.fromkeys(item.section for item in options)
    ordered = sorted(sections, key=lambda section: _SECTION_PLACE.get(section, len(PLAN)))
    return [item for section in ordered for _, items in headed(section, options) for item in items]
