"""Arrays from the pickles of caffe2 (video-nonlocal-net, Detectron). No object of numpy is ever built by a file.

A pickle is a program. numpy's own way to be unpickled can't be offered to one from an untrusted source: `dtype` and
`ndarray` set their state without checks, and a file of 115 bytes that changes the item size of a dtype after its array
exists writes after the array. So this unpickler knows few opcodes, and what a file names is answered by stand-ins:
`numpy.dtype` by `_Dtype`, `numpy.ndarray` and its scalars by `Array`, which reads its numbers from raw bytes of exactly
the expected length.
"""

import pickle
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

# Plain values, containers, stack and memo; what a file names (GLOBAL, REDUCE, BUILD) is answered below.
_OPCODES = """
NONE NEWTRUE NEWFALSE INT BININT BININT1 BININT2 LONG LONG1 LONG4 FLOAT BINFLOAT STRING BINSTRING SHORT_BINSTRING
UNICODE BINUNICODE SHORT_BINUNICODE BINUNICODE8 BINBYTES SHORT_BINBYTES BINBYTES8
EMPTY_TUPLE TUPLE TUPLE1 TUPLE2 TUPLE3 EMPTY_LIST LIST APPEND APPENDS EMPTY_DICT DICT SETITEM SETITEMS
PROTO FRAME MARK POP POP_MARK DUP GET BINGET LONG_BINGET PUT BINPUT LONG_BINPUT MEMOIZE STOP
GLOBAL STACK_GLOBAL REDUCE BUILD
"""

# Kinds of numbers that torch has, with their sizes in bytes. Text ("S", "U") is read past.
_NUMBERS = {"b": (1,), "i": (1, 2, 4, 8), "u": (1, 2, 4, 8), "f": (2, 4, 8), "c": (8, 16)}


class _Dtype:
    """Stand-in of a numpy.dtype: a kind, a size and an order of bytes."""

    def __init__(self, name: Any, align: Any = False, copy: Any = False):
        match = re.fullmatch(r"[|<>=]?([biufcSU])([0-9]{1,9})", name) if isinstance(name, str) else None
        if match is None:
            raise pickle.UnpicklingError(f"an array of dtype {str(name)[:40]!r}, which holds no numbers")
        self.kind, size = match[1], int(match[2])
        self.size = size * 4 if self.kind == "U" else size  # "U3" has 3 characters of 4 bytes
        if self.kind in _NUMBERS and size not in _NUMBERS[self.kind]:
            raise pickle.UnpicklingError(f"an array of dtype {name!r}, which torch does not have")
        self.order = name[0] if name[0] in "<>" else "<"

    def set_state(self, state: Any) -> None:
        """(version, byte order, sub-dtype, names, fields, item size, alignment, ...): only the order is used."""
        if not isinstance(state, tuple) or len(state) < 5 or any(part is not None for part in state[2:5]):
            raise pickle.UnpicklingError("a dtype with fields")
        if state[1] not in ("<", ">", "|", "="):
            raise pickle.UnpicklingError(f"a dtype with byte order {str(state[1])[:10]!r}")
        self.order = ">" if state[1] == ">" else "<"

    def numbers(self, data: Any, shape: tuple[int, ...], order: Any = "C") -> np.ndarray | None:
        """The numbers in raw bytes, in native byte order; None for text."""
        if isinstance(data, str):  # what Python 2 wrote
            data = data.encode("latin1")
        count = 1
        for length in shape:
            count *= length
        if not isinstance(data, bytes) or len(data) != count * self.size:
            raise pickle.UnpicklingError(f"an array of shape {shape} and {self.size} bytes each without its data")
        if self.kind not in _NUMBERS:
            return None
        dtype = np.dtype(f"{self.order}{self.kind}{self.size}")
        array = np.frombuffer(data, dtype).reshape(shape, order=order)
        return np.array(array, dtype.newbyteorder("="), order="C")  # writable, as torch expects


class Array:
    """Stand-in of a numpy.ndarray or of one of its scalars.

    Args:
        numbers: its content; None for text, and until its state is set.
    """

    def __init__(self, numbers: np.ndarray | None = None):
        self.numbers = numbers

    def set_state(self, state: Any) -> None:
        """([version,] shape, dtype, whether the order is Fortran's, raw bytes)."""
        if not isinstance(state, tuple) or len(state) not in (4, 5):
            raise pickle.UnpicklingError("an array without shape, dtype and data")
        shape, dtype, is_fortran, data = state[-4:]
        # type() and not isinstance, because True is an int. numpy has at most 64 axes.
        lengths_only = isinstance(shape, tuple) and len(shape) <= 32 and all(type(length) is int for length in shape)
        if not lengths_only or any(not 0 <= length < 1 << 40 for length in shape) or not isinstance(dtype, _Dtype):
            raise pickle.UnpicklingError("an array without a proper shape and dtype")
        self.numbers = dtype.numbers(data, shape, "F" if is_fortran else "C")


class _Named:
    """What a file gets for a global that it names: something to call, without anything that could be changed."""

    __slots__ = ("function",)

    def __init__(self, function: Callable[..., Any]):
        self.function = function


def _encode(text: Any, encoding: Any = "latin1") -> bytes:
    """`_codecs.encode`, which rebuilds bytes in pickles that Python 3 writes in protocol 2."""
    if not isinstance(text, str) or encoding not in ("latin1", "latin-1"):
        raise pickle.UnpicklingError("_codecs.encode of something else than text in latin1")
    return text.encode("latin1")


def _scalar(dtype: Any, data: Any) -> Array:
    if not isinstance(dtype, _Dtype):
        raise pickle.UnpicklingError("a scalar without a dtype")
    return Array(dtype.numbers(data, ()))


def _reconstruct(kind: Any = None, shape: Any = None, typecode: Any = None) -> Array:
    return Array()  # whatever the arguments: shape and dtype are part of the state, which follows


def _no_bytes() -> bytes:
    """`bytes()`, the data of an empty array in pickles that Python 3 writes in protocol 2."""
    return b""


def _dict(pairs: Any = ()) -> dict[Any, Any]:
    return dict(pairs)


_GLOBALS: dict[tuple[str, str], Callable[..., Any]] = {
    ("numpy", "ndarray"): _reconstruct,
    ("numpy", "dtype"): _Dtype,
    ("_codecs", "encode"): _encode,
    ("__builtin__", "bytes"): _no_bytes,
    ("collections", "OrderedDict"): _dict,
    # numpy.core is numpy._core since NumPy 2; a pickle names the one that wrote it.
    **{(f"numpy.{core}.multiarray", "_reconstruct"): _reconstruct for core in ("core", "_core")},
    **{(f"numpy.{core}.multiarray", "scalar"): _scalar for core in ("core", "_core")},
}

_CODES = [getattr(pickle, name)[0] for name in _OPCODES.split()]


class _Steps(dict[int, Any]):
    """Opcode -> what it does."""

    def __missing__(self, opcode: int) -> Any:
        raise pickle.UnpicklingError(f"the file has the opcode {bytes([opcode])!r}, which arrays do not need")


# The unpickler in Python, because the steps of the one in C can't be replaced, and because of its memo: in C it is a
# list, of which 6 bytes of a file can request 64 GB. The files have few opcodes, so the speed is the same.
class _ArrayUnpickler(pickle._Unpickler):
    """Rebuilds arrays of numbers, and plain values, and nothing else."""

    stack: list[Any]
    dispatch = _Steps({code: pickle._Unpickler.dispatch[code] for code in _CODES})

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in _GLOBALS:
            raise pickle.UnpicklingError(f"the file asks for the global {module}.{name}")
        return _Named(_GLOBALS[module, name])

    def load_reduce(self) -> None:
        arguments = self.stack.pop()
        named = self.stack[-1]
        if not isinstance(named, _Named) or not isinstance(arguments, tuple):
            raise pickle.UnpicklingError("the file calls something that is no function")
        self.stack[-1] = named.function(*arguments)

    def load_build(self) -> None:
        state = self.stack.pop()
        if not isinstance(self.stack[-1], _Dtype | Array):
            raise pickle.UnpicklingError("the file sets the state of something else than an array")
        self.stack[-1].set_state(state)

    dispatch[pickle.REDUCE[0]] = load_reduce
    dispatch[pickle.BUILD[0]] = load_build


def read_caffe2(path: Path) -> Any:
    """Content of a pickle, with an `Array` for each array.

    Raises:
        Exception: of any kind, if it is damaged or asks for anything but arrays and plain values.
    """
    with path.open("rb") as stream:
        # Python 2 pickled arrays as str; numpy reads such pickles in latin1 only.
        return _ArrayUnpickler(stream, encoding="latin1").load()
