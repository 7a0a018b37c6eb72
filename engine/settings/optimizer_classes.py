"""Where the class of each optimizer is, for those that load it and those that only look at what it takes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from engine.settings.optimizer import Optimizer, OptimizerName

CLASSES: Mapping[OptimizerName, tuple[str, Mapping[str, Any]]] = {
    # name: ("module:class", arguments that the name implies; the user's own go over them)
    "AdamW": ("torch.optim:AdamW", {}),
    "AdamW8bit": ("bitsandbytes.optim:AdamW8bit", {}),
    "PagedAdamW8bit": ("bitsandbytes.optim:PagedAdamW8bit", {}),
    "PagedAdamW32bit": ("bitsandbytes.optim:PagedAdamW32bit", {}),
    "Lion": ("lion_pytorch:Lion", {}),
    "Lion8bit": ("bitsandbytes.optim:Lion8bit", {}),
    "PagedLion8bit": ("bitsandbytes.optim:PagedLion8bit", {}),
    "SGDNesterov": ("torch.optim:SGD", {"nesterov": True, "momentum": 0.9}),
    "SGDNesterov8bit": ("bitsandbytes.optim:SGD8bit", {"nesterov": True, "momentum": 0.9}),
    "bitsandbytes.optim.AdEMAMix8bit": ("bitsandbytes.optim:AdEMAMix8bit", {}),
    "bitsandbytes.optim.PagedAdEMAMix8bit": ("bitsandbytes.optim:PagedAdEMAMix8bit", {}),
    "Adafactor": ("transformers.optimization:Adafactor", {"relative_step": True}),
    "DAdaptation": ("dadaptation.experimental:DAdaptAdamPreprint", {}),
    "DAdaptAdamPreprint": ("dadaptation.experimental:DAdaptAdamPreprint", {}),
    "DAdaptAdaGrad": ("dadaptation:DAdaptAdaGrad", {}),
    "DAdaptAdam": ("dadaptation:DAdaptAdam", {}),
    "DAdaptAdan": ("dadaptation:DAdaptAdan", {}),
    "DAdaptAdanIP": ("dadaptation.experimental:DAdaptAdanIP", {}),
    "DAdaptLion": ("dadaptation:DAdaptLion", {}),
    "DAdaptSGD": ("dadaptation:DAdaptSGD", {}),
    "Prodigy": ("prodigyopt:Prodigy", {}),
    "prodigyplus.ProdigyPlusScheduleFree": ("prodigyplus:ProdigyPlusScheduleFree", {}),
    "pytorch_optimizer.CAME": ("pytorch_optimizer:CAME", {}),
    "AdamWScheduleFree": ("schedulefree:AdamWScheduleFree", {}),
    "RAdamScheduleFree": ("schedulefree:RAdamScheduleFree", {}),
    "SGDScheduleFree": ("schedulefree:SGDScheduleFree", {}),
}


def sets_all_rates(optimizer: Optimizer) -> bool:
    """Whether it takes no learning rate at all, as Adafactor unless it is told not to (Shazeer & Stern 2018,
    arXiv:1804.04235, section 8).

    Raises ValueError, a sentence, where the extra arguments cannot be read.
    """
    own = CLASSES[optimizer.optimizer][1]
    return "relative_step" in own and bool({**own, **optimizer.extra_arguments()}["relative_step"])
