"""The file of every kind of network, and the picture that other programs draw with it."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pytest
import torch
from diffusers import StableDiffusionPipeline
from PIL import Image
from safetensors.torch import load_file

from engine.demo.demo import MODEL_FOLDER
from engine.models.drawing import Drawing
from engine.models.family import Family
from engine.models.parts import Parts
from engine.runs.history import History
from engine.settings.samples import SamplePrompt
from engine.settings.sd_networks import TYPES
from engine.settings.training import TrainingSettings
from engine.training.lora_method import LoraMethod
from engine.training.samplers import make_sampler
from tests.models.loading import drawn_by, loaded
from tests.models.small import SETTINGS
from tests.models.small import pipeline as small
from tests.networks.formulas import by_place
from tests.networks.read_elsewhere import merge
from tests.networks.test_kinds import USUAL, VARIANTS

SIZE = 64
SEED = 1
SYSTEM_PROMPT = "draw shapes"
"""What Lumina is told before each prompt."""

LIKE_LORA: dict[str, dict[str, Any]] = {
    "Standard": {"lora_type": "Standard"},
    "Standard, rank-stabilised": {"lora_type": "Standard", "rs_lora": True},
    "LoRA-FA": {"lora_type": "LoRA-FA"},
    "Kohya LoCon": {"lora_type": "Kohya LoCon"},
}
OF_LYCORIS = VARIANTS | {"LoHa, rank-stabilised": {"lora_type": "LyCORIS/LoHa", "rs_lora": True}}
OF_SD = LIKE_LORA | OF_LYCORIS

OF_TRANSFORMERS: dict[str, dict[str, Any]] = {
    "flux, Flux1": {"lora_type": "Flux1"},
    "flux, split": {"lora_type": "Flux1", "split_qkv": True},
    "flux, OFT": {"lora_type": "Flux1 OFT"},
    "flux, OFT everywhere": {"lora_type": "Flux1 OFT", "enable_all_linear": True, "network_alpha": 0.05},
    "flux, LoKr": {"lora_type": "LyCORIS/LoKr"},
    "lumina, Lumina": {"lora_type": "Lumina"},
    "lumina, LoHa, DoRA": {"lora_type": "LyCORIS/LoHa", "dora_wd": True},
    "sd3, Standard": {"lora_type": "Standard"},
    "sd3, Diag-OFT": {"lora_type": "LyCORIS/Diag-OFT"},
}
"""By family; several layers are one matrix in their files."""

MOVED = {
    "Native": 0.02, "GLoRA": 0.02, "BOFT": 0.01, "BOFT, rescaled": 0.01, "LoHa": 0.04, "LoHa, DoRA": 0.04,
    "LoHa, rank-stabilised": 0.02, **dict.fromkeys(OF_TRANSFORMERS, 0.5),
}  # fmt: skip
"""By how much trained numbers have moved, where it is not a tenth: so that a picture changes and is still one."""

WORDS = {"prompt": "a red circle on a blue background", "negative_prompt": "a star"}
ASKED: dict[str, tuple[str, dict[str, Any]]] = {
    "pocket": ("--s 3 --l 4", {"num_inference_steps": 3, "guidance_scale": 4.0}),
    "flux": ("--s 2 --l 3 --g 4", {"num_inference_steps": 2, "true_cfg_scale": 3.0, "guidance_scale": 4.0}),
    "lumina": ("--s 2 --l 3 --ctr 0.5 --rcfg 0", {
        "num_inference_steps": 2, "guidance_scale": 3.0, "cfg_trunc_ratio": 0.5, "cfg_normalization": False,
        "system_prompt": SYSTEM_PROMPT,
    }),
    "sd3": ("--s 2 --l 3", {"num_inference_steps": 2, "guidance_scale": 3.0}),
}  # fmt: skip
"""How a picture is asked for, here and of diffusers."""


@dataclass(frozen=True)
class Drawn:
    """A file that the engine wrote, and what training's own network draws."""

    variant: str
    file: Path
    picture: Image.Image


class Model:
    """A model as the engine loads it, and as diffusers does."""

    def __init__(self, family: str, folder: Path, pipeline: Any) -> None:
        flags, told = ASKED[family]
        options = SETTINGS.get(family, {}) | {"lumina_system_prompt": SYSTEM_PROMPT}
        self._options = {name: value for name, value in options.items() if "max_token" not in name}
        self._engine: tuple[Family, Parts] = loaded(folder, **self._options)
        self.words = f"{WORDS['prompt']} --n {WORDS['negative_prompt']} {flags}"
        self._sample, self._told = Drawing(SamplePrompt.parse(self.words), SIZE, SIZE, SEED), WORDS | told
        self._pipeline = pipeline
        pipeline.set_progress_bar_config(disable=True)
        modules = [part for part in pipeline.components.values() if isinstance(part, torch.nn.Module)]
        self._weights = [(module, copy.deepcopy(module.state_dict())) for module in modules]
        self.unchanged = self.by_diffusers(pipeline)

    @contextmanager
    def pipeline(self) -> Iterator[Any]:
        """diffusers', with its own weights before and after."""
        try:
            yield self._pipeline
        finally:
            for module, weights in self._weights:
                module.load_state_dict(weights)

    def by_diffusers(self, pipeline: Any) -> Image.Image:
        generator = torch.Generator().manual_seed(SEED)
        picture: Image.Image = pipeline(**self._told, height=SIZE, width=SIZE, generator=generator).images[0]
        return picture

    @torch.no_grad()
    def trained(self, variant: str, values: dict[str, Any], file: Path) -> Drawn:
        """A network that has moved, the file that is saved of it, and what it draws in training."""
        family, parts = self._engine[0], copy.deepcopy(self._engine[1])
        settings = TrainingSettings().with_values(USUAL | {"save_precision": "float"} | self._options | values)
        method = LoraMethod(family, parts, settings, total_steps=1, dtype=torch.float32)
        torch.manual_seed(3)
        for group in ("unet", "text_encoder"):
            for parameter in method.network.parameters(group):
                parameter.add_(torch.randn_like(parameter) * MOVED.get(variant, 0.1))
        method.save(file, {})
        scheduler = make_sampler("ddim", parts.alphas_cumprod) if parts.alphas_cumprod is not None else None
        return Drawn(variant, file, drawn_by(family, parts, self._sample, scheduler))


def differ(one: Image.Image, other: Image.Image) -> int:
    """The largest difference of a pixel, of 255."""
    return int(np.abs(np.asarray(one, dtype=int) - np.asarray(other, dtype=int)).max())


def check(model: Model, pipeline: Any, drawn: Drawn) -> None:
    """It draws the picture that training does, by far another one than without the network."""
    assert differ(model.by_diffusers(pipeline), drawn.picture) <= 2
    assert differ(model.unchanged, drawn.picture) > 20


@pytest.fixture(scope="module")
def pocket() -> Model:
    pipeline = StableDiffusionPipeline.from_pretrained(MODEL_FOLDER, torch_dtype=torch.float32, safety_checker=None)
    return Model("pocket", MODEL_FOLDER, pipeline)


@pytest.fixture(scope="module")
def drawn(request: pytest.FixtureRequest, pocket: Model, tmp_path_factory: pytest.TempPathFactory) -> Drawn:
    file = tmp_path_factory.mktemp("network") / "network.safetensors"
    return pocket.trained(request.param, OF_SD[request.param], file)


def of(*variants: str) -> Any:
    return pytest.mark.parametrize("drawn", variants, indirect=True)


def test_every_type_of_the_form_is_drawn():
    types = {values["lora_type"] for values in (OF_SD | OF_TRANSFORMERS).values()}
    assert types == set(TYPES) - {"Anima", "HunyuanImage-2.1"}  # whose models are not trained yet


@of(*OF_SD)
def test_merged_by_its_formula_a_file_draws_the_picture_of_training(pocket: Model, drawn: Drawn):
    with pocket.pipeline() as pipeline:
        merge(drawn.file, pipeline)
        check(pocket, pipeline, drawn)


@of(*LIKE_LORA, "LoCon", "DyLoRA", "Kohya DyLoRA", "T-LoRA")
def test_diffusers_draws_it_too(pocket: Model, drawn: Drawn):
    with pocket.pipeline() as pipeline, loaded_by_diffusers(drawn.file, pipeline):
        check(pocket, pipeline, drawn)


@contextmanager
def loaded_by_diffusers(file: Path, pipeline: Any) -> Iterator[None]:
    pipeline.load_lora_weights(file)
    try:
        yield
    finally:
        pipeline.unload_lora_weights()


ON_INPUT = {"weight_decompose": True, "wd_on_out": False}
# What create_lycoris_from_weights cannot make of a file, a network of LyCORIS's own loads, made as for its training.
MADE_AS: dict[str, dict[str, Any]] = {
    "(IA)3": {"network_module": "ia3", "train_on_input": True},
    "(IA)3, on output": {"network_module": "ia3", "train_on_input": False},
    "LoKr, Tucker": {"network_module": "lokr", "use_tucker": True, "conv_lora_dim": 1},
    "LoKr, full, unbalanced": {"network_module": "lokr", "full_matrix": True, "unbalanced_factorization": True},
    "LoCon, DoRA on input": {"network_module": "locon", **ON_INPUT},
    "LoKr, DoRA on input": {"network_module": "lokr", **ON_INPUT},
}
LIKE_USUAL = {"lora_dim": 4, "alpha": 2, "conv_lora_dim": 2, "conv_alpha": 3}


@of(*(variant for variant in OF_LYCORIS if variant != "(IA)3, of its preset"))  # of which it has no network from a file
def test_lycoris_draws_it_too(pocket: Model, drawn: Drawn):
    with pocket.pipeline() as pipeline, put_on_by_lycoris(drawn.file, pipeline, MADE_AS.get(drawn.variant)):
        check(pocket, pipeline, drawn)


@contextmanager
def put_on_by_lycoris(file: Path, pipeline: Any, made_as: dict[str, Any] | None = None) -> Iterator[None]:
    """made_as: how the network is made, where its file does not suffice for that."""
    from lycoris import LycorisNetwork, create_lycoris_from_weights

    weights = load_file(file)
    places = set(by_place(weights))
    with ExitStack() as stack:
        for model, prefix in ((pipeline.unet, "lora_unet"), (pipeline.text_encoder, "lora_te_text_model")):
            stack.enter_context(mock.patch.object(LycorisNetwork, "LORA_PREFIX", prefix))
            of_model = {name: tensor for name, tensor in weights.items() if name.startswith(prefix)}
            if made_as is None:
                network, _ = create_lycoris_from_weights(1.0, "", model, of_model)
            else:
                network = LycorisNetwork(model, **LIKE_USUAL | made_as)
            places -= {layer.lora_name for layer in network.loras}
            # Merged by 4.1.3, LoHa and LoKr act with the square of their strength, and put on with the strength itself.
            if made_as or any("hada_" in name or "lokr_" in name for name in of_model):
                network.apply_to()
                stack.callback(network.restore)
            else:
                network.merge_to()
            if made_as:
                assert not network.load_state_dict(of_model, strict=False).unexpected_keys
        assert not places
        yield


@pytest.fixture(scope="module")
def transformer(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Model:
    folder, pipeline = tmp_path_factory.mktemp("model"), small(request.param)
    pipeline.save_pretrained(folder)
    return Model(request.param, folder, pipeline)


@pytest.mark.parametrize(
    ("transformer", "variant"), [(name.partition(",")[0], name) for name in OF_TRANSFORMERS], indirect=["transformer"]
)
def test_a_transformer_s_file_merged_by_its_formula_draws_the_picture_of_training(
    transformer: Model, variant: str, tmp_path: Path
):
    drawn = transformer.trained(variant, OF_TRANSFORMERS[variant], tmp_path / "network.safetensors")
    with transformer.pipeline() as pipeline:
        merge(drawn.file, pipeline)
        check(transformer, pipeline, drawn)


@pytest.mark.parametrize(
    ("transformer", "variant"),
    [("flux", "flux, Flux1"), ("lumina", "lumina, Lumina"), ("sd3", "sd3, Standard")],
    indirect=["transformer"],
)
def test_diffusers_draws_a_transformer_s_file_of_its_dialect_too(transformer: Model, variant: str, tmp_path: Path):
    values = OF_TRANSFORMERS[variant] | {"lora_file_dialect": "diffusers", "text_encoder_lr": 0, "unet_lr": 1e-3}
    drawn = transformer.trained(variant, values, tmp_path / "network.safetensors")
    with transformer.pipeline() as pipeline, loaded_by_diffusers(drawn.file, pipeline):
        check(transformer, pipeline, drawn)


def test_of_what_a_run_has_trained_others_draw_the_run_s_own_sample(
    pocket: Model, trained: Callable[..., History], tmp_path: Path
):
    rates = dict.fromkeys(("learning_rate", "unet_lr", "text_encoder_lr"), 0.01)
    words = {"sample_prompts": f"{pocket.words} --d {SEED}", "sample_sampler": "ddim", "sample_every_n_epochs": 1}
    trained(**rates, **words, save_precision="float")
    (sample,) = (tmp_path / "out" / "sample").glob("*.png")
    drawn = Drawn("Standard", tmp_path / "out" / "shapes.safetensors", Image.open(sample))
    for put_on in (loaded_by_diffusers, put_on_by_lycoris):
        with pocket.pipeline() as pipeline, put_on(drawn.file, pipeline):
            check(pocket, pipeline, drawn)
    with pocket.pipeline() as pipeline:
        merge(drawn.file, pipeline)
        check(pocket, pipeline, drawn)
