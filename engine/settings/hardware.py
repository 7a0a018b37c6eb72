"""What the run computes on."""

from __future__ import annotations

import os
from typing import Literal

from engine.settings.option import Group, idle, maps, option
from engine.settings.waiting import ARGUMENTS, COMPILED, FP8, MACHINES

LAUNCH = "Parameters/Accelerate launch"

DynamoBackend = Literal[
    "no", "eager", "aot_eager", "inductor", "aot_ts_nvfuser", "nvprims_nvfuser", "cudagraphs", "ofi", "fx2trt",
    "onnxrt", "tensorrt", "ipex", "tvm",
]  # fmt: skip


class Hardware(Group):
    mixed_precision: Literal["no", "fp16", "bf16", "fp8"] = option(
        "fp16",
        label="Mixed precision",
        section=LAUNCH,
        help="Number format used for computing. bf16 for RTX 30 cards or newer, fp16 for older ones, no for full "
        "precision. Without a GPU, fp16 works like no.",
        not_yet={"fp8": FP8.why},
    )
    num_cpu_threads_per_process: int = option(
        2,
        ge=1,
        label="Number of CPU threads per core",
        section=LAUNCH,
        help="Number of CPU threads for each training process.",
    )
    num_processes: int = option(
        1,
        ge=1,
        label="Number of processes",
        section=LAUNCH,
        help="One for each GPU to train on.",
    )
    gpu_ids: str = option(
        "",
        label="GPU IDs",
        section=LAUNCH,
        help="Which GPUs to use, such as 0,1. Leave empty to use the first ones.",
        also=("CUDA device",),
    )
    gradient_checkpointing: bool = option(
        False,
        label="Gradient checkpointing",
        section="Parameters/Advanced",
        help="Recompute intermediate results instead of storing them: far less memory, about a fifth slower.",
        source="Chen et al. 2016, arXiv:1604.06174",
    )
    multi_gpu: bool = option(
        False,
        label="Multi GPU",
        section=LAUNCH,
        help="Train on several GPUs.",
        standing=maps("Number of processes; with more than one, several GPUs train together"),
    )
    num_machines: int = option(
        1,
        ge=1,
        label="Number of machines",
        section=LAUNCH,
        help="Number of computers that train together.",
        standing=MACHINES,
    )
    main_process_port: int = option(
        0,
        ge=0,
        le=65535,
        label="Main process port",
        section=LAUNCH,
        help="Network port that the processes use to find each other; 0 picks a free one.",
        standing=MACHINES,
    )
    dynamo_backend: DynamoBackend = option(
        "no",
        label="Dynamo backend",
        section=LAUNCH,
        help="Backend for torch.compile; inductor is usual, no turns it off.",
        standing=COMPILED,
        also=("torch.compile",),
    )
    dynamo_mode: Literal["default", "reduce-overhead", "max-autotune"] = option(
        "default",
        label="Dynamo mode",
        section=LAUNCH,
        help="How hard the compiler optimizes: reduce-overhead and max-autotune take longer to start.",
        standing=COMPILED,
    )
    dynamo_use_fullgraph: bool = option(
        False,
        label="Dynamo use fullgraph",
        section=LAUNCH,
        help="Require the model to be compiled as a whole.",
        standing=COMPILED,
    )
    dynamo_use_dynamic: bool = option(
        False,
        label="Dynamo use dynamic",
        section=LAUNCH,
        help="Compile once for all picture sizes.",
        standing=COMPILED,
    )
    extra_accelerate_launch_args: str = option(
        "",
        label="Extra accelerate launch arguments",
        section=LAUNCH,
        help="Further arguments for the accelerate launch command.",
        standing=idle(
            "They belong to the command that kohya_ss starts its scripts with; this program starts its engine itself."
        ),
    )
    additional_parameters: str = option(
        "",
        label="Additional parameters",
        section="Parameters/Advanced",
        help="Further arguments of sd-scripts, such as --network_train_unet_only.",
        standing=ARGUMENTS,
    )

    def first_gpu(self) -> int:
        """The number of the GPU that trains, or of the first of several."""
        chosen = self.gpu_ids or os.environ.get("CUDA_VISIBLE_DEVICES", "")
        first = chosen.partition(",")[0].strip()
        return int(first) if first.isdecimal() else 0
