"""The pictures of a run: found, looked through, and encoded as far as that is done once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import torch
from accelerate import Accelerator
from torch import Tensor

from engine.data.buckets import Placed
from engine.data.dataset import Latents
from engine.data.examining import Examined, examined, told
from engine.data.items import Item, places_of, readable
from engine.data.kept import InMemory, Kept, OnDisk
from engine.data.latent_files import Wanted
from engine.data.masks import Masks
from engine.data.source import Source
from engine.data.training_set import described_by, training_set
from engine.failure import Failure, Stopped
from engine.models.family import Family, Parts
from engine.models.fingerprint import OF_THE_DECODER, fingerprint
from engine.settings.training import TrainingSettings
from engine.training.hardware import of_first_process
from engine.training.report import Report


@dataclass(frozen=True)
class TrainingPictures:
    """Pictures; all lists go by their indices.  held_out: those besides, which nothing is learned from."""

    items: list[Item]
    places: list[Placed]
    latents: Latents
    held_out: TrainingPictures | None = None


def training_pictures(
    settings: TrainingSettings,
    family: Family,
    parts: Parts,
    seed: int,
    accelerator: Accelerator,
    report: Report,
    stop: Callable[[], bool],
) -> TrainingPictures:
    """Find the pictures, encode those that are kept encoded, and tell which are left out and which mended.

    The VAE goes to the device only where it has something to do.  stop: whether the user asks for it.
    Raises Failure, Stopped.
    """
    described = training_set(settings)
    for note in described.notes:
        report.warn(note)
    items, held_out = described.items, described.held_out
    kept = _kept(settings, family, parts)
    # Caching decodes the pictures that it encodes and finds those that are broken; without it that is done here.
    found = examined([item.picture for item in (*items, *held_out)], decode=kept is None)
    latents = Latents(_sources(items, found, settings), partial(_encode, parts, accelerator.device), kept)
    apart = latents.only(_sources_apart(held_out, found, settings))
    if kept:
        # Each by themselves, so that those that are learned from come out to the bit as they do without the others.
        seeds = {latents: seed, apart: settings.validation.validation_seed}
        unreadable = _encode_all(seeds, kept, settings, parts, accelerator, report, stop)
        found |= {picture: Examined(left_out=why) for picture, why in unreadable.items()}
    sources = _sources(items, found, settings)
    for sentence in told(found, most=50):
        report.warn(sentence)
    learned = TrainingPictures(readable(items, found), [source.place for source in sources], latents.only(sources))
    measured = _sources_apart(held_out, found, settings)
    if held_out and not measured:
        report.warn("None of the pictures that are held out can be read: the validation loss is not measured.")
    if not measured:
        return learned
    places = [source.place for source in measured]
    return replace(learned, held_out=TrainingPictures(readable(held_out, found), places, latents.only(measured)))


def _encode_all(
    several: dict[Latents, int],
    kept: Kept,
    settings: TrainingSettings,
    parts: Parts,
    accelerator: Accelerator,
    report: Report,
    stop: Callable[[], bool],
) -> dict[Path, str]:
    """Returns the pictures that cannot be read.  Processes share what goes to disk; in memory each needs all of it.

    several: with the seed of the VAE's draws.
    """
    size = settings.dataset.vae_batch_size or settings.optimizer.train_batch_size
    total = sum(len(latents) for latents in several)

    def encode(rank: int = 0, processes: int = 1) -> dict[Path, str]:
        lacking = [latents.lacking() for latents in several]
        if processes > 1:
            # One may have written before another looks: they share the same list, or some would be done twice.
            lacking = of_first_process(lacking)
        unreadable: dict[Path, str] = {}
        before = 0
        for (latents, seed), some in zip(several.items(), lacking, strict=True):
            if some and not stop():
                unreadable |= latents.cache(some, size, seed, partial(progress, before), rank, processes)
            before += len(latents)
        return unreadable

    def progress(before: int, done: int, _: int) -> bool:
        report.stage("caching", before + done, total)
        return stop()

    if isinstance(kept, OnDisk) and accelerator.num_processes > 1:
        encode(accelerator.process_index, accelerator.num_processes)
        accelerator.wait_for_everyone()
    unreadable = encode()  # of several processes: what another could not read; stopped, it is not gone through again
    # Each process looks for itself while it encodes, and may see the wish a little sooner than the others.
    if of_first_process(stop()):
        raise Stopped
    for module in parts.of_pictures():
        module.to("cpu")
    if isinstance(kept, OnDisk) and kept.files.foreign:
        report.warn(
            f"The latents of {len(kept.files.foreign)} pictures come from files of another program, which do not say "
            "which VAE made them. Delete these files if it was another one."
        )
    return unreadable


def _kept(settings: TrainingSettings, family: Family, parts: Parts) -> Kept | None:
    """Raises Failure."""
    dataset = settings.dataset
    if parts.concat and parts.concat.is_drawn and dataset.keeps_latents():
        raise Failure(
            "An inpainting model is shown other parts of a picture at each step, so latents cannot be cached for it.",
            "Turn off Cache latents and Cache latents to disk.",
            "cache_latents_to_disk" if dataset.cache_latents_to_disk else "cache_latents",
        )
    if dataset.cache_latents_to_disk:
        vae = fingerprint(parts.of_pictures(), without=OF_THE_DECODER)
        wanted = Wanted(vae, dataset.skip_cache_check)
        return OnDisk(family.latent_format(parts), wanted)
    return InMemory() if dataset.cache_latents else None


def _sources(items: list[Item], found: dict[Path, Examined], settings: TrainingSettings) -> list[Source]:
    """Of the items that can be read.  Raises Failure where there are none."""
    items = readable(items, found)
    if not items:
        raise Failure("None of the pictures can be read.", "Replace them.", described_by(settings))
    return _of(items, settings)


def _sources_apart(items: list[Item], found: dict[Path, Examined], settings: TrainingSettings) -> list[Source]:
    """Of those held out that can be read: each is always shown in the same way."""
    return [
        replace(source, flips=False, random_crop=False, color_aug=False)
        for source in _of(readable(items, found), settings)
    ]


def _of(items: list[Item], settings: TrainingSettings) -> list[Source]:
    mask_dir = settings.dataset.mask_dir
    masks = Masks(Path(mask_dir)) if mask_dir else None
    return [
        Source.of(item.picture, place, item.subset.pictures, masks)
        for item, place in zip(items, places_of(items), strict=True)
    ]


@torch.no_grad()
def _encode(parts: Parts, device: torch.device, pixels: Tensor, generator: list[torch.Generator] | None) -> Tensor:
    """The VAE goes to the device when it is first asked."""
    if next(parts.vae.parameters()).device != device:
        parts.vae.to(device)
    latents = parts.encode(pixels, generator).float()
    if not latents.isfinite().all():
        raise Failure(
            "The VAE gives no numbers for a picture: half precision is too narrow for it, as it is for SDXL's own.",
            "Set Mixed precision to bf16 or no; for SDXL, No half VAE will do.",
            "mixed_precision",
        )
    return latents
