"""Tiny runs as tables and figures of the paper: every number is a run's or the paper's."""

import re
import shutil
from contextlib import contextmanager
from html import unescape

import pytest
import torch

from paramdiff.errors import UserError
from paramdiff.evaluation.parameter_traces import NUM_STATES, shown_parameters
from paramdiff.evaluation.schema import Evaluation
from paramdiff.paper import paper_figures as panels
from paramdiff.paper.paper_page import lift_notes, sections
from paramdiff.paper.paper_runs import gather_runs
from paramdiff.paper.paper_sweep import PAPER
from paramdiff.paper.replication import count_signs, replications
from paramdiff.paper.score_similarity_figure import clouds_of
from paramdiff.paper.table_schema import load_paper_tables
from paramdiff.runs.sweep import redraw_sweep, run_sweep
from paramdiff.runs.sweep_entries import plan_sweep, requested_sections
from paramdiff.storage import read_json, write_json
from paramdiff.zoo.zoo import Zoo

QUIET, FEW = "ablation/noise_0000a00", "ablation/numberckpt_010"
DEFAULT = "main/cifar100_resnet18"


@contextmanager
def unwatched(name):
    yield lambda stage, done, total: None


@pytest.fixture(scope="module")
def folder(tiny_paper, tiny_paper_run, tmp_path_factory, undrawn):
    """A finished sweep of two ablations over the quickstart; to be read only."""
    out = tmp_path_factory.mktemp("tables")
    shutil.copytree(tiny_paper_run, out / "quickstart")
    sources = [QUIET, FEW, "figure1"]
    entries = plan_sweep(sources, tiny_paper, base="quickstart", extension=PAPER)
    assert [entry.name for entry in entries] == [QUIET, FEW, "quickstart"]
    requested = requested_sections(sources, PAPER)
    with undrawn():
        made = run_sweep(
            entries, out, device="cpu", watch=unwatched, requested=requested, extension=PAPER
        )
    assert all(row.failure is None for row in made.rows), made.rows
    return out


@pytest.fixture(scope="module")
def paper_runs(folder):
    return gather_runs(folder, {})


@pytest.fixture(scope="module")
def drawn(paper_runs):
    """What the page shows without requested sections."""
    return sections((), paper_runs)


def evaluation_of(folder, name):
    return Evaluation.model_validate(read_json(folder / name / "evaluation.json"))


def part_of(page, name):
    """Text of one table or figure."""
    part = page.partition(f'id="{name}"')[2].partition('<div class="paper-table"')[0]
    return " ".join(unescape(re.sub(r"<[^>]*>", " ", part)).split())


def row_of(page, name, label):
    part = page.partition(f'id="{name}"')[2].partition(f'data-setting="{label}"')[2]
    cells = re.findall(r"<td[^>]*>(.*?)</td>", part.partition("</tr>")[0])
    return [unescape(re.sub(r"<[^>]*>", " ", cell)).split() for cell in cells]


def test_every_setting_has_its_run_and_its_base(folder, paper_runs):
    assert set(paper_runs.by_setting) == {QUIET, FEW}
    for key, run in paper_runs.by_setting.items():
        assert (run.name, run.base.name, run.is_on_other_base) == (key, "quickstart", True)
        assert run.evaluation == evaluation_of(folder, key)
        assert run.deviations == ()
    table = load_paper_tables()["table3a"]
    default = next(one for one in table.settings if one.key == DEFAULT)
    assert paper_runs.run_of(table, default).evaluation == evaluation_of(folder, "quickstart")


def test_the_page_shows_what_is_there(folder, drawn):
    shown = [one.paper_table.name for one in drawn]
    assert shown == ["table3a", "table3e", "figure1", "figure5a", "figure5c"]
    page = (folder / "sweep.html").read_text(encoding="utf-8")
    assert re.findall(r'class="paper-table" id="(\w+)"', page) == shown
    assert re.findall(r'<figure id="figure-figure(\w+)"', page) == ["1", "5a", "5c"]
    addresses = re.findall(r"(?:src|srcset|href)\s*=\s*[\"']?([^\"'\s>]+)", page)
    assert addresses and all(address.startswith("data:") for address in addresses)


def test_numbers_are_the_runs_beside_the_papers(folder):
    page = (folder / "sweep.html").read_text(encoding="utf-8")
    base = evaluation_of(folder, "quickstart").groups["generated"].score
    for paper_table, label, name, best, mean in (
        ("table3a", "none", QUIET, ("77.5", "\u22120.4"), ("76.7", "\u22121.0")),
        ("table3e", "10", FEW, ("77.0", "\u22120.9"), ("76.6", "\u22121.1")),
    ):
        ours = evaluation_of(folder, name).groups["generated"].score
        cells = row_of(page, paper_table, label)
        expected = [f"{100 * (ours.mean - base.mean):+.2f}".replace("-", "\u2212")]
        assert cells[2] == [f"{100 * ours.mean:.2f}", *expected]
        assert cells[0][0] == f"{100 * ours.max:.2f}"
        assert (tuple(cells[1]), tuple(cells[3])) == (best, mean)
    assert row_of(page, "table3a", "both (default)")[2] == [f"{100 * base.mean:.2f}"]


def test_what_is_missing_and_what_differs_is_said(folder, drawn):
    page = (folder / "sweep.html").read_text(encoding="utf-8")
    table = part_of(page, "table3e")
    assert "Not run: 50, 200, 400." in table
    assert row_of(page, "table3e", "50")[0] == ["not", "run"]
    assert row_of(page, "table3e", "50")[1][0] == "77.5"
    said = "Base here: quickstart instead of main/cifar100_resnet18"
    assert said in unescape(page)
    assert "contradict the second half of the claim" in part_of(page, "figure5a")
    assert all(any(said in note for note in one.notes) for one in drawn)
    shared, kept = lift_notes(drawn)
    assert [note.startswith(said) for _, note in shared].count(True) == 1
    assert all(said not in note for one in kept for note in one.notes)


def test_the_replication_is_that_of_the_differences(folder, paper_runs):
    lines = {line.key: line for line in replications(paper_runs)}
    # for 10 originals the authors released no log, and the paper no mean of the originals
    assert set(lines) == {QUIET, DEFAULT}
    for key, line in lines.items():
        ran = evaluation_of(folder, "quickstart" if key == DEFAULT else key)
        compared = next(c for c in ran.comparisons if c.reference == "original")
        assert (line.minus_original.ours, line.ci95) == (compared.difference, compared.ci95)
        if compared.ci95[0] <= 0 <= compared.ci95[1]:
            assert line.sign == "not resolved"
        else:
            same = (compared.difference > 0) == (line.minus_original.theirs > 0)
            assert line.sign == ("agrees" if same else "differs")
        groups = ran.groups
        assert line.more_alike.ours == pytest.approx(
            groups["generated"].pairwise_similarity - groups["original"].pairwise_similarity
        )
    assert lines[QUIET].minus_original.theirs == pytest.approx(0.7654 - 0.7672)
    assert lines[QUIET].more_alike.theirs == pytest.approx(0.7601 - 0.7837)
    assert lines[DEFAULT].noise.theirs == pytest.approx(0.7660 - 0.7672)
    assert sum(count_signs(list(lines.values())).values()) == len(lines)
    page = (folder / "sweep.html").read_text(encoding="utf-8")
    assert re.findall(r'data-replication="([^"]+)"', page) == list(lines)


def test_noise_is_drawn_in_the_papers_habit(paper_runs):
    """Its own source counts, as in the numbers of the evaluation under that name."""
    run = paper_runs.by_setting[QUIET]
    clouds = clouds_of(run)
    assert [*clouds][::4] == ["original", "generated"]
    for name in ("noise@0.001", "noise@0.05", "noise@0.15"):
        group, cloud = run.evaluation.groups[name], clouds[name]
        assert cloud.similarity.mean() == pytest.approx(
            group.max_similarity_with_source.mean, abs=1e-6
        )
        assert cloud.without_source == pytest.approx(group.max_similarity.mean, abs=1e-6)


def test_the_course_of_training_is_the_zoos(folder):
    zoo = Zoo.load(folder / "quickstart" / "zoo")
    arrays = gather_runs(folder, {}).by_setting[QUIET].base.tensors
    training, num_weights = (
        arrays["parameter_traces/training"],
        int(arrays["parameter_traces/num_weights"]),
    )
    shown, expected = shown_parameters(zoo.layout)
    assert num_weights == expected == 48 and len(shown) == 96
    assert torch.equal(training, zoo.originals[:NUM_STATES][:, shown])
    names = [
        slot.name
        for place in shown
        for slot in zoo.layout.slots
        if slot.start <= place < slot.stop
    ]
    assert all(name.endswith("weight") for name in names[:num_weights])
    assert all(name.endswith("bias") for name in names[num_weights:])
    reverse = arrays["parameter_traces/reverse"]
    assert len(reverse) == len(arrays["trajectory/timestep"]) and reverse.shape[1] == 96


def test_redrawing_changes_nothing(folder, tmp_path):
    out = tmp_path / "sweep"
    shutil.copytree(folder, out, ignore=shutil.ignore_patterns("zoo", "generated", "pipeline"))
    before = {name: (out / name).read_bytes() for name in ("sweep.html", "sweep.json")}
    assert redraw_sweep(out, PAPER) == out / "sweep.html"
    assert before == {name: (out / name).read_bytes() for name in before}


def test_a_later_sweep_keeps_what_is_there(folder, tiny_paper, tmp_path, monkeypatch):
    monkeypatch.setattr(panels, "embed", lambda draw, size: "data:,")
    out = tmp_path / "sweep"
    shutil.copytree(folder, out)
    run_sweep([], out, device="cpu", watch=unwatched, requested=("table6",), extension=PAPER)
    page = (out / "sweep.html").read_text(encoding="utf-8")
    shown = re.findall(r'class="paper-table" id="(\w+)"', page)
    assert shown[:3] == ["table3a", "table3e", "table6"]
    assert row_of(page, "table6", "MLP-mini") == [["66,970"], ["66,970"]]
    rows = [row["name"] for row in read_json(out / "sweep.json")["rows"]]
    assert rows == [QUIET, FEW, "quickstart"]
    shutil.rmtree(out / FEW)
    entries = plan_sweep(["quickstart"], tiny_paper)
    run_sweep(entries, out, device="cpu", watch=unwatched, extension=PAPER)
    stored = read_json(out / "sweep.json")
    assert [row["name"] for row in stored["rows"]] == [QUIET, "quickstart"]
    assert stored["requested"] == ["figure1", "table6"]


def test_a_page_that_cannot_be_drawn_again_is_refused(folder, tmp_path):
    (tmp_path / "sweep.json").write_text('{"schema": 2, "rows": [{"name": 3}]}', encoding="utf-8")
    with pytest.raises(UserError, match=r"sweep\.json: rows\.0\.name"):
        redraw_sweep(tmp_path, PAPER)
    row = {
        "name": "a",
        "description": "",
        "changed": {},
        "result": None,
        "published": {"where": 3},
    }
    write_json(tmp_path / "sweep.json", {"schema": 2, "rows": [row]})
    with pytest.raises(UserError, match=r"sweep\.json: rows\.0\.published: where: "):
        redraw_sweep(tmp_path, PAPER)
    (tmp_path / "sweep.json").write_text('{"schema": 1, "rows": []}', encoding="utf-8")
    with pytest.raises(UserError, match=r"sweep\.json: schema 1 was written by an earlier"):
        redraw_sweep(tmp_path, PAPER)
