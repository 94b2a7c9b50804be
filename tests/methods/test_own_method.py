"""A method that is registered from outside the package stands in the evaluation and the report."""

import json
import re

import pytest
import torch

from paramdiff.evaluation.evaluation_file import write_evaluation
from paramdiff.methods.method import Method, Strengths, Style
from paramdiff.methods.method_context import Samples
from paramdiff.methods.registry import METHODS
from paramdiff.report.page import write_report
from tests.evaluation.linear import evaluated, good


def sample(context, count, generator, strength):
    """Draw originals and move each towards their mean."""
    source = torch.randint(len(context.originals), (count,), generator=generator)
    chosen, mean = context.originals[source], context.originals.mean(0)
    return Samples(chosen + (strength or 1.0) * (mean - chosen), source)


SHRUNK = Method(
    "shrunk",
    label="Shrunk originals",
    label_at="Shrunk originals, by {}",
    phrase="shrunk checkpoints",
    phrase_at="checkpoints shrunk by {}",
    reference="Somebody 2026, equation 7",
    style=Style("#123456", "v"),
    sample=sample,
    strengths=Strengths((None, 0.5), (0.01, 1.0)),
    min_originals=2,
    finish="batchnorm",
)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setitem(METHODS, SHRUNK.name, SHRUNK)
    # the generated networks are its own: nothing else is as good at their similarity
    originals = good(30, 1)
    generated = originals[:20] + 0.4 * (originals.mean(0) - originals[:20])
    evaluation, arrays = evaluated(generated, originals)
    write_evaluation(tmp_path, evaluation, arrays)
    write_report(tmp_path)
    return tmp_path


def test_its_groups_are_evaluated_and_named_as_its_entry_says(folder):
    content = json.loads((folder / "evaluation.json").read_text())
    groups = {name: one for name, one in content["groups"].items() if name.startswith("shrunk")}
    assert {"shrunk", "shrunk@0.5"} < groups.keys()  # and at matched strengths
    for name, one in groups.items():
        strength = name.partition("@")[2]
        assert one["method"] == "shrunk" and one["reference"] == "Somebody 2026, equation 7"
        by = f", by {strength}" if strength else ""
        assert one["label"] == f"Shrunk originals{by}"
        assert one["phrase"] == (
            f"checkpoints shrunk by {strength}" if strength else SHRUNK.phrase
        )
    assert groups["shrunk@0.5"]["validation"] is not None
    assert any(one["matched_to"] for one in groups.values())
    assert {"shrunk", "shrunk@0.5"} < {one["reference"] for one in content["comparisons"]}
    decided = [one["reference"] for one in content["frontier"].values()]
    assert any(name.startswith("shrunk@") for name in decided)


def test_its_label_phrase_style_and_reference_are_on_the_page(folder):
    page = (folder / "report.html").read_text()
    text = re.sub(r"\s+", " ", page)
    assert "Shrunk originals, by 0.5" in text
    assert "Shrunk originals: Somebody 2026, equation 7" in text
    assert "checkpoints shrunk by" in text  # in the verdict
    assert "#123456" in text


def test_every_method_says_what_a_reader_needs():
    for method in METHODS.values():
        assert method.label and method.phrase
        assert method.reference or method.role in ("evaluated", "control")
        assert (method.sample is None) == (method.role == "evaluated")
        for template in (method.label_at, method.phrase_at):
            assert template is None or template.count("{}") == 1
