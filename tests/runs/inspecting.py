"""What a run has left in its folder."""

import json

from paramdiff.commands.compare import compare


def files_of(folder):
    return sorted(str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file())


def times_of(folder, *but):
    return {
        name: (folder / name).stat().st_mtime_ns for name in files_of(folder) if name not in but
    }


def log_of(folder):
    return {
        record["stage"]: record
        for record in map(json.loads, (folder / "log.jsonl").read_text().splitlines())
    }


def numbers_in(value):
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list):
        return [number for item in value for number in numbers_in(item)]
    return [value] if isinstance(value, float) else []


def judged_folders(originals, generated, task, out):
    """What ``paramdiff compare`` finds of two folders, all tensors compared."""
    return compare(originals, out, generated=generated, task=task, num_held_out=0, device="cpu")
