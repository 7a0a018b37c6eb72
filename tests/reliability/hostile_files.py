"""Files that hostile hands made: mutates headers, checkpoints, settings, TOML, pictures and what lies in a run's
folder, and looks that each is read or refused in a sentence, soon.

python -m tests.reliability.hostile_files --seconds 60 [--seed 1] [--only pictures]
"""

from __future__ import annotations

import argparse
import io
import json
import random
import shutil
import struct
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from PIL import Image

from engine.begin import CannotResume, resume_step, settings_of
from engine.check.model import check_model
from engine.data.examining import examine
from engine.data.looks import look
from engine.data.opening import read_upright
from engine.failure import Failure
from engine.models.header import NoModel, read_header
from engine.models.mapped import mapped
from engine.models.pickled import read_checkpoint
from engine.models.recognise import recognise
from engine.models.sizes import sizes_of
from engine.runs.events import Finished, Planned, Progress, Sample, Stage, Step, Validated, Warned
from engine.runs.folder import RunFolder, all_runs
from engine.runs.history import History
from engine.settings.errors import SettingsFileError
from engine.settings.files import parse_settings
from engine.settings.from_metadata import from_metadata
from engine.settings.kohya_json import to_kohya
from engine.settings.training import TrainingSettings
from engine.tools.lora_metadata import unfolded
from ui import run_view

SLOWEST = 10.0
"""Seconds that one input may take on a machine with much else to do."""

Random = random.Random
Attack = Callable[[Random, Path], None]
"""Makes one input in a folder, and has it read; raises what must not be raised."""

ODD: list[Any] = [
    None, True, False, 0, -1, 2**31, 2**63, 10**400, 0.5, -1e308, float("inf"), float("nan"), "", "0", "1e400", "\0",
    "x" * 5000, [], {}, [[]], {"a": {}}, "../../x", "\u202e", "<script>", [1, "2"], [-1], ["a"] * 50,
]  # fmt: skip


def mutated(data: bytes, rng: Random) -> bytes:
    """Some bytes changed, cut out, put in, doubled, or cut off."""
    made = bytearray(data)
    for _ in range(rng.randint(1, 6)):
        at, length = rng.randrange(len(made) + 1), rng.choice((1, 1, 2, 4, 8, rng.randint(1, 64)))
        do = rng.randrange(5)
        if do == 0 and made:
            made[at % len(made)] ^= 1 << rng.randrange(8)
        elif do == 1:
            made[at : at + length] = rng.randbytes(length)
        elif do == 2:
            del made[at : at + length]
        elif do == 3:
            made[at:at] = made[at : at + length] * rng.randint(1, 8)
        elif do == 4 and rng.random() < 0.2:
            del made[at:]
    return bytes(made)


def odd_values(value: Any, rng: Random) -> Any:
    """Something within a JSON value exchanged for what nobody expects there, or left out."""
    if isinstance(value, dict) and value and rng.random() < 0.8:
        key = rng.choice(list(value))
        rest = {name: inner for name, inner in value.items() if name != key or rng.random() < 0.95}
        return rest | ({key: odd_values(value[key], rng)} if key in rest else {})
    if isinstance(value, list) and value and rng.random() < 0.8:
        at = rng.randrange(len(value))
        return [*value[:at], odd_values(value[at], rng), *value[at + 1 :]]
    return rng.choice(ODD)


def as_json(value: Any) -> bytes:
    return json.dumps(value).replace("Infinity", "1e400").encode()


# ── what is attacked ──────────────────────────────────────────────────────────────────────────────

_SHAPES: dict[str, list[int]] = {
    "model.diffusion_model.input_blocks.0.0.weight": [4, 4, 3, 3],
    "model.diffusion_model.input_blocks.1.1.transformer_blocks.0.attn2.to_k.weight": [4, 8],
    "model.diffusion_model.label_emb.0.0.weight": [2, 3],
    "img_in.weight": [2, 2],
    "double_blocks.0.img_attn.qkv.weight": [3, 1],
    "conditioner.embedders.0.transformer.x": [],
    "first_stage_model.decoder.conv_in.weight": [2, 2, 1, 1],
    "v_pred": [0],
}
_METADATA = {
    "modelspec.prediction_type": "v", "modelspec.architecture": "stable-diffusion-xl-v1-base/lora",
    "ss_base_model_version": "sd_v2_v", "ss_v2": "True", "ss_learning_rate": "1e-4", "ss_network_args": '{"a": 1}',
    "ss_datasets": '[{"subsets": [{"image_dir": "x"}]}]', "ss_resolution": "(512, 512)", "ss_num_epochs": "3",
    "ss_optimizer": "torch.optim.adamw.AdamW(weight_decay=0.1)", "ss_max_train_steps": "100",
    "ss_dataset_dirs": '{"10_cat": {"img_count": 3}}', "ss_network_module": "networks.lora",
    "ss_text_encoder_lr": "[1]",
}  # fmt: skip


def headers(rng: Random, folder: Path) -> None:
    listed: dict[str, Any] = {}
    end = 0
    for name in rng.sample(list(_SHAPES), rng.randint(1, len(_SHAPES))):
        size = 4 * int(torch.Size(_SHAPES[name]).numel())
        listed[name] = {"dtype": "F32", "shape": _SHAPES[name], "data_offsets": [end, end + size]}
        end += size
    whole: Any = {"__metadata__": dict(_METADATA), **listed}
    for _ in range(rng.randint(0, 3)):
        whole = odd_values(whole, rng)
    data = as_json(whole)
    data = mutated(data, rng) if rng.random() < 0.3 else data
    length = len(data) if rng.random() < 0.95 else rng.choice((0, 1, 2**63, 10**8, len(data) + 1))
    file = folder / "model.safetensors"
    file.write_bytes(struct.pack("<Q", length) + data + bytes(end))
    _ask_of_model(file)
    try:
        metadata = read_header(file).metadata
        json.dumps(unfolded(metadata), ensure_ascii=False).encode()
        from_metadata(metadata, TrainingSettings())
    except ValueError as error:
        _is_sentence(error)


def checkpoints(rng: Random, folder: Path) -> None:
    file = folder / "model.ckpt"
    weights = {name: torch.zeros(shape) for name, shape in _SHAPES.items()}
    stream = io.BytesIO()
    torch.save({"state_dict": weights, "epoch": 3}, stream, _use_new_zipfile_serialization=rng.random() < 0.7)
    file.write_bytes(mutated(stream.getvalue(), rng))
    _ask_of_model(file)
    try:
        for tensor in mapped(file, read_checkpoint(file)).values():
            tensor.sum()
    except NoModel as error:
        _is_sentence(error)


def _ask_of_model(file: Path) -> None:
    try:
        recognise(str(file))
    except NoModel as error:
        _is_sentence(error)
    settings = TrainingSettings().with_values({"pretrained_model_name_or_path": str(file), "vae": str(file)})
    assert all(problem.what for problem in check_model(settings))
    sizes_of(str(file), "sd1")


def settings(rng: Random, folder: Path) -> None:
    whole: Any = to_kohya(TrainingSettings())
    for _ in range(rng.randint(1, 8)):
        whole = odd_values(whole, rng)
    data = as_json(whole)
    _parse(mutated(data, rng) if rng.random() < 0.3 else data)


_TOML = """
[general]
shuffle_caption = true
resolution = [768, 512]
[[datasets]]
batch_size = 4
[[datasets.subsets]]
image_dir = 'a\\b'
caption_extension = ".txt"
prompt = \"\"\"a
b\"\"\"
when = 1979-05-27T07:32:00Z
a.b.c = { d = 1, e = [1.5e3, 0x1F] }
"""


def toml(rng: Random, folder: Path) -> None:
    text = mutated(_TOML.encode(), rng)
    pieces = (b"[" * 50, b"a." * 50, b"{a=" * 50, b'"""', b"'''", b"9" * 5000, b"[[a]]\n" * 50, b"\\" * 50, b"=" * 50)
    for _ in range(rng.randint(0, 3)):
        at = rng.randrange(len(text) + 1)
        text = text[:at] + rng.choice(pieces) * rng.choice((1, 1, 50)) + text[at:]
    _parse(text)


def _parse(data: bytes) -> None:
    try:
        parse_settings(data.decode("utf-8", "surrogateescape"))
    except SettingsFileError as error:
        _is_sentence(error)


def pictures(rng: Random, folder: Path) -> None:
    kind = rng.choice(("PNG", "JPEG", "WEBP", "BMP", "GIF", "AVIF", "EPS", "TIFF", "ICO", "PPM"))
    stream = io.BytesIO()
    mode = rng.choice(("RGB", "L")) if kind in ("JPEG", "EPS", "PPM") else rng.choice(("RGB", "RGBA", "P", "L"))
    Image.effect_noise((rng.randint(1, 80), rng.randint(1, 80)), 50).convert(mode).convert(
        "RGB" if kind == "EPS" else mode
    ).save(stream, kind)
    file = folder / f"picture{rng.choice(('.png', '.jpg', '.webp', '.bmp', '.avif'))}"
    file.write_bytes(mutated(stream.getvalue(), rng))
    found = examine(file)
    look(file)
    if kind in ("EPS", "TIFF", "ICO", "PPM") and not found.left_out:
        assert Image.open(file).format not in ("EPS", "TIFF", "ICO", "PPM")
    if not found.left_out:
        read_upright(file, (64, 64))


def runs(rng: Random, folder: Path) -> None:
    """A run whose files are damaged beside one that is sound: the sound one is listed, drawn and told as before."""
    root = folder / "runs"
    damaged, sound = (RunFolder.create("train", "{}", title, root) for title in ("damaged", "sound"))
    _tell(sound)
    _tell(damaged)
    damaged.set_process(rng.choice((1, 2**22)), 0)
    damaged.ask("stop")
    damaged.beat()
    (damaged.path / "state").mkdir()
    (damaged.path / "state" / "progress.json").write_text('{"step": 2, "total_steps": 9, "seed": 0}')
    for _ in range(rng.randint(1, 4)):
        _damage(rng.choice(sorted(path for path in damaged.path.rglob("*") if path.is_file())), rng)
    listed = list(all_runs(root))
    assert sound in listed
    for run in listed:
        history = History(run).update()
        for draw in (run_view.overview, run_view.chart, run_view.samples, run_view.log):
            text = draw(history)
            assert "<script>" not in text
        assert run_view.run_choice(run)
        assert isinstance(resume_step(run), int)
        try:
            settings_of(run)
        except CannotResume as error:
            _is_sentence(error)
        if run == sound:
            assert history.done_steps == 3
            assert history.status == "done"
    shutil.rmtree(root)


def _tell(run: RunFolder) -> None:
    writer = run.writer()
    writer.write(
        Planned(total_steps=9, steps_per_epoch=3, seed=0, device="cpu"),
        Stage(name="training"),
        *(Step(step=n, epoch=1, loss=0.1, smoothed_loss=0.2, learning_rates={"unet": 1e-4}, grad_norm=1.0,
               images_per_second=2.0, memory=10**9, eta=60.0, waiting=0.1) for n in (1, 2, 3)),
        Sample(file="a.png", preview="a.jpg", prompt="a cat", prompt_index=0, seed=1, step=2),
        Validated(step=2, loss=0.3, pictures=2),
        Progress(done=3, total=9, per_second=1.0, eta=5.0, last="a"),
        Warned(text="careful"),
        Finished(how="done", step=3),
    )  # fmt: skip
    writer.close()


def _damage(file: Path, rng: Random) -> None:
    data = file.read_bytes()
    if rng.random() < 0.6 and file.suffix in (".json", ".jsonl"):
        lines = data.splitlines() or [b"{}"]
        at = rng.randrange(len(lines))
        try:
            lines[at] = as_json(odd_values(json.loads(lines[at]), rng))
        except ValueError:
            lines[at] = mutated(lines[at], rng)
        file.write_bytes(b"\n".join(lines) + b"\n")
    elif rng.random() < 0.5:
        file.write_bytes(mutated(data, rng))
    else:
        file.unlink()
        rng.choice(
            (
                lambda: file.mkdir(),
                lambda: file.symlink_to(file),
                lambda: file.symlink_to("/dev/zero"),
                lambda: file.symlink_to("/gone"),
                lambda: None,
            )
        )()


ATTACKS: dict[str, Attack] = {
    "headers": headers, "checkpoints": checkpoints, "settings": settings, "toml": toml, "pictures": pictures,
    "runs": runs,
}  # fmt: skip


def _is_sentence(error: Exception) -> None:
    text = str(error)
    assert text.endswith((".", "?", "!")), text
    assert len(text) < 2000
    assert "\n" not in text, text


def attack(name: str, seed: int, folder: Path) -> str | None:
    """What went wrong with one input, or None.  The seed makes the same one again."""
    begun = time.monotonic()
    try:
        ATTACKS[name](Random(f"{name} {seed}"), folder)
    except (Failure, Exception):
        return traceback.format_exc()
    took = time.monotonic() - begun
    return f"it took {took:.1f} s" if took > SLOWEST else None


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", choices=ATTACKS)
    asked = parser.parse_args()
    tried, failed = Counter[str](), Counter[str]()
    until, seed = time.monotonic() + asked.seconds, asked.seed
    with tempfile.TemporaryDirectory() as folder:
        while time.monotonic() < until:
            for name in [asked.only] if asked.only else ATTACKS:
                tried[name] += 1
                if wrong := attack(name, seed, Path(folder)):
                    failed[name] += 1
                    print(f"{name}, seed {seed}:\n{wrong}", flush=True)
            seed += 1
    for name, count in tried.items():
        print(f"{name}: {count} tried, {failed[name]} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    raise SystemExit(main())
