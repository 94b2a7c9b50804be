"""Whatever stands in ``evaluation.json`` is told on the page; what is absent leaves no trace."""

import re
from collections.abc import Callable, Iterator
from html import unescape
from typing import Any

import pytest

from paramdiff.evaluation.schema import Evaluation
from paramdiff.report.figures.ensemble_plot import together
from paramdiff.report.page import render

NOT_TOLD = {
    "schema",
    "groups.*.max_similarity_with_source.std",
    "groups.*.max_similarity_with_source.min",
    "groups.*.max_similarity_with_source.max",
    "frontier.*.at",  # the group's own similarity, which is told
}

ALIGNED = {"n": 20, "min_distance": {"mean": 41.0, "min": 38.5, "max": 44.1}, "copies": 0.25}

FINETUNING_CURVES = {
    "updates": [0, 1, 10],
    "batch_size": 64,
    "groups": {
        name: {
            "n": 5,
            "learning_rate": 0.01,
            "score": [first, 0.944, 0.951],
            "std": [0.003, 0.004, 0.005],
        }
        for name, first in (("generated", 0.95), ("original", 0.949))
    },
}


def using_data(evaluation: dict[str, Any]) -> None:
    """As if the generator had learned from labels, and others beside it."""
    used = {"data_used": "labels", "data_split": "training", "images_seen": 153600}
    groups = evaluation["groups"]
    groups["greedy_soup"]["data_split"] = "validation"
    groups["generated"] |= used
    groups["fine_tuned_average"] = groups["average@all"] | used
    groups["fine_tuned_originals"] = groups["average@4"] | used | {"n": 10}
    average = next(c for c in evaluation["comparisons"] if c["reference"] == "average@all")
    evaluation["comparisons"] += [
        average | {"reference": "fine_tuned_average", "difference": -0.0123}
    ]
    evaluation["ensembles"]["fine_tuned_originals"] = evaluation["ensembles"]["original"][:4]
    evaluation["finetuning_curves"] = FINETUNING_CURVES


pytestmark = pytest.mark.usefixtures("only_words")


def words_of(evaluation: dict[str, Any]) -> str:
    """What a reader of the page can read, descriptions of pictures included."""
    page = render(Evaluation.model_validate(evaluation), {}).partition("</style>")[2]
    alt = " ".join(re.findall(r'alt="([^"]*)"', page))
    return unescape(alt + re.sub(r"<[^>]*>", " ", page))


def _numbers(value: Any, path: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    """The path of every number."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from _numbers(inner, (*path, key))
    elif isinstance(value, list):
        for key, inner in enumerate(value):
            yield from _numbers(inner, (*path, key))
    elif isinstance(value, int | float) and not isinstance(value, bool):
        yield path


def _pattern(path: tuple[str | int, ...]) -> str:
    """A path without the names of groups, stages, tensors and places in lists."""
    named = {"groups", "seeds", "best_of_n", "ensembles", "recalibration", "frontier", "cost"}
    named |= {"dispersion_per_tensor"}
    parts, before = [], None
    for part in path:
        parts.append("*" if isinstance(part, int) or before in named else part)
        before = part
    return ".".join(parts)


def _changed(evaluation: dict[str, Any], path: tuple[str | int, ...]) -> None:
    *outer, last = path
    for part in outer:
        evaluation = evaluation[part]
    number = evaluation[last]
    evaluation[last] = number + 3 if isinstance(number, int) else 1.19 * number + 0.03


def test_every_number_is_told(evaluation: dict[str, Any]):
    generated = evaluation["groups"]["generated"]
    z_u = {"n": 50, "n_held_out": 40, "behavior": -2.4, "parameters": 1.7}
    noised = evaluation["groups"]["noise@0.05"]
    generated |= {"z_u": z_u, "max_similarity_with_source": noised["max_similarity_with_source"]}
    generated["aligned"] = ALIGNED
    using_data(evaluation)
    paths = list(_numbers(evaluation))
    paths += _numbers(generated, ("groups", "generated"))  # last: not every group is told in full
    unlike = {_pattern(path): path for path in paths}
    before = words_of(evaluation)
    untold = set()
    for pattern, path in unlike.items():
        changed = Evaluation.model_validate(evaluation).model_dump(mode="json", by_alias=True)
        if pattern not in NOT_TOLD:
            _changed(changed, path)
            if words_of(changed) == before:
                untold.add(pattern)
    assert len(unlike) >= 70
    assert untold == set()


def _without_seeds(evaluation: dict[str, Any]) -> None:
    evaluation["groups"]["generated"]["seeds"] = None


def _without_controls(evaluation: dict[str, Any]) -> None:
    del evaluation["groups"]["random"], evaluation["groups"]["permuted"]


def _without_ensembles(evaluation: dict[str, Any]) -> None:
    evaluation |= {"ensembles": {}, "ensemble_comparisons": [], "ood": None}


def _without_ood(evaluation: dict[str, Any]) -> None:
    evaluation["ood"] = None
    for scores in evaluation["ensembles"].values():
        for score in scores:
            score |= {"ood_auroc": None, "ood_auroc_ci95": None}
    for comparison in evaluation["ensemble_comparisons"]:
        comparison |= {"ood_auroc": None, "ood_auroc_ci95": None}


def _without_spread(evaluation: dict[str, Any]) -> None:
    for group in evaluation["groups"].values():
        group |= {"dispersion_per_tensor": None, "dispersion_in_components": None}


def _without_alignment(evaluation: dict[str, Any]) -> None:
    for group in evaluation["groups"].values():
        group["aligned"] = None


def _without_soup(evaluation: dict[str, Any]) -> None:
    del evaluation["groups"]["greedy_soup"]
    evaluation["verdict"]["sentences"] = []


@pytest.mark.parametrize(
    ("leave_out", "trace"),
    [
        (_without_seeds, r"Generator seeds"),
        (_without_controls, r"Controls|Untrained"),
        (_without_ensembles, r"[Ee]nsemble|Brier|ECE|NLL|OOD|Used together"),
        (_without_ood, r"OOD|AUROC|photographs"),
        (_without_spread, r"Dispersion by|principal component,"),
        (_without_alignment, r"[Oo]rder of units|upper bounds"),
        (_without_soup, r"[Gg]reedy|uses labels"),
        (lambda e: e.update(recalibration={}), r"BatchNorm"),
        (lambda e: e.update(finetuning_curves=None), r"[Ff]ine-tuning from each group"),
        (lambda e: e.update(best_of_n={}), r"[Bb]est of N|One network, chosen"),
        (lambda e: e.update(trajectory=None), r"Successive"),
        (lambda e: e.update(controllability={}), r"(?i)requested|achieved"),
        (lambda e: e.update(frontier={}), r"Good, and new|gray area"),
        (lambda e: e.update(comparisons=[]), r"Paired comparisons"),
        (lambda e: e.update(hold_out="none"), r"trained the generator"),
    ],
)
def test_absent_parts_leave_no_trace(
    evaluation: dict[str, Any], leave_out: Callable[[dict[str, Any]], None], trace: str
):
    evaluation["groups"]["generated"]["aligned"] = ALIGNED
    evaluation["finetuning_curves"] = FINETUNING_CURVES
    assert re.search(trace, words_of(evaluation))
    leave_out(evaluation)
    left = words_of(evaluation)
    assert re.findall(trace, left) == []
    assert not re.search(r"\b(nan|None)\b", left)


def test_every_group_is_labelled_with_its_data(evaluation: dict[str, Any]):
    assert "uses training labels" not in words_of(evaluation)
    using_data(evaluation)
    told = re.sub(r"\s+", " ", words_of(evaluation))
    for name in ("Generated", "Average, fine-tuned", "Originals, fine-tuned"):
        assert f"{name} uses training labels" in told
    assert "Greedy soup uses validation labels" in told
    assert "trained on as much data as the generator" in told
    assert "learned from the labels of 153,600 training examples" in told
    assert "minus Average, fine-tuned, with as much data: \u22121.23" in told


def test_data_copying_test_or_why_there_is_none(evaluation: dict[str, Any]):
    assert "all originals lie on one trajectory, so" in words_of(evaluation)
    evaluation |= {"single_trajectory": False, "hold_out": "none"}
    assert "it needs at least ten held-out training runs" in words_of(evaluation)
    z_u = {"n": 50, "n_held_out": 50, "behavior": -4.25, "parameters": None}
    evaluation["groups"]["generated"]["z_u"] = z_u
    told = words_of(evaluation)
    assert "it needs at least" not in told and "Side by side" not in told
    assert re.search(r"\u22124\.2\s+\u2013", told)  # in predictor, and a dash for parameters
    assert "\u00b18.6" in told  # 50 against 50 networks: (3 * 2500 / 101) ** 0.5


def test_without_a_data_copying_test_three_groups_stand_side_by_side(evaluation: dict[str, Any]):
    told = words_of(evaluation).partition("Side by side")[2].partition("Whatever the order")[0]
    rows = [
        re.search(rf"{label}\s+{evaluation['groups'][name]['n']}\s+[\d.]+\s+\(", told)
        for label, name in (
            ("Generated", "generated"),
            ("Held-out checkpoints", "held_out"),
            ("Originals", "original"),
        )
    ]
    assert all(rows) and [row.start() for row in rows] == sorted(row.start() for row in rows)


def test_where_the_reported_data_select_nobody_speaks_of_test_data(evaluation: dict[str, Any]):
    evaluation["score_info"] = {"selects_on_test": True}
    evaluation["best_of_n"] = {}
    del evaluation["groups"]["greedy_soup"]
    evaluation["verdict"]["sentences"] = []
    evaluation["finetuning_curves"] = FINETUNING_CURVES
    calibrated = ("temperature", "nll_calibrated", "nll_calibrated_ci95", "ece_calibrated")
    scores = [one for group in evaluation["ensembles"].values() for one in group]
    for one in [*evaluation["ensemble_comparisons"], *scores]:
        for name in calibrated:
            one.pop(name, None)
    told = words_of(evaluation)
    assert "Selected and scored on the same data" in told
    assert not re.search(
        r"(?i)test (data|examples|accuracy|split|set)|validation examples\s|chosen (with|on) "
        r"(labels|validation)|[Bb]est of N\s",
        told.replace("tells test examples from inputs", "").replace("best of N and soups", ""),
    ), re.findall(r"(?i).{50}test (?:data|examples|accuracy|split|set).{30}", told)


def test_only_the_first_sentences_are_unfolded(evaluation: dict[str, Any]):
    sentences = [f"Sentence number {number} (-0.5 points)." for number in range(8)]
    evaluation["verdict"]["sentences"] = sentences
    page = render(Evaluation.model_validate(evaluation), {})
    shown, folded = page.partition("<details>")[0], page.partition("<details>")[2]
    folded = folded.partition("</details>")[0]
    for number in range(8):
        sentence = f"Sentence number {number} (\u22120.5 points)."
        assert (sentence in shown) == (number < 3)
        assert (sentence in folded) == (number >= 3)


def test_copies_are_on_the_first_screen(evaluation: dict[str, Any]):
    evaluation["groups"]["generated"]["copies"] = 0.4
    cards = render(Evaluation.model_validate(evaluation), {}).partition("</header>")[0]
    assert "80 of 200 are copies" in cards


def test_choices_made_with_labels_stand_side_by_side(evaluation: dict[str, Any]):
    told = words_of(evaluation).partition("One network, chosen with labels")[2]
    told = told.partition("Generator seeds")[0]
    assert re.search(r"Greedy soup\s+uses labels(\s+\u2013){3}\s+95\.40%\s+9\d.\d\d to", told)
    assert re.search(r"Generated\s+50\s+95\.60%\s+3\s+95\.30%\s+94\.47 to 95\.77%", told)


def test_ensembles_are_compared_in_words_at_their_largest(evaluation: dict[str, Any]):
    checked = Evaluation.model_validate(evaluation)
    assert together(checked) == [
        "An ensemble of 30 generated networks is more accurate than one of 30 of the originals "
        "(+0.31 points, 95% interval +0.11 to +0.51); OOD AUROC not distinguishable (+0.006, "
        "\u22120.003 to +0.015); NLL lower (\u22120.009, \u22120.016 to \u22120.002), and at "
        "temperatures chosen on validation data not distinguishable (\u22120.003, \u22120.009 to "
        "+0.003).",
        "One generated network is not distinguishable in accuracy from the average of all "
        "checkpoints (\u22120.05 points, 95% interval \u22120.25 to +0.15); OOD AUROC not "
        "distinguishable (\u22120.001, \u22120.010 to +0.008); NLL not distinguishable (+0.002, "
        "\u22120.005 to +0.009), and at temperatures chosen on validation data not "
        "distinguishable (+0.001, \u22120.005 to +0.007).",
        "An ensemble of 30 generated networks is less accurate than one of 30 of SWAG samples at "
        "scale 1.0 (\u22120.42 points, 95% interval \u22120.62 to \u22120.22); OOD AUROC not "
        "distinguishable (\u22120.008, \u22120.017 to +0.001); NLL higher (+0.013, +0.006 to "
        "+0.020), and at temperatures chosen on validation data not distinguishable (+0.004, "
        "\u22120.002 to +0.010).",
    ]
