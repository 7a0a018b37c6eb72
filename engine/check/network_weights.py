"""Can a run begin from the file in Network weights without losing some of what it holds? By its header alone."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from engine.check.problem import Problem
from engine.failure import Failure
from engine.models.file_kind import file_kind
from engine.models.header import Header, NoModel, first_bytes
from engine.models.pickled import Harmful, header_of
from engine.models.recognise import by_shapes, recognise
from engine.networks import refusals
from engine.networks.dialects import Found, NetworkFile, Place, dialect_of
from engine.networks.refusals import ENDINGS, Refusal
from engine.networks.shares import Share, Shares, has_wide
from engine.networks.signs import JOINED, NORM
from engine.networks.sizes_asked import other_sides
from engine.networks.trained_names import (
    OWN_BLOCKS,
    UNETS,
    families_of,
    has_parts_apart,
    has_shapes_of,
    may_train,
    name_in_file,
    trains,
)
from engine.settings.families import TITLES, FamilyName
from engine.settings.flux_ranks import INPUTS
from engine.settings.lycoris_preset import is_file
from engine.settings.network import ACTING
from engine.settings.training import TrainingSettings

OPTION = "network_weights"

TAKE_RANK = "Take rank and alpha from the file"


def check_network_weights(settings: TrainingSettings) -> Iterator[Problem]:
    given = settings.network.network_weights
    if not settings.trains_network or not given or settings.network.lora_type not in ACTING:
        return
    file = Path(given)
    if not file.is_file():
        yield Problem(OPTION, f'There is no file "{given}".', "Correct the path, or clear the field.")
    elif file.suffix.lower() not in ENDINGS:
        yield Problem(
            OPTION,
            f"{file.name} is not a LoRA file: those end in .safetensors, or rarely in .ckpt or .pt.",
            "Choose another file, or clear the field.",
        )
    else:
        try:
            header = _header(file)
        except NoModel as error:
            yield Problem(OPTION, str(error), error.mend)
            return
        if header is None:  # only torch may know what it is
            return
        found, known = dialect_of(header.shapes), by_shapes(header.shapes, header.metadata)
        family = _family(settings)
        if not found.is_network and known.kind != "unknown":
            yield Problem(OPTION, f"{file.name} is {known.title}, not a LoRA.", "Choose a LoRA, or clear the field.")
        elif refusal := _refusal(file, found, known.family, family, settings):
            fix = TAKE_RANK if refusal.option in ("network_dim", "conv_dim") else ""
            yield Problem(refusal.option, refusal.what, refusal.mend, fix=fix)
        elif known.family and _is_of_another(found, known.family, family):
            what = f"{file.name} says it was trained for {TITLES[known.family]}, but this run trains "
            yield Problem(
                OPTION,
                f"{what}{TITLES[family]}; all its layers and shapes do fit.",
                "If this is not what you want, choose another file.",
                blocking=False,
            )


def _header(file: Path) -> Header | None:
    """None where it cannot be known without loading it.  Raises NoModel."""
    try:
        return header_of(file)
    except Harmful:
        raise
    except NoModel:
        if file_kind(file) == "safetensors":
            raise
        return None


def _refusal(
    path: Path, file: NetworkFile, told: FamilyName | None, family: FamilyName, settings: TrainingSettings
) -> Refusal | None:
    """told: the family that the file says it is for.  family: that the run trains."""
    name = path.name
    if refusal := refusals.of_another_kind(name, file, settings):
        return refusal
    modules = file.modules
    its = families_of(modules)
    its = [told] if told in its and not _is_of_another(file, told, family) else its
    if its and family not in its:
        *others, last = (TITLES[one] for one in its)
        return refusals.another_family(name, f"{', '.join(others)} or {last}" if others else last, TITLES[family])
    if rateless := _without_rate(modules, family, settings):
        part = "text encoder" if all(place.part != "unet" for place in rateless) else "UNet"
        return refusals.not_trained(name, rateless, len(modules), part)
    shares = _shares(file, family, settings)
    left_out = {place for place, share in shares.items() if share is None}
    anywhere = is_file(settings.applied("lycoris_preset"))  # whose names may be any layer's
    lost = [
        place
        for place in modules
        if place in left_out
        or not (may_train(family, place) if anywhere else _is_trained(place, file, family, settings))
    ]
    if lost:
        return refusals.not_trained(name, lost, len(modules))
    apart = family not in UNETS and has_parts_apart(modules)
    if apart and file.kind not in JOINED:
        return refusals.not_joined(name, file)
    if settings.network.dim_from_weights:
        return None
    if apart and file.ranks() and not _share_first(path, modules):
        return refusals.parts_apart(name, file.naming)
    asked = {place: share.rank for place, share in shares.items() if share}
    given = ((modules[place].rank, share, file.is_wide(place)) for place, share in shares.items() if share)
    ranks = ((rank, rank if share.has_room_for(rank) else share.rank, wide) for rank, share, wide in given)
    if refusal := refusals.other_ranks(name, file.kind, ranks):
        return refusal
    sides = other_sides(file, settings, asked)
    return refusals.other_sizes(name, sides) if sides else None


def _share_first(path: Path, modules: Mapping[Place, Found]) -> bool:
    """Whether queries and keys have the same first matrix, as where they were trained as one; where that cannot be
    known without loading the file, the run finds out.
    """
    if file_kind(path) != "safetensors":
        return True
    for place, found in modules.items():
        other = modules.get(place._replace(path=place.path.replace("_to_q", "_to_k")))
        if other and other is not found and "lora_down.weight" in found.names and "lora_down.weight" in other.names:
            names = [one.names["lora_down.weight"] for one in (found, other)]
            return len(set(first_bytes(path, names).values())) == 1
    return False


def _shares(file: NetworkFile, family: FamilyName, settings: TrainingSettings) -> dict[Place, Share | None]:
    """What the settings give the file's modules; nothing where they cannot be read, which is said elsewhere, and where
    they go by kohya's names and the file does not: the run itself knows both.
    """
    try:
        shares = Shares(settings)
        if shares.go_by_names and file.naming != "kohya":
            return {}
        return {
            place: shares.at(name_in_file(family, place), (1, 1, 3, 3) if file.is_wide(place) else (1, 1))
            for place in file.modules
        }
    except Failure:
        return {}


def _family(settings: TrainingSettings) -> FamilyName:
    """The run's; of SDXL's refiner, which no option names, by its files."""
    said = settings.family()
    if said != "sdxl":
        return said
    try:
        found = recognise(settings.source_model.pretrained_model_name_or_path)
    except NoModel:
        return said
    return "sdxl-refiner" if found and found.family == "sdxl-refiner" else said


def _is_of_another(file: NetworkFile, told: FamilyName, family: FamilyName) -> bool:
    """Whether it says that it is another family's, though all that it has fits this one."""
    fits = has_shapes_of(told, family) and all(may_train(family, place) for place in file.modules)
    return told != family and fits


def _is_trained(place: Place, file: NetworkFile, family: FamilyName, settings: TrainingSettings) -> bool:
    if file.modules[place].kind == NORM:  # which the run itself compares with the model's
        return True
    blocks = "single" if settings.flux.split_mode else settings.flux.train_blocks
    own = OWN_BLOCKS.match(place.path)
    if family in ("flux", "chroma") and place.part == "unet":
        if blocks != "all" and own and own.lastgroup != blocks:
            return False
        if place.path.startswith(INPUTS):
            return bool(settings.flux_ranks.in_dims.strip())
    further = settings.network.lora_type.startswith("LyCORIS/") or has_wide(settings)
    return trains(family, place, further)


def _without_rate(modules: Iterable[Place], family: FamilyName, settings: TrainingSettings) -> list[Place]:
    """Places that the family trains, in a part whose learning rate is 0; those of one part."""
    unet, text_encoder = settings.network_rates()
    places = [place for place in modules if may_train(family, place)]
    encoders = [place for place in places if place.part != "unet"]
    if encoders and not text_encoder:
        return encoders
    return [place for place in places if place.part == "unet"] if not unet else []
