"""What only Anima models ask for."""

from __future__ import annotations

from typing import Literal

from engine.settings.option import Group, option
from engine.settings.waiting import ANIMA

SECTION = "Parameters/Basic/Anima"


class Anima(Group):
    anima_qwen3: str = option(
        "",
        widget="path",
        label="Qwen3 Path",
        section=SECTION,
        help="File or folder of the Qwen3 text encoder.",
        applies_when={"anima_checkbox": (True,)},
        standing=ANIMA,
        methods=("lora", "finetune"),
    )
    anima_vae: str = option(
        "",
        widget="path",
        label="VAE Path",
        section=SECTION,
        help="File of the Qwen-Image VAE.",
        applies_when={"anima_checkbox": (True,)},
        standing=ANIMA,
        methods=("lora", "finetune"),
    )
    anima_llm_adapter_path: str = option(
        "",
        widget="path",
        label="LLM Adapter Path",
        section=SECTION,
        help="The adapter between the text encoder and the model. Leave empty if the model's file contains it.",
        applies_when={"anima_checkbox": (True,)},
        standing=ANIMA,
        methods=("lora", "finetune"),
    )
    anima_t5_tokenizer_path: str = option(
        "",
        widget="folder",
        label="T5 Tokenizer Path",
        section=SECTION,
        help="A folder with a T5 tokenizer. Leave empty to use the standard one.",
        applies_when={"anima_checkbox": (True,)},
        standing=ANIMA,
        methods=("lora", "finetune"),
    )
    anima_qwen3_max_token_length: int = option(
        512,
        ge=0,
        le=4096,
        label="Qwen3 Max Token Length",
        section=SECTION,
        help="How many tokens of a caption Qwen3 uses.",
        applies_when={"anima_checkbox": (True,)},
        standing=ANIMA,
        methods=("lora", "finetune"),
    )
    anima_t5_max_token_length: int = option(
        512,
        ge=0,
        le=4096,
        label="T5 Max Token Length",
        section=SECTION,
        help="How many tokens of a caption the T5 tokenizer produces.",
        applies_when={"anima_checkbox": (True,)},
        standing=ANIMA,
        methods=("lora", "finetune"),
    )
    anima_cache_text_encoder_outputs: bool = option(
        False,
        label="Cache Text Encoder Outputs",
        section=SECTION,
        help="Encode every caption once before training, which frees the GPU memory used by the text encoder.",
        applies_when={"anima_checkbox": (True,)},
        standing=ANIMA,
        methods=("lora", "finetune"),
    )
    anima_cache_text_encoder_outputs_to_disk: bool = option(
        False,
        label="Cache Text Encoder Outputs to Disk",
        section=SECTION,
        help="Save the encoded captions to files next to the pictures.",
        applies_when={"anima_checkbox": (True,)},
        standing=ANIMA,
        methods=("lora", "finetune"),
    )
    anima_timestep_sampling: Literal["sigma", "uniform", "sigmoid", "shift", "flux_shift"] = option(
        "sigmoid",
        label="Timestep Sampling",
        section=SECTION,
        help="How timesteps are drawn. shift and sigmoid favor the middle ones.",
        applies_when={"anima_checkbox": (True,)},
        standing=ANIMA,
        methods=("lora", "finetune"),
    )
    anima_discrete_flow_shift: float = option(
        1.0,
        ge=-1024,
        le=1024,
        label="Discrete Flow Shift",
        section=SECTION,
        help="For shift: how far timesteps are shifted towards more noise; 1 means no shift.",
        applies_when={"anima_checkbox": (True,)},
        standing=ANIMA,
        methods=("lora", "finetune"),
    )
    anima_sigmoid_scale: float = option(
        1.0,
        ge=0.0,
        le=1024,
        label="Sigmoid Scale",
        section=SECTION,
        help="For sigmoid and shift: how strongly the middle timesteps are favored.",
        applies_when={"anima_checkbox": (True,)},
        standing=ANIMA,
        methods=("lora", "finetune"),
    )
    anima_attn_mode: Literal["torch", "xformers", "flash", "sageattn"] = option(
        "torch",
        label="Attention Mode",
        section=SECTION,
        help="How attention is computed. All choices give the same result, at different speeds.",
        applies_when={"anima_checkbox": (True,)},
        standing=ANIMA,
        methods=("lora", "finetune"),
    )
    anima_split_attn: bool = option(
        False,
        label="Split Attention",
        section=SECTION,
        help="Compute attention one picture at a time, which uses less memory.",
        applies_when={"anima_checkbox": (True,)},
        standing=ANIMA,
        methods=("lora", "finetune"),
    )
    anima_vae_chunk_size: int = option(
        0,
        ge=0,
        le=1024,
        label="VAE Chunk Size",
        section=SECTION,
        help="Run the VAE in chunks of this size to save memory; an even number, or 0 to run it all at once.",
        applies_when={"anima_checkbox": (True,)},
        standing=ANIMA,
        methods=("lora", "finetune"),
    )
    anima_vae_disable_cache: bool = option(
        False,
        label="VAE Disable Cache",
        section=SECTION,
        help="Keep nothing between VAE chunks, which uses less memory.",
        applies_when={"anima_checkbox": (True,)},
        standing=ANIMA,
        methods=("lora", "finetune"),
    )
    anima_qwen_image_vae_2d: bool = option(
        False,
        label="Qwen-Image VAE 2D",
        section=SECTION,
        help="Use only the part of the VAE that handles still images: faster, with less memory.",
        applies_when={"anima_checkbox": (True,)},
        standing=ANIMA,
        methods=("lora", "finetune"),
    )
    anima_unsloth_offload_checkpointing: bool = option(
        False,
        label="Unsloth Offload Checkpointing",
        section=SECTION,
        help="With Gradient checkpointing: keep the checkpoints in main memory, copied while the GPU computes.",
        applies_when={"anima_checkbox": (True,)},
        standing=ANIMA,
        methods=("lora", "finetune"),
    )
    anima_compile: bool = option(
        False,
        label="Per-block Torch Compile",
        section=SECTION,
        help="Compile each block with torch.compile.",
        applies_when={"anima_checkbox": (True,)},
        standing=ANIMA,
        methods=("lora", "finetune"),
    )
    anima_torch_compile: bool = option(
        False,
        label="Legacy Torch Compile (accelerate dynamo)",
        section=SECTION,
        help="Compile the whole model through accelerate instead; the older way.",
        applies_when={"anima_checkbox": (True,)},
        standing=ANIMA,
        methods=("lora", "finetune"),
    )
    anima_compile_backend: str = option(
        "inductor",
        label="Compile Backend",
        section=SECTION,
        help="Compiler backend; inductor is usual.",
        applies_when={"anima_checkbox": (True,), "anima_compile": (True,)},
        standing=ANIMA,
        methods=("lora", "finetune"),
    )
    anima_compile_mode: Literal["default", "reduce-overhead", "max-autotune", "max-autotune-no-cudagraphs"] = option(
        "default",
        label="Compile Mode",
        section=SECTION,
        help="How hard the compiler optimizes: the other choices take longer to start.",
        applies_when={"anima_checkbox": (True,), "anima_compile": (True,)},
        standing=ANIMA,
        methods=("lora", "finetune"),
    )
    anima_compile_dynamic: Literal["auto", "true", "false"] = option(
        "auto",
        label="Compile Dynamic Shapes",
        section=SECTION,
        help="Compile once for all picture sizes; auto decides when it meets a second size.",
        applies_when={"anima_checkbox": (True,), "anima_compile": (True,)},
        standing=ANIMA,
        methods=("lora", "finetune"),
    )
    anima_compile_fullgraph: bool = option(
        False,
        label="Compile Fullgraph",
        section=SECTION,
        help="Require each block to be compiled as a whole.",
        applies_when={"anima_checkbox": (True,), "anima_compile": (True,)},
        standing=ANIMA,
        methods=("lora", "finetune"),
    )
    anima_compile_cache_size_limit: int = option(
        0,
        ge=0,
        le=1024,
        label="Compile Cache Size Limit",
        section=SECTION,
        help="How many compiled versions to keep; 0 uses PyTorch's own limit.",
        applies_when={"anima_checkbox": (True,), "anima_compile": (True,)},
        standing=ANIMA,
        methods=("lora", "finetune"),
    )
