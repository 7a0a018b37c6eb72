"""How far, how fast and how long the weights move."""

from __future__ import annotations

from typing import Literal

from engine.settings.arguments import Value, read_arguments
from engine.settings.kin import EVERY_METHOD
from engine.settings.option import Group, option
from engine.settings.waiting import T5_TRAINING

BASIC = "Parameters/Basic"
ADVANCED = "Parameters/Advanced"

OptimizerName = Literal[
    "AdamW", "AdamWScheduleFree", "AdamW8bit", "Adafactor", "bitsandbytes.optim.AdEMAMix8bit",
    "bitsandbytes.optim.PagedAdEMAMix8bit", "DAdaptation", "DAdaptAdaGrad", "DAdaptAdam", "DAdaptAdan",
    "DAdaptAdanIP", "DAdaptAdamPreprint", "DAdaptLion", "DAdaptSGD", "Lion", "Lion8bit", "PagedAdamW8bit",
    "PagedAdamW32bit", "PagedLion8bit", "Prodigy", "prodigyplus.ProdigyPlusScheduleFree", "pytorch_optimizer.CAME",
    "RAdamScheduleFree", "SGDNesterov", "SGDNesterov8bit", "SGDScheduleFree",
]  # fmt: skip

Schedule = Literal[
    "adafactor", "constant", "constant_with_warmup", "cosine", "cosine_with_restarts", "linear",
    "piecewise_constant", "polynomial", "cosine_with_min_lr", "inverse_sqrt", "warmup_stable_decay",
]  # fmt: skip

TORCH_SCHEDULES = "torch.optim.lr_scheduler."
"""What may stand before the name of a schedule of PyTorch's."""

SCHEDULE_FREE = "schedulefree"
"""What the names of optimizers end with, in small letters, that hold their learning rate whatever the schedule."""

TAKES_ONE_RATE = ("DAdapt", "Prodigy")
"""What the names of optimizers begin with that take one learning rate for all that is trained."""

FINDS_ITS_OWN_RATE = ("DAdapt", "Prodigy", "prodigyplus")
"""What the names of optimizers begin with whose learning rates are factors, usually 1, on a rate of their own."""


class Optimizer(Group):
    train_batch_size: int = option(
        1,
        ge=1,
        le=64,
        step=1,
        widget="slider",
        label="Train batch size",
        section=BASIC,
        help="Pictures per step. Larger batches train more steadily but need more memory.",
        also=("Batch size", "GPU并行数量"),
    )
    epoch: int = option(
        1,
        ge=1,
        label="Epoch",
        section=BASIC,
        help="How many times to go through all pictures with their repeats.",
        also=("Epochs", "Number of epochs", "循环"),
    )
    max_train_epochs: int = option(
        0,
        ge=0,
        label="Max train epoch",
        section=BASIC,
        help="Number of epochs to train; overrides Epoch and Max train steps. 0 leaves it to those two.",
        also=("Max train epochs",),
    )
    max_train_steps: int = option(
        0,
        ge=0,
        label="Max train steps",
        section=BASIC,
        help="Train exactly this many steps; 0 leaves it to Epoch.",
    )
    seed: int = option(
        0,
        ge=0,
        le=2**32 - 1,
        label="Seed",
        section=BASIC,
        help="The same seed with the same settings gives the same result; 0 picks a new seed for each run.",
        also=("Random seed",),
    )
    optimizer: OptimizerName = option(
        "AdamW8bit",
        label="Optimizer",
        section=BASIC,
        help="AdamW8bit keeps its state in 8 bits: half the memory or less, with results just as good. Prodigy and "
        "the DAdapt optimizers find the learning rate themselves: set all learning rates to 1. The schedule-free "
        "ones ignore the LR Scheduler.",
        source="Loshchilov & Hutter 2017, arXiv:1711.05101; Dettmers et al. 2021, arXiv:2110.02861",
        also=("Use 8bit adam", "Optimizer type", "优化器类型"),
    )
    optimizer_args: str = option(
        "",
        label="Optimizer extra arguments",
        section=BASIC,
        help="Passed to the optimizer, as name=value separated by spaces, such as weight_decay=0.01 betas=0.9,0.99.",
    )
    learning_rate: float = option(
        1e-4,
        ge=0,
        le=1,
        label="Learning rate",
        section=BASIC,
        help="For a LoRA, used only if Text Encoder learning rate and Unet learning rate are both 0. For a whole "
        "model, the learning rate of the UNet or transformer.",
        also=("Learning rate Unet", "LR", "学习率"),
    )
    text_encoder_lr: float = option(
        1e-4,
        ge=0,
        le=1,
        label="Text Encoder learning rate",
        section=BASIC,
        help="Usually half the UNet's or less. 0 trains only the UNet, unless both are 0.",
        methods=("lora",),
        also=("学习文本编码器的学习率",),
    )
    unet_lr: float = option(
        1e-4,
        ge=0,
        le=1,
        label="Unet learning rate",
        section=BASIC,
        help="1e-4 is a good starting point for a LoRA. 0 trains only the text encoder, unless both are 0.",
        also=("U-Net learning rate",),
        methods=("lora",),
    )
    lr_scheduler: Schedule = option(
        "cosine",
        label="LR Scheduler",
        section=BASIC,
        help="How the learning rate changes over the course of the run.",
        also=("Learning rate scheduler", "学习率调度器"),
    )
    lr_warmup: float = option(
        10,
        ge=0,
        le=100,
        step=1,
        widget="slider",
        label="LR warmup (% of total steps)",
        section=BASIC,
        help="Share of the steps over which the learning rate rises from 0. Ignored by constant.",
        also=("LR warmup (% of steps)", "逐渐改变学习率"),
    )
    lr_warmup_steps: int = option(
        0,
        ge=0,
        label="LR warmup steps (override)",
        section=BASIC,
        help="The same as a number of steps; 0 uses the percentage.",
    )
    lr_scheduler_num_cycles: int = option(
        1,
        ge=1,
        label="LR # cycles",
        section=BASIC,
        help="For cosine_with_restarts, how many times it starts over from the full learning rate. For other cosine "
        "schedulers, the number of half waves: a second one rises again.",
        applies_when={"lr_scheduler": ("cosine_with_restarts", "cosine_with_min_lr", "warmup_stable_decay")},
        also=("LR number of cycles", "LR Num Cycles"),
        methods=("dreambooth", "lora", "textual_inversion"),
    )
    lr_scheduler_power: float = option(
        1.0,
        ge=0,
        label="LR power",
        section=BASIC,
        help="Power of the polynomial: 1 is a straight line; higher values fall faster at first.",
        applies_when={"lr_scheduler": ("polynomial",)},
        methods=("dreambooth", "lora", "textual_inversion"),
    )
    lr_decay_steps: float = option(
        0,
        ge=0,
        label="LR decay steps",
        section=BASIC,
        help="Over how many of the last steps warmup_stable_decay lowers the learning rate. Below 1 it is a share of "
        "all steps; 0 means no decay.",
        applies_when={"lr_scheduler": ("warmup_stable_decay",)},
        ours=True,
    )
    lr_scheduler_min_lr_ratio: float = option(
        0,
        ge=0,
        le=1,
        label="LR min ratio",
        section=BASIC,
        help="The lowest learning rate, as a share of the full one; for cosine_with_min_lr 0 means 0.1.",
        applies_when={"lr_scheduler": ("cosine_with_min_lr", "warmup_stable_decay")},
        ours=True,
    )
    lr_scheduler_timescale: int = option(
        0,
        ge=0,
        label="LR timescale",
        section=BASIC,
        help="Number of steps after the warmup over which inverse_sqrt falls by a factor of √2; 0 uses the length of "
        "the warmup.",
        applies_when={"lr_scheduler": ("inverse_sqrt",)},
        ours=True,
    )
    max_grad_norm: float = option(
        1.0,
        ge=0,
        label="Max grad norm",
        section=BASIC,
        help="Gradients with a larger norm are clipped to this; 0 turns clipping off.",
        also=("Gradient clipping",),
        methods=("dreambooth", "lora"),
        acts_for=EVERY_METHOD,
    )
    gradient_accumulation_steps: int = option(
        1,
        ge=1,
        le=120,
        step=1,
        widget="slider",
        label="Gradient accumulate steps",
        section=ADVANCED,
        help="How many batches are averaged into one step: the effect of a larger batch without the memory it needs.",
        also=("Gradient accumulation",),
    )
    lr_scheduler_type: str = option(
        "",
        label="LR Scheduler type",
        section=BASIC,
        help="A PyTorch scheduler class to use instead of LR Scheduler, by name. Leave empty to use LR Scheduler.",
        suggestions=("CosineAnnealingLR",),
    )
    lr_scheduler_args: str = option(
        "",
        label="LR scheduler extra arguments",
        section=BASIC,
        help="Passed to the scheduler, as name=value separated by spaces, such as T_max=100.",
    )
    stop_text_encoder_training: int = option(
        0,
        ge=-1,
        le=100,
        step=1,
        widget="slider",
        label="Stop TE (% of total steps)",
        section=BASIC,
        help="Stop training the text encoder after this share of the steps; 0 trains it to the end, -1 not at all.",
        also=("Stop text encoder training", "Preventing Text Encoder Training"),
        methods=("dreambooth", "lora"),
    )
    t5xxl_lr: float = option(
        0,
        ge=0,
        le=1,
        label="T5XXL learning rate",
        section=BASIC,
        help="Learning rate of the T5-XXL text encoder, if it is trained; 0 uses Text Encoder learning rate.",
        standing=T5_TRAINING,
        methods=("lora",),
    )

    def text_encoder_steps(self, total_steps: int) -> int:
        """Steps in which the text encoder is trained."""
        share = self.stop_text_encoder_training
        return round(total_steps * share / 100) if share else total_steps

    def rates(self) -> tuple[float, float]:
        """(UNet's rate, text encoder's rate); a part whose rate is 0 is not trained.

        kohya's rule: the two special rates count where either is set, else learning_rate serves both.
        """
        unet, text_encoder = self.unet_lr, self.text_encoder_lr
        if unet == 0 and text_encoder == 0:
            unet = text_encoder = self.learning_rate
        return unet, 0.0 if self.stop_text_encoder_training < 0 else text_encoder

    def extra_arguments(self) -> dict[str, Value]:
        """optimizer_args by name.  Raises ValueError with a sentence for people."""
        return read_arguments("Optimizer extra arguments", self.optimizer_args)

    def schedule_arguments(self) -> dict[str, Value]:
        """lr_scheduler_args by name.  Raises ValueError with a sentence for people."""
        return read_arguments("LR scheduler extra arguments", self.lr_scheduler_args)
