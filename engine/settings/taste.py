"""What a picture's aesthetic score means for training: is it used, how much does it count, what is it called."""

from __future__ import annotations

import math
import re
from typing import Literal

from engine.settings.option import Group, option

SECTION = "Parameters/Advanced/Aesthetic scores"

_ROW = re.compile(r"([+-]?(?:\d+\.?\d*|\.\d+))\s*:(.*)", re.DOTALL)


class Taste(Group):
    score_threshold: float = option(
        0.0,
        label="Score threshold",
        section=SECTION,
        help="Leave out training pictures whose aesthetic score is below this; 0 uses them all. Pictures get their "
        "scores from Aesthetic scores, under Utilities. Pictures without a score are used, and so are all "
        "regularisation pictures.",
        also=("Minimum aesthetic score",),
        ours=True,
    )
    score_weighting: bool = option(
        False,
        label="Weight by score",
        section=SECTION,
        help="Let pictures with a higher aesthetic score count more in the loss. A picture at or below Low score gets "
        "Weight at the low score, one at or above High score gets 1, and in between the weight rises in a straight "
        "line. All weights are then divided by their mean, so that the learning rate keeps its meaning. Pictures "
        "without a score get a weight of 1, and regularisation pictures only follow Prior loss weight.",
        also=("Aesthetic weights", "Loss weight by aesthetic score"),
        ours=True,
    )
    score_low: float = option(
        4.0,
        label="Low score",
        section=SECTION,
        help="The aesthetic score at and below which a picture counts least.",
        applies_when={"score_weighting": (True,)},
        ours=True,
    )
    score_high: float = option(
        7.0,
        label="High score",
        section=SECTION,
        help="The aesthetic score at and above which a picture counts most.",
        applies_when={"score_weighting": (True,)},
        ours=True,
    )
    score_low_weight: float = option(
        0.2,
        ge=0.01,
        le=1,
        step=0.01,
        widget="slider",
        label="Weight at the low score",
        section=SECTION,
        help="How much a picture at the low score counts in comparison with one at the high score.",
        applies_when={"score_weighting": (True,)},
        ours=True,
    )
    score_words: str = option(
        "",
        widget="lines",
        label="Words by score",
        section=SECTION,
        help="Words for captions, one line per range of scores, such as 6.5: masterpiece, best quality. A picture gets "
        "the words of the highest line that its aesthetic score reaches; a line without words adds none. Semicolons "
        "may stand in place of line breaks. Pictures without a score and regularisation pictures get no words. Empty "
        "turns this off.",
        also=("Quality tags", "Aesthetic tags"),
        ours=True,
    )
    score_words_at: Literal["start", "end"] = option(
        "start",
        label="Place of the words",
        section=SECTION,
        help="Where the words by score go: at the start of the caption, right after a Caption prefix, or at its end. "
        "Keep n tokens counts them at the start.",
        ours=True,
    )

    def used(self) -> str:
        """The first option that needs scores; empty where none does."""
        on = {
            "score_threshold": self.score_threshold != 0,
            "score_weighting": self.score_weighting,
            "score_words": bool(self.score_words.strip()),
        }
        return next((name for name, is_on in on.items() if is_on), "")

    def rows(self) -> list[tuple[float, str]]:
        """score_words as (from which score on, words), the highest score first.

        Raises ValueError with a sentence for people.
        """
        rows: dict[float, str] = {}
        for line in filter(None, (line.strip() for line in re.split(r"[\n;]", self.score_words))):
            found = _ROW.fullmatch(line)
            if found is None or not math.isfinite(float(found[1])):
                raise ValueError(
                    f'Words by score has the line "{line[:80]}", which does not begin with a score and a colon; enter '
                    "lines such as 6.5: masterpiece, best quality."
                )
            if float(found[1]) in rows:
                raise ValueError(f"Words by score has two lines for the score {found[1]}; remove one of them.")
            rows[float(found[1])] = found[2].strip().strip(",").strip()
        return sorted(rows.items(), reverse=True)

    def words(self, score: float | None) -> str:
        """The words for a picture's score; empty for none."""
        if score is None:
            return ""
        return next((words for least, words in self.rows() if score >= least), "")

    def told(self, caption: str, score: float | None, separator: str) -> str:
        """The caption with the words for the score, in each of its lines.  separator: of the caption's parts."""
        words = self.words(score)
        if not words:
            return caption
        between = f"{separator or ','} "

        def line_with(line: str) -> str:
            parts = (words, line) if self.score_words_at == "start" else (line, words)
            return between.join(filter(None, parts))

        return "\n".join(map(line_with, caption.split("\n")))

    def rising(self, score: float) -> float:
        """A weight before all are divided by their mean: w + (1 - w) · clip((score - low) / (high - low), 0, 1).

        w: score_low_weight.  In [w, 1].
        """
        share = (score - self.score_low) / (self.score_high - self.score_low)
        return self.score_low_weight + (1 - self.score_low_weight) * min(max(share, 0.0), 1.0)
