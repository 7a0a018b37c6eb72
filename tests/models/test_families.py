"""Every family beyond the first: from a folder and from single files, conditioned and asked as diffusers does it."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import AutoencoderKL
from safetensors.torch import load_file, save_file

from engine.failure import Failure
from engine.models import encoders, flux, recognise, refiner, sd, sd3, sdxl
from engine.models.conditioning import Reading
from engine.models.drawing import Drawing
from engine.models.families import family_of
from engine.models.family import Family
from engine.models.parts import Parts
from engine.networks.lora import LoraNetwork
from engine.settings.training import TrainingSettings
from engine.training.caption_lengths import token_counts
from tests.models.files import weights_of, write_files
from tests.models.loading import drawn_by, loaded
from tests.models.small import FAMILIES, REFINERS_LABELS
from tests.models.small import pipeline as small

SYSTEM_PROMPT = "You draw"
"""Lumina alone reads it, before what is wanted."""

CAPTIONS = ["a red circle, on blue", "star"]


class Model:
    """A small model: diffusers' pipeline, its folder, and what the options are that name its single files."""

    def __init__(self, family: str, folder: Path) -> None:
        self.family, self.folder = family, folder / "folder"
        self.pipeline = small(family)
        self.pipeline.save_pretrained(self.folder)
        self.files = write_files(family, self.pipeline, folder / "files")


@pytest.fixture(scope="module", params=FAMILIES)
def model(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Model:
    return Model(request.param, tmp_path_factory.mktemp(request.param))


@pytest.fixture
def as_small(model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    """Single files are taken for ones of the small model's size, where real ones have the size that ships."""
    monkeypatch.setitem(sd.CONFIGS, 2, model.folder)
    for module in (sdxl, sd3, flux, refiner):
        monkeypatch.setattr(module, "CONFIGS", model.folder)
    monkeypatch.setattr(refiner, "BASE", model.folder)
    monkeypatch.setattr(recognise, "REFINERS_LABELS", REFINERS_LABELS)


def answers(family: Family, parts: Parts) -> dict[str, torch.Tensor]:
    """All that the family says of two captions, of two pictures, and of noisy latents."""
    torch.manual_seed(3)
    pixels = torch.rand(2, 3, 64, 128) * 2 - 1
    with torch.no_grad():
        encoded = family.encode_text(parts, CAPTIONS, Reading())
        latents = parts.encode(pixels, [torch.Generator().manual_seed(i) for i in range(2)])
        clean, beside = parts.split_channels(latents)
        noisy, timesteps = torch.randn_like(clean), torch.tensor([250, 800])
        sizes = torch.tensor([[64, 128, 0, 0, 64, 128]] * 2)
        answer = family.predict(parts, noisy, timesteps, encoded | beside, sizes)
        return {**encoded, "latents": latents, "answer": answer}


def assert_same(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> None:
    assert a.keys() == b.keys()
    for name in a:
        torch.testing.assert_close(
            a[name], b[name], atol=1e-4, rtol=1e-4, msg=lambda text, name=name: f"{name}: {text}"
        )


@pytest.mark.shows("clip_l", "t5xxl", "flux_vae", "lumina_gemma2", "lumina_ae")
def test_single_files_are_the_same_model_as_the_folder(model: Model, as_small: None):
    assert_same(answers(*loaded(**model.files, name=model.files["pretrained_model_name_or_path"])),
                answers(*loaded(model.folder)))  # fmt: skip


def test_captions_are_read_as_diffusers_reads_prompts(model: Model):
    family, parts = loaded(model.folder, lumina_system_prompt=SYSTEM_PROMPT)
    pipeline, caption = model.pipeline, CAPTIONS[0]
    with torch.no_grad():
        told = family.encode_text(parts, [caption], Reading())
        if model.family.startswith("sd2"):
            theirs = {"states": pipeline.encode_prompt(caption, "cpu", 1, False)[0]}
        elif model.family.startswith("sdxl"):
            states, _, pooled, _ = pipeline.encode_prompt(caption, do_classifier_free_guidance=False)
            theirs = {"states": states, "pooled": pooled}
        elif model.family == "sd3":
            states, _, pooled, _ = pipeline.encode_prompt(
                caption, None, None, do_classifier_free_guidance=False, max_sequence_length=256
            )
            theirs = {"states": states, "pooled": pooled}
        elif model.family == "chroma":
            states, _, seen, *_ = pipeline.encode_prompt(caption, do_classifier_free_guidance=False)
            theirs = {"states": states, "seen": seen.bool()}
        elif model.family == "lumina":
            states, mask, *_ = pipeline.encode_prompt(caption, False, system_prompt=SYSTEM_PROMPT)
            theirs = {"states": states, "mask": mask}
        else:
            states, pooled, _ = pipeline.encode_prompt(caption, max_sequence_length=512)
            theirs = {"states": states, "pooled": pooled}
    for name, tensor in theirs.items():
        torch.testing.assert_close(told[name], tensor, atol=1e-5, rtol=1e-5)


def test_captions_are_cut_off_where_the_family_says(model: Model):
    """A caption of as many tokens as are read, and one more."""
    family, parts = loaded(model.folder)
    limit = family.caption_limit(parts, Reading())
    # The small T5 and Gemma have a token for each letter, T5 one for a blank before; CLIP has one for each word "a".
    has_letters, has_blank = not model.family.startswith(("sd2", "sdxl")), model.family in ("sd3", "flux", "chroma")
    before = "a" * (limit.tokens - 1 - has_blank)
    captions = [("" if has_letters else " ").join(before + letters) for letters in ("b", "ba", "bb", "a")]
    tokens = {"sd2": 75, "sdxl": 75, "sd3": 255, "flux": 511, "chroma": 511, "lumina": 255}
    assert tokens[model.family.partition("-")[0]] == limit.tokens
    assert token_counts(limit.tokenizer, captions[:2]) == [limit.tokens, limit.tokens + 1]
    with torch.no_grad():
        full, longer, other, different = family.encode_text(parts, captions, Reading())["states"]
    torch.testing.assert_close(longer, other)
    assert not torch.allclose(full, different)


# diffusers begins with the picture whose depth it follows, and so with other latents; see test_concat.py.
@pytest.mark.shows("lumina_system_prompt")
@pytest.mark.parametrize("model", [name for name in FAMILIES if name != "sd2-depth"], indirect=True)
def test_a_sample_is_the_picture_that_diffusers_draws(model: Model):
    """The families' own conditioning and diffusers' from words lead to one picture."""
    from engine.settings.samples import SamplePrompt
    from engine.training.samplers import make_sampler

    family, parts = loaded(model.folder, lumina_system_prompt=SYSTEM_PROMPT)
    scheduler = None
    if parts.alphas_cumprod is not None:
        scheduler = make_sampler("euler", parts.alphas_cumprod, parts.prediction)
    prompt = SamplePrompt.parse("a red circle --s 2 --l 3 --n star --g 4 --ctr 0.5 --rcfg 0")
    with torch.no_grad():
        sample = Drawing(prompt, 64, 128, seed=5)
        ours = drawn_by(family, parts, sample, scheduler)
        theirs = copy.copy(model.pipeline)
        if scheduler is not None:
            theirs.scheduler = scheduler
        told: dict[str, Any] = {"prompt": "a red circle", "negative_prompt": "star", "guidance_scale": 3.0}
        if model.family == "flux":
            told |= {"true_cfg_scale": 3.0, "guidance_scale": 4.0}
        elif model.family == "lumina":
            told |= {"system_prompt": SYSTEM_PROMPT, "cfg_trunc_ratio": 0.5, "cfg_normalization": False}
        elif model.family == "chroma":
            told = masked_by_truth_values(theirs, **told)
        elif model.family == "sd2-inpainting":
            nothing_left = sample.extra_channels(parts)["extra_channels"][:, 1:]
            told |= {"image": torch.zeros(1, 3, 128, 64), "mask_image": torch.ones(1, 1, 128, 64), "strength": 1.0}
            told |= {"masked_image_latents": nothing_left}
        if model.family == "sdxl-refiner":
            told |= {"image": torch.zeros(1, 4, 16, 8), "strength": 1.0}
        else:
            told |= {"width": 64, "height": 128}
        drawn = theirs(**told, num_inference_steps=2, generator=torch.Generator().manual_seed(5)).images[0]
    assert ours.size == (64, 128)
    difference = torch.tensor(list(ours.tobytes())).float() - torch.tensor(list(drawn.tobytes())).float()
    assert difference.abs().max() <= 2


def masked_by_truth_values(pipeline: Any, prompt: str, negative_prompt: str, guidance_scale: float) -> dict[str, Any]:
    """What Chroma's pipeline makes of words, with the masks as they are meant: numbers are added, not masked by."""
    states, _, seen, others, _, others_seen = pipeline.encode_prompt(prompt, negative_prompt)
    return {
        "prompt_embeds": states, "prompt_attention_mask": seen.bool(), "negative_prompt_embeds": others,
        "negative_prompt_attention_mask": others_seen.bool(), "guidance_scale": guidance_scale,
    }  # fmt: skip


def randomised(network: LoraNetwork) -> LoraNetwork:
    torch.manual_seed(1)
    for group in ("unet", "text_encoder"):
        for parameter in network.parameters(group):
            torch.nn.init.normal_(parameter, std=0.1)
    return network


# Stable Diffusion 2's LoRA files have diffusers' names, as version 1's; see the network's own tests.
@pytest.mark.parametrize("model", [name for name in FAMILIES if not name.startswith("sd2")], indirect=True)
def test_a_loras_matrices_act_on_the_original_files_own(model: Model, as_small: None, tmp_path: Path):
    """Merged by its names into the original file's tensors, W + α/r · up · down, it changes the answer as attached."""
    family, parts = loaded(model.folder)
    network = randomised(LoraNetwork(family.lora_targets(parts), rank=4, alpha=2)).state_dict()
    weights = weights_of(model.family, model.pipeline)
    merged = copy.deepcopy(model.pipeline)
    places = {name.removesuffix(".weight").replace("model.diffusion_model.", "").replace(".", "_"): name
              for name in weights if name.endswith(".weight")}  # fmt: skip
    changed = 0
    for name in {key.partition(".")[0] for key in network}:
        module = name.removeprefix("lora_unet_")
        if not name.startswith("lora_unet_") or module not in places:
            continue
        up, down = (network[f"{name}.lora_{side}.weight"] for side in ("up", "down"))
        weights[places[module]] += 2 / 4 * (up.flatten(1) @ down.flatten(1)).view_as(weights[places[module]])
        changed += 1
    assert changed == sum(name.startswith("lora_unet_") and name.endswith(".alpha") for name in network)

    files = write_files(model.family, merged, tmp_path)
    save_file(weights, files["pretrained_model_name_or_path"])
    plain_family, plain = loaded(files["pretrained_model_name_or_path"], **_others(files))
    for encoder, trained in zip(plain.text_encoders, parts.text_encoders, strict=True):
        encoder.load_state_dict(_without_lora(trained), strict=False)
    with_network = answers_of_denoiser(family, parts, plain_family, plain)
    torch.testing.assert_close(*with_network, atol=2e-3, rtol=2e-3)


def _others(files: dict[str, str]) -> dict[str, str]:
    return {name: path for name, path in files.items() if name != "pretrained_model_name_or_path"}


def _without_lora(module: torch.nn.Module) -> dict[str, torch.Tensor]:
    return {n.replace(".base_layer", ""): t for n, t in module.state_dict().items() if ".lora_" not in n}


def answers_of_denoiser(family: Family, parts: Parts, other: Family, plain: Parts) -> tuple[torch.Tensor, torch.Tensor]:
    """Both denoisers' answers to the same noisy latents and captions."""
    with torch.no_grad():
        encoded = other.encode_text(plain, CAPTIONS, Reading())
        torch.manual_seed(4)
        channels = 16 if plain.prediction == "flow" else 4
        noisy, timesteps = torch.randn(2, channels, 8, 8), torch.tensor([250, 800])
        sizes = torch.tensor([[64, 64, 0, 0, 64, 64]] * 2)
        return (
            family.predict(parts, noisy, timesteps, encoded, sizes),
            other.predict(plain, noisy, timesteps, encoded, sizes),
        )


NEEDED = {
    "flux": {"clip_l": "CLIP-L", "t5xxl": "T5-XXL", "flux_vae": "VAE"},
    "chroma": {"t5xxl": "T5-XXL", "flux_vae": "VAE"},
    "lumina": {"lumina_gemma2": "Gemma2", "lumina_ae": "VAE"},
}


@pytest.mark.parametrize("family", NEEDED)
def test_a_part_that_is_nowhere_is_asked_for_by_its_option(family: str, tmp_path: Path):
    files = write_files(family, small(family), tmp_path)
    for option, what in NEEDED[family].items():
        with pytest.raises(Failure, match=f"contains no {what}") as failed:
            loaded(files["pretrained_model_name_or_path"], **{k: v for k, v in _others(files).items() if k != option})
        assert failed.value.option == option


@pytest.mark.shows("v2", "sdxl", "flux1_checkbox", "sd3_checkbox", "flux_model_type", "lumina_checkbox")
def test_where_the_files_are_not_at_hand_the_switches_say_the_family():
    def family(**switches: bool) -> str:
        names = {"pretrained_model_name_or_path": "someone/model", **switches}
        return family_of(TrainingSettings().with_values(names)).name

    assert family() == "Stable Diffusion 1"
    assert family(v2=True) == "Stable Diffusion 2"
    assert family(sdxl=True) == "SDXL"
    assert family(sd3_checkbox=True) == "Stable Diffusion 3"
    assert family(flux1_checkbox=True) == "FLUX.1"
    assert family(flux1_checkbox=True, flux_model_type="chroma") == "Chroma"
    assert family(lumina_checkbox=True) == "Lumina Image 2.0"
    assert family(flux_model_type="chroma") == "Stable Diffusion 1"


@pytest.mark.parametrize(("family", "lacks"), [("chroma", "img_in.weight"), ("lumina", "x_embedder.weight")])
def test_a_model_of_which_a_part_is_missing_is_said_to_be_none(family: str, lacks: str, tmp_path: Path):
    """As a later one that has grown out of it: its header is like, its insides are not."""
    files = write_files(family, small(family), tmp_path)
    name = files["pretrained_model_name_or_path"]
    save_file({key: tensor for key, tensor in load_file(name).items() if key != lacks}, name)
    with pytest.raises(Failure, match=f"is not a complete .* model: it lacks {lacks}"):
        loaded(name, **_others(files))


@pytest.mark.shows("sdxl_no_half_vae")
def test_sdxls_vae_stays_in_full_precision_where_that_is_wanted(tmp_path: Path):
    small("sdxl").save_pretrained(tmp_path)

    def vae(**changes: Any) -> AutoencoderKL:
        return loaded(tmp_path, torch.float16, **changes)[1].vae

    assert vae().dtype == torch.float16
    assert vae(sdxl_no_half_vae=True).dtype == torch.float32
    whole = dict(small("sdxl").vae.state_dict())
    kept = vae(sdxl_no_half_vae=True).state_dict()
    assert all(torch.equal(kept[name], tensor) for name, tensor in whole.items())  # not rounded on the way


def small_file(family: str, folder: Path) -> tuple[dict[str, str], Any]:
    pipeline = small(family)
    return write_files(family, pipeline, folder), pipeline


@pytest.mark.shows("clip_g")
def test_sd3s_text_encoders_may_lie_in_files_of_their_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    files, pipeline = small_file("sd3", tmp_path / "files")
    pipeline.save_pretrained(tmp_path / "folder")
    monkeypatch.setattr(sd3, "CONFIGS", tmp_path / "folder")
    whole, name = load_file(files["pretrained_model_name_or_path"]), tmp_path / "files" / "transformer.safetensors"
    save_file({key: t for key, t in whole.items() if not key.startswith("text_encoders.")}, name)
    options = {"sd3_clip_l": "clip_l", "clip_g": "clip_g", "sd3_t5xxl": "t5xxl"}
    for part in options.values():
        prefix = f"text_encoders.{part}.transformer."
        piece = {key.removeprefix(prefix): t for key, t in whole.items() if key.startswith(prefix)}
        save_file(piece, tmp_path / f"{part}.safetensors")
    paths = {option: str(tmp_path / f"{part}.safetensors") for option, part in options.items()}
    assert_same(answers(*loaded(name, **paths)), answers(*loaded(tmp_path / "folder")))
    with pytest.raises(Failure, match="contains no CLIP-G"):
        loaded(name, **(paths | {"clip_g": ""}))
    family, parts = loaded(name, **(paths | {"sd3_t5xxl": ""}))  # the largest encoder may be left out
    told = answers(family, parts)["states"]
    assert told.shape == (2, 77 + 77, 256)
    assert not told[:, 77:].any()


def test_the_other_tabs_paths_name_fluxs_text_encoders_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    files, pipeline = small_file("flux", tmp_path / "files")
    pipeline.save_pretrained(tmp_path / "folder")
    monkeypatch.setattr(flux, "CONFIGS", tmp_path / "folder")
    other = {"flux1_clip_l": files["clip_l"], "flux1_t5xxl": files["t5xxl"], "flux_vae": files["flux_vae"]}
    assert_same(answers(*loaded(files["pretrained_model_name_or_path"], **other)), answers(*loaded(**files_of(files))))


def files_of(files: dict[str, str]) -> dict[str, str]:
    return {"name": files["pretrained_model_name_or_path"], **_others(files)}


@pytest.fixture(scope="module")
def flux_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("flux")
    small("flux").save_pretrained(folder)
    return folder


@pytest.mark.shows("t5xxl_max_token_length")
def test_t5_reads_so_many_tokens(flux_folder: Path):
    assert answers(*loaded(flux_folder))["states"].shape[1] == 512
    assert answers(*loaded(flux_folder, t5xxl_max_token_length=64))["states"].shape[1] == 64


@pytest.mark.shows("flux_guidance_scale")
def test_flux_is_told_the_guidance_that_is_chosen(flux_folder: Path):
    plain, other = (answers(*loaded(flux_folder, flux_guidance_scale=scale)) for scale in (1.0, 3.5))
    assert torch.equal(plain["states"], other["states"])
    assert not torch.allclose(plain["answer"], other["answer"])


@pytest.mark.shows("apply_t5_attn_mask")
def test_behind_a_masked_caption_nothing_is_seen(flux_folder: Path):
    """What stands at the empty places changes the answer, but for a model that does not look there."""
    for masked in (False, True):
        family, parts = loaded(flux_folder, apply_t5_attn_mask=masked)
        with torch.no_grad():
            encoded = family.encode_text(parts, ["star"], Reading())
            count = int(encoded["mask"].sum())
            assert 0 < count < 20
            other = {**encoded, "states": encoded["states"].clone()}
            other["states"][:, count:] = 9
            noisy, timesteps = torch.randn(1, 16, 8, 8), torch.tensor([500])
            told = [family.predict(parts, noisy, timesteps, e, torch.zeros(1, 6)) for e in (encoded, other)]
        assert torch.allclose(*told, atol=1e-5) == masked


@pytest.mark.shows("train_blocks")
def test_a_lora_may_attach_to_some_of_fluxs_blocks(flux_folder: Path):
    def blocks(**changes: str) -> set[str]:
        family, parts = loaded(flux_folder, **changes)
        return {a.name.split("_")[2] for a in family.lora_targets(parts)[1].attachments}

    assert blocks() == {"double", "single"}
    assert blocks(train_blocks="double") == {"double"}
    assert blocks(train_blocks="single") == {"single"}


def test_t5s_tokenizer_is_read_from_the_files_that_the_hub_has(tmp_path: Path):
    """spiece.model alone, which sentencepiece made; the hub's folder of T5-XXL holds no other list of pieces."""
    import sentencepiece

    (tmp_path / "words.txt").write_text("a red circle on a blue star\n" * 50, encoding="utf-8")
    folder = tmp_path / "tokenizer_2"
    folder.mkdir()
    sentencepiece.SentencePieceTrainer.train(
        input=str(tmp_path / "words.txt"), model_prefix=str(folder / "spiece"), vocab_size=18, pad_id=0, eos_id=1,
        unk_id=2, bos_id=-1, minloglevel=2,
    )  # fmt: skip
    tokenizer = encoders.t5_tokenizer(tmp_path / "flux.safetensors")
    ids = tokenizer(["a red star"], padding="max_length", max_length=24).input_ids[0]
    assert ids[-1] == 0
    assert 1 in ids
    assert tokenizer.decode(ids, skip_special_tokens=True) == "a red star"
