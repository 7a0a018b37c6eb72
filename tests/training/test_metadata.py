"""What a LoRA file says of the run that made it: sd-scripts' keys, and its values where a program might read them.

The lists of keys are those of files that sd-scripts of February 2026 writes, read off its sources.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
import torch

from engine.data.buckets import Placed
from engine.data.items import Item, Subset
from engine.data.steps import StepPlan
from engine.settings.from_metadata import from_metadata
from engine.settings.training import TrainingSettings
from engine.training.lora_method import LoraMethod
from engine.training.metadata import RunMetadata
from engine.training.optimizers import full_name, make_optimizer
from tests.models.loading import loaded
from tests.models.small import SETTINGS
from tests.models.small import pipeline as small

OF_EVERY_RUN = {
    f"ss_{name}"
    for name in (
        "session_id", "training_started_at", "output_name", "learning_rate", "text_encoder_lr", "unet_lr",
        "num_train_images", "num_validation_images", "num_reg_images", "num_batches_per_epoch", "num_epochs",
        "gradient_checkpointing", "gradient_accumulation_steps", "max_train_steps", "lr_warmup_steps",
        "lr_scheduler", "network_module", "network_dim", "network_alpha", "network_dropout", "mixed_precision",
        "full_fp16", "v2", "base_model_version", "clip_skip", "max_token_length", "cache_latents", "seed",
        "lowram", "noise_offset", "multires_noise_iterations", "multires_noise_discount",
        "adaptive_noise_scale", "zero_terminal_snr", "training_comment", "sd_scripts_commit_hash", "optimizer",
        "max_grad_norm", "caption_dropout_rate", "caption_dropout_every_n_epochs", "caption_tag_dropout_rate",
        "face_crop_aug_range", "prior_loss_weight", "min_snr_gamma", "scale_weight_norms", "ip_noise_gamma",
        "debiased_estimation", "noise_offset_random_strength", "ip_noise_gamma_random_strength", "loss_type",
        "huber_schedule", "huber_scale", "huber_c", "fp8_base", "fp8_base_unet", "validation_seed",
        "validation_split", "max_validation_steps", "validate_every_n_epochs", "validate_every_n_steps",
        "resize_interpolation", "batch_size_per_device", "total_batch_size", "resolution", "color_aug",
        "flip_aug", "random_crop", "shuffle_caption", "enable_bucket", "bucket_no_upscale", "min_bucket_reso",
        "max_bucket_reso", "keep_tokens", "dataset_dirs", "reg_dataset_dirs", "tag_frequency", "bucket_info",
        "sd_model_name", "sd_model_hash", "new_sd_model_hash", "training_finished_at", "steps", "epoch",
    )
}  # fmt: skip
"""Of a run on folders whose model is on the disk."""

MODELSPEC = {
    f"modelspec.{name}"
    for name in (
        "sai_model_spec", "architecture", "implementation", "implementation_version", "title", "date",
        "resolution",
    )
}  # fmt: skip

OF_A_FLOW = {"ss_weighting_scheme", "ss_logit_mean", "ss_logit_std", "ss_mode_scale"}
OF_FLUX = {"ss_timestep_sampling", "ss_sigmoid_scale", "ss_model_prediction_type", "ss_discrete_flow_shift"}

OF_FAMILIES: dict[str, set[str]] = {
    "sd1": {"modelspec.prediction_type"},
    "sdxl": {"modelspec.prediction_type"},
    "sd3": {"modelspec.prediction_type", "ss_apply_lg_attn_mask", "ss_apply_t5_attn_mask", *OF_A_FLOW},
    "flux": {"ss_model_type", "ss_apply_t5_attn_mask", "ss_guidance_scale", *OF_A_FLOW, *OF_FLUX},
    "lumina": {"modelspec.prediction_type", *OF_A_FLOW, *OF_FLUX},
}

VALUES: dict[str, dict[str, str]] = {
    # What each says where nothing but the family is chosen.
    "sd1": {"ss_base_model_version": "sd_v1", "modelspec.architecture": "stable-diffusion-v1",
            "modelspec.prediction_type": "epsilon", "ss_network_module": "networks.lora"},
    "sdxl": {"ss_base_model_version": "sdxl_base_v1-0", "modelspec.architecture": "stable-diffusion-xl-v1-base",
             "modelspec.prediction_type": "epsilon", "ss_network_module": "networks.lora"},
    "sd3": {"ss_apply_lg_attn_mask": "False", "ss_apply_t5_attn_mask": "False",
            "ss_logit_std": "1.0", "ss_mode_scale": "1.29", "modelspec.prediction_type": "epsilon",
            "ss_network_module": "networks.lora_sd3"},
    "flux": {"ss_base_model_version": "flux1", "ss_model_type": "flux", "ss_weighting_scheme": "uniform",
             "ss_logit_mean": "0.0", "ss_logit_std": "1.0", "ss_mode_scale": "1.29", "ss_sigmoid_scale": "1.0",
             "ss_network_module": "networks.lora_flux"},
    "lumina": {"ss_base_model_version": "lumina2", "ss_logit_mean": "0.0", "ss_logit_std": "1.0",
               "ss_mode_scale": "1.29", "modelspec.prediction_type": "epsilon",
               "ss_network_module": "networks.lora_lumina"},
}  # fmt: skip

PLAN = StepPlan(2, (1,), 1, 1, 1, 2, 2, "epoch")


def metadata(settings: TrainingSettings, family: Any = None, parts: Any = None, **changes: Any) -> RunMetadata:
    settings = settings.with_values(changes)
    subset = Subset.of(settings)
    items = [Item(Path(f"/img/1_cat/{name}.png"), "cat", 1, subset=subset) for name in "ab"]
    if family is None:
        facts: dict[str, Any] = {"ss_base_model_version": "sd_v1"}
        network: dict[str, Any] = {}
    else:
        facts = family.facts(settings, parts)
        network = LoraMethod(family, parts, settings, total_steps=10, dtype=torch.float32).metadata()
    optimizer = make_optimizer([{"params": [torch.nn.Parameter(torch.ones(1))], "lr": 1e-4}], settings.optimizer)
    return RunMetadata(
        settings=settings, family=facts, plan=PLAN, items=items, captions=["cat, sitting", "cat"],
        places=[Placed((64, 64), (64, 64))] * 2, seed=42, precision="no", network=network,
        optimizer=full_name(optimizer, settings.optimizer),
    )  # fmt: skip


def said(settings: TrainingSettings, *of: Any, **changes: Any) -> dict[str, str]:
    return metadata(settings, *of, **changes).at(2, 1)


@pytest.fixture
def base(settings: TrainingSettings) -> TrainingSettings:
    return TrainingSettings().for_method("lora").with_values({"output_name": "cat", "learning_rate": 1e-4})


@pytest.mark.parametrize("name", OF_FAMILIES)
def test_every_family_has_the_keys_that_sd_scripts_writes(name: str, base: TrainingSettings, tmp_path: Path):
    told = SETTINGS.get(name, {})
    if name == "sd1":
        family, parts = loaded()
    else:
        small(name).save_pretrained(tmp_path / "model")
        family, parts = loaded(tmp_path / "model", **told)
    written = said(base.with_values({**told, "pretrained_model_name_or_path": str(tmp_path)}), family, parts)
    assert set(written) == OF_EVERY_RUN | MODELSPEC | OF_FAMILIES[name]
    assert {key: written[key] for key in VALUES[name]} == VALUES[name]
    assert all(type(value) is str for value in written.values())


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, {"unet_lr": "None", "text_encoder_lr": "None", "learning_rate": "0.0001"}),
        ({"unet_lr": 2e-4, "text_encoder_lr": 5e-5}, {"unet_lr": "0.0002", "text_encoder_lr": "5e-05"}),
        ({"unet_lr": 2e-4, "text_encoder_lr": 0}, {"unet_lr": "0.0002", "text_encoder_lr": "0.0"}),
        ({"unet_lr": 2e-4, "text_encoder_lr": 5e-5, "stop_text_encoder_training": -1}, {"text_encoder_lr": "0.0"}),
        ({"flux1_checkbox": True, "unet_lr": 2e-4, "text_encoder_lr": 5e-5}, {"text_encoder_lr": "[5e-05]"}),
        ({"lr_scheduler": "cosine", "lr_warmup": 10}, {"lr_warmup_steps": "0.1"}),
        ({"lr_scheduler": "cosine", "lr_warmup": 10, "lr_warmup_steps": 7}, {"lr_warmup_steps": "7"}),
        ({"lr_scheduler": "constant", "lr_warmup": 10}, {"lr_warmup_steps": "0"}),
        ({"clip_skip": 0}, {"clip_skip": "None"}),
        ({"clip_skip": 1}, {"clip_skip": "None"}),
        ({"clip_skip": 2}, {"clip_skip": "2"}),
        ({"optimizer": "AdamW", "optimizer_args": "weight_decay=0.1"},
         {"optimizer": "torch.optim.adamw.AdamW(weight_decay=0.1)"}),
        ({"optimizer": "SGDNesterov"}, {"optimizer": "torch.optim.sgd.SGD(momentum=0.9)"}),
        ({"optimizer": "SGDNesterov", "optimizer_args": "momentum=0.5"},
         {"optimizer": "torch.optim.sgd.SGD(momentum=0.5)"}),
        ({"optimizer": "Adafactor", "unet_lr": 1e-3},
         {"optimizer": "transformers.optimization.Adafactor(relative_step=True)", "learning_rate": "None",
          "unet_lr": "None", "text_encoder_lr": "None", "lr_scheduler": "adafactor:0.0001"}),
        ({"optimizer": "Adafactor", "optimizer_args": "relative_step=False scale_parameter=False"},
         {"optimizer": "transformers.optimization.Adafactor(relative_step=False,scale_parameter=False)",
          "learning_rate": "0.0001"}),
    ],
)  # fmt: skip
def test_values_are_as_sd_scripts_arguments_say_them(
    base: TrainingSettings, changes: dict[str, Any], expected: dict[str, str]
):
    written = said(base, **{"optimizer": "AdamW", "unet_lr": 0, "text_encoder_lr": 0, "lr_warmup": 0} | changes)
    assert {name: written[f"ss_{name}"] for name in expected} == expected


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, None),
        ({"rank_dropout": 0.1}, {"rank_dropout": "0.1", "dropout": None}),
        ({"module_dropout": 0.3, "network_dropout": 0.2}, {"module_dropout": "0.3", "dropout": 0.2}),
        ({"loraplus_lr_ratio": 16}, {"loraplus_lr_ratio": "16", "dropout": None}),
    ],
)
def test_network_args_are_those_of_the_command(base: TrainingSettings, changes: dict[str, Any], expected: Any):
    family, parts = loaded()
    written = said(base, family, parts, **changes)
    assert (json.loads(written["ss_network_args"]) if "ss_network_args" in written else None) == expected


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, {}),
        ({"clip_skip": 2}, {"encoder_layer": "2"}),
        ({"min_timestep": 200}, {"timestep_range": "200,1000"}),
        (
            {"min_timestep": 100, "max_timestep": 900, "clip_skip": 3},
            {"timestep_range": "100,900", "encoder_layer": "3"},
        ),
    ],
)
def test_modelspec_says_which_layer_and_which_noise(base: TrainingSettings, changes: dict, expected: dict):
    written = said(base, **changes)
    names = ("encoder_layer", "timestep_range")
    assert {name: written[f"modelspec.{name}"] for name in names if f"modelspec.{name}" in written} == expected


class TestTheVAE:
    KEYS = ("ss_vae_name", "ss_vae_hash", "ss_new_vae_hash")

    def of(self, base: TrainingSettings, vae: str) -> list[str | None]:
        written = said(base, vae=vae)
        return [written.get(key) for key in self.KEYS]

    def test_a_file_has_a_name_and_both_hashes(self, base: TrainingSettings, tmp_path: Path):
        content = bytes(range(256)) * 0x1800  # longer than where the old hash is taken: 0x10000 bytes from 0x100000
        (tmp_path / "vae.safetensors").write_bytes(content)
        old = hashlib.sha256(content[0x100000:0x110000]).hexdigest()[:8]
        new = hashlib.sha256(content).hexdigest()
        assert self.of(base, str(tmp_path / "vae.safetensors")) == ["vae.safetensors", old, new]

    def test_a_folder_a_name_of_the_hub_and_none(self, base: TrainingSettings, tmp_path: Path):
        (tmp_path / "vae").mkdir()
        assert self.of(base, str(tmp_path / "vae")) == ["vae", "IsADirectory", "IsADirectory"]
        assert self.of(base, "stabilityai/sd-vae-ft-mse") == ["stabilityai/sd-vae-ft-mse", None, None]
        assert self.of(base, "") == [None, None, None]


def test_the_buckets_errors_are_those_of_the_pictures_own_aspects(base: TrainingSettings):
    """|bucket's width/height − the picture's|, in the mean of the pictures, each once: here |1 − 1.5| and |2 − 1.6|."""
    made = metadata(base, enable_bucket=True)
    made.places = [Placed((512, 512), (768, 512), (600, 400)), Placed((512, 256), (512, 320), (1600, 1000))]
    info = json.loads(made.at(2, 1)["ss_bucket_info"])
    assert info["mean_img_ar_error"] == pytest.approx((0.5 + 0.4) / 2)
    assert info["buckets"] == {
        "0": {"resolution": [512, 256], "count": 1},
        "1": {"resolution": [512, 512], "count": 1},
    }


@pytest.mark.parametrize(
    "changes",
    [
        {"unet_lr": 2e-4, "text_encoder_lr": 5e-5},
        {"unet_lr": 2e-4, "text_encoder_lr": 0.0, "clip_skip": 2},
        {"lr_scheduler": "cosine", "lr_warmup": 12.5, "module_dropout": 0.3, "network_dropout": 0.2},
        {
            "optimizer": "Adafactor",
            "lr_scheduler": "adafactor",
            "learning_rate": 3e-4,
            "unet_lr": 0.0,
            "text_encoder_lr": 0.0,
        },
    ],
)
def test_the_run_can_be_trained_again_from_what_the_file_says(base: TrainingSettings, changes: dict[str, Any]):
    family, parts = loaded()
    told = {"optimizer": "AdamW", "lr_warmup": 0, **changes}
    restored = from_metadata(said(base, family, parts, **told), TrainingSettings())[0].settings
    same = {name: restored.values()[name] for name in told if name not in ("unet_lr", "text_encoder_lr")}
    assert same == {name: value for name, value in told.items() if name in same}
    assert restored.optimizer.rates() == base.with_values(told).optimizer.rates()
