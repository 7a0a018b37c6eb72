"""EMA: an average of the trained weights over the last steps, kept beside them."""

from __future__ import annotations

from typing import Literal

from engine.settings.option import Group, option

SECTION = "Parameters/Advanced/EMA"

ON = {"ema": (True,)}

LARGEST_DECAY = 0.99999


class Averaging(Group):
    ema: bool = option(
        False,
        label="EMA",
        section=SECTION,
        help="Keep an exponential moving average of the trained weights. It does not follow every step, so its "
        "pictures depend less on where a run happens to stop. Works with every method; takes 4 bytes per trained "
        "weight.",
        source="Polyak & Juditsky 1992, doi:10.1137/0330046",
        also=("Exponential moving average", "Averaged weights"),
        ours=True,
    )
    ema_decay: float = option(
        0.9999,
        ge=0,
        le=LARGEST_DECAY,
        label="EMA decay",
        section=SECTION,
        help="How much of the average each step keeps. 0.9999 reaches back about 10,000 steps, 0.999 about 1,000 and "
        "0.99 about 100. With EMA warm-up, 0.9999 suits a LoRA of a few hundred steps as well as a long fine-tuning.",
        applies_when=ON,
        ours=True,
    )
    ema_warmup: bool = option(
        True,
        label="EMA warm-up",
        section=SECTION,
        help="Reach back over at most about a ninth of the steps done so far, until that is as far as EMA decay "
        "reaches. Without it, a run shorter than that mostly averages the weights that it started from.",
        source="the decay of num_updates in TensorFlow's ExponentialMovingAverage",
        applies_when=ON,
        ours=True,
    )
    ema_every_n_steps: int = option(
        1,
        ge=1,
        label="EMA every N steps",
        section=SECTION,
        help="Update the average every N steps, with the decay of N steps, so that it reaches back equally far. Saves "
        "time if the average is in main memory; 10 hardly changes the result.",
        applies_when=ON,
        ours=True,
    )
    ema_on_cpu: bool = option(
        False,
        label="Keep EMA in main memory",
        section=SECTION,
        help="Keep the average in main memory instead of on the GPU. Each update then copies the weights there: "
        "hardly noticeable for a LoRA, slow for a whole model unless EMA every N steps is raised.",
        applies_when=ON,
        ours=True,
    )
    ema_save: Literal["beside", "instead"] = option(
        "beside",
        label="Save EMA weights",
        section=SECTION,
        help="beside saves a second file with every saved file, named NAME-ema; instead saves the averaged weights "
        "under the usual names, and the trained ones only in training states.",
        applies_when=ON,
        ours=True,
    )
    ema_samples: bool = option(
        True,
        label="Samples from EMA weights",
        section=SECTION,
        help="Draw samples with the averaged weights, and measure the validation loss on them too; off uses the "
        "trained weights for both.",
        applies_when=ON,
        ours=True,
    )

    def saves_both(self) -> bool:
        """The averaged weights beside the trained ones."""
        return self.ema and self.ema_save == "beside"
