"""What inpainting and depth models are shown beside noisy latents, against diffusers' own pipelines."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw
from safetensors.torch import load_file, save_file

from engine.check.check import check
from engine.data.holes import hole
from engine.demo.demo import MODEL_FOLDER
from engine.failure import Failure
from engine.models import sd
from engine.models.drawing import Drawing
from engine.models.families import family_of
from engine.models.init_image import init_image_of
from engine.models.vae import to_latents
from engine.settings.samples import SamplePrompt
from engine.settings.training import TrainingSettings
from engine.training.methods import method_of
from engine.training.samplers import make_sampler
from tests.models.files import write_files
from tests.models.loading import drawn_by, loaded
from tests.models.small import SETTINGS
from tests.models.small import pipeline as small

WIDTH, HEIGHT = 64, 128


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    made = {name: tmp_path_factory.mktemp(name) for name in ("sd2-inpainting", "sd2-depth", "sdxl-refiner")}
    for name, folder in made.items():
        small(name).save_pretrained(folder)
    return made


@pytest.fixture(scope="module")
def picture(tmp_path_factory: pytest.TempPathFactory) -> Path:
    image = Image.new("RGB", (WIDTH, HEIGHT), "navy")
    ImageDraw.Draw(image).ellipse((8, 8, 50, 90), fill="gold")
    file = tmp_path_factory.mktemp("pictures") / "in a folder.png"
    image.save(file)
    return file


@pytest.fixture(scope="module")
def mask(tmp_path_factory: pytest.TempPathFactory) -> Path:
    image = Image.new("L", (WIDTH, HEIGHT), 0)
    ImageDraw.Draw(image).rectangle((16, 32, 47, 95), fill=255)
    file = tmp_path_factory.mktemp("masks") / "mask.png"
    image.save(file)
    return file


def prompt(text: str = "a red circle", **files: Path) -> SamplePrompt:
    flags = "".join(f' --{flag} "{file}"' for flag, file in files.items())
    return SamplePrompt.parse(f"{text} --s 3 --l 3{flags} --n star")


def drawing(words: SamplePrompt, seed: int = 5) -> Drawing:
    return Drawing(words, WIDTH, HEIGHT, seed, init_image_of(words, WIDTH, HEIGHT))


def test_a_prompt_names_the_picture_that_a_sample_begins_from(picture: Path, mask: Path):
    words = prompt(img=picture, mask=mask)
    assert (words.text, words.negative) == ("a red circle", "star")
    assert (words.picture, words.mask) == (str(picture), str(mask))
    given = init_image_of(words, WIDTH, HEIGHT)
    assert given.picture is not None
    assert given.mask is not None
    ours = ((given.picture[0].permute(1, 2, 0) + 1) * 127.5).round().byte().numpy()
    assert np.array_equal(ours, np.asarray(Image.open(picture)))
    assert given.mask.sum() == 32 * 64
    assert init_image_of(prompt(), WIDTH, HEIGHT).picture is None
    with pytest.raises(Failure, match="of a sample prompt cannot be read"):
        init_image_of(SamplePrompt.parse("x --img nowhere.png"), WIDTH, HEIGHT)
    line = words.line()
    assert SamplePrompt.parse(line) == words


def test_an_inpainted_sample_is_the_one_that_diffusers_draws(folders: dict[str, Path], picture: Path, mask: Path):
    family, parts = loaded(folders["sd2-inpainting"])
    scheduler = make_sampler("euler_a", parts.alphas_cumprod, parts.prediction)
    sample = drawing(prompt(img=picture, mask=mask))
    with torch.no_grad():
        ours = drawn_by(family, parts, sample, scheduler)
        theirs = small("sd2-inpainting")
        theirs.scheduler = scheduler
        drawn = theirs(
            "a red circle", negative_prompt="star", image=Image.open(picture), mask_image=Image.open(mask),
            masked_image_latents=sample.extra_channels(parts)["extra_channels"][:, 1:], guidance_scale=3.0,
            strength=1.0,
            width=WIDTH, height=HEIGHT, num_inference_steps=3, generator=torch.Generator().manual_seed(5),
        ).images[0]  # fmt: skip
    difference = np.asarray(ours).astype(int) - np.asarray(drawn).astype(int)
    assert abs(difference).max() <= 2


def test_what_is_masked_is_hidden_from_the_model(folders: dict[str, Path], picture: Path, mask: Path):
    """The latents beside are of the picture with grey in the hole, as diffusers' pipeline makes them."""
    _, parts = loaded(folders["sd2-inpainting"])
    sample = drawing(prompt(img=picture, mask=mask))
    theirs = small("sd2-inpainting")
    image = theirs.image_processor.preprocess(Image.open(picture))
    hidden = theirs.mask_processor.preprocess(Image.open(mask), height=HEIGHT, width=WIDTH)
    with torch.no_grad():
        extra_channels = sample.extra_channels(parts)["extra_channels"]
        mask_there, latents_there = theirs.prepare_mask_latents(
            hidden, image * (hidden < 0.5), 1, HEIGHT, WIDTH, torch.float32, torch.device("cpu"),
            torch.Generator().manual_seed(5), False,
        )  # fmt: skip
    assert extra_channels.shape == (1, 5, HEIGHT // 8, WIDTH // 8)
    assert torch.equal(extra_channels[:, :1], mask_there)
    torch.testing.assert_close(extra_channels[:, 1:], latents_there, atol=1e-5, rtol=1e-5)


def test_in_training_each_step_hides_other_parts_and_the_seed_says_which(folders: dict[str, Path]):
    _, parts = loaded(folders["sd2-inpainting"])
    pixels = torch.rand(2, 3, HEIGHT, WIDTH) * 2 - 1

    def shown(seed: int) -> torch.Tensor:
        torch.manual_seed(seed)
        with torch.no_grad():
            return parts.encode(pixels, None)

    first, again, other = shown(1), shown(1), shown(2)
    assert first.shape == (2, 9, HEIGHT // 8, WIDTH // 8)
    assert torch.equal(first, again)
    assert not torch.equal(first[:, 4], other[:, 4])
    assert not torch.equal(first[0, 4], first[1, 4])
    assert set(first[:, 4].unique().tolist()) <= {0.0, 1.0}
    clean, beside = parts.split_channels(first)
    assert torch.equal(torch.cat([clean, beside["extra_channels"]], dim=1), first)


def test_holes_are_of_many_sizes_and_a_quarter_leaves_nothing():
    import random

    shares = [np.asarray(hole((96, 64), random.Random(seed))).mean() / 255 for seed in range(400)]
    assert 0.18 < np.mean([share == 1 for share in shares]) < 0.32
    rest = [share for share in shares if share < 1]
    assert min(rest) > 0
    assert 0.1 < np.mean(rest) < 0.6
    assert np.std(rest) > 0.1


def test_depth_is_what_diffusers_would_show(folders: dict[str, Path], picture: Path):
    _, parts = loaded(folders["sd2-depth"])
    theirs = small("sd2-depth")
    with torch.no_grad():
        ours = drawing(prompt(img=picture)).extra_channels(parts)["extra_channels"]
        depth = theirs.prepare_depth_map(
            Image.open(picture), None, 1, False, torch.float32, torch.device("cpu")
        )  # fmt: skip
    assert ours.shape == depth.shape == (1, 1, HEIGHT // 8, WIDTH // 8)
    assert (ours.amin(), ours.amax()) == (-1, 1)
    # The picture is scaled by torch here and by pillow there, which rounds to whole numbers.
    torch.testing.assert_close(ours, depth, atol=0.05, rtol=0)
    with torch.no_grad():
        assert not drawing(prompt()).extra_channels(parts)["extra_channels"].any()


def test_a_sample_follows_the_depth(folders: dict[str, Path], picture: Path):
    family, parts = loaded(folders["sd2-depth"])

    def drawn(words: SamplePrompt) -> bytes:
        scheduler = make_sampler("euler", parts.alphas_cumprod, parts.prediction)
        with torch.no_grad():
            return drawn_by(family, parts, drawing(words), scheduler).tobytes()

    assert drawn(prompt(img=picture)) == drawn(prompt(img=picture))
    assert drawn(prompt(img=picture)) != drawn(prompt())


def test_a_depth_models_file_keeps_the_part_that_sees_depth(
    folders: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setitem(sd.CONFIGS, 2, folders["sd2-depth"])
    file = Path(write_files("sd2-depth", small("sd2-depth"), tmp_path)["pretrained_model_name_or_path"])
    midas = {"depth_model.model.scratch.weight": torch.rand(3, 3)}
    save_file(load_file(file) | midas, file)
    family, parts = loaded(file)
    assert torch.equal(family.to_original(parts)["depth_model.model.scratch.weight"], *midas.values())
    (tmp_path / "depth_estimator").rename(tmp_path / "elsewhere")
    with pytest.raises(Failure, match="needs the depth estimator of Intel/dpt-hybrid-midas"):
        loaded(file)


def test_the_refiner_refines_the_picture_of_a_prompt(folders: dict[str, Path], picture: Path):
    """Little noise is put on it, so that it is still to be seen; diffusers draws the same."""
    family, parts = loaded(folders["sdxl-refiner"])
    sample = drawing(prompt(img=picture))
    assert sample.init_image.picture is not None
    with torch.no_grad():
        begun = to_latents(parts.vae, sample.init_image.picture, sample.generator())
        ours = drawn_by(family, parts, sample, make_sampler("euler", parts.alphas_cumprod))
        theirs = small("sdxl-refiner")
        theirs.scheduler = make_sampler("euler", parts.alphas_cumprod)
        drawn = theirs(
            "a red circle", negative_prompt="star", image=begun, strength=1 / 3, guidance_scale=3.0,
            num_inference_steps=3, generator=torch.Generator().manual_seed(5),
        ).images[0]  # fmt: skip
    assert abs(np.asarray(ours).astype(int) - np.asarray(drawn).astype(int)).max() <= 2


@pytest.mark.shows("train_inpainting")
@pytest.mark.parametrize(
    ("name", "told", "option", "why"),
    [
        ("sd2-inpainting", {"v2": True}, "train_inpainting", "a Stable Diffusion 2 inpainting model, but"),
        ("sd2-inpainting", {"v2": True, "train_inpainting": True, "cache_latents": False}, "", ""),
        ("sd2-inpainting", {"v2": True, "train_inpainting": True}, "train_inpainting", "cannot be encoded once"),
        ("sd2-depth", {"v2": True, "train_inpainting": True, "cache_latents": False}, "train_inpainting", "is on"),
        ("sd2-depth", {"v2": True}, "", ""),
        ("sdxl-refiner", {"sdxl": True}, "", ""),
        ("sdxl-refiner", {}, "pretrained_model_name_or_path", "an SDXL refiner model, but the settings are for"),
    ],
)
def test_the_switch_agrees_with_the_model(
    folders: dict[str, Path], name: str, told: dict[str, Any], option: str, why: str
):
    settings = TrainingSettings().with_values({"pretrained_model_name_or_path": str(folders[name]), **told})
    asked = ("train_inpainting", "pretrained_model_name_or_path")
    problems = [problem for problem in check(settings).problems if problem.option in asked]
    assert [problem.option for problem in problems] == ([option] if option else [])
    assert all(why in problem.what for problem in problems)


@pytest.mark.parametrize(
    ("name", "flags", "blocks", "why"),
    [
        ("sd2-inpainting", "--img {junk}", True, 'junk.png" given by --img: '),
        ("sd2-inpainting", "--img nowhere.png", True, 'nowhere.png" given by --img: '),
        ("sd2-inpainting", "--img {picture} --mask {mask}", False, ""),
        ("sd2-inpainting", "--mask {mask}", False, "--mask has no effect without --img"),
        ("sd2-depth", "--img {picture} --mask {mask}", False, "is not an inpainting model, so --mask has no effect"),
        ("sdxl-refiner", "--img {picture}", False, ""),
        ("", "--img {junk}", False, "starts from pure noise, so --img has no effect"),
    ],
)
def test_pictures_of_prompts_are_looked_at_before_the_start(
    folders: dict[str, Path], picture: Path, mask: Path, tmp_path: Path, name: str, flags: str, blocks: bool, why: str
):
    (tmp_path / "junk.png").write_text("no picture")
    model = folders.get(name, MODEL_FOLDER)
    words = flags.format(junk=f"'{tmp_path / 'junk.png'}'", picture=f"'{picture}'", mask=f"'{mask}'")
    told = {"sample_prompts": f"a circle {words}", "sample_every_n_steps": 1, **SETTINGS.get(name, {})}
    settings = TrainingSettings().with_values({"pretrained_model_name_or_path": str(model), **told})
    problems = [problem for problem in check(settings).problems if problem.option == "sample_prompts"]
    assert [problem.blocking for problem in problems] == ([blocks] if why else [])
    assert all(why in problem.what for problem in problems)


def test_a_refiner_is_best_trained_on_the_way_it_knows(folders: dict[str, Path]):
    def warned(**changes: Any) -> bool:
        told = {"pretrained_model_name_or_path": str(folders["sdxl-refiner"]), "sdxl": True, **changes}
        return any(p.option == "max_timestep" for p in check(TrainingSettings().with_values(told)).problems)

    assert warned()
    assert not warned(max_timestep=200)


def test_a_refiner_of_which_nothing_is_trained_is_refused(folders: dict[str, Path]):
    told = {
        "pretrained_model_name_or_path": str(folders["sdxl-refiner"]),
        "sdxl": True,
        "learning_rate": 0,
        "learning_rate_te2": 0,
    }
    settings = TrainingSettings().for_method("dreambooth").with_values({**told, "learning_rate_te1": 1e-5})
    family = family_of(settings)
    parts = family.load(settings, torch.float32)
    with pytest.raises(Failure, match="nothing would be learned"):
        method_of(family, parts, settings, total_steps=1, dtype=torch.float32)


def test_a_depth_model_is_loaded_whatever_class_its_list_names_for_preparing_pictures(
    folders: dict[str, Path], tmp_path: Path
):
    """The published one names a class that transformers no longer has."""
    shutil.copytree(folders["sd2-depth"], tmp_path / "model")
    index = tmp_path / "model" / "model_index.json"
    index.write_text(index.read_text().replace("DPTImageProcessor", "DPTFeatureExtractor"))
    assert "DPTFeatureExtractor" in index.read_text()
    _, parts = loaded(tmp_path / "model")
    assert parts.extra_channels is not None


def test_a_depth_model_without_the_part_that_sees_depth_is_refused(folders: dict[str, Path], tmp_path: Path):
    shutil.copytree(folders["sd2-depth"], tmp_path / "model")
    index = tmp_path / "model" / "model_index.json"
    index.write_text(index.read_text().replace("StableDiffusionDepth2ImgPipeline", "StableDiffusionPipeline"))
    with pytest.raises(Failure, match="has no depth estimator"):
        loaded(tmp_path / "model")


def test_an_ordinary_model_is_not_trained_as_an_inpainting_one():
    with pytest.raises(Failure, match="has 4 input channels, not the 9 of an inpainting model"):
        loaded(train_inpainting=True)
