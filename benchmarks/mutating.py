"""Mutants of good files: bytes, members of archives, JSON, arrays, HDF5 and chunks of PNG."""

from __future__ import annotations

import copy
import io
import json
import struct
import warnings
import zipfile
import zlib
from collections.abc import Callable
from typing import Any

import h5py
import numpy as np

__all__ = ["mutant"]

Random = np.random.Generator
# Stands for lists in lists, which Python's own writer of JSON cannot write.
DEEP = {f"nested {depth} deep": depth for depth in (50, 300, 5000, 200_000)}
SPECIAL = [
    *(0, 1, -1, 2, 0.5, -0.0, 1e308, 1e-320, float("nan"), float("inf"), None, True, False),
    *(10**5, 2**31, 2**31 - 1, 2**32, 2**53, 2**63, 2**64, 10**10, 10**12, 10**18, 10**30),
    *(
        "",
        "x" * 10**5,
        "/etc/passwd",
        "../../up",
        "1e999999999",
        "1/0",
        "<script>",
        "\n",
        "float64",
    ),
    *([], {}, [[]], [None], list(range(10**4)), {"class_name": None, "config": None}),
    *DEEP,
    {"class_name": "function", "module": "os", "config": "system"},
    {"class_name": "function", "module": "keras.utils", "config": "get_file"},
    {"module": "keras.config", "class_name": "enable_unsafe_deserialization", "config": {}},
    {
        "module": "keras.layers",
        "class_name": "StringLookup",
        "config": {"vocabulary": "/etc/passwd"},
    },
    {"module": "keras.layers", "class_name": "TFSMLayer", "config": {"filepath": "/"}},
]


def mutant(random: Random, kind: str, content: bytes, others: list[bytes], code: Any) -> bytes:
    """A mutant of a file.

    Args:
        random: Draws what is changed.
        kind: The file's suffix.
        content: The file.
        others: Files whose parts may be put in.
        code: A JSON object that stands for Python code, as Keras writes it.
    """
    inner: Callable[[], bytes] | None = None
    if kind in (".npz", ".keras", ".saved", ".pair"):
        inner = lambda: _archive(random, kind, content, others, code)  # noqa: E731
    elif kind in (".h5", ".hdf5"):
        inner = lambda: _hdf5(random, content, code)  # noqa: E731
    elif kind == ".png":
        inner = lambda: _png(random, content, others)  # noqa: E731
    return inner() if inner and random.random() < 0.75 else _bytes(random, content, others)


def _bytes(random: Random, content: bytes, others: list[bytes]) -> bytes:
    """Bytes flipped, cut off, spliced, zeroed, doubled or put in."""
    data = bytearray(content)
    if not data:
        return bytes(random.integers(0, 256, 100, dtype=np.uint8))
    start, stop = sorted(int(place) for place in random.integers(0, len(data) + 1, 2))
    near = min(stop, start + int(random.integers(1, 65)))
    match random.integers(0, 8):
        case 0:
            for _ in range(int(random.integers(1, 5))):
                data[int(random.integers(0, len(data)))] ^= 1 << int(random.integers(0, 8))
        case 1:
            for _ in range(int(random.integers(1, 40))):
                data[int(random.integers(0, len(data)))] = int(random.integers(0, 256))
        case 2:
            del data[stop:]
        case 3:
            other = others[int(random.integers(0, len(others)))]
            data[start:] = other[min(start, len(other)) :]
        case 4:
            data[start:near] = bytes(near - start)
        case 5:
            data[stop:stop] = data[start:near]
        case 6:
            data[start:near] = b"\xff" * (near - start)
        case 7:
            # The head holds the sizes.
            place = int(random.integers(0, min(len(data), 600)))
            data[place : place + 8] = random.integers(0, 256, 8, dtype=np.uint8).tobytes()
    return bytes(data)


def _archive(random: Random, kind: str, content: bytes, others: list[bytes], code: Any) -> bytes:
    """An archive whose check sums are right, with a member changed, added, renamed or left out."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        members = [(name, archive.read(name)) for name in archive.namelist()]
    place = int(random.integers(0, len(members)))
    name, part = members[place]
    draw = random.random()
    if draw < 0.8:
        members[place] = (name, _member(random, name, part, others, code))
    elif draw < 0.86:
        names = ["../up.txt", "/tmp/up.txt", "C:\\up.txt", "assets/../../up", "x", "assets/x", name]
        added = names[int(random.integers(0, len(names)))]
        members.append((added, bytes(int(random.integers(0, 100)))))
    elif draw < 0.9:
        members[place] = (name.upper(), part)
    elif draw < 0.94:
        del members[place]
    elif draw < 0.97:
        members[place] = (name, bytes(300 << 20))
    else:
        members[place] = (name, members[int(random.integers(0, len(members)))][1])
    methods = [zipfile.ZIP_STORED] * 3 + [zipfile.ZIP_DEFLATED] * 5
    methods += [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA]
    file = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Of names that are there twice.
        with zipfile.ZipFile(file, "w") as archive:
            for name, data in members:
                large = len(data) > 1 << 20
                method = zipfile.ZIP_DEFLATED if large else methods[int(random.integers(0, 10))]
                archive.writestr(name, data, compress_type=method)
    return file.getvalue()


def _member(random: Random, name: str, part: bytes, others: list[bytes], code: Any) -> bytes:
    if random.random() < 0.2:
        return _bytes(random, part, others)
    if name.endswith(".json"):
        return _json(random, part.decode(), code).encode()
    if name.endswith(".h5"):
        return _hdf5(random, part, code)
    if name == "about.npy":
        text = _json(random, str(np.load(io.BytesIO(part))), code)
        return _npy(np.array(text))
    if name.endswith(".pb") and random.random() < 0.7:
        return _digits(random, part)
    if name.endswith(".npy"):
        return _array(random, np.load(io.BytesIO(part)))
    return _bytes(random, part, others)


def _digits(random: Random, part: bytes) -> bytes:
    """Numbers in the texts of a protocol buffer changed, whose lengths stay right."""
    data = bytearray(part)
    places = [place for place, byte in enumerate(data) if byte in b"0123456789"]
    for place in random.choice(places, min(len(places), 3)) if places else ():
        data[int(place)] = b"0123456789-"[int(random.integers(0, 11))]
    return bytes(data)


def _npy(array: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.save(file, array, allow_pickle=True)
    return file.getvalue()


class _Marks:
    """Makes a file when it is unpickled."""

    def __init__(self, marker: str) -> None:
        self.marker = marker

    def __reduce__(self) -> Any:
        return (open, (self.marker, "w"))


def _array(random: Random, array: np.ndarray) -> bytes:
    """An array with other numbers, another dtype or shape, or a header that says what is not so."""
    flat = array.ravel()
    match random.integers(0, 7):
        case 0 | 1:
            flat[int(random.integers(0, flat.size))] = random.choice([0, -1, 7, 3])
        case 2:
            if array.dtype.kind == "f":
                values = [np.nan, np.inf, 1e308, -1e308, 1e-320]
                flat[int(random.integers(0, flat.size))] = random.choice(values)
        case 3:
            types = ["float32", "complex128", "int8", "uint64", "S8", "U3", "M8[s]", "bool", ">f8"]
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                array = array.astype(random.choice(types))
        case 4:
            array = array[..., :-1] if random.random() < 0.5 else array[None]
        case 5:
            return _npy(np.array([_Marks("code-was-run")], dtype=object))
        case 6:
            shapes = [(2**40, 2**40), (10**9,), (-1,), (0,), (), (2**63,), (*array.shape, 1)]
            shape = shapes[int(random.integers(0, len(shapes)))]
            kinds = ["<f8", "|O", "<i8", "|V1000000000", "<U100000000"]
            header = {"descr": random.choice(kinds), "fortran_order": False, "shape": shape}
            head = repr(header).ljust(117) + "\n"
            length = len(head).to_bytes(2, "little")
            return b"\x93NUMPY\x01\x00" + length + head.encode() + array.tobytes()
    return _npy(array)


def _json(random: Random, text: str, code: Any) -> str:
    """JSON with one value of it replaced, left out, doubled, renamed or moved."""
    whole = [json.loads(text)]
    for _ in range(1 if random.random() < 0.7 else 3):
        places = _places(whole)
        holder, key = places[int(random.integers(0, len(places)))]
        match random.integers(0, 10):
            case 0:
                del holder[key]
            case 1:
                other, there = places[int(random.integers(0, len(places)))]
                # A copy: what holds itself has no end.
                holder[key] = json.loads(json.dumps(other[there]))
            case 2:
                if isinstance(holder, list):
                    holder.append(json.loads(json.dumps(holder[key])))
                else:
                    holder[f"{key}x"] = holder.pop(key)
            case 3:
                holder[key] = copy.deepcopy(code)
            case 4 | 5:
                value = holder[key]
                if isinstance(value, int | float):
                    factors = [-1, 0, 2, 1000, 10**6, 10**9, 10**15]
                    holder[key] = value * int(random.choice(factors))
                else:
                    holder[key] = _special(random)
            case _:
                holder[key] = _special(random)
        if not whole:
            return ""
    text = json.dumps(whole[0])
    for name, depth in DEEP.items():
        text = text.replace(f'"{name}"', "[" * depth + "]" * depth)
    return text


def _special(random: Random) -> Any:
    # A copy: what is changed again must not change the table.
    return copy.deepcopy(SPECIAL[int(random.integers(0, len(SPECIAL)))])


def _places(whole: Any) -> list[tuple[Any, Any]]:
    places, waiting = [], [whole]
    while waiting:
        holder = waiting.pop()
        for key in holder if isinstance(holder, dict) else range(len(holder)):
            places.append((holder, key))
            if isinstance(holder[key], dict | list) and holder[key]:
                waiting.append(holder[key])
    return places


def _hdf5(random: Random, content: bytes, code: Any) -> bytes:
    """An HDF5 file with an attribute, an array or a link changed by HDF5 itself."""
    buffer = io.BytesIO(content)
    with h5py.File(buffer, "r+") as file:
        names: list[str] = []
        file.visit(names.append)
        groups = [file, *(file[name] for name in names if isinstance(file[name], h5py.Group))]
        arrays = [file[name] for name in names if isinstance(file[name], h5py.Dataset)]
        group = groups[int(random.integers(0, len(groups)))]
        draw = random.random()
        if "model_config" in file.attrs and draw < 0.4:
            file.attrs["model_config"] = _json(random, file.attrs["model_config"], code)
        elif draw < 0.55 and arrays:
            _replace(random, file, arrays[int(random.integers(0, len(arrays)))])
        elif draw < 0.7:
            _relink(random, file, group)
        elif draw < 0.85:
            holders = [item for item in [*groups, *arrays] if len(item.attrs)]
            if holders:
                attrs = holders[int(random.integers(0, len(holders)))].attrs
                key = sorted(attrs)[int(random.integers(0, len(attrs)))]
                attrs[key] = [b"", "x" * 10**4, 3, np.zeros(3), np.array([b"a", b"b"])][
                    int(random.integers(0, 5))
                ]
        elif arrays:
            array = arrays[int(random.integers(0, len(arrays)))]
            values = array[()] + np.array(1).astype(array.dtype)
            array[...] = values
    return buffer.getvalue()


def _replace(random: Random, file: h5py.File, array: h5py.Dataset) -> None:
    """Another array in the place of one."""
    name, shape, dtype = array.name, array.shape, array.dtype
    del file[name]
    large = (10**6,) * max(1, len(shape))
    match random.integers(0, 11):
        case 0:
            file.create_dataset(name, large, dtype, chunks=(64,) * len(large), compression="gzip")
        case 1:
            file.create_dataset(name, (10**12,), dtype)
        case 2:
            file.create_dataset(name, shape, dtype, external=[("/etc/passwd", 0, 10**6)])
        case 3:
            layout = h5py.VirtualLayout(shape=(4,), dtype=dtype)
            layout[:] = h5py.VirtualSource("/tmp/other.h5", "data", shape=(4,))
            file.create_virtual_dataset(name, layout)
        case 4:
            file.create_dataset(name, shape, h5py.string_dtype())
        case 5:
            file.create_dataset(name, shape, h5py.ref_dtype)
        case 6:
            file.create_dataset(name, data=np.zeros((*shape, 1), dtype))
        case 7:
            file.create_dataset(name, data=np.full(shape, np.nan, "float64"))
        case 8:
            file.create_dataset(name, data=np.zeros(shape, "S3"))
        case 9:
            file.create_dataset(name, (*shape[:-1], 10**9) if shape else (10**9,), dtype)
        case 10:
            pairs = np.dtype([("a", "f4"), ("b", "i8", (3,))])
            file.create_dataset(name, data=np.zeros(shape, pairs))


def _relink(random: Random, file: h5py.File, group: h5py.Group) -> None:
    """A link changed, added or taken away."""
    names = sorted(group)
    name = names[int(random.integers(0, len(names)))] if names else "x"
    match random.integers(0, 6):
        case 0:
            if names:
                del group[name]
        case 1:
            if names:
                group.move(name, "other")
        case 2:
            group["loop"] = file["/"]
        case 3 | 4:
            kept = h5py.SoftLink("/") if random.random() < 0.5 else h5py.ExternalLink("/x.h5", "/")
            if names:
                del group[name]
            group[name] = kept
        case 5:
            if names:
                group["again"] = group[name]


def _png(random: Random, content: bytes, others: list[bytes]) -> bytes:
    """A PNG whose check sums are right, with other sizes, other data, or a chunk more or less."""
    place, chunks = 8, []
    while place < len(content):
        (length,) = struct.unpack(">I", content[place : place + 4])
        chunks.append((content[place + 4 : place + 8], content[place + 8 : place + 8 + length]))
        place += 12 + length
    which = int(random.integers(0, len(chunks)))
    kind, data = chunks[which]
    match random.integers(0, 5):
        case 0:
            sizes = [0, 1, 20_000, 10**5, 2**31 - 1, 2**32 - 1]
            size = struct.pack(">II", int(random.choice(sizes)), int(random.choice(sizes)))
            chunks[0] = (b"IHDR", size + chunks[0][1][8:])
        case 1:
            chunks[0] = (b"IHDR", _bytes(random, chunks[0][1], others)[:13])
        case 2:
            packed = zlib.compress(bytes(30_000_000))
            chunks = [(k, packed if k == b"IDAT" else d) for k, d in chunks]
        case 3:
            text = b"note\x00\x00" + zlib.compress(bytes(50_000_000))
            chunks.insert(1, (b"zTXt", text))
        case 4:
            chunks[which] = (kind, _bytes(random, data, others))
    picture = content[:8]
    for kind, data in chunks:
        picture += struct.pack(">I", len(data)) + kind + data
        picture += struct.pack(">I", zlib.crc32(kind + data))
    return picture
