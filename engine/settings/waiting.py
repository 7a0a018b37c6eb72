"""What options wait for that nothing acts on yet; each completes "waits for …"."""

from __future__ import annotations

from engine.settings.option import later, maps

ATTENTION = maps("PyTorch's own attention, which computes the same and is used always")

CAPTIONS_ONCE = maps("captions that are encoded once wherever they stay the same and no text encoder is trained")
MORE_SD3 = later("more of Stable Diffusion 3's own options")
T5_TRAINING = later("training T5-XXL")
HUNYUAN = later("HunyuanImage-2.1 models")
ANIMA = later("Anima models")
MMAP = later("reading model files without memory mapping")


TEXTUAL_INVERSION = later("textual inversion")
NETWORKS = later("more kinds of LoRA")
LYCORIS = later("LyCORIS networks")
BY_BLOCK = later("ranks and learning rates by block")
GGPO = later("GGPO")

SHOWN_TIMESTEPS = later("showing the timesteps that are drawn")

FP8 = later("computing in 8 bits")
COMPILED = later("compiled models (torch.compile)")
MACHINES = later("training on several machines")
ARGUMENTS = later("reading sd-scripts' arguments")
WANDB = later("logging to Weights & Biases")
HUB = later("sending files to Hugging Face")
