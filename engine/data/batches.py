"""Which pictures make up which step: a function of the seed and the step alone.

So a run that resumes at step n needs nothing but n to find its place, and the same step has the same
pictures, noise and timesteps whether one process trains or several.
"""

from __future__ import annotations

import hashlib
import math
import random
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from functools import lru_cache


@dataclass(frozen=True)
class MicroBatch:
    """What one process computes at a time.

    pictures: indices.  weight: its share in the step's mean loss, so that the gradient averaged over
    processes is the mean over all batches of the step; 0 for a filler, computed only because the other
    processes still have a batch. The last step of an epoch, if it has fewer batches than are accumulated,
    counts for proportionally less, as in accelerate and so in sd-scripts.  seed: of its noise, timesteps and
    captions.  epoch: counted from 1.  step: optimizer steps before it.
    """

    pictures: tuple[int, ...]
    weight: float
    seed: int
    epoch: int
    step: int


class Batches:
    """The order in which pictures are seen.

    repeats: how often an epoch shows each picture, by index.  batch_size: pictures at a time and process; or one
    per picture, the same within a bucket.  accumulation: batches per step and process.  rank: this process among
    `processes`.  buckets: what pictures of one batch must have in common, by picture; None: any may be batched.
    """

    def __init__(
        self,
        repeats: list[int],
        batch_size: int | Sequence[int],
        accumulation: int,
        seed: int,
        processes: int = 1,
        rank: int = 0,
        buckets: Sequence[Hashable] | None = None,
    ) -> None:
        by_bucket: dict[Hashable, list[int]] = {}
        sizes: dict[Hashable, int] = {}
        by_picture = [batch_size] * len(repeats) if isinstance(batch_size, int) else batch_size
        each = zip(repeats, buckets or [None] * len(repeats), by_picture, strict=True)
        for index, (count, bucket, size) in enumerate(each):
            by_bucket.setdefault(bucket, []).extend([index] * count)
            sizes[bucket] = size
        self._buckets = tuple((tuple(pictures), sizes[bucket]) for bucket, pictures in by_bucket.items())
        self._accumulation, self._per_step = accumulation, accumulation * processes
        self._processes, self._rank, self._seed = processes, rank, seed
        self.per_epoch = sum(math.ceil(len(pictures) / size) for pictures, size in self._buckets)
        self.steps_per_epoch = max(1, math.ceil(self.per_epoch / self._per_step))

    def epoch_of(self, step: int) -> int:
        """The epoch that a step belongs to; both count from 0."""
        return step // self.steps_per_epoch

    def at(self, step: int) -> list[MicroBatch]:
        """What this process computes in a step, counted from 0; as many batches as every other process."""
        epoch = self._epoch(self.epoch_of(step))
        begin = step % self.steps_per_epoch * self._per_step
        of_step = epoch[begin : begin + self._per_step]
        rounds = math.ceil(len(of_step) / self._processes)
        share = rounds / self._accumulation
        mine = []
        for position in range(self._rank, rounds * self._processes, self._processes):
            real = position < len(of_step)
            mine.append(
                MicroBatch(
                    pictures=of_step[position if real else -1],
                    weight=share * self._processes / len(of_step) if real else 0.0,
                    seed=derived_seed(self._seed, step, position),
                    epoch=self.epoch_of(step) + 1,
                    step=step,
                )
            )
        return mine

    def _epoch(self, epoch: int) -> list[tuple[int, ...]]:
        return _shuffled(self._buckets, derived_seed(self._seed, "epoch", epoch))


@lru_cache(maxsize=2)
def _shuffled(buckets: tuple[tuple[tuple[int, ...], int], ...], seed: int) -> list[tuple[int, ...]]:
    """Every bucket's pictures shuffled and cut into batches, which are then shuffled themselves.

    buckets: each one's pictures and batch size.
    """
    rng = random.Random(seed)
    batches = []
    for pictures, batch_size in buckets:
        order = list(pictures)
        rng.shuffle(order)
        batches += [tuple(order[i : i + batch_size]) for i in range(0, len(order), batch_size)]
    rng.shuffle(batches)
    return batches


def derived_seed(*parts: object) -> int:
    """A seed in [0, 2⁶³) that depends on all parts and looks unrelated to that of any others."""
    digest = hashlib.blake2b("/".join(map(str, parts)).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little") >> 1
