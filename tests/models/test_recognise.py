"""What a file is, by its header alone."""

from __future__ import annotations

import json
import struct
import sys
import tracemalloc
from pathlib import Path

import pytest

from engine.models.recognise import Found, NoModel, by_shapes, recognise

UNET = "model.diffusion_model."
SD1 = {
    f"{UNET}input_blocks.0.0.weight": (320, 4, 3, 3),
    f"{UNET}input_blocks.1.1.transformer_blocks.0.attn2.to_k.weight": (320, 768),
    "cond_stage_model.transformer.text_model.embeddings.token_embedding.weight": (49408, 768),
    "first_stage_model.decoder.conv_in.weight": (512, 4, 3, 3),
}
SD2 = {
    f"{UNET}input_blocks.0.0.weight": (320, 4, 3, 3),
    f"{UNET}input_blocks.1.1.transformer_blocks.0.attn2.to_k.weight": (320, 1024),
    "cond_stage_model.model.ln_final.weight": (1024,),
}
SDXL = {
    f"{UNET}input_blocks.0.0.weight": (320, 4, 3, 3),
    f"{UNET}label_emb.0.0.weight": (1280, 2816),
    f"{UNET}input_blocks.4.1.transformer_blocks.0.attn2.to_k.weight": (640, 2048),
    "conditioner.embedders.1.model.ln_final.weight": (1280,),
}
REFINER = SDXL | {f"{UNET}label_emb.0.0.weight": (1536, 2560)}
FLUX = {"double_blocks.0.img_attn.qkv.weight": (9216, 3072), "guidance_in.in_layer.weight": (3072, 256)}
MMDIT = {f"{UNET}joint_blocks.0.x_block.attn.qkv.weight": (4608, 1536)}

HEADERS = {
    "sd1": (SD1, Found("model", "sd1")),
    "sd1-inpainting": (SD1 | {f"{UNET}input_blocks.0.0.weight": (320, 9, 3, 3)}, Found("model", "sd1", 9)),
    "sd1-unet-alone": ({k: v for k, v in SD1.items() if k.startswith(UNET)}, Found("denoiser", "sd1")),
    "sd2": (SD2, Found("model", "sd2")),
    "sd2-depth": (SD2 | {f"{UNET}input_blocks.0.0.weight": (320, 5, 3, 3)}, Found("model", "sd2", 5)),
    "sdxl": (SDXL, Found("model", "sdxl")),
    "sdxl-velocity": (SDXL | {"v_pred": (0,)}, Found("model", "sdxl", 4, "v_prediction")),
    "sdxl-refiner": (REFINER, Found("model", "sdxl-refiner")),
    "sd3-with-encoders": (MMDIT | {"text_encoders.clip_l.transformer.x": (1,)}, Found("model", "sd3")),
    "sd3-alone": (MMDIT, Found("denoiser", "sd3")),
    "flux": (FLUX, Found("denoiser", "flux")),
    "flux-with-encoders": (
        {UNET + key: shape for key, shape in FLUX.items()} | {"vae.decoder.conv_in.weight": (512, 16, 3, 3)},
        Found("model", "flux"),
    ),
    "flux-fill": (FLUX | {"img_in.weight": (3072, 384)}, Found("denoiser", "flux", 384)),
    "chroma": (FLUX | {"distilled_guidance_layer.in_proj.weight": (5120, 64)}, Found("denoiser", "chroma")),
    "qwen": ({"transformer_blocks.0.img_mod.1.weight": (1, 1)}, Found("denoiser", "qwen")),
    "lumina": ({"cap_embedder.1.weight": (2304, 2304)}, Found("denoiser", "lumina")),
    "lumina-with-encoder": (
        {f"{UNET}cap_embedder.1.weight": (2304, 2304), "text_encoders.gemma2_2b.logit_scale": (1,)},
        Found("model", "lumina"),
    ),
    "z-image": ({"cap_embedder.1.weight": (3840, 2560), "cap_pad_token": (1, 3840)}, Found("unknown")),
    "lora": ({"lora_unet_down_blocks_0.lora_down.weight": (8, 320)}, Found("lora")),
    "lora-of-diffusers": ({"unet.down_blocks.0.to_q.lora_A.weight": (8, 320)}, Found("lora")),
    "lokr": ({"lora_unet_mid_block.lokr_w1": (8, 8)}, Found("lora")),
    "vae": ({"decoder.conv_in.weight": (512, 4, 3, 3)}, Found("vae")),
    "vae-of-sd": ({"first_stage_model.decoder.conv_in.weight": (512, 4, 3, 3)}, Found("vae")),
    "clip": ({"text_model.encoder.layers.0.self_attn.k_proj.weight": (768, 768)}, Found("text encoder")),
    "t5": ({"encoder.block.0.layer.0.SelfAttention.q.weight": (4096, 4096)}, Found("text encoder")),
    "gemma": ({"model.layers.0.self_attn.k_proj.weight": (1024, 2304)}, Found("text encoder")),
    "embedding": ({"emb_params": (4, 768)}, Found("embedding")),
    "embedding-of-sdxl": ({"clip_l": (4, 768), "clip_g": (4, 1280)}, Found("embedding")),
    "something-else": ({"conv1.weight": (64, 3, 7, 7)}, Found("unknown")),
    "empty": ({}, Found("unknown")),
}


def write(file: Path, shapes: dict[str, tuple[int, ...]], missing: int = 0) -> str:
    """A safetensors file of these shapes, whose bytes are all absent but for the last: sparse, however large."""
    listed, end = {}, 0
    for name, shape in shapes.items():
        size = 4
        for side in shape:
            size *= side
        listed[name] = {"dtype": "F32", "shape": shape, "data_offsets": [end, end + size]}
        end += size
    header = json.dumps(listed).encode()
    with file.open("wb") as stream:
        stream.write(struct.pack("<Q", len(header)) + header)
        stream.truncate(8 + len(header) + end - missing)
    return str(file)


@pytest.mark.parametrize("name", HEADERS)
def test_a_file_is_known_by_its_header(name: str, tmp_path: Path):
    shapes, found = HEADERS[name]
    assert recognise(write(tmp_path / "m.safetensors", shapes)) == found == by_shapes(shapes)


def test_of_a_file_of_ten_gigabytes_only_the_header_is_read(tmp_path: Path):
    file = write(tmp_path / "m.safetensors", SDXL | {f"x.{i}": (1024, 1024) for i in range(2500)})
    assert Path(file).stat().st_size > 10e9
    tracemalloc.start()
    try:
        assert recognise(file) == Found("model", "sdxl")
        assert tracemalloc.get_traced_memory()[1] < 10e6
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("content", [b"", b"\x00", b"<html>", b"\xff" * 64, struct.pack("<Q", 5) + b"[1,2]",
                                     struct.pack("<Q", 9) + b'{"a": 12}'])  # fmt: skip
def test_junk_is_said_to_be_none(content: bytes, tmp_path: Path):
    (tmp_path / "junk.safetensors").write_bytes(content)
    with pytest.raises(NoModel, match=r"junk\.safetensors"):
        recognise(str(tmp_path / "junk.safetensors"))


def test_a_download_that_broke_off_is_said_to_be_one(tmp_path: Path):
    with pytest.raises(NoModel, match="not downloaded completely: 100 bytes are missing"):
        recognise(write(tmp_path / "m.safetensors", SD1, missing=100))


@pytest.mark.parametrize(
    ("index", "unet", "found"),
    [
        ("StableDiffusionPipeline", {"cross_attention_dim": 768}, Found("model", "sd1", 4, "epsilon")),
        ("StableDiffusionPipeline", {"cross_attention_dim": 1024}, Found("model", "sd2", 4, "epsilon")),
        ("StableDiffusionInpaintPipeline", {"in_channels": 9}, Found("model", "sd1", 9, "epsilon")),
        ("StableDiffusionXLInpaintPipeline", {"in_channels": 9}, Found("model", "sdxl", 9, "epsilon")),
        (
            "StableDiffusionDepth2ImgPipeline",
            {"in_channels": 5, "cross_attention_dim": 1024},
            Found("model", "sd2", 5, "epsilon"),
        ),
        ("StableDiffusionXLImg2ImgPipeline", {}, Found("model", "sdxl-refiner", 4, "epsilon")),
        ("StableDiffusionXLPipeline", {}, Found("model", "sdxl", 4, "epsilon")),
        ("StableDiffusion3Pipeline", {}, Found("model", "sd3", 4, "epsilon")),
        ("FluxPipeline", {}, Found("model", "flux", 4, "epsilon")),
        ("ChromaPipeline", {}, Found("model", "chroma", 4, "epsilon")),
        ("Lumina2Pipeline", {}, Found("model", "lumina", 4, "epsilon")),
        ("SomethingPipeline", {}, Found("unknown")),
        (None, {}, Found("unknown")),
    ],
)
def test_a_folder_is_known_by_its_lists(index: str | None, unet: dict[str, int], found: Found, tmp_path: Path):
    for file, content in {
        "model_index.json": {"_class_name": index},
        "unet/config.json": unet,
        "scheduler/scheduler_config.json": {"prediction_type": "epsilon"},
    }.items():
        (tmp_path / file).parent.mkdir(exist_ok=True)
        (tmp_path / file).write_text(json.dumps(content))
    assert recognise(str(tmp_path)) == found


def test_what_only_torch_can_read_is_not_judged(tmp_path: Path):
    (tmp_path / "m.ckpt").write_bytes(b"PK\3\4 and nothing that is read here")
    assert recognise(str(tmp_path / "m.ckpt")) is None
    assert recognise(str(tmp_path)) is None
    assert recognise("nobody/has-this-here") is None


def test_models_of_the_hub_are_known_before_they_are_downloaded():
    assert recognise("stabilityai/stable-diffusion-xl-base-1.0") == Found("model", "sdxl")
    assert recognise("stabilityai/stable-diffusion-2-inpainting") == Found("model", "sd2", 9)
    assert recognise("stabilityai/stable-diffusion-2-depth") == Found("model", "sd2", 5)
    assert recognise("stabilityai/stable-diffusion-xl-refiner-1.0") == Found("model", "sdxl-refiner")


def test_a_download_that_broke_off_before_the_unets_list_is_not_guessed_at(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """The index alone is the same for Stable Diffusion 1 and 2."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    model = tmp_path / "models--someone--model"
    snapshot = model / "snapshots" / "0123"
    for file, content in (
        (model / "refs" / "main", "0123"),
        (snapshot / "model_index.json", '{"_class_name": "StableDiffusionPipeline", "unet": ["diffusers", "UNet"]}'),
    ):
        file.parent.mkdir(parents=True)
        file.write_text(content)
    assert recognise("someone/model") is None
    (snapshot / "unet").mkdir()
    (snapshot / "unet" / "config.json").write_text('{"cross_attention_dim": 1024}')
    assert recognise("someone/model") == Found("model", "sd2")


def test_the_page_may_ask_without_torch():
    import subprocess

    code = "import sys, engine.models.recognise; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
