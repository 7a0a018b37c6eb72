"""The losses of a run in bounded memory: as many points as a chart shows, each the mean of several neighbours."""

from __future__ import annotations

from dataclasses import dataclass, field

MOST_POINTS = 320


@dataclass
class Mean:
    """Mean of values that are added one by one."""

    total: float = 0.0
    count: int = 0

    def add(self, value: float) -> None:
        self.total += value
        self.count += 1

    def take_in(self, other: Mean) -> None:
        self.total += other.total
        self.count += other.count

    @property
    def value(self) -> float:
        return self.total / self.count


@dataclass
class Point:
    """Consecutive steps: the last of them, how many, and the means of their losses, raw and smoothed."""

    step: int
    steps: int = 0
    raw: Mean = field(default_factory=Mean)
    smoothed: Mean = field(default_factory=Mean)

    def copy(self) -> Point:
        raw, smoothed = (Mean(mean.total, mean.count) for mean in (self.raw, self.smoothed))
        return Point(self.step, self.steps, raw, smoothed)


@dataclass
class Curve:
    """points: in order of their steps.  size: steps in each of them, except the last, which is being filled.

    Each step is its own point until there are more than MOST_POINTS; then pairs are merged, again and again. So a step
    costs the same however many came before it, and none is left out.
    """

    points: list[Point] = field(default_factory=list)
    size: int = 1

    def add(self, step: int, loss: float | None, smoothed: float | None) -> None:
        """None for a missing number."""
        if not self.points or self.points[-1].steps >= self.size:
            self.points.append(Point(step))
            if len(self.points) > MOST_POINTS:
                self._halve()
        point = self.points[-1]
        point.step = step
        point.steps += 1
        if loss is not None:
            point.raw.add(loss)
        if smoothed is not None:
            point.smoothed.add(smoothed)

    def cut(self, step: int) -> None:
        """Forget what came after `step`; a point that reaches beyond it keeps its means."""
        while self.points and self.points[-1].step - self.points[-1].steps >= step:
            self.points.pop()
        if self.points and self.points[-1].step > step:
            last = self.points[-1]
            last.steps -= last.step - step
            last.step = step

    def copy(self) -> Curve:
        return Curve([point.copy() for point in self.points], self.size)

    def _halve(self) -> None:
        """The newest point stays as it is: it is being filled."""
        *whole, newest = self.points
        self.size *= 2
        joined = []
        for i in range(0, len(whole), 2):
            point = whole[i]
            for other in whole[i + 1 : i + 2]:
                point.step = other.step
                point.steps += other.steps
                point.raw.take_in(other.raw)
                point.smoothed.take_in(other.smoothed)
            joined.append(point)
        self.points = [*joined, newest]
