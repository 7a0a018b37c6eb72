"""Training sizes that are no multiple of 8 and parts kept beyond 32: taken as far as sd-scripts takes them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from engine.check.check import check
from engine.data.dataset import Latents
from engine.data.dataset_config import read_dataset_config
from engine.data.items import places_of
from engine.data.kept import OnDisk
from engine.data.latent_files import Wanted
from engine.data.source import Source
from engine.data.training_set import training_set
from engine.models.conditioning import Reading
from engine.settings.training import TrainingSettings
from tests.models.loading import NO_SIZES, loaded


def can_start(settings: TrainingSettings, **changes: Any) -> bool:
    return "max_resolution" not in {problem.option for problem in check(settings.with_values(changes)).problems}


@pytest.mark.shows("max_resolution")
@pytest.mark.parametrize(
    ("size", "changes", "taken"),
    [
        ("512,650", {"enable_bucket": False}, True),
        ("511,509", {"enable_bucket": False}, True),
        ("1000", {"enable_bucket": False}, True),
        ("512,650", {"enable_bucket": True}, True),
        # 650 pixels are 81 latents, and a transformer is shown them two by two; 660 are 82, and 661 too.
        ("512,650", {"enable_bucket": False, "flux1_checkbox": True}, False),
        ("512,661", {"enable_bucket": False, "flux1_checkbox": True}, True),
        ("512,650", {"enable_bucket": False, "sd3_checkbox": True}, False),
        ("512,650", {"enable_bucket": True, "sd3_checkbox": True}, True),
    ],
)
def test_a_size_is_taken_for_which_there_are_whole_latents(
    settings: TrainingSettings, size: str, changes: dict[str, Any], taken: bool
):
    assert can_start(settings, max_resolution=size, **changes) == taken


@pytest.mark.parametrize("size", [(72, 90), (65, 127), (71, 64)])
def test_such_pictures_are_encoded_kept_and_learned_from(settings: TrainingSettings, size: tuple[int, int]):
    """The VAE halves three times and rounds down, so that sd-scripts expects ⌊side ÷ 8⌋ in its files too."""
    odd = settings.with_values({"max_resolution": f"{size[0]},{size[1]}", "enable_bucket": False})
    family, parts = loaded()
    items = training_set(odd).items
    sources = [
        Source.of(item.picture, place, item.subset.pictures)
        for item, place in zip(items, places_of(items), strict=True)
    ]
    assert {source.place.bucket for source in sources} == {size}
    kept = OnDisk(family.latent_format(parts), Wanted("vae"))
    latents = Latents(sources, lambda pixels, noise: parts.encode(pixels, noise).detach().float(), kept)
    latents.cache(latents.lacking(), 2, 7, lambda done, total: None)
    file = next(Path(odd.folders.train_data_dir).rglob("*.npz"))
    with np.load(file) as opened:
        assert opened["latents"].shape[1:] == (size[1] // 8, size[0] // 8)
    assert latents.lacking() == set()
    objective = family.objective(odd, parts)
    corrupted = objective.corrupt(torch.stack([kept.get(source, False)[0] for source in sources[:2]]))
    encoded = family.encode_text(parts, ["a", "b"], Reading())
    answer = family.predict(parts, corrupted.noisy, corrupted.timesteps, encoded, NO_SIZES.expand(2, 6))
    assert answer.shape == corrupted.noisy.shape
    assert objective.loss(answer, corrupted).isfinite().all()


@pytest.mark.shows("keep_tokens")
@pytest.mark.parametrize("kept", [33, 40, 225])
def test_any_number_of_parts_may_be_kept(settings: TrainingSettings, kept: int, tmp_path: Path):
    assert settings.with_values({"keep_tokens": kept}).captions.keep_tokens == kept
    config = tmp_path / "d.toml"
    config.write_text(
        f"[general]\nkeep_tokens = {kept}\n[[datasets]]\nresolution = 64\n[[datasets.subsets]]\n"
        f"image_dir = '{settings.folders.train_data_dir}/2_shapes'\n"
    )
    assert {item.subset.captions.keep_tokens for item in read_dataset_config(config, settings).items} == {kept}
