"""Scoring against the plain loop: ``python -m benchmarks.scoring [--full] [--only NAME ...]``.

The plain loop loads each complete state dict and runs the whole network in evaluation mode,
without gradients, in the best of a few batch sizes; ``Scorer`` is given its best one, too. Both
end in labels. Plain and fast rounds alternate on the same cores in one run; the fastest round of
each counts, as other work on the machine only adds time. The time to build the ``Scorer`` (cut,
checks, everything computed once) is spread over 1,400 sets; fewer are measured, as every set costs
the same, and ``--full`` measures more. The last line is one JSON object: per case the time per
set, the ratio reached, the one that operation counts allow (null where they do not decide), and
the one wanted.
"""

import argparse
import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from paramdiff.networks.resnet20 import ResNet20
from paramdiff.networks.small import DigitsNetwork
from paramdiff.scoring.predict import Scorer

NUM_SETS = 1400  # what the cost of building the scorer is spread over
BATCH_SIZES = (100, 250, 500, 1000)
ParameterSet = dict[str, Tensor]


@dataclass(frozen=True)
class Case:
    """One network, the tensors that differ, and how much of the work is measured.

    Args:
        build: makes the network.
        shape: of the inputs, ``[E, ...]``.
        chosen: patterns of the chosen tensors, as the starts of their names; all without any.
        allowed: the ratio that operation counts allow.
        wanted: the ratio wanted.
        num_plain: sets per plain round.
        num_fast: sets per fast round.
        num_rounds: rounds of each.
    """

    build: Callable[[], nn.Module]
    shape: tuple[int, ...]
    chosen: tuple[str, ...]
    allowed: float | None
    wanted: float
    num_plain: int
    num_fast: int
    num_rounds: int = 3

    def names(self, network: nn.Module) -> list[str]:
        """The chosen parameters."""
        own = [name for name, _ in network.named_parameters()]
        return [name for name in own if name.startswith(self.chosen or "")]


def resnet18(is_small_stem: bool) -> nn.Module:
    """The ResNet-18 of torchvision for 10 classes, with the usual stem or a 3x3 one."""
    from torchvision.models import resnet18

    network = resnet18(num_classes=10)
    if is_small_stem:
        network.conv1 = nn.Conv2d(3, 64, 3, padding=1, bias=False)
        network.maxpool = nn.Identity()
    return network


def small_mlp() -> nn.Module:
    """1,060 parameters on 8x8 images."""
    return nn.Sequential(nn.Linear(64, 14), nn.ReLU(), nn.Linear(14, 10))


def whole_cnn() -> nn.Module:
    """10,853 parameters on 32x32 images."""
    layers: list[nn.Module] = []
    for inputs, outputs in ((3, 16), (16, 32), (32, 15)):
        layers += [nn.Conv2d(inputs, outputs, 3), nn.MaxPool2d(2), nn.LeakyReLU()]
    head = (nn.Flatten(), nn.Linear(60, 20), nn.LeakyReLU(), nn.Linear(20, 10))
    return nn.Sequential(*layers, *head)


IMAGES = (2000, 3, 32, 32)
LAST_NORMS_20 = ("layer3.2.bn1.", "layer3.2.bn2.")
LAST_NORMS_18 = ("layer4.1.bn1.", "layer4.1.bn2.")
CASES = {
    "small_mlp_whole": Case(small_mlp, (500, 64), (), None, 4.0, 200, 1000, 7),
    "quickstart_two_norms": Case(
        DigitsNetwork, (500, 1, 8, 8), ("norm2.", "norm3."), 5.8, 4.0, 80, 200, 7
    ),
    "cnn_10853_whole": Case(whole_cnn, IMAGES, (), 1.0, 1.0, 5, 5, 5),
    "resnet20_last_two_norms": Case(ResNet20, IMAGES, LAST_NORMS_20, 17.0, 11.9, 2, 10),
    "resnet18_usual_stem_last_two_norms": Case(
        lambda: resnet18(False), IMAGES, LAST_NORMS_18, 15.5, 10.85, 2, 10
    ),
    "resnet18_3x3_stem_last_two_norms": Case(
        lambda: resnet18(True), IMAGES, LAST_NORMS_18, 14.6, 10.22, 1, 4, 2
    ),
}


def plain_labels(
    network: nn.Module,
    base: Mapping[str, Tensor],
    sets: list[ParameterSet],
    inputs: Tensor,
    size: int,
) -> Tensor:
    """The plain loop: labels ``[M, E]``."""
    rows = []
    with torch.no_grad():
        for parameters in sets:
            network.load_state_dict({**base, **parameters})
            rows.append(torch.cat([network(batch).argmax(dim=1) for batch in inputs.split(size)]))
    return torch.stack(rows)


def seconds(function: Callable[[], object]) -> float:
    """The time that a call takes."""
    start = time.perf_counter()
    function()
    return time.perf_counter() - start


def fastest(sizes: list[int], function: Callable[[int], object]) -> int:
    """The batch size of the fastest of two calls each."""
    return min(sizes, key=lambda size: min(seconds(lambda: function(size)) for _ in range(2)))


def measure(case: Case, factor: int) -> dict[str, object]:
    """Compare ``Scorer`` with the plain loop on one case."""
    torch.manual_seed(0)
    network = case.build().eval()
    base = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    inputs = torch.randn(case.shape)
    names = case.names(network)
    sets = [
        {name: base[name] * (1 + 0.1 * torch.randn_like(base[name])) for name in names}
        for _ in range(case.num_fast * factor)
    ]
    some, few = sets[: case.num_plain * factor], sets[:4]
    trial = inputs[: 1000 if len(some) > 2 else 500]
    sizes = [size for size in BATCH_SIZES if size <= len(trial)]

    def build(size: int) -> Scorer:
        return Scorer(network, base, names, inputs, batch_size=size)

    plain_size = fastest(sizes, lambda size: plain_labels(network, base, few[:1], trial, size))
    trials = {size: Scorer(network, base, names, trial, batch_size=size) for size in sizes}
    fast_size = fastest(sizes, lambda size: trials[size].predict(few))
    trials.clear()
    setup = seconds(lambda: build(fast_size))
    scorer = build(fast_size)

    plain, fast = [], []
    for _ in range(case.num_rounds):
        run = lambda: plain_labels(network, base, some, inputs, plain_size)  # noqa: E731
        plain.append(seconds(run) / len(some))
        fast.append(seconds(lambda: scorer.predict(sets)) / len(sets))
    differing = scorer.predict(some) != plain_labels(network, base, some, inputs, plain_size)
    per_set = min(fast) + setup / NUM_SETS
    return {
        "ratio": round(min(plain) / per_set, 2),
        "allowed": case.allowed,
        "wanted": case.wanted,
        "plain_ms": round(1e3 * min(plain), 3),
        "fast_ms": round(1e3 * per_set, 3),
        "setup_s": round(setup, 3),
        "plain_sets_measured": len(some) * case.num_rounds,
        "fast_sets_measured": len(sets) * case.num_rounds,
        "batch_sizes": [plain_size, fast_size],
        "labels_differing": f"{int(differing.sum())} of {differing.numel()}",
    }


def main() -> None:
    """Measure the cases and print them."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--full", action="store_true", help="measure five times as many sets")
    parser.add_argument("--only", nargs="+", choices=CASES, default=list(CASES), metavar="NAME")
    arguments = parser.parse_args()
    results: dict[str, object] = {"num_threads": torch.get_num_threads()}
    for name in arguments.only:
        results[name] = measure(CASES[name], 5 if arguments.full else 1)
        print(name, results[name], flush=True)
    print(json.dumps(results))


if __name__ == "__main__":
    main()
