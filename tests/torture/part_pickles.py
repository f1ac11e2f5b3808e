"""Files that would run code or grow without end when they are read: pickles, archives, tables."""

from __future__ import annotations

import io
import json
import pickle
import random
import struct
import time
import zipfile
import zlib
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from tests.engine.stored import load_run
from tests.torture.hostile import bounded_memory
from tests.torture.tally import Tally
from unreid.constraints import load_pseudo_labels
from unreid.constraints.legacy_pickle import links_from, matrix_from, read_legacy
from unreid.constraints.loading import read_keys
from unreid.constraints.relation_file import read_relation
from unreid.data.datasets.mat_file import read_matrix
from unreid.models.weight_files import read_file
from unreid.utils.errors import UserError

TITLE = "hostile and damaged pickles, archives and tables"
EXPECTED = "refused in one sentence or read; nothing in them is run, memory stays bounded"
COUNT = 400
SLICE = 60
SECONDS = 10.0
"""A trial that takes longer is one that grows without end."""

Make = Callable[[random.Random, Path], bytes]

COMMANDS: list[tuple[str, Callable[[str], tuple[Any, ...]]]] = [
    ("os system", lambda marker: (f"touch {marker}",)),
    ("posix system", lambda marker: (f"touch {marker}",)),
    ("nt system", lambda marker: (f"touch {marker}",)),
    ("builtins exec", lambda marker: (f"open({marker!r}, 'w').close()",)),
    ("builtins eval", lambda marker: (f"open({marker!r}, 'w').close()",)),
    ("__builtin__ eval", lambda marker: (f"open({marker!r}, 'w').close()",)),
    ("builtins open", lambda marker: (marker, "w")),
    ("io open", lambda marker: (marker, "w")),
    ("subprocess Popen", lambda marker: (["touch", marker],)),
    ("subprocess check_output", lambda marker: (["touch", marker],)),
    ("pathlib Path.touch", lambda marker: (marker,)),
    ("os.path os.system", lambda marker: (f"touch {marker}",)),
    ("torch load", lambda marker: (marker,)),
    ("torch.serialization load", lambda marker: (marker,)),
    ("numpy save", lambda marker: (marker, 1)),
    ("numpy.lib.npyio save", lambda marker: (marker, 1)),
    ("shutil copyfile", lambda marker: ("/etc/hostname", marker)),
    ("runpy run_path", lambda marker: (marker,)),
    ("importlib import_module", lambda marker: ("antigravity",)),
    ("numpy.core.multiarray _reconstruct.__globals__", lambda marker: ()),
    ("collections OrderedDict.fromkeys", lambda marker: (marker,)),
]


def run(count: int, seed: int, folder: Path) -> Tally:
    rng, tally = random.Random(seed), Tally()
    marker = folder / "marker"
    makers = [*GROWING, *(hostile for _ in range(10)), *(damaged for _ in range(10))]
    with bounded_memory():
        for number in range(count):
            maker = makers[number % len(makers)]
            content = maker(rng, marker)
            name, read = rng.choice(READERS)
            at = f"seed {seed}, trial {number} ({maker.__name__} through {name})"
            _judge(read, content, folder / "trial.npz", tally, at)
            if marker.exists():
                tally.failures.append(f"{at}: the code in it was run")
                marker.unlink()
    return tally


def _judge(read: Callable[[Path], Any], content: bytes, path: Path, tally: Tally, at: str) -> None:
    path.write_bytes(content)
    started = time.perf_counter()
    try:
        read(path)
    except UserError as error:
        outcome = "refused" if "\n" not in str(error) else f"no sentence: {error}"
    except Exception as error:  # whatever it is, it should have been a sentence
        outcome = f"{type(error).__name__}: {error}"
    else:
        outcome = "read"
    took = time.perf_counter() - started
    if took > SECONDS:
        outcome = f"took {took:.0f} s"
    if outcome in ("refused", "read"):
        tally.passed(outcome)
    else:
        tally.failed(f"{at}: {outcome[:300]}")


def _links(path: Path) -> None:
    try:
        links_from(read_legacy(path), (5, 5))
    except (ValueError, TypeError) as error:  # what load_relation turns into a sentence
        raise UserError(str(error)) from None


def _matrix(path: Path) -> None:
    try:
        matrix_from(read_legacy(path), (4, 3))
    except ValueError as error:
        raise UserError(str(error)) from None


def _table(path: Path) -> None:
    try:
        read_matrix(path, "t")
    except (KeyError, ValueError) as error:  # what MARS turns into a sentence
        raise UserError(str(error)) from None


READERS: list[tuple[str, Callable[[Path], Any]]] = [
    ("read_legacy", read_legacy),
    ("links", _links),
    ("matrix", _matrix),
    ("read_file", read_file),
    ("load_run", load_run),
    ("read_relation", read_relation),
    ("load_pseudo_labels", lambda path: load_pseudo_labels(path, ["a"])),
    ("read_keys", read_keys),
    ("MATLAB table", _table),
]


# ------------------------------------------------------------------------------------------- files that run code


def call(name: str, arguments: tuple[Any, ...], protocol: int) -> bytes:
    """A pickle that calls ``module name`` with plain arguments."""
    module, _, function = name.partition(" ")
    tail = pickle.dumps(arguments, protocol=min(protocol, 2))
    tail = tail[2:-1] if tail.startswith(b"\x80") else tail[:-1]
    if protocol >= 4:
        named = b"".join(b"\x8c" + bytes([len(part)]) + part.encode() for part in (module, function)) + b"\x93"
        return b"\x80\x04" + named + tail + b"R."
    return (b"\x80\x02" if protocol >= 2 else b"") + f"c{module}\n{function}\n".encode() + tail + b"R."


def hostile(rng: random.Random, marker: Path) -> bytes:
    """A call in a pickle, alone or inside what looks like a file of ours."""
    name, arguments = rng.choice(COMMANDS)
    inner = call(name, arguments(str(marker)), rng.randrange(5))
    kind = rng.choice(["pickle", "torch zip", "torch legacy", "storage", "npz", "in a list", "build", "ext"])
    if kind == "torch zip":
        return torch_zip(inner)
    if kind == "torch legacy":
        head = b"".join(
            pickle.dumps(part, protocol=2) for part in (0x1950A86A20F9469CFC6C, 1001, {"little_endian": True})
        )
        return head + inner + pickle.dumps([], protocol=2)
    if kind == "storage":
        return call("torch.storage _load_from_bytes", (inner,), 2) if rng.random() < 0.5 else pickle.dumps({0: inner})
    if kind == "npz":
        return npz({"keys": object_array(inner), "labels": np.zeros(1, np.int64)}, {"keys": object_array(inner)})
    if kind == "in a list":
        return b"]" + inner[:-1] + b"a."
    if kind == "build":
        return inner[:-1] + b"}(S'x'\nI1\nub."
    if kind == "ext":
        return b"\x80\x02\x82\x01."
    return inner


def object_array(inner: bytes) -> bytes:
    head = io.BytesIO()
    np.lib.format.write_array_header_1_0(head, {"descr": "|O", "fortran_order": False, "shape": (1,)})
    return head.getvalue() + inner


# ------------------------------------------------------------------------------------- files that grow without end


def torch_zip(data: bytes, storages: dict[str, bytes] | None = None, compression: int = zipfile.ZIP_STORED) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", compression) as archive:
        for name, content in {"data.pkl": data, "version": b"3\n", "byteorder": b"little"}.items():
            archive.writestr(f"archive/{name}", content)
        for key, content in (storages or {}).items():
            archive.writestr(f"archive/data/{key}", content)
    return file.getvalue()


def npz(arrays: dict[str, Any], raw: dict[str, bytes] | None = None) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, array in arrays.items():
            content = (raw or {}).get(name)
            if content is None:
                buffer = io.BytesIO()
                np.lib.format.write_array(buffer, np.asarray(array), allow_pickle=False)
                content = buffer.getvalue()
            archive.writestr(f"{name}.npy", content)
    return file.getvalue()


def either(rng: random.Random, pickled: bytes) -> bytes:
    """A pickle as it is, or as the content of a torch file."""
    return pickled if rng.random() < 0.5 else torch_zip(pickled)


def laughs(rng: random.Random, marker: Path) -> bytes:
    """A container that holds the one before it several times, many times over."""
    opener, closer = rng.choice([(b"]", b"e"), (b"", b"t"), (b"]", b"e")])
    body = b"\x80\x02" + opener + b"(K\x01K\x02" + closer + b"q\x00"
    for level in range(1, rng.randrange(25, 60)):
        body += opener + b"(" + (b"h" + bytes([level - 1])) * rng.randrange(2, 5) + closer + b"q" + bytes([level])
    return either(rng, body + rng.choice([b".", b"K\x01\x86.", b"}q\xff0h\x01."]))


def hashed(rng: random.Random, marker: Path) -> bytes:
    """Such a tuple as the key of a dict or in a set, which hashes it; then thrown away."""
    body = b"\x80\x02K\x01K\x02\x86q\x00"
    for level in range(1, 50):
        body += b"h" + bytes([level - 1]) + b"h" + bytes([level - 1]) + b"\x86q" + bytes([level])
    return either(rng, b"\x80\x02}" + body[2:] + rng.choice([b"K\x01s.", b"K\x01s0K\x01."]))


def late(rng: random.Random, marker: Path) -> bytes:
    """Lists that are filled after they were put into one another."""
    count = 40
    body = b"\x80\x02" + b"".join(b"]q" + bytes([n]) + b"0" for n in range(count))
    for n in range(count - 1):
        body += b"h" + bytes([n]) + b"(" + (b"h" + bytes([n + 1])) * 2 + b"e0"
    return either(rng, body + b"h\x00.")


def cycle(rng: random.Random, marker: Path) -> bytes:
    return either(rng, b"\x80\x02]q\x00h\x00a.")


def deep(rng: random.Random, marker: Path) -> bytes:
    levels = rng.choice([200, 5_000, 100_000])
    opener, closer = rng.choice([(b"]", b"a"), (b"", b"\x85")])
    return either(rng, b"\x80\x02" + opener * levels + b"K\x01" + closer * levels + b".")


def places(rng: random.Random, marker: Path) -> bytes:
    """A place of the memo, or a length, as large as the format can say."""
    huge = rng.choice([1 << 31, (1 << 32) - 1])
    return either(
        rng,
        rng.choice(
            [
                b"\x80\x02K\x01r" + struct.pack("<I", huge) + b".",
                f"I1\np{huge}\n.".encode(),
                b"\x80\x04\x8e" + struct.pack("<Q", 1 << 40) + b"abc.",
                b"\x80\x05\x96" + struct.pack("<Q", 1 << 40) + b"abc.",
                b"\x80\x04\x8d" + struct.pack("<Q", 1 << 62) + b"abc.",
                b"\x80\x02\x8b" + struct.pack("<I", (1 << 31) - 1) + b"\x01.",
                b"\x80\x04\x95" + struct.pack("<Q", 1 << 50) + b"N.",
                b"L" + b"9" * 100_000 + b"L\n.",
            ]
        ),
    )


def calls(rng: random.Random, marker: Path) -> bytes:
    """Admitted functions with arguments that make them take much memory."""
    name, arguments = rng.choice(
        [
            ("builtins bytearray", (1 << 40,)),
            ("torch FloatTensor", (1 << 36,)),
            ("torch Tensor", (1 << 36,)),
            ("torch Size", ([1 << 60] * 9,)),
            ("builtins list", (b"x" * 100_000,)),
            ("numpy dtype", ("V2000000000", False, True)),
            ("numpy dtype", ("U1000000000", False, True)),
            ("_codecs encode", ("x" * 1000, "zlib_codec")),
            ("_codecs encode", ("x" * 100_000, "punycode")),
        ]
    )
    if name == "builtins list":  # one text, copied over and over
        copy = b"cbuiltins\nlist\nh\x00\x85R"
        text = b"B" + struct.pack("<I", 1_000_000) + b"x" * 1_000_000 + b"q\x00"
        return either(rng, b"\x80\x03](" + text + copy * 3_000 + b"e.")
    return either(rng, call(name, arguments, 2))


def tensors(rng: random.Random, marker: Path) -> bytes:
    """Tensors larger than their storage, storages larger than their file, negative sizes, the same bytes many times."""
    size, stride, offset, numel = rng.choice(
        [
            ((1 << 40,), (0,), 0, 4),
            ((1 << 36,), (1,), 0, 4),
            ((-4,), (1,), 0, 4),
            ((4,), (-1,), 3, 4),
            ((2, 2), (1 << 62, 1), 0, 4),
            ((4,), (1,), 1 << 50, 4),
            ((4,), (1,), 0, 1 << 40),
            ((100_000, 100_000), (0, 0), 0, 4),
            ((4,), (1, 1), 0, 4),
        ]
    )
    persistent = pickle.dumps(("storage", "TYPE", "0", "cpu", numel), protocol=2)[2:-1]
    persistent = persistent.replace(b"X\x04\x00\x00\x00TYPE", b"ctorch\nFloatStorage\n") + b"Q"
    rest = b"".join(pickle.dumps(part, protocol=2)[2:-1] for part in (offset, size, stride, False))
    body = b"\x80\x02ctorch._utils\n_rebuild_tensor_v2\n(" + persistent + rest + b"ccollections\nOrderedDict\n)RtR"
    named = b"}X\x01\x00\x00\x00w" + body[2:] + b"s"
    return torch_zip(b"\x80\x02" + named + b".", {"0": bytes(16)})


def archives(rng: random.Random, marker: Path) -> bytes:
    """Archives that unpack to far more than they are, and arrays that say they are large."""
    kind = rng.choice(["torch", "npz", "shape", "table", "json", "nested json"])
    if kind == "torch":
        return torch_zip(pickle.dumps({}, protocol=2), {"0": bytes(3 << 28)}, zipfile.ZIP_DEFLATED)
    if kind == "npz":
        return npz({"keys": np.zeros(3 << 25)})
    if kind == "shape":
        head = io.BytesIO()
        shape = rng.choice([(1 << 40,), (1 << 20, 1 << 20), (-5,), (1 << 70,)])
        np.lib.format.write_array_header_1_0(head, {"descr": "<f8", "fortran_order": False, "shape": shape})
        return npz({"keys": 0}, {"keys": head.getvalue() + bytes(80)})
    if kind == "table":
        packed = zlib.compress(struct.pack("<II", 14, 3 << 28) + bytes(3 << 28))
        return bytes(124) + b"\x00\x01IM" + struct.pack("<II", 15, len(packed)) + packed
    if kind == "json":
        return b"[" * 100_000
    return json.dumps({"rows": ["a"] * 5, "columns": {"rows": []}}).encode()


GROWING: list[Make] = [laughs, hashed, late, cycle, deep, places, calls, tensors, archives, tensors]


# ----------------------------------------------------------------------------------------------- damaged real files


def damaged(rng: random.Random, marker: Path) -> bytes:
    """A good file of some kind with a few bytes changed or lost."""
    content = bytearray(rng.choice(_good_files()))
    for _ in range(rng.choice([1, 1, 2, 8])):
        content[rng.randrange(len(content))] = rng.randrange(256)
    if rng.random() < 0.3:
        del content[rng.randrange(len(content)) :]
    return bytes(content)


def _good_files() -> list[bytes]:
    if not _CACHE:
        matrix = np.random.default_rng(0).random((4, 3), dtype=np.float32)
        for protocol in range(6):
            for thing in (matrix, [{1, 2}, {0}, {0}], OrderedDict({0: [1]}), torch.from_numpy(matrix)):
                _CACHE.append(pickle.dumps(thing, protocol=protocol))
        for zipped in (True, False):
            file = io.BytesIO()
            torch.save({"w": torch.ones(3), "n": np.float64(2)}, file, _use_new_zipfile_serialization=zipped)
            _CACHE.append(file.getvalue())
        _CACHE.append(npz({"keys": np.array(["a", "b"]), "labels": np.array([0, -1]), "meta": np.str_("{}")}))
        _CACHE.append(json.dumps({"rows": ["a", "b"]}).encode())
        number = struct.pack("<IIII", 6, 8, 6, 0) + struct.pack("<IIii", 5, 8, 1, 2) + struct.pack("<HH4s", 1, 1, b"t")
        number += struct.pack("<IIii", 5, 8, 7, 9)
        _CACHE.append(bytes(124) + b"\x00\x01IM" + struct.pack("<II", 14, len(number)) + number)
    return _CACHE


_CACHE: list[bytes] = []
