"""Several generator seeds: one zoo, a generator for each, and what they make is pooled."""

import pytest

from paramdiff import load_recipe, run
from paramdiff.errors import UserError
from paramdiff.storage import read_tensors, sha256_of

pytestmark = pytest.mark.usefixtures("without_figures")

ARTEFACTS = ("zoo", "pipeline", "generated")


@pytest.fixture(scope="module")
def pooled_run(tmp_path_factory, tiny, undrawn):
    out = tmp_path_factory.mktemp("seeds") / "run"
    with undrawn():
        run(load_recipe("quickstart", [*tiny, "generator_seeds=[0, 5]"]), out, device="cpu")
    return out


def test_the_first_generator_is_that_of_a_single_seed(tiny_run, pooled_run):
    for artifact in ARTEFACTS:
        assert sha256_of(pooled_run / artifact) == sha256_of(tiny_run / artifact), artifact


def test_further_generators_share_the_zoo_and_nothing_else(pooled_run):
    further = pooled_run / "seeds" / "5"
    assert not (further / "zoo").exists()
    assert not list(pooled_run.rglob(".partial*"))
    assert load_recipe(further / "recipe.yaml").generator_seeds == (5,)
    names = {p.name for p in (pooled_run / "generated").iterdir()}
    assert {p.name for p in (further / "generated").iterdir()} == names
    for part in ("codec", "parameter_space"):  # fitted to the same zoo, without randomness
        assert sha256_of(further / "pipeline" / part) == sha256_of(pooled_run / "pipeline" / part)
    assert sha256_of(further / "pipeline/denoiser") != sha256_of(pooled_run / "pipeline/denoiser")


def test_sample_seeds_are_never_used_twice(pooled_run):
    noise = []
    for folder in (pooled_run, pooled_run / "seeds" / "5"):
        recipe = load_recipe(folder / "recipe.yaml")
        first = recipe.generation.seed
        noise += range(first, first + recipe.generation.num_samples)
    assert len(set(noise)) == len(noise)


def test_what_they_generate_is_pooled(pooled_run, tiny, tmp_path):
    recipe = load_recipe("quickstart", [*tiny, "generator_seeds=[0, 5]"])
    evaluation = run(recipe, pooled_run, device="cpu")
    generated = evaluation.groups["generated"]
    num = recipe.generation.num_samples
    assert generated.n == 2 * num
    assert {seed: one.n for seed, one in generated.seeds.items()} == {"0": num, "5": num}
    means = [one.score for one in generated.seeds.values()]
    assert generated.score.mean == pytest.approx(sum(means) / 2)
    labels = read_tensors(pooled_run / "arrays.safetensors")["labels/generated"]
    assert len(labels) == 2 * num


def test_matching_generators_are_taken_over(pooled_run, tiny, tmp_path):
    changed = load_recipe("quickstart", [*tiny, "generator_seeds=[0, 5, 6]", "evaluation.seed=3"])
    run(changed, tmp_path / "run", device="cpu", reuse=pooled_run)
    for part in (*ARTEFACTS, "seeds/5/pipeline", "seeds/5/generated"):
        there, here = pooled_run / part, tmp_path / "run" / part
        assert sha256_of(here) == sha256_of(there), part
    assert sha256_of(tmp_path / "run/seeds/6/generated") != sha256_of(pooled_run / "generated")


def test_by_default_the_recipe_s_seed_is_the_generator_s():
    assert load_recipe("quickstart", ["seed=3"]).generator_seeds == (3,)


@pytest.mark.parametrize("value", ["[1, 1]", "[-1]", "7"])
def test_seeds_that_make_no_sense_are_refused(value):
    with pytest.raises(UserError, match="generator_seeds"):
        load_recipe("quickstart", [f"generator_seeds={value}"])
