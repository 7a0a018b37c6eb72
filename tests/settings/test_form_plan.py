"""The page goes in kohya_ss's order, so that a tutorial is read beside it from top to bottom."""

from __future__ import annotations

from pathlib import Path

import pytest

from engine.jobs import UTILITIES
from engine.settings.form_plan import PLAN, headed, in_form_order
from engine.settings.option import Group, Option, option, options_of
from engine.settings.training import TrainingSettings, training_options

KOHYA_FORM = Path(__file__).with_name("kohya_form_order.txt")

TABS = {"LoRA": "lora", "DreamBooth": "dreambooth", "Textual inversion": "textual_inversion", "Finetuning": "finetune"}

PARTS = {
    "Source Model": "SourceModel",
    "Parameters/Basic": "BasicTraining",
    "Parameters/Basic/SDXL": "SDXLParameters",
    "Parameters/Basic/FLUX.1": "flux1Training",
    "Parameters/Basic/FLUX.1/Blocks to train": "flux1Training",
    "Parameters/Basic/FLUX.1/Rank for layers": "flux1Training",
    "Parameters/Basic/SD3": "sd3Training",
    "Parameters/Basic/HunyuanImage-2.1": "hunyuanImageTraining",
    "Parameters/Basic/Anima": "animaTraining",
    "Parameters/Basic/Lumina Image 2.0": "luminaTraining",
    "Parameters/Advanced": "AdvancedTraining",
    "Parameters/Advanced/Scheduled Huber Loss": "AdvancedTraining",
    "Parameters/Advanced/Logging": "AdvancedTraining",
    "Parameters/Samples": "SampleImages",
    "Parameters/HuggingFace": "HuggingFace",
    "Parameters/Accelerate launch": "AccelerateLaunch",
    "Parameters/Metadata": "MetaData",
}
"""The part of kohya_ss's form that a section of ours is; each may also hold fields of the tab's own."""

NOT_IN_KOHYAS_FORM = {"model_list", "sdxl_checkbox", "resume", "stop_text_encoder_training_pct"}
"""Keys that kohya_ss saves, without a place of their own in the list of its form."""

ARTICLE = (
    "LoRA Type", "LoRA network weights", "DIM from weights", "Batch size", "Epoch", "Max train epoch",
    "Save every N epochs", "Caption Extension", "Seed", "Cache latents", "Cache latents to disk", "Learning rate",
    "LR Scheduler", "LR warmup (% of steps)", "Optimizer", "LR number of cycles", "LR power",
    "Optimizer extra arguments", "Max resolution", "Stop text encoder training", "Enable buckets",
    "Minimum Bucket Resolution", "Maximum Bucket Resolution", "Text Encoder learning rate", "Unet learning rate",
    "Network Rank (Dimension)", "Network Alpha", "Scale weight norms", "Network dropout", "Rank dropout",
    "Module dropout",
)  # fmt: skip
"""The fields of Parameters › Basic as a tutorial of 2023 goes through them, in the words of that version."""


def kohyas_fields() -> dict[str, list[str]]:
    """The lines of each tab and part of kohya_ss's form."""
    found: dict[str, list[str]] = {}
    for line in KOHYA_FORM.read_text(encoding="utf-8").splitlines():
        if line.startswith("["):
            fields = found.setdefault(line.strip("[]"), [])
        elif line and not line.startswith("#"):
            fields.append(line)
    return found


def as_shown(tab: str) -> list[tuple[str, str]]:
    """(the part, the label) of a tab's fields, top to bottom."""
    fields = kohyas_fields()
    return [
        shown
        for line in fields[tab]
        for shown in ([(line[2:], label) for label in fields[line[2:]]] if line.startswith("> ") else [(tab, line)])
    ]


@pytest.mark.parametrize("tab", TABS)
def test_every_section_goes_in_the_order_of_kohyas_tab(tab: str):
    shown = as_shown(tab)
    theirs = [item for item in training_options() if TABS[tab] in item.kohya.methods and item.kohya.has_it]
    compared = set()
    for section in PLAN:
        known = [(part, label) for part, label in shown if part in (PARTS.get(section), tab)]
        order = []
        for item in theirs:
            if item.section != section or section in ("Folders", "Parameters/Basic/Text encoders"):
                continue
            # A field that the tab itself has too, such as Weighted captions, counts where the part is.
            places = [
                place
                for wanted in (PARTS.get(section), tab)
                for place, (part, label) in enumerate(known)
                if part == wanted and label in (item.label, *item.kohya.also)
            ]
            if not places:
                assert item.name in NOT_IN_KOHYAS_FORM, (section, item.label)
                continue
            order.append((places[0], item.label))
            compared.add(item.name)
        assert order == sorted(order), section
    assert len(compared) > 100


def test_folders_go_as_the_tutorials_folders_tab_does():
    """kohya_ss 26 shows the image folder and the name beside the model; the tutorials have them among the folders."""
    shown = [item.short_label for item in training_options() if item.section == "Folders" and item.acts]
    tutorial = [
        "Image folder", "Output directory for trained model", "Regularisation directory", "Logging directory",
        "Trained Model output name", "Training comment",
    ]  # fmt: skip
    assert [label for label in dict.fromkeys(shown) if label in tutorial] == tutorial


def test_the_articles_path_leads_down_the_page():
    """By blocks: within one, the fields go as they do in today's kohya_ss."""
    blocks = headed("Parameters/Basic", training_options())
    place = {
        name.lower(): number
        for number, (_, items) in enumerate(blocks)
        for item in items
        for name in (item.label, *item.kohya.also)
    }
    path = [place[name.lower()] for name in ARTICLE]
    assert path == sorted(path)
    assert (path[0], path[-1]) == (0, len(blocks) - 1)


def test_the_plan_names_every_field_of_kohyas_once_and_none_that_there_is_not():
    planned = [(section, name) for section, blocks in PLAN.items() for _, names in blocks for name in names.split()]
    assert len(planned) == len(set(planned))
    declared = {(item.section, item.name): item for item in training_options()}
    assert not set(planned) - set(declared)
    assert not {place for place, item in declared.items() if item.kohya.has_it} - set(planned)


def test_a_block_has_a_short_heading_and_few_enough_fields_to_look_over():
    for section in PLAN:
        acting = [item for item in training_options() if item.section == section and item.acts]
        blocks = headed(section, acting)
        for heading, items in blocks:
            assert len(heading) <= 30
            assert heading or len(blocks) == 1, section
            for method in ("lora", "dreambooth", "finetune"):
                shown = [item for item in items if item.applies({**TrainingSettings().values(), "method": method})]
                assert len(shown) <= 12, (section, heading)


def test_an_option_that_the_plan_does_not_name_comes_last_without_more_ado():
    class More(TrainingSettings):
        class Extra(Group):
            new_rate: float = option(0.5, label="New rate", section="Parameters/Basic", help=".")
            elsewhere: int = option(1, label="Elsewhere", section="Parameters/New", help=".")

        extra: Extra = Extra()

    sections = list(dict.fromkeys(item.section for item in More.options()))
    assert (sections[0], sections[-1]) == ("Source Model", "Parameters/New")
    basic = headed("Parameters/Basic", More.options())
    assert basic[0][0] == "LoRA"
    assert (basic[-1][0], [item.name for item in basic[-1][1]]) == ("", ["new_rate"])
    assert [(head, [item.name for item in items]) for head, items in headed("Parameters/New", More.options())] == [
        ("", ["elsewhere"])
    ]


def test_the_order_loses_nothing_and_leaves_a_utilitys_as_it_is_declared():
    declared: list[Option] = options_of(TrainingSettings)
    assert sorted(item.name for item in in_form_order(declared)) == sorted(item.name for item in declared)
    for job in UTILITIES.values():
        assert list(job.settings_class().options()) == options_of(job.settings_class())
