"""All that an accelerator must show, in one go: ``python -m benchmarks.gpu --minutes 8``.

Takes whatever accelerator is there (``--device cuda``, ``mps`` or ``cpu`` insists) and runs the
parts of ``benchmarks.gpu_parts`` one after the other, each in a process of its own: the suite's
device tests, the paper's autoencoder and denoiser, sampling, the scoring of a ResNet-18 zoo, and a
whole run of a ``main/`` recipe on synthetic data. What the device computes is compared with the
CPU's within a stated tolerance. ``--reference PATH`` times the authors' code beside ours, from a
checkout of github.com/NUS-HPC-AI-Lab/Neural-Network-Diffusion that you bring.

Each part ends by itself within its share of the time; what it leaves is the next one's. One that
does not is ended, and what it had found by then counts. Results are written to ``--out`` as they
come. At the end stand one table and, as the last line, one JSON object. The exit code is 1 where
a part failed or was ended, or the device disagrees with the CPU.

From a plain checkout nothing needs to be installed but libraries. Where torch, torchvision, timm
and scikit-learn (with numpy and scipy) are there and nothing can be fetched, bring the others as
wheels: accelerate, annotated-types, diffusers, filelock, huggingface-hub, importlib-metadata,
Jinja2, lightning-utilities, matplotlib, psutil, pydantic, pydantic-core, pytest, PyYAML, regex,
requests, rich, safetensors, torchmetrics, typer, typing-extensions, typing-inspection, zipp, and
what these need in turn.
"""

import argparse
import json
import os
import platform
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
PROGRAM = (sys.executable, "-m", "benchmarks.gpu_parts")
WEIGHTS = {"tests": 3, "codec": 2, "denoiser": 2, "sampling": 2, "scoring": 2, "run": 5}
"""The parts in their order, and the share of the time that each may take."""
OWN_SHARE = 0.85
"""Of its time that a part plans with; the rest is for what it cannot foresee."""


@dataclass(frozen=True)
class Outcome:
    """What became of a part.

    Attributes:
        status: ``ended``, ``ended before its end`` or ``failed``.
        seconds: that it took.
        seconds_given: that it could take.
        rows: its results.
        told: the last lines that a failed part printed.
    """

    status: str
    seconds: float
    seconds_given: float
    rows: list[dict[str, Any]] = field(default_factory=list)
    told: str = ""

    @property
    def agrees(self) -> bool:
        """Whether it came to its end, and the device agrees with the CPU wherever compared."""
        return self.status == "ended" and all(row["agrees"] is not False for row in self.rows)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the parts, then print the table and the JSON object.

    Args:
        arguments: of the command line.

    Returns:
        0 where every part ended and agrees, 1 where one does not, 2 for a wrong command.
    """
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--minutes", type=float, default=8.0, help="for all parts together")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or mps")
    parser.add_argument("--reference", type=Path, help="the authors' checkout")
    parser.add_argument("--out", type=Path, help="folder of the results; none: a temporary one")
    parser.add_argument(
        "--only", nargs="+", choices=WEIGHTS, default=list(WEIGHTS), metavar="PART"
    )
    parser.add_argument("--tiny", action="store_true", help="sizes that only show that it runs")
    options = parser.parse_args(arguments)
    _find_own_code()
    from paramdiff.device import resolve_device
    from paramdiff.errors import UserError

    try:
        device = resolve_device(options.device)
        if options.reference is not None:
            from benchmarks.sides import Reference

            Reference(options.reference)
    except UserError as error:
        print(error, file=sys.stderr)
        return 2
    facts = machine(device.type)
    print(json.dumps(facts), flush=True)
    given = ["--device", device.type, *(["--tiny"] if options.tiny else [])]
    if options.reference is not None:
        given += ["--reference", str(options.reference.resolve())]
    with _folder(options.out) as folder:
        outcomes = run_parts(options.only, 60 * options.minutes, folder, given)
        agrees = all(outcome.agrees for outcome in outcomes.values())
        found = {
            **facts,
            "minutes": options.minutes,
            "agrees": agrees,
            "parts": {
                name: {**vars(outcome), "agrees": outcome.agrees}
                for name, outcome in outcomes.items()
            },
        }
        line = json.dumps(found)
        (folder / "gpu.json").write_text(line + "\n", encoding="utf-8")
    show(outcomes, device.type)
    print(line, flush=True)
    return 0 if agrees else 1


def run_parts(
    names: Sequence[str], seconds: float, folder: Path, given: Sequence[str]
) -> dict[str, Outcome]:
    """Run parts one after the other, and print the results of each as they come.

    Args:
        names: which, in the order of ``WEIGHTS``.
        seconds: for all together.
        folder: where each writes its results.
        given: further arguments of every part.

    Returns:
        What became of each.
    """
    end, outcomes = time.monotonic() + seconds, {}
    names = [name for name in WEIGHTS if name in names]
    for place, name in enumerate(names):
        weights = [WEIGHTS[one] for one in names[place:]]
        left = max(0.0, end - time.monotonic())
        outcome = run_part(name, left * weights[0] / sum(weights), folder, given)
        print(f"{name}: {outcome.status} after {outcome.seconds:.0f} s", flush=True)
        if outcome.told:
            print(outcome.told, flush=True)
        outcomes[name] = outcome
    return outcomes


def run_part(name: str, seconds: float, folder: Path, given: Sequence[str]) -> Outcome:
    """Run one part in a process of its own, and end it where its time is over.

    Args:
        name: which.
        seconds: that it may take.
        folder: where it writes its results: rows of JSON in ``NAME.jsonl``, the rest in
            ``NAME.txt``.
        given: further arguments.

    Returns:
        What became of it.
    """
    started, results, said = time.monotonic(), folder / f"{name}.jsonl", folder / f"{name}.txt"
    results.write_text("", encoding="utf-8")
    command = [*PROGRAM, name, "--results", str(results)]
    command += ["--seconds", str(OWN_SHARE * seconds), *given]
    with said.open("w", encoding="utf-8") as stream:
        part = subprocess.Popen(
            command,
            stdout=stream,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # so that what it starts is ended with it
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": _python_path()},
        )
        shown, code = 0, None
        while code is None:
            code = part.poll()
            rows = _rows(results)
            for row in rows[shown:]:
                print(f"  {name}: {json.dumps(row)}", flush=True)
            shown = len(rows)
            if code is None and time.monotonic() - started > seconds:
                os.killpg(part.pid, signal.SIGKILL)
                part.wait()
                break
            time.sleep(0.1)
    status = {None: "ended before its end", 0: "ended"}.get(code, "failed")
    told = said.read_text(encoding="utf-8", errors="replace").strip().splitlines()
    return Outcome(
        status,
        round(time.monotonic() - started, 1),
        round(seconds, 1),
        _rows(results),
        "\n".join(told[-15:]) if status != "ended" else "",
    )


def machine(device: str) -> dict[str, Any]:
    """What the results hold for: the device, the CPU and the versions."""
    import torch

    names = {"cuda": torch.cuda.get_device_name} if torch.cuda.is_available() else {}
    return {
        "device": device,
        "device_name": names[device]() if device in names else platform.machine(),
        "cpu_threads": torch.get_num_threads(),
        "python": platform.python_version(),
        "torch": torch.__version__,
    }


def show(outcomes: dict[str, Outcome], device: str) -> None:
    """Print all results in one table."""
    from rich.console import Console
    from rich.table import Table

    table = Table(title=f"{device} beside the CPU")
    for heading in ("part", "what", "unit", device, "CPU", "theirs", "difference", "at most", ""):
        is_text = heading in ("part", "what", "unit")
        table.add_column(heading, justify="left" if is_text else "right", overflow="fold")
    for name, outcome in outcomes.items():
        for row in outcome.rows:
            numbers = (row[k] for k in ("device", "cpu", "theirs", "difference", "tolerance"))
            shown = ["" if number is None else f"{number:,.4g}" for number in numbers]
            verdict = {None: "", True: "agrees", False: "DIFFERS"}[row["agrees"]]
            table.add_row(name, row["what"], row["unit"], *shown, verdict)
        if outcome.status != "ended":
            table.add_row(name, outcome.status.upper())
    Console(width=140).print(table)


def _rows(results: Path) -> list[dict[str, Any]]:
    """The whole lines of a part's results."""
    text = results.read_text(encoding="utf-8")
    return [json.loads(line) for line in text[: text.rfind("\n") + 1].splitlines()]


def _python_path() -> str:
    before = os.environ.get("PYTHONPATH")
    return os.pathsep.join([str(ROOT / "src"), str(ROOT), *([before] if before else [])])


def _find_own_code() -> None:
    """A checkout need not be installed."""
    if str(ROOT / "src") not in sys.path:
        sys.path.insert(0, str(ROOT / "src"))


@contextmanager
def _folder(out: Path | None) -> Iterator[Path]:
    if out is None:
        with TemporaryDirectory() as folder:
            yield Path(folder)
    else:
        out.mkdir(parents=True, exist_ok=True)
        yield out.resolve()


if __name__ == "__main__":
    sys.exit(main())
