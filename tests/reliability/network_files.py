"""Network weights at random: what the check lets through is begun from whole, and what it refuses, the engine refuses.

python -m tests.reliability.network_files [CASES] [SEED] makes LoRA files for the built-in model, named as several
programs name them, with ranks, alphas, kinds, strays and losses drawn at random, and looks at each twice: by its
header, as the check does, and with its weights, as a run does.
"""

from __future__ import annotations

import copy
import random
import sys
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

from engine.check.network_weights import check_network_weights
from engine.failure import Failure
from engine.models.family import Family
from engine.models.layouts.unet import original_name
from engine.models.parts import Parts
from engine.settings.training import TrainingSettings
from engine.training.lora_method import LoraMethod
from tests.models.loading import loaded

Place = tuple[str, str]
"""Group and path of a module."""

FORMS = {
    "kohya": (".lora_down.weight", ".lora_up.weight"),
    "peft": (".lora_A.weight", ".lora_B.weight"),
    "default": (".lora_A.default.weight", ".lora_B.default.weight"),
    "old": (".lora.down.weight", ".lora.up.weight"),
    "comfyui": (".lora_down.weight", ".lora_up.weight"),
}

STRAYS = (
    "{}.dora_scale", "{}.hada_w1_a", "{}.lokr_w2", "{}.oft_blocks", "{}.diff", "{}.diff_b", "{}.on_input",
    "{}.lora_mid.weight", "{}.w_norm", "{}.lora_up.bias", "{}.mystery", "x.alpha", "bundle_emb.a.clip_l",
    "lora_unet_conv_in.lora_up.weight",
)  # fmt: skip


class Cases:
    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.family, self.parts = loaded()
        self.targets = {
            (target.group, attachment.paths[0]): (target, attachment)
            for target in self.family.lora_targets(self.parts)
            for attachment in target.attachments
        }

    def file(self) -> tuple[dict[str, Tensor], dict[Place, Tensor]]:
        """The tensors of a file, and what its places add to the model's weights."""
        draw = self.random
        form = draw.choice(list(FORMS))
        places = draw.sample(list(self.targets), draw.randint(1, 12))
        if draw.random() < 0.4:
            places = [place for place in places if place[0] == "unet"] or places
        ranks = [draw.choice([2, 4, 4, 8])] if draw.random() < 0.6 else [1, 2, 4, 8]
        file: dict[str, Tensor] = {}
        added: dict[Place, Tensor] = {}
        for place in places:
            target, attachment = self.targets[place]
            rows, columns = target.module.get_submodule(place[1]).weight.flatten(1).shape
            rank, name = draw.choice(ranks), self.name(place, attachment, form)
            down, up = torch.randn(rank, columns), torch.randn(rows, rank)
            wide = draw.random() < 0.2  # as a 1×1 convolution, whatever the model has
            ends = (1, 1) if wide else ()
            for ending, matrix in zip(FORMS[form], (down, up), strict=True):
                file[name + ending] = matrix.reshape(*matrix.shape, *ends).clone()
            strength = 1.0
            if draw.random() < 0.6:
                alpha = draw.choice([0.5, 1.0, 4.0, float(rank)])
                file[f"{name}.alpha"], strength = torch.tensor(alpha), alpha / rank
            added[place] = strength * up @ down
        if draw.random() < 0.3:
            some = draw.choice([name for name in file if not name.endswith(".alpha")])
            file[draw.choice(STRAYS).format(some.partition(".lora")[0])] = torch.ones(4, 4)
        if draw.random() < 0.15:
            del file[draw.choice([name for name in file if not name.endswith(".alpha")])]
        return dict(draw.sample(list(file.items()), len(file))), added

    def name(self, place: Place, attachment: Any, form: str) -> str:
        if form == "kohya":
            return str(attachment.name)
        group, path = place
        if group == "text_encoder":
            return "text_encoder." + (path if path.startswith("text_model") else f"text_model.{path}")
        return f"diffusion_model.{original_name(self.parts.denoiser, path)}" if form == "comfyui" else f"unet.{path}"

    def settings(self, file: Path) -> TrainingSettings:
        draw = self.random
        told = {
            "network_weights": str(file),
            "network_dim": draw.choice([2, 4, 4, 8]),
            "network_alpha": draw.choice([1, 2, 8]),
            "dim_from_weights": draw.random() < 0.6,
            "unet_lr": 1e-4 * (draw.random() < 0.9),
            "text_encoder_lr": 1e-4 * (draw.random() < 0.7),
            "learning_rate": 0.0,
        }
        return TrainingSettings().for_method("lora").with_values(told)

    def outcome(self, folder: Path) -> str:
        """What became of one case.  Raises AssertionError where check and engine differ, or something is lost."""
        tensors, added = self.file()
        ending = self.random.choice([".safetensors", ".SAFETENSORS", ".ckpt", ".PT"])
        file = folder / f"case{ending}"
        save_file(tensors, file) if ending.lower() == ".safetensors" else torch.save(tensors, file)
        settings = self.settings(file)
        if not any(settings.rates()):
            return "nothing to train"
        problems = list(check_network_weights(settings))
        method = begun(self.family, copy.deepcopy(self.parts), settings)
        if isinstance(method, Failure):
            assert problems, f"the check lets through what the engine refuses: {method.what}"
            assert method.option == problems[0].option, f"{method.what} beside {problems[0].what}"
            return "refused by both"
        assert not problems, f"the engine takes what the check refuses: {problems[0].what}"
        state = method.state_dict()
        for place, change in added.items():
            name = self.targets[place][1].name
            down, up = state[f"{name}.lora_down.weight"].flatten(1), state[f"{name}.lora_up.weight"].flatten(1)
            strength = float(state[f"{name}.alpha"]) / len(down)
            torch.testing.assert_close(strength * up @ down, change, rtol=1e-4, atol=1e-4)
        return "begun from whole"


def begun(family: Family, parts: Parts, settings: TrainingSettings) -> LoraMethod | Failure:
    try:
        return LoraMethod(family, parts, settings, total_steps=10, dtype=torch.float32)
    except Failure as failure:
        return failure


def search(cases: int, seed: int) -> Counter[str]:
    made, outcomes = Cases(seed), Counter[str]()
    torch.manual_seed(seed)
    with tempfile.TemporaryDirectory() as folder:
        for number in range(cases):
            try:
                outcomes[made.outcome(Path(folder))] += 1
            except AssertionError as error:
                raise AssertionError(f"case {number} of seed {seed}: {error}") from error
    return outcomes


if __name__ == "__main__":
    told = [int(word) for word in sys.argv[1:]]
    print(dict(search(*(told + [1000, 0][len(told) :]))))
