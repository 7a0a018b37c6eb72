"""What several options say of the same layers."""

from __future__ import annotations

from engine.models.flux import Flux
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
