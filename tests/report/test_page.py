"""The page is a pure function of two files, whole in itself, and says what the numbers say."""

import re
from collections.abc import Callable
from html import escape
from pathlib import Path
from typing import Any

import pytest
import torch

from paramdiff.errors import UserError
from paramdiff.evaluation.schema import Evaluation
from paramdiff.report.figures import FIGURES
from paramdiff.report.page import write_report

Run = Callable[[dict[str, Any], dict[str, torch.Tensor]], Path]

NOTHING = {"truth": torch.zeros(3)}
"""Arrays that no figure draws."""

FIGURE_OF = {
    "similarity": "similarity",
    "similarity_num_original": "similarity",
    "accuracy/generated": "histograms",
    "parameters/nearest": "parameters",
    "losses/codec": "codec_loss",
    "losses/denoiser": "denoiser_loss",
    "trajectory/timestep": "trajectory",
    "trajectory/accuracy": "trajectory",
}


def test_same_files_give_the_same_bytes(evaluation, arrays, write_run: Run):
    folder = write_run(evaluation, arrays)
    first = write_report(folder).read_bytes()
    assert write_report(folder).read_bytes() == first
    assert len(first) < 3_000_000


def test_page_refers_to_nothing_outside_itself(evaluation, arrays, write_run: Run):
    page = write_report(write_run(evaluation, arrays)).read_text()
    addresses = re.findall(r"(?:src|srcset|href)\s*=\s*[\"']?([^\"'\s>]+)", page)
    addresses += re.findall(r"url\(\s*[\"']?([^\"')]+)", page)
    assert len(addresses) > 5
    assert all(address.startswith("data:") for address in addresses)
    assert "@import" not in page
    assert "<script" not in page


@pytest.mark.parametrize("field", ["title", "facts", "verdict", "group", "stage", "best_of_n"])
def test_names_from_data_are_escaped(evaluation, write_run: Run, field: str):
    nasty = "<script>alert('$x^$')</script>"
    match field:
        case "title":
            evaluation["title"] = nasty
        case "facts":
            evaluation["facts"] = {nasty: nasty}
        case "verdict":
            evaluation["verdict"] = {"headline": nasty, "sentences": [nasty], "warnings": [nasty]}
        case "group":
            evaluation["groups"][nasty] = evaluation["groups"]["generated"]
        case "stage":
            evaluation["cost"][nasty] = evaluation["cost"]["codec"]
        case "best_of_n":
            evaluation["best_of_n"][nasty] = evaluation["best_of_n"]["generated"]
    page = write_report(write_run(evaluation, NOTHING)).read_text()
    assert "<script" not in page
    if field != "stage":  # stages are named in a figure only
        assert "&lt;script&gt;" in page


def test_every_group_and_the_verdict_are_told(evaluation, write_run: Run):
    page = write_report(write_run(evaluation, NOTHING)).read_text()
    for name, group in evaluation["groups"].items():
        row = page.partition(f'data-group="{name}"')[2].partition("</tr>")[0]
        assert f'<td class="n">{group["n"]}</td>' in row
        assert f"{100 * group['accuracy']['mean']:.2f}" in row
    verdict = evaluation["verdict"]
    for sentence in [verdict["headline"], *verdict["sentences"], *verdict["warnings"]]:
        assert escape(sentence) in page
    for label, value in evaluation["facts"].items():
        assert f"<dt>{label}</dt><dd>{escape(value)}</dd>" in page


def test_the_free_alternative_of_equal_spread_is_on_a_card(evaluation, write_run: Run):
    page = write_report(write_run(evaluation, NOTHING)).read_text()
    card = page.partition("Generated minus best free alternative of equal spread")[2]
    card = card.partition("</section>")[0]
    assert "Gaussian fit, scale 0.5" in card
    assert "\u22120.08" in card


@pytest.mark.parametrize(("array", "figure"), FIGURE_OF.items())
def test_absent_arrays_leave_their_figure_out(evaluation, arrays, array: str, figure: str):
    drawn = {name: tensor.double().numpy() for name, tensor in arrays.items()}
    checked = Evaluation.model_validate(evaluation)
    assert FIGURES[figure](checked, drawn) is not None
    del drawn[array]
    assert FIGURES[figure](checked, drawn) is None


def test_headings_without_figures_are_left_out(evaluation, write_run: Run):
    evaluation |= {"comparisons": [], "best_of_n": {}, "reconstruction": None, "cost": {}}
    page = write_report(write_run(evaluation, NOTHING)).read_text()
    assert re.findall(r'id="(figure-[a-z_]+)"', page) == ["figure-frontier"]
    for heading in ("How alike", "Inside", "Training", "Paired", "Best of N", "cost", "codec"):
        assert f"<h2>{heading}" not in page
        assert f"<h2>What it {heading}" not in page
        assert f"<h2>What the {heading}" not in page


def _fail(evaluation, arrays):
    """The generator produces networks at chance."""
    accuracy = dict.fromkeys(("mean", "min", "max", "median"), 0.1) | {"std": 0.0}
    evaluation["groups"]["generated"]["accuracy"] = accuracy | {"ci95": [0.08, 0.12]}
    arrays["accuracy/generated"] = torch.full((200,), 0.1)


def _perfect(evaluation, arrays):
    """Every network is right on every example, so no similarity is defined."""
    accuracy = dict.fromkeys(("mean", "min", "max", "median"), 1.0) | {"std": 0.0}
    for group in evaluation["groups"].values():
        group |= {"accuracy": accuracy | {"ci95": [1.0, 1.0]}, "max_similarity": None}
    for name in arrays:
        if name.startswith("accuracy/"):
            arrays[name] = torch.ones_like(arrays[name])


def _one(evaluation, arrays):
    """One original and one generated network, and nothing to spread."""
    groups = {name: evaluation["groups"]["average@all"] for name in ("original", "generated")}
    evaluation |= {"groups": groups, "comparisons": [], "hold_out": "none"}
    arrays |= {"accuracy/generated": torch.ones(1), "max_similarity/generated": torch.ones(1)}


def _not_finite(evaluation, arrays):
    """Training diverged: what cannot be drawn is left out, not drawn wrong."""
    arrays["losses/codec"][100:] = torch.nan
    arrays["losses/denoiser"][:] = torch.inf
    arrays["trajectory/accuracy"][0, 0] = torch.nan
    arrays["similarity"][3, 4] = torch.nan
    arrays["accuracy/generated"][5] = torch.nan


@pytest.mark.parametrize("happens", [_fail, _perfect, _one, _not_finite])
def test_unhappy_runs_have_a_page_too(evaluation, arrays, write_run: Run, happens: Callable):
    happens(evaluation, arrays)
    page = write_report(write_run(evaluation, arrays)).read_text()
    assert evaluation["verdict"]["headline"] in page
    assert not re.search(r"\b(nan|inf|None)\b", re.sub(r"base64,[^\"]+", "", page))


@pytest.mark.parametrize(
    ("broken", "told"),
    [
        (lambda e: e["groups"]["generated"].pop("n"), "groups.generated.n: Field required"),
        (lambda e: e.update(schema=2), "schema: "),
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
