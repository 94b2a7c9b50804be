"""Signs, texts and views of the paper's tables and figures, on numbers that are known."""

import numpy as np
import pytest

from paramdiff.evaluation.schema import Evaluation
from paramdiff.paper.comparison_table import QUANTITIES, comparison_table
from paramdiff.paper.paper_runs import PaperRun, PaperRuns
from paramdiff.paper.published import Published
from paramdiff.paper.replication import count_signs, replications
from paramdiff.paper.score_similarity_figure import Cloud, common_view
from paramdiff.paper.table_schema import PaperTable, Setting

MINUS = "\u2212"
TABLE = PaperTable(
    name="table3a",
    title="Two settings",
    default="main/b",
    columns=("generated_best", "generated_mean", "similarity_range"),
    rows=(Setting(label="other", recipe="main/a"), Setting(label="default", recipe="main/b")),
)


def runs_of(runs, published=(), failures=()):
    return PaperRuns((TABLE,), runs, dict(published), {}, dict(failures))


@pytest.fixture
def run(evaluation, tmp_path):
    def make(difference=0.0012, half_width=0.0011, **changes):
        content = Evaluation.model_validate(evaluation)
        compared = [
            one.model_copy(
                update={
                    "difference": difference,
                    "ci95": (difference - half_width, difference + half_width),
                }
            )
            for one in content.comparisons
            if one.reference == "original"
        ]
        content = content.model_copy(update={"comparisons": tuple(compared)})
        return PaperRun(name="main/a", folder=tmp_path, evaluation=content, **changes)

    return make


@pytest.mark.parametrize(
    ("ours", "half_width", "theirs", "sign"),
    [
        (0.002, 0.001, 0.0052, "agrees"),
        (0.002, 0.001, -0.0018, "differs"),
        (-0.002, 0.001, -0.0018, "agrees"),
        (-0.002, 0.001, 0.0052, "differs"),
        (0.002, 0.003, 0.0052, "not resolved"),
        (-0.002, 0.003, 0.0052, "not resolved"),
    ],
)
def test_a_sign_agrees_only_where_it_is_resolved(run, ours, half_width, theirs, sign):
    published = Published(where="", log_original_mean=0.7, log_generated_mean=0.7 + theirs)
    paper_runs = runs_of({"main/a": run(ours, half_width)}, {"main/a": published})
    (line,) = replications(paper_runs)
    assert line.sign == sign
    assert (line.minus_original.ours, line.minus_original.theirs) == (ours, pytest.approx(theirs))
    signs = ("agrees", "differs", "not resolved")
    assert count_signs([line]) == {one: int(one == sign) for one in signs}


def test_what_is_not_published_is_not_compared(run):
    best_only = Published(where="Table 4", generated_best=0.774)
    assert replications(runs_of({"main/a": run()}, {"main/a": best_only})) == []
    assert replications(runs_of({}, {"main/a": best_only})) == []


def test_cells_hold_the_runs_numbers_and_differences_to_the_default(run):
    base = run()
    groups = dict(base.evaluation.groups)
    generated = groups["generated"]
    better = generated.score.model_copy(update={"mean": generated.score.mean + 0.0125})
    groups["generated"] = generated.model_copy(update={"score": better})
    changed = base.evaluation.model_copy(update={"groups": groups})
    own = PaperRun(name="main/a", folder=base.folder, evaluation=changed, base=base)
    published = {
        "main/a": Published(where="", generated_best=0.774, similarity_range=(0.75, 0.84)),
        "main/b": Published(where="", generated_best=0.779, generated_mean=0.777),
    }
    table = comparison_table(TABLE, runs_of({"main/a": own, "main/b": base}, published))
    other, default = table.lines
    best, mean, similarity = other.cells
    assert (best.theirs, best.theirs_change, best.ours_change) == ("77.4", MINUS + "0.5", "+0.00")
    assert (mean.ours, mean.ours_change) == (f"{100 * better.mean:.2f}", "+1.25")
    assert (mean.theirs, mean.theirs_change) == (None, "")
    found = generated.max_similarity
    assert similarity.ours == f"{found.min:.2f} to {found.max:.2f}"
    assert (similarity.theirs, similarity.ours_change) == ("0.75 to 0.84", "")
    assert default.is_default and not any(cell.ours_change for cell in default.cells)
    assert default.cells[0].theirs == "77.9"


def test_a_line_without_a_run_says_why():
    paper_runs = runs_of({}, {}, {"main/a": "it broke"})
    other, default = comparison_table(TABLE, paper_runs).lines
    assert (other.state, default.state) == ("failed", "not run")


def test_the_default_is_what_the_others_change(run):
    base = run()
    small = PaperRun(name="small/b", folder=base.folder, evaluation=base.evaluation)
    own = run(base=small, is_on_other_base=True)
    paper_runs = runs_of({"main/a": own, "main/b": base})
    assert paper_runs.run_of(TABLE, TABLE.rows[1]).name == "small/b"
    assert paper_runs.run_of(TABLE, TABLE.rows[0]) is own
    assert paper_runs.has_run_for(TABLE)
    assert not runs_of({"main/b": base}).has_run_for(TABLE)  # the default of many tables


@pytest.mark.parametrize(
    ("name", "value", "ours", "printed"),
    [
        ("generated_mean", 0.77654, "77.65", "77.7"),
        ("log_generated_mean", 0.774, "77.40", "77.40"),
        ("minus_original", -0.0009, MINUS + "0.09", MINUS + "0.09"),
        ("max_similarity", 0.84786, "0.848", "0.848"),
        ("similarity_range", (0.8463, 0.871), "0.85 to 0.87", "0.85 to 0.87"),
        ("num_parameters", 24262, "24,262", "24,262"),
        ("generated_best", None, "\u2013", "\u2013"),
    ],
)
def test_values_are_written_as_printed(name, value, ours, printed):
    quantity = QUANTITIES[name]
    assert quantity.format(value) == ours
    assert quantity.format(value, printed=True) == printed


def cloud(low, high):
    return {"generated": Cloud(np.array([0.8, 0.9]), np.array([low, high]), None)}


def test_panels_share_a_view_where_that_squeezes_none():
    (left, right), (bottom, top) = common_view([cloud(0.74, 0.78), cloud(0.75, 0.79)])
    assert left < 0.8 and right > 0.9 and bottom < 0.74 and top > 0.79
    assert common_view([cloud(0.74, 0.78), cloud(0.50, 0.58)]) is None
