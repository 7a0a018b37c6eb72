"""Everything wrong is said before a start, at once, beside its field, with the next move."""

from __future__ import annotations

import os
import shutil
from collections import namedtuple
from pathlib import Path
from typing import Any

import pytest

from engine.check.check import check
from engine.check.mend import mended, with_free_name
from engine.check.problem import Problem
from engine.check.space import saved_bytes
from engine.demo.demo import MODEL_FOLDER
from engine.settings.families import SWITCHES
from engine.settings.kohya_json import from_kohya, to_kohya
from engine.settings.network import ACTING, LoraType
from engine.settings.paths import with_whole_paths
from engine.settings.training import TrainingSettings, training_options
from tests.pictures import draw_pictures

usage = namedtuple("usage", "total used free")
"""Of a disk, in bytes, as shutil.disk_usage() has it."""


def problems(settings: TrainingSettings, **changes: Any) -> dict[str, Problem]:
    return {problem.option: problem for problem in check(settings.with_values(changes)).problems}


def test_sound_settings_can_start_and_their_steps_are_told(settings: TrainingSettings):
    checked = check(settings)
    assert checked.can_start
    assert checked.problems == []
    assert checked.plan.steps == 10


def test_untouched_settings_say_all_that_is_missing_at_once():
    found = problems(TrainingSettings())
    assert found["train_data_dir"].what == "No image folder is chosen."
    assert found["output_dir"].what == "No output folder is chosen."
    assert not check(TrainingSettings()).can_start


@pytest.mark.parametrize(
    ("model", "what"),
    [
        ("", "No model is chosen."),
        ("./nothing/here", 'There is no model at "./nothing/here".'),
        ("/models/gone.safetensors", 'There is no model at "/models/gone.safetensors".'),
    ],
)
def test_a_missing_model(settings: TrainingSettings, model: str, what: str):
    assert problems(settings, pretrained_model_name_or_path=model)["pretrained_model_name_or_path"].what == what


def test_a_folder_that_is_no_model(settings: TrainingSettings, tmp_path: Path):
    problem = problems(settings, pretrained_model_name_or_path=str(tmp_path))["pretrained_model_name_or_path"]
    assert "without a model_index.json" in problem.what


def test_a_missing_vae(settings: TrainingSettings):
    assert "no VAE at" in problems(settings, vae="/gone.safetensors")["vae"].what


@pytest.mark.parametrize("name", SWITCHES)
def test_settings_made_for_another_family_do_not_train_the_wrong_one(settings: TrainingSettings, name: str):
    other = settings.with_values({name: True})
    problem = problems(other)["pretrained_model_name_or_path"]
    assert problem.blocking
    assert "is a Stable Diffusion 1 model, but the settings are for" in problem.what
    assert mended(problem, other) == settings


def test_a_chroma_is_not_trained_as_the_flux_that_the_form_says(settings: TrainingSettings, tmp_path: Path):
    (tmp_path / "model_index.json").write_text('{"_class_name": "ChromaPipeline"}')
    told = settings.with_values({"pretrained_model_name_or_path": str(tmp_path), "flux1_checkbox": True})
    problem = problems(told)["pretrained_model_name_or_path"]
    assert problem.what == "This is a Chroma model, but the settings are for FLUX.1."
    assert mended(problem, told) == told.with_values({"flux_model_type": "chroma"})
    assert "pretrained_model_name_or_path" not in problems(mended(problem, told))


def test_with_chroma_only_the_transformers_rate_counts(settings: TrainingSettings):
    """Its LoRA has no text encoder's part, so a rate for one leaves nothing to train."""
    told = {"flux1_checkbox": True, "unet_lr": 0, "learning_rate": 0, "text_encoder_lr": 1e-4}
    assert "learning_rate" not in problems(settings, **told)
    assert "nothing would be learned" in problems(settings, **told, flux_model_type="chroma")["learning_rate"].what


def test_lumina_has_no_places_for_longer_captions(settings: TrainingSettings):
    """The rotary table has 300, of which the picture takes the one behind the caption."""
    assert "lumina_gemma2_max_token_length" not in problems(settings, lumina_gemma2_max_token_length=300)
    told = {"lumina_checkbox": True, "lumina_gemma2_max_token_length": 300}
    assert problems(settings, **told)["lumina_gemma2_max_token_length"].blocking
    assert "lumina_gemma2_max_token_length" not in problems(
        settings, **(told | {"lumina_gemma2_max_token_length": 299})
    )


def test_a_model_that_predicts_noise_is_not_trained_to_predict_velocity(settings: TrainingSettings):
    other = settings.with_values({"v_parameterization": True})
    problem = problems(other)["v_parameterization"]
    assert problem.blocking
    assert mended(problem, other) == settings


NOT_YET = [(item.name, value) for item in training_options() if item.acts for value in item.not_yet]


@pytest.mark.parametrize(("name", "value"), NOT_YET)
def test_a_choice_that_cannot_be_followed_starts_no_run(settings: TrainingSettings, name: str, value: str):
    item = next(item for item in training_options() if item.name == name)
    beside = {other: values[0] for other, values in (item.applies_when or {}).items()}
    problem = problems(settings, **beside, **{name: value})[name]
    assert problem.blocking
    assert f'"{value}" is not supported yet (' in problem.what
    assert problem.mend.startswith("Choose ")


def test_a_choice_for_another_method_does_not_block_this_one(settings: TrainingSettings):
    other = settings.with_values({"lora_type": "HunyuanImage-2.1"})
    assert problems(other)["lora_type"].blocking
    assert "lora_type" not in problems(other.for_method("dreambooth"))


def test_a_lora_type_of_another_family_is_named(settings: TrainingSettings):
    told = problems(settings, lora_type="Lumina")["lora_type"]
    assert told.what == "LoRA type Lumina does not work with Stable Diffusion 1 models."
    assert "lora_type" not in problems(settings, lora_type="Lumina", lumina_checkbox=True)
    for chroma in ("flux", "chroma"):
        assert "lora_type" not in problems(settings, lora_type="Flux1", flux1_checkbox=True, flux_model_type=chroma)
    assert "lora_type" in problems(settings, lora_type="Flux1", sdxl=True)
    assert "lora_type" not in problems(settings.for_method("dreambooth"), lora_type="Flux1")


def test_sizes_that_patches_cannot_cover_are_named(settings: TrainingSettings):
    assert "max_resolution" not in problems(settings, max_resolution="520,520")
    assert "max_resolution" not in problems(settings, max_resolution="520,520", flux1_checkbox=True)  # with buckets
    told = problems(settings, max_resolution="520,520", flux1_checkbox=True, enable_bucket=False)["max_resolution"]
    assert "not divisible by 16" in told.what
    assert "Use 512,512" in told.mend or "Use 528,528" in told.mend
    problem = problems(settings, bucket_reso_steps=8, sd3_checkbox=True)["bucket_reso_steps"]
    assert "Use a multiple of 16" in problem.mend
    typed = settings.with_values({"bucket_reso_steps": 1})  # as some of kohya_ss's presets have it
    (problem,) = (one for one in check(typed).problems if one.option == "bucket_reso_steps")
    assert mended(problem, typed).dataset.bucket_reso_steps == 64


@pytest.mark.parametrize("kind", ACTING)
def test_every_type_of_lora_can_start(settings: TrainingSettings, kind: LoraType, monkeypatch: pytest.MonkeyPatch):
    """With ranks as presets have them, and 100 GB free; a LoKr's ranks may be far above its matrices."""
    monkeypatch.setattr("shutil.disk_usage", lambda _: usage(10**12, 10**12, 10**11))
    families = {"Flux1": "flux1_checkbox", "Flux1 OFT": "flux1_checkbox", "Lumina": "lumina_checkbox"}
    changes: dict[str, Any] = {
        "lora_type": kind,
        "network_dim": 32,
        "network_alpha": 16,
        "conv_dim": 16,
        "conv_alpha": 8,
    }
    if kind in families:
        changes[families[kind]] = True
    if kind.endswith("LoKr"):
        changes |= {"network_dim": 100_000, "conv_dim": 100_000}
    found = problems(settings, **changes)
    ours = {"network", "lycoris", "blocks", "flux_ranks", "folders"}
    groups = {item.name: item.path[0] for item in settings.options()}
    assert not {name: problem.what for name, problem in found.items() if groups.get(name) in ours and problem.blocking}


class TestPictures:
    def test_no_such_folder(self, settings: TrainingSettings):
        assert problems(settings, train_data_dir="/gone")["train_data_dir"].what == '"/gone" does not exist.'

    def test_a_file_for_a_folder(self, settings: TrainingSettings, tmp_path: Path):
        (tmp_path / "file").touch()
        assert "is a file" in problems(settings, train_data_dir=str(tmp_path / "file"))["train_data_dir"].what

    def test_no_pictures(self, settings: TrainingSettings, tmp_path: Path):
        (tmp_path / "empty").mkdir()
        problem = problems(settings, train_data_dir=str(tmp_path / "empty"))["train_data_dir"]
        assert "Found no pictures" in problem.what
        assert '"empty/10_shapes"' in problem.mend

    def test_loose_pictures_are_put_where_they_belong(self, settings: TrainingSettings, tmp_path: Path):
        loose = settings.with_values({"train_data_dir": str(draw_pictures(tmp_path / "photos", 3))})
        problem = problems(loose)["train_data_dir"]
        assert "Found 3 pictures directly in" in problem.what
        after = mended(problem, loose)
        assert check(after).can_start
        assert len(list((tmp_path / "photos" / "10_shapes").glob("*.png"))) == 3

    def test_a_folder_without_a_number_gets_one(self, settings: TrainingSettings, tmp_path: Path):
        draw_pictures(tmp_path / "photos" / "cat", 3)
        unnumbered = settings.with_values({"train_data_dir": str(tmp_path / "photos")})
        after = mended(problems(unnumbered)["train_data_dir"], unnumbered)
        assert check(after).can_start
        assert (tmp_path / "photos" / "10_cat").is_dir()

    def test_the_folder_one_too_deep(self, settings: TrainingSettings, tmp_path: Path):
        inner = settings.with_values({"train_data_dir": str(tmp_path / "img" / "2_shapes")})
        after = mended(problems(inner)["train_data_dir"], inner)
        assert after.folders.train_data_dir == str(tmp_path / "img")
        assert check(after).can_start

    def test_an_unreadable_picture_is_named_and_not_counted(self, settings: TrainingSettings, tmp_path: Path):
        counted = check(settings).plan.pictures
        (tmp_path / "img" / "2_shapes" / "broken.jpg").write_bytes(b"no")
        problem = problems(settings)["train_data_dir"]
        assert not problem.blocking
        assert '"2_shapes/broken.jpg" (it is not a picture that can be read)' in problem.what
        assert check(settings).plan.pictures == counted

    def test_without_one_readable_picture_there_is_no_start(self, settings: TrainingSettings, tmp_path: Path):
        for picture in (tmp_path / "img" / "2_shapes").glob("*.png"):
            picture.write_bytes(b"no")
        assert problems(settings)["train_data_dir"].blocking
        assert check(settings).plan is None

    def test_a_caption_without_a_picture_is_told(self, settings: TrainingSettings, tmp_path: Path):
        (tmp_path / "img" / "2_shapes" / "gone.txt").write_text("a cat")
        problem = problems(settings)["caption_extension"]
        assert not problem.blocking
        assert '"2_shapes/gone.txt"' in problem.what

    def test_an_ending_that_no_file_can_have(self, settings: TrainingSettings):
        assert problems(settings, caption_extension="captions/txt")["caption_extension"].blocking

    def test_pictures_left_out_are_told(self, settings: TrainingSettings, tmp_path: Path):
        draw_pictures(tmp_path / "img", 2)
        problem = problems(settings)["train_data_dir"]
        assert not problem.blocking
        assert "are left out" in problem.what


class TestOutput:
    @pytest.mark.parametrize("name", ["", "  ", "a/b", "what?", "a\nb", "..\\up"])
    def test_what_cannot_be_a_file_name(self, settings: TrainingSettings, name: str):
        assert "cannot be a file name" in problems(settings, output_name=name)["output_name"].what

    def test_a_file_for_a_folder(self, settings: TrainingSettings, tmp_path: Path):
        (tmp_path / "file").touch()
        assert "is a file" in problems(settings, output_dir=str(tmp_path / "file"))["output_dir"].what

    def test_a_folder_that_cannot_be_written(self, settings: TrainingSettings, monkeypatch: pytest.MonkeyPatch):
        monkeypatch.setattr(os, "access", lambda *_: False)
        assert "Cannot write to" in problems(settings)["output_dir"].what

    @pytest.mark.shows("overwrite")
    @pytest.mark.parametrize("name", ["shapes.safetensors", "shapes-000001.safetensors"])
    def test_a_file_that_would_be_overwritten(self, settings: TrainingSettings, tmp_path: Path, name: str):
        longer = settings.with_values({"epoch": 2})
        (tmp_path / "out").mkdir()
        (tmp_path / "out" / name).write_bytes(b"weeks of work")
        problem = problems(longer)["output_name"]
        assert problem.blocking
        assert name in problem.what
        after = mended(problem, longer)
        assert after.folders.output_name == "shapes-2"
        assert check(after).can_start
        assert with_free_name(longer) == after
        assert check(longer.with_values({"overwrite": True})).can_start

    def test_a_folder_of_other_things_is_never_replaced(self, settings: TrainingSettings, tmp_path: Path):
        """A model's folder has the output name alone, which may be that of the pictures' folder."""
        whole = settings.for_method("dreambooth").with_values(
            {"output_dir": str(tmp_path), "output_name": "img", "save_model_as": "diffusers", "overwrite": True}
        )
        problem = problems(whole)["output_name"]
        assert problem.blocking
        assert "contains something else" in problem.what
        assert mended(problem, whole).folders.output_name == "img-2"
        assert "output_name" not in problems(whole, save_model_as="safetensors")

    def test_the_folder_of_the_samples_is_no_models(self, settings: TrainingSettings):
        whole = settings.for_method("dreambooth").with_values({"output_name": "Sample", "save_model_as": "diffusers"})
        assert "sample pictures" in problems(whole)["output_name"].what
        assert "output_name" not in problems(whole, save_model_as="safetensors")

    def test_the_model_that_is_trained_is_not_replaced(self, settings: TrainingSettings, tmp_path: Path):
        shutil.copytree(MODEL_FOLDER, tmp_path / "out" / "base")
        whole = settings.for_method("dreambooth").with_values(
            {"pretrained_model_name_or_path": str(tmp_path / "out" / "base"), "output_name": "base",
             "save_model_as": "same as source model", "overwrite": True}
        )  # fmt: skip
        assert "the model it is trained from" in problems(whole)["output_name"].what

    def test_not_enough_disk(self, settings: TrainingSettings, monkeypatch: pytest.MonkeyPatch):
        monkeypatch.setattr("shutil.disk_usage", lambda _: usage(10**9, 10**9, 10**6))
        problem = problems(settings)["output_dir"]
        assert problem.blocking
        assert "1.0 MB free" in problem.what


class TestSpace:
    """GB free on each disk, and what a run of the built-in model's size, or of a real one's, needs."""

    @pytest.fixture
    def disks(self, monkeypatch: pytest.MonkeyPatch):
        def have(free: float) -> None:
            monkeypatch.setattr("shutil.disk_usage", lambda _: usage(0, 0, int(free * 1e9)))

        return have

    def whole(self, settings: TrainingSettings, **changes: Any) -> TrainingSettings:
        """A model that is not here yet: of the size that is usual for its family."""
        told = {"pretrained_model_name_or_path": "someone/model", "save_every_n_epochs": 0, **changes}
        return settings.for_method("dreambooth").with_values(told)

    def test_a_whole_models_file_and_the_runs_own_state_are_counted(self, settings: TrainingSettings, disks):
        """SDXL: 3.47e9 weights in fp16; of 3.39e9 that learn two states of 12 bytes each, weights and AdamW's."""
        sdxl = self.whole(settings, sdxl=True)
        disks(88)
        problem = problems(sdxl)["output_dir"]
        assert problem.blocking
        assert "About 88.2 GB is needed for 1 file and" in problem.what
        disks(89)
        assert "output_dir" not in problems(sdxl)
        disks(48)  # AdamW8bit remembers two bytes of a weight
        assert "output_dir" in problems(sdxl)
        assert "output_dir" not in problems(sdxl, optimizer="AdamW8bit")
        disks(21)  # Adafactor's memory is small, and bfloat16 has half of the bytes
        lean = {"optimizer": "Adafactor", "full_bf16": True, "mixed_precision": "bf16"}
        assert "output_dir" not in problems(sdxl, **lean)

    def test_fewer_files_need_less_where_only_the_last_are_kept(self, settings: TrainingSettings, disks):
        told = {"save_every_n_epochs": 1, "epoch": 10, "optimizer": "Adafactor", "learning_rate_te": 0}
        disks(20)  # 2.1 GB a file, and 2 · 3.4 GB
        assert "for 10 files" in problems(self.whole(settings, **told))["output_dir"].what
        assert "output_dir" not in problems(self.whole(settings, **told, save_last_n_epochs=2))
        disks(12)
        folders = self.whole(settings, **told, save_last_n_epochs=2, save_model_as="diffusers")
        assert "for 3 folders" in problems(folders)["output_dir"].what

    def test_only_what_the_form_of_the_result_holds_is_counted(self):
        def size(**changes: Any) -> float:
            return round(saved_bytes(self.whole(TrainingSettings(), **changes)) / 1e9, 1)

        assert size(flux1_checkbox=True) == 23.8  # the transformer alone
        assert size(flux1_checkbox=True, save_model_as="diffusers_safetensors") == 33.7
        assert size(sd3_checkbox=True) == 4.2
        assert size(sd3_checkbox=True, save_clip=True, save_t5xxl=True) == 15.4
        assert size(save_precision="float") == 4.3

    def test_what_is_replaced_makes_room(self, settings: TrainingSettings, tmp_path: Path, disks):
        whole = self.whole(settings, overwrite=True, optimizer="Adafactor")
        disks(9)  # 2.1 GB and 2 · 3.9 GB are needed
        assert "output_dir" in problems(whole)
        (tmp_path / "out").mkdir()
        with (tmp_path / "out" / "shapes.safetensors").open("wb") as stream:
            stream.truncate(2 * 10**9)  # a hole: it takes no room
        assert "output_dir" not in problems(whole)

    def test_the_disk_with_the_runs_is_looked_at_too(
        self, settings: TrainingSettings, disks, monkeypatch: pytest.MonkeyPatch
    ):
        (elsewhere := Path("/dev/shm")).is_dir() or pytest.fail("needs a second file system")
        monkeypatch.setenv("DARKROOM_RUNS", str(elsewhere / "darkroom-runs"))
        disks(5)
        problem = problems(self.whole(settings, optimizer="Adafactor"))[""]
        assert "for the state for resuming the run" in problem.what


class TestNumbers:
    def test_nothing_to_learn(self, settings: TrainingSettings):
        found = problems(settings, learning_rate=0, unet_lr=0, text_encoder_lr=0)
        assert found["learning_rate"].blocking

    def test_a_rate_that_breaks_training(self, settings: TrainingSettings):
        assert not problems(settings, unet_lr=0.5)["unet_lr"].blocking

    def test_alpha_above_rank(self, settings: TrainingSettings):
        problem = problems(settings, network_dim=4, network_alpha=32)["network_alpha"]
        assert not problem.blocking
        assert "8 times full strength" in problem.what

    @pytest.mark.parametrize(
        ("resolution", "word"), [("512,5000", "at most 4096"), ("big", "enter width"), ("32,32", "64 or more")]
    )
    def test_a_resolution_that_cannot_be(self, settings: TrainingSettings, resolution: str, word: str):
        problem = problems(settings, max_resolution=resolution)["max_resolution"]
        assert problem.blocking
        assert word in f"{problem.what} {problem.mend}"

    def test_wrong_optimizer_arguments(self, settings: TrainingSettings):
        assert problems(settings, optimizer_args="nonsense")["optimizer_args"].blocking

    @pytest.mark.parametrize(
        ("option", "changes"),
        [
            ("min_timestep", {"min_timestep": 501, "max_timestep": 500}),
            ("stop_text_encoder_training", {"unet_lr": 0, "stop_text_encoder_training": 50}),
            ("rank_dropout", {"rank_dropout": 1}),
            ("huber_scale", {"loss_type": "huber", "huber_schedule": "constant", "huber_scale": 0}),
            ("network_weights", {"network_weights": "/gone.safetensors"}),
            ("lr_scheduler_type", {"lr_scheduler_type": "pydoc.pipepager"}),
            ("loraplus_lr_ratio", {"optimizer": "DAdaptAdam", "loraplus_lr_ratio": 16}),
            ("text_encoder_lr", {"optimizer": "DAdaptAdam", "unet_lr": 1, "text_encoder_lr": 0.5}),
            ("pretrained_model_name_or_path", {"pretrained_model_name_or_path": "owner/my model"}),
        ],
    )
    def test_what_could_not_train_does_not_start(self, settings: TrainingSettings, option: str, changes: dict):
        assert problems(settings, **changes)[option].blocking


class TestSamples:
    def test_a_size_that_is_not_divisible_by_8(self, settings: TrainingSettings):
        problem = problems(settings, sample_prompts="a cat --w 510", sample_every_n_steps=1)["sample_prompts"]
        assert problem.blocking
        assert problem.mend == "Use --w 512."

    def test_a_line_that_cannot_be_read(self, settings: TrainingSettings):
        assert "line 1" in problems(settings, sample_prompts="a cat --zz 3")["sample_prompts"].what

    def test_prompts_that_are_never_drawn_and_samples_without_prompts(self, settings: TrainingSettings):
        assert not problems(settings, sample_prompts="a cat")["sample_every_n_steps"].blocking
        assert not problems(settings, sample_every_n_steps=5)["sample_prompts"].blocking


def test_several_things_wrong_are_all_told(settings: TrainingSettings):
    found = problems(settings, pretrained_model_name_or_path="", max_resolution="13,13", output_name="?", unet_lr=1)
    assert {"pretrained_model_name_or_path", "max_resolution", "output_name", "unet_lr"} <= set(found)


class TestHostileInput:
    """Nothing that can be typed makes the check itself fail."""

    @pytest.mark.parametrize("name", ["x" * 300, "é" * 140, "cat-²", "cat\n", "..", "a\0b"])
    def test_odd_output_names(self, settings: TrainingSettings, name: str):
        check(settings.with_values({"output_name": name}))

    @pytest.mark.parametrize("option", ["train_data_dir", "output_dir", "logging_dir", "vae", "resume"])
    def test_a_path_that_cannot_be(self, settings: TrainingSettings, option: str):
        assert "character that no path can have" in problems(settings, **{option: "/tmp/a\0b"})[option].what

    @pytest.mark.parametrize("option", ["train_data_dir", "output_dir", "pretrained_model_name_or_path"])
    def test_a_path_longer_than_any(self, settings: TrainingSettings, option: str):
        assert problems(settings, **{option: "/" + "x" * 5000})[option].blocking

    def test_millions_of_files_to_be_written_are_counted_at_once(self, settings: TrainingSettings):
        assert "is needed for" in problems(settings, epoch=10**7)["output_dir"].what


class TestPaths:
    def test_home_quotes_and_blanks_are_understood(
        self, settings: TrainingSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ):
        monkeypatch.setenv("HOME", str(tmp_path))
        assert check(settings.with_values({"train_data_dir": ' "~/img" ', "output_dir": "~/out"})).can_start
        whole = with_whole_paths(settings.with_values({"train_data_dir": ' "~/img" '}))
        assert whole.folders.train_data_dir == str(tmp_path / "img")

    def test_what_is_relative_is_relative_to_where_one_stands(
        self, settings: TrainingSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ):
        monkeypatch.chdir(tmp_path)
        assert with_whole_paths(settings.with_values({"output_dir": "out"})).folders.output_dir == str(tmp_path / "out")

    def test_a_name_of_the_hub_stays_one(self, settings: TrainingSettings):
        named = settings.with_values({"pretrained_model_name_or_path": " someone/some-model "})
        assert with_whole_paths(named).source_model.pretrained_model_name_or_path == "someone/some-model"


def test_a_fix_is_done_only_where_the_problem_is_still_there(settings: TrainingSettings, tmp_path: Path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "shapes.safetensors").touch()
    problem = problems(settings)["output_name"]
    renamed = settings.with_values({"output_name": "other"})
    assert mended(problem, renamed) == renamed


def test_a_resume_folder_that_is_none(settings: TrainingSettings, tmp_path: Path):
    assert "not a Darkroom training state" in problems(settings, resume=str(tmp_path))["resume"].what


def test_flags_for_other_models_are_left_out_and_told(settings: TrainingSettings):
    problem = problems(settings, sample_prompts="a cat --fs 3.5 --W 64", sample_every_n_steps=1)["sample_prompts"]
    assert not problem.blocking
    assert "--fs is not supported" in problem.what


def test_captions_that_are_no_text(settings: TrainingSettings, tmp_path: Path):
    concept = next((tmp_path / "img").iterdir())
    (concept / "00.txt").write_bytes(b"\xff\xfe\x00")
    problem = problems(settings)["caption_extension"]
    assert problem.blocking
    assert "00.txt" in problem.what


def test_a_folder_with_0_repeats_is_said_to_be_off(settings: TrainingSettings, tmp_path: Path):
    draw_pictures(tmp_path / "img" / "0_off", 1)
    found = [p for p in check(settings).problems if "0 repeats" in p.what]
    assert [p.blocking for p in found] == [False]


@pytest.mark.parametrize(
    ("key", "name", "value", "other"),
    [
        ("optimizer", "optimizer", "torch.optim.AdamW", "AdamW"),
        ("LoRA_type", "lora_type", "networks.new", "Kohya LoCon"),
        ("network_dim", "network_dim", "wide", 16),
    ],
)
def test_a_value_that_could_not_be_read_does_not_become_another_run(
    settings: TrainingSettings, key: str, name: str, value: str, other: object
):
    loaded = from_kohya({**to_kohya(settings), key: value}).settings
    problem = problems(loaded)[name]
    assert problem.blocking
    assert f"is '{value}'; it takes" in problem.what
    default = next(item.default for item in training_options() if item.name == name)
    assert mended(problem, loaded) == settings.with_values({name: default})
    assert (
        "The value comes from a loaded file" not in problems(loaded, **{name: other}).get(name, Problem(name, "")).what
    )


def test_a_wrong_value_of_an_option_that_nothing_follows_stops_no_run(settings: TrainingSettings):
    loaded = from_kohya({**to_kohya(settings), "anima_split_attn": "often"})
    assert loaded.bad
    assert check(loaded.settings).can_start


FLUX = {"flux1_checkbox": True}


@pytest.mark.parametrize(
    ("method", "changes", "option", "mend"),
    [
        ("lora", {"full_bf16": True, "mixed_precision": "fp16"}, "full_bf16", "Set Mixed precision to bf16"),
        ("lora", {"full_fp16": True, "mixed_precision": "no"}, "full_fp16", "Set Mixed precision to fp16"),
        ("lora", {"blocks_to_swap": 3}, "blocks_to_swap", "Set it to 0"),
        ("lora", {"blocks_to_swap": 3, **FLUX}, "blocks_to_swap", "Turn on Gradient checkpointing"),
        ("dreambooth", {"blocks_to_swap": 3, **FLUX}, "blocks_to_swap", "Fused backward pass"),
        ("finetune", {"base_weights": "nf4"}, "base_weights", "train a LoRA"),
        ("finetune", {"fused_backward_pass": True, "optimizer": "Prodigy"}, "fused_backward_pass", "Choose Adafactor"),
        ("finetune", {"flux_fused_backward_pass": True, "gradient_accumulation_steps": 2},
         "flux_fused_backward_pass", "to 1"),
        ("finetune", {"fused_optimizer_groups": 4, "mixed_precision": "fp16"}, "fused_optimizer_groups", "bf16 or no"),
    ],
)  # fmt: skip
def test_ways_to_save_memory_that_do_not_go_together(
    settings: TrainingSettings, method: Any, changes: dict[str, Any], option: str, mend: str
):
    assert mend in problems(settings.model_copy(update={"method": method}), **changes)[option].mend


@pytest.mark.parametrize(
    ("method", "changes"),
    [
        ("lora", {"full_bf16": True, "mixed_precision": "bf16"}),
        ("lora", {"blocks_to_swap": 3, **FLUX, "gradient_checkpointing": True, "base_weights": "nf4"}),
        ("lora", {"fused_backward_pass": True, "mixed_precision": "fp16"}),  # means nothing for a LoRA
        ("finetune", {"fused_backward_pass": True, "optimizer": "Adafactor", "mixed_precision": "bf16"}),
    ],
)
def test_ways_to_save_memory_that_go_together(settings: TrainingSettings, method: Any, changes: dict[str, Any]):
    found = problems(settings.model_copy(update={"method": method}), **changes)
    assert not {"full_bf16", "blocks_to_swap", "base_weights", "fused_backward_pass"} & set(found)


class TestHowPicturesAreShown:
    @pytest.mark.parametrize("option", ["random_crop", "color_aug"])
    def test_what_is_shown_otherwise_each_time_is_not_cached(self, settings: TrainingSettings, option: str):
        assert problems(settings, **{option: True})[option].blocking
        assert problems(settings, **{option: True, "cache_latents": False, "cache_latents_to_disk": True})
        assert option not in problems(settings, **{option: True, "cache_latents": False})

    def test_what_hinders_a_crop_around_faces_is_told(self, settings: TrainingSettings, tmp_path: Path):
        def told(**changes: Any) -> dict[str, Problem]:
            return problems(settings, cache_latents=False, **changes)

        assert told(face_crop_aug_range="4,2")["face_crop_aug_range"].blocking
        assert "Turn off Enable buckets" in told(face_crop_aug_range="2,4")["face_crop_aug_range"].mend
        faceless = told(face_crop_aug_range="2,4", enable_bucket=False)["face_crop_aug_range"]
        assert faceless.what.startswith("The file names of 5 of 5 pictures do not say where the face is")
        assert not faceless.blocking
        folder = Path(settings.folders.train_data_dir) / "2_shapes"
        for picture in folder.glob("*.png"):
            picture.rename(picture.with_stem(f"{picture.stem}_9_9_8_8"))
            picture.with_suffix(".txt").unlink()
        assert "face_crop_aug_range" not in told(face_crop_aug_range="2,4", enable_bucket=False)
        cached = problems(settings, face_crop_aug_range="2,4", enable_bucket=False)["face_crop_aug_range"]
        assert "Face crop range: pictures that change each time" in cached.what

    def test_a_dataset_configs_own_ways_to_show_are_not_cached(self, settings: TrainingSettings, tmp_path: Path):
        config, folder = tmp_path / "d.toml", Path(settings.folders.train_data_dir) / "2_shapes"
        config.write_text(f"[[datasets]]\n[[datasets.subsets]]\nimage_dir = '{folder}'\nrandom_crop = true\n")
        told = problems(settings, dataset_config=str(config))["dataset_config"]
        assert told.blocking
        assert told.what.startswith("Random crop: pictures that change each time")

    def test_pictures_without_a_mask_are_named(self, settings: TrainingSettings, tmp_path: Path):
        told = problems(settings, masked_loss=True)["masked_loss"]
        assert not told.blocking
        assert '5 pictures have no mask and are learned in full: "2_shapes/00.png"' in told.what
        masks = tmp_path / "masks"
        assert problems(settings, masked_loss=True, mask_dir=str(masks))["mask_dir"].blocking
        draw_pictures(masks, 5)
        assert not {"masked_loss", "mask_dir"} & set(problems(settings, masked_loss=True, mask_dir=str(masks)))
        (masks / "00.png").write_bytes(b"no")
        assert '"masks/00.png"' in problems(settings, masked_loss=True, mask_dir=str(masks))["mask_dir"].what


def test_a_split_that_holds_out_nothing_is_a_problem_and_one_that_does_counts_in_the_plan(settings: TrainingSettings):
    nothing = problems(settings, validation_split=0.09)["validation_split"]
    assert nothing.blocking
    assert "holds out no picture" in nothing.what
    checked = check(settings.with_values({"validation_split": 0.2}))
    assert checked.can_start
    assert checked.plan.steps == 8  # 4 pictures, seen twice
    for more in ({}, {"caption_extension": ".none"}):  # what is no hindrance hides nothing
        everything = problems(settings, validation_split=1, **more)["validation_split"]
        assert everything.blocking
        assert "none are left to train on" in everything.what
    twice = problems(settings, validation_split=0.2, reg_data_dir=settings.folders.train_data_dir)["train_data_dir"]
    assert "1 of the pictures held out is also listed elsewhere" in twice.what
