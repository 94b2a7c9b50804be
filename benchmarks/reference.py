"""Our speed and memory beside the authors', as ratios on one machine.

    python -m benchmarks.reference --reference PATH [--full]

PATH is a checkout of github.com/NUS-HPC-AI-Lab/Neural-Network-Diffusion that you bring. For zoos
of 300 vectors the two sides take turns in one process, so that whatever else the machine does
hurts both: an update of the codec and of the denoiser, a matrix product (the machine's peak), a
batch through a short chain. Each time is the median of the rounds', each ratio the median of the
ratios of two blocks that ran one after the other; below 1 we take less. On a CPU with one thread,
time is that of this process's computing. Training, chains of 1,000 steps and 200 networks are
extrapolated from these times by the published numbers of updates, steps and networks. Peak memory
is the most that a process of its own held beyond what it held before its part was built. Whether
the results are the same: ``python -m benchmarks.fidelity``. ``--full`` adds one trained task:
quality beside time (``benchmarks.quality``). The last line is one JSON object.
"""

import argparse
import json
import math
import multiprocessing
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import torch
from rich.console import Console
from rich.table import Table
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.contest import (
    Clock,
    GenerationTimes,
    OurWork,
    Size,
    TheirWork,
    Work,
    make_zoo,
)
from benchmarks.quality import compare_quality, recipes
from benchmarks.sides import Reference
from paramdiff.device import resolve_device
from paramdiff.errors import UserError
from paramdiff.recipe.schema import Recipe
from paramdiff.runs.stage_log import peak_memory

SIZES = {
    512: Size(512, 128, "main/cifar100_resnet18"),
    2_048: Size(2_048, 128, "main/cifar100_resnet18"),
    10_853: Size(10_853, 256, "full/mnist_cnnmedium"),
}
PRECISIONS = ("bfloat16", "float32")
NUM_NETWORKS, NUM_COMPARED = 200, 40
FEW_STEPS = (50, 20)
MATRIX = 2048
PARTS = ("codec", "denoiser")
MEMORY_UPDATES = 3


@dataclass(frozen=True)
class Blocks:
    """What both sides took, a round at a time.

    Attributes:
        ours: seconds of one unit of work, the median of each of our blocks.
        theirs: the same of the authors', each right beside ours.
    """

    ours: tuple[float, ...]
    theirs: tuple[float, ...]

    @property
    def seconds(self) -> tuple[float, float]:
        """Ours and theirs."""
        return median(self.ours), median(self.theirs)

    @property
    def ratio(self) -> float:
        """Ours over theirs."""
        return median(mine / other for mine, other in zip(self.ours, self.theirs, strict=True))


def take_turns(
    ours: Callable[[], Sequence[float]], theirs: Callable[[], Sequence[float]], rounds: int
) -> Blocks:
    """Run both in turns; who begins changes from round to round.

    Args:
        ours: a block of our work to its units' seconds.
        theirs: the same of the authors'.
        rounds: blocks of each.

    Returns:
        The blocks' medians.
    """
    found: dict[bool, list[float]] = {True: [], False: []}
    for number in range(rounds):
        for is_ours in (True, False) if number % 2 == 0 else (False, True):
            found[is_ours].append(median((ours if is_ours else theirs)()))
    return Blocks(tuple(found[True]), tuple(found[False]))


def training_seconds(codec: float, denoiser: float, recipe: Recipe) -> float:
    """All published updates of codec and denoiser, from the seconds of one of each.

    Args:
        codec: of one update; of the whole fit where the codec is linear.
        denoiser: of one update.
        recipe: how many there are.

    Returns:
        Seconds.
    """
    assert recipe.diffusion is not None
    training = recipe.codec.shared_training
    fitted = 1 if training is None else training.num_updates
    return fitted * codec + recipe.diffusion.training.num_updates * denoiser


def generation_seconds(times: GenerationTimes, num_steps: int) -> float:
    """200 networks by a chain of so many steps, in whole batches."""
    batches = math.ceil(NUM_NETWORKS / times.batch_size)
    return batches * (num_steps * times.evaluation + times.rest)


def share_of_peak(operations: float, seconds: float, peak: float) -> float:
    """The share of a machine's operations per second at which work was done."""
    return operations / seconds / peak


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure every size, then print the table and the JSON object.

    Args:
        arguments: of the command line.

    Returns:
        2 where the checkout is not what it should be, otherwise 0.
    """
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--reference", type=Path, required=True, help="the authors' checkout")
    parser.add_argument(
        "--parameters", type=int, nargs="+", choices=SIZES, default=list(SIZES), help="sizes"
    )
    parser.add_argument("--full", action="store_true", help="quality beside time, on one task")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or mps")
    parser.add_argument("--threads", type=int, default=1, help="of the CPU")
    parser.add_argument("--rounds", type=int, default=3, help="blocks of each side")
    options = parser.parse_args(arguments)
    torch.set_num_threads(options.threads)
    try:
        reference, device = Reference(options.reference), resolve_device(options.device)
    except UserError as error:
        print(error, file=sys.stderr)
        return 2
    clock = Clock(device, options.threads)
    found: dict[str, Any] = {"device": device.type, "threads": options.threads, "sizes": []}
    for size in (SIZES[number] for number in options.parameters):
        for precision in PRECISIONS:
            one = measure(size, precision, reference, clock, options.rounds)
            if precision == PRECISIONS[0]:
                one["peak_memory_mb"] = memory(size, precision, reference.root, device.type)
            found["sizes"].append(one)
            show(one)
    if options.full:
        found["quality"] = compare_quality(*recipes(), reference, clock, NUM_COMPARED)
    print(json.dumps(found))
    return 0


def measure(
    size: Size, precision: str, reference: Reference, clock: Clock, rounds: int
) -> dict[str, Any]:
    """One size in one precision.

    Args:
        size: how many parameters.
        precision: of both sides' forward passes in training.
        reference: the authors' modules.
        clock: what time is.
        rounds: blocks of each side.

    Returns:
        Seconds, ratios and shares of the peak, by name.
    """
    vectors, space = make_zoo(size)
    recipe, default = (size.settings(preset, precision) for preset in ("paper", "default"))
    ours, ours_default = (OurWork(vectors, one, clock, space) for one in (recipe, default))
    theirs = TheirWork(vectors, recipe, clock, reference)
    count = 3 if size.num_parameters < 10_000 else 1
    operations = _operations(theirs)
    peaks: list[float] = []

    def after_peak(block: Callable[[int], list[float]]) -> Callable[[], list[float]]:
        def measured() -> list[float]:
            peaks.append(_matrix_peak(clock, precision))
            return block(count)

        return measured

    steps = {
        "codec": take_turns(after_peak(ours.train_codec), after_peak(theirs.train_codec), rounds),
        "denoiser": take_turns(
            after_peak(ours.train_denoiser), after_peak(theirs.train_denoiser), rounds
        ),
    }
    peak = median(peaks)
    result: dict[str, Any] = {
        "parameters": size.num_parameters,
        "precision": precision,
        "peak_gflops": peak / 1e9,
    }
    for part, blocks in steps.items():
        mine, other = blocks.seconds
        result[f"{part}_update"] = {
            **{"ours": mine, "theirs": other, "ratio": blocks.ratio},
            "share_of_peak": [share_of_peak(operations[part], s, peak) for s in (mine, other)],
        }
    trained = [
        training_seconds(codec, denoiser, recipe)
        for codec, denoiser in zip(steps["codec"].seconds, steps["denoiser"].seconds, strict=True)
    ]
    default_trained = training_seconds(
        median(ours_default.train_codec(1)), median(ours_default.train_denoiser(20)), default
    )
    result |= _whole(ours, theirs, ours_default, trained, default_trained, rounds)
    return result


def _whole(
    ours: OurWork,
    theirs: TheirWork,
    ours_default: OurWork,
    trained: Sequence[float],
    default_trained: float,
    rounds: int,
) -> dict[str, Any]:
    """Extrapolated: training both parts, generating 200, and one after the other."""
    their_times = [theirs.generate() for _ in range(3 * rounds)]
    our_times = [ours.generate() for _ in range(rounds)]
    default_times = [ours_default.generate() for _ in range(rounds)]
    recipe, default = ours.recipe.generation, ours_default.recipe.generation
    generated = {
        "theirs": _typical(their_times, recipe.num_steps),
        "ours": _typical(our_times, recipe.num_steps),
        **{f"ours, {steps} steps": _typical(our_times, steps) for steps in FEW_STEPS},
        "default": _typical(default_times, default.num_steps),
    }
    training = {"theirs": trained[1], "ours": trained[0], "default": default_trained}
    whole = {
        side: training["ours" if side.startswith("ours") else side] + seconds
        for side, seconds in generated.items()
    }
    return {"training": training, "generating_200": generated, "zoo_to_200": whole}


def _typical(times: Sequence[GenerationTimes], num_steps: int) -> float:
    return median(generation_seconds(one, num_steps) for one in times)


def _operations(work: TheirWork) -> dict[str, float]:
    """Floating-point operations of one update of each part, of the same network on both sides."""
    counted = {}
    for part, block in (("codec", work.train_codec), ("denoiser", work.train_denoiser)):
        with FlopCounterMode(display=False) as counter:
            block(0)
        counted[part] = float(counter.get_total_flops())
    return counted


def _matrix_peak(clock: Clock, precision: str) -> float:
    """Operations per second of a product of two square matrices."""
    dtype = {"bfloat16": torch.bfloat16, "float32": torch.float32}[precision]
    a, b = (torch.ones(MATRIX, MATRIX, dtype=dtype, device=clock.device) for _ in range(2))
    a @ b
    start = clock.now()
    a @ b
    return 2 * MATRIX**3 / (clock.now() - start)


def memory(size: Size, precision: str, root: Path, device: str) -> dict[str, dict[str, float]]:
    """Peak memory of training each part, in MB above the start, each in a process of its own.

    Args:
        size: how many parameters.
        precision: of the forward passes.
        root: the authors' checkout.
        device: where to train.

    Returns:
        Part to side to MB.
    """
    found: dict[str, dict[str, float]] = {}
    for part in PARTS:
        found[part] = {}
        for side in ("ours", "theirs"):
            with multiprocessing.get_context("spawn").Pool(1) as pool:
                given = (part, side, size, precision, root, device)
                found[part][side] = pool.apply(_peak_memory, given)
    return found


def _peak_memory(
    part: str, side: str, size: Size, precision: str, root: Path, device: str
) -> float:
    torch.set_num_threads(1)
    clock = Clock(torch.device(device), 1)
    (vectors, space), recipe = make_zoo(size), size.settings("paper", precision)
    reference = Reference(root)
    if device == "cuda":
        torch.cuda.init()  # from now on the device's memory is told, not the program's
    before = peak_memory()
    work: Work
    if side == "ours":
        work = OurWork(vectors, recipe, clock, space)
    else:
        work = TheirWork(vectors, recipe, clock, reference)
    (work.train_codec if part == "codec" else work.train_denoiser)(MEMORY_UPDATES - 1)
    return round(peak_memory() - before, 1)


def show(one: dict[str, Any]) -> None:
    """Print what was measured of one size in one precision."""
    table = Table(title=f"{one['parameters']:,} parameters, {one['precision']}")
    for heading in ("what", "ours", "theirs", "ours / theirs"):
        table.add_column(heading, justify="left" if heading == "what" else "right")
    for part in PARTS:
        step = one[f"{part}_update"]
        mine, other = (f"{1e3 * step[side]:,.0f} ms" for side in ("ours", "theirs"))
        table.add_row(f"update of the {part}", mine, other, f"{step['ratio']:.2f}")
        shares = (f"{100 * share:.0f} %" for share in step["share_of_peak"])
        table.add_row("  share of the matrix product's peak", *shares, "")
    for name, row in (
        ("training both", one["training"]),
        ("generating 200", one["generating_200"]),
        ("zoo to 200", one["zoo_to_200"]),
    ):
        for side in (side for side in row if side != "theirs"):
            shown = [f"{row[s]:,.1f} s" for s in (side, "theirs")]
            table.add_row(f"{name}: {side}", *shown, f"1 / {row['theirs'] / row[side]:,.1f}")
    for part, sides in one.get("peak_memory_mb", {}).items():
        shown = [f"{sides[side]:,.0f} MB" for side in ("ours", "theirs")]
        table.add_row(f"memory: {part}", *shown, f"{sides['ours'] / sides['theirs']:.2f}")
    Console(width=110).print(table)


if __name__ == "__main__":
    sys.exit(main())
