"""Values that mean more than their type says."""

from __future__ import annotations

import pytest

from engine.settings.dataset import Dataset
from engine.settings.optimizer import Optimizer


@pytest.mark.shows("learning_rate")
@pytest.mark.parametrize(
    ("unet", "text_encoder", "expected"),
    [(2e-4, 5e-5, (2e-4, 5e-5)), (2e-4, 0, (2e-4, 0)), (0, 5e-5, (0, 5e-5)), (0, 0, (1e-3, 1e-3))],
)
def test_the_special_rates_count_unless_both_are_zero(unet: float, text_encoder: float, expected: tuple):
    settings = Optimizer(learning_rate=1e-3, unet_lr=unet, text_encoder_lr=text_encoder)
    assert settings.rates() == expected


def test_extra_arguments_become_numbers_switches_and_tuples():
    settings = Optimizer(optimizer_args="weight_decay=0.1 betas=0.9,0.99 amsgrad=True")
    assert settings.extra_arguments() == {"weight_decay": 0.1, "betas": (0.9, 0.99), "amsgrad": True}


def test_extra_arguments_may_stand_in_quotes():
    settings = Optimizer(optimizer_args='"d0=1e-5" "weight_decay=0.4" "betas=.9,.95"')
    assert settings.extra_arguments() == {"d0": 1e-5, "weight_decay": 0.4, "betas": (0.9, 0.95)}


@pytest.mark.parametrize("text", ["weight_decay", "=3", "eps=", '"eps=1', "betas=,"])
def test_other_extra_arguments_are_refused_in_words(text: str):
    with pytest.raises(ValueError, match="Optimizer extra arguments: "):
        Optimizer(optimizer_args=text).extra_arguments()


@pytest.mark.parametrize(
    ("text", "size"), [("512,512", (512, 512)), ("768", (768, 768)), ("512x768", (512, 768)), (" 64 , 128 ", (64, 128))]
)
def test_max_resolution_is_width_and_height(text: str, size: tuple):
    assert Dataset(max_resolution=text).size() == size


@pytest.mark.parametrize("text", ["", "big", "512,", "0,512", "1,2,3", "-64,64"])
def test_another_max_resolution_is_refused_in_words(text: str):
    with pytest.raises(ValueError, match="enter width,height in pixels"):
        Dataset(max_resolution=text).size()
