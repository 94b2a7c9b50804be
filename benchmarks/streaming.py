"""More checkpoints than memory: inspecting them, and fitting a generator to a part of each.

``python -m benchmarks.streaming [--out DIR] [--num-checkpoints 300]``

Writes checkpoints of a ResNet-18 (11.7 million parameters, 47 MB each, 14 GB in all) that differ
in three convolutions of 110,592 parameters, then runs ``paramdiff inspect`` and ``paramdiff fit
--select`` on them, each in a process of its own, and tells how long each took and the most memory
that it held. What does not differ between the files is zero and lies in holes of sparse files, so
that the disk needs a hundredth of the space; every byte is read all the same. The last line is one
JSON object.
"""

import argparse
import json
import tempfile
from collections.abc import Sequence
from pathlib import Path

import torch
import torchvision

from benchmarks.resident import measured

WANTED_MB = 2000
VARYING = ("layer1.0.conv1.weight", "layer1.0.conv2.weight", "layer1.1.conv1.weight")


def write_checkpoints(folder: Path, num: int) -> int:
    """Write the files; returns how many bytes they have."""
    folder.mkdir(parents=True)
    network = torchvision.models.resnet18(weights=None)
    shapes = {name: tuple(t.shape) for name, t in network.state_dict().items() if t.dim()}
    ordered = [*VARYING, *(name for name in shapes if name not in VARYING)]
    header, offset = {}, 0
    for name in ordered:
        size = 4 * torch.Size(shapes[name]).numel()
        header[name] = {
            "dtype": "F32",
            "shape": shapes[name],
            "data_offsets": [offset, offset + size],
        }
        offset += size
    text = json.dumps(header).encode()
    walk = torch.randn(sum(torch.Size(shapes[name]).numel() for name in VARYING)) * 0.05
    for number in range(num):
        walk += torch.randn_like(walk) * 0.005
        with (folder / f"step{number:04d}.safetensors").open("wb") as file:
            file.write(len(text).to_bytes(8, "little") + text)
            file.write(walk.numpy().tobytes())
            file.truncate(8 + len(text) + offset)
    return num * (8 + len(text) + offset)


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, help="where to write; a temporary folder by default")
    parser.add_argument("--num-checkpoints", type=int, default=300)
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as scratch:
        root = options.out or Path(scratch)
        num_bytes = write_checkpoints(root / "checkpoints", options.num_checkpoints)
        found: dict[str, object] = {"checkpoints": options.num_checkpoints, "bytes": num_bytes}
        found["inspect"] = measured("inspect", str(root / "checkpoints"))
        selecting = [part for name in VARYING for part in ("--select", name)]
        found["fit"] = measured(
            "fit",
            str(root / "checkpoints"),
            *selecting,
            "--num-samples",
            "2",
            "--out",
            str(root / "run"),
        )
        found["limit_mb"] = WANTED_MB
        print(json.dumps(found))


if __name__ == "__main__":
    main()
