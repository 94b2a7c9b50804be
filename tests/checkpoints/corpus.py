"""Damaged and hostile checkpoint files, by what is wrong with them.

``structural`` damage must be refused; ``payload`` damage cannot be told from data and must load,
with a warning where it shows; of ``random`` damage either may come.
"""

import io
import json
import os
import pickle
import random
import struct
import subprocess
import warnings
import zipfile

import torch

from tests.checkpoints.checkpoint_files import STATE, Call, valid_bytes

KINDS = {"safetensors": ".safetensors", "zip": ".pt", "legacy": ".bin"}


def torch_bytes(content, zipped=True):
    stream = io.BytesIO()
    torch.save(content, stream, _use_new_zipfile_serialization=zipped)
    return stream.getvalue()


def safetensors_bytes(header, data=bytes(64), size=None):
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text) if size is None else size) + text + data


def tensor(shape=(4,), offsets=(0, 16), dtype="F32"):
    return {"dtype": dtype, "shape": list(shape), "data_offsets": list(offsets)}


def truncated():
    for kind, suffix in KINDS.items():
        data = valid_bytes(kind)
        for share in (0.02, 0.05, 0.1, 0.2, 0.3, 0.45, 0.6, 0.75, 0.9, 0.97, 0.995):
            yield f"truncated-{kind}-{share}{suffix}", data[: int(len(data) * share)]


def other_formats():
    for number, content in enumerate(
        (
            b"",
            b"\x00",
            b"hello\n" * 50,
            b"{}",
            b"<html></html>",
            b"\x89PNG\r\n\x1a\n" + bytes(99),
            b"\x93NUMPY\x01\x00v\x00",
            b"\x89HDF\r\n\x1a\n" + bytes(99),
            b"ustar" + bytes(600),
            b"GGUF" + bytes(99),
            b"PK\x05\x06" + bytes(18),
            b"\x80\x02.",
            b"\x80\x04N.",
            b"\xff" * 200,
        )
    ):
        for suffix in (".safetensors", ".pt"):
            yield f"other-{number}{suffix}", content


def absurd_headers():
    huge = 2**62
    headers = {
        "length-huge": safetensors_bytes(b"{}", size=huge),
        "length-past-the-end": safetensors_bytes(b"{}", size=10_000),
        "length-zero": safetensors_bytes(b"", data=b""),
        "not-json": safetensors_bytes(b"{" * 64),
        "deep-json": safetensors_bytes(b"[" * 100_000),
        "list": safetensors_bytes(b"[1, 2]"),
        "no-offsets": safetensors_bytes({"a": {"dtype": "F32", "shape": [4]}}),
        "negative": safetensors_bytes({"a": tensor(shape=(-4,))}),
        "fraction": safetensors_bytes({"a": tensor(shape=(1.5,))}),
        "shape-huge": safetensors_bytes({"a": tensor(shape=(huge, huge))}),
        "shape-large": safetensors_bytes({"a": tensor(shape=(10**12,))}),
        "offsets-past-the-end": safetensors_bytes({"a": tensor(offsets=(0, 10**9))}),
        "offsets-backwards": safetensors_bytes({"a": tensor(offsets=(16, 0))}),
        "hole": safetensors_bytes({"a": tensor(offsets=(8, 24))}),
        "overlap": safetensors_bytes(
            {"a": tensor(), "b": tensor(offsets=(8, 24))}, data=bytes(24)
        ),
        "surplus": safetensors_bytes({"a": tensor()}, data=bytes(4000)),
        "unknown-type": safetensors_bytes({"a": tensor(dtype="F1024")}),
        "type-is-a-number": safetensors_bytes({"a": tensor() | {"dtype": 7}}),
        "nothing": safetensors_bytes({}, data=b""),
        "giant": safetensors_bytes(json.dumps({"a": tensor()}).encode() + b" " * (9 << 20)),
    }
    for name, content in headers.items():
        yield f"header-{name}.safetensors", content


def ambiguous():
    """Files that two readers would read differently."""
    one = json.dumps(tensor())
    twice = {
        "tensor": f'{{"a": {one}, "a": {one}}}',
        "metadata": f'{{"__metadata__": {{"k": "1", "k": "2"}}, "a": {one}}}',
        "shape": f'{{"a": {one[:-1]}, "shape": [4]}}}}',
    }
    for name, header in twice.items():
        yield f"twice-{name}.safetensors", safetensors_bytes(header.encode(), bytes(16))
    for name in ("data.pkl", "data/0", "version"):
        data = entries_of_zip()
        stream = io.BytesIO()
        with warnings.catch_warnings(), zipfile.ZipFile(stream, "w") as file:
            warnings.simplefilter("ignore")
            for entry, content in [*data.items(), (f"archive/{name}", data[f"archive/{name}"])]:
                file.writestr(entry, content)
        yield f"twice-{name.replace('/', '-')}.pt", stream.getvalue()


def traversing():
    """Archives with entries that lead elsewhere."""
    for number, name in enumerate(
        ("../evil", "archive/../../evil", "/etc/evil", "..", "archive\\..\\evil", "archive/..")
    ):
        data = entries_of_zip()
        for place, content in {"more": data | {name: b"evil"}, "only": {name: b"evil"}}.items():
            stream = io.BytesIO()
            with zipfile.ZipFile(stream, "w") as file:
                for entry, inside in content.items():
                    file.writestr(entry, inside)
            yield f"traversing-{number}-{place}.pt", stream.getvalue()


def entries_of_zip():
    """Of a whole checkpoint, under the name that torch gives to what has none."""
    with zipfile.ZipFile(io.BytesIO(valid_bytes("zip"))) as source:
        return {name: source.read(name) for name in source.namelist()}


def bombs():
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("archive/data.pkl", bytes(1 << 28))
    yield "bomb-deflated-pickle.pt", stream.getvalue()
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as file:
        for name, data in entries_of_zip().items():
            file.writestr(name, data + bytes(1 << 27) if name.endswith("/0") else data)
    yield "bomb-deflated-storage.pt", stream.getvalue()
    for zipped in (True, False):
        suffix = "zip" if zipped else "legacy"
        wide = torch.ones(1).expand(10**6, 10**6)
        yield f"bomb-stride-0-{suffix}.pt", torch_bytes({"a": wide}, zipped)
        shared = {f"a{number}": torch.ones(4000) for number in range(2)}
        shared |= {f"b{number}": shared["a0"] for number in range(3000)}
        yield f"bomb-shared-{suffix}.pt", torch_bytes(shared, zipped)
        yield f"bomb-bytearray-{suffix}.pt", torch_bytes({"a": Call(bytearray, 10**10)}, zipped)
        sparse = torch.sparse_coo_tensor(size=(10**9, 10**9), check_invariants=True)
        yield f"bomb-sparse-{suffix}.pt", torch_bytes({"a": sparse}, zipped)
        nested = []
        for _ in range(60):
            nested = [nested, nested]
        yield f"bomb-nested-{suffix}.pt", torch_bytes({"a": nested}, zipped)


def commands(marker):
    """Pickles that an ordinary reader would let touch the marker."""
    touch = f"touch {marker}"
    code = f"open({str(marker)!r}, 'w').close()"
    calls = {
        "os.system": Call(os.system, touch),
        "os.popen": Call(os.popen, touch),
        "subprocess.call": Call(subprocess.call, ["touch", str(marker)]),
        "subprocess.Popen": Call(subprocess.Popen, ["touch", str(marker)]),
        "eval": Call(eval, code),
        "exec": Call(exec, code),
        "open": Call(open, str(marker), "w"),
        "os.mkdir": Call(os.mkdir, str(marker)),
        "getattr": Call(getattr, os, "system"),
        "torch.load": Call(torch.load, str(marker)),
        "pickle.loads": Call(pickle.loads, pickle.dumps(Call(os.system, touch))),
        "os.putenv": Call(os.putenv, "PARAMDIFF_MARKER", "1"),
    }
    for name, call in calls.items():
        places = {
            "whole": call,
            "leaf": {**STATE, "x": call},
            "beside": {"model": STATE, "x": call},
        }
        for place, content in places.items():
            for zipped in (True, False):
                try:
                    data = torch_bytes(content, zipped)
                except TypeError:  # modules cannot be pickled
                    continue
                yield f"command-{name}-{place}-{zipped}.pt", data
        for protocol in (0, 2, 4, 5):
            try:
                yield f"command-{name}-bare-{protocol}.bin", pickle.dumps(call, protocol)
            except TypeError:
                continue


def odd_contents():
    contents = {
        "list": [torch.ones(2)],
        "number": 3,
        "tensor": torch.ones(2),
        "empty": {},
        "no-tensors": {"epoch": 3},
        "numbers-as-names": {1: torch.ones(2)},
        "newline-in-name": {"a\nb": torch.ones(2)},
        "escape-in-name": {"\x1b[31m": torch.ones(2)},
        "two-state-dicts": {"model": STATE, "ema": STATE},
        "meta": {"a": torch.empty(3, device="meta")},
        "text-among-tensors": {**STATE, "x": "text"},
    }
    for name, content in contents.items():
        for zipped in (True, False):
            yield f"odd-{name}-{zipped}.pt", torch_bytes(content, zipped)


def flipped_structure(num=60):
    """A bit of a header, a pickle or a directory, which may or may not matter."""
    draw = random.Random(0)
    for number in range(num):
        kind = list(KINDS)[number % 3]
        data = bytearray(valid_bytes(kind))
        end = 8 + int.from_bytes(data[:8], "little") if kind == "safetensors" else len(data)
        data[draw.randrange(end)] ^= 1 << draw.randrange(8)
        yield f"flipped-{kind}-{number}{KINDS[kind]}", bytes(data)


def broken_payloads():
    """Whole files with values that nobody wants; what should be said about each."""
    usual = torch.linspace(-1, 1, 64)
    for name, value, told in (
        ("nan", torch.nan, "NaN or infinite"),
        ("infinity", torch.inf, "NaN or infinite"),
        ("outlier", 1e30, "over a million times"),
    ):
        values = usual.clone()
        values[5] = value
        for suffix in (".pt", ".safetensors"):
            yield f"payload-{name}{suffix}", {"a": values}, told
    yield "payload-duplicate.pt", {"a": usual}, "tensors equal another's"
    yield "payload-one-bit.pt", {"a": usual + torch.eye(64)[9] * 1e-7}, None


def structural(marker):
    """All files that must be refused: name and bytes."""
    families = (truncated, other_formats, absurd_headers, ambiguous, traversing, bombs)
    for family in (*families, odd_contents):
        yield from family()
    yield from commands(marker)
