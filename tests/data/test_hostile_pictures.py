"""Whatever lies in the folder: each file is trained on, mended or left out, and the last two are told."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from engine.data import examining
from engine.data.examining import examine, examined, told
from engine.data.folders import PICTURE_ENDINGS, scan
from engine.data.items import items_of, readable
from engine.data.pictures import read_picture
from engine.data.placing import placed
from engine.data.structure import seems_whole
from engine.settings.dataset import Dataset
from tests.pictures import draw_pictures

GREY = 128

SOUND = ("rgb.png", "rgb.jpg", "rgb.jpeg", "rgb.webp", "rgb.bmp", "rgb.avif", "grey.png", "palette.png", "bits.png")

MENDED = {
    "alpha.png": "transparency dropped",
    "grey-alpha.png": "transparency dropped",
    "see-through-palette.png": "transparency dropped",
    "alpha.webp": "transparency dropped",
    "turned.jpg": "rotated according to EXIF",
    "sixteen.png": "reduced from 16 to 8 bits",
    "cmyk.jpg": "CMYK",
    "jpeg-named.png": "actually a JPEG file",
    "gif-named.png": "actually a GIF file",
    "moving.webp": "the first of several frames",
    "tiny.png": "enlarged",
    "one-pixel.png": "enlarged",
}

LEFT_OUT = {
    "empty.png": "the file is empty",
    "cut.png": "",
    "cut.jpg": "",
    "cut.webp": "",
    "text.jpg": "it is not a picture",
    "page.png": "it is not a picture",
    "header-only.png": "",
    "bomb.png": "far too many pixels",
    "large.png": "far too many pixels",
    "thread.png": "its shape of 4000×1 fits no bucket",
    "swollen-text.png": "",
    "gone.png": "No such file or directory",
}


def png_of_size(width: int, height: int, *chunks: tuple[bytes, bytes]) -> bytes:
    """A PNG that claims a size, without its pixels."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + b"".join(chunk(*one) for one in chunks) + chunk(b"IEND", b"")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    image_folder: Path = tmp_path_factory.mktemp("img")
    at = image_folder / "1_odd"
    at.mkdir()
    rgb = Image.new("RGB", (96, 64), (GREY, GREY, GREY))
    for ending in ("png", "jpg", "jpeg", "webp", "bmp", "avif"):
        rgb.save(at / f"rgb.{ending}")
    rgb.convert("L").save(at / "grey.png")
    rgb.convert("P").save(at / "palette.png")
    rgb.convert("1").save(at / "bits.png")

    clear = Image.new("RGBA", (96, 64), (GREY, GREY, GREY, 0))
    clear.save(at / "alpha.png")
    clear.save(at / "alpha.webp", lossless=True, exact=True)
    clear.convert("LA").save(at / "grey-alpha.png")
    rgb.convert("P").save(at / "see-through-palette.png", transparency=0)
    exif = Image.Exif()
    exif[0x0112] = 6
    rgb.resize((64, 96)).save(at / "turned.jpg", exif=exif)
    Image.fromarray(np.full((64, 96), GREY * 257, np.uint16)).save(at / "sixteen.png")
    rgb.convert("CMYK").save(at / "cmyk.jpg")
    rgb.save(at / "jpeg-named.png", format="JPEG")
    rgb.save(at / "gif-named.png", format="GIF")
    rgb.save(at / "moving.webp", save_all=True, append_images=[Image.new("RGB", rgb.size)], lossless=True)
    rgb.resize((9, 6)).save(at / "tiny.png")
    rgb.resize((1, 1)).save(at / "one-pixel.png")

    noise = Image.fromarray(np.random.default_rng(0).integers(0, 255, (64, 96, 3), np.uint8))
    for ending in ("png", "jpg", "webp"):
        noise.save(at / "whole.tmp", format={"jpg": "JPEG"}.get(ending, ending))
        (at / f"cut.{ending}").write_bytes((at / "whole.tmp").read_bytes()[:-900])
    (at / "whole.tmp").unlink()
    (at / "empty.png").touch()
    (at / "text.jpg").write_text("not a picture")
    (at / "page.png").write_text("<!doctype html><title>404</title>")
    (at / "header-only.png").write_bytes(png_of_size(64, 64))
    (at / "bomb.png").write_bytes(png_of_size(100_000, 100_000))
    (at / "large.png").write_bytes(png_of_size(20_000, 20_000))
    rgb.resize((4000, 1)).save(at / "thread.png")
    swollen = b"a\0\0" + zlib.compress(b"a" * 70_000_000)
    (at / "swollen-text.png").write_bytes(png_of_size(64, 64, (b"zTXt", swollen)))
    (at / "gone.png").symlink_to(at / "nowhere.png")

    rgb.save(at / "moving.gif")
    rgb.save(at / "scan.tiff")
    (at / "folder.png").mkdir()
    (at / "._rgb.png").write_bytes(b"of macOS")
    return image_folder


def test_every_file_is_trained_on_mended_or_left_out(folder: Path):
    found = examined([folder / "1_odd" / name for name in (*SOUND, *MENDED, *LEFT_OUT)])
    got = {picture.name: one for picture, one in found.items()}
    for name in SOUND:
        assert (got[name].left_out, got[name].mended) == ("", ()), name
    for name, what in MENDED.items():
        assert got[name].left_out == "", name
        assert what in " ".join(got[name].mended), name
    for name, why in LEFT_OUT.items():
        assert got[name].left_out, name
        assert why in got[name].left_out, name
        assert str(folder) not in got[name].left_out
    seen = {picture.name for picture in scan(folder).concepts[0].pictures}
    assert seen == {*SOUND, *MENDED, *LEFT_OUT} - {"gone.png"}


def test_one_list_names_every_file_that_is_left_out_or_mended(folder: Path):
    items = items_of(scan(folder))
    found = examined([item.picture for item in items])
    assert {item.picture.name for item in readable(items, found)} == {*SOUND, *MENDED}
    out, mended = told(found)
    assert all(f'"1_odd/{name}"' in out for name in {*LEFT_OUT, "moving.gif", "scan.tiff"} - {"gone.png"})
    assert "files of this kind are not read" in out
    assert all(f'"1_odd/{name}"' in mended for name in MENDED)


def test_what_is_not_left_out_becomes_pixels_of_its_colour(folder: Path):
    pictures = [folder / "1_odd" / name for name in (*SOUND, *MENDED)]
    for picture, place in zip(pictures, placed(pictures, Dataset(max_resolution="128,128")), strict=True):
        pixels = read_picture(picture, place)
        assert pixels.shape == (3, place.bucket[1], place.bucket[0])
        if "bits" not in picture.name:  # black and white dots, grey together
            assert abs(pixels.mean() * 127.5 + 127.5 - GREY) < 4, picture.name


def test_without_decoding_only_what_the_header_shows_is_found(folder: Path):
    assert examine(folder / "1_odd" / "cut.png", decode=False).left_out == ""
    assert examine(folder / "1_odd" / "bomb.png", decode=False).left_out


def test_a_mended_file_is_looked_at_again(tmp_path: Path):
    picture = draw_pictures(tmp_path, 1) / "00.png"
    whole = picture.read_bytes()
    picture.write_bytes(whole[:50])
    assert examine(picture).left_out
    picture.write_bytes(whole)
    assert not examine(picture).left_out


def test_there_is_nothing_to_tell_of_sound_pictures(tmp_path: Path):
    folder = draw_pictures(tmp_path, 2)
    assert told(examined(sorted(folder.glob("*.png")))) == []


def test_endings_are_those_that_pillow_reads():
    assert {".png", ".jpg", ".webp", ".bmp", ".avif"} <= set(PICTURE_ENDINGS)


def test_what_seems_whole_is_not_decoded_and_all_else_is_found_as_it_is_by_decoding(folder: Path, monkeypatch):
    pictures = [folder / "1_odd" / name for name in (*SOUND, *MENDED, *LEFT_OUT)]
    by_decoding = examined(pictures)
    decoded = []
    monkeypatch.setattr(examining, "_decoded", lambda picture, *_: decoded.append(picture.name) or "cut off")
    by_structure = examined(pictures, unless_whole=True)
    assert {p for p in pictures if by_structure[p].left_out} >= {p for p in pictures if by_decoding[p].left_out}
    # Of these kinds no structure is read.
    assert set(decoded) - set(LEFT_OUT) == {"rgb.bmp", "rgb.avif", "gif-named.png"}


@pytest.mark.parametrize("ending", ["png", "jpg", "webp"])
@pytest.mark.parametrize("missing", [1, 2, 5, 13, 40])
def test_a_file_that_is_cut_off_anywhere_does_not_seem_whole(folder: Path, tmp_path: Path, ending: str, missing: int):
    whole = folder / "1_odd" / f"rgb.{ending}"
    assert seems_whole(whole)
    (tmp_path / "cut").write_bytes(whole.read_bytes()[:-missing])
    assert not seems_whole(tmp_path / "cut")


@given(st.binary(max_size=60), st.integers(0, 400))
def test_no_bytes_are_too_odd_to_be_looked_at(folder: Path, odd: bytes, at: int):
    whole = (folder / "1_odd" / "rgb.png").read_bytes()
    (folder / "odd").write_bytes(whole[:at] + odd)
    assert seems_whole(folder / "odd") in (True, False)
