"""LoRA types as sd-scripts has them: a network_module, and KEY=VALUE in network_args."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from engine.settings.option import Option
from engine.settings.sd_scripts import family_of_values, place_of
from engine.settings.training import TrainingSettings, training_options

LYCORIS = "lycoris.kohya"

TYPES: Mapping[str, tuple[str, str]] = {
    # LoRA type: (network_module, algo).
    "Standard": ("networks.lora", ""),
    "Kohya LoCon": ("networks.lora", ""),
    "Kohya DyLoRA": ("networks.dylora", ""),
    "Kohya LoHa": ("networks.loha", ""),
    "Kohya LoKr": ("networks.lokr", ""),
    "LoRA-FA": ("networks.lora_fa", ""),
    "Flux1": ("networks.lora_flux", ""),
    "Flux1 OFT": ("networks.oft_flux", ""),
    "HunyuanImage-2.1": ("networks.lora_hunyuan_image", ""),
    "Anima": ("networks.lora_anima", ""),
    "Lumina": ("networks.lora_lumina", ""),
    "LyCORIS/iA3": (LYCORIS, "ia3"),
    "LyCORIS/BOFT": (LYCORIS, "boft"),
    "LyCORIS/Diag-OFT": (LYCORIS, "diag-oft"),
    "LyCORIS/DyLoRA": (LYCORIS, "dylora"),
    "LyCORIS/GLoRA": (LYCORIS, "glora"),
    "LyCORIS/LoCon": (LYCORIS, "locon"),
    "LyCORIS/LoHa": (LYCORIS, "loha"),
    "LyCORIS/LoKr": (LYCORIS, "lokr"),
    "LyCORIS/Native Fine-Tuning": (LYCORIS, "full"),
    "T-LoRA": ("networks.lora", ""),  # whose files are ordinary ones; sd-scripts cannot train it
}

OTHER_NAMES: Mapping[tuple[str, str], str] = {
    ("networks.lora_sd3", ""): "Standard",
    ("locon.locon_kohya", ""): "LyCORIS/LoCon",
    (LYCORIS, ""): "LyCORIS/LoCon",
    (LYCORIS, "lora"): "LyCORIS/LoCon",
}
"""Further modules that are read and not written, but for Stable Diffusion 3's."""

FAMILY_OF_MODULE: Mapping[str, str] = {
    "networks.lora_sd3": "sd3",
    "networks.lora_flux": "flux",
    "networks.oft_flux": "flux",
    "networks.lora_hunyuan_image": "hunyuan_image",
    "networks.lora_anima": "anima",
    "networks.lora_lumina": "lumina",
}

_BLOCKS = ("blocks", "flux_ranks")
_TAKES: Mapping[str, tuple[str, ...]] = {
    # Options, and groups of options, that a LoRA type's network has a use for; the LyCORIS ones say so themselves.
    "Kohya LoCon": ("conv_dim", "conv_alpha"),
    "Kohya DyLoRA": ("conv_dim", "conv_alpha", "dylora_unit"),
    "Kohya LoHa": ("conv_dim", "conv_alpha", "use_tucker"),
    "Kohya LoKr": ("conv_dim", "conv_alpha", "use_tucker", "lokr_factor"),
    "Flux1": ("train_blocks", "split_qkv", "train_t5xxl", "ggpo_sigma", "ggpo_beta"),
    "Flux1 OFT": ("enable_all_linear",),
}
_ALL_TAKE = (
    "rank_dropout", "module_dropout", "loraplus_lr_ratio", "loraplus_unet_lr_ratio", "loraplus_text_encoder_lr_ratio",
)  # fmt: skip
_ALWAYS = ("conv_dim", "conv_alpha", "ggpo_sigma", "ggpo_beta", "tlora_least_rank", "tlora_exponent")
"""Written even at their defaults: without them the network has no convolutions, or others, or is of another type."""


_SAID_BY_FILES = ("tlora_least_rank", "tlora_exponent", "ggpo_sigma", "ggpo_beta", "train_blocks", "split_qkv")
"""What files say among network_args also of LoRA types whose module in sd-scripts does not take it."""


_LYCORIS_ABSENT: Mapping[str, Any] = {"dylora_unit": 4, "train_on_input": False}
"""What LyCORIS does where network_args say nothing, by option, where that is not the default here."""


def takes(item: Option, values: Mapping[str, Any]) -> bool:
    """Whether the network of the LoRA type among the values has a use for an option."""
    kind = values["lora_type"]
    if item.name in _ALL_TAKE:
        return True
    if item.path[0] in _BLOCKS:  # sd-scripts' LyCORIS knows none of them, but files say what they were trained with
        return item.applies(values)
    if TYPES[kind][0] == LYCORIS:
        conv = item.name in ("conv_dim", "conv_alpha") and kind != "LyCORIS/Native Fine-Tuning"
        return conv or ((item.path[0] == "lycoris" or item.name == "rs_lora") and item.applies(values))
    ours = _TAKES.get(kind, ())
    return (item.name in ours or item.path[0] in ours) and not (
        item.name.startswith("ggpo") and not values["train_lora_ggpo"]
    )


def write_network(values: Mapping[str, Any], family: str) -> tuple[str, list[str]]:
    """(network_module, network_args) for the values' LoRA type."""
    module, algo = TYPES[values["lora_type"]]
    if values["lora_type"] == "Standard" and family == "sd3":
        module = "networks.lora_sd3"
    values = _split(values)
    parts = [f"algo={algo}"] if algo else []
    for item in training_options():
        place, value = place_of(item), values[item.name]
        if place.kind != "network" or not takes(item, values):
            continue
        if value != _absent(item, module) or item.name in _ALWAYS:
            parts.append(f"{_key(item, module)}={_text(value)}")
    return module, parts


def network_arguments(settings: TrainingSettings) -> dict[str, str]:
    """What files say that network_args were, by name: those of the options that training follows."""
    waits = {item.name: item.default for item in training_options() if not item.acts}
    values = settings.values() | waits
    parts = write_network(values, family_of_values(values))[1]
    arguments = {name: value for name, _, value in (part.partition("=") for part in parts)}
    values = _split(values)
    ours = [item for item in training_options() if item.name in _SAID_BY_FILES and item.applies(values)]
    said = [item.name for item in ours if item.name in _ALWAYS or values[item.name] != item.default]
    return arguments | {name: _text(values[name]) for name in said}


def _split(values: Mapping[str, Any]) -> dict[str, Any]:
    """As kohya_ss has it: only single blocks can be split."""
    return {**values, **({"train_blocks": "single"} if values["split_mode"] else {})}


def read_network(module: str, parts: Sequence[str], given: Mapping[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """(kohya_ss's keys and values, the parts that no option stands for) of a network_module and its network_args.

    given: the script's arguments, for what LyCORIS takes from them where a part is missing.
    """
    pairs = {key.strip(): value.strip().strip("\"'") for key, _, value in (part.partition("=") for part in parts)}
    algo = pairs.pop("algo", "").lower() if module == LYCORIS else ""
    kinds = {
        place: kind for kind, place in reversed(list(TYPES.items()))
    }  # Standard before the LoCon of the same module
    kind = OTHER_NAMES.get((module, algo)) or kinds.get((module, algo), module + (f" {algo}" if algo else ""))
    if kind == "Standard" and pairs.get("conv_dim", "0") not in ("0", ""):
        kind = "Kohya LoCon"
    if any(name.startswith("tlora_") for name in pairs):
        kind = "T-LoRA"
    data: dict[str, Any] = {"LoRA_type": kind}
    if kind.startswith("LyCORIS/"):
        data |= {"conv_dim": given.get("network_dim", 4), "conv_alpha": given.get("network_alpha", 1)}
    elif kind in ("Kohya DyLoRA", "Kohya LoHa", "Kohya LoKr"):
        data["conv_dim"] = 0
    for item in training_options():
        if place_of(item).kind != "network" and item.name not in _SAID_BY_FILES:
            continue
        if (key := _key(item, module)) in pairs:
            data[item.kohya.key] = pairs.pop(key)
        elif _absent(item, module) != item.default and item.applies({"lora_type": kind}):
            data[item.kohya.key] = _absent(item, module)
    if "ggpo_sigma" in data or "ggpo_beta" in data:
        data["train_lora_ggpo"] = True
    return data, [f"{key}={value}" for key, value in pairs.items()]


def _key(item: Option, module: str) -> str:
    return "block_size" if item.name == "dylora_unit" and module == LYCORIS else place_of(item).name


def _absent(item: Option, module: str) -> Any:
    return _LYCORIS_ABSENT.get(item.name, item.default) if module == LYCORIS else item.default


def _text(value: Any) -> str:
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return "".join(str(value).split())
