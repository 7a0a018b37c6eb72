"""Small text files that someone named."""

from __future__ import annotations

import codecs
import io
from pathlib import Path

from engine.reading import TooLarge as TooLarge
from engine.reading import small_bytes

_MARKS = {codecs.BOM_UTF8: "utf-8-sig", codecs.BOM_UTF16_LE: "utf-16", codecs.BOM_UTF16_BE: "utf-16"}


def small_text(path: Path, most: int) -> str:
    """The text of a file of up to `most` bytes: UTF-8, or what its byte order mark says, as PowerShell's > writes it.

    Raises OSError, UnicodeDecodeError or another ValueError.
    """
    data = small_bytes(path, most)
    encoding = next((name for mark, name in _MARKS.items() if data.startswith(mark)), "utf-8")
    return io.TextIOWrapper(io.BytesIO(data), encoding).read()


def prompts_text(file: Path, most: int, of: str = "") -> str:
    """The text of a file of prompts.  of: what it is too large for, if it is.

    Raises ValueError with the reason, in words that follow "was not read:".
    """
    try:
        return small_text(file, most)
    except TooLarge:
        raise ValueError(f"it is too large{of}") from None
    except UnicodeDecodeError:
        raise ValueError("it is not UTF-8 text; save it as UTF-8") from None
    except OSError as error:
        raise ValueError("it does not exist" if isinstance(error, FileNotFoundError) else str(error.strerror)) from None
