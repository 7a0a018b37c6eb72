"""Learning rates that an optimizer does not follow are said before the start."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from engine.check.numbers import check_numbers
from engine.settings.training import TrainingSettings
from engine.training.optimizers import make_optimizer


def said(method: str = "lora", **changes: Any) -> list[tuple[str, str, bool]]:
    settings = TrainingSettings().for_method(method).with_values({"optimizer": "Adafactor"} | changes)
    return [(one.option, one.what, one.blocking) for one in check_numbers(settings)]


@pytest.mark.parametrize(
    ("method", "option", "value", "label"),
    [
        ("lora", "down_lr_weight", "0,0,1,1,1,1,1,1,1,1,1,.5", "Down LR weights"),
        ("lora", "network_reg_lrs", "attn=1e-4", "Learning rates by layer"),
        ("finetune", "block_lr", ",".join(["1e-5"] * 23), "Block LR (SDXL)"),
    ],
)
def test_adafactor_follows_no_rates_of_layers(method: str, option: str, value: str, label: str):
    ((named, what, blocking),) = said(method, sdxl=method == "finetune", **{option: value})
    assert (named, blocking) == (option, False)
    assert what == (
        f"Adafactor sets all learning rates itself, so {label} has no effect, other than leaving out layers whose rate "
        "is 0."
    )
    assert not said(method, sdxl=method == "finetune", **{option: value}, optimizer_args="relative_step=False")


def test_nor_a_ratio_of_lora_plus_and_says_so_once():
    what = "Adafactor sets all learning rates itself, so LoRA+ learning rate ratio has no effect."
    assert said(loraplus_lr_ratio=16) == [("loraplus_lr_ratio", what, False)]
    assert not said(loraplus_lr_ratio=16, optimizer="AdamW")
    assert not said(loraplus_lr_ratio=16, optimizer="AdamW", optimizer_args="relative_step=True")  # which it has not
    assert not said()


def test_it_trains_all_groups_at_one_rate_of_its_own():
    """At step 1 that is 1e-2, times the size of each weight (Shazeer & Stern 2018, sections 8 and 9): alike here."""
    weights = [torch.nn.Parameter(torch.ones(4, 4)) for _ in range(2)]
    groups = [{"params": [weight], "lr": rate} for weight, rate in zip(weights, (1e-1, 1e-5), strict=True)]
    optimizer = make_optimizer(groups, TrainingSettings().with_values({"optimizer": "Adafactor"}).optimizer)
    for weight in weights:
        weight.grad = torch.full((4, 4), 0.5)
    optimizer.step()
    torch.testing.assert_close(weights[0], weights[1])
    torch.testing.assert_close(weights[0], torch.full((4, 4), 1 - 1e-2))


@pytest.mark.parametrize(
    ("optimizer", "words_lr", "expected"),
    [
        ("Prodigy", 5e-4, True), ("DAdaptAdam", 0.0, True), ("Prodigy", 1.0, None),
        ("prodigyplus.ProdigyPlusScheduleFree", 5e-4, False), ("AdamW", 5e-4, None),
    ],
)  # fmt: skip
def test_an_optimizer_of_one_rate_has_it_for_new_words_too(optimizer: str, words_lr: float, expected: bool | None):
    """It would refuse the groups at the first step; ProdigyPlus would hardly teach them."""
    rates = {"learning_rate": 1.0, "unet_lr": 1.0, "text_encoder_lr": 1.0}
    given = rates if optimizer != "AdamW" else {}
    found = said(optimizer=optimizer, pivotal=True, words_lr=words_lr, token_string="zig", **given)
    assert [blocking for option, _, blocking in found if option == "words_lr"] == [expected] * (expected is not None)


@pytest.mark.parametrize(("method", "usual"), [("hypernetwork", "1e-05"), ("lora", "0.0001"), ("leco", "0.0001")])
def test_a_rate_of_zero_is_told_what_is_usual(method: str, usual: str):
    found = TrainingSettings().for_method(method).with_values({"learning_rate": 0, "unet_lr": 0, "text_encoder_lr": 0})
    mends = [one.mend for one in check_numbers(found) if "Every learning rate is 0" in one.what]
    assert mends == [f"{usual} is usual."]
