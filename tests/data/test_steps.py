"""Steps are counted as kohya's users know it."""

from __future__ import annotations

from pathlib import Path

import pytest

from engine.data.output_names import OutputFiles, free_stem, saved_as, stem_of
from engine.data.steps import plan_steps
from engine.settings.optimizer import Optimizer
from engine.settings.training import Method, TrainingSettings


@pytest.mark.parametrize(
    ("pictures", "batch", "accumulation", "epochs", "expected"),
    [
        # kohya_ss computes ceil(pictures·repeats / batch / accumulation · epochs)
        (120, 1, 1, 1, 120),
        (120, 6, 1, 5, 100),
        (100, 3, 1, 1, 34),
        (100, 3, 1, 2, 67),
        (100, 3, 2, 2, 34),
        (7, 2, 4, 1, 1),
        (1, 64, 120, 1, 1),
    ],
)
def test_epochs_give_kohyas_number_of_steps(pictures, batch, accumulation, epochs, expected):
    settings = Optimizer(train_batch_size=batch, gradient_accumulation_steps=accumulation, epoch=epochs)
    assert plan_steps(pictures, settings).steps == expected


@pytest.mark.shows("max_train_steps", "max_train_epochs")
def test_max_train_steps_wins_over_epoch_and_max_train_epoch_over_both():
    assert plan_steps(100, Optimizer(epoch=3, max_train_steps=50)).steps == 50
    assert plan_steps(100, Optimizer(epoch=3, max_train_steps=50, max_train_epochs=2)).steps == 200


def test_max_train_epoch_counts_whole_epochs():
    """7 pictures in batches of 2 are 4 steps an epoch."""
    assert plan_steps(7, Optimizer(train_batch_size=2, max_train_epochs=3)).steps == 12


def test_the_arithmetic_is_shown():
    assert plan_steps(120, Optimizer(train_batch_size=6, epoch=5)).arithmetic() == (
        "120 (pictures × repeats) ÷ batch 6 × 5 epochs = 100 steps"
    )
    assert "÷ accumulation 2 × 1 epoch = 10 steps" in (
        plan_steps(120, Optimizer(train_batch_size=6, gradient_accumulation_steps=2)).arithmetic()
    )
    assert "set by Max train steps" in plan_steps(120, Optimizer(max_train_steps=7)).arithmetic()


class TestOutputFiles:
    """1 picture a step, 3 epochs of 100 steps; sd-scripts' names."""

    WRITTEN = (
        "cat-000001.safetensors",
        "cat-000002.safetensors",
        "cat-step00000100.safetensors",
        "cat-step00000200.safetensors",
        "cat-step00000300.safetensors",  # which is the final one once more
        "cat.safetensors",
    )
    OTHERS = (
        "cat-000003.safetensors",  # the final file stands for the last epoch
        "cat-step00000150.safetensors",
        "cat-2.safetensors",
        "cat-000001.ckpt",
        "cat-000001-state",
        "dog.safetensors",
        "c.t.safetensors",
    )

    def files(self, tmp_path: Path, method: Method = "lora", **changes: object) -> OutputFiles:
        settings = TrainingSettings().with_values(
            {"output_dir": str(tmp_path), "output_name": "cat", "epoch": 3, "save_every_n_epochs": 1,
             "save_every_n_steps": 100, **changes}
        )  # fmt: skip
        settings = settings.model_copy(update={"method": method})
        return OutputFiles(settings, plan_steps(100, settings.optimizer))

    def test_those_that_will_be_written_are_found_and_no_others(self, tmp_path: Path):
        for name in (*self.WRITTEN, *self.OTHERS):
            (tmp_path / name).touch()
        assert [file.name for file in self.files(tmp_path).existing()] == list(self.WRITTEN)
        assert self.files(tmp_path / "not there").existing() == []

    @pytest.mark.parametrize("name", ["Cat.safetensors", "CAT-000001.SAFETENSORS"])
    def test_names_that_some_systems_take_for_the_same_are_found(self, tmp_path: Path, name: str):
        (tmp_path / name).touch()
        assert [file.name for file in self.files(tmp_path).existing()] == [name]

    def test_states_are_found_where_states_are_saved(self, tmp_path: Path):
        for name in ("cat-000001-state", "cat-state", "cat-000003-state"):
            (tmp_path / name).mkdir()
        assert [file.name for file in self.files(tmp_path, save_state=True).existing()] == [
            "cat-000001-state",
            "cat-state",
        ]
        assert [file.name for file in self.files(tmp_path, save_state_on_train_end=True).existing()] == ["cat-state"]

    def test_a_whole_model_may_be_a_folder(self, tmp_path: Path):
        for name in (*self.WRITTEN, "cat-000001", "cat-step00000100", "cat-000003", "cat-state", "cat"):
            (tmp_path / name).mkdir()
        found = self.files(tmp_path, "dreambooth", save_model_as="diffusers", save_state=True).existing()
        assert [file.name for file in found] == ["cat", "cat-000001", "cat-state", "cat-step00000100"]

    @pytest.mark.shows("save_clip", "save_t5xxl")
    def test_text_encoders_saved_beside_a_model_are_found(self, tmp_path: Path):
        names = ["cat-000001_clip_g.safetensors", "cat_clip_l.safetensors", "cat_t5xxl.safetensors"]
        for name in names:
            (tmp_path / name).touch()
        chosen = {"sd3_checkbox": True, "save_clip": True, "save_t5xxl": True}
        assert [file.name for file in self.files(tmp_path, "dreambooth", **chosen).existing()] == names
        for nothing in ({"save_model_as": "diffusers"}, {"sd3_checkbox": False}):
            assert self.files(tmp_path, "dreambooth", **(chosen | nothing)).existing() == []
        assert self.files(tmp_path, **chosen).existing() == []

    def test_they_are_counted_without_being_listed(self, tmp_path: Path):
        assert len(self.files(tmp_path)) == len(self.WRITTEN)
        assert len(self.files(tmp_path, epoch=10**7)) == 10**7 + 10**7

    def test_as_many_lie_there_at_once_as_are_kept_and_a_new_one(self, tmp_path: Path):
        assert self.files(tmp_path).at_once() == len(self.WRITTEN)
        assert self.files(tmp_path, epoch=20, save_every_n_steps=0, save_last_n_epochs=2).at_once() == 3
        assert self.files(tmp_path, save_every_n_steps=0, save_last_n_epochs=9).at_once() == 3
        some = {"save_every_n_epochs": 0, "save_every_n_steps": 10, "save_last_n_steps": 25}
        assert self.files(tmp_path, **some).at_once() == 4  # 280, 290 and 300, and the last one
        assert self.files(tmp_path, **some).states_at_once() == 0
        assert self.files(tmp_path, **some, save_state_on_train_end=True).states_at_once() == 1
        assert self.files(tmp_path, **some, save_state=True, save_last_n_steps_state=5).states_at_once() == 2

    def test_a_name_that_nobody_foresaw_never_replaces_a_file(self, tmp_path: Path):
        settings = TrainingSettings().with_values({"output_dir": str(tmp_path)})
        stem = "v1.5-step00000007"
        assert free_stem(settings, stem) == stem
        (tmp_path / f"{stem}.safetensors").touch()
        assert free_stem(settings, stem) == f"{stem}-2"
        whole = settings.for_method("dreambooth").with_values({"save_model_as": "diffusers"})
        assert free_stem(whole, stem) == stem
        (tmp_path / stem).mkdir()
        assert free_stem(whole, stem) == f"{stem}-2"


@pytest.mark.shows("save_model_as")
@pytest.mark.parametrize(
    ("source", "form"),
    [("a/model.safetensors", "safetensors"), ("a/model.CKPT", "ckpt"), ("a/folder", "diffusers_safetensors"),
     ("owner/name-v1.5", "diffusers_safetensors")],
)  # fmt: skip
def test_the_same_as_the_source_is_what_the_source_is(source: str, form: str):
    settings = TrainingSettings().with_values(
        {"pretrained_model_name_or_path": source, "save_model_as": "same as source model"}
    )
    assert saved_as(settings.for_method("finetune")) == form
    assert saved_as(settings) == "safetensors"  # a LoRA


def test_a_names_stem_is_found_again():
    for name in ("v1.5.safetensors", "v1.5.ckpt", "v1.5"):
        assert stem_of(name) == "v1.5"
