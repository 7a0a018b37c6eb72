"""kohya_ss's JSON, in and out: one flat dictionary with every value under its key.

Files that users exchange hold numbers as text, "" for unset, and keys that have come and gone over the years.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from engine.settings.errors import listed
from engine.settings.kohya_arguments import followed
from engine.settings.option import Option
from engine.settings.secrets import HIDDEN, hidden, is_secret, without_secrets
from engine.settings.training import USUAL, Method, TrainingSettings, training_options
from engine.settings.values import BadValues


@dataclass
class Loaded:
    """Settings read from a file, with what there is to say about it.  Nothing of the file is lost.

    bad: a sentence for each value that was not allowed and was left at its default, by option name.
    waiting, idle: options that say something which this version does not follow yet, or never will.
    unknown: keys that no option stands for.
    notes: sentences on values that mean another one, and on what a file of another program says beside them.
    named: the options that the file gives an allowed value, by name.  says_method: whether it names the method.
    """

    settings: TrainingSettings
    bad: dict[str, str] = field(default_factory=dict)
    waiting: list[Option] = field(default_factory=list)
    idle: list[Option] = field(default_factory=list)
    unknown: dict[str, Any] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    named: frozenset[str] = frozenset()
    says_method: bool = False

    def settings_by(self, method: Method) -> TrainingSettings:
        """The settings; where the file does not say by which method they are, as kohya_ss's do not, by this one."""
        if self.says_method:
            return self.settings
        if self.named & USUAL.keys():
            return self.settings.model_copy(update={"method": method})
        return self.settings.for_method(method)

    def report(self) -> list[str]:
        """The same as sentences for people, none where all is well."""
        sentences = [*self.bad.values(), *self.notes]
        for why, options in self._by_reason(self.waiting).items():
            sentences.append(f"Kept, but not supported yet ({why}): {options}.")
        for why, options in self._by_reason(self.idle).items():
            sentences.append(f"Kept, but with no effect here: {options}. {why}")
        if self.unknown:
            unknown = [
                f"{_shown(key)[1:-1]} ({HIDDEN if is_secret(key) else _shown(value)})"
                for key, value in sorted(self.unknown.items())
            ]
            sentences.append(f"Kept, but unknown to this version: {listed(unknown)}.")
        return [hidden(sentence) for sentence in sentences]

    def _by_reason(self, options: list[Option]) -> dict[str, str]:
        """The options with their values, as one text for each reason."""
        groups: dict[str, list[str]] = {}
        for item in options:
            value = item.value_in(self.settings)
            text = HIDDEN if item.widget == "secret" else _shown(_as_kohya_writes(item, value))
            groups.setdefault(item.standing_of(value).why, []).append(f"{item.label} ({text})")
        return {why: ", ".join(labels) for why, labels in groups.items()}


RETIRED: Mapping[str, Callable[[Any], dict[str, Any]]] = {
    # Keys of older kohya_ss versions, and what they say in today's; today's key wins where both stand.
    "use_8bit_adam": lambda value: {"optimizer": "AdamW8bit" if _truthy(value) else "AdamW"},
    "use_wandb": lambda value: {"log_with": "wandb"} if _truthy(value) else {},
    "lora_network_weights": lambda value: {"network_weights": value},
    "conv_dims": lambda value: {"conv_block_dims": value},
    "conv_alphas": lambda value: {"conv_block_alphas": value},
    "create_caption": lambda value: {"generate_caption_database": value},
    "create_buckets": lambda value: {"generate_image_buckets": value},
    "darkroom_description": lambda value: {},  # a preset's sentence about itself
    "save_as_bool": lambda value: {},  # a note of kohya_ss's own; save_model_as says how to save
}

OLD_VALUES: Mapping[str, Mapping[str, str]] = {
    # What today's keys held in older versions, as lower-case text.
    "xformers": {"true": "xformers", "false": "none"},
}

ZERO_IS_UNSET = ("huber_c", "max_timestep")
"""Keys whose 0 kohya_ss does not hand on, so that sd-scripts' default holds, which is ours too."""


def from_kohya(data: Mapping[str, Any]) -> Loaded:
    """Read kohya_ss's dictionary; what is missing has its default, what is wrong is reported.

    Arguments among its Additional parameters that options say become theirs, as sd-scripts follows those.
    """
    loaded = _as_told(data)
    changed = followed(loaded.settings)
    return _as_told({**data, **changed}) if changed else loaded


def _as_told(data: Mapping[str, Any]) -> Loaded:
    """As the keys say."""
    options = {item.kohya.key: item for item in training_options()}
    given: dict[str, Any] = {}
    for key, value in data.items():
        if key in RETIRED:
            given |= RETIRED[key](value)
    given |= {key: value for key, value in data.items() if key in options and not _is_unset(key, value)}
    named = {options[key].name: _in_todays_words(key, value) for key, value in given.items()}
    bad: dict[str, str] = {}
    try:
        settings = TrainingSettings().with_values(named)
    except BadValues as error:
        bad = error.problems
        settings = TrainingSettings().with_values({name: v for name, v in named.items() if name not in bad})
    settings, notes = _as_it_was_meant(settings, data)
    kept = {key: value for key, value in data.items() if key not in options or options[key].name in bad}
    settings = settings.model_copy(update={"kohya_extra": kept})
    said = frozenset(name for name, value in named.items() if name not in bad and value is not None and value != "")
    unknown = {key: v for key, v in data.items() if key not in options and key not in RETIRED and _says_something(v)}
    return Loaded(settings, bad, _speaking(settings, "later"), _speaking(settings, "idle"), unknown, notes, said)


def is_known(key: str) -> bool:
    """Whether kohya_ss has or had the key."""
    return key in RETIRED or any(item.kohya.key == key for item in training_options())


def _is_unset(key: str, value: Any) -> bool:
    return key in ZERO_IS_UNSET and str(value).strip() in ("0", "0.0")


def _as_it_was_meant(settings: TrainingSettings, data: Mapping[str, Any]) -> tuple[TrainingSettings, list[str]]:
    """Values that mean others in kohya_ss than they say, and a sentence on each that matters beside the others."""
    options = {item.kohya.key: item for item in training_options()}
    notes = [
        f"{options[key].label} is 0 in the file, which means unset: here it is {options[key].default}."
        for key, value in data.items()
        if _is_unset(key, value) and options[key].applies(settings.values())
    ]
    cycles, epoch = data.get("lr_scheduler_num_cycles"), settings.optimizer.epoch
    restarts = settings.optimizer.lr_scheduler == "cosine_with_restarts"
    if restarts and isinstance(cycles, str) and not cycles.strip() and epoch > 1:
        settings = settings.with_values({"lr_scheduler_num_cycles": epoch})
        notes.append(f"LR # cycles is empty in the file, which means the same as Epoch: here it is {epoch}.")
    return settings, notes


def _in_todays_words(key: str, value: Any) -> Any:
    return OLD_VALUES.get(key, {}).get(str(value).strip().lower(), value)


def _speaking(settings: TrainingSettings, kind: str) -> list[Option]:
    """Options of a standing that have another value than the default and mean something beside the others."""
    values = settings.values()
    return [
        item
        for item in training_options()
        if values[item.name] != item.default
        and item.standing_of(values[item.name]).kind == kind
        and item.applies(values)
    ]


def to_kohya(settings: TrainingSettings) -> dict[str, Any]:
    """kohya_ss's dictionary: every option under its key, and what was kept from the file loaded before.

    A value that could not be read stands again where it stood, until its option is set.
    """
    kept = settings.kohya_extra
    known = {
        item.kohya.key: _as_kohya_writes(item, item.value_in(settings))
        for item in training_options()
        if item.kohya.key not in kept or item.value_in(settings) != item.default
    }
    if settings.method == "finetune":  # whose tab looks for the image folder under a key of its own
        known["image_folder"] = known["train_data_dir"]
    return dict(sorted({**kept, **known}.items()))


def _as_kohya_writes(item: Option, value: Any) -> Any:
    """kohya_ss puts some numbers into text fields, and whole numbers into fields that take fractions too."""
    if item.kohya.as_text:
        return str(value)
    if item.kind is float and isinstance(item.default, int) and float(value).is_integer():
        return int(value)
    return value


def _says_something(value: Any) -> bool:
    """Off, empty and zero are how kohya_ss writes "not used"."""
    return value not in (None, "", "0", 0, False, [], {})


def _truthy(value: Any) -> bool:
    return value is True or str(value).strip().lower() in ("true", "1", "yes")


def _shown(value: Any) -> str:
    """A value as a file has it, cut where it is long."""
    text = json.dumps(without_secrets(value)[0], ensure_ascii=False, default=str)
    return text if len(text) <= 60 else text[:57] + "…"
