"""A run of any kind begins exactly as a file of that kind acts, whoever named it; or it refuses the file."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from engine.demo.demo import MODEL_FOLDER
from engine.failure import Failure
from engine.models.family import Family
from engine.models.layouts.unet import original_name
from engine.models.parts import Parts
from engine.networks.begun_from import held_in
from engine.networks.made import reach_of
from engine.settings.training import TrainingSettings
from engine.training.estimate import estimate
from engine.training.lora_method import LoraMethod
from tests.models.loading import loaded
from tests.models.small import SETTINGS
from tests.models.small import pipeline as small
from tests.networks.formulas import by_place
from tests.networks.test_kinds import FLUXS, USUAL, VARIANTS, attached, merge, prediction

Loaded = tuple[Family, Parts]

ELSE: dict[str, Any] = {"network_dim": 3, "conv_dim": 3, "network_alpha": 1, "conv_alpha": 1}
"""Ranks and alphas that no file here has."""


@pytest.fixture(scope="module")
def pocket() -> Loaded:
    return loaded()


def learned(variant: str, model: Loaded) -> dict[str, Tensor]:
    """The tensors of a file of this kind."""
    family, parts = model[0], copy.deepcopy(model[1])
    return {name: tensor.clone() for name, tensor in attached(variant, family, parts)[0].file_weights().items()}


def begun(model: Loaded, file: Path, values: Mapping[str, Any], goes_on: dict[str, Tensor] | None = None) -> Any:
    """(the method, and the parts that it is on), of a run from the file."""
    family, parts = model[0], copy.deepcopy(model[1])
    rates = {"unet_lr": 1e-4, "text_encoder_lr": 1e-4, "network_weights": str(file)}
    settings = TrainingSettings().for_method("lora").with_values(USUAL | values | rates)
    return LoraMethod(family, parts, settings, total_steps=1, dtype=torch.float32, goes_on=goes_on), parts


def acts_as(model: Loaded, parts: Parts, weights: dict[str, Tensor], values: Mapping[str, Any]) -> None:
    """The parts predict what the model does with the weights merged by each kind's published formula."""
    family, plain = model[0], copy.deepcopy(model[1])
    before = prediction(family, plain)
    settings = TrainingSettings().with_values(USUAL | values)
    merge(weights, family.lora_targets(plain, reach_of(settings)))
    after = prediction(family, plain)
    assert (after - before).abs().max() > 1e-3
    torch.testing.assert_close(prediction(family, parts), after, atol=1e-4, rtol=1e-4)


@pytest.mark.shows("network_weights")
@pytest.mark.parametrize("variant", VARIANTS)
def test_a_run_begins_as_the_file_acts(variant: str, pocket: Loaded, tmp_path: Path):
    """Also at another alpha, whose difference goes into what begins at zero."""
    weights, file = learned(variant, pocket), tmp_path / "old.safetensors"
    save_file(weights, file)
    values = VARIANTS[variant] | {"network_alpha": 7, "conv_alpha": 5}
    _, parts = begun(pocket, file, values)
    acts_as(pocket, parts, weights, values)


@pytest.mark.shows("dim_from_weights")
@pytest.mark.parametrize("variant", VARIANTS)
def test_ranks_alphas_and_factors_are_taken_from_the_file(variant: str, pocket: Loaded, tmp_path: Path):
    weights, file = learned(variant, pocket), tmp_path / "old.safetensors"
    save_file(weights, file)
    ranks = {} if "BOFT" in variant else ELSE  # whose blocks hang on it in layers that are begun anew
    others = {"dim_from_weights": True, "use_tucker": False, "use_cp": False, "lokr_factor": 2, "decompose_both": False}
    values = VARIANTS[variant] | ranks | others
    method, parts = begun(pocket, file, values)
    acts_as(pocket, parts, weights, values)
    assert_same(method.network.file_weights(), weights)
    if variant == "LoHa":
        said = method.metadata()
        assert (said["ss_network_dim"], said["ss_network_alpha"]) == (USUAL["network_dim"], USUAL["network_alpha"])
    state = method.state_dict()
    file.unlink()  # a run that goes on needs none
    again, _ = begun(pocket, file, values, state)
    again.load_state_dict(state)
    assert_same(again.state_dict(), state)
    assert_same(again.network.file_weights(), weights)


def assert_same(some: Mapping[str, Tensor], others: Mapping[str, Tensor]) -> None:
    assert some.keys() == others.keys()
    assert all(torch.equal(tensor, others[name]) for name, tensor in some.items())


NAMED: dict[str, str] = {"LyCORIS": "lycoris_{}", "OneTrainer": "lora_unet_{}", "ComfyUI": "diffusion_model.{}"}


@pytest.mark.parametrize("naming", NAMED)
@pytest.mark.parametrize("variant", ["LoHa, DoRA", "LoKr", "(IA)3", "Diag-OFT", "GLoRA", "Native", "LoCon, Tucker"])
def test_whoever_named_it(naming: str, variant: str, pocket: Loaded, tmp_path: Path):
    """LyCORIS and OneTrainer flatten diffusers' names, ComfyUI and ai-toolkit keep the dots of the original's."""
    weights, file = learned(variant, pocket), tmp_path / "old.safetensors"
    family, parts = pocket
    target = family.lora_targets(parts, reach_of(TrainingSettings().with_values(VARIANTS[variant])))[1]
    dotted = {one.name: one.paths[0] for one in target.attachments}
    names = {
        name: NAMED[naming].format(
            original_name(parts.denoiser, path) if naming == "ComfyUI" else path.replace(".", "_")
        )
        for name, path in dotted.items()
    }
    weights = {name: tensor for name, tensor in weights.items() if name.partition(".")[0] in names}
    save_file(
        {names[name.partition(".")[0]] + "." + name.partition(".")[2]: one for name, one in weights.items()}, file
    )
    values = VARIANTS[variant] | {"dim_from_weights": True}
    method, _ = begun(pocket, file, values)
    held = method.network.file_weights()
    assert all(torch.equal(tensor, held[name]) for name, tensor in weights.items())


@pytest.fixture(scope="module")
def transformer(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Loaded:
    folder = tmp_path_factory.mktemp("model") / request.param
    small(request.param).save_pretrained(folder)
    return loaded(folder, **SETTINGS[request.param])


APART = ("LoHa", "LoCon, DoRA", "Native", "LoCon")


@pytest.mark.parametrize("transformer", ["flux", "sd3", "lumina"], indirect=True)
@pytest.mark.parametrize("variant", APART)
def test_modules_that_are_one_here_are_combined_exactly(variant: str, transformer: Loaded, tmp_path: Path):
    """A network of its own on each of diffusers' modules, as LyCORIS and ai-toolkit train them."""
    family, parts = transformer[0], copy.deepcopy(transformer[1])
    settings = TrainingSettings().for_method("lora").with_values(SETTINGS[request_family(family)])
    target = family.lora_targets(parts, reach_of(settings))[-1]
    alone = [
        (attachment, path, f"transformer.{path}") for attachment in target.attachments for path in attachment.paths
    ]
    torch.manual_seed(4)
    file: dict[str, Tensor] = {}
    for _, path, name in alone:
        weight: Tensor = target.module.get_submodule(path).weight.detach()
        file |= {f"{name}.{end}": tensor for end, tensor in tensors_of(variant, weight).items()}
    save_file(file, tmp_path / "old.safetensors")
    plain = copy.deepcopy(parts)
    values = VARIANTS[variant] | SETTINGS[request_family(family)] | {"dim_from_weights": True}
    _, begun_parts = begun((family, parts), tmp_path / "old.safetensors", values)
    merge_alone(plain, alone, file)
    torch.testing.assert_close(prediction(family, begun_parts), prediction(family, plain), atol=1e-4, rtol=1e-4)
    assert (prediction(family, plain) - prediction(family, transformer[1])).abs().max() > 1e-3


def request_family(family: Family) -> str:
    return {"FLUX.1": "flux", "Stable Diffusion 3": "sd3", "Lumina Image 2.0": "lumina"}[family.name]


def tensors_of(variant: str, weight: Tensor) -> dict[str, Tensor]:
    out, into = weight.shape
    if variant == "Native":
        return {"diff": torch.randn(out, into) * 0.05}
    if variant == "LoHa":
        return {
            "hada_w1_a": torch.randn(out, 2) * 0.3, "hada_w1_b": torch.randn(2, into) * 0.3,
            "hada_w2_a": torch.randn(out, 2) * 0.3, "hada_w2_b": torch.randn(2, into) * 0.3,
            "alpha": torch.tensor(3.0),
        }  # fmt: skip
    pair = {"lora_down.weight": torch.randn(2, into) * 0.2, "lora_up.weight": torch.randn(out, 2) * 0.2}
    scale = {"dora_scale": weight.norm(dim=1, keepdim=True) * 1.1} if "DoRA" in variant else {}
    return pair | scale | {"alpha": torch.tensor(3.0)}


@torch.no_grad()
def merge_alone(parts: Parts, alone: list[Any], file: Mapping[str, Tensor]) -> None:
    from tests.networks.formulas import change

    places = by_place({name.replace(".", "_", name.count(".") - ends(name)): one for name, one in file.items()})
    for _, path, name in alone:
        layer: Any = parts.denoiser.get_submodule(path)
        layer.weight += change(places[name.replace(".", "_")], layer.weight).float()


def ends(name: str) -> int:
    """How many dots how it ends has, with the one before."""
    return 2 if name.endswith(".weight") else 1


@pytest.mark.parametrize("transformer", ["flux"], indirect=True)
@pytest.mark.parametrize("variant", FLUXS)
def test_kohyas_oft_of_flux(variant: str, transformer: Loaded, tmp_path: Path):
    weights, file = learned(variant, transformer), tmp_path / "old.safetensors"
    assert all(name.startswith("oft_unet_") for name in weights)
    save_file(weights, file)
    values = FLUXS[variant] | SETTINGS["flux"]
    method, parts = begun(transformer, file, values)
    acts_as(transformer, parts, weights, values)
    assert_same(method.network.file_weights(), weights)
    other, _ = begun(transformer, file, values | {"dim_from_weights": True, "network_dim": 2, "network_alpha": 0.5})
    assert_same(other.network.file_weights(), weights)
    with pytest.raises(Failure, match="may turn by"):
        begun(transformer, file, values | {"network_alpha": 0.5})


@pytest.mark.parametrize("transformer", ["flux"], indirect=True)
@pytest.mark.parametrize("variant", ["LoKr", "Diag-OFT"])
def test_what_cannot_be_combined_is_refused(variant: str, transformer: Loaded, tmp_path: Path):
    name = "transformer.transformer_blocks.0.attn.to_"
    tensors = {
        "LoKr": {"lokr_w1": torch.ones(4, 4), "lokr_w2": torch.ones(8, 8)},
        "Diag-OFT": {"oft_blocks": torch.zeros(4, 8, 8), "alpha": torch.tensor(0.0)},
    }[variant]
    file = tmp_path / "old.safetensors"
    save_file({f"{name}{which}.{end}": one.clone() for which in "qkv" for end, one in tensors.items()}, file)
    with pytest.raises(Failure, match="stores queries, keys and values separately") as caught:
        begun(transformer, file, VARIANTS[variant] | SETTINGS["flux"] | {"dim_from_weights": True})
    assert caught.value.option == "network_weights"


@pytest.mark.parametrize(
    ("variant", "values", "words"),
    [
        ("LoHa", {"lora_type": "LyCORIS/LoKr"}, "is a LoHa, but LoRA type is LyCORIS/LoKr"),
        ("LoHa", {"network_dim": 3}, "has rank 4, not 3"),
        ("LoHa", {"conv_dim": 3}, "has rank 2 for convolutions, not 3"),
        ("LoHa, CP", {"use_cp": False}, "has other sizes than these settings make"),
        ("LoKr", {"lokr_factor": 2}, r"lokr_w1 is of shape \(8, 8\), not \(2, 2\)"),
        ("(IA)3", {"train_on_input": False}, r"was trained with other options: .*\.on_input is 1, not 0"),
        ("Diag-OFT, constrained", {"oft_constrain": 0.5}, "may turn by 0.01, not 0.5"),
        ("Diag-OFT, constrained", {"oft_rescaled": False}, "rescale"),
        ("Diag-OFT", {"oft_rescaled": True}, "rescale is not there"),
        ("LoCon, DoRA", {"dora_wd": False}, "was trained with DoRA: its magnitudes would be lost"),
        ("LoCon", {"dora_wd": True}, "was trained without DoRA"),
        ("LoCon, DoRA", {"wd_on_output": False}, "has DoRA's magnitudes of the outputs of its layers"),
        ("LoKr, DoRA on input", {"wd_on_output": True}, "has DoRA's magnitudes of the inputs of its layers"),
        ("LoCon", {"lycoris_preset": "attn-mlp"}, "layers where this run trains nothing, such as"),
        ("LoCon", {"lora_type": "Kohya LoCon", "conv_dim": 0}, "layers where this run trains nothing, such as"),
        ("Native", {"text_encoder_lr": 0}, "layers in the text encoder, whose learning rate is 0"),
    ],
)
def test_what_would_be_lost_or_differ_is_refused(
    variant: str, values: dict[str, Any], words: str, pocket: Loaded, tmp_path: Path
):
    save_file(learned(variant, pocket), tmp_path / "old.safetensors")
    rates = {"unet_lr": 1e-4, "text_encoder_lr": 1e-4} | values
    told = {"network_weights": str(tmp_path / "old.safetensors")}
    settings = TrainingSettings().for_method("lora").with_values(USUAL | VARIANTS[variant] | rates | told)
    with pytest.raises(Failure, match=words) as caught:
        LoraMethod(pocket[0], copy.deepcopy(pocket[1]), settings, total_steps=1, dtype=torch.float32)
    assert caught.value.mend


@pytest.mark.parametrize("variant", ["LoHa", "LoKr", "Diag-OFT", "GLoRA", "Native", "LoCon, Tucker"])
@pytest.mark.parametrize("from_file", [True, False])
def test_a_model_of_another_size_is_refused(variant: str, from_file: bool, pocket: Loaded, tmp_path: Path):
    weights = learned(variant, pocket)
    name = next(
        name for name in weights if name.endswith(("_a", "lokr_w1", "blocks", "b1.weight", "diff", "_up.weight"))
    )
    weights[name] = torch.cat([weights[name]] * 2)
    save_file(weights, tmp_path / "old.safetensors")
    with pytest.raises(Failure, match=r"does not fit this model|has other sizes"):
        begun(pocket, tmp_path / "old.safetensors", VARIANTS[variant] | {"dim_from_weights": from_file})


@pytest.mark.parametrize("from_file", [True, False])
@pytest.mark.parametrize(("variant", "end"), [("Native", "diff_b"), ("LoCon, DoRA", "dora_scale")])
def test_so_is_one_of_which_only_what_stands_beside_the_matrices_differs(
    variant: str, end: str, from_file: bool, pocket: Loaded, tmp_path: Path
):
    weights = learned(variant, pocket)
    name = next(name for name in weights if name.endswith(end))
    weights[name] = weights[name][:3].clone()
    save_file(weights, tmp_path / "old.safetensors")
    with pytest.raises(Failure, match=r"does not fit this model|has other sizes"):
        begun(pocket, tmp_path / "old.safetensors", VARIANTS[variant] | {"dim_from_weights": from_file})


def test_a_file_of_native_fine_tuning_may_leave_biases_as_they_are(pocket: Loaded, tmp_path: Path):
    weights = {name: tensor for name, tensor in learned("Native", pocket).items() if not name.endswith("diff_b")}
    save_file(weights, tmp_path / "old.safetensors")
    method, parts = begun(pocket, tmp_path / "old.safetensors", VARIANTS["Native"])
    acts_as(pocket, parts, weights, VARIANTS["Native"])
    assert any(name.endswith("diff_b") for name in method.network.file_weights())


def test_kohyas_locon_begins_from_one_with_convolutions(pocket: Loaded, tmp_path: Path):
    weights = learned("LoCon", pocket)
    reached = {"lora_type": "Kohya LoCon"}
    family, parts = pocket
    names = {
        attachment.name
        for target in family.lora_targets(parts, reach_of(TrainingSettings().with_values(USUAL | reached)))
        for attachment in target.attachments
    }
    weights = {name: tensor for name, tensor in weights.items() if name.partition(".")[0] in names}
    save_file(weights, tmp_path / "old.safetensors")
    _, changed = begun(pocket, tmp_path / "old.safetensors", reached | {"network_alpha": 7})
    acts_as(pocket, changed, weights, reached)


@pytest.mark.parametrize("from_file", [True, False])
def test_memory_is_counted_as_of_a_run_that_begins_anew(from_file: bool, pocket: Loaded, tmp_path: Path):
    save_file(learned("LoHa, DoRA", pocket), tmp_path / "old.safetensors")

    def needed(**changes: Any) -> Any:
        values = {"pretrained_model_name_or_path": str(MODEL_FOLDER), "max_resolution": "64,64"} | changes
        settings = TrainingSettings().for_method("lora").with_values(USUAL | VARIANTS["LoHa, DoRA"] | values)
        return estimate(settings, "cuda").phases["training"]

    file = {"network_weights": str(tmp_path / "old.safetensors"), "dim_from_weights": from_file}
    assert needed(**file) == needed()


def test_only_layers_with_a_file_s_sizes_have_its_alpha_in_a_state():
    """The others go on with the alpha of the settings."""
    state = {"lora_unet_a.lokr_w1": torch.ones(2, 2), "lora_unet_a.lokr_w2": torch.ones(2, 2),
             "lora_unet_a.alpha": torch.tensor(3.0), "lora_unet_b.lokr_w1": torch.ones(2, 2)}  # fmt: skip
    assert {name: held.alpha for name, held in held_in(state).items()} == {"lora_unet_a": 3.0}
