"""The page is a pure function of two files, whole in itself, and says what the numbers say."""

import re
from collections.abc import Callable
from html import escape, unescape
from pathlib import Path
from typing import Any

import pytest
import torch

from paramdiff.errors import UserError
from paramdiff.evaluation.schema import Evaluation
from paramdiff.report.figures.registry import FIGURES
from paramdiff.report.page import render, write_report
from paramdiff.report.text import typeset

Run = Callable[[dict[str, Any], dict[str, torch.Tensor]], Path]

NOTHING = {"truth": torch.zeros(3)}
"""Arrays that no figure draws."""

FIGURE_OF = {
    "similarity": "similarity",
    "similarity_num_original": "similarity",
    "reliability/generated": "reliability",
    "score/generated": "histograms",
    "parameters/nearest": "parameters",
    "losses/codec": "codec_loss",
    "losses/denoiser": "denoiser_loss",
    "trajectory/timestep": "trajectory",
    "trajectory/score": "trajectory",
}


def test_same_files_give_the_same_bytes(drawn: Path, evaluation, arrays, write_run: Run):
    again = write_report(write_run(evaluation, arrays)).read_bytes()
    assert again == drawn.read_bytes()
    assert len(again) < 2_000_000


def test_page_refers_to_nothing_outside_itself(drawn: Path):
    page = drawn.read_text()
    addresses = re.findall(r"(?:src|srcset|href)\s*=\s*[\"']?([^\"'\s>]+)", page)
    addresses += re.findall(r"url\(\s*[\"']?([^\"')]+)", page)
    assert len(addresses) > 5
    assert all(address.startswith(("data:", "#")) for address in addresses)
    assert "@import" not in page
    assert "<script" not in page


NASTY = "<script>alert('$x^$')</script>"


def _replace(value: dict[str, Any], key: str) -> Callable[[], None]:
    return lambda: value.update({key: NASTY})


def _name(evaluation: dict[str, Any], where: str) -> None:
    """Let a name that comes from data be hostile."""
    generated = evaluation["groups"]["generated"]
    points = evaluation["frontier"]["max_similarity"]["points"]
    verdict = {"headline": NASTY, "sentences": [NASTY], "warnings": [NASTY]}
    hostile: dict[str, Callable[[], None]] = {
        "title": _replace(evaluation, "title"),
        "facts": lambda: evaluation.update(facts={NASTY: NASTY}),
        "verdict": lambda: evaluation.update(verdict=verdict),
        "tensor": lambda: generated.update(dispersion_per_tensor={NASTY: 0.5}),
        "seed": lambda: generated.update(seeds={NASTY: generated["seeds"]["0"]}),
        "ood": _replace(evaluation["ood"], "description"),
        "comparison": _replace(evaluation["comparisons"][0], "reference"),
        "ensemble_comparison": _replace(evaluation["ensemble_comparisons"][0], "reference"),
        "frontier": _replace(points[0], "group"),
    }
    if where in hostile:
        hostile[where]()
    else:
        evaluation[where][NASTY] = next(iter(evaluation[where].values()))


@pytest.mark.usefixtures("only_words")
@pytest.mark.parametrize(
    "where",
    [
        *(
            "title",
            "facts",
            "verdict",
            "groups",
            "tensor",
            "seed",
            "ood",
            "comparison",
            "frontier",
        ),
        *("ensemble_comparison", "cost", "best_of_n", "ensembles", "recalibration"),
    ],
)
def test_names_from_data_are_escaped(evaluation, where: str):
    evaluation["facts"] = {}
    plain = render(Evaluation.model_validate(evaluation), {})
    _name(evaluation, where)
    page = render(Evaluation.model_validate(evaluation), {})
    assert "<script" not in page
    assert "&lt;script&gt;" in page
    assert "&lt;script&gt;" not in plain


def test_hostile_names_are_drawn_as_they_are(evaluation, arrays):
    for where in ("tensor", "cost", "ensembles", "frontier", "groups"):
        _name(evaluation, where)
    line = arrays["reliability/generated"].numpy()
    assert "<script" not in render(
        Evaluation.model_validate(evaluation), {f"reliability/{NASTY}": line}
    )


@pytest.mark.usefixtures("only_words")
def test_every_group_and_the_verdict_are_told(evaluation, write_run: Run):
    page = write_report(write_run(evaluation, NOTHING)).read_text()
    for name, group in evaluation["groups"].items():
        row = page.partition(f'data-group="{name}"')[2].partition("</tr>")[0]
        assert f'<td class="n">{group["n"]}</td>' in row
        assert f"{100 * group['score']['mean']:.2f}" in row
    verdict = evaluation["verdict"]
    for sentence in [verdict["headline"], *verdict["sentences"], *verdict["warnings"]]:
        assert typeset(sentence) in unescape(page)
    for label, value in evaluation["facts"].items():
        assert f"<dt>{label}</dt><dd>{escape(value)}</dd>" in page


@pytest.mark.usefixtures("only_words")
def test_what_decided_is_on_a_card(evaluation):
    page = render(Evaluation.model_validate(evaluation), {})
    card = page.partition("Generated minus the strongest matched baseline")[2]
    card = card.partition("</section>")[0]
    assert "Gaussian fit, scale 0.5" in card
    assert "\u22120.08" in card


@pytest.mark.usefixtures("only_words")
def test_without_an_alternative_the_card_compares_with_the_originals(evaluation):
    evaluation["verdict"]["reference"] = None
    page = render(Evaluation.model_validate(evaluation), {})
    card = page.partition("Generated minus originals")[2].partition("</section>")[0]
    assert "originals, 94.90%" in card
    assert "+0.12" in card
    assert "No baseline could be matched" in card


@pytest.mark.usefixtures("only_words")
@pytest.mark.parametrize(("array", "figure"), FIGURE_OF.items())
def test_absent_arrays_leave_their_figure_out(evaluation, arrays, array: str, figure: str):
    given = {name: tensor.double().numpy() for name, tensor in arrays.items()}
    checked = Evaluation.model_validate(evaluation)
    assert FIGURES[figure](checked, given) is not None
    prefix = array.partition("reliability/")[1] or array
    left = {name: value for name, value in given.items() if not name.startswith(prefix)}
    assert FIGURES[figure](checked, left) is None


@pytest.mark.usefixtures("only_words")
def test_figures_without_arrays_are_left_out(evaluation):
    drawn_from_numbers = {
        *(
            "frontier_to_originals",
            "frontier_within",
            "dispersion_by_tensor",
            "dispersion_by_component",
        ),
        *("ensembles", "requested", "cost"),
    }
    page = render(Evaluation.model_validate(evaluation), {})
    assert set(re.findall(r'id="figure-([a-z_]+)"', page)) == drawn_from_numbers
    for heading in ("Single networks", "Training"):
        assert f"<h2>{heading}" not in page


def _fail(evaluation, arrays):
    """The generator produces networks at chance."""
    accuracy = dict.fromkeys(("mean", "min", "max", "median"), 0.1) | {"std": 0.0}
    evaluation["groups"]["generated"]["score"] = accuracy | {"ci95": [0.08, 0.12]}
    arrays["score/generated"] = torch.full((200,), 0.1)


def _perfect(evaluation, arrays):
    """Every network is right on every example, so no similarity is defined."""
    accuracy = dict.fromkeys(("mean", "min", "max", "median"), 1.0) | {"std": 0.0}
    for group in evaluation["groups"].values():
        group |= {"score": accuracy | {"ci95": [1.0, 1.0]}, "max_similarity": None}
    for name in arrays:
        if name.startswith("score/"):
            arrays[name] = torch.ones_like(arrays[name])


def _one(evaluation, arrays):
    """One original and one generated network, and nothing to spread."""
    groups = {name: evaluation["groups"]["average@all"] for name in ("original", "generated")}
    evaluation |= {"groups": groups, "comparisons": [], "hold_out": "none"}
    evaluation |= {"ensembles": {}, "frontier": {}, "best_of_n": {}}
    arrays |= {"score/generated": torch.ones(1), "max_similarity/generated": torch.ones(1)}


def _not_finite(evaluation, arrays):
    """Training diverged: what cannot be drawn is left out, not drawn wrong."""
    arrays["losses/codec"][100:] = torch.nan
    arrays["losses/denoiser"][:] = torch.inf
    arrays["trajectory/score"][0, 0] = torch.nan
    arrays["similarity"][3, 4] = torch.nan
    arrays["score/generated"][5] = torch.nan


@pytest.mark.parametrize("happens", [_fail, _perfect, _one, _not_finite])
def test_unhappy_runs_have_a_page_too(evaluation, arrays, write_run: Run, happens: Callable):
    happens(evaluation, arrays)
    page = write_report(write_run(evaluation, arrays)).read_text()
    assert evaluation["verdict"]["headline"] in page
    assert not re.search(r"\b(nan|inf|None)\b", re.sub(r"base64,[^\"]+", "", page))


@pytest.mark.parametrize(
    ("broken", "told"),
    [
        (
            lambda e: e["groups"]["generated"].pop("n"),
            "groups.generated.n: this value is missing",
        ),
        (lambda e: e.update(schema=1), "schema 1 was written by an earlier version"),
        (lambda e: e.update(schema=2), "schema 2 was written by an earlier version"),
        (lambda e: e.update(surplus=1), "surplus: "),
    ],
)
def test_broken_evaluation_is_told_with_file_and_field(
    evaluation, arrays, write_run: Run, broken: Callable, told: str
):
    broken(evaluation)
    folder = write_run(evaluation, arrays)
    with pytest.raises(UserError, match=r"evaluation\.json") as caught:
        write_report(folder)
    assert told in str(caught.value)
    assert not (folder / "report.html").exists()


def test_missing_and_mangled_files_are_told(evaluation, arrays, write_run: Run):
    folder = write_run(evaluation, arrays)
    (folder / "evaluation.json").write_text("{")
    with pytest.raises(UserError, match=r"evaluation\.json"):
        write_report(folder)
    write_run(evaluation, arrays)
    (folder / "arrays.safetensors").unlink()
    with pytest.raises(UserError, match=r"arrays\.safetensors"):
        write_report(folder)
