"""The patterns by which the checks know what is trained say what the families say of a loaded model."""

from __future__ import annotations

from pathlib import Path

import pytest

from engine.networks.begun_from import also_called
from engine.networks.dialects import Found, Place, flattened, place_named
from engine.networks.trained_names import families_of, trains
from engine.settings.training import TrainingSettings
from tests.models.loading import loaded
from tests.models.small import SETTINGS
from tests.models.small import pipeline as small


@pytest.mark.parametrize("name", ["sd1", *(name for name in SETTINGS if "-in" not in name and "-depth" not in name)])
def test_every_place_of_a_family_is_known_by_both_its_names(name: str, tmp_path: Path):
    changes = SETTINGS.get(name, {})
    if name == "sd1":
        family, parts = loaded()
    else:
        small(name).save_pretrained(tmp_path / "model")
        family, parts = loaded(tmp_path / "model", **changes)
    places = set()
    for target in family.lora_targets(parts):
        for attachment in target.attachments:
            place = place_named(attachment.name)
            others = attachment.paths if target.group == "unet" else ()
            places |= {place, *also_called(attachment), *(Place(place.part, flattened(other)) for other in others)}
    said = "sdxl-refiner" if name == "sdxl-refiner" else TrainingSettings().with_values(changes).family()
    assert [place for place in places if not trains(said, place)] == []
    # Others count the refiner's only text encoder as the second; no file has both names.
    of_a_file = {place: Found() for place in places if said != "sdxl-refiner" or place.part != "te2"}
    assert said in families_of(of_a_file)


@pytest.mark.parametrize(
    "path",
    ["time_embedding_linear_1", "conv_in", "down_blocks_0_resnets_0_conv1", "img_in", "double_blocks_0_img_attn_qkv_x",
     "final_layer_linear", "layers_0_attention_k_norm", "joint_blocks_0_x_block_attn_ln_q", "encoder_layers_0"],
)  # fmt: skip
def test_other_places_are_trained_by_none_that_does_not_have_them(path: str):
    others = [
        family for family in ("sd1", "sd2", "sdxl", "sd3", "flux", "chroma") if trains(family, Place("unet", path))
    ]
    assert others == []
