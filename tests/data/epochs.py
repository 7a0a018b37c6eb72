"""What one process of several is shown in an epoch: run with a folder and the number of processes, it starts them.

All is read as a run reads it; only the VAE is a stand-in, whose latents are the pictures' mean colours.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from PIL import Image
from torch import Tensor, nn

from engine.data.ahead import Ahead
from engine.data.batches import Batches, MicroBatch
from engine.data.caption_files import CaptionFormat
from engine.data.latent_files import LatentFormat
from engine.data.steps import plan_of
from engine.failure import Stopped
from engine.models.conditioning import Conditioning, Reading
from engine.models.parts import Parts
from engine.settings.hardware import Hardware
from engine.settings.training import TrainingSettings
from engine.training.caption_encoder import CaptionEncoder
from engine.training.caption_progress import CaptionProgress
from engine.training.conditioning import CaptionConditioning
from engine.training.hardware import make_accelerator
from engine.training.kept_captions import kept_captions
from engine.training.report import Report
from engine.training.training_pictures import training_pictures

SIZES = ((64, 64), (128, 64), (64, 128), (192, 64), (64, 192))
CONCEPTS = {"3_cat": 7, "1_dog": 5, "2_owl": 11}
"""Pictures of each; every number is odd, and so is what each bucket gets."""

COLOUR_STEP = 10


def draw(folder: Path) -> dict[int, int]:
    """A folder of pictures of several sizes; how often an epoch shall show each, by its colour's number."""
    wanted, number = {}, 0
    for name, count in CONCEPTS.items():
        (folder / name).mkdir(parents=True)
        for place in range(count):
            size = SIZES[(place * place + number) % len(SIZES)]
            Image.new("RGB", size, (number * COLOUR_STEP, 0, 0)).save(folder / name / f"{place}.png")
            wanted[number] = int(name[0])
            number += 1
    return wanted


def settings_of(folder: Path, processes: int, **changes: Any) -> TrainingSettings:
    values = {
        "train_data_dir": str(folder), "max_resolution": "128,128", "train_batch_size": 2, "epoch": 3,
        "gradient_accumulation_steps": 3, "num_processes": processes, "mixed_precision": "no",
        "bucket_no_upscale": True, **changes,
    }  # fmt: skip
    return TrainingSettings().with_values(values)


class MeanColours(nn.Module):
    """A VAE's stand-in.  asked: how many pictures it encoded."""

    device, dtype = torch.device("cpu"), torch.float32
    config = SimpleNamespace(scaling_factor=1.0, shift_factor=0.0)

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(1))
        self.asked = 0

    def encode(self, pixels: Tensor) -> Any:
        self.asked += len(pixels)
        latents = nn.functional.avg_pool2d(pixels, 8)
        return SimpleNamespace(latent_dist=SimpleNamespace(sample=lambda generator: latents))


def one_process(folder: Path, processes: int, epoch: int, **changes: Any) -> dict[str, Any]:
    """What this process is shown in an epoch: {"steps": by step its batches that count, each the numbers of the
    pictures that their latents show, "asked": pictures that it encoded}.
    """
    settings = settings_of(folder, processes, **changes)
    accelerator, _ = make_accelerator(Hardware(num_cpu_threads_per_process=1))
    assert accelerator.num_processes == processes
    vae: Any = MeanColours()
    family: Any = SimpleNamespace(latent_format=lambda parts: LatentFormat("_sd.npz", by_size=False))
    parts = Parts(nn.Module(), vae, [], [])
    found = training_pictures(
        settings, family, parts, seed=7, accelerator=accelerator, report=Report(None), stop=lambda: False
    )
    batches = Batches(
        [item.repeats for item in found.items],
        [item.subset.batch_size for item in found.items],
        settings.optimizer.gradient_accumulation_steps,
        7,
        accelerator.num_processes,
        accelerator.process_index,
        [item.bucket(place) for item, place in zip(found.items, found.places, strict=True)],
    )
    assert batches.steps_per_epoch == plan_of(found.items, settings, found.places).steps_per_epoch
    steps = range(epoch * batches.steps_per_epoch, (epoch + 1) * batches.steps_per_epoch)
    ahead = Ahead(found.latents.read, (batch for step in steps for batch in batches.at(step)))
    seen: list[list[list[int]]] = []
    for step in steps:
        seen.append([])
        for batch in batches.at(step):
            latents = found.latents.shown(ahead.take()).latents
            if batch.weight:
                red = (latents[:, 0].mean((1, 2)) + 1) * 127.5 / COLOUR_STEP
                seen[-1].append([round(number) for number in red.tolist()])
    ahead.close()
    return {"steps": seen, "asked": vae.asked}


class CaptionLengths:
    """A family's stand-in, which says of a caption how long it is.  asked: how many it encoded."""

    name = "a stand-in"

    def __init__(self) -> None:
        self.asked = 0

    def caption_format(self, parts: Parts) -> CaptionFormat:
        return CaptionFormat("_te.npz", frozenset({"length"}))

    def encode_text(self, parts: Parts, captions: list[str], reading: Reading) -> Conditioning:
        self.asked += len(captions)
        return {"length": torch.tensor([[float(len(caption))] for caption in captions])}

    def caption_to_file(self, parts: Parts, caption: str, encoded: Conditioning) -> dict[str, Any]:
        return {name: tensor.numpy() for name, tensor in encoded.items()}

    def caption_from_file(self, arrays: Conditioning) -> Conditioning:
        return arrays


def captions_of_one_process(
    folder: Path, processes: int, longer: int = 0, stop: Callable[[], bool] = lambda: False
) -> dict[str, Any]:
    """Find what every picture's caption says, where it is kept in files: {"asked": captions that this process encoded,
    "different": how many there are}; of one that is stopped {"stopped": how many it encoded before}.

    One in three is another picture's too; the last two pictures share a file's name.
    longer: letters more in each caption, so that files of other runs do not do.
    """
    settings = settings_of(folder, processes, flux1_checkbox=True, flux1_cache_text_encoder_outputs_to_disk=True)
    accelerator, _ = make_accelerator(Hardware(num_cpu_threads_per_process=1))
    pictures = sorted(folder.glob("2_owl/*.png"))
    pictures.append(pictures[-1].with_suffix(".webp"))
    captions = ["x" * (longer + number // 3 * 3 + (number % 3 == 2)) for number in range(len(pictures))]
    family: Any = CaptionLengths()
    parts, variations = Parts(nn.Module(), nn.Module(), [], []), [settings.captions] * len(pictures)
    encoder = CaptionEncoder(family, parts, Reading())
    kept = kept_captions(
        encoder, settings, pictures=pictures, captions=captions, variations=variations, warn=print,
        accelerator=accelerator,
    )  # fmt: skip
    progress, device = CaptionProgress(stop=stop), torch.device("cpu")
    try:
        told = CaptionConditioning(encoder, captions, variations, steps=9, device=device, kept=kept, progress=progress)
    except Stopped:
        return {"stopped": family.asked}
    lengths = told.of(MicroBatch(tuple(range(len(pictures))), 1.0, 7, 1, 0))["length"].flatten().tolist()
    assert lengths == [len(caption) for caption in captions]
    return {"asked": family.asked, "different": len(set(captions))}


def beside_each_other(folder: Path, processes: int) -> None:
    """Real processes that find one another as accelerate's do; each writes what it was shown into the folder."""
    children = []
    for rank in range(processes):
        if child := os.fork():
            children.append(child)
            continue
        place = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": processes, "MASTER_ADDR": "127.0.0.1"}
        os.environ |= {name: str(value) for name, value in place.items()}
        shown = {
            kind: one_process(
                folder, processes, 1, cache_latents=kind == "memory", cache_latents_to_disk=kind == "disk"
            )
            for kind in ("memory", "disk")
        }
        looks = iter([rank > 0])  # the first process sees the wish later than the others
        stop = partial(next, looks, True)
        shown["stopped captions"] = captions_of_one_process(folder, processes, longer=1, stop=stop)
        shown["captions"] = captions_of_one_process(folder, processes)
        shown["captions again"] = captions_of_one_process(folder, processes)
        (folder / f"shown-{rank}.json").write_text(json.dumps(shown))
        os._exit(0)
    assert not any(os.waitpid(child, 0)[1] for child in children)


if __name__ == "__main__":
    torch.set_num_threads(1)
    beside_each_other(Path(sys.argv[1]), int(sys.argv[2]))
