"""What the run computes on."""

from __future__ import annotations

from typing import Literal

from engine.settings.option import Group, option

LAUNCH = "Parameters/Accelerate launch"


class Hardware(Group):
    mixed_precision: Literal["no", "fp16", "bf16"] = option(
        "fp16",
        label="Mixed precision",
        section=LAUNCH,
        help="Number format of the computation. bf16 on cards since RTX 30, fp16 on older ones, no for full "
        "precision. Without a GPU fp16 is computed as no.",
    )
    num_cpu_threads_per_process: int = option(
        2,
        ge=1,
        label="Number of CPU threads per core",
        section=LAUNCH,
        help="CPU threads that each training process uses.",
    )
    num_processes: int = option(
        1,
        ge=1,
        label="Number of processes",
        section=LAUNCH,
        help="One for each GPU that trains.",
    )
    gpu_ids: str = option(
        "",
        label="GPU IDs",
        section=LAUNCH,
        help="Which GPUs, such as 0,1; empty for the first ones.",
    )
    gradient_checkpointing: bool = option(
        False,
        label="Gradient checkpointing",
        section="Parameters/Advanced",
        help="Compute intermediate results twice instead of keeping them: about a fifth slower, far less memory.",
        source="Chen et al. 2016, arXiv:1604.06174",
    )
