"""A small evaluation with the numbers of a plausible run, for drawing the page."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from paramdiff.evaluation.frontier import AXES
from paramdiff.evaluation.frontier import frontier as frontier_of
from paramdiff.evaluation.group_schema import Group
from paramdiff.methods.group_names import role_of
from paramdiff.report import style
from paramdiff.report.figures import ensemble_plot, frontier_plot
from paramdiff.report.page import write_report
from paramdiff.storage import write_json, write_tensors

SCRIPT = "<script>alert(1)</script>"
NUM_TEST = 1000

# name: networks, accuracy in percent, its std, similarity, its std, within, dispersion, distance
GROUPS: dict[str, tuple[int, float, float, float, float, float, float, float]] = {
    "original": (300, 94.90, 0.40, 0.842, 0.022, 0.731, 1.0, 31.2),
    "held_out": (50, 94.86, 0.42, 0.806, 0.020, 0.724, 1.02, 37.9),
    "generated": (200, 95.02, 0.21, 0.868, 0.014, 0.842, 0.55, 19.8),
    "reconstructed": (300, 94.93, 0.37, 0.861, 0.020, 0.744, 0.96, 12.4),
    "average@4": (50, 95.08, 0.19, 0.874, 0.014, 0.838, 0.49, 17.1),
    "average@16": (50, 95.21, 0.10, 0.871, 0.009, 0.915, 0.24, 16.0),
    "average@all": (1, 95.30, 0.0, 0.866, 0.0, 0.0, 0.0, 15.7),
    "gaussian@0.25": (50, 95.22, 0.11, 0.869, 0.009, 0.911, 0.25, 17.2),
    "gaussian@0.5": (50, 95.10, 0.20, 0.861, 0.013, 0.836, 0.5, 20.5),
    "gaussian@0.75": (50, 94.72, 0.33, 0.832, 0.016, 0.752, 0.75, 25.0),
    "gaussian@1.0": (50, 94.05, 0.48, 0.789, 0.020, 0.664, 1.0, 30.2),
    "gaussian@1.25": (50, 92.61, 0.83, 0.718, 0.026, 0.561, 1.25, 35.8),
    "gaussian@1.5": (50, 83.40, 2.10, 0.512, 0.041, 0.402, 1.5, 41.6),
    "swag@1.0": (50, 94.78, 0.36, 0.836, 0.018, 0.748, 0.94, 27.3),
    "noise@0.05": (50, 94.71, 0.41, 0.825, 0.022, 0.716, 1.03, 32.6),
    "noise@0.15": (50, 92.90, 0.72, 0.741, 0.028, 0.602, 1.24, 40.1),
    "greedy_soup": (1, 95.40, 0.0, 0.858, 0.0, 0.0, 0.0, 16.4),
    "random": (20, 10.10, 1.20, 0.054, 0.004, 0.41, 3.4, 140.0),
    "permuted": (10, 71.30, 2.40, 0.211, 0.020, 0.33, 1.9, 90.0),
}
TENSORS = ("layer4.1.bn1.weight", "layer4.1.bn1.bias", "layer4.1.bn2.weight", "layer4.1.bn2.bias")
CLOUDS = ("original", "held_out", "generated", "gaussian@0.5", "gaussian@1.0")


def _group(name: str) -> dict[str, Any]:
    count, mean, std, similarity, similarity_std, within, dispersion, distance = GROUPS[name]
    accuracy, spread = mean / 100, std / 100
    with_source = {"mean": 0.94, "std": 0.01, "min": 0.91, "max": 0.96}
    return {
        "n": count,
        "score": {
            "mean": accuracy,
            "std": spread,
            "min": accuracy - 2.6 * spread,
            "max": accuracy + 2.4 * spread,
            "median": accuracy,
            "ci95": [accuracy - 0.0132 - spread / 8, accuracy + 0.0128 + spread / 8],
        },
        "max_similarity": {
            "mean": similarity,
            "std": similarity_std,
            "min": similarity - 2.5 * similarity_std,
            "max": similarity + 2.5 * similarity_std,
        },
        "max_similarity_with_source": with_source if name.startswith("noise") else None,
        "pairwise_similarity": within if count > 1 else None,
        "min_distance": {"mean": distance, "min": 0.8 * distance, "max": 1.2 * distance},
        "nearest_ratio": 0.9 + dispersion / 50,
        "copies": None if name == "original" else 0.015,
        "dispersion": dispersion if count > 1 else None,
        "dispersion_per_tensor": {
            tensor: dispersion * (0.9 + 0.07 * row) for row, tensor in enumerate(TENSORS)
        }
        if count > 1
        else None,
        "dispersion_in_components": [dispersion * (1.1 - 0.08 * row) for row in range(10)]
        if count > 1
        else None,
        "effective_rank_ratio": 1.3 * dispersion if count > 1 else None,
        "z_u": None,
        "seeds": {
            str(seed): {
                "n": 67,
                "score": accuracy + 0.001 * seed,
                "dispersion": 0.5 + 0.03 * seed,
                "pairwise_similarity": 0.84 + 0.02 * seed,
            }
            for seed in range(3)
        }
        if name == "generated"
        else None,
        "data_used": "labels" if name == "greedy_soup" else "none",
        "matched_to": ["pairwise_similarity", "dispersion"] if name == "gaussian@0.5" else [],
        "validation": {
            "n": 60,
            "score": accuracy + 0.0031,
            "max_similarity": 0.94 if name.startswith("noise") else similarity + 0.011,
            "pairwise_similarity": within + 0.007 if count > 1 else None,
            "dispersion": 0.99 * dispersion if count > 1 else None,
        }
        if name in ("generated", "original")
        or (role_of(name) == "baseline" and name != "greedy_soup")
        else None,
    }


def _comparison(reference: str, half_width: float) -> dict[str, Any]:
    difference = (GROUPS["generated"][1] - GROUPS[reference][1]) / 100
    return {
        "group": "generated",
        "reference": reference,
        "reference_dispersion": _group(reference)["dispersion"],
        "difference": difference,
        "ci95": [difference - half_width, difference + half_width],
        "needed": {"networks": 1234, "examples": 5678, "factor": 7.3}
        if abs(difference) < half_width
        else None,
    }


def _ensembles(name: str, sizes: tuple[int, ...]) -> list[dict[str, Any]]:
    accuracy = GROUPS[name][1] / 100
    return [
        {
            "members": members,
            "num_ensembles": 30 // members,
            "accuracy": accuracy + 0.004 * (1 - 1 / members),
            "accuracy_ci95": [accuracy - 0.0061, accuracy + 0.0072],
            "nll": 0.24 + 0.05 / members,
            "nll_ci95": [0.213, 0.317],
            "ece": 0.018 + 0.021 / members,
            "brier": 0.081 + 0.012 / members,
            "ood_auroc": 0.931 - 0.017 / members,
            "ood_auroc_ci95": [0.897, 0.942],
            "temperature": 0.7 + 0.1 / members,
            "nll_calibrated": 0.22 + 0.04 / members,
            "nll_calibrated_ci95": [0.204, 0.281],
            "ece_calibrated": 0.011 + 0.013 / members,
        }
        for members in sizes
    ]


def _ensemble_comparison(members: int, reference: str, accuracy: float) -> dict[str, Any]:
    return {
        "members": members,
        "reference": reference,
        "accuracy": accuracy,
        "accuracy_ci95": [accuracy - 0.002, accuracy + 0.002],
        "nll": -3 * accuracy,
        "nll_ci95": [-3 * accuracy - 0.007, -3 * accuracy + 0.007],
        "nll_calibrated": -accuracy,
        "nll_calibrated_ci95": [-accuracy - 0.006, -accuracy + 0.006],
        "ood_auroc": 2 * accuracy,
        "ood_auroc_ci95": [2 * accuracy - 0.009, 2 * accuracy + 0.009],
    }


def _obtained(low: float, high: float) -> dict[str, Any]:
    """What came where seven values were asked for, beyond a range on either side."""
    shares = [-0.25, 0.0, 0.25, 0.5, 0.75, 1.0, 1.25]
    return {
        "n": 20,
        "low": low,
        "high": high,
        "guidance_scale": 2.0,
        "rank_correlation": 0.87,
        "levels": [
            {
                "requested": low + share * (high - low),
                "validation": 0.947 + 0.01 * share,
                "score": 0.944 + 0.01 * share,
                "std": 0.002,
                "dispersion": 0.9 - 0.1 * share,
            }
            for share in shares
        ],
    }


def make_evaluation() -> dict[str, Any]:
    """The whole of an ``evaluation.json``; its frontier is that of its groups."""
    groups = {name: Group.model_validate(_group(name)) for name in GROUPS}
    sizes = (1, 2, 5, 10, 30)
    return {
        "schema": 3,
        "title": "CIFAR-10, ResNet-18: the last batch-norm layers",
        "facts": {
            "Task": "cifar10",
            "Network": "resnet18",
            "Selected parameters": "layer4.1.bn1, layer4.1.bn2 (2,048 of 11,173,962)",
            "Originals": "300 checkpoints, every step of the last epoch",
            "Codec": "convolutional autoencoder, latent 4 x 33",
            "Diffusion": "1,000 steps, DDPM, seeds 0 to 199",
            "Name": SCRIPT,
            "Device": "NVIDIA H100",
        },
        "num_test": NUM_TEST,
        "num_validation": 2000,
        "hold_out": "tail",
        "single_trajectory": True,
        "trajectory": {"step_ratio": 0.043, "p_value": 0.001},
        "groups": {name: _group(name) for name in GROUPS},
        "comparisons": [
            _comparison("original", 0.0011),
            _comparison("gaussian@0.5", 0.0012),
            _comparison("gaussian@0.75", 0.0014),
            _comparison("average@all", 0.0013),
            _comparison("swag@1.0", 0.0013),
        ],
        "best_of_n": {
            name: {
                "n": 50,
                "validation_score": value + 0.003,
                "test_score": value,
                "ci95": [value - 0.0083, value + 0.0047],
                "num_tied": 3,
            }
            for name, value in (("original", 0.952), ("generated", 0.953), ("gaussian@0.5", 0.954))
        },
        "frontier": {
            name: frontier_of(groups, axis, {"average@all"}).model_dump(mode="json")
            for name, axis in AXES.items()
        },
        "ensembles": {
            "generated": _ensembles("generated", sizes),
            "original": _ensembles("original", sizes),
            "swag@1.0": _ensembles("swag@1.0", sizes),
            "average@all": _ensembles("average@all", sizes[:1]),
        },
        "ensemble_comparisons": [
            _ensemble_comparison(1, "original", 0.001),
            _ensemble_comparison(30, "original", 0.0031),
            _ensemble_comparison(30, "swag@1.0", -0.0042),
            _ensemble_comparison(1, "average@all", -0.0005),
        ],
        "ood": {"description": "8x8 patches of photographs", "num_examples": 1234},
        "recalibration": {
            name: {
                "n": 20,
                "before": accuracy / 100,
                "after": accuracy / 100 + 0.006,
                "difference": 0.006,
                "ci95": [0.0011, 0.0109],
            }
            for name, accuracy in (("original", 94.9), ("generated", 95.02))
        },
        "reconstruction": {
            "similarity_with_source": 0.93,
            "dispersion": 0.96,
            "score_difference": 0.0003,
        },
        "controllability": {"score": _obtained(0.93, 0.96), "step": _obtained(100, 400)},
        "verdict": {
            "headline": "As good as a Gaussian fit of equal spread, and no better.",
            "reference": "gaussian@0.5",
            "sentences": [
                "At matched novelty, the strongest baseline is the "
                "average of all checkpoints: the generated networks are worse than that (-0.28 "
                "points of accuracy, 95% interval -0.41 to -0.15).",
                "At matched diversity, the strongest baseline is a "
                "per-coordinate Gaussian at 0.5 times the checkpoints' spread: the generated "
                "networks are as good as that (-0.08 points of accuracy, 95% interval -0.20 to "
                "+0.04).",
                "They are better than the originals (+0.12 points of accuracy, 95% interval "
                "+0.01 to +0.23).",
                "With labels to choose by, the best of 50 generated networks reaches 95.3% on "
                "test data, the best of 50 originals 95.2%, a greedy soup of the originals 95.4%.",
                "3 of 200 generated networks lie so near to an original that they are copies.",
            ],
            "warnings": [
                "The generated networks have contracted towards the average of the originals "
                "(dispersion 0.55).",
                "All originals come from one training run: novelty beyond interpolation cannot "
                "be shown here.",
            ],
        },
        "cost": {
            "collect": {"seconds": 412.0, "peak_memory_mb": 2310.0},
            "codec": {"seconds": 188.4, "peak_memory_mb": 1480.0},
            "diffusion": {"seconds": 1264.0, "peak_memory_mb": 3120.0},
            "generate": {"seconds": 38.2, "peak_memory_mb": 940.0},
            "evaluate": {"seconds": 74.9, "peak_memory_mb": 1850.0},
        },
    }


def make_arrays() -> dict[str, torch.Tensor]:
    """The whole of an ``arrays.safetensors``, but for the predicted labels of most groups."""
    random = np.random.default_rng(0)
    arrays: dict[str, Any] = {
        "truth": random.integers(0, 10, NUM_TEST),
        "labels/generated": random.integers(0, 10, (4, NUM_TEST)),
    }
    for name in CLOUDS:
        count, mean, std, similarity, similarity_std, *_ = GROUPS[name]
        accuracy = random.normal(mean / 100, std / 100, count)
        arrays[f"score/{name}"] = accuracy.round(3)
        arrays[f"max_similarity/{name}"] = random.normal(similarity, similarity_std, count)
    similarity = np.full((80, 80), 0.73) + random.normal(0, 0.03, (80, 80))
    similarity[50:, 50:] += 0.1
    similarity[:50, 50:] += 0.04
    similarity = np.triu(similarity) + np.triu(similarity, 1).T
    np.fill_diagonal(similarity, 1.0)
    arrays |= {"similarity": similarity, "similarity_num_original": np.array([50])}
    for name in ("generated", "original", "swag@1.0", "average@all"):
        confidence = np.linspace(0.2, 0.99, 12)
        arrays[f"reliability/{name}"] = np.stack([confidence, confidence**1.3])
    nearest = random.normal(0, 1, (4, 64))
    arrays["parameters/nearest"] = nearest
    arrays["parameters/generated"] = 0.6 * nearest + random.normal(0, 0.25, (4, 64))
    for name, start, end in (("codec", 1.2, 0.03), ("denoiser", 1.0, 0.21)):
        decay = np.exp(-np.linspace(0, 6, 2000))
        arrays[f"losses/{name}"] = (end + (start - end) * decay) * random.lognormal(0, 0.15, 2000)
    timestep = np.linspace(999, 0, 26)
    rise = 1 / (1 + np.exp((timestep - 300 + random.normal(0, 40, (5, 1))) / 60))
    arrays |= {"trajectory/timestep": timestep, "trajectory/score": 0.1 + 0.85 * rise}
    return {name: torch.as_tensor(value) for name, value in arrays.items()}


@pytest.fixture
def evaluation() -> dict[str, Any]:
    return make_evaluation()


@pytest.fixture
def arrays() -> dict[str, torch.Tensor]:
    return make_arrays()


@pytest.fixture(scope="session")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A report with all its figures, drawn once."""
    folder = tmp_path_factory.mktemp("run")
    write_json(folder / "evaluation.json", make_evaluation())
    write_tensors(folder / "arrays.safetensors", make_arrays())
    return write_report(folder)


@pytest.fixture
def only_words(monkeypatch: pytest.MonkeyPatch) -> None:
    """Figures keep their captions and descriptions, and lose their picture, which takes time."""
    for module in (style, ensemble_plot, frontier_plot):
        monkeypatch.setattr(module, "embed", lambda draw, size: "data:,")


@pytest.fixture
def write_run(
    tmp_path: Path,
) -> Callable[[dict[str, Any], dict[str, torch.Tensor]], Path]:
    """Write the two files that a report is drawn from into one folder."""

    def write(evaluation: dict[str, Any], arrays: dict[str, torch.Tensor]) -> Path:
        write_json(tmp_path / "evaluation.json", evaluation)
        write_tensors(tmp_path / "arrays.safetensors", arrays)
        return tmp_path

    return write
