"""ONNX files that look at pictures: loaded for the best device, and asked in the batches that they take."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from engine.failure import Failure

PREFERRED = ("CUDAExecutionProvider", "ROCMExecutionProvider", "CPUExecutionProvider")


class OnnxFile:
    """One input, of pictures, and one answer.  given, answer: their shapes; a name stands for any number."""

    def __init__(self, file: Path, option: str) -> None:
        """option: the one that names the file.  Raises Failure where it is no model."""
        import onnxruntime

        there = onnxruntime.get_available_providers()
        try:
            self._session = onnxruntime.InferenceSession(file, providers=[name for name in PREFERRED if name in there])
        except Exception as error:  # onnxruntime's own kinds, which it does not publish
            raise Failure(f"{file} cannot be loaded: {error}", "Download it again.", option) from error
        given = self._session.get_inputs()[0]
        self._input, self.given = given.name, given.shape
        self.answer = self._session.get_outputs()[0].shape
        self._fixed_batch = given.shape[0] if given.shape and isinstance(given.shape[0], int) else 0

    def answers(self, pictures: np.ndarray) -> np.ndarray:
        """pictures: (N, …), float32.  Returns (N, …); a model of a fixed batch size is asked with blank ones added."""
        step = self._fixed_batch or len(pictures)
        found = []
        for start in range(0, len(pictures), step):
            some = pictures[start : start + step]
            lacking = step - len(some) if self._fixed_batch else 0
            filled = np.pad(some, ((0, lacking), *[(0, 0)] * (some.ndim - 1)))
            found.append(self._session.run(None, {self._input: filled})[0][: len(some)])
        return np.concatenate(found)
