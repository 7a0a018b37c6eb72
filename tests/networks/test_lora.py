"""LoRA on exactly the modules that sd-scripts trains, under exactly the names that it writes."""

from __future__ import annotations

import copy
import hashlib
import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
from diffusers import StableDiffusionPipeline, UNet2DConditionModel
from transformers import CLIPTextConfig, CLIPTextModel

from engine.demo.demo import MODEL_FOLDER
from engine.models.conditioning import Reading
from engine.models.parts import Parts
from engine.models.sd import CONFIGS, StableDiffusion
from engine.networks.begun_from import held_in
from engine.networks.dropout import Dropouts
from engine.networks.kohya_format import save_lora
from engine.networks.lora import LoraNetwork
from tests.models.loading import NO_SIZES, loaded, states

SD_SCRIPTS_FINGERPRINT = "60edf0b7f830b06adf65239debb44038a9be2cda888bc68b9a70e8dc89a7a516"
"""SHA-256 of the sorted lines NAME<tab>SHAPE of all matrices in a rank 8 file that sd-scripts wrote for SD 1.5."""


def sd15_on_meta() -> Parts:
    """SD 1.5's UNet and text encoder at full size, without weights."""
    with torch.device("meta"):
        unet = UNet2DConditionModel.from_config(UNet2DConditionModel.load_config(CONFIGS[1] / "unet"))
        config = CLIPTextConfig.from_pretrained(CONFIGS[1] / "text_encoder")
        text_encoder = CLIPTextModel(config)
    return Parts(denoiser=unet, vae=torch.nn.Identity(), text_encoders=[text_encoder], tokenizers=[None])


@pytest.fixture(scope="module")
def full_size() -> dict[str, torch.Tensor]:
    parts = sd15_on_meta()
    return LoraNetwork(StableDiffusion().lora_targets(parts), rank=8, alpha=8).state_dict()


def test_at_sd15s_size_there_are_sd_scripts_264_modules(full_size: dict[str, torch.Tensor]):
    modules = {name.split(".")[0] for name in full_size}
    assert Counter(name.rpartition("_text_model")[0] or "lora_unet" for name in modules) == {
        "lora_unet": 192,
        "lora_te": 72,
    }
    trained = sum(t.numel() for name, t in full_size.items() if not name.endswith(".alpha"))
    assert trained == 4_718_592  # what sd-scripts reports for rank 8


def test_at_sd15s_size_names_and_shapes_are_sd_scripts(full_size: dict[str, torch.Tensor]):
    matrices = {name: tensor for name, tensor in full_size.items() if not name.endswith(".alpha")}
    lines = sorted(f"{name}\t{'x'.join(map(str, tensor.shape))}" for name, tensor in matrices.items())
    assert len(lines) == 528
    assert hashlib.sha256("\n".join(lines).encode()).hexdigest() == SD_SCRIPTS_FINGERPRINT
    assert {f"{name.split('.')[0]}.alpha" for name in matrices} == set(full_size) - set(matrices)


@pytest.mark.parametrize(
    ("name", "shape"),
    [
        ("lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn1_to_q.lora_down.weight", (8, 320)),
        ("lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn2_to_k.lora_down.weight", (8, 768)),
        ("lora_unet_mid_block_attentions_0_transformer_blocks_0_ff_net_0_proj.lora_up.weight", (10240, 8)),
        ("lora_unet_up_blocks_3_attentions_2_proj_in.lora_down.weight", (8, 320, 1, 1)),
        ("lora_unet_up_blocks_3_attentions_2_proj_out.lora_up.weight", (320, 8, 1, 1)),
        ("lora_te_text_model_encoder_layers_11_mlp_fc1.lora_up.weight", (3072, 8)),
        ("lora_te_text_model_encoder_layers_0_self_attn_q_proj.alpha", ()),
    ],
)
def test_some_names_by_hand(full_size: dict[str, torch.Tensor], name: str, shape: tuple[int, ...]):
    assert tuple(full_size[name].shape) == shape


@pytest.fixture
def parts() -> Parts:
    return loaded()[1]


def test_an_untrained_network_changes_nothing(parts: Parts):
    inputs = torch.randn(1, 4, 8, 8), torch.tensor([500]), states(torch.randn(1, 77, 64)), NO_SIZES
    family = StableDiffusion()
    with torch.no_grad():
        before = family.predict(parts, *inputs)
        LoraNetwork(family.lora_targets(parts), rank=4, alpha=4)
        assert torch.equal(family.predict(parts, *inputs), before)


def randomised(network: LoraNetwork) -> LoraNetwork:
    torch.manual_seed(1)
    for group in ("unet", "text_encoder"):
        for parameter in network.parameters(group):
            torch.nn.init.normal_(parameter, std=0.2)
    return network


@pytest.mark.shows("network_dim", "network_alpha")
def test_each_module_computes_its_weight_plus_alpha_over_rank_times_up_times_down(parts: Parts):
    family = StableDiffusion()
    original = copy.deepcopy(parts)
    network = randomised(LoraNetwork(family.lora_targets(parts), rank=4, alpha=2))
    weights = network.state_dict()
    for target in family.lora_targets(original):
        for attachment in target.attachments:
            up, down = (weights[f"{attachment.name}.lora_{side}.weight"] for side in ("up", "down"))
            weight = target.module.get_submodule(attachment.paths[0]).weight
            weight.data += 2 / 4 * (up.flatten(1) @ down.flatten(1)).view_as(weight)
    noisy, t, captions = torch.randn(1, 4, 8, 8), torch.tensor([500]), ["a red circle"]
    with torch.no_grad():
        ours = family.predict(parts, noisy, t, family.encode_text(parts, captions, Reading(1)), NO_SIZES)
        by_hand = family.predict(original, noisy, t, family.encode_text(original, captions, Reading(1)), NO_SIZES)
    torch.testing.assert_close(ours, by_hand, atol=2e-4, rtol=2e-4)


def test_the_saved_file_loads_in_diffusers_and_changes_the_picture_as_training_saw_it(parts: Parts, tmp_path: Path):
    family = StableDiffusion()
    network = randomised(LoraNetwork(family.lora_targets(parts), rank=4, alpha=4))
    save_lora(network.state_dict(), {}, tmp_path / "lora.safetensors", torch.float32)
    pipeline = StableDiffusionPipeline.from_pretrained(MODEL_FOLDER, torch_dtype=torch.float32, safety_checker=None)
    pipeline.set_progress_bar_config(disable=True)

    def latents() -> Any:
        generator = torch.Generator().manual_seed(3)
        return pipeline("a red circle", num_inference_steps=2, generator=generator, output_type="latent",
                        height=64, width=64).images  # fmt: skip

    before = latents()
    pipeline.load_lora_weights(tmp_path / "lora.safetensors")
    after = latents()
    assert (after - before).abs().max() > 0.1

    pipeline.unload_lora_weights()
    pipeline.unet, pipeline.text_encoder = parts.denoiser, parts.text_encoders[0]
    torch.testing.assert_close(latents(), after, atol=1e-3, rtol=1e-3)


def test_weights_go_out_and_in_again_unchanged(parts: Parts):
    network = randomised(LoraNetwork(StableDiffusion().lora_targets(parts), rank=4, alpha=4))
    saved = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    for group in ("unet", "text_encoder"):
        for parameter in network.parameters(group):
            torch.nn.init.zeros_(parameter)
    network.load_state_dict(saved)
    assert all(torch.equal(tensor, saved[name]) for name, tensor in network.state_dict().items())


def test_what_is_trained_is_float32_even_on_a_half_precision_base():
    _, parts = loaded(dtype=torch.float16)
    network = LoraNetwork(StableDiffusion().lora_targets(parts), rank=4, alpha=4)
    assert {p.dtype for g in ("unet", "text_encoder") for p in network.parameters(g)} == {torch.float32}
    trainable = {p for module in (parts.denoiser, *parts.text_encoders) for p in module.parameters() if p.requires_grad}
    assert trainable == {p for g in ("unet", "text_encoder") for p in network.parameters(g)}


def test_both_hashes_are_those_that_other_programs_compute(tmp_path: Path):
    """Worked out here from the file's layout: 8 bytes of header length, the header, the tensors."""
    weights = {"a": torch.randn(700, 900), "b": torch.randn(3)}
    metadata = {"ss_network_dim": "8", "modelspec.title": "cat"}
    save_lora(weights, metadata, tmp_path / "a.safetensors", torch.float32)
    content = (tmp_path / "a.safetensors").read_bytes()
    length = int.from_bytes(content[:8], "little")
    written = json.loads(content[8 : 8 + length])["__metadata__"]
    assert written["sshs_model_hash"] == hashlib.sha256(content[8 + length :]).hexdigest()
    bare = safetensors.torch.save(weights, metadata={"ss_network_dim": "8"})
    assert written["sshs_legacy_hash"] == hashlib.sha256(bare[0x100000:0x110000]).hexdigest()[:8]
    assert written["modelspec.title"] == "cat"


def test_a_failed_save_leaves_the_earlier_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    file = tmp_path / "a.safetensors"
    save_lora({"a": torch.ones(2)}, {}, file, torch.float32)
    before = file.read_bytes()

    def full_disk(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(safetensors.torch, "save_file", full_disk)
    with pytest.raises(OSError, match="The disk is full"):
        save_lora({"a": torch.zeros(2)}, {}, file, torch.float32)
    assert [f.name for f in tmp_path.iterdir()] == ["a.safetensors"]
    assert file.read_bytes() == before


class TestDropout:
    """sd-scripts' dropouts: they act in training alone, on what lies between down and up."""

    INPUTS = (torch.randn(64, 4, 8, 8), torch.full((64,), 500), states(torch.randn(64, 77, 64)), NO_SIZES)

    def layer(self, parts: Parts, **dropouts: float) -> torch.nn.Module:
        """One module whose down and up make every value 1 between them and rank 4 in the end."""
        family = StableDiffusion()
        LoraNetwork(family.lora_targets(parts), rank=4, alpha=4, dropouts=Dropouts(**dropouts))
        layer = parts.denoiser.get_submodule("mid_block.attentions.0.transformer_blocks.0.attn1.to_q")
        with torch.no_grad():
            layer.base_layer.weight.zero_()
            layer.lora_A["default"].weight.fill_(1 / layer.in_features)
            layer.lora_B["default"].weight.fill_(1)
        return layer

    def outputs(self, layer: torch.nn.Module, training: bool = True) -> torch.Tensor:
        """For 500 samples of 3 tokens: (500, 3), one value for each."""
        torch.manual_seed(0)
        layer.train(training)
        with torch.no_grad():
            return layer(torch.ones(500, 3, layer.in_features))[..., 0]

    @pytest.mark.shows("network_dropout")
    def test_network_dropout_takes_single_values(self, parts: Parts):
        layer = self.layer(parts, network=0.5)
        values = self.outputs(layer)
        # Of 4 values each is 0 or 2: sums of 0, 2, 4, 6, 8, differing between the tokens of a sample.
        assert set(values.flatten().round().tolist()) == {0, 2, 4, 6, 8}
        assert (values != values[:, :1]).any()
        assert values.mean().item() == pytest.approx(4, rel=0.1)
        assert self.outputs(layer, training=False).unique().tolist() == pytest.approx([4])

    @pytest.mark.shows("rank_dropout")
    def test_rank_dropout_takes_whole_ranks_of_a_sample(self, parts: Parts):
        values = self.outputs(self.layer(parts, rank=0.5))
        assert set(values.flatten().round().tolist()) == {0, 2, 4, 6, 8}
        assert torch.equal(values, values[:, :1].expand_as(values))

    @pytest.mark.shows("module_dropout")
    def test_module_dropout_takes_the_whole_module_for_a_step(self, parts: Parts):
        layer = self.layer(parts, module=0.5)
        layer.train()
        torch.manual_seed(0)
        with torch.no_grad():
            answers = [layer(torch.ones(2, 1, layer.in_features)).unique().tolist() for _ in range(200)]
        assert all(len(answer) == 1 for answer in answers)
        left_out = sum(answer == [0] for answer in answers)
        assert 70 < left_out < 130  # 100 expected, deviation 7

    def test_convolutions_drop_ranks_too(self, parts: Parts):
        family = StableDiffusion()
        LoraNetwork(family.lora_targets(parts), rank=4, alpha=4, dropouts=Dropouts(rank=0.3, network=0.1))
        parts.denoiser.train()
        assert family.predict(parts, *self.INPUTS).isfinite().all()


@pytest.mark.shows("scale_weight_norms")
def test_norms_are_limited_by_shortening_both_factors_alike(parts: Parts):
    network = randomised(LoraNetwork(StableDiffusion().lora_targets(parts), rank=4, alpha=2))
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    network.limit_norms(1.0)
    after = network.state_dict()
    for name in {key.partition(".")[0] for key in before}:
        down, up = (before[f"{name}.lora_{side}.weight"] for side in ("down", "up"))
        norm = (2 / 4 * up.flatten(1) @ down.flatten(1)).norm()
        factor = 1 if norm <= 1 else (1 / norm).sqrt()
        torch.testing.assert_close(after[f"{name}.lora_down.weight"], down * factor)
        torch.testing.assert_close(after[f"{name}.lora_up.weight"], up * factor)


@pytest.mark.shows("network_weights")
def test_a_network_that_begins_from_a_file_acts_as_the_file_does_at_another_alpha(parts: Parts):
    family = StableDiffusion()
    trained = copy.deepcopy(parts)
    file = randomised(LoraNetwork(family.lora_targets(trained), rank=4, alpha=4)).state_dict()
    network = LoraNetwork(family.lora_targets(parts), rank=4, alpha=1)
    network.begin_from(held_in(file))
    inputs = torch.randn(1, 4, 8, 8), torch.tensor([500]), states(torch.randn(1, 77, 64)), NO_SIZES
    with torch.no_grad():
        torch.testing.assert_close(family.predict(parts, *inputs), family.predict(trained, *inputs))


@pytest.mark.parametrize("take_over", ["begin_from", "load_state_dict"])
def test_a_rank_of_1_is_not_stretched_over_all_ranks(parts: Parts, take_over: str):
    family = StableDiffusion()
    narrow = copy.deepcopy(parts)
    weights = LoraNetwork(family.lora_targets(narrow), rank=1, alpha=1).state_dict()
    network = LoraNetwork(family.lora_targets(parts), rank=4, alpha=4)
    with pytest.raises(RuntimeError, match="is of shape"):
        getattr(network, take_over)(held_in(weights) if take_over == "begin_from" else weights)
