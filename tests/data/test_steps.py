"""Steps are counted as kohya's users know it."""

from __future__ import annotations

import pytest

from engine.data.output_names import saved_files
from engine.data.steps import plan_steps
from engine.settings.optimizer import Optimizer
from engine.settings.training import TrainingSettings


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
    assert "as Max train steps says" in plan_steps(120, Optimizer(max_train_steps=7)).arithmetic()


def test_files_are_named_as_kohya_names_them(tmp_path):
    settings = TrainingSettings().with_values(
        {"output_dir": str(tmp_path), "output_name": "cat", "epoch": 3, "save_every_n_epochs": 1,
         "save_every_n_steps": 100}
    )  # fmt: skip
    names = [file.name for file in saved_files(settings, plan_steps(100, settings.optimizer))]
    assert names == [
        "cat-000001.safetensors",
        "cat-000002.safetensors",
        "cat-step00000100.safetensors",
        "cat-step00000200.safetensors",
        "cat.safetensors",
    ]
