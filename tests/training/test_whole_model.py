"""Training the whole model: DreamBooth and fine-tuning."""

from __future__ import annotations

import inspect
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import DiffusionPipeline
from PIL import Image
from safetensors import safe_open
from safetensors.torch import load_file

from engine.data.output_names import saved_names
from engine.demo.demo import MODEL_FOLDER
from engine.models import flux, recognise, refiner, sd, sd3, sdxl
from engine.models.conditioning import Reading
from engine.models.diffusers_folder import save_folder
from engine.models.families import family_of
from engine.runs.folder import RunFolder
from engine.runs.history import History
from engine.settings.training import TrainingSettings
from engine.training.report import Report
from engine.training.train import train
from engine.training.whole_model_method import WholeModelMethod
from tests.models.files import write_files
from tests.models.loading import NO_SIZES, loaded
from tests.models.small import REFINERS_LABELS, SETTINGS, pipeline

SWITCHES: dict[str, dict[str, Any]] = {"sd1": {}, **SETTINGS}


@pytest.mark.parametrize("family", SWITCHES)
def test_a_whole_model_is_trained_saved_and_loaded_again(
    trained, tmp_path: Path, family: str, monkeypatch: pytest.MonkeyPatch
):
    folder = MODEL_FOLDER if family == "sd1" else tmp_path / "model"
    if family != "sd1":
        made = pipeline(family)
        made.save_pretrained(folder)
    history = trained("dreambooth", pretrained_model_name_or_path=str(folder), max_train_steps=5, learning_rate=1e-4,
                      learning_rate_te=1e-4, learning_rate_te1=1e-4, learning_rate_te2=1e-4, save_precision="float",
                      **SWITCHES[family])  # fmt: skip
    assert history.last.how == "done", history.problem
    file = tmp_path / "out" / "shapes.safetensors"
    with safe_open(file, "pt") as opened:
        metadata = opened.metadata()
    assert "/lora" not in metadata["modelspec.architecture"]

    options = {} if family == "sd1" else write_files(family, made, tmp_path / "others")
    options.pop("pretrained_model_name_or_path", None)
    if family == "sd3":  # its file has no text encoders: those of the model it was trained on serve
        options = _encoders_of_sd3(made, tmp_path)
    for number in (1, 2):
        monkeypatch.setitem(sd.CONFIGS, number, folder)
    for module in (sdxl, sd3, flux, refiner):
        monkeypatch.setattr(module, "CONFIGS", folder)
    monkeypatch.setattr(refiner, "BASE", folder)
    monkeypatch.setattr(recognise, "REFINERS_LABELS", REFINERS_LABELS)
    _tokenizers_beside(file, folder)
    trained_family, parts = loaded(file, **options, **SWITCHES[family])
    after = answer(trained_family, parts)
    before = answer(*loaded(folder, **SWITCHES[family]))
    assert torch.isfinite(after).all()
    assert not torch.allclose(after, before, atol=1e-4)
    weights = load_file(file)
    assert {tensor.dtype for tensor in weights.values() if tensor.is_floating_point()} == {torch.float32}
    (tmp_path / "for diffusers").mkdir()
    save_folder(tmp_path / "for diffusers", trained_family.pipeline, parts, torch.float32, safe=True)
    picture = np.asarray(drawn_by_diffusers(tmp_path / "for diffusers"))
    assert picture.shape == (64, 64, 3)
    assert picture.std() > 0


def drawn_by_diffusers(folder: Path) -> Image.Image:
    pipeline = DiffusionPipeline.from_pretrained(folder)
    pipeline.set_progress_bar_config(disable=True)
    asked = inspect.signature(pipeline.__call__).parameters
    grey = Image.new("RGB", (64, 64), "grey")
    told = {"image": grey, "mask_image": Image.new("L", (64, 64), 255), "strength": 1.0, "width": 64, "height": 64}
    given = {name: value for name, value in told.items() if name in asked}
    return pipeline(prompt="a red circle", num_inference_steps=2, **given).images[0]


def _encoders_of_sd3(made: Any, folder: Path) -> dict[str, str]:
    from safetensors.torch import save_file

    options = {}
    whole = load_file(write_files("sd3", made, folder / "sd3")["pretrained_model_name_or_path"])
    for part, option in {"clip_l": "clip_l", "clip_g": "clip_g", "t5xxl": "t5xxl"}.items():
        prefix = f"text_encoders.{part}.transformer."
        save_file({k.removeprefix(prefix): t for k, t in whole.items() if k.startswith(prefix)}, folder / f"{part}.sft")
        options[option] = str(folder / f"{part}.sft")
    return options


def _tokenizers_beside(file: Path, model: Path) -> None:
    for name in ("tokenizer", "depth_estimator"):
        if (model / name).is_dir():
            shutil.copytree(model / name, file.parent / name)
    for name in ("tokenizer_3", "tokenizer_2", "tokenizer"):  # T5's is the last that a family has
        if (model / name).is_dir():
            shutil.copytree(model / name, file.parent / "tokenizer_2")
            break


def answer(family: Any, parts: Any) -> torch.Tensor:
    with torch.no_grad():
        encoded = family.encode_text(parts, ["a red circle"], Reading())
        torch.manual_seed(4)
        latents, beside = parts.split_channels(parts.encode(torch.rand(1, 3, 64, 64), torch.Generator().manual_seed(4)))
        return family.predict(parts, torch.randn_like(latents), torch.tensor([400]), encoded | beside, NO_SIZES)


def changed_parts(settings: TrainingSettings, tmp_path: Path, **changes: Any) -> set[str]:
    """Which parts of the saved model differ from the one that training began from."""
    weights = load_file(tmp_path / "out" / "shapes.safetensors")
    before = loaded()[0].to_original(loaded()[1])
    return {name.partition(".")[0] for name, tensor in weights.items() if not torch.equal(tensor, before[name])}


@pytest.mark.shows("learning_rate_te")
def test_a_text_encoder_at_rate_0_stays_as_it_is(trained, settings: TrainingSettings, tmp_path: Path):
    trained("dreambooth", max_train_steps=2, learning_rate_te=0, save_precision="float")
    assert changed_parts(settings, tmp_path) == {"model"}


@pytest.mark.shows("train_text_encoder", "learning_rate_te1", "learning_rate_te2")
def test_which_parts_have_which_rate():
    def rates(method: Any, text_encoders: int, **changes: Any) -> dict[str, float]:
        told = {"learning_rate": 3e-5, "learning_rate_te": 2e-5, "learning_rate_te1": 1e-5, "learning_rate_te2": 1e-6}
        settings = TrainingSettings().with_values(told | changes).model_copy(update={"method": method})
        return settings.whole_model_rates(text_encoders)

    assert rates("dreambooth", 1) == {"unet": 3e-5, "text_encoder": 2e-5}
    assert rates("dreambooth", 2) == {"unet": 3e-5, "text_encoder": 1e-5, "text_encoder_2": 1e-6}
    assert rates("dreambooth", 0) == {"unet": 3e-5}
    assert rates("finetune", 1, train_text_encoder=False) == {"unet": 3e-5, "text_encoder": 0}
    assert rates("finetune", 1, train_text_encoder=True) == {"unet": 3e-5, "text_encoder": 2e-5}
    assert rates("dreambooth", 1, stop_text_encoder_training=-1) == {"unet": 3e-5, "text_encoder": 0}


def test_rates_are_those_of_the_parts_that_the_family_trains():
    def rates(**changes: Any) -> tuple[float, ...]:
        return TrainingSettings().with_values(changes).for_method("dreambooth").rates()

    assert rates(learning_rate=3e-5, learning_rate_te=2e-5) == (3e-5, 2e-5)
    assert rates(learning_rate=3e-5, sdxl=True, learning_rate_te2=0) == (3e-5, 1e-5, 0)
    assert rates(learning_rate=0, flux1_checkbox=True) == (0,)


def test_what_is_trained_begins_from_all_digits_of_the_files(trained, tmp_path: Path):
    """With mixed precision too: at a rate that moves nothing, what is saved is what was loaded."""
    trained("dreambooth", max_train_steps=1, learning_rate=1e-30, learning_rate_te=0, save_precision="float",
            mixed_precision="bf16", optimizer="SGDNesterov", optimizer_args="weight_decay=0")  # fmt: skip
    weights = load_file(tmp_path / "out" / "shapes.safetensors")
    family, parts = loaded()
    before = family.to_original(parts)
    unet = [name for name in weights if name.startswith("model.diffusion_model.")]
    assert len(unet) > 100
    for name in unet:
        torch.testing.assert_close(weights[name], before[name], atol=1e-20, rtol=0)


def test_another_method_brings_its_usual_rate_but_leaves_one_that_was_chosen():
    plain = TrainingSettings()
    assert plain.for_method("dreambooth").optimizer.learning_rate == 1e-5
    assert plain.for_method("dreambooth").for_method("lora") == plain
    chosen = plain.with_values({"learning_rate": 3e-4})
    assert chosen.for_method("finetune").optimizer.learning_rate == 3e-4
    assert json.loads(chosen.for_method("finetune").model_dump_json())["method"] == "finetune"


@pytest.mark.parametrize("fused", [False, True])
def test_a_whole_model_goes_on_from_a_saved_state_to_the_same_bits(trained, tmp_path: Path, fused: bool):
    told = {"lr_scheduler": "constant", "save_precision": "float", "optimizer": "AdamW", "fused_backward_pass": fused}
    trained("dreambooth", output_name="whole", max_train_steps=6, **told)
    trained("dreambooth", output_name="first", max_train_steps=3, save_state_on_train_end=True, **told)
    state = tmp_path / "out" / "first-state"
    trained("dreambooth", output_name="second", max_train_steps=6, resume=str(state), **told)
    whole, first, second = (
        load_file(tmp_path / "out" / f"{name}.safetensors") for name in ("whole", "first", "second")
    )
    assert whole.keys() == second.keys()
    assert all(torch.equal(tensor, second[name]) for name, tensor in whole.items())
    assert any(not torch.equal(tensor, second[name]) for name, tensor in first.items())  # it has gone on learning


@pytest.mark.shows("save_model_as")
def test_a_run_keeps_and_replaces_folders_as_it_does_files(settings: TrainingSettings, tmp_path: Path):
    told = {"save_model_as": "diffusers_safetensors", "train_batch_size": 5, "epoch": 3, "save_last_n_epochs": 1,
            "save_every_n_epochs": 1, "overwrite": True}  # fmt: skip
    out = tmp_path / "out"
    shutil.copytree(MODEL_FOLDER, out / "shapes")
    (out / "shapes" / "old.txt").touch()
    run = RunFolder.create("train", "{}", "shapes")
    assert train(settings.for_method("dreambooth").with_values(told), run, Report(run.writer())) == ("done", 6)
    history = History(run).update()
    assert {entry.name for entry in out.iterdir()} == {"shapes-000002", "shapes"}
    assert not (out / "shapes" / "old.txt").exists()
    assert [Path(checkpoint.file).name for checkpoint in history.checkpoints][-1] == "shapes"
    assert DiffusionPipeline.from_pretrained(out / "shapes", safety_checker=None).unet.dtype == torch.float32
    stored = load_file(out / "shapes" / "unet" / "diffusion_pytorch_model.safetensors")
    assert {tensor.dtype for tensor in stored.values()} == {torch.float16}  # kohya_ss's own default


@pytest.mark.shows("save_clip", "save_t5xxl")
def test_stable_diffusion_3s_text_encoders_are_saved_beside_it_and_complete_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    pipeline("sd3").save_pretrained(tmp_path / "folder")
    monkeypatch.setattr(sd3, "CONFIGS", tmp_path / "folder")
    chosen = {"sd3_checkbox": True, "save_clip": True, "save_t5xxl": True, "save_precision": "float"}
    settings = TrainingSettings().with_values(
        {"pretrained_model_name_or_path": str(tmp_path / "folder"), "output_name": "v3.5", **chosen}
    )
    settings = settings.for_method("dreambooth")
    family = family_of(settings)
    parts = family.load(settings, torch.float32)
    (tmp_path / "out").mkdir()
    method = WholeModelMethod(family, parts, settings, total_steps=1, dtype=torch.float32)
    method.save(tmp_path / "out" / "v3.5.safetensors", {})
    names = saved_names(settings, "v3.5")
    assert {file.name for file in (tmp_path / "out").iterdir()} == set(names)
    assert names[1:] == ["v3.5_clip_l.safetensors", "v3.5_clip_g.safetensors", "v3.5_t5xxl.safetensors"]
    _tokenizers_beside(tmp_path / "out" / names[0], tmp_path / "folder")
    files = [str(tmp_path / "out" / name) for name in names]
    of_files = loaded(files[0], sd3_checkbox=True, clip_l=files[1], clip_g=files[2], t5xxl=files[3])
    torch.testing.assert_close(answer(*of_files), answer(family, parts))
