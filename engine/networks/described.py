"""What a network file is, in words and as settings, from its tensors alone: no torch, for the page uses it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from engine.models.header import read_header, read_numbers
from engine.models.told import family_told
from engine.networks.dialects import Found, NetworkFile, dialect_of
from engine.networks.refusals import called
from engine.networks.signs import (
    BOFT,
    IA3,
    LOKR,
    OFT,
    TURNING,
    can_continue,
    divided,
    sides_of_first,
    sizes_of_layer,
    types_for,
)  # fmt: skip
from engine.networks.trained_names import UNETS, families_of, is_edge, is_further
from engine.settings.families import TITLES, FamilyName
from engine.settings.lycoris import WITH_MAGNITUDES
from engine.settings.network import LoraType

WHOLE = 100_000
"""The rank by which LyCORIS's users ask for whole matrices."""


@dataclass(frozen=True)
class Described:
    """numbers: of the tensors that are one each, by their names in the file.  families: that train its layers."""

    file: NetworkFile
    numbers: Mapping[str, float]
    families: tuple[FamilyName, ...]

    def sentences(self) -> list[str]:
        """For people."""
        file = self.file
        if not file.is_network:
            return []
        if file.foreign:
            return [f"This file is of type {file.foreign}, which is not trained here."]
        titles = [TITLES[family] for family in self.families]
        for_ = f" for {' or '.join(titles)}" if titles else ""
        said = [f"This is {called(file)}{for_}, named as {file.naming} names layers."]
        encoders = sum(place.part != "unet" for place in file.modules)
        if file.words:
            said.append(f"It comes with the new {'words' if len(file.words) > 1 else 'word'} {', '.join(file.words)}.")
        said.append(f"It changes {len(file.modules)} layers, {encoders or 'none'} of them in text encoders.")
        ranks = _sides if file.kind in TURNING else _ranks
        said += [ranks(file.ranks(wide=wide), wide) for wide in (False, True) if file.ranks(wide=wide)]
        alphas = Counter(alpha for found in file.modules.values() for alpha in self._alpha(found))
        if alphas:
            said.append(f"{'Limit' if file.kind in TURNING else 'Alpha'}: {_listed(alphas)}.")
        if file.kind == LOKR:
            whole = sum("lokr_w2" in found.shapes for found in file.modules.values())
            sides = Counter(sides_of_first(found.shapes) for found in file.modules.values())
            rows, columns = sides.most_common(1)[0][0]
            second = f"{whole or 'none'} of the second matrices are whole"
            said.append(f"The first matrix is {rows} × {columns} in most layers; {second}.")
        return said

    def values(self) -> dict[str, Any]:
        """Settings that make such a network, by option; nothing if it is of a kind that is not trained here."""
        file, kind = self.file, self.file.kind
        lora_type = self._lora_type()
        if file.foreign or not lora_type:
            return {}
        values: dict[str, Any] = {"lora_type": lora_type, "dora_wd": file.has_magnitudes, "use_tucker": file.has_cores}
        of_blocks = all(not is_further(place) for place in file.modules) and set(self.families) <= set(UNETS)
        values["wd_on_output"] = not file.has_magnitudes_on_input
        values["lycoris_preset"] = "attn-mlp" if of_blocks else "full"
        values |= {"train_norm": file.has_norms, "lokr_factor": self._factor()}
        values["unbalanced_factorization"] = self._is_unbalanced()
        values["decompose_both"] = any("lokr_w1_a" in found.shapes for found in file.modules.values())
        values["oft_rescaled"] = any("rescale" in found.shapes for found in file.modules.values())
        values |= self._sized(False, "network_dim", "network_alpha") | self._sized(True, "conv_dim", "conv_alpha")
        if kind in TURNING:
            limits = Counter(alpha for found in file.modules.values() for alpha in self._alpha(found))
            values["oft_constrain"] = limits.most_common(1)[0][0] if limits else 0.0
        if kind == IA3:
            inputs = [self.numbers.get(found.names.get("on_input", ""), 1.0) for found in file.modules.values()]
            values["train_on_input"] = all(inputs)
            if len({*inputs}) > 1:
                values["lycoris_preset"] = "ia3"
        if file.words:
            values |= {"pivotal": True, "token_string": ", ".join(file.words)}
            values["num_vectors_per_token"] = max(file.words.values())
        return values

    def _lora_type(self) -> LoraType | None:
        """LyCORIS's networks are on the first and last layers too, kohya's own of the same kind are not."""
        file, types = self.file, types_for(self.file.kind)
        if file.has_magnitudes or file.has_cores:
            types = [one for one in WITH_MAGNITUDES if file.kind in can_continue(one)]
        of_kohya = [one for one in types if not one.startswith("LyCORIS/")]
        fitting = of_kohya if of_kohya and not any(map(is_edge, file.modules)) else types[-1:]
        return fitting[0] if fitting else None

    def _sized(self, wide: bool, of_rank: str, of_alpha: str) -> dict[str, Any]:
        """The rank and alpha of most layers, as options."""
        file = self.file
        layers = [found for place, found in file.modules.items() if file.is_wide(place) == wide]
        if not layers:
            return {of_rank: 0} if wide else {}
        if file.kind == OFT:
            rows = [(sizes_of_layer(found.shapes).rows, found.rank) for found in layers]
            return {of_rank: _asked(rows)}
        if file.kind == BOFT:
            return {of_rank: max(found.rank for found in layers)}
        ranks = Counter(
            (found.rank, next(iter(self._alpha(found)), float(found.rank))) for found in layers if found.rank
        )
        if not ranks:
            return {of_rank: WHOLE} if file.kind == LOKR else {}
        rank, alpha = ranks.most_common(1)[0][0]
        return {of_rank: rank, of_alpha: alpha}

    def _factor(self) -> int:
        """LoKr's, by which most first matrices have the sides that they have."""
        sides = [
            (size, min(side, size // max(side, 1)))
            for place, found in self.file.modules.items()
            if found.kind == LOKR and not self.file.is_wide(place)
            for size, side in zip(sizes_of_layer(found.shapes), sides_of_first(found.shapes), strict=True)
            if size
        ]
        return _asked(sides, -1) if sides else -1

    def _is_unbalanced(self) -> bool:
        """Whether a LoKr's first matrices have the larger of the two numbers of rows."""
        found = [one for one in self.file.modules.values() if one.kind == LOKR]
        sides = [(sides_of_first(one.shapes)[0], sizes_of_layer(one.shapes).rows) for one in found]
        return sum(side**2 > rows for side, rows in sides) > sum(side**2 < rows for side, rows in sides)

    def _alpha(self, found: Found) -> Iterable[float]:
        return (self.numbers[name] for name in [found.names.get("alpha", "")] if name in self.numbers)


def described(path: Path) -> Described:
    """Raises NoModel where the file is damaged or none of safetensors."""
    header = read_header(path)
    file = dialect_of(header.shapes)
    asked = [found.names[end] for found in file.modules.values() for end in ("alpha", "on_input") if end in found.names]
    told = family_told(header.metadata)
    families = (told,) if told else tuple(families_of(file.modules))
    return Described(file, read_numbers(path, asked), families)


def _asked(pairs: list[tuple[int, int]], *others: int) -> int:
    """The number by which most of these are divided as they are: (number, smaller of its two factors)."""
    candidates = [*others, *sorted({side for _, side in pairs})]
    return max(candidates, key=lambda most: sum(divided(number, most)[0] == side for number, side in pairs))


def _ranks(ranks: Counter[int], wide: bool) -> str:
    return f"{'Rank of 3×3 convolutions' if wide else 'Rank'}: {_listed(ranks)}."


def _sides(ranks: Counter[int], wide: bool) -> str:
    return f"{'Blocks of 3×3 convolutions' if wide else 'Blocks'}: {_listed(ranks)}."


def _listed(counted: Counter[Any]) -> str:
    """ "8", or "8 in 200 layers, 4 in 64 and 5 others"."""
    if len(counted) == 1:
        return f"{next(iter(counted)):g}"
    *first, last = [f"{value:g} in {count} layers" for value, count in counted.most_common(3)]
    return f"{', '.join(first)} and {last}" + (f", and {len(counted) - 3} others" if len(counted) > 3 else "")
