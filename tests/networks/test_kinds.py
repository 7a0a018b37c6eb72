"""Every kind of network, by its formula, in another program, and through a state."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from engine.models.conditioning import Reading
from engine.models.family import Family
from engine.models.parts import Parts
from engine.models.targets import Target
from engine.networks.dropout import Dropouts, RowsLeftOut
from engine.networks.kind import Kind
from engine.networks.kinds import kinds
from engine.networks.kinds.ia3 import IA3
from engine.networks.kohya_format import save_lora
from engine.networks.made import PRESETS, kind_of, network_of, reach_of, trained_layers
from engine.networks.network import Network
from engine.networks.shares import Shares
from engine.networks.weight_network import ChangedLayer, WeightNetwork
from engine.settings.lycoris import PRESETS as NAMES
from engine.settings.network import ACTING, OTHER_NAMES, WITH_FROZEN_DOWN, WITHOUT_FAST, WITHOUT_NORM
from engine.settings.training import TrainingSettings
from engine.training.lora_method import LoraMethod
from tests.models.loading import loaded
from tests.models.small import pipeline as small
from tests.networks.formulas import by_place, change

WIDE = {"network_dim": 48, "conv_dim": 48}

VARIANTS: dict[str, dict[str, Any]] = {
    "Kohya LoHa": {"lora_type": "Kohya LoHa"},
    "Kohya LoKr": {"lora_type": "Kohya LoKr"},
    "LoCon": {"lora_type": "LyCORIS/LoCon"},
    "LoCon, Tucker": {"lora_type": "LyCORIS/LoCon", "use_tucker": True},
    "LoCon, DoRA": {"lora_type": "LyCORIS/LoCon", "dora_wd": True},
    "LoCon, DoRA on input": {"lora_type": "LyCORIS/LoCon", "dora_wd": True, "wd_on_output": False},
    "LoCon, scalar": {"lora_type": "LyCORIS/LoCon", "use_scalar": True},
    "LoHa, scalar": {"lora_type": "LyCORIS/LoHa", "use_scalar": True},
    "LoKr, scalar, DoRA": {"lora_type": "LyCORIS/LoKr", "use_scalar": True, "dora_wd": True},
    "GLoRA, scalar": {"lora_type": "LyCORIS/GLoRA", "use_scalar": True},
    "LoCon, norms": {"lora_type": "LyCORIS/LoCon", "train_norm": True},
    "LoHa": {"lora_type": "LyCORIS/LoHa"},
    "LoHa, CP": {"lora_type": "LyCORIS/LoHa", "use_cp": True},
    "LoHa, DoRA": {"lora_type": "LyCORIS/LoHa", "dora_wd": True},
    "LoKr": {"lora_type": "LyCORIS/LoKr", "network_dim": 1, "conv_dim": 1},
    "LoKr, factor 4, both": {"lora_type": "LyCORIS/LoKr", "lokr_factor": 4, "decompose_both": True, "network_dim": 1},
    "LoKr, Tucker": {"lora_type": "LyCORIS/LoKr", "use_tucker": True, "conv_dim": 1},
    "LoKr, whole": {"lora_type": "LyCORIS/LoKr", "network_dim": 100_000, "conv_dim": 100_000},
    "LoKr, full, unbalanced": {"lora_type": "LyCORIS/LoKr", "full_matrix": True, "unbalanced_factorization": True},
    "LoKr, DoRA on input": {"lora_type": "LyCORIS/LoKr", "dora_wd": True, "wd_on_output": False},
    "LoKr, DoRA": {"lora_type": "LyCORIS/LoKr", "dora_wd": True},
    "DyLoRA": {"lora_type": "LyCORIS/DyLoRA", "dylora_unit": 2},
    "Kohya DyLoRA": {"lora_type": "Kohya DyLoRA", "dylora_unit": 2},
    "(IA)3": {"lora_type": "LyCORIS/iA3"},
    "(IA)3, on output": {"lora_type": "LyCORIS/iA3", "train_on_input": False},
    "(IA)3, of its preset": {"lora_type": "LyCORIS/iA3", "train_on_input": False, "lycoris_preset": "ia3"},
    "Diag-OFT": {"lora_type": "LyCORIS/Diag-OFT"},
    "Diag-OFT, constrained": {"lora_type": "LyCORIS/Diag-OFT", "oft_constrain": 0.01, "oft_rescaled": True},
    "BOFT": {"lora_type": "LyCORIS/BOFT", **WIDE},
    "BOFT, rescaled": {"lora_type": "LyCORIS/BOFT", "oft_rescaled": True, **WIDE},
    "GLoRA": {"lora_type": "LyCORIS/GLoRA"},
    "T-LoRA": {"lora_type": "T-LoRA", "tlora_least_rank": 2},
    "Native": {"lora_type": "LyCORIS/Native Fine-Tuning"},
}

FLUXS: dict[str, dict[str, Any]] = {
    "Flux1 OFT": {"lora_type": "Flux1 OFT", "flux1_checkbox": True},
    "Flux1 OFT, constrained, everywhere": {
        "lora_type": "Flux1 OFT", "flux1_checkbox": True, "network_alpha": 0.001, "enable_all_linear": True,
    },
}  # fmt: skip
"""For FLUX.1 alone."""

USUAL = {"network_dim": 4, "network_alpha": 2, "conv_dim": 2, "conv_alpha": 3}


def settings_for(variant: str) -> TrainingSettings:
    return TrainingSettings().with_values(USUAL | (VARIANTS | FLUXS)[variant])


def made(settings: TrainingSettings, kind: Kind, targets: list[Target]) -> Network:
    trained, shares = trained_layers(targets, Shares(settings))
    return network_of(settings, kind, trained, shares, torch.float32)


def attached(variant: str, family: Family, parts: Parts, by: float = 0.1) -> tuple[WeightNetwork, list[Target]]:
    """A network that has learned something, and what it is on.  by: how far its numbers have moved, about."""
    settings = settings_for(variant)
    kind = kind_of(settings)
    assert kind is not None
    targets = family.lora_targets(parts, reach_of(settings))
    network = made(settings, kind, targets)
    assert isinstance(network, WeightNetwork)
    torch.manual_seed(3)
    with torch.no_grad():
        for group in ("unet", "text_encoder"):
            for parameter in network.parameters(group):
                parameter.add_(torch.randn_like(parameter) * by)
    return network, targets


@torch.no_grad()
def merge(weights: Mapping[str, Tensor], targets: list[Target]) -> None:
    """Into models without a network, by the formulas."""
    places = by_place(weights)
    for target in targets:
        for attachment in target.attachments:
            held = places.pop(attachment.name, None) or places.pop(attachment.name.replace("lora", "oft", 1), None)
            if held is None:
                continue
            layers: list[Any] = [target.module.get_submodule(path) for path in attachment.paths]
            if "w_norm" in held:
                layers[0].weight.add_(held["w_norm"])
                if "b_norm" in held:
                    layers[0].bias.add_(held["b_norm"])
                continue
            turned = turn if attachment.swapped else lambda weight: weight
            if "diff_b" in held:
                biases = turned(torch.cat([layer.bias for layer in layers])) + held["diff_b"]
                for layer, rows in zip(layers, turned(biases).split([len(one.bias) for one in layers]), strict=True):
                    layer.bias.copy_(rows)
            weight = turned(torch.cat([layer.weight for layer in layers]))
            merged = turned((weight + change(held, weight)).float())
            for layer, rows in zip(layers, merged.split([len(layer.weight) for layer in layers]), strict=True):
                layer.weight.copy_(rows)
    assert not places


def turn(weight: Tensor) -> Tensor:
    return torch.cat(weight.chunk(2)[::-1])


@torch.no_grad()
def prediction(family: Family, parts: Parts, read_by: Parts | None = None) -> Tensor:
    """read_by: whose text encoders read the caption, where those are not its own."""
    torch.manual_seed(2)
    noisy, sizes = torch.randn(1, parts.channels, 8, 8), torch.tensor([[64, 64, 0, 0, 64, 64]])
    encoded = family.encode_text(read_by or parts, ["a red circle"], Reading())
    return family.predict(parts, noisy, torch.tensor([500]), encoded, sizes)


def test_there_is_a_variant_of_every_kind_and_every_kind_can_be_chosen():
    assert {values["lora_type"] for values in (VARIANTS | FLUXS).values()} == set(kinds())
    assert set(kinds()) | {"Standard", "Kohya LoCon", *WITH_FROZEN_DOWN, *OTHER_NAMES} == set(ACTING)
    assert set(PRESETS) == set(NAMES)


@pytest.mark.parametrize("variant", VARIANTS | FLUXS)
def test_the_form_knows_what_a_kind_cannot_do(variant: str):
    settings = settings_for(variant)
    kind, lora_type = kind_of(settings), settings.network.lora_type
    assert kind is not None
    assert kind.is_product == (lora_type not in WITHOUT_NORM and not settings.lycoris.dora_wd)
    assert bool(kind.fast) == (lora_type not in WITHOUT_FAST)


Loaded = tuple[Family, Parts]

OTHERS = ("sdxl", "sd3", "flux", "chroma", "lumina")
TELLING = ("LoCon, norms", "LoHa, DoRA", "LoKr, factor 4, both", "Diag-OFT, constrained")
CASES = [
    *(("sd2", variant) for variant in VARIANTS),
    *((family, variant) for family in OTHERS for variant in TELLING),
    *((family, variant) for family in ("flux", "chroma") for variant in FLUXS),
]
"""How a kind meets a family hangs on the family's layers alone, whose matrices are one here or several."""


@pytest.fixture(scope="module")
def pocket() -> Loaded:
    return loaded()


def fresh(once: Loaded) -> Loaded:
    """Loaded once, and copied for each test: what a network is put on stays changed."""
    return once[0], copy.deepcopy(once[1])


@pytest.fixture(scope="module")
def model(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Loaded:
    folder = tmp_path_factory.mktemp("model") / request.param
    small(request.param).save_pretrained(folder)
    return loaded(folder)


@pytest.mark.shows(
    "conv_dim", "conv_alpha", "lokr_factor", "decompose_both", "full_matrix", "unbalanced_factorization", "dora_wd",
    "wd_on_output", "use_tucker", "use_cp", "oft_constrain", "oft_rescaled", "train_on_input", "train_norm",
    "enable_all_linear",
)  # fmt: skip
@pytest.mark.parametrize(("model", "variant"), CASES, indirect=["model"])
def test_the_network_predicts_what_its_file_s_formula_does_in_the_weights(model: Loaded, variant: str):
    family, parts = fresh(model)
    plain = copy.deepcopy(parts)
    before = prediction(family, parts)
    network, _ = attached(variant, family, parts)
    merge(network.file_weights(), family.lora_targets(plain, reach_of(settings_for(variant))))
    ours = prediction(family, parts)
    torch.testing.assert_close(ours, prediction(family, plain), atol=1e-4, rtol=1e-4)
    assert (ours - before).abs().max() > 1e-3


DIFFERS: dict[str, dict[str, Any]] = {
    "conv_dim": {"conv_dim": 3}, "lokr_factor": {"lokr_factor": 2}, "decompose_both": {"decompose_both": True},
    "full_matrix": {"full_matrix": True}, "unbalanced_factorization": {"unbalanced_factorization": True},
    "dora_wd": {"dora_wd": True}, "use_tucker": {"use_tucker": True}, "use_cp": {"use_cp": True},
    "train_norm": {"train_norm": True},
}  # fmt: skip


@pytest.mark.parametrize("option", DIFFERS)
def test_an_option_changes_what_is_in_the_file(pocket: Loaded, option: str):
    def shapes(**changes: Any) -> dict[str, torch.Size]:
        family, parts = fresh(pocket)
        few = {"lora_type": "LyCORIS/LoKr", "network_dim": 1, "conv_dim": 1, "lycoris_preset": "unet-convblock-only"}
        settings = TrainingSettings().with_values(USUAL | few | changes)
        kind = kind_of(settings)
        assert kind is not None
        network = made(settings, kind, family.lora_targets(parts, reach_of(settings)))
        return {name: tensor.shape for name, tensor in network.file_weights().items()}

    assert shapes() != shapes(**DIFFERS[option])


@pytest.mark.shows("use_scalar")
@pytest.mark.parametrize("variant", [name for name, values in VARIANTS.items() if "use_scalar" in values])
def test_a_number_is_trained_from_0_in_place_of_matrices_and_files_have_it_in_one(pocket: Loaded, variant: str):
    family, parts = fresh(pocket)
    network, _ = attached(variant, family, parts, by=0)
    begun = by_place(network.state_dict()).values()
    for place in begun:
        assert float(place.pop("scalar")) == 0
        assert all(tensor.any() for tensor in place.values())
    with torch.no_grad():
        for number in (tensor for name, tensor in network.state_dict().items() if name.endswith(".scalar")):
            number.fill_(2)
    held = by_place(network.file_weights())
    assert not any("scalar" in place for place in held.values())
    for before, after in zip(begun, held.values(), strict=True):
        doubled = {name for name, tensor in before.items() if torch.equal(tensor * 2, after[name])}
        assert doubled in ({"lora_up.weight"}, {"hada_w1_a"}, {"lokr_w1"}, {"a2.weight", "b2.weight"})
        assert all(torch.equal(tensor, after[name]) for name, tensor in before.items() if name not in doubled)


@pytest.mark.shows("rank_dropout_scale")
def test_rows_drop_out_in_training_alone_and_what_stays_may_make_up_for_it():
    like = torch.zeros(1)
    torch.manual_seed(0)
    plain, scaled = (RowsLeftOut(Dropouts(rank=0.25, scales_rank=scales)) for scales in (False, True))
    for left_out in (plain, scaled):
        left_out.enter(0)
    kept = plain.kept(1000, like)
    assert kept is not None
    assert set(kept.tolist()) == {0.0, 1.0}
    assert 0.7 < kept.mean() < 0.8
    assert torch.equal(plain.kept(1000, like), kept)  # the same in one pass, for layers that are one matrix
    plain.enter(0)
    assert not torch.equal(plain.kept(1000, like), kept)
    torch.testing.assert_close(scaled.kept(1000, like).mean(), torch.tensor(1.0))


@pytest.mark.parametrize("variant", ["(IA)3", "Diag-OFT", "LoCon"])
def test_a_norm_is_limited_where_the_change_is_a_product_and_else_nothing_moves(pocket: Loaded, variant: str):
    network, _ = attached(variant, *fresh(pocket))
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    network.limit_norms(1e-3)
    same = [torch.equal(tensor, before[name]) for name, tensor in network.state_dict().items()]
    assert not any(same) if variant == "LoCon" else all(same)


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_state_gives_back_what_was_trained(pocket: Loaded, variant: str):
    family, parts = fresh(pocket)
    again = copy.deepcopy(parts)
    network, _ = attached(variant, family, parts)
    settings = settings_for(variant)
    kind = kind_of(settings)
    assert kind is not None
    other = made(settings, kind, family.lora_targets(again, reach_of(settings)))
    other.load_state_dict(network.state_dict())
    for weights, others in (
        (network.state_dict(), other.state_dict()),
        (network.file_weights(), other.file_weights()),
    ):
        assert weights.keys() == others.keys()
        assert all(torch.equal(tensor, others[name]) for name, tensor in weights.items())
    assert torch.equal(prediction(family, parts), prediction(family, again))


@pytest.mark.parametrize("variant", VARIANTS)
def test_it_begins_as_the_model_is_and_gradients_reach_all_of_it(pocket: Loaded, variant: str):
    family, parts = fresh(pocket)
    before = prediction(family, parts)
    settings = settings_for(variant)
    kind = kind_of(settings)
    assert kind is not None
    network = made(settings, kind, family.lora_targets(parts, reach_of(settings)))
    torch.testing.assert_close(prediction(family, parts), before, atol=2e-5, rtol=2e-5)
    with torch.no_grad():
        for parameter in network.parameters("unet"):
            parameter.add_(torch.randn_like(parameter) * 0.05)
    noisy = torch.randn(1, parts.channels, 8, 8)
    encoded = family.encode_text(parts, ["a red circle"], Reading())
    family.predict(parts, noisy, torch.tensor([500]), encoded, torch.zeros(1, 6)).square().sum().backward()
    assert all(parameter.grad is not None for parameter in network.parameters("unet"))
    assert all(parameter.grad.abs().sum() > 0 for parameter in network.parameters("unet"))


# Of its own files it cannot read (IA)³, for whose modules it has no maker that takes what it looks up; LoKr with a core
# tensor, of which it takes another side for the rank; LoKr unbalanced, which it takes for another factor; and DoRA on
# input, whose magnitudes it takes for those of outputs.
UNREAD = (
    "(IA)3", "(IA)3, on output", "(IA)3, of its preset", "LoKr, Tucker", "LoKr, full, unbalanced",
    "LoCon, DoRA on input", "LoKr, DoRA on input",
)  # fmt: skip


@pytest.mark.parametrize("variant", [name for name in VARIANTS if name not in UNREAD])
def test_lycoris_s_own_reader_gives_the_same_prediction(pocket: Loaded, variant: str, tmp_path: Path):
    from lycoris.kohya import LycorisNetworkKohya, create_network_from_weights

    # Its own targets meet twice in diffusers' UNet; which there are, the file says.
    LycorisNetworkKohya.apply_preset({"unet_target_module": ["Transformer2DModel"], "unet_target_name": []})
    family, parts = fresh(pocket)
    plain = copy.deepcopy(parts)
    before = prediction(family, plain)
    network, _ = attached(variant, family, parts)
    save_lora(network.file_weights(), {}, tmp_path / "network.safetensors", torch.float32)
    theirs, _ = create_network_from_weights(
        1.0, str(tmp_path / "network.safetensors"), None, None, plain.denoiser
    )  # without the text encoder, whose layers transformers 5 calls otherwise than the files do
    theirs.apply_to(None, plain.denoiser, apply_text_encoder=False, apply_unet=True)
    ours = prediction(family, parts, read_by=plain)
    torch.testing.assert_close(ours, prediction(family, plain), atol=1e-4, rtol=1e-4)
    assert (ours - before).abs().max() > 1e-3


def first_layer(parts: Parts) -> tuple[Any, Tensor]:
    """And something that it takes."""
    layer: Any = next(module for module in parts.denoiser.modules() if isinstance(module, ChangedLayer))
    torch.manual_seed(1)
    return layer, torch.randn(2, layer.weight.shape[1], *[8] * (layer.weight.dim() - 2))


SCALED = [name for name in VARIANTS if name.startswith("(IA)3")]


@pytest.mark.parametrize("variant", [name for name in VARIANTS if name not in ("Native", *SCALED)])
def test_in_few_digits_the_change_is_the_one_that_the_file_makes(
    pocket: Loaded, variant: str, monkeypatch: pytest.MonkeyPatch
):
    """Under autocast the small change of a weight is computed apart from the weight, which has few digits then."""
    family, parts = fresh(pocket)
    attached(variant, family, parts, by=1e-3)
    layer, x = first_layer(parts)

    def change() -> Tensor:
        return layer.place.add(lambda given: torch.zeros(()), x, layer).float()

    with torch.no_grad():
        with torch.autocast("cpu", torch.bfloat16):
            ours = change()
        monkeypatch.setattr(layer, "acts_as_one", lambda *_: False)  # which is for full width
        exact = change()
    assert (ours - exact).norm() < 0.02 * exact.norm()


@pytest.mark.parametrize("variant", SCALED)
@pytest.mark.parametrize("drops", [False, True])
def test_channels_are_scaled_without_a_weight_of_their_own(
    pocket: Loaded, variant: str, drops: bool, monkeypatch: pytest.MonkeyPatch
):
    family, parts = fresh(pocket)
    attached(variant, family, parts, by=0.3)
    layer, x = first_layer(parts)
    expected = layer.with_weights(x, [layer.weight + layer.place.change()])
    expected = expected if layer.bias is None else expected + layer.along_channels(layer.bias)
    monkeypatch.setattr(IA3, "change", None)
    torch.testing.assert_close(layer(x), expected)
    with torch.autocast("cpu", torch.bfloat16):
        few = layer(x).float()
    assert (few - expected).norm() < 0.01 * expected.norm()
    if drops:
        layer.place.dropouts = replace(layer.place.dropouts, network=0.5)
        alone = layer.base_layer(x)
        layer.train()
        doubled = (layer(x) - alone) / (expected - alone)  # a change that is not dropped counts twice
        assert (torch.isclose(doubled, torch.tensor(2.0), atol=1e-2) | (doubled.abs() < 1e-2)).float().mean() > 0.99


@pytest.mark.parametrize("variant", ["LoHa", "LoKr", "Native"])
def test_a_changed_weight_takes_one_pass_where_nothing_of_the_change_is_lost(pocket: Loaded, variant: str):
    family, parts = fresh(pocket)
    attached(variant, family, parts, by=1e-3)
    layer, x = first_layer(parts)
    passes: list[Any] = []
    layer.base_layer.register_forward_hook(lambda *_: passes.append(1))
    expected = layer.with_weights(x, [layer.weight + layer.place.change()])
    expected = expected if layer.bias is None else expected + layer.along_channels(layer.bias)
    if (of_bias := layer.place.trained.get("diff_b")) is not None:
        expected = expected + layer.along_channels(of_bias)
    torch.testing.assert_close(layer(x), expected)
    assert not passes
    with torch.autocast("cpu", torch.bfloat16):
        torch.testing.assert_close(layer(x).float(), expected, atol=0.05, rtol=0.05)
    assert len(passes) == 1
    layer.place.dropouts = replace(layer.place.dropouts, network=0.5)
    layer.train()
    layer(x)
    assert len(passes) == 2


@pytest.mark.parametrize("conv_dim", [3, 0])
def test_kohyas_locon_is_a_standard_lora_with_convolutions(pocket: Loaded, conv_dim: int):
    family, parts = fresh(pocket)
    plain = copy.deepcopy(parts)
    settings = TrainingSettings().with_values(USUAL | {"lora_type": "Kohya LoCon", "conv_dim": conv_dim})
    method = LoraMethod(family, parts, settings, total_steps=1, dtype=torch.float32)
    torch.manual_seed(3)
    with torch.no_grad():
        for group in ("unet", "text_encoder"):
            for parameter in method.network.parameters(group):
                parameter.add_(torch.randn_like(parameter) * 0.1)
    weights = method.state_dict()
    downs = [tensor for name, tensor in weights.items() if name.endswith("down.weight")]
    ranks = {len(down) for down in downs if down.shape[2:].numel() > 1}
    assert ranks == ({conv_dim} if conv_dim else set())
    merge(weights, family.lora_targets(plain, reach_of(settings)))
    torch.testing.assert_close(prediction(family, parts), prediction(family, plain), atol=1e-4, rtol=1e-4)
    assert method.metadata()["ss_network_module"] == "networks.lora"
