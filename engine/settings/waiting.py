"""What is missing for the options that nothing acts on yet, and what covers some that nothing needs to."""

from __future__ import annotations

from engine.settings.option import later, maps

ATTENTION = maps("PyTorch's own attention, which gives the same result and is always used")

CAPTIONS_ONCE = maps(
    "encoding captions once, which is always done when they stay the same and no text encoder is trained"
)
MORE_SD3 = later("further Stable Diffusion 3 options")
T5_TRAINING = later("training T5-XXL")
HUNYUAN = later("HunyuanImage-2.1 models")
ANIMA = later("Anima models")
MMAP = later("reading model files without memory mapping")


NETWORKS = later("other types of LoRA")
BYPASS = maps("adding to what a layer gives, which is how networks are always computed")

SHOWN_TIMESTEPS = later("a preview of the timesteps")

FP8 = later("8-bit computation")
COMPILED = later("compiled models (torch.compile)")
MACHINES = later("training on several machines")
ARGUMENTS = later("free-form sd-scripts arguments")
WANDB = later("logging to Weights & Biases")
HUB = later("uploading to Hugging Face")
