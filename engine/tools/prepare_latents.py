"""Buckets and latents prepared before training, as sd-scripts' finetune/prepare_buckets_latents.py.

The latents are those that a run keeps with Cache latents to disk, made by the same code; a run with the same model,
precision and sizes begins at once.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from pydantic import Field

from engine.check.model import check_model, switches_of
from engine.check.numbers import check_sizes
from engine.data.buckets import Placed
from engine.failure import Failure
from engine.models.recognise import Found, NoModel, recognise
from engine.runs.folder import RunFolder
from engine.runs.report import Report
from engine.settings.dataset import Dataset
from engine.settings.hardware import Hardware
from engine.settings.option import Group, like, option
from engine.settings.sdxl import Sdxl
from engine.settings.source_model import SourceModel
from engine.settings.training import TrainingSettings
from engine.settings.values import JobSettings
from engine.tools import metadata_file
from engine.tools.folder_work import Outcome, counted
from engine.tools.metadata_merge import Merging
from engine.tools.pictures import PictureFolder, pictures_of

MODEL, SIZES, METADATA = "Model", "Sizes", "Metadata"

MODEL_OPTION = "pretrained_model_name_or_path"


class Pictures(PictureFolder):
    train_data_dir: str = like(
        PictureFolder,
        "train_data_dir",
        label="Image folder",
        help="The folder with the pictures. The latents are written next to them.",
    )


class Encoding(Group):
    pretrained_model_name_or_path: str = like(
        SourceModel,
        MODEL_OPTION,
        section=MODEL,
        help="The model you will train. Only its VAE is loaded.",
    )
    vae: str = like(SourceModel, "vae", section=MODEL, label="VAE (Optional: Path to checkpoint of vae)")
    mixed_precision: Literal["no", "fp16", "bf16"] = like(
        Hardware, "mixed_precision", section=MODEL, not_yet={}, help="The same as you will train with."
    )
    sdxl_no_half_vae: bool = like(Sdxl, "sdxl_no_half_vae", section=MODEL, applies_when=None)
    batch_size: int = option(
        1, ge=1, le=32, label="Batch size", section=MODEL, help="How many pictures to encode at once."
    )
    skip_existing: bool = option(
        True,
        label="Skip existing",
        section=MODEL,
        help="Keep latents that were made from the same picture with the same VAE at the same size. Off: encode every "
        "picture again.",
    )


class Sizes(Group):
    max_resolution: str = like(Dataset, "max_resolution", section=SIZES)
    enable_bucket: bool = like(Dataset, "enable_bucket", section=SIZES)
    min_bucket_reso: int = like(Dataset, "min_bucket_reso", section=SIZES)
    max_bucket_reso: int = like(Dataset, "max_bucket_reso", section=SIZES)
    bucket_reso_steps: int = like(Dataset, "bucket_reso_steps", section=SIZES)
    bucket_no_upscale: bool = like(Dataset, "bucket_no_upscale", section=SIZES)
    flip_aug: bool = like(
        Dataset, "flip_aug", section=SIZES, help="Also encode every picture mirrored, for training with this option."
    )
    masked_loss: bool = like(
        Dataset, "masked_loss", section=SIZES, help="Save the masks with the latents, for training with this option."
    )
    mask_dir: str = like(Dataset, "mask_dir", section=SIZES)


class Listing(Group):
    in_json: str = like(
        Merging,
        "in_json",
        help="A metadata file whose captions and tags are kept. Leave empty to start from the file to write, if it "
        "exists.",
    )
    out_json: str = option(
        "",
        label="Metadata file to write",
        section=METADATA,
        widget="file",
        help="The JSON file for fine-tuning that records each picture's training size. Leave empty for none. An "
        "existing file is kept as a .bak file.",
    )
    full_path: bool = like(Merging, "full_path")


class Settings(JobSettings):
    pictures: Pictures = Field(default_factory=Pictures)
    encoding: Encoding = Field(default_factory=Encoding)
    sizes: Sizes = Field(default_factory=Sizes)
    listing: Listing = Field(default_factory=Listing)

    def to_train_on(self) -> dict[str, str]:
        return {"train_data_dir": self.pictures.train_data_dir, "in_json": self.listing.out_json}

    def title(self) -> str:
        return f"latents-{Path(self.pictures.train_data_dir).name}"

    def failures(self) -> Iterator[Failure]:
        listing = self.listing
        if self.pictures.recursive and listing.out_json and not listing.full_path:
            yield Failure(
                "Pictures in different folders may have the same name.", "Also turn on Use full path.", "full_path"
            )
        if listing.in_json and not listing.out_json:
            yield Failure("Metadata file to write is empty.", "Fill it in, or clear the other one.", "out_json")
        if listing.in_json and not Path(listing.in_json).is_file():
            yield Failure(f"There is no file {listing.in_json}.", "Correct the path.", "in_json")
        if self.sizes.masked_loss and self.sizes.mask_dir and not Path(self.sizes.mask_dir).is_dir():
            yield Failure(f'There is no folder "{self.sizes.mask_dir}".', "Correct the path.", "mask_dir")
        yield from self.pictures.failures()
        yield from self.model_failures(self.model_found())

    def model_failures(self, found: Found | None) -> Iterator[Failure]:
        """What of the model, and of the sizes for it, stands in the way.  found: what the model is."""
        training = self.as_training(found)
        for problem in (*check_model(training, found), *check_sizes([], training)):
            if problem.blocking:
                yield Failure(problem.what, problem.mend, problem.option)
        if found and found.channels != 4:
            yield Failure(
                f"This is {found.title}: training it needs more from each picture than its latents.",
                "Choose a standard model, or let the training run encode the pictures.",
                MODEL_OPTION,
            )
        if found and found.kind == "denoiser" and not self.encoding.vae:
            yield Failure("This file contains no VAE.", "Also choose a VAE file.", "vae")

    def model_found(self) -> Found | None:
        """What the model is; None where only its lists on the hub, or torch, can tell."""
        try:
            return recognise(self.encoding.pretrained_model_name_or_path)
        except NoModel:
            return None  # check_model() has the sentence

    def as_training(self, found: Found | None) -> TrainingSettings:
        """A run's settings that say the same, set for what the model was found to be."""
        theirs = TrainingSettings()
        shared = {key: value for key, value in self.values().items() if key in theirs.values()}
        kept = {"cache_latents_to_disk": True, "vae_batch_size": self.encoding.batch_size}
        return theirs.with_values(shared | kept | (switches_of(found) if found else {}))


def work(settings: Settings, run: RunFolder, report: Report) -> Outcome:
    """Encode what lacks its latents, then write the metadata.  A run that goes on encodes nothing twice."""
    from engine.data.examining import told
    from engine.data.items import Item, Subset
    from engine.data.kept import OnDisk
    from engine.models.families import family_of, found_out
    from engine.models.vae_alone import vae_alone
    from engine.training.hardware import make_accelerator, weight_dtype
    from engine.training.training_pictures import encoded_pictures, kept_latents

    report.stage("looking", detail=settings.pictures.train_data_dir)
    listing = settings.listing
    begun = Path(listing.in_json or listing.out_json)
    known = bool(listing.in_json) or (bool(listing.out_json) and begun.exists())
    metadata = metadata_file.read(begun, "in_json") if known else {}
    pictures_there = pictures_of(settings.pictures, report.left_out)

    encoding = settings.encoding
    report.stage("loading", detail=encoding.vae or encoding.pretrained_model_name_or_path)
    found = found_out(encoding.pretrained_model_name_or_path)
    for failure in settings.model_failures(found):
        raise failure
    training = settings.as_training(found)
    subset = Subset.of(training)
    items = [Item(picture, "", 1, subset=subset) for picture in pictures_there]
    machine = settings.machine().model_copy(update={"mixed_precision": encoding.mixed_precision})
    accelerator, warnings = make_accelerator(machine)
    for warning in warnings:
        report.warn(warning)
    parts = vae_alone(training, training.family(), weight_dtype(accelerator.mixed_precision))
    since = None if encoding.skip_existing else _beginning(run)
    kept = kept_latents(training, family_of(training), parts, since)
    assert isinstance(kept, OnDisk)

    report.stage("working")
    control, stopped = run.control(), False

    def progress(done: int, total: int) -> bool:
        nonlocal stopped
        report.progress(done, total)
        stopped = "stop" in control.take()
        return stopped

    pictures = encoded_pictures(
        items,
        [],
        training,
        parts,
        kept=kept,
        seed=0,
        accelerator=accelerator,
        report=report,
        progress=progress,
    )
    for picture, examined in pictures.found.items():
        if examined.left_out:
            report.left_out(picture, examined.left_out)
    if stopped:
        report.result(f"Latents of {counted(kept.written, 'picture')} written.")
        return "stopped", kept.written
    for sentence in told({picture: found for picture, found in pictures.found.items() if not found.left_out}):
        report.warn(sentence)
    said = f"Latents of {counted(kept.written, 'picture')} written"
    if ready := len(pictures.items) - kept.written:
        said += f", {ready} already existed"
    if listing.out_json:
        for item, place in zip(pictures.items, pictures.places, strict=True):
            name = str(item.picture) if listing.full_path else item.picture.stem
            metadata.setdefault(name, {})["train_resolution"] = [side - side % kept.stride for side in place.bucket]
        metadata_file.write(Path(listing.out_json), metadata, "out_json")
        said += f"; {listing.out_json} has {counted(len(metadata), 'entry', 'entries')}"
    report.result(f"{said}.")
    report.result("Buckets:", buckets_told(pictures.places))
    return "done", kept.written


def buckets_told(places: list[Placed]) -> list[str]:
    """How many pictures each bucket has, and how much their shape is off the bucket's: sd-scripts' figures."""
    counts = Counter(place.bucket for place in places)
    lines = [f"{width}×{height}: {counted(counts[width, height], 'picture')}" for width, height in sorted(counts)]
    errors = [abs(p.bucket[0] / p.bucket[1] - p.resized[0] / p.resized[1]) for p in places]
    return [*lines, f"Mean error of the aspect ratio: {sum(errors) / len(errors):.4f}"]


def _beginning(run: RunFolder) -> float:
    """When the run first began, in seconds since 1970: what is older, it has not written."""
    if not run.done_file.exists():
        run.done_file.touch()
    return run.done_file.stat().st_mtime
