"""Ranks, alphas and learning rates by block, by part of FLUX.1 and by pattern, at the models' full sizes."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any

import pytest

from engine.check.network import check_network
from engine.check.numbers import check_numbers
from engine.failure import Failure
from engine.models.flux import Flux
from engine.models.sd import StableDiffusion
from engine.models.sdxl import StableDiffusionXL
from engine.models.targets import STANDARD, Reach
from engine.networks.count import count
from engine.networks.made import reach_of, trained_layers
from engine.networks.shares import Share, Shares
from engine.settings.training import TrainingSettings
from tests.networks.test_lora import sd15_on_meta
from tests.networks.test_lora_families import flux_on_meta, sdxl_on_meta

SD = "lora_unet_"
DOWN, MID, UP = range(12), (12,), range(13, 25)


def settings_with(changes: Mapping[str, Any]) -> TrainingSettings:
    return TrainingSettings().with_values({"network_dim": 8, "network_alpha": 2, **changes})


@cache
def _parts(family: Any) -> Any:
    return {StableDiffusion: sd15_on_meta, StableDiffusionXL: sdxl_on_meta, Flux: flux_on_meta}[family]()


def shares(family: Any = StableDiffusion, reach: Reach | None = None, **changes: Any) -> dict[str, Share]:
    """By the layers' names."""
    settings = settings_with(changes)
    targets = family(settings).lora_targets(_parts(family), reach or reach_of(settings))
    return trained_layers(targets, Shares(settings))[1]


def sentence(**changes: Any) -> str:
    with pytest.raises(Failure) as failed:
        Shares(settings_with(changes))
    assert failed.value.option in changes
    return failed.value.what


def told(**changes: Any) -> list[tuple[str, str, bool]]:
    return [(one.option, one.what, one.blocking) for one in check_network(settings_with(changes))]


def numbers(count: int, by: int = 1) -> str:
    return ",".join(str(number * by) for number in range(count))


@pytest.mark.shows("block_dims", "block_alphas")
def test_each_block_of_sd15_has_the_rank_at_its_place_in_the_list():
    found = shares(block_dims=numbers(25), block_alphas=numbers(25, 2))
    ranks = {
        "down_blocks_0_attentions_0_proj_in": 1, "down_blocks_0_attentions_1_proj_in": 2,
        "down_blocks_1_attentions_0_proj_in": 4, "down_blocks_2_attentions_1_proj_in": 8,
        "mid_block_attentions_0_proj_in": 12, "up_blocks_1_attentions_0_proj_in": 16,
        "up_blocks_3_attentions_2_proj_in": 24,
    }  # fmt: skip
    assert {name: (found[SD + name].rank, found[SD + name].alpha) for name in ranks} == {
        name: (rank, 2 * rank) for name, rank in ranks.items()
    }
    assert found["lora_te_text_model_encoder_layers_0_mlp_fc1"] == Share(8, 2)
    assert len(found) == 264  # block 0 has no layer of a LoRA


def test_a_block_of_rank_0_is_left_out_and_one_list_alone_will_do():
    without_mid = ",".join("0" if number in MID else "4" for number in range(25))
    found = shares(block_dims=without_mid)
    assert len(found) == 264 - 12
    assert {share for name, share in found.items() if name.startswith(SD)} == {Share(4, 2)}
    assert shares(block_alphas=numbers(25))[SD + "mid_block_attentions_0_proj_in"] == Share(8, 12)


@pytest.mark.shows("conv_block_dims", "conv_block_alphas")
def test_convolutions_have_lists_of_their_own():
    def wide(**changes: Any) -> dict[str, Share]:
        found = shares(**changes)
        return {name: share for name, share in found.items() if name.endswith(("conv1", "samplers_0_conv"))}

    assert not wide(block_dims=numbers(25))
    found = wide(conv_block_dims=numbers(25), conv_block_alphas=numbers(25, 3))
    assert found[SD + "down_blocks_0_resnets_0_conv1"] == Share(1, 3)
    assert found[SD + "down_blocks_0_downsamplers_0_conv"] == Share(3, 9)
    assert found[SD + "up_blocks_2_upsamplers_0_conv"] == Share(21, 63)
    assert found[SD + "up_blocks_3_resnets_2_conv1"] == Share(24, 72)
    usual = wide(lora_type="Kohya LoCon", conv_dim=5, conv_alpha=3, block_dims=numbers(25))
    assert set(usual.values()) == {Share(5, 3)}


def test_sdxl_has_23_blocks_by_the_original_s_names():
    found = shares(StableDiffusionXL, sdxl=True, block_dims=numbers(23))
    names = {"input_blocks_4_1_proj_in": 5, "middle_block_1_proj_in": 11, "output_blocks_5_1_proj_in": 18}
    assert {name: found[SD + name].rank for name in names} == names


@pytest.mark.shows("down_lr_weight", "mid_lr_weight", "up_lr_weight")
def test_blocks_learn_at_shares_of_the_rate_by_lists_and_curves():
    found = shares(down_lr_weight="reverse_linear+.25", mid_lr_weight="0.5", up_lr_weight=numbers(12))
    rates = {
        "down_blocks_0_attentions_0_proj_in": 1.25 - 1 / 11, "down_blocks_2_attentions_1_proj_in": 1.25 - 8 / 11,
        "mid_block_attentions_0_proj_in": 0.5, "up_blocks_3_attentions_2_proj_in": 11,
    }  # fmt: skip
    assert {name: found[SD + name].rate for name in rates} == pytest.approx(rates)
    assert found["lora_te_text_model_encoder_layers_0_mlp_fc1"].rate == 1
    cosine = shares(down_lr_weight="cosine", up_lr_weight="sine")
    assert cosine[SD + "down_blocks_1_attentions_0_proj_in"].rate == pytest.approx(0.841254, abs=1e-6)  # sin(7π/22)
    assert cosine[SD + "up_blocks_2_attentions_0_proj_in"].rate == pytest.approx(0.755750, abs=1e-6)  # sin(3π/11)


@pytest.mark.shows("block_lr_zero_threshold")
def test_blocks_at_or_below_the_threshold_are_not_trained():
    assert len(shares(down_lr_weight="zeros")) == 264 - 72
    above = shares(up_lr_weight="linear", block_lr_zero_threshold="0.8")
    assert sorted({name.split("_attentions")[0] for name in above if "_up_" in name}) == [SD + "up_blocks_3"]


@pytest.mark.shows("img_attn_dim", "txt_attn_dim", "img_mlp_dim", "txt_mlp_dim", "img_mod_dim", "txt_mod_dim",
                   "single_dim", "single_mod_dim")  # fmt: skip
def test_each_part_of_flux_has_its_rank():
    parts = ("img_attn", "txt_attn", "img_mlp", "txt_mlp", "img_mod", "txt_mod", "single", "single_mod")
    found = shares(Flux, flux1_checkbox=True, **{f"{part}_dim": str(10 + n) for n, part in enumerate(parts)})
    double, single = SD + "double_blocks_3_", SD + "single_blocks_3_"
    names = [
        *(double + end for end in ("img_attn_qkv", "txt_attn_proj", "img_mlp_0", "txt_mlp_2", "img_mod_lin")),
        double + "txt_mod_lin", single + "linear1", single + "modulation_lin",
    ]  # fmt: skip
    assert [found[name].rank for name in names] == list(range(10, 18))
    assert found["lora_te1_text_model_encoder_layers_0_mlp_fc1"].rank == 8
    assert len(shares(Flux, flux1_checkbox=True, single_dim="0")) == len(found) - 2 * 38


@pytest.mark.shows("in_dims")
def test_flux_s_inputs_have_networks_where_they_have_ranks():
    found = shares(Flux, flux1_checkbox=True, in_dims="[3,4,5,0,6]")
    inputs = {name: share.rank for name, share in found.items() if "blocks" not in name and name.startswith(SD)}
    assert inputs == {
        SD + "img_in": 3, SD + "time_in_in_layer": 4, SD + "time_in_out_layer": 4, SD + "vector_in_in_layer": 5,
        SD + "vector_in_out_layer": 5, SD + "txt_in": 6,
    }  # fmt: skip


@pytest.mark.shows("train_double_block_indices", "train_single_block_indices", "split_mode")
def test_only_the_chosen_blocks_of_flux_are_trained():
    found = shares(Flux, flux1_checkbox=True, train_double_block_indices="0,2-4", train_single_block_indices="none")
    assert {name.split("_")[4] for name in found if "double" in name} == set("0234")
    assert not any("single" in name for name in found)
    assert not any("double" in name for name in shares(Flux, flux1_checkbox=True, split_mode=True))


def test_lists_of_blocks_work_for_transformers_too():
    found = shares(Flux, flux1_checkbox=True, block_dims=numbers(57))
    assert found[SD + "double_blocks_18_img_attn_qkv"].rank == 18
    assert found[SD + "single_blocks_37_linear2"].rank == 56


@pytest.mark.shows("exclude_patterns", "include_patterns")
def test_patterns_leave_layers_out_and_keep_some_of_them():
    without = shares(exclude_patterns="['.*mlp.*', 'ff_net']")
    assert not any("mlp" in name or "ff_net" in name for name in without)
    only = shares(exclude_patterns=".*", include_patterns="attn2_to_k, attn2_to_v")
    assert len(only) == 32
    assert all(name.endswith(("attn2_to_k", "attn2_to_v")) for name in only)


@pytest.mark.shows("network_reg_dims", "network_reg_lrs")
def test_patterns_give_ranks_and_rates():
    found = shares(network_reg_dims="attn1=16, ff_net=0", network_reg_lrs="attn2=3e-5,attn=7e-5, proj_in=0")
    assert found[SD + "mid_block_attentions_0_transformer_blocks_0_attn1_to_q"] == Share(16, 2, own_rate=7e-5)
    assert found[SD + "mid_block_attentions_0_transformer_blocks_0_attn2_to_q"] == Share(8, 2, own_rate=3e-5)
    assert not any("ff_net" in name or "proj_in" in name for name in found)
    assert Share(8, 2, own_rate=3e-5).learning_rate(1e-4) == 3e-5
    assert Share(8, 2, 0.5).learning_rate(1e-4) == 5e-5


def test_options_that_the_page_hides_do_nothing():
    assert shares(single_dim="0", train_double_block_indices="none", in_dims="nonsense") == shares(reach=STANDARD)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"block_dims": numbers(24)}, "Block dims has 24 numbers, but Stable Diffusion 1 has 25 (12 down, 1 "
         "mid, 12 up) "
         "blocks. Give one number for each, separated by commas, or clear it."),
        ({"block_dims": "1.5," * 24 + "1"}, 'Block dims has "1.5" in its list; whole numbers of 0 or more are '
         'expected.'),
        ({"block_alphas": "nan," * 24 + "1"}, 'Block alphas has "nan" in its list; numbers of 0 or more are expected.'),
        ({"down_lr_weight": "cosinus"}, 'Down LR weights is "cosinus", which is no list of numbers and none of cosine, '
         "sine, linear, reverse_linear, zeros. Choose one of these, with +NUMBER if you like, or give a list."),
        ({"down_lr_weight": "sine+x"}, 'Down LR weights has "x" in its list; numbers of 0 or more are expected.'),
        ({"block_lr_zero_threshold": "-1"}, 'Blocks LR zero threshold is "-1". Give a number of 0 or more, or '
         'clear it.'),
        ({"network_reg_dims": "attn:16"}, 'Ranks by layer has "attn:16". Write PATTERN=NUMBER, such as attn=16, '
         "separated by commas."),
        ({"exclude_patterns": "(attn"}, 'Layers to leave out has "(attn", which is no regular expression: missing ) '
         "at position 5."),
        ({"exclude_patterns": "[attn]x["}, "Layers to leave out begins like a list, but is none. Write it as "
         "['.*mlp.*', '.*attn.*']."),
    ],
)  # fmt: skip
def test_what_cannot_be_read_is_named_in_a_sentence(changes: dict[str, str], said: str):
    assert sentence(**changes) == said
    assert told(**changes)[0] == (next(iter(changes)), said, True)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"img_attn_dim": "many"}, 'img_attn_dim is "many". Give a rank, 0 to leave these layers untrained, or '
         'clear it.'),
        ({"in_dims": "4,4"}, 'in_dims is "4,4". Give five ranks separated by commas, for image, time, vector, guidance '
         "and text, or clear it."),
        ({"train_single_block_indices": "0,40"}, 'train_single_block_indices has "40", but the blocks are '
         'numbered from '
         "0 to 37."),
        ({"train_double_block_indices": "first"}, 'train_double_block_indices has "first". Give all, none, or numbers '
         "such as 0,1,5-8."),
        ({"down_lr_weight": "1,1"}, "Down LR weights cannot be used with FLUX.1, which is no UNet. Clear it."),
    ],
)  # fmt: skip
def test_so_is_what_flux_cannot_read(changes: dict[str, str], said: str):
    assert sentence(flux1_checkbox=True, **changes) == said


def test_a_list_of_weights_is_made_to_fit_as_sd_scripts_does_and_told():
    found = shares(down_lr_weight="0,0,0,0.5")
    assert found[SD + "down_blocks_1_attentions_1_proj_in"].rate == 1
    assert told(down_lr_weight="0,0,0,0.5") == [
        ("down_lr_weight", "Down LR weights has 4 numbers for the 12 down blocks of Stable Diffusion 1: the "
         "others keep "
         "the full learning rate.", False),
    ]  # fmt: skip
    assert not told(down_lr_weight="linear", mid_lr_weight="1", up_lr_weight="sine+.1")


@pytest.mark.parametrize(
    ("option", "changes"),
    [
        ("block_dims", {"block_dims": ",".join("0" * 25)}),
        ("down_lr_weight", {"down_lr_weight": "zeros", "mid_lr_weight": "0", "up_lr_weight": "zeros"}),
        ("train_double_block_indices", {"train_double_block_indices": "none", "train_single_block_indices": "none",
                                        "flux1_checkbox": True}),
    ],
)  # fmt: skip
def test_when_no_block_is_trained_that_is_said(option: str, changes: dict[str, Any]):
    for rate, blocking in ((0.0, True), (1e-4, False)):
        (found,) = told(text_encoder_lr=rate, **changes)
        assert (found[0], found[2]) == (option, blocking)
        assert "rank or a learning rate of 0" in found[1]


def test_a_rank_larger_than_any_matrix_and_a_factor_that_does_not_divide_are_said():
    assert told(network_dim=2000)[0][:2] == (
        "network_dim", "Network Rank 2000 is above the size of every matrix of Stable Diffusion 1, which have "
        "1280 rows "
        "or columns at most.")  # fmt: skip
    assert not told(network_dim=100000, lora_type="LyCORIS/LoKr")
    assert told(lora_type="LyCORIS/LoKr", lokr_factor=7) == [
        ("lokr_factor", "LoKr factor 7 does not divide 320, the width of layers of Stable Diffusion 1; there 5 "
         "is used.",
         False),
    ]  # fmt: skip


def test_a_pattern_that_would_take_years_is_refused_at_once():
    for option in ("exclude_patterns", "network_reg_dims"):
        hostile = r"(?:\w|\w\w|\w\w\w)+[!?]" + ("=4" if option == "network_reg_dims" else "")
        with pytest.raises(Failure) as failed:
            shares(**{option: hostile})
        assert failed.value.option == option
        assert "takes too long" in failed.value.what


@pytest.mark.parametrize("text", ["(" * 900 + ")" * 900, "a{99999999999999999999}", "x[z-a]"])
def test_patterns_that_no_expression_can_be_made_of_are_refused(text: str):
    assert "is no regular expression" in sentence(exclude_patterns=text)


def test_ranks_have_a_bound_and_commas_may_stand_in_braces():
    for rank in ("100001", "9" * 400, "-4"):
        assert "Write PATTERN=NUMBER" in sentence(network_reg_dims=f"attn={rank}")
    assert not any("attn1_to" in name for name in shares(exclude_patterns=r"attn[1,3]_to_\w{1,9}, nothing"))


def test_an_alpha_of_0_means_the_rank():
    assert shares(block_alphas=",".join("0" * 25))[SD + "mid_block_attentions_0_proj_in"] == Share(8, 8)


def test_kinds_without_a_rank_for_convolutions_train_them_with_the_rest():
    native = shares(lora_type="LyCORIS/Native Fine-Tuning", conv_dim=0)
    assert native[SD + "down_blocks_0_resnets_0_conv1"] == Share(8, 2)
    lists = {"lora_type": "LyCORIS/LoCon", "lycoris_preset": "full-lin", "conv_block_dims": numbers(25)}
    assert not any(name.endswith("conv1") for name in shares(**lists))


def test_optimizers_with_one_rate_take_no_rates_of_layers():
    for option, value in (("down_lr_weight", "cosine"), ("network_reg_lrs", "attn=1e-4")):
        given = {"optimizer": "Prodigy", "text_encoder_lr": 1, "unet_lr": 1, option: value}
        settings = TrainingSettings().with_values(given)
        assert [one.option for one in check_numbers(settings) if one.blocking] == [option]


def test_a_dylora_s_ranks_by_block_are_its_unit_s_multiples():
    settings = settings_with({"lora_type": "Kohya DyLoRA", "dylora_unit": 4, "block_dims": "2," * 24 + "2"})
    with pytest.raises(Failure, match="groups of 4, and a layer's rank of 2"):
        count(settings, StableDiffusion(settings).lora_targets(_parts(StableDiffusion)))
