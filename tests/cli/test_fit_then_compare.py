"""What a generator saw is never called new, and what it held out is held out again."""

import shutil

import pytest
import torch

from paramdiff.cli import main
from paramdiff.storage import read_json

pytestmark = pytest.mark.usefixtures("without_figures")

QUICK = (
    *("--set", "diffusion.training.num_steps=20", "--set", "diffusion.denoiser.width=8"),
    *(
        "--set",
        "generation.num_inference_steps=10",
        "--num-samples",
        "4",
        "--force",
        "--device",
        "cpu",
    ),
)


def mean_of_a(state_dict):
    """A scoring function."""
    return float(state_dict["a"].mean())


@pytest.fixture(scope="module")
def fitted(tmp_path_factory):
    """Two runs of twelve, with a copy of each last one, and what was fitted to them."""
    import sys

    root = tmp_path_factory.mktemp("fitted")
    for run in range(2):
        torch.manual_seed(run)
        values = torch.randn(12, 12)
        (root / f"in/run{run}").mkdir(parents=True)
        for epoch in range(12):
            values = values + 0.1 * torch.randn(12, 12)
            torch.save({"a": values, "b": torch.ones(2)}, root / f"in/run{run}/epoch={epoch}.pt")
        shutil.copy(root / f"in/run{run}/epoch=11.pt", root / f"in/run{run}/best.pt")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            sys, "argv", ["paramdiff", "fit", str(root / "in"), *QUICK, "--out", str(root / "out")]
        )
        patch.setattr("warnings.showwarning", None)
        with pytest.raises(SystemExit) as ended:
            main()
        assert not ended.value.code
    return root


def judged(call, root, out, *more, generated=None, originals=None):
    status, stdout, stderr = call(
        *(
            "compare",
            generated or root / "out/generated",
            "--originals",
            originals or root / "in",
        ),
        *("--score-fn", f"{__name__}:mean_of_a", "--out", out, "--device", "cpu", *more),
    )
    assert status == 0, stderr
    return read_json(out / "evaluation.json"), (out / "report.html").read_text(), stdout + stderr


def test_the_zoo_has_each_checkpoint_once(fitted):
    index = read_json(fitted / "out/zoo/index.json")
    sources = [entry["source"] for entry in index["checkpoints"]]
    assert sources == [f"run{run}/epoch={epoch}.pt" for run in range(2) for epoch in range(12)]
    assert [entry["step"] for entry in index["checkpoints"]] == [*range(12), *range(12)]
    assert [one["source"] for one in index["duplicates"]] == ["run0/best.pt", "run1/best.pt"]
    assert sum(entry["held_out"] for entry in index["checkpoints"]) == 2


def test_the_generators_own_hold_out_is_used(fitted, call, tmp_path):
    found, page, told = judged(call, fitted, tmp_path / "e")
    assert (found["hold_out"], found["is_held_out_new"]) == ("spaced", True)
    assert found["groups"]["held_out"]["n"] == 2 and found["groups"]["original"]["n"] == 22
    assert "Not one of them trained the generator" in page and "never saw" not in page
    assert not found["single_trajectory"] and found["trajectory"]["num_runs"] == 2
    assert "share hardly a value" in page
    assert any("in unrelated orders" in one for one in found["verdict"]["warnings"])
    assert "run1/best.pt (as run1/epoch=11.pt)" in " ".join(told.split())
    zoo, _, _ = judged(call, fitted, tmp_path / "z", originals=fitted / "out/zoo")
    groups = [one["groups"]["held_out"] for one in (zoo, found)]
    tensors = [group.pop("dispersion_per_tensor") for group in groups]
    assert groups[0] == groups[1] and tensors[0]["a"] == tensors[1]["a"]
    assert tensors[1].keys() - tensors[0].keys() == {"b"}  # equal in all: not in the zoo
    assert zoo["is_held_out_new"]


def test_what_trained_is_not_held_out(fitted, refused, tmp_path):
    told = refused(
        *(
            "compare",
            fitted / "out/generated",
            "--originals",
            fitted / "in",
            "--num-held-out",
            12,
        ),
        *("--score-fn", f"{__name__}:mean_of_a", "--out", tmp_path / "e"),
    )
    assert "run1/epoch=0.pt" in told and "trained the generator, as hashes show" in told


def test_more_of_a_pipeline_know_it_too(fitted, call, tmp_path):
    status, _, stderr = call(
        *("generate", fitted / "out/pipeline", "--num-samples", 3, "--out", tmp_path / "more"),
    )
    assert status == 0, stderr
    found, _, _ = judged(call, fitted, tmp_path / "e", generated=tmp_path / "more")
    assert found["groups"]["held_out"]["n"] == 2 and found["is_held_out_new"]


def test_without_knowledge_nothing_is_said_of_what_was_seen(fitted, call, tmp_path):
    alone = tmp_path / "alone"
    shutil.copytree(fitted / "out/generated", alone, ignore=lambda *_: ["learned_from.json"])
    (alone / "link.pt").symlink_to("0000.pt")
    shutil.copy(alone / "0001.pt", alone / "9999.pt")
    found, page, told = judged(call, fitted, tmp_path / "e", generated=alone)
    assert found["hold_out"] == "none" and "held_out" not in found["groups"]
    assert found["groups"]["generated"]["n"] == 5  # a copy is a finding, a link is not
    assert "link.pt (a link to 0000.pt)" in " ".join(told.split())
    found, page, _ = judged(call, fitted, tmp_path / "f", "--num-held-out", 3, generated=alone)
    assert found["groups"]["held_out"]["n"] == 3 and not found["is_held_out_new"]
    assert "Whether they trained the generator is not known" in page
    assert "Not one of them trained" not in page and "never saw" not in page
