"""How pictures and captions are read."""

from __future__ import annotations

from typing import Literal

from engine.settings.option import Group, option

BASIC = "Parameters/Basic"


class Dataset(Group):
    max_resolution: str = option(
        "512,512",
        label="Max resolution",
        section=BASIC,
        help="Width,height in pixels, both divisible by 8. Pictures are scaled to cover it and cropped "
        "around the centre. 512,512 suits SD 1 models.",
    )
    caption_extension: Literal[".txt", ".caption", ".cap", ""] = option(
        ".txt",
        label="Caption file extension",
        section=BASIC,
        help="Ending of the caption files beside the pictures; empty means .caption. A picture without "
        "one is described by its folder's words.",
    )
    cache_latents: bool = option(
        True,
        label="Cache latents",
        section=BASIC,
        help="Encode every picture once before training and keep the result in memory: faster, and the VAE "
        "then leaves the GPU.",
    )
    vae_batch_size: int = option(
        0,
        ge=0,
        le=32,
        step=1,
        widget="slider",
        label="VAE batch size",
        section="Parameters/Advanced",
        help="Pictures encoded at a time while caching; 0 means as many as the train batch size.",
    )

    def size(self) -> tuple[int, int]:
        """max_resolution as (width, height) in pixels; one number means a square.

        Raises ValueError with a sentence for people where it is not one or two whole numbers.
        """
        parts = [part.strip() for part in self.max_resolution.replace("x", ",").split(",")]
        if not 1 <= len(parts) <= 2 or not all(part.isdecimal() and int(part) > 0 for part in parts):
            raise ValueError(
                f"Max resolution is {self.max_resolution!r}; write width,height in pixels, such as 512,512."
            )
        return int(parts[0]), int(parts[-1])

    def caption_ending(self) -> str:
        return self.caption_extension or ".caption"
