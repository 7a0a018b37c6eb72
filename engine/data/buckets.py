"""Buckets: the sizes that pictures of different shapes are trained at, chosen as sd-scripts chooses them.

All sizes are (width, height) in pixels.  Needs no torch: the page counts with it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from functools import cached_property

Size = tuple[int, int]


@dataclass(frozen=True)
class Placed:
    """bucket: the size trained at.  resized: what the picture is scaled to before it is cropped to the bucket.

    original: the size of its file.
    """

    bucket: Size
    resized: Size
    original: Size = field(default=(0, 0), compare=False)

    def told(self, flipped: bool = False) -> tuple[int, int, int, int, int, int]:
        """SDXL's size conditioning: height and width of the file, top and left of the crop, height and width
        trained at.

        Top and left as sd-scripts counts them: of the largest rectangle of the picture's shape within the bucket.
        Source: Podell et al. 2023, arXiv:2307.01952, section 2.2.
        """
        width, height = self.bucket
        left, top, right, _ = self.inner()
        if flipped:
            left = width - right
        return self.original[1], self.original[0], int(top), int(left), height, width

    def inner(self) -> tuple[float, float, float, float]:
        """Left, top, right and bottom of the largest rectangle of the picture's shape within the bucket."""
        width, height = self.bucket
        aspect = self.original[0] / max(1, self.original[1])
        inner = (height * aspect, height) if width / height > aspect else (width, width / (aspect or 1))
        left, top = ((side - within) // 2 for side, within in zip(self.bucket, inner, strict=True))
        return left, top, left + inner[0], top + inner[1]

    def cropped_away(self) -> float:
        """Share of the scaled picture that the crop removes, in [0, 1)."""
        return 1 - self.bucket[0] * self.bucket[1] / (self.resized[0] * self.resized[1])


@dataclass(frozen=True)
class Buckets:
    """area: pixels that no bucket exceeds.  steps: what every side is divisible by.

    least, most: bounds of a side, used if pictures may be enlarged.
    upscale: whether small pictures are enlarged to the common area; otherwise they keep their size.
    """

    area: int
    steps: int = 64
    least: int = 256
    most: int = 2048
    upscale: bool = True

    @cached_property
    def sizes(self) -> tuple[Size, ...]:
        """The sizes that enlarged pictures may have: for each width the tallest within the area, both ways round."""
        side = self._down(math.isqrt(self.area))
        found = {(side, side)}
        for width in range(self.least, self.most + 1, self.steps):
            height = min(self.most, self._down(self.area // width))
            if height >= self.least:
                found |= {(width, height), (height, width)}
        return tuple(sorted(found))

    def place(self, picture: Size) -> Placed:
        """The bucket of a picture of this size."""
        return self._nearest(picture) if self.upscale else self._own(picture)

    def _nearest(self, picture: Size) -> Placed:
        """A bucket of exactly this size, otherwise the one with the nearest aspect ratio; scaled to cover it."""
        width, height = picture
        aspect = width / height
        bucket = picture if picture in self.sizes else min(self.sizes, key=lambda size: abs(size[0] / size[1] - aspect))
        scale = bucket[1] / height if aspect > bucket[0] / bucket[1] else bucket[0] / width
        return Placed(bucket, (int(width * scale + 0.5), int(height * scale + 0.5)))

    def _own(self, picture: Size) -> Placed:
        """The picture's own size, shrunk to the area if larger; the bucket is that rounded down to steps."""
        resized = picture if picture[0] * picture[1] <= self.area else self._shrunk(picture)
        if min(resized) < self.steps:  # otherwise the bucket would have no pixels
            scale = self.steps / min(resized)
            resized = (max(self.steps, int(resized[0] * scale + 0.5)), max(self.steps, int(resized[1] * scale + 0.5)))
        return Placed((self._down(resized[0]), self._down(resized[1])), resized)

    def _shrunk(self, picture: Size) -> Size:
        """One side is rounded to steps, the other follows; whichever of the two distorts the aspect ratio less.

        No side is less than a step, for which sd-scripts divides by zero.
        """
        aspect = picture[0] / picture[1]
        width, height = math.sqrt(self.area * aspect), math.sqrt(self.area / aspect)
        by_width, by_height = self._a_step_at_least(width), self._a_step_at_least(height)
        error_by_width = abs(by_width / self._a_step_at_least(by_width / aspect) - aspect)
        error_by_height = abs(self._a_step_at_least(by_height * aspect) / by_height - aspect)
        if error_by_width < error_by_height:
            return by_width, int(by_width / aspect + 0.5)
        return int(by_height * aspect + 0.5), by_height

    def _a_step_at_least(self, side: float) -> int:
        return max(self.steps, self._down(int(side + 0.5)))

    def _down(self, side: int) -> int:
        return side - side % self.steps
