"""How many layers LyCORIS's presets reach, at the models' full sizes."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from engine.check.network import check_network
from engine.failure import Failure
from engine.models.flux import Flux
from engine.models.sd import StableDiffusion
from engine.models.sdxl import StableDiffusionXL
from engine.networks.made import PRESETS, reach_of, trained_layers
from engine.networks.shares import Shares
from engine.settings.training import TrainingSettings
from tests.networks.test_lora import sd15_on_meta
from tests.networks.test_lora_families import flux_on_meta, sdxl_on_meta

SD15 = {
    "attn-mlp": (192, 72), "full": (282, 72), "full-lin": (282, 72), "attn-only": (128, 48), "unet-only": (282, 0),
    "unet-transformer-only": (192, 0), "unet-convblock-only": (88, 0), "ia3": (80, 36),
}  # fmt: skip
"""(of the UNet, of the text encoder).  In the UNet are 16 transformers of 12 layers, 22 blocks of 3 convolutions and
layers, 14 of them with a further one, 3 changes down, 3 up, and 4 at the edges, of which 2 are convolutions."""


@pytest.mark.shows("lycoris_preset")
@pytest.mark.parametrize("preset", PRESETS)
def test_each_preset_reaches_what_lycoris_does_in_sd15(preset: str):
    targets = StableDiffusion().lora_targets(sd15_on_meta(), PRESETS[preset])
    counted = Counter({target.group: len(target.attachments) for target in targets})
    assert (counted["unet"], counted["text_encoder"]) == SD15[preset]


def test_in_sdxl_the_full_preset_reaches_lycoris_s_788_and_convolutions_have_the_original_s_names():
    unet = StableDiffusionXL().lora_targets(sdxl_on_meta(), PRESETS["full"])[-1]
    names = {attachment.name for attachment in unet.attachments}
    assert len(names) == len(unet.attachments) == 722 + 17 * 3 + 11 + 2 + 2
    assert {
        "lora_unet_input_blocks_1_0_in_layers_2", "lora_unet_input_blocks_1_0_emb_layers_1",
        "lora_unet_input_blocks_3_0_op", "lora_unet_input_blocks_4_0_skip_connection",
        "lora_unet_middle_block_2_out_layers_3", "lora_unet_output_blocks_2_2_conv",
    } <= names  # fmt: skip


def test_lycoris_trains_norms_of_a_unet_s_blocks_and_of_no_text_encoder():
    """In each of 16 transformers one and three of its block, in each of 22 blocks two; none at the edges."""
    family, parts = StableDiffusion(), sd15_on_meta()
    for preset, norms in {"full": 16 * 4 + 22 * 2, "attn-mlp": 16 * 4, "unet-convblock-only": 22 * 2, "ia3": 0}.items():
        counted = [
            Counter({target.group: len(target.attachments) for target in family.lora_targets(parts, reach)})
            for reach in (PRESETS[preset], replace(PRESETS[preset], norms=True))
        ]
        assert counted[1] - counted[0] == Counter({"unet": norms} if norms else {})


def test_norms_have_the_original_s_names_in_sdxl():
    unet = StableDiffusionXL().lora_targets(sdxl_on_meta(), replace(PRESETS["full"], norms=True))[-1]
    assert {
        "lora_unet_input_blocks_1_0_in_layers_0", "lora_unet_input_blocks_1_0_out_layers_0",
        "lora_unet_input_blocks_4_1_norm", "lora_unet_input_blocks_4_1_transformer_blocks_0_norm1",
    } <= {attachment.name for attachment in unet.attachments}  # fmt: skip


def by_file(folder: Path, text: str, family: Any, parts: Any) -> set[str]:
    """The layers that a LoKr with such a preset trains."""
    (folder / "preset.toml").write_text(text)
    settings = TrainingSettings().with_values(
        {"lora_type": "LyCORIS/LoKr", "lycoris_preset": str(folder / "preset.toml"), "conv_dim": 4,
         "flux1_checkbox": family is Flux, "sdxl": family is StableDiffusionXL}
    )  # fmt: skip
    return set(trained_layers(family(settings).lora_targets(parts, reach_of(settings)), Shares(settings))[1])


def test_a_preset_file_names_classes_and_layers(tmp_path: Path):
    """The expected ones: see SD15 above; of 48 layers of attention in the text encoder, 24 are queries and values."""
    parts = sd15_on_meta()
    attention = by_file(tmp_path, """
        enable_conv = false
        unet_target_module = ["CrossAttention"]
        unet_target_name = ["conv_out", ".*emb_proj"]
        text_encoder_target_module = []
        text_encoder_target_name = [".*self_attn.q_proj", ".*self_attn.v_proj"]
        """, StableDiffusion, parts)  # fmt: skip
    unet = {name for name in attention if name.startswith("lora_unet")}
    assert len(unet) == 128 + 22  # conv_out has 3×3 pixels
    assert len(attention) == len(unet) + 24
    wide = by_file(tmp_path, 'unet_target_module = []\nunet_target_name = ["conv_out"]', StableDiffusion, parts)
    assert {name for name in wide if name.startswith("lora_unet")} == {"lora_unet_conv_out"}
    assert len(wide) == 1 + 72  # what is not named is as in the preset "full"


def test_a_preset_file_leaves_out_what_it_excludes_and_may_use_stars(tmp_path: Path):
    whole = by_file(tmp_path, "enable_conv = false", StableDiffusion, sd15_on_meta())
    without = by_file(tmp_path, """
        enable_conv = false
        use_fnmatch = true
        exclude_name = ["mid_block*", "*.ff.*"]
        """, StableDiffusion, sd15_on_meta())  # fmt: skip
    assert without == {name for name in whole if "mid_block" not in name and "_ff_" not in name}


def test_a_preset_file_goes_by_the_original_s_names_and_classes(tmp_path: Path):
    text = 'unet_target_module = ["SingleStreamBlock"]\nunet_target_name = ["double_blocks[.]0[.].*"]'
    flux = {name for name in by_file(tmp_path, text, Flux, flux_on_meta()) if name.startswith("lora_unet")}
    assert len(flux) == 3 * 38 + 10
    assert {name for name in flux if "double" in name} == {name for name in flux if "double_blocks_0_" in name}
    text = 'unet_target_module = ["Upsample2D"]\nunet_target_name = ["time_embed.0"]\ntext_encoder_target_module = []'
    assert by_file(tmp_path, text, StableDiffusionXL, sdxl_on_meta()) == {
        "lora_unet_output_blocks_2_2_conv", "lora_unet_output_blocks_5_2_conv", "lora_unet_time_embed_0",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            "[[[",
            "LyCORIS Preset: preset.toml is not valid TOML in line 1; it may be cut off or have an editing mistake.",
        ),
        ("learning_rate = 1", "preset.toml is no LyCORIS preset: it has none of unet_target_module, "),
        ('unet_target_module = "ResnetBlock2D"', "preset.toml: unet_target_module is to be a list of names"),
        ("enable_conv = 1", "preset.toml: enable_conv is to be true or false."),
        ('unet_target_name = ["("]', 'preset.toml: unet_target_name has "(", which is no regular expression: '),
        (
            "enable_conv = true\nunet_target_modul = []",
            "preset.toml has unet_target_modul, which no LyCORIS preset has.",
        ),
        ("[module_algo_map.FeedForward]\nalgo = 'lokr'", "preset.toml has module_algo_map, which gives some layers "),
    ],
)
def test_a_file_that_is_no_preset_is_said(tmp_path: Path, text: str, said: str):
    with pytest.raises(Failure) as failed:
        by_file(tmp_path, text, StableDiffusion, None)
    assert failed.value.option == "lycoris_preset"
    assert failed.value.what.startswith(said)
    given = {"lora_type": "LyCORIS/LoKr", "lycoris_preset": str(tmp_path / "preset.toml"), "conv_dim": 4}
    assert [problem.what for problem in check_network(TrainingSettings().with_values(given))] == [failed.value.what]


def test_a_preset_file_that_is_not_there_is_said():
    given = {"lora_type": "LyCORIS/LoKr", "lycoris_preset": "/nowhere/preset.toml", "conv_dim": 4}
    (problem,) = check_network(TrainingSettings().with_values(given))
    assert (problem.option, problem.what) == (
        "lycoris_preset",
        "LyCORIS Preset: There is no file /nowhere/preset.toml.",
    )
