"""What the prediction is of, and what a wrong one costs."""

from __future__ import annotations

from typing import Literal

from engine.settings.option import Group, option
from engine.settings.waiting import SHOWN_TIMESTEPS

ADVANCED = "Parameters/Advanced"


LossType = Literal["huber", "smooth_l1", "l1", "l2"]


class Objective(Group):
    train_inpainting: bool = option(
        False,
        label="Train inpainting model",
        section="Parameters/Basic",
        help="The model fills in masked parts of a picture; training shows it pictures with parts masked out, other "
        "ones at each step, so latents cannot be cached.",
        also=("inpainting model",),
        methods=("dreambooth", "lora", "finetune"),
    )
    clip_skip: int = option(
        1,
        ge=0,
        le=12,
        step=1,
        widget="slider",
        label="Clip skip",
        section="Parameters/Advanced",
        help="Which of the text encoder's layers to read, counted from the last: 1 for the last, 2 for the "
        "one before it, as many anime models want. 0 means 1.",
        also=("CLIP skip",),
    )
    prior_loss_weight: float = option(
        1.0,
        ge=0,
        label="Prior loss weight",
        section=ADVANCED,
        help="How much a regularisation picture's loss counts beside a training picture's; 1 for as much.",
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
        help="Weigh each timestep's loss by one over the root of its signal-to-noise ratio.",
        source="Yu et al. 2023, arXiv:2310.08442",
        methods=("dreambooth", "lora", "finetune"),
    )
    scale_v_pred_loss_like_noise_pred: bool = option(
        False,
        label="Scale v prediction loss",
        section=ADVANCED,
        help="For models that predict velocity: weigh the timesteps as a model that predicts noise would.",
    )
    v_pred_like_loss: float = option(
        0,
        ge=0,
        le=1,
        step=0.01,
        widget="slider",
        label="V Pred like loss",
        section=ADVANCED,
        help="For models that predict noise: add this share of the loss that a model that predicts velocity would "
        "have.",
    )
    zero_terminal_snr: bool = option(
        False,
        label="Zero terminal SNR",
        section=ADVANCED,
        help="Stretch the noise schedule so that its last timestep is nothing but noise, for models that predict "
        "velocity and were trained so. What timesteps weigh still follows the schedule as it was.",
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
        help="The least noise that is trained on, from 0 (none) to 1000.",
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
        help="The most noise that is trained on, up to 1000 (nothing but noise).",
        also=("Maximum timestep",),
    )
    noise_offset_type: Literal["Original", "Multires", "Both"] = option(
        "Original",
        label="Noise offset type",
        section=ADVANCED,
        help="Original uses Noise offset, Multires the multires options, Both shifts the noise and adds coarser noise "
        "to that, as sd-scripts does where it is told both.",
    )
    noise_offset: float = option(
        0,
        ge=0,
        le=1,
        step=0.01,
        widget="slider",
        label="Noise offset",
        section=ADVANCED,
        help="Shifts the noise of each picture and channel as a whole by this much at random, which teaches very dark "
        "and very bright pictures. 0.05 to 0.1 is usual; 0 for none.",
        source="Guttenberg 2023, crosslabs.org/blog/diffusion-with-offset-noise",
        applies_when={"noise_offset_type": ("Original", "Both")},
    )
    noise_offset_random_strength: bool = option(
        False,
        label="Noise offset random strength",
        section=ADVANCED,
        help="Draw the strength anew each time, between 0 and Noise offset.",
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
        help="Add this times the mean of the picture's latent to Noise offset, which it needs above 0.",
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
        help="Add noise at so many coarser sizes too. 6 to 10 is usual; 0 for none.",
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
        help="Each coarser size counts this times the one before. 0.1 to 0.3 for a LoRA is usual, more for large sets "
        "of pictures.",
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
        help="Disturb the noisy picture by this much more noise than the model is told of, which makes sampling "
        "forgive errors. 0.1 is usual; 0 for none.",
        source="Ning et al. 2023, arXiv:2301.11706",
        also=("Input perturbation",),
    )
    ip_noise_gamma_random_strength: bool = option(
        False,
        label="IP noise gamma random strength",
        section=ADVANCED,
        help="Draw that strength anew each time, between 0 and IP noise gamma.",
    )
    loss_type: LossType = option(
        "l2",
        label="Loss type",
        section="Parameters/Advanced/Scheduled Huber Loss",
        help="l2 is the squared error. huber and smooth_l1 count large errors less, so that odd pictures disturb less;"
        " l1 is the absolute error.",
    )
    huber_schedule: Literal["constant", "exponential", "snr"] = option(
        "snr",
        label="Huber schedule",
        section="Parameters/Advanced/Scheduled Huber Loss",
        help="How the border between small and large errors changes with the noise; snr is usual.",
        source="Khrapov et al. 2024, arXiv:2403.16728",
        applies_when={"loss_type": ("huber", "smooth_l1")},
    )
    huber_c: float = option(
        0.1,
        ge=0.0001,
        le=1.0,
        label="Huber C",
        section="Parameters/Advanced/Scheduled Huber Loss",
        help="Where large errors begin: the smaller, the closer to l1.",
        applies_when={"loss_type": ("huber", "smooth_l1")},
    )
    huber_scale: float = option(
        1.0,
        ge=0.0,
        le=10.0,
        label="Huber scale",
        section="Parameters/Advanced/Scheduled Huber Loss",
        help="Multiplies that border.",
        applies_when={"loss_type": ("huber", "smooth_l1")},
    )
    show_timesteps: Literal["", "console", "image"] = option(
        "",
        label="Show timesteps",
        section=ADVANCED,
        help="Show how often each amount of noise would be drawn, on the console or as a picture, instead of training.",
        standing=SHOWN_TIMESTEPS,
        methods=("dreambooth", "lora", "finetune"),
    )
    show_timesteps_resolution: str = option(
        "1024",
        label="Show timesteps resolution",
        section=ADVANCED,
        help="Width,height in pixels for which they are shown, as some models draw them by size.",
        applies_when={"show_timesteps": ("console", "image")},
        standing=SHOWN_TIMESTEPS,
        methods=("dreambooth", "lora", "finetune"),
    )
