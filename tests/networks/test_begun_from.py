"""A run begins from a LoRA under whichever names it was written, and acts as the file does; or it refuses the file."""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig
from peft.utils import get_peft_model_state_dict
from safetensors.torch import load_file, save_file
from torch import Tensor

from engine.failure import Failure
from engine.models.conditioning import Reading
from engine.models.family import Family
from engine.models.layouts.flux import flux_entries
from engine.models.layouts.unet import original_name
from engine.models.parts import Parts
from engine.networks.begun_from import fitted, read, unplaced
from engine.networks.lora import LoraNetwork
from engine.settings.training import TrainingSettings
from engine.training.lora_method import LoraMethod
from tests.models.loading import loaded
from tests.models.small import SETTINGS
from tests.models.small import pipeline as small
from tests.networks.foreign_files import by_module, component, renamed, trained


def model(family: str, tmp_path: Path) -> tuple[Family, Parts]:
    """family: of tests/models/small.py, or nothing for the built-in model."""
    if not family:
        return loaded()
    small(family).save_pretrained(tmp_path / "model")
    return loaded(tmp_path / "model", **SETTINGS[family])


def begun(family: Family, parts: Parts, file: Path) -> LoraNetwork:
    targets = family.lora_targets(parts)
    weights, names, told = read(file)
    assert unplaced(names, targets) == []
    matrices = fitted(weights, names, targets, told)
    network = LoraNetwork(targets, 4, 4, given={name: (one.rank, one.alpha) for name, one in matrices.items()})
    network.begin_from(matrices)
    return network


def answer(family: Family, parts: Parts) -> Tensor:
    torch.manual_seed(3)
    noisy = torch.randn(1, parts.channels, 8, 8)
    with torch.no_grad():
        told = family.encode_text(parts, ["a red circle"], Reading())
        return family.predict(parts, noisy, torch.tensor([500]), told, torch.tensor([[64, 64, 0, 0, 64, 64]]))


def with_dots(parts: Parts) -> dict[str, str]:
    """The originals' names of a small FLUX.1's matrices, by kohya's."""
    originals = [entry.original.removesuffix(".weight") for entry in flux_entries(parts.denoiser)]
    return {"lora_unet_" + original.replace(".", "_"): original for original in originals}


def comfyui(parts: Parts, weights: dict[str, Tensor]) -> dict[str, Tensor]:
    dotted = with_dots(parts)
    return renamed(
        weights,
        lambda name: "diffusion_model." + dotted[name]
        if name in dotted
        else name.replace("lora_te1_text_model_encoder_layers_", "text_encoders.clip_l.transformer.text_model.encoder."
                          "layers.").replace("_self_attn_", ".self_attn.").replace("_mlp_", ".mlp."),
    )  # fmt: skip


@pytest.mark.parametrize("family_name", ["", "sd2", "sdxl", "sdxl-refiner", "sd3", "flux", "chroma", "lumina"])
@pytest.mark.parametrize("naming", ["kohya", "peft", "diffusers", "OneTrainer"])
def test_a_lora_is_begun_from_exactly_under_each_of_its_names(family_name: str, naming: str, tmp_path: Path):
    family, parts = model(family_name, tmp_path)
    plain, targets = copy.deepcopy(parts), family.lora_targets(parts)
    denoiser = "unet" if family_name in ("", "sd2", "sdxl", "sdxl-refiner") else "transformer"
    if family_name == "sdxl-refiner":  # whose only encoder diffusers calls the second
        targets = targets[1:]
    weights = trained(family, copy.deepcopy(parts)).state_dict()

    def dotted(target: Any, attachment: Any, path: str) -> str:
        prefix = "" if target.group == "unet" or path.startswith(("text_model", "layers")) else "text_model."
        return f"{component(target, attachment, denoiser)}.{prefix}{path}"

    def flat(target: Any, attachment: Any, path: str) -> str:
        if target.group != "unet":
            return attachment.name
        return ("lora_unet_" if denoiser == "unet" else "lora_transformer_") + path.replace(".", "_")

    files: dict[str, Callable[[], dict[str, Tensor]]] = {
        "kohya": lambda: weights,
        "peft": lambda: by_module(targets, weights, dotted, (".lora_A.weight", ".lora_B.weight")),
        "diffusers": lambda: by_module(targets, weights, dotted, (".lora.down.weight", ".lora.up.weight")),
        "OneTrainer": lambda: by_module(targets, weights, flat, (".lora_down.weight", ".lora_up.weight")),
    }
    save_file(files[naming](), tmp_path / "LORA.SAFETENSORS")
    state = begun(family, plain, tmp_path / "LORA.SAFETENSORS").state_dict()
    own = {name: tensor for name, tensor in weights.items() if family_name != "sdxl-refiner" or "lora_te" not in name}
    assert all(torch.equal(state[name], tensor) for name, tensor in own.items())


@pytest.mark.parametrize("form", ["{}.lora_A.weight {}.lora_B.weight", "{}.lora_down.weight {}.lora_up.weight"])
def test_comfyuis_names_of_flux(form: str, tmp_path: Path):
    family, parts = model("flux", tmp_path)
    plain, network = copy.deepcopy(parts), trained(family, parts)
    down, up = (one.removeprefix("{}") for one in form.split())
    file = {
        name.replace(".lora_down.weight", down).replace(".lora_up.weight", up): tensor
        for name, tensor in comfyui(plain, network.state_dict()).items()
    }
    assert sum(name.startswith("diffusion_model.double_blocks.0.img_attn.qkv.") for name in file) == 3
    save_file(file, tmp_path / "lora.safetensors")
    assert torch.equal(answer(family, parts), (begun(family, plain, tmp_path / "lora.safetensors"),
                                               answer(family, plain))[1])  # fmt: skip


def test_comfyuis_names_of_stable_diffusion_1(tmp_path: Path):
    family, parts = loaded()
    plain, weights = copy.deepcopy(parts), trained(family, parts).state_dict()
    paths = {one.name: one.paths[0] for one in family.lora_targets(plain)[1].attachments}
    file = renamed(
        {name: tensor for name, tensor in weights.items() if "lora_unet" in name},
        lambda name: "diffusion_model." + original_name(plain.denoiser, paths[name]),
    )
    assert any(name.startswith("diffusion_model.input_blocks.") for name in file)
    save_file(file, tmp_path / "lora.safetensors")
    state = begun(family, plain, tmp_path / "lora.safetensors").state_dict()
    assert all(torch.equal(state[name], tensor) for name, tensor in weights.items() if "lora_unet" in name)


def test_diffusers_oldest_names_hang_the_matrices_on_the_processor(tmp_path: Path):
    family, parts = loaded()
    plain, weights = copy.deepcopy(parts), trained(family, parts).state_dict()
    file: dict[str, Tensor] = {}
    for attachment in family.lora_targets(plain)[1].attachments:
        path = attachment.paths[0]
        if ".attn1.to_" in path or ".attn2.to_" in path:
            stem, _, last = path.removesuffix(".0").rpartition(".")
            for side in ("down", "up"):
                file[f"unet.{stem}.processor.{last}_lora.{side}.weight"] = weights[
                    f"{attachment.name}.lora_{side}.weight"
                ]
    save_file(file, tmp_path / "lora.safetensors")
    state = begun(family, plain, tmp_path / "lora.safetensors").state_dict()
    used = [name for name in weights if "_attn1_to_" in name or "_attn2_to_" in name]
    assert len(used) == len(file) // 2 * 3
    assert all(torch.equal(state[name], weights[name]) for name in used)


@pytest.mark.parametrize("family_name", ["sd2", "sdxl", "sd3", "flux", "chroma", "lumina"])
def test_what_diffusers_itself_saved_acts_as_it_did_there(family_name: str, tmp_path: Path):
    """peft's own layers, each with a down of its own, and diffusers' own file with their alphas in its metadata."""
    pipeline = small(family_name)
    pipeline.save_pretrained(tmp_path / "model")
    family, parts = loaded(tmp_path / "model", **SETTINGS[family_name])
    name = "unet" if hasattr(pipeline, "unet") else "transformer"
    theirs = copy.copy(parts)
    theirs.denoiser = copy.deepcopy(parts.denoiser)
    denoiser: Any = theirs.denoiser
    denoiser.add_adapter(LoraConfig(r=3, lora_alpha=6, target_modules=["to_q", "to_k", "to_v", "to_out.0"]))
    torch.manual_seed(5)
    for parameter_name, parameter in denoiser.named_parameters():
        if "lora_" in parameter_name:
            torch.nn.init.normal_(parameter, std=0.2)
    pipeline.save_lora_weights(
        tmp_path / "lora",
        **{
            f"{name}_lora_layers": get_peft_model_state_dict(denoiser),
            f"{name}_lora_adapter_metadata": denoiser.peft_config["default"].to_dict(),
        },
    )
    before = answer(family, parts)
    network = begun(family, parts, tmp_path / "lora" / "pytorch_lora_weights.safetensors")
    torch.testing.assert_close(answer(family, parts), answer(family, theirs), atol=1e-4, rtol=1e-4)
    assert not torch.allclose(answer(family, parts), before, atol=1e-3)
    ranks = {len(tensor) for key, tensor in network.state_dict().items() if key.endswith("lora_down.weight")}
    assert ranks == ({3, 4} if name == "unet" else {3, 4, 9})  # 9 where 3 of theirs are one place; 4 begins anew


@pytest.mark.parametrize(("alpha", "root", "strength"), [(8, False, 2.0), (8, True, 4.0), (None, False, 1.0)])
def test_pefts_own_folder_tells_the_strength_beside_the_file(
    alpha: float | None, root: bool, strength: float, tmp_path: Path
):
    """alpha/rank, alpha/√rank with use_rslora; 1 where nothing is told."""
    family, parts = loaded()
    path = family.lora_targets(parts)[1].attachments[0].paths[0]
    shape = parts.denoiser.get_submodule(path).weight.shape
    name = f"base_model.model.{path}"
    save_file({f"{name}.lora_A.weight": torch.ones(4, *shape[1:]), f"{name}.lora_B.weight": torch.ones(shape[0], 4)},
              tmp_path / "adapter_model.safetensors")  # fmt: skip
    if alpha:
        config = {"r": 4, "lora_alpha": alpha, "use_rslora": root}
        (tmp_path / "adapter_config.json").write_text(json.dumps(config))
    weights, names, told = read(tmp_path / "adapter_model.safetensors")
    (matrices,) = fitted(weights, names, family.lora_targets(parts), told).values()
    assert matrices.alpha / matrices.rank == strength


def method_of(settings: TrainingSettings, goes_on: dict[str, Tensor] | None = None, **changes: Any) -> LoraMethod:
    changed = settings.with_values(changes)
    family, parts = loaded(network_dim=4)
    return LoraMethod(family, parts, changed, total_steps=10, dtype=torch.float32, goes_on=goes_on)


class TestDimFromWeights:
    @pytest.fixture
    def file(self, tmp_path: Path) -> Path:
        """A rank of its own for every fourth place, and alphas too."""
        family, parts = loaded()
        names = [one.name for target in family.lora_targets(parts) for one in target.attachments]
        given = {name: ((2, 1.0), (4, 4.0), (3, 6.0), (8, 2.0))[number % 4] for number, name in enumerate(names)}
        network = LoraNetwork(family.lora_targets(parts), 4, 4, given=given)
        for group in ("unet", "text_encoder"):
            for parameter in network.parameters(group):
                torch.nn.init.normal_(parameter)
        save_file(network.state_dict(), tmp_path / "mixed.safetensors")
        return tmp_path / "mixed.safetensors"

    @pytest.mark.shows("dim_from_weights")
    def test_each_place_has_the_files_rank_and_alpha(self, settings: TrainingSettings, file: Path, tmp_path: Path):
        method = method_of(settings, network_weights=str(file), dim_from_weights=True)
        state = method.state_dict()
        assert all(torch.equal(state[name], tensor) for name, tensor in load_file(file).items())
        method.save(tmp_path / "again.safetensors", {})
        assert {t.shape for t in load_file(tmp_path / "again.safetensors").values()} == {
            t.shape for t in load_file(file).values()
        }

    def test_a_run_goes_on_with_them_when_the_file_is_gone(self, settings: TrainingSettings, file: Path):
        told = {"network_weights": str(file), "dim_from_weights": True}
        state = method_of(settings, **told).state_dict()
        file.unlink()
        method = method_of(settings, state, **told)
        method.load_state_dict(state)
        assert all(torch.equal(tensor, method.state_dict()[name]) for name, tensor in state.items())

    def test_without_it_they_are_refused(self, settings: TrainingSettings, file: Path):
        with pytest.raises(Failure, match="has ranks from 2 to 8, not 4") as caught:
            method_of(settings, network_weights=str(file))
        assert caught.value.option == "network_dim"


@pytest.mark.parametrize("ending", [".SAFETENSORS", ".CKPT", ".PT", ".pth", ".bin"])
def test_every_ending_in_capitals_or_not(settings: TrainingSettings, tmp_path: Path, ending: str):
    old, file = method_of(settings), tmp_path / f"old{ending}"
    for parameter in old.network.parameters("unet"):
        torch.nn.init.normal_(parameter)
    state = {name: tensor.clone() for name, tensor in old.state_dict().items()}
    if ending.lower() == ".safetensors":
        save_file(state, file)
    else:
        torch.save({"state_dict": state} if ending == ".PT" else state, file)
    begun_state = method_of(settings, network_weights=str(file)).state_dict()
    assert all(torch.equal(tensor, begun_state[name]) for name, tensor in state.items())


class TestWhatWouldBeLostIsRefused:
    """Also where the check could not see it, as in files of the other endings."""

    def refused(self, settings: TrainingSettings, tmp_path: Path, more: dict[str, Tensor], **changes: Any) -> Failure:
        file = tmp_path / "old.ckpt"
        torch.save({**method_of(settings).state_dict(), **more}, file)
        with pytest.raises(Failure) as caught:
            method_of(settings, network_weights=str(file), **changes)
        return caught.value

    PLACE = "lora_unet_mid_block_attentions_0_transformer_blocks_0_attn1_to_q"

    @pytest.mark.parametrize(
        ("more", "words"),
        [
            ({f"{PLACE}.dora_scale": torch.ones(4)}, "was trained with DoRA: its magnitudes would be lost"),
            ({f"lora_unet_x.hada_w{n}_{side}": torch.ones(4, 4) for n in (1, 2) for side in "ab"},
             r"has layers of several kinds \(\d+ LoRA, 1 LoHa\)"),
            (
                {"lora_unet_down_blocks_0_resnets_0_conv1.lora_down.weight": torch.ones(4, 8, 3, 3),
                 "lora_unet_down_blocks_0_resnets_0_conv1.lora_up.weight": torch.ones(8, 4, 1, 1)},
                "is a LoCon, with 1 convolution of 3×3 pixels, but LoRA type is Standard",
            ),
            ({f"{PLACE}.mystery": torch.ones(1)}, "contains 1 tensor that no network trained here has"),
            (
                {"lora_unet_conv_in.lora_down.weight": torch.ones(4, 8), "lora_unet_conv_in.lora_up.weight":
                 torch.ones(8, 4)},
                "has 1 of its .* layers where this run trains nothing, such as conv_in",
            ),
            ({"lora_unet_conv_in.lora_down.weight": torch.ones(4, 8)}, "lacks a matrix in 1 of its"),
        ],
    )  # fmt: skip
    def test_kinds_and_places(self, settings: TrainingSettings, tmp_path: Path, more: dict[str, Tensor], words: str):
        failure = self.refused(settings, tmp_path, more)
        assert failure.option == "network_weights"
        assert failure.mend
        assert re.search(words, failure.what), failure.what

    @pytest.mark.parametrize(("changes", "part"), [({"text_encoder_lr": 0}, "text encoder"), ({"unet_lr": 0}, "UNet")])
    def test_a_part_that_does_not_learn(self, settings: TrainingSettings, tmp_path: Path, changes: dict, part: str):
        failure = self.refused(settings, tmp_path, {}, learning_rate=0, **{"unet_lr": 1e-4, "text_encoder_lr": 1e-4}
                               | changes)  # fmt: skip
        assert f"layers in the {part}, whose learning rate is 0" in failure.what
