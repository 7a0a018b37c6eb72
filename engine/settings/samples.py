"""Sample pictures made while training."""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass
from typing import Literal

from engine.settings.option import Group, option

SECTION = "Parameters/Samples"

Sampler = Literal[
    "euler_a", "euler", "ddim", "pndm", "lms", "heun", "dpm_2", "dpm_2_a", "dpmsolver", "dpmsolver++",
    "dpmsingle", "k_lms", "k_euler", "k_euler_a", "k_dpm_2", "k_dpm_2_a",
]  # fmt: skip


class Samples(Group):
    sample_every_n_steps: int = option(
        0,
        ge=0,
        label="Sample every n steps",
        section=SECTION,
        help="Generate samples from the prompts below every n steps; 0 turns it off.",
    )
    sample_every_n_epochs: int = option(
        0,
        ge=0,
        label="Sample every n epochs",
        section=SECTION,
        help="Generate samples every n epochs; 0 turns it off.",
    )
    sample_at_first: bool = option(
        False,
        label="Sample before training",
        section=SECTION,
        help="Also generate samples before the first step, to see what training changes.",
        ours=True,
    )
    sample_sampler: Sampler = option(
        "euler_a",
        label="Sample sampler",
        section=SECTION,
        help="The sampler to use for prompts that do not name one.",
    )
    sample_prompts: str = option(
        "",
        label="Sample prompts",
        section=SECTION,
        widget="lines",
        help="One prompt per line, followed by any of these: --n negative prompt, --w width, --h height, --d seed, "
        "--l guidance scale, --s steps, --ss sampler. For inpainting, depth and refiner models, --img is the "
        "path of a picture and --mask that of a mask, white where to fill in. For Lumina, --ctr and --rcfg are its CFG "
        "truncation ratio and renormalization. Lines starting with # are ignored. "
        "Without width and height, samples have the training resolution.",
    )

    def prompts(self) -> list[SamplePrompt]:
        """The prompts, parsed.  Raises ValueError with a sentence naming the line where one is wrong."""
        lines = [line.strip() for line in self.sample_prompts.splitlines()]
        return [
            SamplePrompt.parse(line, number)
            for number, line in enumerate(lines, start=1)
            if line and not line.startswith("#")
        ]


@dataclass(frozen=True)
class SamplePrompt:
    """One line of Sample prompts.

    width, height: pixels, None for the training resolution.  steps: denoising steps.
    guidance_scale: classifier-free guidance, 1 for none; None for what is usual with the model.
    told_guidance: what a FLUX.1-dev is told of it instead.  seed: None for the run's seed.
    cfg_trunc_ratio: share of the steps, from the first, that Lumina is guided in.  renorm_cfg: whether its guided
    prediction is scaled back to the length of the unguided one, 0 for no; None for what is usual.
    picture, mask: paths, for models that begin from a picture.
    ignored: flags that have no meaning for the models trained here.
    notes: sentences on values of which a part alone is read.
    """

    text: str
    negative: str = ""
    width: int | None = None
    height: int | None = None
    steps: int = 30
    guidance_scale: float | None = None
    told_guidance: float | None = None
    cfg_trunc_ratio: float | None = None
    renorm_cfg: float | None = None
    seed: int | None = None
    sampler: str | None = None
    picture: str | None = None
    mask: str | None = None
    ignored: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    @staticmethod
    def parse(line: str, number: int = 1) -> SamplePrompt:
        """Read kohya's syntax: the prompt, then ` --w 512 --h 512 --s 20 --l 7.5 --d 42 --n blurry`.

        Flags are read in either case, and with the dash that a web page makes of two hyphens. Of a number, what
        follows it is left out, as sd-scripts does it: --w 512x768 is a width of 512. One that is for other models is
        set aside in `ignored`; an unknown one is refused with a sentence.
        """
        text, *parts = re.split(_BEGINS_A_FLAG, " " + line)
        values: dict[str, object] = {}
        ignored: list[str] = []
        notes: list[str] = []
        for part in parts:
            key, value = _key_and_value(re.sub(r"\s+", " ", part.strip()))
            if key.lower() in _FOR_OTHER_MODELS:
                ignored.append(f"--{key}")
            else:
                read, note = _read_flag(key.lower(), value, number)
                values |= read
                notes += [note] if note else []
        return SamplePrompt(text=text.strip(), ignored=tuple(ignored), notes=tuple(notes), **values)  # type: ignore[arg-type]

    def line(self) -> str:
        """The prompt in kohya's syntax again, with all that differs from the defaults."""
        flags = {
            "w": self.width, "h": self.height, "s": self.steps, "l": self.guidance_scale, "g": self.told_guidance,
            "ctr": self.cfg_trunc_ratio, "rcfg": self.renorm_cfg, "d": self.seed,
            "ss": self.sampler, "img": self.picture, "mask": self.mask, "n": self.negative or None,
        }  # fmt: skip
        return " ".join([self.text, *(f"--{key} {value}" for key, value in flags.items() if value is not None)])


_FOR_OTHER_MODELS = {"cn", "fs", "am"}
"""The picture of a ControlNet, the flow shift, the strength of a network."""

_TEXTS = {"n": "negative", "img": "picture", "mask": "mask"}

_FLAGS: dict[str, tuple[str, type, float, float]] = {
    # flag: (field, type, least, most)
    "w": ("width", int, 8, 8192),
    "h": ("height", int, 8, 8192),
    "s": ("steps", int, 1, 1000),
    "l": ("guidance_scale", float, 0, 100),
    "g": ("told_guidance", float, 0, 100),
    "ctr": ("cfg_trunc_ratio", float, 0, 1),
    "rcfg": ("renorm_cfg", float, 0, 100),
    "d": ("seed", int, 0, 2**63 - 1),
}

_KNOWN = "|".join(sorted({*_FLAGS, *_TEXTS, *_FOR_OTHER_MODELS, "ss"}, key=len, reverse=True))
_BEGINS_A_FLAG = re.compile(
    rf"\s(?:--(?=[A-Za-z])|(?:[\u2010-\u2015\u2212][-\u2010-\u2015\u2212]?|-[\u2010-\u2015\u2212])"
    rf"(?=(?:{_KNOWN})(?:[\s=]|-?\d)))",
    re.IGNORECASE,
)
"""Two hyphens before a letter, or what a web page or a word processor makes of them, before a flag that is known."""

_NUMBER = re.compile(r"[+-]?(?:\d+(?:\.\d*)?|\.\d+)")


def _key_and_value(flag: str) -> tuple[str, str]:
    """w 512, w=512 or w512."""
    written = re.fullmatch(rf"({'|'.join(_FLAGS)})(?:\s*=\s*|(?=-?\d))(.*)", flag, re.IGNORECASE)
    key, _, value = written.expand(r"\1 \2").partition(" ") if written else flag.partition(" ")
    return key, value.strip()


def _read_flag(key: str, value: str, number: int) -> tuple[dict[str, object], str]:
    """(the field and its value, a note where not all that is written is read)."""
    if key in _TEXTS:
        return {_TEXTS[key]: value if key == "n" else value.strip("\"'")}, ""
    if key == "ss":
        known = Sampler.__args__  # type: ignore[attr-defined]
        if value not in known:
            raise ValueError(
                f"Sample prompts, line {number}: there is no sampler {value!r}; use one of {', '.join(known)}."
            )
        return {"sampler": value}, ""
    if key not in _FLAGS:
        raise ValueError(
            f"Sample prompts, line {number}: --{shlex.quote(key)} is not known; "
            "use --w, --h, --s, --l, --g, --ctr, --rcfg, --d, --ss, --img, --mask and --n."
        )
    field, kind, least, most = _FLAGS[key]
    found = _NUMBER.match(value)
    written = found[0] if found else ""
    try:
        parsed = kind(float(written) if "." in written else int(written))
    except (ValueError, OverflowError):
        parsed = None
    if key == "d" and parsed == -1:
        return {}, "--d -1 means a random seed elsewhere; here it means the run's seed."
    if parsed is None or not least <= parsed <= most:
        raise ValueError(
            f"Sample prompts, line {number}: --{key} is {value[:40]!r}; it takes a number from {least:g} to {most:g}."
        )
    is_all = written == value and parsed == float(written)
    return {field: parsed}, "" if is_all else f"--{key} {value} is read as {written if kind is float else parsed}."
