"""What several options say of the same layers."""

from __future__ import annotations

from typing import Any

import pytest

from engine.models.flux import Flux
from engine.models.sd import StableDiffusion
from engine.networks.shares import Share
from tests.networks.test_shares import SD, numbers, shares, told


def test_alphas_of_flux_s_blocks_go_with_ranks_of_its_parts():
    given = {"flux1_checkbox": True, "img_attn_dim": "4", "single_dim": "16"}
    found = shares(Flux, block_alphas=numbers(57, 2), **given)
    double, single = SD + "double_blocks_3_", SD + "single_blocks_3_"
    assert found[double + "img_attn_qkv"] == Share(4, 6)
    assert found[double + "txt_attn_qkv"] == Share(8, 6)
    assert found[single + "linear1"] == Share(16, 44)
    assert found[SD + "double_blocks_0_img_attn_qkv"] == Share(4, 4)  # an alpha of 0 means the rank


def test_ranks_of_blocks_and_of_flux_s_parts_are_not_both_possible():
    given = {"flux1_checkbox": True, "block_dims": numbers(57), "txt_mlp_dim": "4"}
    said = "txt_mlp_dim is 4, but Block dims gives every layer of a block the same rank."
    assert told(**given) == [("txt_mlp_dim", said, True)]
    assert not told(**given | {"block_dims": ""})
    assert shares(block_dims=numbers(25), txt_mlp_dim="4")  # which is of no meaning in other families


NO_BLOCK = {"train_double_block_indices": "none", "train_single_block_indices": "none", "flux1_checkbox": True}
NO_RATE = {"down_lr_weight": "zeros", "mid_lr_weight": "0", "up_lr_weight": "zeros"}


@pytest.mark.parametrize(
    ("family", "without", "trained"),
    [
        (StableDiffusion, NO_RATE, {"network_reg_lrs": "attn1=1e-5"}),
        (StableDiffusion, {"block_dims": numbers(25, 0)}, {"network_reg_dims": "attn1=4"}),
        (Flux, NO_BLOCK, {"network_reg_dims": "img_attn=4"}),
        (Flux, NO_BLOCK, {"in_dims": "4,4,4,4,4"}),
        (Flux, {"block_dims": numbers(57, 0), "flux1_checkbox": True}, {"in_dims": "0,0,0,0,4"}),
    ],
)
def test_what_trains_some_layers_although_no_block_has_both_is_no_obstacle(
    family: Any, without: dict[str, Any], trained: dict[str, str]
):
    rates = {"unet_lr": 1e-4, "text_encoder_lr": 0}
    assert any(name.startswith(SD) for name in shares(family, **rates, **without, **trained))
    assert [blocking for _, _, blocking in told(**rates, **without)] == [True]
    assert told(**rates, **without, **trained) == []
    of_nothing = {option: text.replace("4", "0").replace("1e-5", "0") for option, text in trained.items()}
    assert [blocking for _, _, blocking in told(**rates, **without, **of_nothing)] == [True]
