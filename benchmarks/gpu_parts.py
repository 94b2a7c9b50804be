"""The parts of ``benchmarks.gpu``: ``python -m benchmarks.gpu_parts NAME --results FILE``.

Each row of results is written when it is known.
"""

import argparse
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median

import torch
from torch import Tensor

from benchmarks.contest import OurWork, TheirWork, Work, make_zoo
from benchmarks.gpu_run import whole_run
from benchmarks.gpu_setting import (
    CPU,
    LABEL_TOLERANCE,
    LOSS_TOLERANCE,
    VALUE_TOLERANCE,
    Row,
    Setting,
    full_float32,
)
from benchmarks.reference import NUM_NETWORKS, PRECISIONS, generation_seconds
from benchmarks.scoring import CASES, plain_labels
from benchmarks.sides import Reference
from paramdiff.codecs.registry import fit_codec
from paramdiff.diffusion.training import train_denoiser
from paramdiff.scoring.predict import Scorer

NUM_UPDATES = {False: 10, True: 3}
"""Whose losses are compared; by whether sizes are tiny."""
NUM_TIMED = {False: 20, True: 2}
"""Updates on the device; on a CPU of full size, two."""
NUM_STEPS = 20


def tests(setting: Setting) -> None:
    """The suite's device tests, on the device."""
    root = Path(__file__).resolve().parents[1]
    ini = setting.results.with_suffix(".ini")  # the project's asks for plugins
    ini.write_text("[pytest]\n", encoding="utf-8")
    command = [sys.executable, "-m", "pytest", "-q", "-c", str(ini), "--rootdir", str(root)]
    command += ["-p", "no:cacheprovider", "-k", setting.device.type, "tests/test_devices.py"]
    xml = setting.results.with_suffix(".xml")
    command += ["--junit-xml", str(xml)]
    done = subprocess.run(command, cwd=root, timeout=max(1.0, setting.seconds_left))
    if done.returncode not in (0, 1):
        raise RuntimeError(f"pytest ended with code {done.returncode}")
    counts = _counts(xml.read_text(encoding="utf-8"))
    num_failed = counts["failures"] + counts["errors"]
    passed = counts["tests"] - num_failed - counts["skipped"]
    setting.note(Row("passed; failed", "tests", passed, None, None, num_failed, 0))
    if not passed:
        raise RuntimeError("no device test ran")


def codec(setting: Setting) -> None:
    """The paper's autoencoder: losses, and an update's time."""
    vectors, _ = make_zoo(setting.size)
    settings = setting.size.settings("paper", "float32").codec
    training = settings.training.model_copy(
        update={"num_steps": NUM_UPDATES[setting.is_tiny], "extra_updates": 0}
    )
    settings = settings.model_copy(update={"training": training})

    def losses(device: torch.device) -> Tensor:
        return torch.tensor(fit_codec(vectors, settings, seed=0, device=device)[1].losses)

    _compare_losses(setting, losses)
    _time_updates(setting, lambda work, count: work.train_codec(count))


def denoiser(setting: Setting) -> None:
    """The paper's denoiser: losses, and an update's time."""
    size = setting.size
    settings = size.settings("paper", "float32").diffusion
    assert settings is not None
    training = settings.training.model_copy(
        update={"num_steps": NUM_UPDATES[setting.is_tiny], "extra_updates": 0}
    )
    settings = settings.model_copy(update={"training": training})
    latents = torch.randn(300, size.latent_dim, generator=torch.Generator().manual_seed(0))

    def batch(number: int, generator: torch.Generator) -> Tensor:
        return latents[torch.randint(len(latents), (number,), generator=generator)]

    def losses(device: torch.device) -> Tensor:
        found = train_denoiser(batch, size.latent_dim, settings, seed=0, device=device)
        return torch.tensor(found[1].losses)

    _compare_losses(setting, losses)
    _time_updates(setting, lambda work, count: work.train_denoiser(count))


def sampling(setting: Setting) -> None:
    """Networks from seeds: their parameters, and what 200 of them take."""
    vectors, space = make_zoo(setting.size)

    def work(device: torch.device, preset: str) -> OurWork:
        torch.manual_seed(0)
        recipe = setting.size.settings(preset, "float32")
        made = OurWork(vectors, recipe, setting.clock(device), space)
        made.codec, made.denoiser  # noqa: B018  # drawn now, the same for every device
        return made

    for preset in ("paper", "default"):
        for solver in ("ddpm", "dpmsolver++"):
            setting.demand_time()
            with full_float32():
                found = {
                    device: work(device, preset)
                    .pipeline(solver)(range(8), num_inference_steps=NUM_STEPS, batch_size=8)
                    .vectors
                    for device in (setting.device, CPU)
                }
            setting.note(
                Row(
                    f"parameters, {preset} preset, {NUM_STEPS} steps of {solver}",
                    "standard deviations",
                    difference=_difference(found[setting.device], found[CPU]),
                    tolerance=VALUE_TOLERANCE,
                )
            )
    theirs = None
    setting.demand_time()
    if setting.reference is not None:
        recipe, clock = setting.size.settings("paper", "float32"), setting.clock(setting.device)
        their_work = TheirWork(vectors, recipe, clock, setting.reference)
        theirs = _seconds_of_200(their_work)
    for preset in ("paper", "default"):
        setting.demand_time()
        numbers = [_seconds_of_200(work(device, preset)) for device in setting.devices]
        what = f"{NUM_NETWORKS} networks, {preset} preset, extrapolated from a short chain"
        setting.note(_time_row(what, "s", numbers, theirs if preset == "paper" else None))


def scoring(setting: Setting) -> None:
    """A ResNet-18 zoo: logits and labels, and a network's time."""
    case = CASES["resnet18_usual_stem_last_two_norms"]
    torch.manual_seed(0)
    network = case.build().eval()
    base = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    names = case.names(network)
    inputs = torch.randn(40 if setting.is_tiny else case.shape[0], *case.shape[1:])
    num_sets, num_compared = (3, 2) if setting.is_tiny else (200, 10)
    sets = [
        {name: base[name] * (1 + 0.1 * torch.randn_like(base[name])) for name in names}
        for _ in range(num_sets)
    ]
    some = sets[:num_compared]
    with full_float32():
        scorers = {
            device: Scorer(network, base, names, inputs, device=device)
            for device in (setting.device, CPU)
        }
        logits = {device: scorer.logits(sets[0]).cpu() for device, scorer in scorers.items()}
        labels = {device: scorer.predict(some) for device, scorer in scorers.items()}
    difference = _difference(logits[setting.device], logits[CPU])
    setting.note(
        Row("logits", "standard deviations", None, None, None, difference, VALUE_TOLERANCE)
    )
    share = float((labels[setting.device] != labels[CPU]).double().mean())
    setting.note(Row("labels", "share that differs", None, None, None, share, LABEL_TOLERANCE))
    fast, plain = [], []
    for device in setting.devices:
        setting.demand_time()
        now, own = setting.clock(device).now, sets if device.type != "cpu" else some
        start = now()
        scorers[device].predict(own)
        fast.append(1e3 * (now() - start) / len(own))
        placed = network.to(device)
        few = [{name: tensor.to(device) for name, tensor in one.items()} for one in some[:2]]
        start = now()
        plain_labels(
            placed, {n: t.to(device) for n, t in base.items()}, few, inputs.to(device), 500
        )
        plain.append(1e3 * (now() - start) / len(few))
    setting.note(_time_row("a network of the zoo", "ms", fast))
    setting.note(_time_row("the same by the plain loop", "ms", plain))


def run(setting: Setting) -> None:
    """A whole run of a ``main/`` recipe on synthetic data."""
    folder = setting.results.with_suffix("")
    for row in whole_run(folder, setting.device, setting.is_tiny, lambda: setting.seconds_left):
        setting.note(Row(**row))


PARTS: dict[str, Callable[[Setting], None]] = {
    "tests": tests,
    "codec": codec,
    "denoiser": denoiser,
    "sampling": sampling,
    "scoring": scoring,
    "run": run,
}


def main(arguments: Sequence[str] | None = None) -> None:
    """Run one part."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("name", choices=PARTS)
    parser.add_argument("--results", type=Path, required=True, help="rows of JSON, added to")
    parser.add_argument("--seconds", type=float, default=60.0, help="to be done in")
    parser.add_argument("--device", default="cpu", help="cpu, cuda or mps")
    parser.add_argument("--reference", type=Path, help="the authors' checkout")
    parser.add_argument("--tiny", action="store_true")
    options = parser.parse_args(arguments)
    PARTS[options.name](
        Setting(
            torch.device(options.device),
            options.tiny,
            time.monotonic() + options.seconds,
            options.results,
            None if options.reference is None else Reference(options.reference),
        )
    )


def _compare_losses(setting: Setting, losses: Callable[[torch.device], Tensor]) -> None:
    with full_float32():
        found, expected = losses(setting.device), losses(CPU)
    setting.note(
        Row(
            f"losses of the first {len(expected)} updates, float32",
            "relative",
            difference=float(((found - expected) / expected).abs().max()),
            tolerance=LOSS_TOLERANCE,
        )
    )


def _time_updates(setting: Setting, train: Callable[[Work, int], list[float]]) -> None:
    """An update's time: the device's and theirs in either precision, the CPU's in float32.

    CPUs without instructions for bfloat16 take minutes in it.
    """
    vectors, space = make_zoo(setting.size)
    for precision in sorted(PRECISIONS, reverse=True):
        devices = [one for one in setting.devices if one != CPU or precision == "float32"]
        recipe, numbers, theirs = setting.size.settings("paper", precision), [], None
        for device in devices:
            clock, is_quick = setting.clock(device), device.type != "cpu" or setting.is_tiny
            count = NUM_TIMED[setting.is_tiny] if is_quick else 2
            setting.demand_time()
            numbers.append(1e3 * median(train(OurWork(vectors, recipe, clock, space), count)))
            if device == setting.device and setting.reference is not None:
                work = TheirWork(vectors, recipe, clock, setting.reference)
                theirs = 1e3 * median(train(work, count))
        if numbers:
            setting.note(_time_row(f"an update, {precision}", "ms", numbers, theirs))


def _seconds_of_200(work: Work) -> float:
    work.generate()
    return generation_seconds(work.generate(), work.recipe.generation.num_inference_steps)


def _time_row(what: str, unit: str, numbers: Sequence[float], theirs: float | None = None) -> Row:
    cpu = numbers[1] if len(numbers) > 1 else None
    return Row(what, unit, numbers[0], cpu, theirs)


def _difference(found: Tensor, expected: Tensor) -> float:
    return float((found.cpu() - expected).abs().max() / expected.std())


def _counts(junit: str) -> dict[str, int]:
    """The numbers of tests in a JUnit file's first suite."""
    from xml.etree import ElementTree

    suite = ElementTree.fromstring(junit).find("testsuite")
    assert suite is not None
    return {name: int(suite.attrib[name]) for name in ("tests", "failures", "errors", "skipped")}


if __name__ == "__main__":
    main()
