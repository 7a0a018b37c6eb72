"""Train like this one: a file's metadata give its run's settings back."""

from __future__ import annotations

import pytest

from engine.settings.from_metadata import from_metadata
from engine.settings.training import TrainingSettings

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
        "metadata_title": "my cat",
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
    ("version", "switch"), [("sdxl_base_v1-0", "sdxl"), ("sd_v2_v", "v2"), ("flux1", "flux1_checkbox")]
)
def test_the_family_is_recognised(version: str, switch: str):
    loaded, _ = from_metadata({"ss_base_model_version": version}, TrainingSettings())
    assert loaded.settings.values()[switch] is True


def test_a_value_that_cannot_be_is_told(settings: TrainingSettings):
    loaded, _ = from_metadata({"ss_network_dim": "Dynamic", "ss_optimizer": "my.Own"}, TrainingSettings())
    assert set(loaded.bad) == {"network_dim", "optimizer"}


@pytest.mark.parametrize("metadata", [{}, {"format": "pt"}])
def test_a_file_that_says_nothing_of_its_training_is_refused(metadata: dict[str, str]):
    with pytest.raises(ValueError, match="no ss_ entries"):
        from_metadata(metadata, TrainingSettings())
