"""Train like this one: a file's metadata give its run's settings back."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from engine.data.buckets import Placed
from engine.data.items import Item
from engine.data.steps import StepPlan
from engine.models.header import read_metadata
from engine.settings.from_metadata import from_metadata
from engine.settings.kohya_json import to_kohya
from engine.settings.sd_scripts import FAMILIES
from engine.settings.training import TrainingSettings
from engine.training.metadata import RunMetadata

OF_SD_SCRIPTS = {
    # As sd-scripts writes it: text throughout, None for what was not used.
    "ss_learning_rate": "0.0002",
    "ss_unet_lr": "None",
    "ss_text_encoder_lr": "5e-05",
    "ss_num_epochs": "12",
    "ss_batch_size_per_device": "3",
    "ss_resolution": "(512, 768)",
    "ss_lr_scheduler": "cosine_with_restarts",
    "ss_lr_warmup_steps": "40",
    "ss_optimizer": "bitsandbytes.optim.adamw.AdamW8bit(weight_decay=0.1,betas=(0.9, 0.99))",
    "ss_network_module": "networks.lora",
    "ss_network_dim": "32",
    "ss_network_alpha": "16.0",
    "ss_network_dropout": "None",
    "ss_network_args": '{"rank_dropout": "0.1"}',
    "ss_seed": "1234",
    "ss_clip_skip": "2",
    "ss_max_token_length": "225",
    "ss_mixed_precision": "bf16",
    "ss_min_snr_gamma": "5.0",
    "ss_multires_noise_iterations": "6",
    "ss_noise_offset": "None",
    "ss_base_model_version": "sd_v1",
    "ss_sd_model_name": "anime.safetensors",
    "ss_dataset_dirs": '{"10_sks cat": {"n_repeats": 10, "img_count": 20}}',
    "modelspec.title": "my cat",
    "sshs_model_hash": "ab",
}


def changed(settings: TrainingSettings) -> dict[str, object]:
    """What differs from the defaults."""
    defaults = TrainingSettings().values()
    return {name: value for name, value in settings.values().items() if value != defaults[name]}


def test_what_the_file_says_is_set_and_the_rest_is_at_its_default():
    base = TrainingSettings().with_values({"train_data_dir": "/mine", "epoch": 77, "noise_offset": 0.3})
    loaded, notes = from_metadata(OF_SD_SCRIPTS, base)
    assert loaded.bad == {}
    expected = {
        **TrainingSettings().values(),
        "train_data_dir": "/mine",
        "learning_rate": 2e-4,
        "unet_lr": 2e-4,
        "text_encoder_lr": 5e-5,
        "epoch": 12,
        "train_batch_size": 3,
        "max_resolution": "512,768",
        "lr_scheduler": "cosine_with_restarts",
        "lr_warmup": 0,
        "lr_warmup_steps": 40,
        "optimizer": "AdamW8bit",
        "optimizer_args": "weight_decay=0.1 betas=0.9,0.99",
        "network_dim": 32,
        "network_alpha": 16,
        "rank_dropout": 0.1,
        "seed": 1234,
        "clip_skip": 2,
        "max_token_length": "225",
        "mixed_precision": "bf16",
        "min_snr_gamma": 5,
        "noise_offset_type": "Multires",
        "multires_noise_iterations": 6,
    }
    assert loaded.settings.values() == expected
    assert "anime.safetensors" in " ".join(notes)
    assert "10_sks cat (20)" in " ".join(notes)


@pytest.mark.parametrize(
    ("said", "kind"),
    [
        ({"ss_network_args": '{"conv_dim": "8"}'}, "Kohya LoCon"),
        ({"ss_network_module": "lycoris.kohya", "ss_network_args": '{"algo": "loha"}'}, "LyCORIS/LoHa"),
        ({"ss_network_module": "networks.dylora"}, "Kohya DyLoRA"),
    ],
)
def test_the_kind_of_network_is_recognised(said: dict[str, str], kind: str):
    loaded, _ = from_metadata({"ss_seed": "1", **said}, TrainingSettings())
    assert loaded.settings.network.lora_type == kind


@pytest.mark.parametrize(
    ("said", "switches"),
    [
        ({"ss_base_model_version": "sdxl_base_v1-0"}, {"sdxl"}),
        ({"ss_base_model_version": "sdxl_base_v1-0", "modelspec.prediction_type": "v"}, {"sdxl", "v_parameterization"}),
        ({"ss_base_model_version": "sd_v1"}, set()),
        ({"ss_base_model_version": "sd_v1_v"}, {"v_parameterization"}),
        ({"ss_base_model_version": "sd_v2"}, {"v2"}),
        ({"ss_base_model_version": "sd_v2_v"}, {"v2", "v_parameterization"}),
        ({"ss_v2": "True"}, {"v2"}),
        ({"ss_base_model_version": "flux1"}, {"flux1_checkbox"}),
        ({"ss_base_model_version": "chroma"}, {"flux1_checkbox"}),
        ({"ss_base_model_version": "5-large"}, {"sd3_checkbox"}),
        ({"ss_base_model_version": "lumina2"}, {"lumina_checkbox"}),
        ({"ss_base_model_version": "hunyuan-image-2.1"}, {"hunyuan_image_checkbox"}),
        ({"ss_base_model_version": "anima"}, {"anima_checkbox"}),
        ({"ss_network_module": "networks.lora_flux"}, {"flux1_checkbox"}),
    ],
)
def test_the_kind_of_model_is_recognised_whatever_the_form_said_before(said: dict[str, str], switches: set[str]):
    before = TrainingSettings().with_values({"sdxl": True, "v_parameterization": True})
    values = from_metadata(said, before)[0].settings.values()
    named = (*(family.flag for family in FAMILIES.values()), "sdxl_checkbox", "v2", "v_parameterization")
    assert {name for name in named if values[name]} == switches
    assert values["flux_model_type"] == ("chroma" if said.get("ss_base_model_version") == "chroma" else "flux")


def test_a_kind_of_model_that_is_not_known_is_told_and_the_forms_stays():
    loaded, notes = from_metadata({"ss_base_model_version": "new"}, TrainingSettings().with_values({"sdxl": True}))
    assert loaded.settings.families.sdxl
    assert "Its base model version, new, is not known here." in notes


def test_what_only_flux_has_is_read():
    said = {
        "ss_base_model_version": "flux1", "ss_network_module": "networks.lora_flux", "ss_guidance_scale": "1.0",
        "ss_timestep_sampling": "shift", "ss_model_prediction_type": "raw", "ss_discrete_flow_shift": "3.1582",
        "ss_apply_t5_attn_mask": "True", "ss_fp8_base": "True", "ss_sigmoid_scale": "2.0",
        "ss_weighting_scheme": "logit_normal", "ss_logit_mean": "0.0", "ss_logit_std": "1.0", "ss_mode_scale": "1.29",
        "ss_learning_rate": "0.001", "ss_text_encoder_lr": "[None, 1e-5]",
    }  # fmt: skip
    loaded, notes = from_metadata(said, TrainingSettings())
    assert loaded.bad == {}
    assert changed(loaded.settings) == {
        "flux1_checkbox": True, "lora_type": "Flux1", "flux_guidance_scale": 1, "timestep_sampling": "shift",
        "model_prediction_type": "raw", "discrete_flow_shift": 3.1582, "apply_t5_attn_mask": True, "fp8_base": True,
        "learning_rate": 1e-3, "unet_lr": 1e-3, "text_encoder_lr": 1e-3, "t5xxl_lr": 1e-5,
        "additional_parameters": "--sigmoid_scale 2.0 --weighting_scheme logit_normal",
    }  # fmt: skip
    assert any("--sigmoid_scale 2.0" in note for note in notes)


def test_arguments_that_no_option_says_are_kept():
    said = {
        "ss_caption_tag_dropout_rate": "0.1", "ss_zero_terminal_snr": "True", "ss_face_crop_aug_range": "(1.0, 2.0)",
        "ss_lowram": "True", "ss_validation_split": "0.0",
    }  # fmt: skip
    loaded, _ = from_metadata(said, TrainingSettings())
    assert loaded.settings.hardware.additional_parameters == "--lowram"
    assert loaded.settings.objective.zero_terminal_snr
    assert loaded.settings.dataset.face_crop_aug_range == "1.0,2.0"
    assert loaded.settings.captions.caption_tag_dropout_rate == 0.1


def test_a_run_with_a_dataset_config_has_its_first_folders_settings():
    first = {
        "is_dreambooth": True, "batch_size_per_device": 4, "num_train_images": 20, "resolution": [768, 512],
        "enable_bucket": True, "min_bucket_reso": 320, "max_bucket_reso": 960, "resize_interpolation": None,
        "subsets": [
            {"is_reg": True, "keep_tokens": 9},
            {"img_count": 20, "num_repeats": 1, "shuffle_caption": True, "keep_tokens": 2, "flip_aug": False,
             "caption_prefix": "photo, ", "image_dir": "cat", "is_reg": False},
        ],
    }  # fmt: skip
    second = {**first, "resolution": [1024, 1024], "subsets": [first["subsets"][1]]}
    loaded, notes = from_metadata({"ss_datasets": json.dumps([first, second])}, TrainingSettings())
    assert loaded.bad == {}
    assert changed(loaded.settings) == {
        "train_batch_size": 4, "max_resolution": "768,512", "min_bucket_reso": 320, "max_bucket_reso": 960,
        "shuffle_caption": True, "keep_tokens": 2, "caption_prefix": "photo, ",
    }  # fmt: skip
    assert any("differ in resolution;" in note for note in notes)
    assert any("Don't upscale" in note for note in notes)


@pytest.mark.parametrize(
    ("steps", "epochs", "batches", "accumulation", "told"),
    [(120, 4, 30, 1, 0), (40, 4, 19, 2, 0), (38, 4, 19, 2, 0), (334, 9, 40, 1, 334), (500, None, 30, 1, 500)],
)
def test_the_run_is_as_long_also_where_its_epochs_do_not_come_to_it(
    steps: int, epochs: int | None, batches: int, accumulation: int, told: int
):
    said = {"ss_max_train_steps": steps, "ss_num_epochs": epochs, "ss_num_batches_per_epoch": batches,
            "ss_gradient_accumulation_steps": accumulation}  # fmt: skip
    loaded, notes = from_metadata({key: str(value) for key, value in said.items()}, TrainingSettings())
    assert loaded.settings.optimizer.max_train_steps == told
    assert loaded.settings.optimizer.epoch == (epochs or 1)
    assert any(f"{steps} steps" in note for note in notes) == bool(told)


def test_a_warmup_as_a_share_is_a_percentage():
    optimizer = from_metadata({"ss_lr_warmup_steps": "0.05"}, TrainingSettings())[0].settings.optimizer
    assert (optimizer.lr_warmup, optimizer.lr_warmup_steps) == (5, 0)


def test_what_is_the_users_own_stays_and_what_would_go_on_from_another_run_does_not():
    mine = {
        "sample_prompts": "a cat", "huggingface_token": "hf_x", "metadata_author": "me", "num_processes": 2,
        "output_name": "mine", "vae": "/vae",
    }  # fmt: skip
    another_runs = {"resume": "/state", "network_weights": "/lora.safetensors"}
    recipe = {"network_dim": 64, "clip_skip": 2}
    base = TrainingSettings().with_values({**mine, **another_runs, **recipe})
    said = {"ss_network_dim": "8", "ss_output_name": "theirs", "modelspec.author": "them", "modelspec.tags": "[1]"}
    loaded, notes = from_metadata(said, base)
    assert changed(loaded.settings) == mine
    assert notes[0].endswith(
        "as they were: Trained Model output name, VAE, Sample prompts, Huggingface token, Number of processes, "
        "Metadata author."
    )
    assert any(note.startswith("Cleared") and "Network weights" in note for note in notes)


@pytest.mark.parametrize(
    "said",
    [
        {"ss_dataset_dirs": '{"a": 1}'}, {"ss_dataset_dirs": "[1]"}, {"ss_datasets": '{"a": 1}'},
        {"ss_datasets": "[1, {}]"}, {"ss_datasets": '[{"subsets": [1]}, {"subsets": {}, "resolution": {"a": []}}]'},
        {"ss_network_args": "[1]"}, {"ss_network_args": '{"conv_dim": {"a": 1}, "algo": null}'},
        {"ss_network_args": '{"a": "\\ud800"}'}, {"ss_dataset_dirs": "[" * 9999},
        {"ss_text_encoder_lr": "[None, None]"},
        {"ss_text_encoder_lr": "[]"}, {"ss_max_train_steps": "9" * 400, "ss_num_epochs": "-1"},
        {"ss_lr_warmup_steps": "nan"}, {"ss_resolution": "[]"}, {"ss_optimizer": "(("}, {"ss_seed": "{}"},
    ],
)  # fmt: skip
def test_odd_metadata_break_nothing(said: dict[str, str]):
    loaded, notes = from_metadata(said, TrainingSettings())
    json.dumps([to_kohya(loaded.settings), *loaded.report(), *notes], ensure_ascii=False).encode()


def of_this_program(settings: TrainingSettings) -> dict[str, str]:
    """What the engine writes into a LoRA file of a run with these settings."""
    plan = StepPlan(20, 2, 1, 3, 1, 10, 30, "epoch")
    items = [Item(Path("img/10_cat/a.png"), "cat", 20)]
    places = [Placed((512, 512), (512, 512))]
    network = {"ss_network_module": "networks.lora", "ss_network_dim": 16, "ss_network_alpha": 8.0,
               "ss_network_args": json.dumps({"rank_dropout": "0.1"})}  # fmt: skip
    family = {
        "ss_base_model_version": "sd_v1",
        "modelspec.architecture": "stable-diffusion-v1",
        "modelspec.implementation": "diffusers",
    }
    run = RunMetadata(settings=settings, family=family, plan=plan, items=items, captions=["a cat, red"], places=places,
                      seed=7, precision="fp16", network=network,
                      optimizer="bitsandbytes.optim.adamw.AdamW8bit(weight_decay=0.1)")  # fmt: skip
    return run.at(30, 3)


def of_sd_scripts() -> dict[str, str]:
    """Every entry that sd-scripts writes, with what it writes there."""
    unused = (
        "adaptive_noise_scale", "clip_skip", "face_crop_aug_range", "ip_noise_gamma", "max_token_length",
        "max_validation_steps", "min_snr_gamma", "multires_noise_iterations", "network_dropout", "noise_offset",
        "resize_interpolation", "scale_weight_norms", "training_comment", "validate_every_n_epochs",
        "validate_every_n_steps", "validation_seed", "unet_lr",
    )  # fmt: skip
    off = (
        "bucket_no_upscale", "color_aug", "debiased_estimation", "flip_aug", "fp8_base", "fp8_base_unet", "full_fp16",
        "gradient_checkpointing", "ip_noise_gamma_random_strength", "lowram", "noise_offset_random_strength",
        "random_crop", "shuffle_caption", "v2", "zero_terminal_snr",
    )  # fmt: skip
    said = {
        "base_model_version": "sd_v1", "batch_size_per_device": 2, "cache_latents": True,
        "bucket_info": json.dumps({"buckets": {"0": {"resolution": [512, 512], "count": 20}}, "mean_img_ar_error": 0}),
        "caption_dropout_every_n_epochs": 0, "caption_dropout_rate": 0.0, "caption_tag_dropout_rate": 0.0,
        "dataset_dirs": json.dumps({"10_cat": {"n_repeats": 10, "img_count": 2}}), "enable_bucket": True, "epoch": 3,
        "gradient_accumulation_steps": 1, "huber_c": 0.1, "huber_scale": 1.0, "huber_schedule": "snr",
        "keep_tokens": 0, "learning_rate": 0.0002, "loss_type": "l2", "lr_scheduler": "cosine", "lr_warmup_steps": 3,
        "max_bucket_reso": 1024, "max_grad_norm": 1.0, "max_train_steps": 30, "min_bucket_reso": 256,
        "mixed_precision": "fp16", "multires_noise_discount": 0.3, "network_alpha": 8.0, "network_dim": 16,
        "network_args": json.dumps({"rank_dropout": "0.1"}), "network_module": "networks.lora",
        "new_sd_model_hash": "IsADirectory", "num_batches_per_epoch": 10, "num_epochs": 3, "num_reg_images": 0,
        "num_train_images": 20, "num_validation_images": 0, "output_name": "cat", "prior_loss_weight": 1.0,
        "optimizer": "bitsandbytes.optim.adamw.AdamW8bit(weight_decay=0.1)", "reg_dataset_dirs": "{}",
        "resolution": "(512, 512)", "sd_model_hash": "IsADirectory", "sd_model_name": "anime.safetensors",
        "sd_scripts_commit_hash": "(unknown)", "seed": 7, "session_id": 87, "steps": 30,
        "tag_frequency": json.dumps({"10_cat": {"cat": 20}}), "text_encoder_lr": "[5e-05]", "total_batch_size": 2,
        "training_finished_at": 1.5, "training_started_at": 0.5, "vae_name": "vae.pt", "validation_split": 0.0,
    }  # fmt: skip
    entries = {**dict.fromkeys(unused), **dict.fromkeys(off, False), **said}
    return {f"ss_{name}": str(value) for name, value in entries.items()} | {
        "modelspec.prediction_type": "epsilon", "modelspec.tags": "[1]", "sshs_model_hash": "ab"
    }  # fmt: skip


@pytest.mark.parametrize("writer", ["this program", "sd-scripts"])
def test_a_real_file_gives_its_runs_settings_back(tmp_path: Path, writer: str):
    trained = {
        "learning_rate": 2e-4, "unet_lr": 2e-4, "text_encoder_lr": 5e-5, "train_batch_size": 2, "epoch": 3,
        "network_dim": 16, "network_alpha": 8, "rank_dropout": 0.1, "seed": 7, "lr_warmup": 0, "lr_warmup_steps": 3,
        "optimizer_args": "weight_decay=0.1", "bucket_no_upscale": False, "max_bucket_reso": 1024,
    }  # fmt: skip
    metadata = of_this_program(TrainingSettings().with_values(trained)) if writer == "this program" else of_sd_scripts()
    save_file({"a": torch.zeros(2)}, tmp_path / "cat.safetensors", metadata=metadata)
    loaded, notes = from_metadata(read_metadata(tmp_path / "cat.safetensors"), TrainingSettings())
    assert loaded.report() == []
    assert changed(loaded.settings) == trained
    assert any("10_cat (" in note for note in notes)


def test_a_value_that_cannot_be_is_told(settings: TrainingSettings):
    loaded, _ = from_metadata({"ss_network_dim": "Dynamic", "ss_optimizer": "my.Own"}, TrainingSettings())
    assert set(loaded.bad) == {"network_dim", "optimizer"}


@pytest.mark.parametrize("metadata", [{}, {"format": "pt"}])
def test_a_file_that_says_nothing_of_its_training_is_refused(metadata: dict[str, str]):
    with pytest.raises(ValueError, match="no ss_ entries"):
        from_metadata(metadata, TrainingSettings())
