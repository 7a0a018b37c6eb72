"""What only FLUX.1 models ask for."""

from __future__ import annotations

from typing import Literal

from engine.settings.kin import EVERY_METHOD
from engine.settings.option import Group, idle, maps, option
from engine.settings.waiting import CAPTIONS_ONCE, T5_TRAINING

SECTION = "Parameters/Basic/FLUX.1"


class Flux(Group):
    flux_vae: str = option(
        "",
        widget="path",
        label="VAE Path",
        section=SECTION,
        kohya="ae",
        help="File of the VAE, usually ae.safetensors.",
        applies_when={"flux1_checkbox": (True,)},
        also=("ae.sft",),
        methods=("dreambooth", "lora", "finetune"),
        acts_for=EVERY_METHOD,
    )
    flux1_clip_l: str = option(
        "",
        widget="path",
        label="CLIP-L Path",
        section=SECTION,
        help="File of the CLIP-L text encoder, under the key kohya_ss's DreamBooth and Finetuning tabs use.",
        applies_when={"flux1_checkbox": (True,)},
        standing=maps("CLIP-L Path; this one is used when that is empty"),
        methods=("dreambooth", "finetune"),
    )
    flux1_t5xxl: str = option(
        "",
        widget="path",
        label="T5-XXL Path",
        section=SECTION,
        help="File of the T5-XXL text encoder, under the key kohya_ss's DreamBooth and Finetuning tabs use.",
        applies_when={"flux1_checkbox": (True,)},
        standing=maps("T5-XXL Path; this one is used when that is empty"),
        methods=("dreambooth", "finetune"),
    )
    flux_model_type: Literal["flux", "chroma"] = option(
        "flux",
        label="Base Model Type",
        section=SECTION,
        kohya="model_type",
        help="flux for FLUX.1, chroma for Chroma.",
        applies_when={"flux1_checkbox": (True,)},
        methods=("lora",),
        acts_for=("lora", "textual_inversion"),
    )
    flux1_cache_text_encoder_outputs: bool = option(
        False,
        label="Cache Text Encoder Outputs",
        section=SECTION,
        help="Encode every caption once before training, which frees the GPU memory used by the large text encoders.",
        applies_when={"flux1_checkbox": (True,)},
        standing=CAPTIONS_ONCE,
        methods=("dreambooth", "lora", "finetune"),
        acts_for=EVERY_METHOD,
    )
    flux1_cache_text_encoder_outputs_to_disk: bool = option(
        False,
        label="Cache Text Encoder Outputs to Disk",
        section=SECTION,
        help="Save the encoded captions to files next to the pictures instead of keeping them in memory, so the next "
        "run does not need the text encoders. The files are compatible with sd-scripts.",
        applies_when={"flux1_checkbox": (True,)},
        methods=("dreambooth", "lora", "finetune"),
        acts_for=EVERY_METHOD,
    )
    timestep_sampling: Literal["flux_shift", "sigma", "shift", "sigmoid", "uniform"] = option(
        "sigma",
        label="Timestep Sampling",
        section=SECTION,
        help="How timesteps are drawn. shift, flux_shift and sigmoid favor the middle ones.",
        source="Esser et al. 2024, arXiv:2403.03206",
        applies_when={"flux1_checkbox": (True,)},
        methods=("dreambooth", "lora", "finetune"),
        acts_for=EVERY_METHOD,
    )
    discrete_flow_shift: float = option(
        3.0,
        ge=-1024,
        le=1024,
        label="Discrete Flow Shift",
        section=SECTION,
        help="For shift: how far timesteps are shifted towards more noise; 3 is usual, 1 means no shift.",
        applies_when={"flux1_checkbox": (True,)},
        methods=("dreambooth", "lora", "finetune"),
        acts_for=EVERY_METHOD,
    )
    model_prediction_type: Literal["raw", "additive", "sigma_scaled"] = option(
        "sigma_scaled",
        label="Model Prediction Type",
        section=SECTION,
        help="How the model's output is interpreted when computing the loss; raw is usual for FLUX.1.",
        applies_when={"flux1_checkbox": (True,)},
        methods=("dreambooth", "lora", "finetune"),
        acts_for=EVERY_METHOD,
    )
    flux_guidance_scale: float = option(
        3.5,
        ge=0,
        le=1024,
        label="Guidance Scale",
        section=SECTION,
        kohya="guidance_scale",
        help="The guidance value given to FLUX.1-dev during training; 1 is usual for a LoRA. Chroma always gets 0.",
        applies_when={"flux1_checkbox": (True,)},
        methods=("dreambooth", "lora", "finetune"),
        acts_for=EVERY_METHOD,
    )
    t5xxl_max_token_length: int = option(
        512,
        ge=0,
        le=4096,
        label="T5-XXL Max Token Length",
        section=SECTION,
        help="How many tokens of a caption T5-XXL uses: 512 for FLUX.1-dev and Chroma, 256 for schnell and SD 3.",
        applies_when={"flux1_checkbox": (True,)},
        also_when={"sd3_checkbox": (True,)},
        methods=("dreambooth", "lora", "finetune"),
        acts_for=EVERY_METHOD,
    )
    apply_t5_attn_mask: bool = option(
        False,
        label="Apply T5 Attention Mask",
        section=SECTION,
        help="Keep the model from attending to the padding after a short caption. Chroma always does so, except for "
        "the first padding token.",
        applies_when={"flux1_checkbox": (True,)},
        also_when={"sd3_checkbox": (True,)},
        methods=("dreambooth", "lora", "finetune"),
        acts_for=EVERY_METHOD,
    )
    train_blocks: Literal["all", "double", "single"] = option(
        "all",
        label="Train Blocks",
        section=SECTION,
        help="Which blocks of the transformer to train.",
        applies_when={"flux1_checkbox": (True,)},
        methods=("dreambooth", "lora", "finetune"),
        acts_for=("lora",),
    )
    split_mode: bool = option(
        False,
        label="Split Mode",
        section=SECTION,
        help="Only the single blocks get a network, whatever Train Blocks says: an older way to save memory. Blocks to "
        "swap does that without leaving any out.",
        applies_when={"flux1_checkbox": (True,)},
        methods=("dreambooth", "lora", "finetune"),
        acts_for=("lora",),
    )
    split_qkv: bool = option(
        False,
        label="Split QKV",
        section=SECTION,
        help="Give queries, keys and values, and the feed-forward layer beside them, matrices of their own. The file "
        "gets three or four times as large there.",
        applies_when={"flux1_checkbox": (True,), "lora_type": ("Standard", "Flux1", "LoRA-FA")},
        methods=("lora",),
    )
    train_t5xxl: bool = option(
        False,
        label="Train T5-XXL",
        section=SECTION,
        help="Also train the T5-XXL text encoder.",
        applies_when={"flux1_checkbox": (True,)},
        standing=T5_TRAINING,
        methods=("lora",),
    )
    enable_all_linear: bool = option(
        False,
        label="Enable All Linear",
        section=SECTION,
        help="Attach OFT to every linear layer, not only to attention.",
        applies_when={"flux1_checkbox": (True,), "lora_type": ("Flux1 OFT",)},
        methods=("lora",),
    )
    cpu_offload_checkpointing: bool = option(
        False,
        label="CPU Offload Checkpointing",
        section=SECTION,
        help="With Gradient checkpointing: keep the checkpoints in main memory until the backward pass needs them.",
        applies_when={"flux1_checkbox": (True,)},
        methods=("dreambooth", "lora", "finetune"),
        acts_for=EVERY_METHOD,
    )
    mem_eff_save: bool = option(
        False,
        label="Memory Efficient Save",
        section=SECTION,
        help="Save a whole model using little main memory.",
        applies_when={"flux1_checkbox": (True,)},
        standing=maps("saving weight by weight without a second copy of the model, which is always done"),
        methods=("dreambooth", "lora", "finetune"),
        acts_for=EVERY_METHOD,
    )
    blockwise_fused_optimizers: bool = option(
        False,
        label="Blockwise Fused Optimizer",
        section=SECTION,
        help="The same as Fused Backward Pass; kept for kohya_ss users.",
        applies_when={"flux1_checkbox": (True,)},
        methods=("dreambooth", "finetune"),
    )
    flux_fused_backward_pass: bool = option(
        False,
        label="Fused Backward Pass",
        section=SECTION,
        help="Update each weight as soon as its gradient is known, so that the gradients are never all in memory at "
        "once.",
        applies_when={"flux1_checkbox": (True,)},
        methods=("dreambooth", "finetune"),
    )
    single_blocks_to_swap: int = option(
        0,
        ge=0,
        le=19,
        step=1,
        widget="slider",
        label="Single Blocks to swap (deprecated)",
        section=SECTION,
        help="The older way to move single blocks to main memory.",
        applies_when={"flux1_checkbox": (True,)},
        standing=idle("kohya_ss has replaced it with Blocks to swap."),
        methods=("dreambooth", "lora", "finetune"),
        acts_for=EVERY_METHOD,
    )
    double_blocks_to_swap: int = option(
        0,
        ge=0,
        le=38,
        step=1,
        widget="slider",
        label="Double Blocks to swap (deprecated)",
        section=SECTION,
        help="The older way to move double blocks to main memory.",
        applies_when={"flux1_checkbox": (True,)},
        standing=idle("kohya_ss has replaced it with Blocks to swap."),
        methods=("dreambooth", "lora", "finetune"),
        acts_for=EVERY_METHOD,
    )
