"""What the prediction is of, and what a wrong one costs."""

from __future__ import annotations

from typing import Literal

from engine.settings.kin import EVERY_METHOD
from engine.settings.option import Group, option
from engine.settings.waiting import SHOWN_TIMESTEPS

ADVANCED = "Parameters/Advanced"


LossType = Literal["huber", "smooth_l1", "l1", "l2"]


class Objective(Group):
    train_inpainting: bool = option(
        False,
        label="Train inpainting model",
        section="Parameters/Basic",
        help="For inpainting models, which fill in masked parts of a picture. Different parts are masked out at each "
        "step, so latents cannot be cached.",
        also=("inpainting model",),
        methods=("dreambooth", "lora", "finetune"),
        acts_for=EVERY_METHOD,
    )
    clip_skip: int = option(
        1,
        ge=0,
        le=12,
        step=1,
        widget="slider",
        label="Clip skip",
        section="Parameters/Advanced",
        help="Which layer of the text encoder to use, counted from the end: 1 is the last layer, 2 the one before it, "
        "which many anime models expect. 0 means 1.",
        also=("CLIP skip",),
    )
    prior_loss_weight: float = option(
        1.0,
        ge=0,
        label="Prior loss weight",
        section=ADVANCED,
        help="How much the loss on regularisation pictures counts compared with training pictures; 1 means equally.",
        source="Ruiz et al. 2022, arXiv:2208.12242",
        also=("Prior loss",),
        methods=("dreambooth", "lora", "textual_inversion"),
    )
    min_snr_gamma: float = option(
        0,
        ge=0,
        le=20,
        step=1,
        widget="slider",
        label="Min SNR gamma",
        section=ADVANCED,
        help="Caps the weight of easy (low-noise) timesteps. 5 is the usual value; 0 turns it off.",
        source="Hang et al. 2023, arXiv:2303.09556",
    )
    debiased_estimation_loss: bool = option(
        False,
        label="Debiased Estimation loss",
        section=ADVANCED,
        help="Weight the loss at each timestep by 1/√SNR, where SNR is its signal-to-noise ratio.",
        source="Yu et al. 2023, arXiv:2310.08442",
        methods=("dreambooth", "lora", "finetune"),
        acts_for=EVERY_METHOD,
    )
    scale_v_pred_loss_like_noise_pred: bool = option(
        False,
        label="Scale v prediction loss",
        section=ADVANCED,
        help="For v-prediction models: weight the timesteps the way a noise-prediction model does.",
    )
    v_pred_like_loss: float = option(
        0,
        ge=0,
        le=1,
        step=0.01,
        widget="slider",
        label="V Pred like loss",
        section=ADVANCED,
        help="For noise-prediction models: add this share of a v-prediction model's loss.",
    )
    zero_terminal_snr: bool = option(
        False,
        label="Zero terminal SNR",
        section=ADVANCED,
        help="Rescale the noise schedule so that the last timestep is pure noise, for v-prediction models trained "
        "that way. Loss weights still follow the original schedule.",
        source="Lin et al. 2023, arXiv:2305.08891",
        also=("ZTSNR", "rescale_betas_zero_snr"),
        ours=True,
    )
    min_timestep: int = option(
        0,
        ge=0,
        le=1000,
        step=1,
        widget="slider",
        label="Min Timestep",
        section=ADVANCED,
        help="The lowest timestep to train on, from 0 (no noise) to 1000.",
        also=("Minimum timestep",),
    )
    max_timestep: int = option(
        1000,
        ge=1,
        le=1000,
        step=1,
        widget="slider",
        label="Max Timestep",
        section=ADVANCED,
        help="The highest timestep to train on, up to 1000 (pure noise).",
        also=("Maximum timestep",),
    )
    noise_offset_type: Literal["Original", "Multires", "Both"] = option(
        "Original",
        label="Noise offset type",
        section=ADVANCED,
        help="Original uses Noise offset, Multires uses the multires options, and Both applies the two together, as "
        "sd-scripts does when given both.",
    )
    noise_offset: float = option(
        0,
        ge=0,
        le=1,
        step=0.01,
        widget="slider",
        label="Noise offset",
        section=ADVANCED,
        help="Shifts the noise of each picture and channel as a whole by a random amount of about this size, which "
        "helps the model learn very dark and very bright pictures. 0.05 to 0.1 is usual; 0 turns it off.",
        source="Guttenberg 2023, crosslabs.org/blog/diffusion-with-offset-noise",
        applies_when={"noise_offset_type": ("Original", "Both")},
    )
    noise_offset_random_strength: bool = option(
        False,
        label="Noise offset random strength",
        section=ADVANCED,
        help="Use a random strength between 0 and Noise offset each time.",
        applies_when={"noise_offset_type": ("Original", "Both")},
    )
    adaptive_noise_scale: float = option(
        0,
        ge=-1,
        le=1,
        step=0.001,
        widget="slider",
        label="Adaptive noise scale",
        section=ADVANCED,
        help="Adds this times the mean of the picture's latent to Noise offset. Needs a Noise offset above 0.",
        applies_when={"noise_offset_type": ("Original", "Both")},
    )
    multires_noise_iterations: int = option(
        0,
        ge=0,
        le=64,
        step=1,
        widget="slider",
        label="Multires noise iterations",
        section=ADVANCED,
        help="Also add noise at this many coarser resolutions. 6 to 10 is usual; 0 turns it off.",
        source="Whitaker 2023, wandb.ai/johnowhitaker/multires_noise",
        applies_when={"noise_offset_type": ("Multires", "Both")},
        also=("Multires Iterations", "Pyramid noise"),
    )
    multires_noise_discount: float = option(
        0.3,
        ge=0,
        le=1,
        step=0.01,
        widget="slider",
        label="Multires noise discount",
        section=ADVANCED,
        help="How much each coarser resolution counts relative to the one before. 0.1 to 0.3 is usual for a LoRA, "
        "more for large datasets.",
        applies_when={"noise_offset_type": ("Multires", "Both")},
        also=("Multires Discounts",),
    )
    ip_noise_gamma: float = option(
        0,
        ge=0,
        le=1,
        step=0.01,
        widget="slider",
        label="IP noise gamma",
        section=ADVANCED,
        help="Input perturbation: adds this much noise that the model is not told about, which makes sampling more "
        "tolerant of errors. 0.1 is usual; 0 turns it off.",
        source="Ning et al. 2023, arXiv:2301.11706",
        also=("Input perturbation",),
    )
    ip_noise_gamma_random_strength: bool = option(
        False,
        label="IP noise gamma random strength",
        section=ADVANCED,
        help="Use a random strength between 0 and IP noise gamma each time.",
    )
    loss_type: LossType = option(
        "l2",
        label="Loss type",
        section="Parameters/Advanced/Scheduled Huber Loss",
        help="l2 is the squared error and l1 the absolute error. huber and smooth_l1 give large errors less weight, "
        "so that outliers in the dataset do less harm.",
    )
    huber_schedule: Literal["constant", "exponential", "snr"] = option(
        "snr",
        label="Huber schedule",
        section="Parameters/Advanced/Scheduled Huber Loss",
        help="How the threshold between small and large errors changes with the timestep; snr is usual.",
        source="Khrapov et al. 2024, arXiv:2403.16728",
        applies_when={"loss_type": ("huber", "smooth_l1")},
    )
    huber_c: float = option(
        0.1,
        ge=0.0001,
        le=1.0,
        label="Huber C",
        section="Parameters/Advanced/Scheduled Huber Loss",
        help="The threshold above which errors count as large: the smaller, the closer to l1.",
        applies_when={"loss_type": ("huber", "smooth_l1")},
    )
    huber_scale: float = option(
        1.0,
        ge=0.0,
        le=10.0,
        label="Huber scale",
        section="Parameters/Advanced/Scheduled Huber Loss",
        help="Multiplies that threshold.",
        applies_when={"loss_type": ("huber", "smooth_l1")},
    )
    show_timesteps: Literal["", "console", "image"] = option(
        "",
        label="Show timesteps",
        section=ADVANCED,
        help="Instead of training, show how often each timestep would be drawn, on the console or as a picture.",
        standing=SHOWN_TIMESTEPS,
        methods=("dreambooth", "lora", "finetune"),
    )
    show_timesteps_resolution: str = option(
        "1024",
        label="Show timesteps resolution",
        section=ADVANCED,
        help="Width,height in pixels to show them for, since some models draw timesteps by size.",
        applies_when={"show_timesteps": ("console", "image")},
        standing=SHOWN_TIMESTEPS,
        methods=("dreambooth", "lora", "finetune"),
    )
