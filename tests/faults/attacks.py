"""Hostile files, as data. Every pickle here would leave a mark on the disk if anything of it were run."""

import io
import pickle
import struct
import zipfile
from collections.abc import Iterator
from pathlib import Path

import torch


def text(value: str) -> bytes:
    data = value.encode()
    return b"X" + struct.pack("<I", len(data)) + data


def named(module: str, name: str) -> bytes:
    return f"c{module}\n{name}\n".encode()


def integer(value: int) -> bytes:
    return b"\x8a\x08" + value.to_bytes(8, "little", signed=True)


def calls(mark: Path) -> list[tuple[str, str, bytes]]:
    """(module, name, pickled arguments): what an attacker calls, here to create `mark`."""
    file, touch, code = text(str(mark)), text(f"touch {mark}"), text(f"open({str(mark)!r}, 'w').close()")
    argv = b"(" + text("touch") + file + b"l"
    return [
        ("os", "system", touch),
        ("posix", "system", touch),
        ("os", "popen", touch),
        ("os", "mkdir", file),
        ("posix", "mkdir", file),
        ("subprocess", "call", argv),
        ("subprocess", "Popen", argv),
        ("subprocess", "getoutput", touch),
        ("pty", "spawn", argv),
        ("builtins", "eval", code),
        ("builtins", "exec", code),
        ("__builtin__", "eval", code),
        ("builtins", "open", file + text("w")),
        ("io", "open", file + text("w")),
        ("_io", "FileIO", file + text("w")),
        ("pathlib", "Path.touch", file),
        ("runpy", "_run_code", code + b"}"),
        ("timeit", "timeit", code),
        ("code", "interact", code),
        ("importlib", "import_module", text("antigravity")),
        ("torch.utils.cpp_extension", "load", text("x") + file),
        ("torch.hub", "load", text("x/y") + text("z")),
        ("torch.serialization", "load", file),
        ("torch._utils", "_import_dotted_name", text("os.system")),
        ("torch.storage", "_load_from_bytes", text("x")),
        ("torch._utils", "_rebuild_from_type_v2", named("os", "system") + named("torch", "Tensor") + b")}"),
        ("numpy", "fromfile", file),
        ("numpy", "memmap", file + text("u1") + text("w+") + b"K\x00K\x01\x85"),
        ("numpy", "load", file),
        ("numpy.testing._private.utils", "runstring", code + b"}"),
        ("operator", "methodcaller", text("system") + touch),
        ("functools", "partial", named("os", "system") + touch),
        ("gcvideo.files", "write_text", file + text("x")),
        ("pytorch_lightning.cli", "instantiate_module", b"}"),
    ]


def forms(module: str, name: str, arguments: bytes) -> dict[str, bytes]:
    """The ways in which opcodes call something."""
    function, tupled = named(module, name), b"(" + arguments + b"t"
    return {
        "REDUCE": b"\x80\x02" + function + tupled + b"R",
        "STACK_GLOBAL": b"\x80\x04" + text(module) + text(name) + b"\x93" + tupled + b"R",
        "INST": b"(" + arguments + f"i{module}\n{name}\n".encode(),
        "OBJ": b"(" + function + arguments + b"o",
        "NEWOBJ": b"\x80\x02" + function + tupled + b"\x81",
        "NEWOBJ_EX": b"\x80\x04" + function + tupled + b"}\x92",
        "memo": b"\x80\x02" + function + b"q\x05" + tupled + b"q\x06" + b"00" + b"h\x05h\x06R",
        # __setstate__ of an allowed object is replaced by the function, then called with the arguments.
        "BUILD": b"\x80\x02" + named("collections", "OrderedDict") + b")R}" + text("__setstate__") + function + b"sb"
        + arguments + b"b",
    }  # fmt: skip


def gadgets(mark: Path) -> Iterator[tuple[str, bytes]]:
    """Pickles that call something: (what, bytes)."""
    for module, name, arguments in calls(mark):
        for form, body in forms(module, name, arguments).items():
            yield f"{module}.{name} by {form}", body + b"."


def numpy_tricks() -> dict[str, bytes]:
    """Pickles that use only the names that arrays need."""
    dtype, array = named("numpy", "dtype"), named("numpy", "ndarray")
    encode, scalar = named("_codecs", "encode"), named("numpy.core.multiarray", "scalar")
    rebuild = named("numpy.core.multiarray", "_reconstruct")
    f4 = dtype + text("f4") + b"\x85R"
    empty = rebuild + b"(" + array + b"K\x00\x85" + text("b") + b"tR"

    def state(shape: bytes, kind: bytes = f4, fortran: bytes = b"\x89", data: bytes = text("\0" * 16)) -> bytes:
        return empty + b"(K\x01" + shape + kind + fortran + data + b"tb"

    bodies = {
        # 115 bytes: the item size of a dtype grows after its array has got its memory; then an item is set.
        "a dtype that grows": dtype + text("V1") + b"\x85Rq\x000" + array + b"(K\x08\x85h\x00tRq\x010h\x00(K\x03"
        + text("|") + b"NNNJ\xff\xff\xff\x7fK\x01K\x00tb0h\x01K\x00"
        + encode + text("A" * 8) + text("latin1") + b"\x86Rs",
        "objects": state(b"K\x02\x85", dtype + text("O") + b"\x85R"),
        "object data": state(b"K\x02\x85", dtype + text("O8") + b"\x85R", data=b"]"),
        "a dtype of fields": f4 + b"(K\x03" + text("<") + b"N" + text("a") + b"\x85}K\x04K\x01K\x00tb",
        "a dtype with a sub-array": f4 + b"(K\x03" + text("<") + b"(" + f4 + b"K\x02\x85tNNK\x04K\x01K\x00tb",
        "a strange byte order": f4 + b"(K\x03" + text("%n") + b"NNNK\xffK\x01K\x00tb",
        "a dtype without a state": f4 + b"Nb",
        "a huge item": dtype + text("V2147483647") + b"\x85R",
        "a long double": dtype + text("f16") + b"\x85R",
        "a dtype of an integer": dtype + b"K\x05\x85R",
        "a dtype of a list": dtype + b"]\x85R",
        "a dtype with a comma": dtype + text("f4,f4") + b"\x85R",
        "a dtype of nothing": dtype + b")R",
        "more shape than data": state(b"K\x05\x85"),
        "less shape than data": state(b"K\x03\x85"),
        "a huge shape": state(b"(" + integer(1 << 62) + integer(1 << 62) + b"t"),
        "a huge empty shape": state(b"(" + integer(1 << 62) + b"K\x00t", data=text("")),
        "a negative shape": state(b"(" + integer(-4) + integer(-1) + b"t"),
        "a shape of text": state(text("4") + b"\x85"),
        "a shape of truth": state(b"\x88\x85", data=text("\0" * 4)),
        "a shape that is a list": state(b"]K\x04a"),
        "a shape of a thousand axes": state(b"(" + b"K\x01" * 1000 + b"t", data=text("\0" * 4)),
        "a huge number as shape": state(b"\x8b" + struct.pack("<I", 100_000) + b"\x7f" * 100_000 + b"\x85"),
        "no data": state(b"K\x04\x85", data=b"N"),
        "data that is an array": state(b"K\x04\x85", data=empty),
        "data beyond latin1": state(b"K\x04\x85", data=text("€" * 16)),
        "a class as dtype": state(b"K\x04\x85", kind=array),
        "no dtype": state(b"K\x04\x85", kind=b"N"),
        "an array without a state": empty + b"Nb",
        "an array with half a state": empty + b"(K\x01K\x02\x85tb",
        "an item of an array": state(b"K\x04\x85") + b"K\x00K\x01s",
        "the state of a function": array + b"}" + text("__defaults__") + b"Nsb",
        "slots of a function": array + b"N}" + text("function") + named("os", "system") + b"s\x86b",
        "the state of a dictionary": b"}}" + text("x") + b"K\x01sb",
        "the state of a number": b"K\x01}b",
        "a call of a number": b"K\x01)R",
        "a call of an array": empty + b")R",
        "a call without a tuple": array + b"K\x01R",
        "a scalar without a dtype": scalar + text("f4") + text("\0" * 4) + b"\x86R",
        "a scalar with too little": scalar + f4 + text("\0") + b"\x86R",
        "another encoding": encode + text("cmd") + text("rot13") + b"\x86R",
        "an encoding that unpacks": encode + text("x") + text("zlib") + b"\x86R",
        "no encoding": encode + b")R",
        "extension 1": b"\x82\x01",
        "extension 2": b"\x83\x01\x01",
        "a persistent id": b"Pos.system\n",
        "a binary persistent id": text("os.system") + b"Q",
        "a buffer from outside": b"\x97",
        "a byte array of 64 GB": b"\x96" + struct.pack("<Q", 1 << 36),
        "bytes of 8 EB": b"\x8e" + struct.pack("<Q", 1 << 62),
        "a frame of 8 EB": b"\x95" + struct.pack("<Q", 1 << 62) + b"N",
        "text of 8 EB": b"\x8d" + struct.pack("<Q", 1 << 62),
        "a memo of 64 GB": b"Nr\xff\xff\xff\xff0]",
        "a memo that is not there": b"j\xff\xff\xff\x7f",
        "an unknown opcode": b"\xff",
        "protocol 200": b"\x80\xc8N",
        "nothing on the stack": b"0",
        "no mark": b"t",
        "an unhashable key": b"}]K\x01s",
        "a list that holds itself": b"]q\x00h\x00a",
        "deep nesting": b"(" * 50_000 + b"t" * 50_000,
        "no end": b"N",
    }  # fmt: skip
    pickles = {what: b"\x80\x02" + body + b"." for what, body in bodies.items()}
    pickles["no end"] = pickles["no end"][:-1]
    return pickles


def archive(pickled: bytes, compression: int = zipfile.ZIP_STORED, **more: bytes) -> bytes:
    """A file as of torch.save, with another data.pkl; `more`: further entries."""
    whole = io.BytesIO()
    torch.save({"state_dict": {"w": torch.arange(4.0)}}, whole)
    stream = io.BytesIO()
    with zipfile.ZipFile(whole) as source, zipfile.ZipFile(stream, "w", compression) as target:
        for name in source.namelist():
            target.writestr(name, pickled if name.endswith("data.pkl") else source.read(name))
        for name, data in more.items():
            target.writestr(f"archive/{name}", data)
    return stream.getvalue()


def legacy(pickled: bytes) -> bytes:
    """A file as torch wrote it before 1.6: pickles one after the other."""
    head = (torch.serialization.MAGIC_NUMBER, torch.serialization.PROTOCOL_VERSION, {"little_endian": True})
    return b"".join(pickle.dumps(part, protocol=2) for part in head) + pickled + pickle.dumps([], protocol=2)
