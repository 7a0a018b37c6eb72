"""How much memory a run will need, before it starts: its own code on tensors that have sizes but no contents."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import psutil
import torch
from torch import Tensor, nn

from engine.data.captions import may_vary
from engine.data.training_set import training_set
from engine.models.conditioning import Conditioning
from engine.models.extra_channels import EXTRA_CHANNELS
from engine.models.parts import Parts
from engine.models.quantize import NF4_BLOCK
from engine.models.skeleton import without_weights
from engine.models.vae import to_pixels
from engine.settings.leco_prompts import PromptSet
from engine.settings.memory import BaseFormat
from engine.settings.training import TrainingSettings
from engine.training.block_swap import AHEAD, blocks_of, how_many, spread
from engine.training.caption_progress import CAPTIONS_AT_A_TIME
from engine.training.hardware import Precision, choose_precision
from engine.training.leco_method import LecoMethod, sets_of
from engine.training.ledger import counted, without_contents
from engine.training.metadata import DTYPES
from engine.training.method import parameters
from engine.training.model import Examples, Model
from engine.training.optimizers import make_optimizer
from engine.training.stages.attach import attach
from engine.training.stages.load import load_model

Device = Literal["cuda", "cpu"]

Shown = tuple[int, int, int]
"""(width, height, pictures) of a batch."""

BITS: dict[BaseFormat, float] = {"fp8": 8, "int8": 8, "nf4": 4 + 16 / NF4_BLOCK}
"""Bytes per weight, including its share of a scale if that matters."""

CUDA_ITSELF = 600 * 2**20
"""Bytes that CUDA and its libraries take of a GPU before the first tensor: 0.4 to 0.8 GiB as users report it."""

ANY_CAPTION = "a, {b|c}"

PROBE, PROBE_OF_KERNELS = 256, 64
"""Shapes of a matrix and of a convolution's weight, used to measure how much an optimizer remembers per weight: some
keep a number per row and column, which for 3×3 kernels is two thirds of the total.
"""


@dataclass(frozen=True, kw_only=True)
class Phase:
    """What is in memory at the peak of one phase of a run, in bytes.

    weights: of the model, frozen or not.  network: what is trained in addition.  activations: everything that a
    forward pass keeps for the backward pass.  optimizer: its memory, and the weights' average.
    """

    weights: int
    network: int = 0
    gradients: int = 0
    optimizer: int = 0
    activations: int = 0

    @property
    def total(self) -> int:
        return self.weights + self.network + self.gradients + self.optimizer + self.activations


@dataclass(frozen=True)
class Estimate:
    """phases: "latents", "captions", "training" and, where samples are drawn, "samples"; on a CPU "loading" too, and
    for a whole model "saving"; "validation" if the batches of held-out pictures are larger than the training
    batches.

    program: bytes that Python, torch and other libraries take from the same memory.
    """

    phases: dict[str, Phase]
    program: int

    @property
    def fullest(self) -> str:
        return max(self.phases, key=lambda name: self.phases[name].total)

    @property
    def total(self) -> int:
        return self.program + self.phases[self.fullest].total


def estimate(settings: TrainingSettings, device: Device) -> Estimate:
    """Raises Failure if the model is unknown or not on this machine yet."""
    estimator = _Estimator(settings, device)
    # By now this process has loaded what a run loads, and nothing more.
    program = CUDA_ITSELF if device == "cuda" else psutil.Process().memory_info().rss
    return estimator.estimate(program)


class _Estimator:
    def __init__(self, settings: TrainingSettings, device: Device) -> None:
        self._settings, self._device = settings, device
        mixed, _ = choose_precision(settings.hardware.mixed_precision, device == "cuda")
        precision = Precision.of(settings, mixed)
        self._dtype = precision.frozen
        self._whole = settings.trains_whole_model
        with without_weights():
            loaded = load_model(settings, precision)
        with torch.device("meta"):
            attached = attach(settings, loaded, precision, total_steps=1)
        self._family, self._parts = loaded.family, loaded.parts
        self._method, self._encoder = attached.method, attached.encoder
        if self._whole:
            self._convert_what_is_frozen()
        self._shown, self._held_out = _largest_batches(settings)
        self._tokens = 1  # of a caption, once that is known
        self._network = 0 if self._whole else _bytes_of(parameters(self._method))

    def estimate(self, program: int) -> Estimate:
        parts, settings = self._parts, self._settings
        width, height, batch = max(self._shown, self._held_out, key=math.prod)
        encoded_together = settings.dataset.vae_batch_size or batch
        phases = {}
        if self._device == "cpu":
            phases["loading"] = Phase(weights=self._while_loading())
        if settings.learns_from_pictures:
            phases["latents"] = self._phase(
                parts.of_pictures(), lambda: _encode(parts, encoded_together, width, height)
            )
        of_captions, captions = self._captions()
        if not self._encoder.learns:
            phases["captions"] = captions
        phases["training"] = self._training(of_captions)
        if math.prod(self._held_out) > math.prod(self._shown):
            phases["validation"] = self._validation(of_captions)
        prompts = settings.samples.prompts()
        if prompts:
            width, height = (
                max(getattr(p, side) or own for p in prompts) for side, own in (("width", width), ("height", height))
            )
            phases["samples"] = self._samples(of_captions, width, height)
        if self._device == "cpu" and self._whole:
            phases["saving"] = self._saving(phases["training"])
        return Estimate(phases, program)

    def _saving(self, training: Phase) -> Phase:
        """The model again, in the number format of its file."""
        width = DTYPES[self._settings.source_model.save_precision].itemsize
        copied = sum(tensor.numel() * width for module in self._parts.modules() for tensor in _tensors(module))
        return Phase(
            weights=training.weights, network=self._set_aside, optimizer=training.optimizer, activations=copied
        )

    @property
    def _set_aside(self) -> int:
        """The trained weights, where the average is in their place and they wait in the same memory."""
        waits = self._settings.averaging.ema and self._device == "cpu"
        return _bytes_of(parameters(self._method)) if waits else 0

    def _while_loading(self) -> int:
        """Bytes before anything is quantized, including the file being read: a folder's largest part, which is read
        first, or the single file that contains everything.
        """
        sizes = [_bytes_of(_tensors(module)) for module in self._parts.modules()]
        source = Path(self._settings.source_model.pretrained_model_name_or_path)
        if source.is_file():
            return sum(sizes) + source.stat().st_size
        files = [sum(file.stat().st_size for file in part.glob("*.safetensors")) for part in source.glob("*/")]
        return max(sum(sizes), max(sizes) + max(files, default=0))

    def _captions(self) -> tuple[Conditioning, Phase]:
        """Conditioning of some captions, as sizes only, and the phase in which captions are encoded."""
        encoded: list[Conditioning] = []
        phase = self._phase(
            self._parts.text_encoders, lambda: encoded.append(self._encoder.encode(["a"] * CAPTIONS_AT_A_TIME))
        )
        self._tokens = max(tensor.shape[1] for tensor in encoded[0].values())
        return {name: torch.empty(t.shape, dtype=t.dtype, device="meta") for name, t in encoded[0].items()}, phase

    def _training(self, of_captions: Conditioning) -> Phase:
        settings, learned = self._settings, parameters(self._method)
        gradients = _bytes_of(learned)
        phase = self._phase(self._on_device(), lambda: self._loss(of_captions, self._shown).backward(), grad=True)
        if settings.is_fused():
            gradients = max(p.numel() * p.element_size() for p in learned)
            # The count includes them all, because nothing updates the weights here.
            activations = phase.activations - _bytes_of(learned) + gradients
        else:
            activations = phase.activations - gradients
        remembered, passing = self._optimizer
        # Gradients appear as activations are freed; the step itself needs room once the activations are gone.
        spare = max(activations, passing, 0)
        return Phase(
            weights=phase.weights,
            network=self._network,
            gradients=gradients,
            optimizer=remembered,
            activations=spare,
        )

    def _validation(self, of_captions: Conditioning) -> Phase:
        """The largest batch of held-out pictures, without gradients, with the optimizer's state in memory."""

        def measure() -> None:
            self._loss(of_captions, self._held_out)

        phase = self._phase(self._on_device(), measure)
        remembered, _ = self._optimizer
        return replace(phase, network=self._network + self._set_aside, optimizer=remembered)

    def _on_device(self) -> list[nn.Module]:
        """What is in memory during training."""
        settings, parts = self._settings, self._parts
        if not settings.learns_from_pictures:
            return [parts.denoiser]
        stay = self._encoder.learns or may_vary(ANY_CAPTION, settings.captions)
        looks = [] if settings.dataset.keeps_latents() else parts.of_pictures()
        return [parts.denoiser, *(parts.text_encoders if stay else []), *looks]

    def _loss(self, of_captions: Conditioning, shown: Shown) -> Tensor:
        """What a batch costs, by the method's own code."""
        parts, (width, height, batch) = self._parts, shown
        if isinstance(self._method, LecoMethod):
            return self._loss_of_prompts(self._method, of_captions)
        if not self._settings.dataset.keeps_latents():
            with torch.no_grad():
                _encode(parts, batch, width, height)
        latents = torch.empty(batch, parts.channels, height // parts.stride, width // parts.stride)

        def conditioning() -> Conditioning:
            encoded = self._encoder.encode(["a"] * batch) if self._encoder.learns else _repeated(of_captions, batch)
            return encoded | _extra_channels(parts, latents)

        model = self._model()
        examples = Examples(latents=latents, sizes=torch.empty(batch, 6), mask=None, conditioning=conditioning)
        return self._method.losses(model, examples, model.objective.corrupt).mean()

    def _loss_of_prompts(self, method: LecoMethod, of_captions: Conditioning) -> Tensor:
        """The largest set's, with what is drawn before: two pictures for each, without gradients."""
        model, set_, parts = self._model(), _largest_set(self._settings), self._parts
        (width, height), batch = set_.resolution, set_.batch_size
        latents = torch.empty(2 * batch, parts.channels, height // parts.stride, width // parts.stride)
        timesteps, sizes = torch.empty(2 * batch, dtype=torch.long), torch.empty(2 * batch, 6)
        with torch.no_grad():
            model.predict(latents, timesteps, lambda: _repeated(of_captions, 2 * batch), sizes)
        told = _repeated(of_captions, len(set_.prompts))
        return method.judged(model, set_, latents[:batch], timesteps[:batch], told=told, sizes=sizes[:batch]).mean()

    def _model(self) -> Model:
        return Model(
            family=self._family,
            parts=self._parts,
            objective=self._family.objective(self._settings, self._parts),
            dtype=self._dtype,
            device=torch.device("cpu"),
            autocast=self._autocast,
            offload=self._offloaded,
        )

    @cached_property
    def _optimizer(self) -> tuple[int, int]:
        """(bytes of the optimizer's state and of the weights' average, bytes that a step needs temporarily)."""
        learned = parameters(self._method)
        averaging = self._settings.averaging
        counts: Counter[tuple[int, ...]] = Counter()
        for parameter in learned:
            counts[tuple(parameter.shape[2:])] += parameter.numel()
        dtype, kept, made = learned[0].dtype, 0.0, ""
        for kernel, count in counts.items():
            side = PROBE if not kernel else PROBE_OF_KERNELS
            probe = nn.Parameter(torch.zeros(side, side, *kernel, dtype=dtype))
            optimizer = make_optimizer([{"params": [probe], "lr": 1e-4}], self._settings.optimizer)
            made = type(optimizer).__module__
            probe.grad = torch.full_like(probe, 1e-3)
            optimizer.step()
            state = optimizer.state[probe].values()
            kept += count / probe.numel() * sum(t.nbytes for t in state if isinstance(t, Tensor) and t.numel() > 1)
        if self._device == "cuda" and self._settings.optimizer.optimizer.startswith("Paged"):
            kept = 0  # it is paged to main memory if the GPU has no room
        # torch's own optimizers update all weights at once on a GPU, with a temporary tensor of each one's size.
        at_once = made.startswith("torch.optim") and self._device == "cuda"
        total = sum(counts.values())
        if averaging.ema and not (averaging.ema_on_cpu and self._device == "cuda"):
            kept += total * torch.float32.itemsize
        largest = total if at_once and not self._settings.is_fused() else max(p.numel() for p in learned)
        return int(kept), largest * dtype.itemsize

    def _samples(self, of_captions: Conditioning, width: int, height: int) -> Phase:
        parts = self._parts

        def draw() -> None:
            sides = height // parts.stride, width // parts.stride
            latents = torch.empty(2, parts.channels, *sides, dtype=self._dtype)
            encoded = _repeated(of_captions, 2) | _extra_channels(parts, latents)
            with self._autocast():
                self._family.predict(parts, latents, torch.empty(2), encoded, torch.empty(2, 6))
            to_pixels(parts.vae, latents[:1])

        learning = parts.text_encoders if self._encoder.learns else []
        # to_pixels() widens it so, but a tensor without contents cannot be converted in its place.
        if self._dtype == torch.float16:
            parts.vae.to(torch.float32)
        phase = self._phase([parts.denoiser, *parts.of_pictures(), *learning], draw)
        parts.vae.to(self._dtype)
        remembered, _ = self._optimizer
        return replace(phase, network=self._network + self._set_aside, optimizer=remembered)

    def _phase(self, modules: list[nn.Module], work: Callable[[], None], grad: bool = False) -> Phase:
        """What `work` needs with these modules on the device.  On a CPU the others are in the same memory."""
        with counted(self._tokens) as ledger, without_contents(modules), torch.set_grad_enabled(grad):
            full = ledger.live
            work()
            activations = ledger.peak - full
        weights = sum(self._weights(module) for module in modules)
        forms = {id(module): self._form(module) for module in modules}
        widest = max((layer.weight.numel() for m in modules if forms[id(m)] for layer in _matrices(m)), default=0)
        activations += widest * self._dtype.itemsize  # a quantized matrix is whole for a moment
        if self._device == "cpu":
            weights += sum(self._weights(module) for module in self._parts.modules() if id(module) not in forms)
        elif id(self._parts.denoiser) in forms:
            weights -= self._swapped()
        return Phase(weights=weights, activations=activations)

    def _weights(self, module: nn.Module) -> int:
        """Bytes of a part without the network attached to it, with the frozen matrices of its blocks quantized."""
        own = [t for t in _tensors(module) if self._whole or not t.requires_grad]
        if form := self._form(module):
            quantized = {id(layer.weight) for layer in _matrices(module) if not layer.weight.requires_grad}
            return int(
                _bytes_of([t for t in own if id(t) not in quantized])
                + sum(t.numel() * BITS[form] / 8 for t in own if id(t) in quantized)
            )
        return _bytes_of(own)

    def _form(self, module: nn.Module) -> BaseFormat | None:
        if module is self._parts.denoiser:
            return self._settings.memory.base_format()
        looks = any(module is one for one in self._parts.of_pictures())
        return None if looks else self._settings.memory.encoder_format()

    def _swapped(self) -> int:
        """Bytes of the blocks in main memory at a time: all swapped ones except the one computing and the next."""
        swaps = how_many(self._settings, self._parts)
        blocks, form = blocks_of(self._parts.denoiser), self._form(self._parts.denoiser)
        sizes = [
            sum(p.numel() * (BITS[form] / 8 if form and p.ndim > 1 else p.element_size())
                for p in blocks[place].parameters() if not p.requires_grad)
            for place in spread(len(blocks), swaps)
        ]  # fmt: skip
        return int(sum(sorted(sizes)[:-AHEAD]))

    def _convert_what_is_frozen(self) -> None:
        for module in (self._parts.denoiser, *self._parts.text_encoders):
            if not any(parameter.requires_grad for parameter in module.parameters()):
                module.to(self._dtype)

    def _autocast(self) -> AbstractContextManager[Any]:
        return torch.autocast("cpu", self._dtype) if self._dtype != torch.float32 else nullcontext()

    def _offloaded(self) -> AbstractContextManager[Any]:
        is_asked = self._settings.flux.cpu_offload_checkpointing and self._settings.hardware.gradient_checkpointing
        if self._device == "cpu" or not is_asked:
            return nullcontext()
        return torch.autograd.graph.saved_tensors_hooks(
            lambda tensor: (tensor.shape, tensor.dtype), lambda told: torch.empty(told[0], dtype=told[1])
        )


def _largest_batches(settings: TrainingSettings) -> tuple[Shown, Shown]:
    """The most demanding batches of any dataset, for training and for validation.  Raises Failure."""
    if not settings.learns_from_pictures:
        largest = _largest_set(settings)
        return (*largest.resolution, largest.batch_size), (0, 0, 0)
    usual = (*settings.dataset.size(), settings.optimizer.train_batch_size)
    if not settings.folders.dataset_config:
        return usual, usual
    found = training_set(settings)
    learned, held_out = (
        max(
            ((*item.subset.pictures.size(), item.subset.batch_size) for item in items), key=math.prod, default=(0, 0, 0)
        )
        for items in (found.items, found.held_out)
    )
    return learned, held_out


def _largest_set(settings: TrainingSettings) -> PromptSet:
    return max(sets_of(settings), key=lambda set_: math.prod(set_.resolution) * set_.batch_size)


def _encode(parts: Parts, batch: int, width: int, height: int) -> None:
    parts.encode(torch.empty(batch, 3, height, width), None)


def _repeated(conditioning: Conditioning, batch: int) -> Conditioning:
    return {name: torch.empty(batch, *tensor.shape[1:], dtype=tensor.dtype) for name, tensor in conditioning.items()}


def _extra_channels(parts: Parts, latents: Tensor) -> Conditioning:
    if parts.extra_channels is None:
        return {}
    return {EXTRA_CHANNELS: latents.new_empty(len(latents), parts.extra_channels.channels, *latents.shape[2:])}


def _matrices(module: nn.Module) -> list[nn.Linear]:
    lists = [blocks for blocks in module.modules() if isinstance(blocks, nn.ModuleList)]
    return list({id(m): m for blocks in lists for m in blocks.modules() if type(m) is nn.Linear}.values())


def _tensors(module: nn.Module) -> list[Tensor]:
    return [*module.parameters(), *module.buffers()]


def _bytes_of(tensors: list[Any]) -> int:
    return sum(tensor.numel() * tensor.element_size() for tensor in {id(t): t for t in tensors}.values())
