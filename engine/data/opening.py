"""A picture file → an upright picture with 8 bits per channel, whatever the file is.  Needs no torch.

Pillow recognises formats by content, so a JPEG named .png is read as the JPEG it is.

Pictures are opened here and nowhere else, because pillow alone knows forty formats, and some do more than store pixels:
an EPS is a program, which it hands to Ghostscript whatever the file's name.
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

if importlib.util.find_spec("pillow_jxl"):  # importing it registers JPEG XL with pillow
    importlib.import_module("pillow_jxl")

ORIENTATION = 0x0112
ON_ITS_SIDE = (5, 6, 7, 8)
"""EXIF orientations that swap width and height."""

SIXTEEN_BITS = ("I;16", "I;16B", "I;16L", "I;16N", "I")
"""Pillow's modes for 16-bit grey; "I" has room for 32, and holds 16 for PNGs in an older pillow."""

FORMATS = (
    *("PNG", "JPEG", "WEBP", "BMP", "DIB", "GIF"),
    *(("AVIF",) if features.check("avif") else ()),
    *((Image.EXTENSION[".jxl"],) if ".jxl" in Image.EXTENSION else ()),
)
"""All the formats used, by pillow's names: those whose extensions count as pictures, and GIF, which web sites serve
under those names. JPEG includes MPO, photos from two lenses.

Left out are those that run a program or use the system's own reader (EPS, WMF, EMF), that need a program or library to
read at all (FITS, GRIB, BUFR, HDF5), that are containers of others (ICNS, ICO, MPEG, TIFF with its dozen codecs), that
are films (FLI), and some thirty that nobody has training pictures in.
"""

LARGEST_FILE = 3 * 2**29
"""Bytes: 178 million pixels, pillow's limit, with four times 16 bits are 1.4 GB uncompressed."""

READ_WHOLE = 2**28
"""Bytes of a file in the formats that pillow reads completely into memory before it knows their size; 178 million
pixels take half as much in the best quality."""

_WHOLE = (b"RIFF", b"\0\0\0", b"\xff\x0a")
"""The first bytes of WebP, AVIF and JPEG XL."""

LARGER = 1.5
"""Multiple of the wanted size to which a far larger picture is first reduced quickly, JPEGs during decoding, before it
is scaled well.
"""


class TooManyPixels(ValueError):
    """More pixels than pillow accepts, which is 178 million."""


def endings() -> tuple[str, ...]:
    """Extensions that count as pictures, as in sd-scripts: JPEG XL and AVIF if this pillow reads them."""
    newer = [".avif"] if features.check("avif") else []
    if ".jxl" in Image.EXTENSION:
        newer.append(".jxl")
    return (".png", ".jpg", ".jpeg", ".webp", ".bmp", *newer)


@contextmanager
def opened(file: Path) -> Iterator[Image.Image]:
    """The file's first picture, not decoded yet.

    Raises UnidentifiedImageError if it is not in FORMATS, TooManyPixels, OSError if it is not a regular file or too
    large, and what pillow's decoders raise.
    """
    with opened_file(file, LARGEST_FILE) as stream:
        if stream.peek(3).startswith(_WHOLE) and (size := stream.seek(0, 2)) > READ_WHOLE:
            raise TooLarge(size, READ_WHOLE)
        stream.seek(0)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about pillow's own lower limit, and odd metadata
            try:
                image = Image.open(stream, formats=FORMATS)
            except Image.DecompressionBombError as error:
                raise TooManyPixels("far too many pixels: above 178 million") from error
        with image:
            yield image


def orientation(image: Image.Image) -> int:
    """EXIF orientation; 1 is upright.  Read from the header alone: for a PNG, pillow would otherwise decode everything
    to look after the pixels too, and it remembers what it found first.
    """
    return int(Image.Image.getexif(image).get(ORIENTATION, 1))


def has_alpha(image: Image.Image) -> bool:
    return "A" in image.getbands() or "transparency" in image.info


def upright_size_of(image: Image.Image) -> Size:
    width, height = image.size
    return (height, width) if orientation(image) in ON_ITS_SIDE else (width, height)


def read_upright(file: Path, size: Size, alpha: bool = False) -> Image.Image:
    """Decoded, rotated upright by EXIF and scaled as in sd-scripts; RGBA if alpha is requested, otherwise RGB.

    Transparency is dropped, as in sd-scripts: the colours beneath it show.
    """
    with opened(file) as image:
        upright = _upright(image, alpha)
    return upright if upright.size == size else scaled(upright, size)


def read_for_a_look(file: Path, size: Size) -> Image.Image:
    """Like read_upright() in half the time, and 1 to 2.5 of 255 off if all is fine detail."""
    with opened(file) as image:
        width, height = (int(LARGER * side) for side in size)
        image.draft("RGB", (height, width) if orientation(image) in ON_ITS_SIDE else (width, height))
        upright = _upright(image, alpha=False)
    return upright.resize(size, Image.Resampling.LANCZOS, reducing_gap=LARGER)


def _upright(image: Image.Image, alpha: bool) -> Image.Image:
    ImageOps.exif_transpose(image, in_place=True)  # what is upright is not copied
    return in_eight_bits(image, alpha)


def in_eight_bits(image: Image.Image, alpha: bool = False) -> Image.Image:
    """Any mode as RGB or RGBA.  Pillow alone would clip 16 bits at 255, which makes such a picture white."""
    if image.mode in SIXTEEN_BITS:
        grey = np.asarray(image).astype(np.int64).clip(0, 65535)
        image = Image.fromarray(((grey + 128) // 257).astype(np.uint8))
    elif image.mode == "F":
        image = Image.fromarray(np.nan_to_num(np.asarray(image)).clip(0, 255).astype(np.uint8))
    if alpha or has_alpha(image):
        image = image.convert("RGBA")
    wanted = "RGBA" if alpha else "RGB"
    return image if image.mode == wanted else image.convert(wanted)
