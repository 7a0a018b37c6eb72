"""What the check says of the file in Network weights, by its header: kind, family, and what would be lost."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from engine.check.mend import mended
from engine.check.network_weights import TAKE_RANK, check_network_weights
from engine.check.problem import Problem
from engine.settings.training import TrainingSettings
from tests.models.small import SETTINGS
from tests.models.small import pipeline as small

FAMILIES: dict[str, dict[str, Any]] = {"sd1": {}, **SETTINGS}

UNET = "lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn1_to_q"
CROSS = "lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn2_to_k"
TEXT = "lora_te_text_model_encoder_layers_0_self_attn_q_proj"
RESNET = "lora_unet_down_blocks_0_resnets_0_conv1"


def header_only(file: Path, shapes: Mapping[str, tuple[int, ...]]) -> Path:
    """A file of the right length whose weights are a hole in it: nothing but the header may be read."""
    listed, at = {}, 0
    for name, shape in shapes.items():
        count = 2
        for side in shape:
            count *= side
        listed[name] = {"dtype": "F16", "shape": list(shape), "data_offsets": [at, at + count]}
        at += count
    text = json.dumps(listed).encode()
    with file.open("wb") as stream:
        stream.write(len(text).to_bytes(8, "little") + text)
        stream.truncate(8 + len(text) + at)
    return file


def pair(name: str, rank: int = 8, wide: int = 320, kernel: int = 0, down: str = "lora_down", up: str = "lora_up"):
    ends: tuple[int, ...] = (kernel, kernel) if kernel else ()
    return {f"{name}.{down}.weight": (rank, wide, *ends), f"{name}.{up}.weight": (320, rank, *ends[:0])}


def problems(tmp_path: Path, shapes: Mapping[str, tuple[int, ...]], name: str = "old.safetensors", **changes: Any):
    file = header_only(tmp_path / name, shapes)
    told = {"unet_lr": 1e-4, "text_encoder_lr": 1e-4, "network_dim": 8, "network_weights": str(file)}
    settings = TrainingSettings().for_method("lora").with_values(told | changes)
    return list(check_network_weights(settings))


def only(found: list[Problem]) -> Problem:
    assert len(found) == 1, found
    assert found[0].blocking
    assert found[0].mend
    return found[0]


def lora(*names: str, rank: int = 8) -> dict[str, tuple[int, ...]]:
    return {key: shape for name in names for key, shape in pair(name, rank).items()}


PLAIN: dict[str, tuple[str, dict[str, tuple[int, ...]]]] = {
    "kohya": ("sd1", lora(UNET, TEXT)),
    "kohya with alphas": ("sd1", {**lora(UNET, TEXT), f"{UNET}.alpha": (), f"{TEXT}.alpha": ()}),
    "kohya, cross attention of Stable Diffusion 2": ("sd2", pair(CROSS, wide=1024)),
    "kohya's SDXL": (
        "sdxl",
        lora("lora_unet_input_blocks_4_1_transformer_blocks_0_ff_net_0_proj", TEXT.replace("te_", "te1_"),
             TEXT.replace("te_", "te2_")),
    ),
    "SDXL with diffusers' names": ("sdxl", lora("lora_unet_down_blocks_1_attentions_0_proj_in")),
    "diffusers and peft": (
        "sd1",
        pair("unet.mid_block.attentions.0.transformer_blocks.0.attn1.to_out.0", down="lora_A", up="lora_B")
        | pair("text_encoder.text_model.encoder.layers.3.mlp.fc1", down="lora_A", up="lora_B"),
    ),
    "peft alone": (
        "sd1", pair("base_model.model.mid_block.attentions.0.proj_in", down="lora_A.default", up="lora_B.default")
    ),
    "diffusers' oldest": (
        "sd1", pair("unet.up_blocks.1.attentions.0.transformer_blocks.0.attn1.processor.to_out_lora", down="down",
                    up="up")
    ),
    "ComfyUI's FLUX": (
        "flux", pair("diffusion_model.double_blocks.3.img_attn.qkv", down="lora_A", up="lora_B")
        | pair("diffusion_model.single_blocks.3.linear1", down="lora_A", up="lora_B"),
    ),
    "Chroma": ("chroma", lora("lora_unet_double_blocks_0_txt_mlp_2", "lora_unet_single_blocks_37_linear2")),
    "SD 3": ("sd3", lora("lora_unet_joint_blocks_23_x_block_attn_qkv", "lora_te2_text_model_encoder_layers_9_mlp_fc2")),
    "Lumina": ("lumina", lora("lora_unet_layers_3_attention_qkv", "lora_te_layers_0_self_attn_o_proj")),
    "in capitals": ("sd1", lora(UNET)),
}  # fmt: skip


@pytest.mark.parametrize("name", PLAIN)
@pytest.mark.shows("network_weights")
def test_a_standard_lora_is_taken_whoever_wrote_it(name: str, tmp_path: Path):
    family, shapes = PLAIN[name]
    file = "OLD.SAFETENSORS" if name == "in capitals" else "old.safetensors"
    assert problems(tmp_path, shapes, file, **FAMILIES[family]) == []


KINDS: dict[str, tuple[str, dict[str, tuple[int, ...]]]] = {
    "Kohya LoCon or LyCORIS/LoCon": (
        "a LoCon, with 2 convolutions of 3×3 pixels",
        {**lora(UNET), **pair(RESNET, kernel=3), **pair(f"{RESNET[:-1]}2", kernel=3)},
    ),
    "LyCORIS/LoCon": (
        "a LoCon, with 1 convolution of 3×3 pixels",
        {**lora(UNET), **pair(RESNET), f"{RESNET}.lora_mid.weight": (8, 8, 3, 3)},
    ),
    "Kohya LoHa or LyCORIS/LoHa": ("a LoHa", {f"{UNET}.hada_w{n}_{side}": (8, 8) for n in (1, 2) for side in "ab"}),
    "LyCORIS/LoHa": (
        "a LoHa with DoRA",
        {f"{UNET}.hada_w{n}_{side}": (8, 8) for n in (1, 2) for side in "ab"} | {f"{UNET}.dora_scale": (8, 1)},
    ),
    "Kohya LoKr or LyCORIS/LoKr": (
        "a LoKr",
        {f"{UNET}.lokr_w1": (4, 4), f"{UNET}.lokr_w2_a": (80, 8), f"{UNET}.lokr_w2_b": (8, 80), f"{UNET}.alpha": ()},
    ),
    "LyCORIS/LoKr": ("a LoKr", {f"lycoris_{UNET[10:]}.lokr_w1": (4, 4), f"lycoris_{UNET[10:]}.lokr_w2": (80, 80)}),
    "LyCORIS/GLoRA": ("a GLoRA", {f"{UNET}.{n}.weight": (320, 320) for n in ("a1", "a2", "b1", "b2")}),
    "LyCORIS/iA3": ("an (IA)³ network", {f"{UNET}.weight": (320,), f"{UNET}.on_input": ()}),
    "LyCORIS/Diag-OFT": ("a Diag-OFT network", {f"{UNET}.oft_blocks": (4, 80, 80), f"{UNET}.alpha": ()}),
    "LyCORIS/BOFT": ("a BOFT network", {f"{UNET}.oft_blocks": (3, 4, 80, 80), f"{UNET}.alpha": ()}),
    "LyCORIS/Native Fine-Tuning": ("the result of native fine-tuning", {f"{UNET}.diff": (320, 320)}),
}


@pytest.mark.parametrize("types", KINDS)
@pytest.mark.parametrize("family", ["sd1", "flux"])
def test_a_file_of_another_kind_is_called_by_its_name_and_the_type_that_begins_from_it_is_named(
    types: str, family: str, tmp_path: Path
):
    called, shapes = KINDS[types]
    problem = only(problems(tmp_path, shapes, **FAMILIES[family]))
    assert problem.option == "network_weights"
    assert problem.what == f"old.safetensors is {called}, but LoRA type is Standard."
    assert types.rpartition(" or ")[2] in problem.mend


def test_a_type_that_it_names_takes_the_file(tmp_path: Path):
    taken = {"lora_type": "LyCORIS/LoKr", "dim_from_weights": True, "conv_dim": 8}
    for types, (_, shapes) in KINDS.items():
        magnitudes = any(name.endswith("dora_scale") for name in shapes)
        changes = taken | {"lora_type": types.rpartition(" or ")[2], "dora_wd": magnitudes}
        assert problems(tmp_path, shapes, **changes) == [], types


FOREIGN: dict[str, dict[str, tuple[int, ...]]] = {
    "(IA)³": {"base_model.model.down.0.to_k.ia3_l": (320, 1)},
    "OFT": {"base_model.model.down.0.to_k.oft_R.default.weight": (4, 80)},
    "OFT ": {f"{UNET}.oft_diag": (4, 80, 80)},
    "BOFT": {"base_model.model.down.0.to_k.boft_R": (4, 80, 80)},
    "GLoRA with Tucker decomposition": {f"{RESNET}.bm.weight": (4, 4, 3, 3)},
    "T-LoRA (LyCORIS)": {f"{UNET}.q_layer.weight": (4, 320), f"{UNET}.lambda_layer": (1, 4)},
    "VeRA": {"base_model.model.down.0.to_k.vera_lambda_b": (320,)},
    "LoRA with biases": {**lora(UNET), f"{UNET}.lora_up.bias": (320,)},
    "LoRA of XLabs": {f"double_blocks.0.processor.qkv_lora1.{side}.weight": (16, 3072) for side in ("down", "up")},
    "ControlNet-LLLite": {"lllite_unet_input_blocks_1_1_x_attn1_to_q.down.0.weight": (32, 320)},
}


@pytest.mark.parametrize("kind", FOREIGN)
@pytest.mark.parametrize("family", ["sd1", "flux"])
def test_a_kind_that_is_not_trained_here_is_called_by_its_name(kind: str, family: str, tmp_path: Path):
    problem = only(problems(tmp_path, FOREIGN[kind], **FAMILIES[family]))
    assert problem.option == "network_weights"
    assert f"old.safetensors is of type {kind.strip()}" in problem.what
    assert "would be lost" in problem.what
    assert "merge this file into the base model" in problem.mend


MAGNITUDES = {**lora(UNET), f"{UNET}.dora_scale": (320, 1)}
OF_PEFT = {**pair("unet.mid_block.attentions.0.proj_in", down="lora_A", up="lora_B"),
           "unet.mid_block.attentions.0.proj_in.lora_magnitude_vector": (320,)}  # fmt: skip
NORMS = {**lora(UNET), "lora_unet_down_blocks_0_resnets_0_norm1.w_norm": (320,)}


@pytest.mark.parametrize(
    ("shapes", "changes", "what", "mend"),
    [
        (MAGNITUDES, {}, "was trained with DoRA", "Choose LoRA type LyCORIS/LoCon, and turn on DoRA"),
        (OF_PEFT, {}, "was trained with DoRA", "Choose LoRA type LyCORIS/LoCon, and turn on DoRA"),
        (MAGNITUDES, {"lora_type": "LyCORIS/LoCon"}, "magnitudes would be lost", "Turn on DoRA Weight Decompose."),
        (lora(UNET), {"lora_type": "LyCORIS/LoCon", "dora_wd": True}, "trained without DoRA.", "Turn off DoRA"),
        ({**MAGNITUDES, **lora(TEXT)}, {"lora_type": "LyCORIS/LoCon", "dora_wd": True}, "DoRA in 1 of its layers",
         "Turn off DoRA"),
        (NORMS, {}, "trained normalisation layers, which would be lost", "Turn on Train Norm"),
        ({**lora(UNET), **KINDS["Kohya LoKr or LyCORIS/LoKr"][1]}, {}, "tensors of several kinds for 1 of its layers",
         "another file"),
        ({**lora(TEXT), f"{TEXT}.diff_b": (320,)}, {}, "tensors of several kinds for 1 of its layers", "another file"),
        ({**lora(TEXT), **KINDS["Kohya LoKr or LyCORIS/LoKr"][1]}, {}, "layers of several kinds (1 LoRA, 1 LoKr)",
         "another file"),
        (KINDS["LyCORIS/LoCon"][1], {"lora_type": "Kohya LoCon", "conv_dim": 8}, "Tucker decomposition, which Kohya",
         "Choose LoRA type LyCORIS/LoCon, and turn on Use Tucker"),
    ],
)  # fmt: skip
def test_what_is_trained_beside_a_kinds_own_tensors_is_not_lost(
    shapes: dict[str, tuple[int, ...]], changes: dict[str, Any], what: str, mend: str, tmp_path: Path
):
    problem = only(problems(tmp_path, shapes, **changes))
    assert what in problem.what
    assert mend in problem.mend


@pytest.mark.parametrize("shape", [(), (0, 320), (320, 0)])
@pytest.mark.parametrize("end", ["lora_down.weight", "lora_up.weight"])
def test_a_matrix_without_numbers_is_none(shape: tuple[int, ...], end: str, tmp_path: Path):
    problem = only(problems(tmp_path, {**lora(UNET), f"{UNET}.{end}": shape}))
    assert "lacks a matrix in 1 of its 1 layers" in problem.what


LOKR = KINDS["Kohya LoKr or LyCORIS/LoKr"][1]


@pytest.mark.parametrize(
    ("shapes", "changes", "words"),
    [
        (LOKR, {"lora_type": "LyCORIS/LoKr"}, r"a first matrix of 4 × 4, not 16 × 16 \(LoKr factor\)"),
        (LOKR, {"lora_type": "LyCORIS/LoKr", "lokr_factor": 4, "network_dim": 4}, "rank 8, not 4"),
        (LOKR, {"lora_type": "LyCORIS/LoKr", "lokr_factor": 4, "network_dim": 100}, "a second matrix of rank 8, not"),
        (KINDS["LyCORIS/LoKr"][1], {"lora_type": "LyCORIS/LoKr", "lokr_factor": 4}, "a whole second matrix, not one"),
        (LOKR, {"lora_type": "LyCORIS/LoKr", "lokr_factor": 4, "network_dim": 1, "decompose_both": True},
         "rank 8, not 1"),
        (KINDS["LyCORIS/Diag-OFT"][1], {"lora_type": "LyCORIS/Diag-OFT"}, "blocks of 80, not 8"),
        (KINDS["Kohya LoCon or LyCORIS/LoCon"][1], {"lora_type": "Kohya LoCon", "conv_dim": 4},
         "rank 8 for convolutions, not 4"),
    ],
)  # fmt: skip
def test_other_sizes_are_mended_by_taking_the_files(
    shapes: dict[str, tuple[int, ...]], changes: dict[str, Any], words: str, tmp_path: Path
):
    problem = only(problems(tmp_path, shapes, **changes))
    assert re.search(words, problem.what), problem.what
    assert problem.fix == TAKE_RANK
    assert problems(tmp_path, shapes, dim_from_weights=True, **changes) == []


@pytest.mark.parametrize("changes", [{"lokr_factor": 4}, {"lokr_factor": 4, "lora_type": "Kohya LoKr"}])
def test_the_same_sizes_are_taken(changes: dict[str, Any], tmp_path: Path):
    assert problems(tmp_path, LOKR, **{"lora_type": "LyCORIS/LoKr"} | changes) == []


def test_several_kronecker_products_are_not_one(tmp_path: Path):
    name = "transformer.transformer_blocks.0.attn.to_"
    shapes = {f"{name}{which}.{end}": shape for which in "qkv" for end, shape in
              {"lokr_w1": (4, 4), "lokr_w2": (768, 768)}.items()}  # fmt: skip
    problem = only(problems(tmp_path, shapes, lora_type="LyCORIS/LoKr", dim_from_weights=True, **FAMILIES["flux"]))
    assert "stores queries, keys and values separately, as diffusers does" in problem.what


@pytest.mark.parametrize(
    ("family", "shapes", "its", "this"),
    [
        ("sd1", PLAIN["kohya's SDXL"][1], "SDXL", "Stable Diffusion 1"),
        ("sdxl", PLAIN["ComfyUI's FLUX"][1], "FLUX.1 or Chroma", "SDXL"),
        ("chroma", lora("lora_unet_double_blocks_0_img_mod_lin", "lora_unet_single_blocks_0_linear1"), "FLUX.1",
         "Chroma"),
        ("flux", lora(UNET, TEXT), "Stable Diffusion 1, Stable Diffusion 2, SDXL or SDXL refiner", "FLUX.1"),
        ("flux", pair(CROSS, wide=768), "Stable Diffusion 1", "FLUX.1"),
        ("sd1", pair(CROSS, wide=2048), "SDXL", "Stable Diffusion 1"),
        ("sd2", pair(CROSS, wide=768), "Stable Diffusion 1", "Stable Diffusion 2"),
        ("sdxl", pair(CROSS, wide=1280), "SDXL refiner", "SDXL"),
        ("lumina", PLAIN["SD 3"][1], "Stable Diffusion 3", "Lumina Image 2.0"),
        ("sd3", PLAIN["Lumina"][1], "Lumina Image 2.0", "Stable Diffusion 3"),
    ],
)  # fmt: skip
def test_a_file_for_another_family_is_told_so(
    family: str, shapes: dict[str, tuple[int, ...]], its: str, this: str, tmp_path: Path
):
    found = problems(tmp_path, shapes, **FAMILIES[family])
    assert only(found).what == f"old.safetensors was trained for {its}, but this run trains {this}."


@pytest.mark.parametrize(
    ("family", "shapes", "changes", "words"),
    [
        ("sd1", lora(UNET, TEXT), {"text_encoder_lr": 0}, "1 of its 2 layers in the text encoder, whose learning rate"),
        ("sd1", lora(UNET, TEXT), {"unet_lr": 0}, "1 of its 2 layers in the UNet, whose learning rate is 0"),
        ("sd1", lora(UNET, "lora_unet_time_embedding_linear_1"), {}, "1 of its 2 layers .* such as time_embedding"),
        ("flux", lora("lora_unet_img_in", "lora_unet_single_blocks_0_linear1"), {}, "1 of its 2 layers .* img_in"),
        ("flux", lora("lora_unet_single_blocks_0_linear1", "lora_unet_double_blocks_0_img_attn_qkv"),
         {"train_blocks": "double"}, "1 of its 2 layers .* such as single_blocks_0_linear1"),
        ("flux", lora("lora_unet_single_blocks_0_linear1", "lora_te3_encoder_block_0_layer_0_SelfAttention_k"), {},
         "1 of its 2 layers .* such as te3_encoder_block_0"),
        ("sd1", {**lora(UNET), f"{UNET}.mystery": (3,)}, {}, "1 tensor that no network .*mystery"),
        ("sd1", {**lora(UNET), f"{TEXT}.lora_down.weight": (8, 320)}, {}, "lacks a matrix in 1 of its 2"),
        ("sd1", {**lora(UNET), f"{TEXT}.alpha": ()}, {}, "1 tensor that no network trained here has"),
    ],
)  # fmt: skip
def test_what_would_be_lost_is_counted(
    family: str, shapes: dict[str, tuple[int, ...]], changes: dict[str, Any], words: str, tmp_path: Path
):
    problem = only(problems(tmp_path, shapes, **FAMILIES[family] | changes))
    assert re.search(words, problem.what), problem.what


def test_layers_that_options_add_are_trained(tmp_path: Path):
    of_input = lora("lora_unet_img_in", "lora_unet_single_blocks_0_linear1")
    assert not problems(tmp_path, of_input, **FAMILIES["flux"] | {"in_dims": "8,0,0,0,0"})
    of_double = lora("lora_unet_double_blocks_0_img_attn_qkv", "lora_unet_single_blocks_0_linear1")
    assert "double_blocks_0" in only(problems(tmp_path, of_double, **FAMILIES["flux"] | {"split_mode": True})).what


@pytest.mark.parametrize(
    ("family", "shapes", "words"),
    [
        ("sd1", lora(UNET, rank=16), "has rank 16, not 8."),
        ("sd1", lora(UNET, rank=4) | lora(TEXT, rank=32), "has ranks from 4 to 32, not 8."),
        ("flux", pair("transformer.transformer_blocks.0.attn.to_q", down="lora_A", up="lora_B"),
         "stores queries, keys and values separately, as diffusers does"),
        ("flux", lora("lora_transformer_single_transformer_blocks_0_proj_mlp"), "separately, as OneTrainer does"),
        ("sd3", pair("transformer.transformer_blocks.0.attn.add_k_proj", down="lora_A", up="lora_B"), "separately"),
    ],
)  # fmt: skip
@pytest.mark.shows("dim_from_weights")
def test_another_rank_is_mended_by_taking_the_files(
    family: str, shapes: dict[str, tuple[int, ...]], words: str, tmp_path: Path
):
    problem = only(problems(tmp_path, shapes, **FAMILIES[family]))
    assert words in problem.what
    assert (problem.option, problem.fix) == ("network_dim", TAKE_RANK)
    assert problems(tmp_path, shapes, dim_from_weights=True, **FAMILIES[family]) == []


def test_the_button_takes_the_rank_from_the_file(tmp_path: Path, settings: TrainingSettings):
    file = header_only(tmp_path / "old.safetensors", lora(UNET, rank=16))
    asked = settings.with_values({"network_weights": str(file)})
    (problem,) = check_network_weights(asked)
    assert mended(problem, asked).network.dim_from_weights


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("old.txt", b"", "old.txt is not a LoRA file: those end in .safetensors"),
        ("old.safetensors", b"<html>", "old.safetensors is a web page"),
        ("passwd", b"root", "passwd is not a LoRA file"),
    ],
)
def test_what_is_no_such_file_at_all(name: str, content: bytes, words: str, tmp_path: Path):
    (tmp_path / name).write_bytes(content)
    settings = TrainingSettings().for_method("lora").with_values({"network_weights": str(tmp_path / name)})
    assert words in only(list(check_network_weights(settings))).what


@pytest.mark.parametrize(
    ("shapes", "words"),
    [
        ({"model.diffusion_model.input_blocks.0.0.weight": (320, 4, 3, 3), "first_stage_model.x": (1,)},
         "is a Stable Diffusion 1 model, not a LoRA."),
        ({"emb_params": (4, 768)}, "is a textual inversion, not a LoRA."),
        ({"decoder.conv_in.weight": (4, 4, 3, 3)}, "is a VAE, not a LoRA."),
        ({"a": (2,)}, "is not a LoRA file."),
    ],
)  # fmt: skip
def test_another_kind_of_model(shapes: dict[str, tuple[int, ...]], words: str, tmp_path: Path):
    assert words in only(problems(tmp_path, shapes)).what


@pytest.mark.parametrize(
    ("name", "more", "words"),
    [
        ("old.ckpt", {}, ""),
        ("OLD.PT", {f"{UNET}.dora_scale": (320, 1)}, "OLD.PT was trained with DoRA"),
        ("old.pth", {f"{UNET}.mystery": (3,)}, "1 tensor that no network trained here has"),
        ("old.bin", {"lora_unet_conv_in.lora_down.weight": (4, 8)}, "lacks a matrix in"),
    ],
)
def test_what_torch_wrote_is_looked_into_as_well(
    name: str, more: dict[str, tuple[int, ...]], words: str, tmp_path: Path
):
    torch.save({key: torch.zeros(shape) for key, shape in {**lora(UNET), **more}.items()}, tmp_path / name)
    told = {"network_weights": str(tmp_path / name), "network_dim": 8}
    found = list(check_network_weights(TrainingSettings().for_method("lora").with_values(told)))
    assert [problem for problem in found if words not in problem.what] == []
    assert len(found) == bool(words)


@pytest.mark.parametrize(
    ("metadata", "its"),
    [
        ({"modelspec.architecture": "stable-diffusion-xl-v1-base/lora"}, "SDXL"),
        ({"ss_base_model_version": "sd_v2"}, "Stable Diffusion 2"),
        ({"ss_base_model_version": "sdxl_base_v1-0"}, "SDXL"),
    ],
)
def test_where_names_do_not_say_the_family_what_the_file_says_of_itself_does(
    metadata: dict[str, str], its: str, tmp_path: Path
):
    weights = {key: torch.zeros(shape) for key, shape in lora(UNET).items()}
    save_file(weights, tmp_path / "old.safetensors", metadata)
    told = {"network_weights": str(tmp_path / "old.safetensors"), "network_dim": 8}
    (problem,) = check_network_weights(TrainingSettings().for_method("lora").with_values(told))
    assert problem.what == f"old.safetensors was trained for {its}, but this run trains Stable Diffusion 1."


ALL_CHROMAS = lora("lora_unet_double_blocks_0_txt_mlp_2", "lora_unet_single_blocks_37_linear2")


@pytest.mark.parametrize(
    ("family", "told", "sentence"),
    [
        ("chroma", "flux1", "old.safetensors says it was trained for FLUX.1, but this run trains Chroma;"),
        ("chroma", "flux1-dev", "old.safetensors says it was trained for FLUX.1, but this run trains Chroma;"),
        ("flux", "chroma", "old.safetensors says it was trained for Chroma, but this run trains FLUX.1;"),
    ],
)
def test_what_a_file_says_of_itself_is_no_hindrance_where_all_of_it_fits(
    family: str, told: str, sentence: str, tmp_path: Path
):
    weights = {key: torch.zeros(shape) for key, shape in ALL_CHROMAS.items()}
    save_file(weights, tmp_path / "old.safetensors", {"ss_base_model_version": told})
    changes = {"network_weights": str(tmp_path / "old.safetensors"), "network_dim": 8, **FAMILIES[family]}
    (problem,) = check_network_weights(TrainingSettings().for_method("lora").with_values(changes))
    assert not problem.blocking
    assert problem.what.startswith(sentence)
    (other,) = check_network_weights(TrainingSettings().for_method("lora").with_values({**changes, "network_dim": 4}))
    assert (other.blocking, other.option) == (True, "network_dim")


def test_a_place_that_does_not_fit_is_one(tmp_path: Path):
    shapes = {**ALL_CHROMAS, **lora("lora_unet_double_blocks_0_img_mod_lin")}
    weights = {key: torch.zeros(shape) for key, shape in shapes.items()}
    save_file(weights, tmp_path / "old.safetensors", {"ss_base_model_version": "flux1"})
    changes = {"network_weights": str(tmp_path / "old.safetensors"), "network_dim": 8, **FAMILIES["chroma"]}
    problem = only(list(check_network_weights(TrainingSettings().for_method("lora").with_values(changes))))
    assert problem.what == "old.safetensors was trained for FLUX.1, but this run trains Chroma."


def test_a_method_without_a_network_asks_nothing(tmp_path: Path):
    settings = TrainingSettings().for_method("dreambooth").with_values({"network_weights": str(tmp_path / "gone")})
    assert list(check_network_weights(settings)) == []


def test_a_lora_of_the_refiner_is_taken_by_a_run_that_trains_it(tmp_path: Path):
    """No option names the refiner: the model's files do."""
    small("sdxl-refiner").save_pretrained(tmp_path / "model")
    refiner = FAMILIES["sdxl"] | {"pretrained_model_name_or_path": str(tmp_path / "model")}
    cross = "lora_unet_input_blocks_4_1_transformer_blocks_0_attn2_to_k"
    assert problems(tmp_path, {**pair(cross, wide=1280), **lora(TEXT)}, **refiner) == []
    assert (
        "was trained for SDXL, but this run trains SDXL refiner"
        in only(problems(tmp_path, pair(cross, wide=2048), **refiner)).what
    )
