"""A hypernetwork: small networks before the keys and values of attention, as AUTOMATIC1111's web UI has them."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from typing import Any, Literal, get_args

from engine.settings.families import FamilyName
from engine.settings.option import Group, option

SECTION = "Parameters/Basic"
ONLY = ("hypernetwork",)

Activation = Literal[
    "linear", "relu", "leakyrelu", "elu", "swish", "tanh", "sigmoid", "gelu", "mish", "silu", "softsign"
]
Initialisation = Literal["Normal", "XavierUniform", "XavierNormal", "KaimingUniform", "KaimingNormal"]

ANEW: dict[str, tuple[Any, ...]] = {"hypernetwork_weights": ("",)}
"""What is begun from a file is built as the file says."""

ACTIVATED = {"hypernetwork_activation": tuple(name for name in get_args(Activation) if name != "linear")}

WIDTHS: Mapping[FamilyName, tuple[int, ...]] = {
    "sd1": (768, 320, 640, 1280), "sd2": (1024, 320, 640, 1280), "sdxl": (2048, 640, 1280),
}  # fmt: skip
"""Of what attention makes keys and values of, in the published models of the families that have cross-attention."""

MOST_LAYERS, NARROWEST, WIDEST = 16, 0.05, 16.0
"""Far beyond any that was found useful; more would fill the memory."""


class Hypernetwork(Group):
    hypernetwork_weights: str = option(
        "",
        widget="file",
        label="Hypernetwork to go on from (Optional)",
        section=SECTION,
        help="A trained hypernetwork (.pt) to train further. It keeps its modules, layers and activation.",
        methods=ONLY,
        ours=True,
    )
    hypernetwork_sizes: str = option(
        "",
        label="Modules",
        section=SECTION,
        help="Which attention layers are changed, by the width of what their keys and values are made of, with commas "
        "between: 768 is the prompt (1024 for SD 2, 2048 for SDXL), 320, 640 and 1280 are the picture at its sizes. "
        "Empty is all of the model's.",
        suggestions=("768", "768, 320", "768, 320, 640, 1280", "1024", "2048"),
        applies_when=ANEW,
        methods=ONLY,
        ours=True,
    )
    hypernetwork_structure: str = option(
        "1, 2, 1",
        label="Layer structure",
        section=SECTION,
        help="How wide each network is from its input to its output, in multiples of the input. The first and last are "
        "1; wider or more in between learn more, and overfit sooner.",
        suggestions=("1, 2, 1", "1, 1.5, 1.5, 1", "1, 2, 2, 1", "1, 4, 2, 1"),
        applies_when=ANEW,
        also=("Hypernetwork layer structure",),
        methods=ONLY,
        ours=True,
    )
    hypernetwork_activation: Activation = option(
        "linear",
        label="Activation function",
        section=SECTION,
        help="Between the layers; linear is none. swish and softsign are common for hypernetworks with several layers.",
        applies_when=ANEW,
        methods=ONLY,
        ours=True,
    )
    hypernetwork_activate_output: bool = option(
        False,
        label="Activate output",
        section=SECTION,
        help="The activation function after the last layer too.",
        applies_when=ANEW | ACTIVATED,
        methods=ONLY,
        ours=True,
    )
    hypernetwork_layer_norm: bool = option(
        False,
        label="Add layer normalization",
        section=SECTION,
        help="Normalise what each layer gives. It slows learning down and evens it out.",
        applies_when=ANEW,
        methods=ONLY,
        ours=True,
    )
    hypernetwork_dropout: str = option(
        "0",
        label="Dropout of layers",
        section=SECTION,
        help="The probability that a value between two layers is left out in a step, against overfitting: one for all "
        "hidden layers, such as 0.3, or one for each number of Layer structure, such as 0, 0.1, 0.2, 0.",
        suggestions=("0", "0.1", "0.3"),
        applies_when=ANEW,
        also=("Use dropout", "Hypernetwork dropout structure"),
        methods=ONLY,
        ours=True,
    )
    hypernetwork_init: Initialisation = option(
        "Normal",
        label="Weights initialization",
        section=SECTION,
        help="How the layers begin. Normal, with tiny weights, changes nothing at first. Kaiming suits relu and its "
        "like, Xavier tanh and sigmoid; both begin with a change, so use a low learning rate.",
        applies_when=ANEW,
        methods=ONLY,
        ours=True,
    )

    def sizes(self) -> list[int]:
        """The widths that Modules names; none for all.  Raises ValueError, a sentence."""
        try:
            found = [int(part) for part in _parts(self.hypernetwork_sizes)]
        except ValueError:
            found = [0]
        if not all(size > 0 for size in found):
            raise ValueError(f'"{self.hypernetwork_sizes}" is not a list of widths such as 768, 320.')
        return list(dict.fromkeys(found))

    def structure(self) -> list[float]:
        """Raises ValueError, a sentence."""
        try:
            found = [float(part) for part in _parts(self.hypernetwork_structure)]
        except ValueError:
            found = []
        if len(found) < 2 or found[0] != 1 or found[-1] != 1 or not all(NARROWEST <= part <= WIDEST for part in found):
            raise ValueError(f'"{self.hypernetwork_structure}" is not a structure from 1 to 1 such as 1, 2, 1.')
        if len(found) > MOST_LAYERS:
            raise ValueError(f"The structure has {len(found)} numbers; {MOST_LAYERS} are the most.")
        return found

    def dropouts(self) -> list[float]:
        """The probability behind each number of structure(), 0 at the ends; empty for no dropout.

        Raises ValueError, a sentence.
        """
        count = len(self.structure())
        try:
            found = [float(part) for part in _parts(self.hypernetwork_dropout)]
        except ValueError:
            found = []
        if len(found) == 1:
            found = [0.0, *found * (count - 2), 0.0]
        if len(found) != count or found[0] or found[-1] or not all(0 <= part < 1 for part in found):
            raise ValueError(
                f'"{self.hypernetwork_dropout}" is neither one probability below 1 nor one for each of the {count} '
                "numbers of Layer structure, 0 at both ends."
            )
        return found if any(found) else []

    def weights(self, family: FamilyName) -> int:
        """How many learn in a published model; 0 where it has no place for any.  Raises ValueError, a sentence."""
        sizes = self.sizes() or WIDTHS.get(family, ())
        return sum(
            2 * int(size * inside + 1) * int(size * outside)
            for size in sizes
            for inside, outside in pairwise(self.structure())
        )


def _parts(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]
