"""The settings of a training run: the groups together."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any, Literal

from pydantic import Field, model_validator
from typing_extensions import Self

from engine.settings.anima import Anima
from engine.settings.averaging import Averaging
from engine.settings.block_lists import Block, by_block
from engine.settings.blocks import Blocks
from engine.settings.captions import Captions
from engine.settings.dataset import Dataset
from engine.settings.families import Families, FamilyName
from engine.settings.flux import Flux
from engine.settings.flux_ranks import FluxRanks
from engine.settings.folders import Folders
from engine.settings.form_plan import in_form_order
from engine.settings.hardware import Hardware
from engine.settings.huggingface import HuggingFace
from engine.settings.hunyuan import Hunyuan
from engine.settings.hypernetwork import Hypernetwork
from engine.settings.leco import Leco
from engine.settings.logging import Logging
from engine.settings.lumina import Lumina
from engine.settings.lycoris import Lycoris
from engine.settings.memory import Memory
from engine.settings.metadata import Metadata
from engine.settings.network import Network
from engine.settings.objective import Objective
from engine.settings.optimizer import Optimizer
from engine.settings.option import Option
from engine.settings.samples import Samples
from engine.settings.saving import Saving
from engine.settings.sd3 import Sd3
from engine.settings.sdxl import Sdxl
from engine.settings.secrets import without_secrets
from engine.settings.source_model import SourceModel
from engine.settings.taste import Taste
from engine.settings.textual_inversion import NEGATIVE, TextualInversion
from engine.settings.validation import Validation
from engine.settings.values import JobSettings
from engine.settings.whole_model import WholeModel

Method = Literal["lora", "dreambooth", "textual_inversion", "hypernetwork", "leco", "finetune"]
"""kohya_ss's training tabs, and more; DreamBooth and fine-tuning differ in what of the model is trained by
default."""

USUAL: dict[str, dict[Method, Any]] = {
    "learning_rate": {
        "lora": 1e-4, "dreambooth": 1e-5, "textual_inversion": 5e-4, "hypernetwork": 1e-5, "leco": 1e-4,
        "finetune": 1e-5,
    },
}  # fmt: skip
"""Values that are usual with a method, where they are not the same with each; a LoRA's are the defaults."""


class TrainingSettings(JobSettings):
    """Everything a training run is told.

    kohya_extra: keys of a loaded kohya file that no option here stands for, and values that their options do
    not allow, kept for saving.
    """

    method: Method = "lora"
    source_model: SourceModel = Field(default_factory=SourceModel)
    families: Families = Field(default_factory=Families)
    folders: Folders = Field(default_factory=Folders)
    dataset: Dataset = Field(default_factory=Dataset)
    captions: Captions = Field(default_factory=Captions)
    taste: Taste = Field(default_factory=Taste)
    network: Network = Field(default_factory=Network)
    lycoris: Lycoris = Field(default_factory=Lycoris)
    optimizer: Optimizer = Field(default_factory=Optimizer)
    blocks: Blocks = Field(default_factory=Blocks)
    objective: Objective = Field(default_factory=Objective)
    averaging: Averaging = Field(default_factory=Averaging)
    validation: Validation = Field(default_factory=Validation)
    saving: Saving = Field(default_factory=Saving)
    samples: Samples = Field(default_factory=Samples)
    memory: Memory = Field(default_factory=Memory)
    hardware: Hardware = Field(default_factory=Hardware)
    metadata: Metadata = Field(default_factory=Metadata)
    logging: Logging = Field(default_factory=Logging)
    huggingface: HuggingFace = Field(default_factory=HuggingFace)
    whole_model: WholeModel = Field(default_factory=WholeModel)
    textual_inversion: TextualInversion = Field(default_factory=TextualInversion)
    hypernetwork: Hypernetwork = Field(default_factory=Hypernetwork)
    sdxl: Sdxl = Field(default_factory=Sdxl)
    sd3: Sd3 = Field(default_factory=Sd3)
    flux: Flux = Field(default_factory=Flux)
    flux_ranks: FluxRanks = Field(default_factory=FluxRanks)
    leco: Leco = Field(default_factory=Leco)
    lumina: Lumina = Field(default_factory=Lumina)
    hunyuan: Hunyuan = Field(default_factory=Hunyuan)
    anima: Anima = Field(default_factory=Anima)
    kohya_extra: dict[str, Any] = Field(default_factory=dict)

    @model_validator(mode="before")
    @classmethod
    def _one_image_folder(cls, data: Any) -> Any:
        """kohya_ss's fine-tuning tab has a key of its own for the image folder; here every tab has the same."""
        if isinstance(data, dict) and isinstance(whole := data.get("whole_model"), dict):
            folders = data.get("folders") or {}
            if whole.get("image_folder") and isinstance(folders, dict) and not folders.get("train_data_dir"):
                moved = {"folders": {**folders, "train_data_dir": whole["image_folder"]}}
                return {**data, **moved, "whole_model": {**whole, "image_folder": ""}}
        return data

    @classmethod
    @cache
    def options(cls) -> tuple[Option, ...]:
        """What the settings declare, in the order in which the page shows it."""
        return tuple(in_form_order(super().options()))

    def family(self) -> FamilyName:
        """The family of models that the settings are for."""
        said = self.families.said()
        return "chroma" if said == "flux" and self.flux.flux_model_type == "chroma" else said

    def applied(self, name: str) -> Any:
        """An option's value, or its default where it means nothing beside the others, which hide it on the page."""
        item = next(item for item in self.options() if item.name == name)
        return item.value_in(self) if item.applies(self.values() | {"method": self.method}) else item.default

    def loose_repeats(self) -> int | None:
        """How often an epoch shows pictures that lie directly in the image folder; None where it does not use them."""
        return self.whole_model.dataset_repeats if self.method == "finetune" else None

    @property
    def trains_whole_model(self) -> bool:
        """The model's own weights move, and are saved; else something beside them."""
        return self.method in ("dreambooth", "finetune")

    def rates(self) -> tuple[float, ...]:
        """The learning rates of all parts that the method might train; 0 for a part that it does not."""
        if self.method in ("textual_inversion", "hypernetwork"):
            return (self.optimizer.learning_rate,)
        if self.method == "leco":
            return self.network_rates()[:1]
        if not self.trains_whole_model:
            return self.network_rates()[: 1 if self.family() == "chroma" else 2]  # its T5 is not trained
        text_encoders = {"sd1": 1, "sd2": 1, "sdxl": 2}.get(self.family(), 0)
        return tuple(self.whole_model_rates(text_encoders).values())

    def network_rates(self) -> tuple[float, float]:
        """(UNet's rate, text encoder's rate) of a network; a part whose rate is 0 is not trained."""
        if self.method == "leco":
            return self.optimizer.unet_lr or self.optimizer.learning_rate, 0.0
        return self.optimizer.rates()

    @property
    def trains_network(self) -> bool:
        """A LoRA of some type, on the base model."""
        return self.method in ("lora", "leco")

    @property
    def learns_from_pictures(self) -> bool:
        return self.method != "leco"

    @property
    def trains_text_encoder(self) -> bool:
        """Something that a text encoder reads with learns, so that captions are encoded at every step."""
        return self.teaches_words or any(self.rates()[1:])

    @property
    def teaches_words(self) -> bool:
        """Words that are new to the text encoders, alone or beside a LoRA."""
        return self.method == "textual_inversion" or bool(self.applied("pivotal"))

    def new_words(self) -> list[str]:
        """In order, the negative one last; none where none are taught."""
        words = self.textual_inversion.words() if self.teaches_words else []
        return [*words, *(f"{word}{NEGATIVE}" for word in words[:1] if self.applied("dreamartist"))]

    def fused_option(self) -> str:
        """The option by which weights are to be updated within the backward pass, empty where none says so."""
        ways = {
            "fused_backward_pass": self.sdxl.fused_backward_pass,
            "fused_optimizer_groups": self.sdxl.fused_optimizer_groups,
            "flux_fused_backward_pass": self.flux.flux_fused_backward_pass,
            "blockwise_fused_optimizers": self.flux.blockwise_fused_optimizers,
            "sd3_fused_backward_pass": self.sd3.sd3_fused_backward_pass,
        }
        return next((name for name, on in ways.items() if on), "") if self.trains_whole_model else ""

    def is_fused(self) -> bool:
        return bool(self.fused_option())

    def for_method(self, method: Method) -> TrainingSettings:
        """The same by another method; what stands at the one's usual value goes to the other's."""
        usual = {name: by_method for name, by_method in USUAL.items() if method in by_method}
        own = self.values()
        moved = {
            name: by_method[method] for name, by_method in usual.items() if own[name] == by_method.get(self.method)
        }
        return self.with_values(moved).model_copy(update={"method": method})

    def rates_by_block(self) -> dict[Block, float]:
        """Learning rates of SDXL's blocks where the whole model is trained; empty where they have none of their own.

        Raises ValueError, a sentence, where the list of them cannot be read.
        """
        text = self.applied("block_lr").strip()
        return by_block("Block LR (SDXL)", text, "sdxl") if text else {}

    def whole_model_rates(self, text_encoders: int) -> dict[str, float]:
        """Learning rates by part where the whole model is trained: "unet", then each text encoder; 0 for not at all.

        text_encoders: how many the model has that may be trained.
        """
        own = self.whole_model
        single = [own.learning_rate_te]
        several = [own.learning_rate_te1, own.learning_rate_te2]
        trained = self.method == "dreambooth" or own.train_text_encoder
        stays = not trained or self.optimizer.stop_text_encoder_training < 0
        own_rates = several[-text_encoders:] if text_encoders > 1 or self.family() == "sdxl" else single
        rates = [0.0, 0.0] if stays else own_rates
        names = ("text_encoder", "text_encoder_2")
        return {"unet": self.optimizer.learning_rate, **dict(zip(names[:text_encoders], rates, strict=False))}

    def _with(self, values: Mapping[str, Any], known: Mapping[str, Option]) -> Self:
        """As all settings do; what a file said wrongly in an option's place is forgotten with it."""
        changed = super()._with(values, known)
        set_anew = {item.kohya.key for item in self.options() if item.name in values}
        extra = {key: value for key, value in self.kohya_extra.items() if key not in set_anew}
        return changed.model_copy(update={"kohya_extra": extra})

    def parted_from_secrets(self) -> tuple[Self, list[str]]:
        """As all settings do; what a file said beside the options is looked through too."""
        copy, names = super().parted_from_secrets()
        extra, more = without_secrets(copy.kohya_extra)
        return copy.model_copy(update={"kohya_extra": extra}), [*names, *more]

    def machine(self) -> Hardware:
        return self.hardware

    def title(self) -> str:
        return self.folders.output_name


def training_options() -> tuple[Option, ...]:
    return TrainingSettings.options()
