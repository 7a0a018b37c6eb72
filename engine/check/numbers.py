"""Do the numbers make sense, alone and together?"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from engine.check.problem import CHOOSE, Problem, as_problem
from engine.data.items import Item
from engine.data.placing import bucket_bounds
from engine.data.steps import StepPlan
from engine.data.training_set import described_by
from engine.runs.saved_state import saved_progress
from engine.settings.dataset import Dataset
from engine.settings.families import KEPT_CAPTIONS, TITLES, TRANSFORMERS
from engine.settings.network import PARTS
from engine.settings.optimizer import FINDS_ITS_OWN_RATE, TAKES_ONE_RATE
from engine.settings.optimizer_classes import sets_all_rates
from engine.settings.training import USUAL, TrainingSettings

SIDES, SIDES_OF_PATCHES = 8, 16
"""What both sides of a picture must be divisible by: a latent has 8×8 pixels, a patch of latents 16×16."""

PLACES_OF_LUMINA = 299
"""Tokens of a caption that Lumina Image 2.0 has places for; the picture's is the 300th."""

HIGH_RATES = {"textual_inversion": 0.1}
"""Above these a learning rate is pointed out; above 0.01 with other methods. A word's few numbers can move fast."""

LARGEST_SIDE = 4096
"""Pixels. No model is trained beyond it; more is a slip of the keyboard that would fill the memory."""


def check_numbers(settings: TrainingSettings) -> Iterator[Problem]:
    optimizer, network = settings.optimizer, settings.network
    high = HIGH_RATES.get(settings.method, 0.01)
    if not any(settings.rates()):
        usual = USUAL["learning_rate"][settings.method]
        yield Problem("learning_rate", "Every learning rate is 0, so nothing would be learned.", f"{usual:g} is usual.")
    elif max(settings.rates()) > high and not optimizer.optimizer.startswith(FINDS_ITS_OWN_RATE):
        yield Problem(
            "unet_lr" if settings.trains_network else "learning_rate",
            f"A learning rate of {max(settings.rates()):g} is very high; training will most likely diverge.",
            "1e-4 is usual for a LoRA, 1e-5 for a whole model or a hypernetwork, 5e-4 to 5e-3 for new words.",
            blocking=False,
        )
    if settings.trains_network and network.network_alpha > network.network_dim:
        yield Problem(
            "network_alpha",
            f"Alpha {network.network_alpha:g} is above rank {network.network_dim}: the LoRA is applied at "
            f"{network.network_alpha / network.network_dim:.3g} times full strength.",
            "Alpha is usually between 1 and the rank.",
            blocking=False,
        )
    yield from _together(settings)
    tokens = settings.lumina.lumina_gemma2_max_token_length
    if settings.family() == "lumina" and tokens > PLACES_OF_LUMINA:
        yield Problem(
            "lumina_gemma2_max_token_length",
            f"Gemma2 Max Token Length is {tokens}, but the model has room for only {PLACES_OF_LUMINA} tokens.",
            "256 is usual.",
        )
    yield from _own_rate(settings)
    yield from _no_rate(settings)


def check_sizes(items: list[Item], settings: TrainingSettings) -> Iterator[Problem]:
    """The training size and buckets of every dataset; of the settings where there is none yet."""
    step, by = step_of(settings), described_by(settings)
    datasets = {item.subset.dataset: item.subset.pictures for item in items} or {0: settings.dataset}
    for dataset in datasets.values():
        wrong = list(_size(dataset, step))
        yield from (replace(problem, option=by) for problem in wrong) if by == "dataset_config" else wrong


def _size(dataset: Dataset, step: int) -> Iterator[Problem]:
    sized = list(as_problem("max_resolution", dataset.size))
    yield from sized
    if not sized:
        width, height = dataset.size()
        # With buckets it is only an area. Without, the VAE leaves out what is too little for one more latent, as it
        # does for sd-scripts; but there must be whole patches of latents.
        patch = step // SIDES
        if not dataset.enable_bucket and (width // SIDES % patch or height // SIDES % patch):
            yield Problem(
                "max_resolution",
                f"Without buckets, Max resolution {width},{height} is not divisible by {step}.",
                f"Use {multiple_of(width, step)},{multiple_of(height, step)}, or turn on Enable buckets.",
            )
        elif dataset.enable_bucket and dataset.bucket_reso_steps % step:
            yield Problem(
                "bucket_reso_steps",
                f"Bucket resolution steps of {dataset.bucket_reso_steps} give sizes that this model cannot handle.",
                f"Use a multiple of {step}; 64 is usual.",
                fix=f"{CHOOSE}64",
            )
        elif min(width, height) < 64:
            yield Problem("max_resolution", f"Max resolution {width},{height} is too small.", "Use 64 or more.")
        elif max(width, height) > LARGEST_SIDE:
            yield Problem(
                "max_resolution", f"Max resolution {width},{height} is too large.", f"Use at most {LARGEST_SIDE}."
            )
        elif dataset.enable_bucket and not dataset.bucket_no_upscale:
            yield from _bounds(dataset)


def _bounds(dataset: Dataset) -> Iterator[Problem]:
    """Bounds of buckets that are rounded; they count only where pictures may be enlarged."""
    least, most = bucket_bounds(dataset)
    for name, label, said, taken in (
        ("min_bucket_reso", "Minimum", dataset.min_bucket_reso, least),
        ("max_bucket_reso", "Maximum", dataset.max_bucket_reso, most),
    ):
        if said != taken:
            yield Problem(
                name,
                f"{label} bucket resolution {said} is not a multiple of {dataset.bucket_reso_steps}, the Bucket "
                f"resolution steps: {taken} is used, as in sd-scripts.",
                f"Use {taken}.",
                blocking=False,
            )


def _together(settings: TrainingSettings) -> Iterator[Problem]:
    """Values that are sound alone and leave nothing to train beside each other."""
    optimizer = settings.optimizer
    if optimizer.stop_text_encoder_training > 0 and settings.rates()[0] == 0:
        yield Problem(
            "stop_text_encoder_training",
            "Only the text encoder is trained, so nothing would be trained after it stops.",
            "Set it to 0, or train the UNet too.",
        )
    kept = KEPT_CAPTIONS.get(settings.families.said())
    if kept and settings.values()[kept] and (settings.captions.shuffle_caption or settings.trains_text_encoder):
        yield Problem(
            kept,
            "Encoded captions cannot be saved to files when captions are shuffled or a text encoder is trained.",
            "Turn off Shuffle caption and do not train a text encoder or new words, or turn this off.",
            blocking=False,
        )
    if settings.captions.weighted_captions and settings.families.said() in TRANSFORMERS:
        yield Problem(
            "weighted_captions",
            "Weighted captions only work for models whose only text encoders are CLIP; "
            f"{TITLES[settings.families.said()]} takes the brackets literally.",
            "Remove the brackets from the captions.",
            blocking=False,
        )
    if not settings.trains_network:
        return
    for name in ("network_dropout", "rank_dropout", "module_dropout"):
        if settings.values()[name] == 1:
            yield Problem(
                name, "With a dropout of 1, nothing is left to learn.", "0.1 to 0.3 is usual; 0 turns it off."
            )


_RATES_OF_LAYERS = ("down_lr_weight", "mid_lr_weight", "up_lr_weight", "network_reg_lrs", "block_lr")


def _own_rate(settings: TrainingSettings) -> Iterator[Problem]:
    optimizer = settings.optimizer
    rates = {rate for rate in settings.rates() if rate}
    if not optimizer.optimizer.startswith(FINDS_ITS_OWN_RATE):
        return
    is_lora, takes_one = settings.trains_network, optimizer.optimizer.startswith(TAKES_ONE_RATE)
    parts = zip(PARTS, settings.rates() if is_lora and takes_one else (), strict=False)
    ratios = [settings.network.loraplus_ratio(part) for part, rate in parts if rate]
    unlike = {option: ratio for option, ratio in ratios if ratio != 1}
    for option, ratio in unlike.items():
        yield Problem(
            option,
            f"{optimizer.optimizer} uses one learning rate for all parts, but LoRA+ asks for {ratio:g} times as much "
            "for some.",
            "Set it to 0 to turn it off.",
            fix=f"{CHOOSE}0",
        )
    if unlike:
        return
    for option in _RATES_OF_LAYERS if takes_one else ():
        if settings.applied(option).strip():
            label = next(item.label for item in settings.options() if item.name == option)
            yield Problem(
                option,
                f"{optimizer.optimizer} uses one learning rate for all layers, but {label} gives some their own.",
                "Clear it, or choose another optimizer.",
            )
            return
    if settings.applied("pivotal") and (of_words := settings.textual_inversion.words_lr) not in rates:
        yield Problem(
            "words_lr",
            f"{optimizer.optimizer} finds the learning rate itself and multiplies it by this; new words are at "
            f"{of_words:g}, and the LoRA is at {max(rates, default=0):g}.",
            "Set them all to 1.",
            blocking=takes_one,
        )
        return
    if len(rates) > 1 and takes_one:
        yield Problem(
            "text_encoder_lr" if is_lora else "learning_rate",
            f"{optimizer.optimizer} uses one learning rate for all parts, but {min(rates):g} and {max(rates):g} are "
            "set.",
            "Set them all to 1.",
        )
    elif max(rates, default=1) < 0.1:
        yield Problem(
            "unet_lr" if is_lora else "learning_rate",
            f"{optimizer.optimizer} finds the learning rate itself and multiplies it by this; at {max(rates):g} it "
            "would learn almost nothing.",
            "Set the learning rates to 1.",
            blocking=False,
        )


def _no_rate(settings: TrainingSettings) -> Iterator[Problem]:
    """What Adafactor does not follow while it makes the learning rates itself; a layer whose own is 0 is left out."""
    try:
        if not sets_all_rates(settings.optimizer):
            return
    except ValueError:  # of the arguments, which have sentences of their own
        return
    name, is_lora = settings.optimizer.optimizer, settings.trains_network
    ratios = dict(settings.network.loraplus_ratio(part) for part in PARTS) if is_lora else {}
    labels = {item.name: item.label for item in settings.options()}
    given = [option for option in _RATES_OF_LAYERS if settings.applied(option).strip()]
    for option in (*(option for option, ratio in ratios.items() if ratio != 1), *given):
        beyond = "" if option in ratios else ", other than leaving out layers whose rate is 0"
        yield Problem(
            option,
            f"{name} sets all learning rates itself, so {labels[option]} has no effect{beyond}.",
            "Add relative_step=False to Optimizer extra arguments, or choose another optimizer.",
            blocking=False,
        )


def step_of(settings: TrainingSettings) -> int:
    """What both sides of a picture must be divisible by."""
    return SIDES_OF_PATCHES if settings.family() in TRANSFORMERS else SIDES


def multiple_of(side: int, step: int) -> int:
    return max(64, round(side / step) * step)


def check_resume(settings: TrainingSettings, plan: StepPlan | None) -> Iterator[Problem]:
    if not settings.saving.resume:
        return
    progress = saved_progress(Path(settings.saving.resume))
    if progress is None:
        yield Problem(
            "resume",
            f'"{settings.saving.resume}" is not a Darkroom training state.',
            "Choose a folder written by Save training state, such as NAME-state, or clear the field.",
        )
    elif plan is not None and progress.step >= plan.steps:
        yield Problem(
            "resume",
            f"This state is already at step {progress.step}, but the run has only {plan.steps} steps.",
            "Raise Epoch or Max train steps to continue training.",
        )
