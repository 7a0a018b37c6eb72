"""A whole run on pictures of every kind: what is left out, kept on disk, masked and read ahead."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from engine.runs.events import EventReader, Stage
from engine.runs.history import History


def stages(history: History) -> set[str]:
    return {event.name for event in EventReader(history.run.events_file).read() if isinstance(event, Stage)}


def test_a_second_run_begins_with_the_files_of_the_first(trained, tmp_path: Path):
    """And pictures that cannot be read are left out and named, also one whose file seems whole."""
    folder = tmp_path / "img" / "2_shapes"
    (folder / "cut.png").write_bytes((folder / "00.png").read_bytes()[:-60])
    sound = (folder / "01.png").read_bytes()
    middle = len(sound) // 2
    (folder / "garbled.png").write_bytes(sound[:middle] + b"garbled" * 9 + sound[middle + 63 :])
    Image.new("RGB", (64, 64)).save(folder / "jpeg.png", format="JPEG")
    first = trained(output_name="first", cache_latents_to_disk=True, max_train_steps=2)
    for broken in ("cut", "garbled"):
        (folder / f"{broken}.png").unlink()
    second = trained(output_name="second", cache_latents_to_disk=True, max_train_steps=2)
    assert len(list(folder.glob("*_sd.npz"))) == 6
    assert "caching" in stages(first)
    assert "caching" not in stages(second)
    assert [step.loss for step in second.steps] == [step.loss for step in first.steps]
    assert first.planned.steps_per_epoch == 12
    out, mended = first.warnings
    assert '"2_shapes/cut.png"' in out
    assert '"2_shapes/garbled.png"' in out
    assert '"2_shapes/jpeg.png" (actually a JPEG file' in mended
    assert second.warnings == [mended]
    assert all(0 <= step.waiting <= 1 for step in second.steps if step.waiting is not None)


def test_the_loss_counts_what_the_mask_leaves(trained, tmp_path: Path):
    for picture in (tmp_path / "img" / "2_shapes").glob("*.png"):
        image = Image.open(picture).convert("RGBA")
        image.putalpha(0)
        image.save(picture)
    history = trained(masked_loss=True, max_train_steps=2)
    assert [step.loss for step in history.steps] == pytest.approx([0, 0])
    assert np.isfinite([step.smoothed_loss for step in history.steps]).all()
