"""A method that is registered from outside the package stands in the evaluation and the report."""

import json
import re

import pytest

from paramdiff.evaluation.evaluation_file import write_evaluation
from paramdiff.methods.method import Method, Strengths, Style
from paramdiff.methods.method_context import Samples
from paramdiff.methods.registry import METHODS
from paramdiff.report.page import write_report
from tests.evaluation.linear import evaluated, shifted

FAULT = {"shift": 1.0, "spread": 0.2, "fault": 1.2}


def sample(context, draws, strength):
    """Take the fault of the originals back, and add noise."""
    source = draws.integers(len(context.raw))
    raw = context.raw[source].clone()
    raw[:, -1] -= FAULT["fault"]
    raw += (strength or 0.0) * draws.normal(raw.shape[1])
    return Samples(context.normalization.apply(raw), source, raw)


MENDED = Method(
    "mended",
    label="Mended originals",
    label_at="Mended originals, noise {}",
    phrase="mended checkpoints",
    phrase_at="checkpoints mended with noise of {}",
    reference="Somebody 2026, equation 7",
    style=Style("#123456", "v"),
    sample=sample,
    strengths=Strengths((None, 0.5), (0.01, 3.0)),
    min_originals=2,
    finish="batchnorm",
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(METHODS, MENDED.name, MENDED)
        # all other baselines keep the fault, so that this one decides
        evaluation, arrays = evaluated(shifted(30, 5, 1.0, 0.2), shifted(30, 6, **FAULT))
        path = tmp_path_factory.mktemp("own")
        write_evaluation(path, evaluation, arrays)
        write_report(path)
        yield path


def test_its_groups_are_evaluated_and_named_as_its_entry_says(folder):
    content = json.loads((folder / "evaluation.json").read_text())
    groups = {name: one for name, one in content["groups"].items() if name.startswith("mended")}
    assert {"mended", "mended@0.5"} <= groups.keys()
    for name, one in groups.items():
        strength = name.partition("@")[2]
        assert one["method"] == "mended" and one["reference"] == "Somebody 2026, equation 7"
        label, phrase = "Mended originals", "mended checkpoints"
        if strength:
            label, phrase = (
                f"{label}, noise {strength}",
                f"checkpoints mended with noise of {strength}",
            )
        assert (one["label"], one["phrase"]) == (label, phrase)
    assert groups["mended@0.5"]["validation"] is not None
    assert any(one["matched_to"] for one in groups.values())
    assert groups.keys() <= {one["reference"] for one in content["comparisons"]}


def test_its_label_phrase_style_and_reference_are_on_the_page(folder):
    content = json.loads((folder / "evaluation.json").read_text())
    text = re.sub(r"\s+", " ", (folder / "report.html").read_text())
    assert "Mended originals, noise 0.5" in text
    assert "Mended originals: Somebody 2026, equation 7" in text
    assert "#123456" in text
    reference = content["verdict"]["outcomes"]["max_similarity"]["reference"]
    assert reference.startswith("mended")
    assert f"is {content['groups'][reference]['phrase']} with" in text


def test_every_method_says_what_a_reader_needs():
    for method in METHODS.values():
        assert method.label and method.phrase
        assert method.reference or method.role in ("evaluated", "control")
        assert (method.sample is None) == (method.role == "evaluated")
        for template in (method.label_at, method.phrase_at):
            assert template is None or template.count("{}") == 1
