"""The commands from Python, as in a notebook: one call each, and what they return is used on."""

import paramdiff

from .test_fit import QUICK, drifting


def score(state_dict):
    return float(state_dict["1.weight"].mean())


def test_from_checkpoints_to_a_comparison(tmp_path):
    folder, stages, plans, lines = drifting(tmp_path / "in"), set(), [], []

    def progress(stage, done, total, note=""):
        assert 0 <= done <= total
        stages.add(stage)

    found = paramdiff.inspect(folder, progress=progress)
    assert (found.num_checkpoints, found.generated) == (24, ("1.weight", "1.bias"))
    result = paramdiff.fit(
        folder,
        tmp_path / "out",
        num_samples=3,
        score_fn=f"{__name__}:score",
        force=True,
        device="cpu",
        overrides=QUICK,
        log=lines.append,
        on_plan=plans.append,
        progress=progress,
    )
    assert plans == [result.plan] and result.plan.recipe.generation.num_samples == 3
    assert "originals score" in lines[0] and result.facts.keys() == {"Reconstruction"}
    assert {"reading checkpoints", "training the denoiser", "generating networks"} <= stages
    assert result.pipeline.is_dir() and len(list(result.generated.glob("*.pt"))) == 3
    more = paramdiff.generate(result.folder, tmp_path / "more", num_samples=2, device="cpu")
    assert more == tmp_path / "more" and len(list(more.glob("*.pt"))) == 2
    assert paramdiff.push(result.folder, str(tmp_path / "given")) == str(tmp_path / "given")
    evaluation = paramdiff.compare(
        folder,
        tmp_path / "judged",
        generated=result.folder,
        score_fn=f"{__name__}:score",
        device="cpu",
        progress=progress,
    )
    assert evaluation.groups["generated"].n == 3
    assert (tmp_path / "judged" / "report.html").is_file()


def test_a_recipe_is_checked():
    found = paramdiff.check("quickstart", ["seed=3"])
    assert found.recipe == paramdiff.load_recipe("quickstart", ["seed=3"])
    assert found.sizes == paramdiff.check(found.recipe).sizes
    assert found.sizes["generated parameters"].endswith("tensors")
