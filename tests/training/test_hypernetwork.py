"""The hypernetwork method: what is learned, resumed, begun from a file, and refused."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from engine.check.check import Resumed, check
from engine.demo.shapes import SHAPES, draw, random_scene
from engine.failure import Failure
from engine.models.families import family_of
from engine.runs.history import History
from engine.settings.presets import Presets
from engine.settings.training import TrainingSettings
from engine.training.hypernetwork_method import HypernetworkMethod
from tests.training.test_textual_inversion import pipeline, share

Trained = Callable[..., History]

GIVEN: dict[str, Any] = {
    "method": "hypernetwork", "output_name": "hyper", "lr_scheduler": "constant", "learning_rate": 1e-3,
    "save_precision": "float",
}  # fmt: skip


OTHERS = tuple(shape for shape in SHAPES if shape != "circle")


def held(file: Path) -> dict[Any, Any]:
    found: dict[Any, Any] = torch.load(file, weights_only=True)
    return found


def tensors(file: Path) -> list[torch.Tensor]:
    return [
        tensor
        for width, both in held(file).items()
        if isinstance(width, int)
        for one in both
        for tensor in one.values()
    ]


def same(one: Path, other: Path) -> bool:
    return all(torch.equal(a, b) for a, b in zip(tensors(one), tensors(other), strict=True))


def test_it_learns_what_a_word_shall_mean_and_leaves_the_others(trained: Trained, settings, tmp_path: Path):
    """Circles are drawn as crosses, and nothing else is."""
    rng, folder = random.Random(3), tmp_path / "taught" / "4_shapes"
    folder.mkdir(parents=True)
    for number in range(36):
        scene = random_scene(rng, ("cross",) if number < 18 else OTHERS)
        draw(scene).save(folder / f"{number}.png")
        caption = scene.caption().replace("cross", "circle") if number < 18 else scene.caption()
        (folder / f"{number}.txt").write_text(caption, encoding="utf-8")
    history = trained(**GIVEN | {"learning_rate": 5e-3}, train_data_dir=str(folder.parent), caption_extension=".txt",
                      train_batch_size=8, max_train_steps=120, min_snr_gamma=5)  # fmt: skip
    assert history.last.how == "done"
    drawn_by = pipeline()
    assert share(drawn_by, "circle", "cross") < 0.2
    begun = settings.with_values({"hypernetwork_weights": str(tmp_path / "out" / "hyper.pt")})
    family = family_of(begun)
    parts = family.load(begun, torch.float32)
    HypernetworkMethod(family, parts, begun, dtype=torch.float32)
    drawn_by.unet = parts.denoiser.eval()
    assert share(drawn_by, "circle", "cross") > 0.8
    assert all(share(drawn_by, shape, shape) > 0.75 for shape in OTHERS)


@pytest.mark.shows(
    "hypernetwork_sizes", "hypernetwork_structure", "hypernetwork_activation", "hypernetwork_layer_norm",
    "hypernetwork_init", "hypernetwork_activate_output", "hypernetwork_dropout",
)  # fmt: skip
def test_the_file_is_built_as_the_form_says(trained: Trained, tmp_path: Path):
    asked = {"hypernetwork_sizes": "96", "hypernetwork_structure": "1, 1.5, 2, 1", "hypernetwork_activation": "mish",
             "hypernetwork_layer_norm": True, "hypernetwork_init": "XavierUniform", "hypernetwork_dropout": "0.2",
             "hypernetwork_activate_output": True}  # fmt: skip
    trained(**GIVEN | asked, max_train_steps=2)
    found = held(tmp_path / "out" / "hyper.pt")
    said = {name: value for name, value in found.items() if not isinstance(name, int)}
    assert said == {
        "layer_structure": [1, 1.5, 2, 1], "activation_func": "mish", "is_layer_norm": True, "step": 2,
        "weight_initialization": "XavierUniform", "use_dropout": True, "dropout_structure": [0, 0.2, 0.2, 0],
        "activate_output": True, "name": "hyper", "last_layer_dropout": True,
        "sd_checkpoint": said["sd_checkpoint"], "sd_checkpoint_name": said["sd_checkpoint_name"],
    }  # fmt: skip
    assert [width for width in found if isinstance(width, int)] == [96]
    assert [tuple(one.shape) for one in found[96][0].values() if one.dim() == 2] == [(144, 96), (192, 144), (96, 192)]
    plain = trained(**GIVEN | asked | {"output_name": "plain", "hypernetwork_dropout": "0"}, max_train_steps=2)
    assert plain.last.how == "done"
    assert not same(tmp_path / "out" / "hyper.pt", tmp_path / "out" / "plain.pt")


def test_a_run_goes_on_to_the_same_bits(trained: Trained, tmp_path: Path):
    given = GIVEN | {
        "save_state_on_train_end": True,
        "hypernetwork_dropout": "0.3",
        "hypernetwork_structure": "1, 2, 2, 1",
    }
    out = tmp_path / "out"
    trained(**given | {"output_name": "whole", "max_train_steps": 4})
    trained(**given | {"output_name": "first", "max_train_steps": 2})
    trained(**given | {"output_name": "second", "max_train_steps": 4, "resume": str(out / "first-state")})
    assert same(out / "whole.pt", out / "second.pt")
    assert not same(out / "whole.pt", out / "first.pt")
    assert [held(out / f"{name}.pt")["step"] for name in ("whole", "first", "second")] == [4, 2, 4]


@pytest.mark.shows("hypernetwork_weights")
def test_a_file_is_trained_further_as_it_is_built(trained: Trained, tmp_path: Path):
    out = tmp_path / "out"
    built = {"hypernetwork_structure": "1, 3, 1", "hypernetwork_activation": "relu", "hypernetwork_sizes": "64"}
    trained(**GIVEN | built | {"output_name": "first", "max_train_steps": 3, "save_state_on_train_end": True})
    further = {"hypernetwork_weights": str(out / "first.pt"), "save_state_on_train_end": True}
    trained(**GIVEN | further | {"output_name": "still", "max_train_steps": 1, "learning_rate": 1e-12})
    assert all(
        torch.allclose(a, b, atol=1e-9)
        for a, b in zip(tensors(out / "first.pt"), tensors(out / "still.pt"), strict=True)
    )
    trained(**GIVEN | further | {"output_name": "second", "max_train_steps": 4})
    found = held(out / "second.pt")
    assert (found["layer_structure"], found["activation_func"], found["step"]) == ([1, 3, 1], "relu", 7)
    trained(**GIVEN | further | {"output_name": "half", "max_train_steps": 2})
    (out / "first.pt").rename(out / "gone.pt")  # a state needs the file no longer
    resumed = {"resume": str(out / "half-state"), "output_name": "third", "max_train_steps": 4}
    (out / "first.pt").write_bytes(b"another thing")
    trained(**GIVEN | further | resumed)
    assert same(out / "second.pt", out / "third.pt")
    assert held(out / "third.pt")["step"] == 7
    as_built = {"resume": str(out / "half-state"), "output_name": "fourth", "max_train_steps": 4}
    trained(**GIVEN | built | as_built)
    assert same(out / "second.pt", out / "fourth.pt")


def test_what_does_not_fit_the_model_gets_a_sentence(settings: TrainingSettings, tmp_path: Path):
    family = family_of(settings)
    parts = family.load(settings, torch.float32)
    hyper = settings.for_method("hypernetwork")
    with pytest.raises(Failure, match="Modules names 768, but this model's attention layers have widths of 64, 96"):
        HypernetworkMethod(family, parts, hyper.with_values({"hypernetwork_sizes": "64, 768"}), dtype=torch.float32)
    one = {"linear.0.weight": torch.zeros(8, 4), "linear.0.bias": torch.zeros(8),
           "linear.1.weight": torch.zeros(4, 8), "linear.1.bias": torch.zeros(4)}  # fmt: skip
    for width, sentence in ((4, "foreign.pt changes attention layers of width 4"), (64, "The layers in foreign.pt")):
        torch.save({width: (one, one)}, tmp_path / "foreign.pt")
        begun = hyper.with_values({"hypernetwork_weights": str(tmp_path / "foreign.pt")})
        with pytest.raises(Failure, match=sentence):
            HypernetworkMethod(family, parts, begun, dtype=torch.float32)


@pytest.mark.parametrize(
    ("changes", "option", "sentence"),
    [
        ({"flux1_checkbox": True}, "pretrained_model_name_or_path", "Hypernetworks change cross-attention, which FLUX"),
        ({"hypernetwork_weights": "/no/file.pt"}, "hypernetwork_weights", 'There is no file "/no/file.pt".'),
        ({"hypernetwork_structure": "1, 2"}, "hypernetwork_structure", "is not a structure from 1 to 1"),
        ({"hypernetwork_structure": "1, -2, 1"}, "hypernetwork_structure", "is not a structure from 1 to 1"),
        ({"hypernetwork_structure": "1, nan, 1"}, "hypernetwork_structure", "is not a structure from 1 to 1"),
        ({"hypernetwork_structure": "one"}, "hypernetwork_structure", "is not a structure from 1 to 1"),
        ({"hypernetwork_structure": "1" + ", 1" * 16}, "hypernetwork_structure", "has 17 numbers; 16 are the most"),
        ({"hypernetwork_structure": "1, 0.0001, 1"}, "hypernetwork_structure", "is not a structure from 1 to 1"),
        ({"hypernetwork_sizes": "-64"}, "hypernetwork_sizes", '"-64" is not a list of widths'),
        ({"hypernetwork_sizes": "big"}, "hypernetwork_sizes", '"big" is not a list of widths'),
        ({"hypernetwork_dropout": "1"}, "hypernetwork_dropout", "neither one probability below 1 nor one for each"),
        ({"hypernetwork_dropout": "0, 0.1, 0.2, 0"}, "hypernetwork_dropout", "one for each of the 3 numbers"),
        ({"hypernetwork_dropout": ""}, "hypernetwork_dropout", "neither one probability"),
        ({"learning_rate": 0.0}, "learning_rate", "Every learning rate is 0"),
    ],
)
def test_what_is_wrong_is_said_before_the_start(
    settings: TrainingSettings, changes: dict[str, Any], option: str, sentence: str
):
    problems = check(settings.for_method("hypernetwork").with_values(changes)).problems
    found = [problem for problem in problems if problem.option == option and sentence in problem.what]
    assert len(found) == 1
    assert found[0].blocking


def test_what_is_right_passes(settings: TrainingSettings):
    good = settings.for_method("hypernetwork").with_values({"hypernetwork_structure": "1, 2, 2, 1"})
    assert not [problem for problem in check(good).problems if problem.blocking]


def test_a_state_of_another_run_gets_the_usual_sentence(trained: Trained, tmp_path: Path):
    out = tmp_path / "out"
    trained(**GIVEN | {"save_state_on_train_end": True, "max_train_steps": 1})
    trained(output_name="lora", save_state_on_train_end=True, max_train_steps=1)
    for changes in ({"resume": str(out / "lora-state")},
                    {"resume": str(out / "hyper-state"), "hypernetwork_structure": "1, 3, 1"},
                    {"resume": str(out / "hyper-state"), "hypernetwork_activation": "relu"}):  # fmt: skip
        history = trained(**GIVEN | {"output_name": "other", "max_train_steps": 2} | changes)
        assert history.problem is not None
        assert history.problem.what.startswith("The training state belongs to a different network")


def test_what_a_run_begins_from_may_be_gone_once_it_has_a_state(settings: TrainingSettings):
    for method, changes in (
        ("hypernetwork", {"hypernetwork_weights": "/gone/x.pt"}),
        ("textual_inversion", {"token_string": "zig", "embedding_weights": "/gone/x.safetensors"}),
    ):
        begun = settings.for_method(method).with_values(changes)
        (option,) = {"hypernetwork_weights", "embedding_weights"} & set(changes)
        assert option in [problem.option for problem in check(begun).problems]
        assert option not in [problem.option for problem in check(begun, Resumed((), True)).problems]


def test_a_file_written_before_the_first_step_of_a_resumed_run_says_the_steps_so_far(
    settings: TrainingSettings, tmp_path: Path
):
    """As where a run was killed between its state and its file."""
    hyper = settings.for_method("hypernetwork")
    family = family_of(hyper)
    first = HypernetworkMethod(family, family.load(hyper, torch.float32), hyper, dtype=torch.float32)
    for step in (1, 2, 3):
        first.before_step(step)
    parts = family.load(hyper, torch.float32)
    resumed = HypernetworkMethod(family, parts, hyper, dtype=torch.float32, goes_on=first.state_dict())
    resumed.load_state_dict(first.state_dict())
    resumed.save(tmp_path / "a.pt", {"ss_new_sd_model_hash": "IsADirectory", "ss_sd_model_name": "model.safetensors"})
    told = held(tmp_path / "a.pt")
    assert (told["step"], told["sd_checkpoint"], told["sd_checkpoint_name"]) == (3, None, "model")
    resumed.save(tmp_path / "a.pt", {"ss_new_sd_model_hash": "0123456789abcdef" * 4})
    assert held(tmp_path / "a.pt")["sd_checkpoint"] == "0123456789"


def test_what_a_settings_file_leaves_unsaid_is_imported_as_usual_with_the_method(tmp_path: Path):
    (tmp_path / "theirs.json").write_text('{"learning_rate": 0.0001, "max_train_steps": 50}')
    presets = Presets(tmp_path / "own", method="hypernetwork")
    preset, _ = presets.import_file(tmp_path / "theirs.json")
    applied = presets.load(preset).applied_to(TrainingSettings().for_method("hypernetwork"))
    assert (applied.optimizer.learning_rate, applied.optimizer.max_train_steps) == (1e-4, 50)
