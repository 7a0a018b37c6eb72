"""A LyCORIS preset file is read once for all that one look at the settings asks of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from engine.check.network import check_network
from engine.demo.demo import MODEL_FOLDER
from engine.networks.made import reach_of
from engine.networks.shares import Shares
from engine.settings import lycoris_preset
from engine.settings.training import TrainingSettings
from engine.training.counting import Counter


@pytest.fixture
def readings(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the files that are read."""
    found: list[str] = []
    parse = lycoris_preset.parse_toml
    monkeypatch.setattr(lycoris_preset, "parse_toml", lambda text, name: found.append(name) or parse(text, name))
    return found


def settings_for(file: Path) -> TrainingSettings:
    given = {"lora_type": "LyCORIS/DyLoRA", "lycoris_preset": str(file), "conv_dim": 4}
    return TrainingSettings().with_values(given | {"pretrained_model_name_or_path": str(MODEL_FOLDER)})


def test_one_answer_takes_one_reading(readings: list[str], tmp_path: Path):
    for name, ask in {"counted": Counter().answer, "checked": lambda settings: [*check_network(settings)]}.items():
        file = tmp_path / f"{name}.toml"
        file.write_text('unet_target_name = ["conv_out"]')
        ask(settings_for(file))
        assert readings == [file.name]
        readings.clear()


def test_a_file_that_was_changed_is_read_again(tmp_path: Path):
    file = tmp_path / "preset.toml"
    settings = settings_for(file)
    for names, wide in ((["conv_out"], True), (["conv_in"], False), (["conv_up"], True)):
        new = tmp_path / "new.toml"  # editors write another file and give it the name
        new.write_text(f"unet_target_name = {names}\nenable_conv = {str(wide).lower()}".replace("'", '"'))
        new.replace(file)
        listed = reach_of(settings).listed
        assert listed
        assert [pattern.text for pattern in listed.names] == names
        assert (Shares(settings).at("lora_unet_conv_out", (4, 4, 3, 3)) is not None) == wide
    file.unlink()
    with pytest.raises(Exception, match="There is no file"):
        reach_of(settings)
