"""A picture file → an upright picture of eight bits a colour, whatever the file is.  Needs no torch.

Pillow tells kinds apart by content, so a JPEG that is named .png is read as the JPEG it is.

Pictures are opened here and nowhere else, for pillow alone knows forty kinds, and some do more than hold pixels: an EPS
is a program, which it hands to Ghostscript under whatever name the file has.
"""

from __future__ import annotations

import importlib.util
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, features

from engine.data.buckets import Size
from engine.data.scaling import scaled
from engine.reading import TooLarge
from engine.reading import opened as opened_file

if importlib.util.find_spec("pillow_jxl"):  # it tells pillow of JPEG XL when it is imported
    importlib.import_module("pillow_jxl")

ORIENTATION = 0x0112
ON_ITS_SIDE = (5, 6, 7, 8)
"""EXIF orientations of photos whose width and height are to be exchanged."""

SIXTEEN_BITS = ("I;16", "I;16B", "I;16L", "I;16N", "I")
"""Pillow's modes for grey of 16 bits; "I" has room for 32, and holds 16 where an older pillow read a PNG."""

FORMATS = (
    *("PNG", "JPEG", "WEBP", "BMP", "DIB", "GIF"),
    *(("AVIF",) if features.check("avif") else ()),
    *((Image.EXTENSION[".jxl"],) if ".jxl" in Image.EXTENSION else ()),
)
"""All that pillow is asked for, by its names: the kinds whose endings count as pictures, and GIF, which web sites hand
out under those names. JPEG brings MPO, photos of two lenses, with it.

Not asked for are those that run a program or ask the system's own reader (EPS, WMF, EMF), that need a program or a
library to read at all (FITS, GRIB, BUFR, HDF5), that are containers of other kinds (ICNS, ICO, MPEG, TIFF, whose inner
codecs are a dozen), that are films (FLI), and some thirty that nobody has pictures to train on in.
"""

LARGEST_FILE = 3 * 2**29
"""Bytes: 178 million pixels, all that pillow takes, of four times 16 bits come to 1.4 GB without compression."""

READ_WHOLE = 2**28
"""Bytes of a file of the kinds of which pillow takes all into memory before it knows their size; 178 million pixels
take half as much in the best quality."""

_WHOLE = (b"RIFF", b"\0\0\0", b"\xff\x0a")
"""What WebP, AVIF and JPEG XL begin with."""

LARGER = 1.5
"""Times the wanted size to which a far larger picture is brought in a quick way, JPEGs while they are decoded, before
it is scaled well.
"""


class TooManyPixels(ValueError):
    """More than pillow takes, which is 178 million."""


def endings() -> tuple[str, ...]:
    """Of the files that count as pictures, those of sd-scripts: JPEG XL and AVIF where this pillow reads them."""
    newer = [".avif"] if features.check("avif") else []
    if ".jxl" in Image.EXTENSION:
        newer.append(".jxl")
    return (".png", ".jpg", ".jpeg", ".webp", ".bmp", *newer)


@contextmanager
def opened(file: Path) -> Iterator[Image.Image]:
    """The file's first picture, not decoded yet.

    Raises UnidentifiedImageError where it is of no kind in FORMATS, TooManyPixels, OSError where it is no regular file
    or too large, and what pillow's decoders raise.
    """
    with opened_file(file, LARGEST_FILE) as stream:
        if stream.peek(3).startswith(_WHOLE) and (size := stream.seek(0, 2)) > READ_WHOLE:
            raise TooLarge(size, READ_WHOLE)
        stream.seek(0)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of pillow's own lower limit, and of odd metadata
            try:
                image = Image.open(stream, formats=FORMATS)
            except Image.DecompressionBombError as error:
                raise TooManyPixels("far too many pixels: above 178 million") from error
        with image:
            yield image


def orientation(image: Image.Image) -> int:
    """1 is upright.  Read from the header alone: of a PNG, pillow would decode all to look behind the pixels as well,
    and once it was asked so it keeps to what it found.
    """
    return int(Image.Image.getexif(image).get(ORIENTATION, 1))


def has_alpha(image: Image.Image) -> bool:
    return "A" in image.getbands() or "transparency" in image.info


def upright_size_of(image: Image.Image) -> Size:
    width, height = image.size
    return (height, width) if orientation(image) in ON_ITS_SIDE else (width, height)


def read_upright(file: Path, size: Size, alpha: bool = False) -> Image.Image:
    """Decoded, turned upright by EXIF and scaled as sd-scripts does it; RGBA where alpha is asked for, else RGB.

    Transparency is cut off, as sd-scripts does it: the colours below it show.
    """
    with opened(file) as image:
        upright = _upright(image, alpha)
    return upright if upright.size == size else scaled(upright, size)


def read_for_a_look(file: Path, size: Size) -> Image.Image:
    """As read_upright() in half of the time, and 1 to 2.5 of 255 away from it where all is fine detail."""
    with opened(file) as image:
        width, height = (int(LARGER * side) for side in size)
        image.draft("RGB", (height, width) if orientation(image) in ON_ITS_SIDE else (width, height))
        upright = _upright(image, alpha=False)
    return upright.resize(size, Image.Resampling.LANCZOS, reducing_gap=LARGER)


def _upright(image: Image.Image, alpha: bool) -> Image.Image:
    ImageOps.exif_transpose(image, in_place=True)  # what stands upright is not copied
    return in_eight_bits(image, alpha)


def in_eight_bits(image: Image.Image, alpha: bool = False) -> Image.Image:
    """Any mode as RGB or RGBA.  Pillow alone would cut 16 bits off at 255, which makes such a picture white."""
    if image.mode in SIXTEEN_BITS:
        grey = np.asarray(image).astype(np.int64).clip(0, 65535)
        image = Image.fromarray(((grey + 128) // 257).astype(np.uint8))
    elif image.mode == "F":
        image = Image.fromarray(np.nan_to_num(np.asarray(image)).clip(0, 255).astype(np.uint8))
    if alpha or has_alpha(image):
        image = image.convert("RGBA")
    wanted = "RGBA" if alpha else "RGB"
    return image if image.mode == wanted else image.convert(wanted)
