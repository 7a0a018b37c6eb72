"""Captions and sample prompts as people leave them: nothing is passed over without a word, and nothing else is raised.

python -m tests.reliability.captions_and_prompts [--tries 5000] [--seed 0]

Folders of pictures with captions of all endings, encodings and lines, read with all endings; lines of prompts, and
files of them in three forms and six encodings, cut and garbled.
"""

from __future__ import annotations

import argparse
import json
import random
import re
import tempfile
from collections import Counter
from pathlib import Path

from engine.check.captions import LOOK_FOR, check_captions
from engine.data.captions import USUAL_ENDINGS, caption_file
from engine.data.folders import scan
from engine.data.items import Subset, captions_of, items_of
from engine.failure import Failure
from engine.settings.prompt_files import read_prompt_file
from engine.settings.samples import SamplePrompt, Samples
from engine.settings.training import TrainingSettings

THEIRS = (".txt", ".caption", ".cap", ".TXT", ".Caption", ".png.txt", ".txt.bak", ".npz", "")
TYPED = (".txt", ".caption", "", "txt", ".TXT", "*.txt", ".png.txt", ".none", " .cap ")
TEXTS = ("a cat", "a cat\n", "", " \n", "\na cat", "a cat\nof paper", "caf\u00e9", "one\r\ntwo\r\n", "\u2028a\u2028b")
ENCODINGS = ("utf-8", "utf-8-sig", "cp1252", "utf-16-le", "utf-16-be", "utf-16")

PIECES = (
    "a cat", " --w 512", " --w512", " --h 512x768", " --s 20.0", " --d -1", " --l 7,5", " --n blurry", " \u2014w 64",
    " \u2013s 3", " -- ", "--", " --ctr 0.25", " --rcfg", " --ss euler", " --ss x", " --q 3", " --w", " --d 9e99", "#",
    " --img 'a b.png'", "\u00a0", " --l .", " --s 1_0", " --g \u0663", "\ud800", " --h=64", " \u2212d 4", "\t--w 8",
)  # fmt: skip


def one_folder(rng: random.Random, folder: Path) -> str:
    """What became of a folder's captions.  Raises AssertionError where something is passed over without a word."""
    pictures = folder / rng.choice(("10_sks cat", "3", "1_"))
    pictures.mkdir(parents=True)
    stems = rng.sample(("a", "b", "a.b", "c_1_2_3_4", "c", "d"), rng.randint(1, 5))
    for stem in stems:
        (pictures / f"{stem}.png").touch()
        for ending in rng.sample(THEIRS, rng.randint(0, 2)):
            if ending:
                text = rng.choice(TEXTS).encode(rng.choice(ENCODINGS), "replace")
                (pictures / f"{stem}{ending}").write_bytes(text)
    wild = rng.random() < 0.3
    settings = TrainingSettings().with_values({"caption_extension": rng.choice(TYPED), "enable_wildcard": wild})
    items = items_of(scan(folder), Subset.of(settings))
    problems = list(check_captions(items, settings))
    said = " ".join(problem.what for problem in problems)
    outcome = "no start" if any(problem.blocking for problem in problems) else "told" if problems else "all is read"
    ending = settings.dataset.caption_ending()
    try:
        captions_of(items)
    except Failure:
        assert any(problem.blocking for problem in problems), "a caption that ends the run is no hindrance"
        return outcome
    for item in items:
        own = caption_file(item.picture, ending)
        beside = [file for file in pictures.glob(f"{item.picture.stem}.*") if file.name.lower().endswith(USUAL_ENDINGS)]
        if own:
            text = own.read_text(encoding="utf-8-sig")
            lines = [line.strip() for line in text.split("\n")]
            is_all_read = wild or not any(lines[1:])
            is_told = own.name in said or " more" in said
            assert is_told or (any(lines) and is_all_read), f"{own}: {text!r}"
        elif any(file.stem == item.picture.stem or file.stem == item.picture.name for file in beside):
            assert item.picture.name in said or " more" in said, f"{item.picture} has {beside}"
    fix = next((problem.fix for problem in problems if problem.fix), "")
    if fix:
        after = settings.with_values({"caption_extension": fix.removeprefix(LOOK_FOR)})
        again = list(check_captions(items_of(scan(folder), Subset.of(after)), after))
        assert fix not in [problem.fix for problem in again], "what the button does is asked for again"
    return outcome


def one_prompt(rng: random.Random) -> str:
    """What became of a line.  Raises what is no ValueError with one sentence that names the line."""
    line = "".join(rng.choices(PIECES, k=rng.randint(1, 6)))
    try:
        (prompt,) = Samples(sample_prompts=line).prompts() or (None,)
    except ValueError as error:
        return _refused(error, begins="Sample prompts, line ")
    if prompt is None:
        return "empty"
    again = SamplePrompt.parse(prompt.line())
    assert (again.width, again.steps, again.seed, again.sampler) == (
        prompt.width, prompt.steps, prompt.seed, prompt.sampler
    )  # fmt: skip
    return "read in part" if prompt.notes or prompt.ignored else "read"


def one_file(rng: random.Random, folder: Path) -> str:
    """What became of a file of prompts.  Raises what is no ValueError."""
    lines = ["".join(rng.choices(PIECES, k=rng.randint(1, 4))).replace("\ud800", "?") for _ in range(rng.randint(0, 3))]
    tables = [{"prompt": line, rng.choice(("width", "seed", "scale", "enum", "x")): rng.choice((64, -1, "7"))}
              for line in lines]  # fmt: skip
    subsets = "".join(f"[[prompt.subset]]\nprompt = {json.dumps(line)}\n" for line in lines)
    form, text = rng.choice(
        ((".txt", "\n".join(lines)), (".json", json.dumps(rng.choice((lines, tables)), ensure_ascii=False)),
         (".toml", f"[prompt]\nwidth = 64\n{subsets}"))
    )  # fmt: skip
    data = bytearray(text.encode(rng.choice(ENCODINGS), "replace"))
    if data and rng.random() < 0.3:
        del data[rng.randrange(len(data)) :]
    if data and rng.random() < 0.2:
        data[rng.randrange(len(data))] = rng.randrange(256)
    file = folder / f"p{form}"
    file.write_bytes(data)
    try:
        read_prompt_file(file)
    except ValueError as error:
        return _refused(error)
    return "read"


def _refused(error: ValueError, begins: str = "") -> str:
    assert re.fullmatch(re.escape(begins) + ".+", str(error)), f"{error!r} is not one sentence"
    return "refused"


def search(tries: int, seed: int) -> Counter[str]:
    """How often each thing happened.  tries: of each of the three kinds."""
    rng = random.Random(seed)
    happened: Counter[str] = Counter()
    for _ in range(tries):
        with tempfile.TemporaryDirectory() as name:
            happened[f"folder: {one_folder(rng, Path(name) / 'img')}"] += 1
            happened[f"file: {one_file(rng, Path(name))}"] += 1
        happened[f"line: {one_prompt(rng)}"] += 1
    return happened


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tries", type=int, default=5000)
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    for what, count in sorted(search(asked.tries, asked.seed).items()):
        print(f"{count:6} {what}")


if __name__ == "__main__":
    main()
