"""A sweep does shared work once, goes on after an interruption, and survives a bad recipe."""

import json
import re
import shutil
from contextlib import contextmanager

import pytest
import yaml

from paramdiff.errors import UserError
from paramdiff.evaluation.schema import Evaluation
from paramdiff.recipe.loading import shipped_recipes
from paramdiff.recipe.schema import load_factors, load_recipe, to_yaml
from paramdiff.report.sweep_page import result_of
from paramdiff.report.sweep_schema import Sweep
from paramdiff.runs.copy_stages import pretrained_checkpoint
from paramdiff.runs.folder import RunFolder
from paramdiff.runs.run import run
from paramdiff.runs.sweep import run_sweep
from paramdiff.runs.sweep_entries import plan_sweep
from paramdiff.storage import read_json, sha256_of

pytestmark = pytest.mark.usefixtures("without_figures")

SHARED = ("zoo", "pipeline/parameter_space", "pipeline/codec", "pipeline/denoiser")


class Watch:
    """Remembers which stages did any work, recipe by recipe."""

    def __init__(self, stop_at=None):
        self.worked = {}
        self.stop_at = stop_at

    @contextmanager
    def __call__(self, name):
        self.worked[name] = set()

        def progress(stage, done, total):
            self.worked[name].add(stage)
            if self.stop_at == (name, stage):
                raise KeyboardInterrupt

        yield progress


def sweep(entries, out, **options):
    watch = Watch(**options)
    return run_sweep(entries, out, device="cpu", watch=watch), watch.worked


@pytest.fixture(scope="module")
def entries(tiny):
    return plan_sweep(["quickstart"], tiny, "generation.temperature=1.0,0.5")


@pytest.fixture(scope="module")
def finished(entries, tmp_path_factory, undrawn):
    """A finished sweep of two recipes that differ in their generation only; to be read only."""
    out = tmp_path_factory.mktemp("sweep")
    with undrawn():
        return out, *sweep(entries, out)


def test_what_is_equal_is_made_once(entries, finished):
    out, _, worked = finished
    names = [entry.name for entry in entries]
    assert names == ["quickstart,temperature=1.0", "quickstart,temperature=0.5"]
    making = {"pre-training", "collecting checkpoints", "training the denoiser"}
    assert making <= worked[names[0]]
    assert worked[names[1]] == {"generating networks", "evaluating"}
    for artifact in SHARED:
        assert len({sha256_of(out / name / artifact) for name in names}) == 1, artifact
    assert len({sha256_of(out / name / "generated") for name in names}) == 2


def test_zoos_that_differ_in_fine_tuning_share_the_pretrained_network(tiny, finished, tmp_path):
    out = tmp_path / "sweep"
    shutil.copytree(
        finished[0] / "quickstart,temperature=1.0", out / "first"
    )  # of an earlier sweep
    entries = plan_sweep(["quickstart"], tiny, "collection.fine_tuning.lr=0.01")
    _, worked = sweep(entries, out)
    assert "pre-training" not in worked[entries[0].name]
    assert "collecting checkpoints" in worked[entries[0].name]
    run(entries[0].recipe, tmp_path / "alone", device="cpu")
    alone = sha256_of(tmp_path / "alone" / "zoo")
    assert sha256_of(out / entries[0].name / "zoo") == alone


def test_another_pretraining_is_not_shared(tiny, tiny_run):
    folder = RunFolder(tiny_run)
    assert pretrained_checkpoint(folder, load_recipe("quickstart", tiny)) is not None
    for other in ("seed=1", "task.seed=1", "collection.pretraining.lr=0.1"):
        assert pretrained_checkpoint(folder, load_recipe("quickstart", [*tiny, other])) is None


def test_each_row_is_its_runs_evaluation(entries, finished):
    out, made, _ = finished
    assert [row.name for row in made.rows] == [entry.name for entry in entries]
    for row, temperature in zip(made.rows, (1.0, 0.5), strict=True):
        assert row.changed == {"generation.temperature": temperature}
        evaluation = Evaluation.model_validate(read_json(out / row.name / "evaluation.json"))
        assert row.result == result_of(evaluation)
        generated = evaluation.groups["generated"].score
        assert row.result.generated_mean == generated.mean
        assert row.result.minus_original == pytest.approx(
            generated.mean - evaluation.groups["original"].score.mean, abs=1e-6
        )
    stored = read_json(out / "sweep.json")
    assert stored.pop("schema") == 2
    assert Sweep.model_validate(stored) == made
    assert made.rows[1].result.dispersion < made.rows[0].result.dispersion


def test_the_page_is_whole_and_tells_every_row(finished):
    out, made, _ = finished
    page = (out / "sweep.html").read_text(encoding="utf-8")
    addresses = re.findall(r"(?:src|srcset|href)\s*=\s*[\"']?([^\"'\s>]+)", page)
    assert addresses and all(address.startswith("data:") for address in addresses)
    assert "<script" not in page and "Paired comparisons" not in page
    for row in made.rows:
        told = page.partition(f'data-recipe="{row.name}"')[2].partition("</tr>")[0]
        assert f"generation.temperature = {row.changed['generation.temperature']}" in told
        assert f"{100 * row.result.generated_mean:.2f}" in told


def test_the_same_call_does_nothing_again(entries, finished):
    out, made, _ = finished
    kept = [path for path in out.rglob("*") if path.is_file() and path.stem != "sweep"]
    before = {path: path.stat().st_mtime_ns for path in kept}
    again, worked = sweep(entries, out)
    assert again == made
    assert set().union(*worked.values()) == set()
    assert {path: path.stat().st_mtime_ns for path in kept} == before


def test_an_interrupted_sweep_goes_on(entries, finished, tmp_path):
    out, made, _ = finished
    shutil.copytree(out / entries[0].name, tmp_path / entries[0].name)
    with pytest.raises(KeyboardInterrupt):
        sweep(entries, tmp_path, stop_at=(entries[1].name, "generating networks"))
    assert len(read_json(tmp_path / "sweep.json")["rows"]) == 1
    again, worked = sweep(entries, tmp_path)
    assert again == made
    assert worked[entries[0].name] == set()
    assert worked[entries[1].name] == {"generating networks", "evaluating"}
    for entry in entries:
        for artifact in (*SHARED, "generated"):
            one, other = (folder / entry.name / artifact for folder in (out, tmp_path))
            assert sha256_of(one) == sha256_of(other), artifact


def written(folder, name, **changes):
    content = yaml.safe_load(shipped_recipes()["quickstart"].read_text(encoding="utf-8"))
    path = folder / f"{name}.yaml"
    path.write_text(yaml.safe_dump(content | {"name": name} | changes), encoding="utf-8")
    return str(path)


def test_a_recipe_that_fails_does_not_stop_the_others(entries, finished, tiny, tmp_path):
    nasty = "<b>&amp;</b>"
    bad = written(tmp_path, "bad", description=nasty, parameters={"select": ["<i>nope</i>"]})
    shutil.copytree(finished[0] / entries[0].name, tmp_path / "out" / entries[0].name)
    planned = [*plan_sweep([bad], tiny), entries[0]]
    made, _ = sweep(planned, tmp_path / "out")
    assert made.rows[0].result is None and "<i>nope</i>" in made.rows[0].failure
    assert made.rows[1] == finished[1].rows[0]
    assert not (tmp_path / "out" / "bad").exists()
    page = (tmp_path / "out" / "sweep.html").read_text(encoding="utf-8")
    assert nasty not in page and "<i>nope" not in page
    assert "&lt;i&gt;nope" in page and "1 of 2 finished" in page


def test_a_sweep_in_which_all_fail_has_a_page_too(tiny, tmp_path):
    bad = written(tmp_path, "bad", parameters={"select": ["nope"]})
    made, _ = sweep(plan_sweep([bad], tiny), tmp_path / "out")
    assert made.rows[0].failure is not None
    page = (tmp_path / "out" / "sweep.html").read_text(encoding="utf-8")
    assert "<figure" not in page and "0 of 1 finished" in page


def test_patterns_name_shipped_recipes_and_ablations_their_factors():
    planned = plan_sweep(["ablation/noise_*", "ablation/vae_sample"])
    names = [entry.name for entry in planned]
    assert names == [n for n in shipped_recipes() if n.startswith("ablation/noise_")] + [
        "ablation/vae_sample"
    ]
    for entry in planned:
        assert entry.recipe == load_recipe(entry.name)
        assert entry.changed == load_factors(entry.name)


def test_complete_recipes_show_where_they_differ(tmp_path):
    one = written(tmp_path, "one", generation={"seed": 3})
    planned = plan_sweep([one, "quickstart"], ["generation.num_samples=9"])
    assert [entry.name for entry in planned] == ["one", "quickstart"]
    assert [entry.changed for entry in planned] == [{"generation.seed": seed} for seed in (3, 0)]
    assert {entry.recipe.generation.num_samples for entry in planned} == {9}


def test_varied_values_are_yaml():
    planned = plan_sweep(
        ["quickstart"], (), "parameters.select=[norm3.weight],['norm2.*', 're:x']"
    )
    assert [entry.recipe.parameters.select for entry in planned] == [
        ("norm3.weight",),
        ("norm2.*", "re:x"),
    ]
    assert len({entry.name for entry in planned}) == 2
    assert all(re.fullmatch(r"[\w.,=+-]+", entry.name) for entry in planned)


@pytest.mark.parametrize(
    ("sources", "vary", "told"),
    [
        (["ablation/nois_*"], None, "no shipped recipe fits this pattern"),
        (["quikstart"], None, "'quickstart'"),
        (["quickstart", "quick*"], None, "two recipes are called 'quickstart'"),
        (["main/pets_*"], "seed=1,2", "--vary: this takes one recipe"),
        (["quickstart"], "seed", "--vary: this takes one recipe"),
        (["quickstart"], "seed=", "--vary: this takes one recipe"),
        (["quickstart"], "seed=[", "--vary: this takes one recipe"),
        (["quickstart"], "seed=1,1", "two recipes are called 'quickstart,seed=1'"),
        (["quickstart"], "sead=1,2", "sead: unknown key"),
    ],
)
def test_a_sweep_that_cannot_be_is_refused_before_it_runs(sources, vary, told):
    with pytest.raises(UserError) as caught:
        plan_sweep(sources, (), vary)
    assert told in str(caught.value) and len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize(
    "name",
    ["", "../up", "a/../../up", "/abs", "a//b", "back\\slash", "prediction_cache", "sweep.json"],
)
def test_a_recipe_that_can_be_no_folder_is_refused(name, tmp_path):
    file = tmp_path / "own.yaml"
    file.write_text(to_yaml(load_recipe("quickstart").model_copy(update={"name": name})))
    with pytest.raises(UserError, match="cannot be the name of a folder in a sweep"):
        plan_sweep([str(file)])


def test_numbers_are_strict_json(finished):
    text = (finished[0] / "sweep.json").read_text(encoding="utf-8")
    assert json.loads(text, parse_constant=pytest.fail)["rows"]
