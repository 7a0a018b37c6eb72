"""What options wait for that nothing acts on yet; each completes "waits for …"."""

from __future__ import annotations

from engine.settings.option import later, maps

FAMILY = maps("the model family; this version trains Stable Diffusion 1 and refuses the others")
ATTENTION = maps("PyTorch's own attention, which computes the same and is used always")

V_PREDICTION = later("models that predict velocity")
SDXL = later("SDXL models")
SD3 = later("Stable Diffusion 3 models")
FLUX = later("FLUX.1 models")
FLUX_SD3 = later("FLUX.1 and Stable Diffusion 3 models")
LUMINA = later("Lumina Image 2.0 models")
HUNYUAN = later("HunyuanImage-2.1 models")
ANIMA = later("Anima models")
INPAINTING = later("inpainting models")
MMAP = later("reading model files without memory mapping")

REGULARISATION = later("regularisation pictures")
DATASET_CONFIG = later("dataset configuration files")
DISK_CACHE = later("latents cached on disk")
BUCKETS = later("buckets and augmentation")
MASKS = later("masked loss")
WORKERS = later("reading pictures in processes of their own")
CAPTIONS = later("caption shuffling, dropout and weights")

WHOLE_MODEL = later("training the whole model (DreamBooth and fine-tuning)")
TEXTUAL_INVERSION = later("textual inversion")
NETWORKS = later("more kinds of LoRA")
LYCORIS = later("LyCORIS networks")
BY_BLOCK = later("ranks and learning rates by block")
GGPO = later("GGPO")

SHOWN_TIMESTEPS = later("showing the timesteps that are drawn")

HALF = later("training in half precision throughout")
FP8 = later("8-bit base models")
SWAP = later("moving blocks between GPU and main memory")
COMPILED = later("compiled models (torch.compile)")
MACHINES = later("training on several machines")
ARGUMENTS = later("reading sd-scripts' arguments")
WANDB = later("logging to Weights & Biases")
HUB = later("sending files to Hugging Face")
