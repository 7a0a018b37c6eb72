"""The pictures of a run: found, examined, and encoded if that is done only once.

Prepare latents uses this too, so that a run finds its files as it would have made them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import torch
from accelerate import Accelerator
from torch import Tensor

from engine.check.problem import listed
from engine.data.buckets import Placed
from engine.data.dataset import Latents, Progress
from engine.data.examining import Examined, examined, told
from engine.data.items import Item, places_of, readable
from engine.data.kept import InMemory, Kept, OnDisk
from engine.data.latent_files import Wanted
from engine.data.masks import Masks
from engine.data.source import Source
from engine.data.training_set import described_by, training_set
from engine.failure import Failure, Stopped
from engine.models.family import Family
from engine.models.fingerprint import OF_THE_DECODER, fingerprint
from engine.models.parts import Parts
from engine.runs.report import Report
from engine.settings.training import TrainingSettings
from engine.training.hardware import of_first_process


@dataclass(frozen=True, kw_only=True)
class TrainingPictures:
    """Pictures; all lists use their indices.  held_out: further pictures, which nothing is learned from.

    found: the result for every picture, including those left out.
    """

    items: list[Item]
    places: list[Placed]
    latents: Latents
    found: dict[Path, Examined]
    held_out: TrainingPictures | None = None


def no_pictures() -> TrainingPictures:
    """Of a method that learns without."""
    return TrainingPictures(items=[], places=[], latents=Latents([], lambda pixels, _: pixels), found={})


def training_pictures(
    settings: TrainingSettings,
    family: Family,
    parts: Parts,
    *,
    seed: int,
    accelerator: Accelerator,
    report: Report,
    stop: Callable[[], bool],
) -> TrainingPictures:
    """Find the pictures, encode those to be cached, and report which are left out and which were repaired.

    The VAE only goes to the device if there is work for it.  stop: whether the user asks to stop.
    Raises Failure, Stopped.
    """
    described = training_set(settings)
    for note in described.notes:
        report.warn(note)
    kept = kept_latents(settings, family, parts)

    def progress(done: int, total: int) -> bool:
        report.stage("caching", done, total)
        return stop()

    items, held_out = described.items, described.held_out
    pictures = encoded_pictures(
        items,
        held_out,
        settings,
        parts,
        kept=kept,
        seed=seed,
        accelerator=accelerator,
        report=report,
        progress=progress,
    )
    # Each process checks while it encodes, and may see the request a little sooner than the others.
    if kept and of_first_process(stop()):
        raise Stopped
    for sentence in told(pictures.found, most=50):
        report.warn(sentence)
    if held_out and not pictures.held_out:
        report.warn("None of the held-out pictures can be read, so the validation loss is not measured.")
    return pictures


def encoded_pictures(
    items: list[Item],
    held_out: list[Item],
    settings: TrainingSettings,
    parts: Parts,
    *,
    kept: Kept | None,
    seed: int,
    accelerator: Accelerator,
    report: Report,
    progress: Progress,
) -> TrainingPictures:
    """The readable pictures, with every latent missing from `kept` encoded, unless progress() says to stop.

    Only the model's parts for pictures are used.  Raises Failure if no picture can be read.
    """
    # Caching decodes the pictures that it encodes and finds broken ones; without it that is done here.
    found = examined([item.picture for item in (*items, *held_out)], decode=kept is None)
    latents = Latents(_sources(items, found, settings), partial(_encode, parts, accelerator.device), kept)
    latents_held_out = latents.only(_held_out_sources(held_out, found))
    if kept:
        # Separately, so that the training pictures come out bit for bit as they would without the others.
        seeds = {latents: seed, latents_held_out: settings.validation.validation_seed}
        unreadable = _encode_all(
            seeds, kept, settings=settings, parts=parts, accelerator=accelerator, report=report, progress=progress
        )
        found |= {picture: Examined(left_out=why) for picture, why in unreadable.items()}
    sources = _sources(items, found, settings)
    places = [source.place for source in sources]
    learned = TrainingPictures(items=readable(items, found), places=places, latents=latents.only(sources), found=found)
    measured = _held_out_sources(held_out, found)
    if not measured:
        return learned
    places = [source.place for source in measured]
    return replace(
        learned,
        held_out=TrainingPictures(
            items=readable(held_out, found), places=places, latents=latents.only(measured), found=found
        ),
    )


def _encode_all(
    several: dict[Latents, int],
    kept: Kept,
    *,
    settings: TrainingSettings,
    parts: Parts,
    accelerator: Accelerator,
    report: Report,
    progress: Progress,
) -> dict[Path, str]:
    """Returns the pictures that cannot be read.  Processes share what goes to disk; in memory each needs all of it.

    several: with the seed of the VAE's draws.
    """
    size = settings.dataset.vae_batch_size or settings.optimizer.train_batch_size
    total = sum(len(latents) for latents in several)
    unreadable: dict[Path, str] = {}
    is_stopped = False

    def told(before: int, done: int, _: int) -> bool:
        nonlocal is_stopped
        is_stopped = bool(progress(before + done, total))
        return is_stopped

    def encode(rank: int = 0, processes: int = 1) -> None:
        lacking = [latents.lacking() for latents in several]
        if processes > 1:
            # One may have written files before another looks: they share one list, or some would be done twice.
            lacking = of_first_process(lacking)
        before = 0
        for (latents, seed), some in zip(several.items(), lacking, strict=True):
            if some and not is_stopped:
                unreadable.update(latents.cache(some, size, seed, partial(told, before), rank, processes))
            before += len(latents)

    if isinstance(kept, OnDisk) and accelerator.num_processes > 1:
        encode(accelerator.process_index, accelerator.num_processes)
        accelerator.wait_for_everyone()
    encode()  # of several processes: what another could not read; not repeated after a stop
    for module in parts.of_pictures():
        module.to("cpu")
    if isinstance(kept, OnDisk) and (anew := sorted(kept.files.without_numbers)):
        report.warn(
            f"The latents cached by another program for {listed(anew)} were NaN (not a number), and were encoded again."
        )
    if isinstance(kept, OnDisk) and kept.files.foreign:
        report.warn(
            f"The latents of {len(kept.files.foreign)} pictures come from another program's files, which do not say "
            "which VAE made them. Delete these files if it was a different one."
        )
    return unreadable


def kept_latents(settings: TrainingSettings, family: Family, parts: Parts, since: float | None = None) -> Kept | None:
    """Where the settings cache latents; None: nowhere.

    since: seconds since 1970; older files are written again.  Raises Failure.
    """
    dataset = settings.dataset
    if parts.extra_channels and parts.extra_channels.is_drawn and dataset.keeps_latents():
        raise Failure(
            "An inpainting model sees a different part of a picture at each step, so its latents cannot be cached.",
            "Turn off Cache latents and Cache latents to disk.",
            "cache_latents_to_disk" if dataset.cache_latents_to_disk else "cache_latents",
        )
    if dataset.cache_latents_to_disk:
        vae = fingerprint(parts.of_pictures(), without=OF_THE_DECODER)
        wanted = Wanted(vae, dataset.skip_cache_check, since)
        return OnDisk(family.latent_format(parts), wanted)
    return InMemory() if dataset.cache_latents else None


def _sources(items: list[Item], found: dict[Path, Examined], settings: TrainingSettings) -> list[Source]:
    """Sources of the readable items.  Raises Failure if there are none."""
    items = readable(items, found)
    if not items:
        raise Failure("None of the pictures can be read.", "Replace them.", described_by(settings))
    return _of(items)


def _held_out_sources(items: list[Item], found: dict[Path, Examined]) -> list[Source]:
    """Sources of the readable held-out items: each is always shown in the same way."""
    return [replace(source, flips=False, random_crop=False, color_aug=False) for source in _of(readable(items, found))]


def _of(items: list[Item]) -> list[Source]:
    folders = {item.subset.pictures.mask_dir for item in items}
    masks = {folder: Masks(Path(folder)) for folder in folders if folder}  # each of them lists its folder once
    return [
        Source.of(item.picture, place, item.subset.pictures, masks.get(item.subset.pictures.mask_dir))
        for item, place in zip(items, places_of(items), strict=True)
    ]


@torch.no_grad()
def _encode(parts: Parts, device: torch.device, pixels: Tensor, generator: list[torch.Generator] | None) -> Tensor:
    """Moves the VAE to the device on first use."""
    if next(parts.vae.parameters()).device != device:
        parts.vae.to(device)
    return parts.encode(pixels, generator).float()
