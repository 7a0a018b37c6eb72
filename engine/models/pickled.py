"""What a pickled checkpoint (.ckpt, .pt, .pth) contains: where its tensors are in the file.  Needs no torch, and runs
nothing from the file.

A pickle is a program.  Here it is followed only where it builds dictionaries, lists and tensors; anything else it names
becomes a Nothing, which can be called and filled without effect, and dictionary keys can only be text.  So the files
of PyTorch Lightning can be read too, whose callbacks torch's weights-only loader refuses: the first Stable Diffusion
models are of this kind.  Python's slow reader is used, because the fast one allocates gigabytes if fifty bytes ask for
it; opcodes, memo, names and calls are limited for the same reason.

Source: PyTorch's torch/serialization.py for the archive's layout, Python's pickletools for the opcodes.
"""

from __future__ import annotations

import io
import pickle
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any, ClassVar

from engine.models.file_kind import file_kind
from engine.models.header import LARGEST_RANK, Header, NoModel, read_header
from engine.reading import opened

LARGEST_PICKLE = 2**26
"""Bytes of a pickle; that of the first Stable Diffusion, including its optimizer's, has 2 million."""

MOST_SIGNS = 2**20
"""Opcodes of a pickle.  A tensor takes 32, so there is room for 30000."""

MOST_REMEMBERED = 2**19
"""Entries of a pickle's memo; a tensor takes seven or eight."""

LONGEST_NAME = 4096
"""Characters of a key or of a module's name, because each use of a text takes time according to its length."""

MOST_GIVEN = 16
"""Arguments of a call; torch's take seven."""

MAGIC = 0x1950A86A20F9469CFC6C
"""torch's magic number, at the start of files from before 1.6, which are several pickles in a row."""

SIZES = {
    "DoubleStorage": 8, "FloatStorage": 4, "HalfStorage": 2, "BFloat16Storage": 2, "LongStorage": 8, "IntStorage": 4,
    "ShortStorage": 2, "CharStorage": 1, "ByteStorage": 1, "BoolStorage": 1,
}  # fmt: skip
"""Bytes per number, by torch's name of the storage type."""

HARMFUL_MODULES = (
    "os", "posix", "nt", "subprocess", "sys", "shutil", "socket", "runpy", "importlib", "ctypes", "pty", "code",
    "webbrowser", "multiprocessing", "asyncio", "urllib", "requests", "http", "pickle", "marshal",
)  # fmt: skip
HARMFUL_NAMES = ("eval", "exec", "execfile", "compile", "open", "file", "__import__", "breakpoint", "input")
"""Modules that no checkpoint has a reason to name.  They are harmless here, but such a file is not to be trusted."""


@dataclass(frozen=True)
class Storage:
    """A storage: consecutive numbers.  kind: torch's name, see SIZES.  key: the archive's file that contains them."""

    kind: str
    key: str
    count: int


@dataclass(frozen=True)
class Stored:
    """A tensor: the numbers of a storage from `begin` on."""

    storage: Storage
    begin: int
    shape: tuple[int, ...]
    stride: tuple[int, ...]


class Harmful(NoModel):
    """The file names something that only an attack would use."""


class Nothing:
    """Stands for everything that is neither a tensor nor a plain value: accepts everything and does nothing."""

    def __init__(self, *_: Any, **__: Any) -> None:
        pass

    def __call__(self, *_: Any, **__: Any) -> Nothing:
        return self


@dataclass(frozen=True)
class Checkpoint:
    """tensors: by name.  is_archive: as torch writes it since 1.6, so that their bytes can be found."""

    tensors: Mapping[str, Stored]
    is_archive: bool


def read_checkpoint(file: Path) -> Checkpoint:
    """Raises NoModel if the file is not a checkpoint, and Harmful."""
    try:
        with opened(file) as stream:
            is_archive = stream.peek(4)[:4] == b"PK\3\4"
            whole = _in_archive(stream) if is_archive else _of_old(stream)
    except Harmful:
        raise Harmful(
            f"{file.name} contains more than weights: loading it could run code, so it was not loaded.",
            "Get the model as a .safetensors file.",
        ) from None
    except OSError as error:
        raise NoModel(f"{file} cannot be read: {error.strerror or error}.") from None
    except Exception as error:  # a pickle can raise any of Python's errors
        raise NoModel(f"{file.name} is not a readable checkpoint, or is incomplete.") from error
    inner = whole.get("state_dict", whole) if isinstance(whole, dict) else {}
    inner = inner if isinstance(inner, dict) else {}
    tensors = {name: tensor for name, tensor in inner.items() if isinstance(name, str) and isinstance(tensor, Stored)}
    if not tensors:
        raise NoModel(f"{file.name} contains no named weights.", "Choose another file.")
    return Checkpoint(tensors, is_archive)


def header_of(file: Path) -> Header:
    """What a file of either format has, without a weight.  Raises NoModel, and Harmful."""
    if file_kind(file) == "safetensors":
        return read_header(file)
    return Header({name: tensor.shape for name, tensor in read_checkpoint(file).tensors.items()})


class _InPieces:
    """A file of which at most LARGEST_PICKLE is read at once, whatever it claims."""

    def __init__(self, stream: io.BufferedReader) -> None:
        self._stream = stream
        self.seek, self.tell, self.close = stream.seek, stream.tell, stream.close
        self.seekable, self.readable = stream.seekable, stream.readable

    def read(self, size: int = -1) -> bytes:
        if size > LARGEST_PICKLE:
            raise ValueError("it has a table of more than 64 MB")
        return self._stream.read(LARGEST_PICKLE if size < 0 else size)


def _in_archive(stream: io.BufferedReader) -> Any:
    with zipfile.ZipFile(_InPieces(stream)) as archive:
        name = next(name for name in archive.namelist() if name.rpartition("/")[2] == "data.pkl")
        order = name.removesuffix("data.pkl") + "byteorder"
        if order in archive.namelist() and _begin(archive, order) != b"little":
            raise ValueError("its numbers are the other way round")
        return _Reader(_begin(archive, name)).load()


def _begin(archive: zipfile.ZipFile, name: str) -> bytes:
    if archive.getinfo(name).compress_type != zipfile.ZIP_STORED:
        raise ValueError("it is compressed, as torch never does")
    with archive.open(name) as member:
        data = member.read(LARGEST_PICKLE + 1)
    if len(data) > LARGEST_PICKLE:
        raise ValueError("it is too large")
    return data


def _of_old(stream: io.BufferedReader) -> Any:
    """The fourth pickle; the first three say which program wrote it where."""
    reader = _Reader(stream.read(LARGEST_PICKLE))
    if reader.load() != MAGIC:
        raise ValueError("it is none of torch's")
    for _ in range(2):
        reader.memo.clear()
        reader.load()
    reader.memo.clear()
    return reader.load()


def _storage(saved: Any) -> Storage | Nothing:
    """saved: ("storage", torch's name of the kind, key, device, count, …)."""
    if not (isinstance(saved, tuple) and len(saved) >= 5 and isinstance(saved[1], str) and _is_count(saved[4])):
        return Nothing()
    key = str(saved[2]) if _is_count(saved[2]) else saved[2]
    return Storage(saved[1], key, saved[4]) if _is_name(key) else Nothing()


def _tensor(storage: Any, begin: Any, shape: Any, stride: Any, *_: Any) -> Stored | Nothing:
    """Only one that is within its storage and not larger than it."""
    fits = (
        isinstance(storage, Storage)
        and storage.kind in SIZES
        and _is_count(begin)
        and isinstance(shape, tuple)
        and isinstance(stride, tuple)
        and len(shape) == len(stride) <= LARGEST_RANK
        and all(map(_is_count, shape + stride))
        and prod(shape) <= storage.count
        and (not prod(shape) or begin + sum((n - 1) * s for n, s in zip(shape, stride, strict=True)) < storage.count)
    )
    return Stored(storage, begin, shape, stride) if fits else Nothing()


def _first(given: Any = None, *_: Any) -> Any:
    """A Parameter is its tensor, and a Size its tuple: the same object, because a copy can be long."""
    return given


def _is_count(value: Any) -> bool:
    return type(value) is int and 0 <= value < 2**63


def _is_name(value: Any) -> bool:
    return type(value) is str and len(value) <= LONGEST_NAME


_KNOWN: Mapping[tuple[str, str], Any] = {
    ("collections", "OrderedDict"): dict,
    ("torch._utils", "_rebuild_tensor"): _tensor,
    ("torch._utils", "_rebuild_tensor_v2"): _tensor,
    ("torch._utils", "_rebuild_parameter"): _first,
    ("torch", "Size"): _first,
}
_CALLED = (dict, _tensor, _first)
"""The only functions that are ever called."""


class _Memo(dict[int, Any]):
    """A pickle's memo.  Its entries are numbered consecutively, so a large number is never valid; many large ones could
    also be chosen so that looking up each takes as long as scanning all."""

    def __setitem__(self, place: int, value: Any) -> None:
        if place >= MOST_REMEMBERED:
            raise ValueError("it remembers too much")
        super().__setitem__(place, value)


class _Signs(dict[int, Callable[[Any], None]]):
    """The handlers of opcodes, looked up once for each opcode: so they are counted here."""

    count = 0

    def __getitem__(self, sign: int) -> Callable[[Any], None]:
        self.count += 1
        if self.count > MOST_SIGNS:
            raise ValueError("it is too long a program")
        return super().__getitem__(sign)


class _Reader(pickle._Unpickler):
    """Follows one pickle after another."""

    dispatch: ClassVar[dict[int, Callable[[Any], None]]] = dict(pickle._Unpickler.dispatch)

    stack: list[Any]
    memo: dict[int, Any]

    def __init__(self, data: bytes) -> None:
        super().__init__(io.BytesIO(data))
        self.memo = _Memo()
        self.dispatch = _Signs(type(self).dispatch)  # type: ignore[misc]

    def find_class(self, module: str, name: str) -> Any:
        if not _is_name(module):
            raise ValueError("it names what nothing is called")
        root = module.partition(".")[0]
        if root in HARMFUL_MODULES or name in HARMFUL_NAMES:
            raise Harmful(f"It names {module}.{name}.")
        if root == "torch" and name in SIZES:
            return name
        return _KNOWN.get((module, name), Nothing)

    def get_extension(self, code: int) -> None:
        self.append(Nothing())  # type: ignore[attr-defined]

    def persistent_load(self, pid: Any) -> Any:
        return _storage(pid)

    def _reduce(self) -> None:
        given = self.stack.pop()
        called = self.stack[-1]
        known = any(called is one for one in _CALLED) and isinstance(given, tuple) and len(given) <= MOST_GIVEN
        self.stack[-1] = called(*given) if known and (called is not dict or not given) else Nothing()

    def _made(self) -> None:
        """NEWOBJ: a class and its arguments."""
        self.stack.pop()
        self.stack[-1] = Nothing()

    def _made_by_names(self) -> None:
        self.stack.pop()
        self._made()

    def _made_since_mark(self) -> None:
        self.pop_mark()  # type: ignore[attr-defined]
        self.stack.append(Nothing())

    def _made_by_name_since_mark(self) -> None:
        module, name = self.readline()[:-1].decode("ascii"), self.readline()[:-1].decode("ascii")  # type: ignore[attr-defined]
        self.find_class(module, name)
        self._made_since_mark()

    def _state(self) -> None:
        """BUILD: an object's state."""
        self.stack.pop()

    def _item(self) -> None:
        value, key = self.stack.pop(), self.stack.pop()
        _put(self.stack[-1], key, value)

    def _items(self) -> None:
        items = self.pop_mark()  # type: ignore[attr-defined]
        for key, value in zip(items[::2], items[1::2], strict=False):
            _put(self.stack[-1], key, value)

    def _dictionary(self) -> None:
        items = self.pop_mark()  # type: ignore[attr-defined]
        made: dict[Any, Any] = {}
        for key, value in zip(items[::2], items[1::2], strict=False):
            _put(made, key, value)
        self.stack.append(made)

    def _one_more(self) -> None:
        value = self.stack.pop()
        if type(self.stack[-1]) is list:
            self.stack[-1].append(value)

    def _more(self) -> None:
        values = self.pop_mark()  # type: ignore[attr-defined]
        if type(self.stack[-1]) is list:
            self.stack[-1].extend(values)

    def _set(self) -> None:
        """Not needed here, and it would hash everything."""
        self.stack.append(Nothing())

    def _members(self) -> None:
        self.pop_mark()  # type: ignore[attr-defined]

    def _refused(self) -> None:
        raise ValueError("it asks for room before it fills it")


_Reader.dispatch |= {
    sign[0]: does
    for signs, does in (
        ((pickle.REDUCE,), _Reader._reduce),
        ((pickle.NEWOBJ,), _Reader._made),
        ((pickle.NEWOBJ_EX,), _Reader._made_by_names),
        ((pickle.OBJ, pickle.FROZENSET), _Reader._made_since_mark),
        ((pickle.INST,), _Reader._made_by_name_since_mark),
        ((pickle.BUILD,), _Reader._state),
        ((pickle.SETITEM,), _Reader._item),
        ((pickle.SETITEMS,), _Reader._items),
        ((pickle.DICT,), _Reader._dictionary),
        ((pickle.APPEND,), _Reader._one_more),
        ((pickle.APPENDS,), _Reader._more),
        ((pickle.EMPTY_SET,), _Reader._set),
        ((pickle.ADDITEMS,), _Reader._members),
        ((pickle.BYTEARRAY8, pickle.NEXT_BUFFER), _Reader._refused),
    )
    for sign in signs
}


def _put(whole: Any, key: Any, value: Any) -> None:
    if type(whole) is dict and _is_name(key):  # integers can be chosen so that all have the same hash
        whole[key] = value
