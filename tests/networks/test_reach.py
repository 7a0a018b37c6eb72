"""How many layers LyCORIS's presets reach, at the models' full sizes."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pytest

from engine.models.sd import StableDiffusion
from engine.models.sdxl import StableDiffusionXL
from engine.networks.made import PRESETS
from tests.networks.test_lora import sd15_on_meta
from tests.networks.test_lora_families import sdxl_on_meta

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
