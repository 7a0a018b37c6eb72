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
        help="Number format of the computation. bf16 on cards since RTX 30, fp16 on older ones, no for full "
        "precision. Without a GPU fp16 is computed as no.",
        not_yet={"fp8": FP8.why},
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
        also=("CUDA device",),
    )
    gradient_checkpointing: bool = option(
        False,
        label="Gradient checkpointing",
        section="Parameters/Advanced",
        help="Compute intermediate results twice instead of keeping them: about a fifth slower, far less memory.",
        source="Chen et al. 2016, arXiv:1604.06174",
    )
    multi_gpu: bool = option(
        False,
        label="Multi GPU",
        section=LAUNCH,
        help="Train on several GPUs.",
        standing=maps("Number of processes; more than one trains side by side"),
    )
    num_machines: int = option(
        1,
        ge=1,
        label="Number of machines",
        section=LAUNCH,
        help="Computers that train together.",
        standing=MACHINES,
    )
    main_process_port: int = option(
        0,
        ge=0,
        le=65535,
        label="Main process port",
        section=LAUNCH,
        help="Network port through which the processes find each other; 0 for a free one.",
        standing=MACHINES,
    )
    dynamo_backend: DynamoBackend = option(
        "no",
        label="Dynamo backend",
        section=LAUNCH,
        help="Compile the model with torch.compile through this; inductor is usual, no for none.",
        standing=COMPILED,
        also=("torch.compile",),
    )
    dynamo_mode: Literal["default", "reduce-overhead", "max-autotune"] = option(
        "default",
        label="Dynamo mode",
        section=LAUNCH,
        help="How hard the compiler tries: reduce-overhead and max-autotune take longer to start.",
        standing=COMPILED,
    )
    dynamo_use_fullgraph: bool = option(
        False,
        label="Dynamo use fullgraph",
        section=LAUNCH,
        help="Refuse to compile in parts.",
        standing=COMPILED,
    )
    dynamo_use_dynamic: bool = option(
        False,
        label="Dynamo use dynamic",
        section=LAUNCH,
        help="Compile once for pictures of all sizes.",
        standing=COMPILED,
    )
    extra_accelerate_launch_args: str = option(
        "",
        label="Extra accelerate launch arguments",
        section=LAUNCH,
        help="More arguments for the accelerate launch command.",
        standing=idle(
            "They are arguments of the command with which kohya_ss starts its scripts; this program starts its "
            "engine itself."
        ),
    )
    additional_parameters: str = option(
        "",
        label="Additional parameters",
        section="Parameters/Advanced",
        help="More arguments of sd-scripts, such as --network_train_unet_only.",
        standing=ARGUMENTS,
    )

    def first_gpu(self) -> int:
        """The number of the GPU that trains, or of the first of several."""
        chosen = self.gpu_ids or os.environ.get("CUDA_VISIBLE_DEVICES", "")
        first = chosen.partition(",")[0].strip()
        return int(first) if first.isdecimal() else 0
