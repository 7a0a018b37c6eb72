"""What is opened as a picture: kinds that only hold pixels, from files that end, in one place."""

from __future__ import annotations

import ast
import os
from contextlib import suppress
from io import BytesIO
from pathlib import Path
from subprocess import CalledProcessError

import gradio as gr
import pytest
from PIL import EpsImagePlugin, FliImagePlugin, IcnsImagePlugin, Image, TiffImagePlugin, WmfImagePlugin

from engine.data import opening
from engine.data.examining import examine
from engine.data.folders import pictures_in
from engine.data.looks import look
from engine.data.opening import opened, read_upright
from engine.tools import manual
from engine.tools.pictures import decoded_ahead, upright
from tests.data.test_hostile_pictures import png_of_size
from ui.page import build

PROGRAM = Path(__file__).parents[2]

EPS = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 64 64\n%%EndComments\n{} loop\nshowpage\n%%EOF\n"
BEHIND_PREVIEW = b"\xc5\xd0\xd3\xc6" + (32).to_bytes(4, "little") + len(EPS).to_bytes(4, "little") + bytes(20) + EPS
"""The same as DOS programs write it, with a header that may lead to a small preview."""


def of_kind(kind: str) -> bytes:
    stream = BytesIO()
    Image.new("RGB", (64, 64), "teal").save(stream, kind)
    return stream.getvalue()


@pytest.fixture
def ghostscript(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A gs on the PATH that leaves a mark when it is run."""
    programs, mark = tmp_path / "programs", tmp_path / "was-run"
    programs.mkdir()
    (programs / "gs").write_text(f"#!/bin/sh\ntouch '{mark}'\nexit 1\n")
    (programs / "gs").chmod(0o755)
    monkeypatch.setenv("PATH", str(programs), prepend=os.pathsep)
    monkeypatch.setattr(EpsImagePlugin, "gs_binary", None)  # pillow looks for it once
    return mark


def test_the_mark_shows_what_pillow_does_by_itself(ghostscript: Path) -> None:
    with suppress(OSError, CalledProcessError), Image.open(BytesIO(EPS)) as image:
        image.load()
    assert ghostscript.exists()


@pytest.mark.parametrize("content", [EPS, BEHIND_PREVIEW])
@pytest.mark.parametrize("ending", [".jpg", ".png", ".webp", ".bmp", ".avif"])
def test_postscript_under_a_pictures_name_is_not_run(
    ending: str, content: bytes, tmp_path: Path, ghostscript: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DARKROOM_RUNS", str(tmp_path / "runs"))
    picture = tmp_path / f"eps{ending}"
    picture.write_bytes(content)
    assert examine(picture).left_out == "it is not a picture that can be read"
    assert look(picture).unreadable == "it is not a picture that can be read"
    assert list(decoded_ahead([picture], upright, 1)) == [(picture, "is not a picture that can be read")]
    assert manual.read_page(str(picture), ".txt").problem == f"{picture.name} is not a picture that can be read."
    assert manual.Page(picture, "").image() is None
    with pytest.raises(Image.UnidentifiedImageError):
        read_upright(picture, (64, 64))
    assert not ghostscript.exists()


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "BMP", "DIB", "GIF", "AVIF", "MPO"])
def test_the_kinds_that_people_have_are_read_whatever_the_file_is_called(kind: str, tmp_path: Path) -> None:
    picture = tmp_path / "any.png"
    picture.write_bytes(of_kind(kind))
    assert not examine(picture).left_out
    assert read_upright(picture, (64, 64)).size == (64, 64)


@pytest.mark.parametrize("kind", ["TIFF", "ICNS", "ICO", "PPM", "TGA", "PCX", "SGI", "IM", "JPEG2000", "PDF", "EPS"])
def test_no_other_kind_is(kind: str, tmp_path: Path) -> None:
    picture = tmp_path / "any.png"
    picture.write_bytes(of_kind(kind))
    assert examine(picture).left_out == "it is not a picture that can be read"


def test_plugins_that_nobody_needs_are_never_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Image.init()
    asked = []
    for plugin in (EpsImagePlugin, FliImagePlugin, IcnsImagePlugin, TiffImagePlugin, WmfImagePlugin):
        name = plugin.__name__.removeprefix("PIL.").removesuffix("ImagePlugin").upper()
        factory, _ = Image.OPEN[name]
        monkeypatch.setitem(Image.OPEN, name, (factory, lambda prefix, name=name: asked.append(name)))
    for content in (EPS, of_kind("TIFF"), of_kind("ICNS"), b"\xd7\xcd\xc6\x9a" + bytes(60), of_kind("PNG")):
        (tmp_path / "any.jpg").write_bytes(content)
        examine(tmp_path / "any.jpg")
        with suppress(Image.UnidentifiedImageError):
            read_upright(tmp_path / "any.jpg", (64, 64))
    assert asked == []


def test_a_gif_of_many_frames_is_read_no_further_than_its_second(tmp_path: Path) -> None:
    frames = [Image.new("RGB", (64, 64), (n, n, n)) for n in range(200)]
    picture = tmp_path / "film.gif.png"
    frames[0].save(picture, "GIF", save_all=True, append_images=frames[1:])
    with opened(picture) as image:
        steps = []
        seek = image._seek
        image._seek = lambda frame, update_image=True: (steps.append(frame), seek(frame, update_image))[1]
        assert image.is_animated
    assert len(steps) < 5
    assert examine(picture).mended[-1] == "only the first of several frames is used"


@pytest.mark.parametrize("make", ["pipe", "device", "folder"])
def test_what_is_no_file_is_told_and_not_waited_for(make: str, tmp_path: Path) -> None:
    picture = tmp_path / "odd.png"
    if make == "pipe":
        os.mkfifo(picture)
    elif make == "device":
        picture.symlink_to("/dev/zero")
    else:
        picture.mkdir()
    assert examine(picture).left_out == (
        "it is a folder" if make == "folder" else "it is a device or a pipe, not a file"
    )


def test_a_link_to_itself_is_told_and_the_others_are_read(tmp_path: Path) -> None:
    (tmp_path / "loop.png").symlink_to(tmp_path / "loop.png")
    (tmp_path / "a.png").write_bytes(of_kind("PNG"))
    a, loop = pictures_in(tmp_path)
    assert not examine(a).left_out
    assert "symbolic links" in examine(loop).left_out


@pytest.mark.parametrize("begin", [b"RIFF", b"\0\0\0\x1cftypavif", b"\xff\x0a"])
def test_kinds_that_pillow_takes_whole_are_bounded_before_it_does(begin: bytes, tmp_path: Path) -> None:
    picture = tmp_path / "huge.png"
    picture.write_bytes(begin)
    os.truncate(picture, opening.READ_WHOLE + 1)  # a file with a hole takes no room on the disk
    assert examine(picture).left_out == "it is 256 MB, and at most 256 MB can be read"


def test_any_other_is_bounded_as_well(tmp_path: Path) -> None:
    picture = tmp_path / "huge.png"
    picture.write_bytes(png_of_size(64, 64))
    os.truncate(picture, opening.LARGEST_FILE * 2)
    assert examine(picture).left_out == "it is 3,072 MB, and at most 1,536 MB can be read"


def test_pictures_are_opened_in_one_place() -> None:
    """By the program's text: Image.open under whatever name pillow's Image has there."""
    found = []
    for file in sorted([*PROGRAM.glob("engine/**/*.py"), *PROGRAM.glob("ui/**/*.py"), PROGRAM / "app.py"]):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            named = isinstance(node, ast.Attribute) and node.attr in ("open", "open_image", "load_image")
            if (
                named
                and isinstance(node.value, ast.Name | ast.Attribute)
                and "image" in ast.unparse(node.value).lower()
            ):
                found.append(file.relative_to(PROGRAM).as_posix())
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("PIL"):
                assert "open" not in [alias.name for alias in node.names], file
            if isinstance(node, ast.ImportFrom | ast.Import):
                names = [alias.name for alias in node.names] + [getattr(node, "module", "") or ""]
                assert not any(name.split(".")[0] in ("cv2", "imageio", "tifffile", "rawpy") for name in names), file
    assert found == ["engine/data/opening.py"]


def test_no_event_of_the_page_takes_a_picture_in() -> None:
    """Gradio opens what a browser sends to a picture component with all of pillow's kinds."""
    kinds = (gr.Image, gr.Gallery, gr.ImageEditor, gr.AnnotatedImage, gr.ImageSlider, gr.Chatbot)
    assert [one for event in build().fns.values() for one in event.inputs if isinstance(one, kinds)] == []
