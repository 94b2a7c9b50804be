"""The shipped recipes: the paper's 81 are all there, as published, and each can be built."""

import json

import pytest

from paramdiff.recipe.loading import COSTS, list_recipes, shipped_recipes
from paramdiff.recipe.schema import load_factors, load_recipe
from paramdiff.runs.meta_models import build_meta_models, num_values
from paramdiff.tasks.registry import describe_task

from .costs import computed

NAMES = list(shipped_recipes())
PAPERS = [name for name in NAMES if name.startswith(("main/", "full/", "ablation/"))]
NETWORKS = ("resnet18", "resnet50", "vittiny", "vitbase", "convnexttiny", "convnextbase")
DATA = ("cifar10", "cifar100", "stl10", "flowers", "pets", "food101", "in1k")

SIZES = {
    "resnet18": (2_048, 2_048, 2_199_201, 2_462_977),
    "resnet50": (5_120, 5_120, 2_988_705, 2_462_977),
    "vittiny": (768, 768, 1_870_241, 2_462_977),
    "vitbase": (3_072, 3_072, 2_462_369, 2_462_977),
    "convnexttiny": (3_072, 3_072, 2_462_369, 2_462_977),
    "convnextbase": (4_096, 4_096, 2_725_537, 2_462_977),
    "layers_cv0000": (9_408, 9_408, 23_016_929, 3_726_337),
    "layers_fc0000": (51_300, 51_328, 54_776_737, 2_807_809),
    "convnet": (24_262, 24_320, 40_201_505, 3_201_537),
    "mlp": (66_970, 67_008, 105_812_961, 3_201_537),
    "resnet": (25_138, 25_152, 41_480_289, 3_201_537),
    "vit": (80_714, 80_768, 126_962_081, 3_201_537),
    "convnext": (74_970, 75_008, 118_108_961, 3_201_537),
    "cnnmedium": (10_853, 10_880, 7_352_993, 2_545_153),
}
"""Generated parameters (the paper's Table 6), vector length, codec's and denoiser's parameters."""


OTHERS = {
    "other/fasterrcnn": (3_855, 3_904, 41_755_286),
    "other/fcos": (1_024, 1_024, 32_269_600),
    "other/fcn": (4_096, 4_096, 35_322_218),
    "other/ddpm_unet": (3_459, 3_520, 35_746_307),
}
"""Generated parameters, vector length, and the network's size as torchvision and DDPM state it."""


def family_of(name):
    group, _, own = name.partition("/")
    if group == "ablation":
        return own if own in SIZES else "resnet18"
    return own.partition("_")[2]


def test_all_of_the_papers_recipes_are_there():
    assert len(PAPERS) == 81
    assert {n for n in PAPERS if n.startswith("main/")} == {
        f"main/{data}_{network}" for data in DATA for network in NETWORKS
    }
    minis = ("convnet", "mlp", "resnet", "vit", "convnext")
    assert {n for n in PAPERS if n.startswith("full/")} == {
        *(f"full/{data}_{network}" for data in ("cifar10", "stl10") for network in minis),
        "full/mnist_cnnmedium",
        "full/svhn_cnnmedium",
    }
    assert len([n for n in PAPERS if n.startswith("ablation/")]) == 27


@pytest.mark.parametrize("name", PAPERS)
def test_every_recipe_has_the_papers_sizes(name):
    recipe = load_recipe(name)
    parts = build_meta_models(recipe, describe_task(recipe.task))
    found = (
        parts.layout.num_parameters,
        parts.vector_length,
        num_values(parts.codec.parameters()),
        num_values(parts.denoiser.parameters()) if parts.denoiser else None,
    )
    expected = SIZES[family_of(name)]
    assert found == (expected if name != "ablation/vae_sample" else (*expected[:3], None))


@pytest.mark.parametrize("name", PAPERS)
def test_what_all_of_them_share(name):
    """Common to every row of the authors' configurations."""
    recipe = load_recipe(name)
    assert recipe.preset == "paper"
    assert recipe.task.protocol == "validation" and recipe.task.augment
    assert recipe.task.image_size == (224 if not name.startswith("full/") else 64) or (
        name.endswith("cnnmedium") and recipe.task.image_size == 32
    )
    assert recipe.task.network.pretrained == (not name.startswith("full/"))
    tuning = recipe.collection.fine_tuning
    assert tuning.precision == "bfloat16" and tuning.batch_size in (64, 128)
    assert (recipe.collection.num_held_out, recipe.collection.num_runs) == (50, 1)
    assert (recipe.codec.kind, recipe.codec.training.batch_size) == ("autoencoder", 50)
    decay = 1e-5 if name.startswith("full/") else 0.0
    assert recipe.codec.training.weight_decay == decay
    assert recipe.codec.training.lr == (2e-4 if name == "ablation/vae_sample" else 2e-5)
    if recipe.diffusion is not None:
        training, schedule = recipe.diffusion.training, recipe.diffusion.schedule
        assert (training.lr, training.weight_decay) == (1e-4, decay)
        assert (schedule.beta_start, schedule.beta_end) == (1e-4, 2e-2)
        assert recipe.generation.num_inference_steps == schedule.num_timesteps
    assert (recipe.generation.solver, recipe.generation.num_samples) == ("ddpm", 200)


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("main/stl10_resnet50", (10, 1e-4, 64, 0.03, 2, 1, "train", 500, 2000)),
        ("main/stl10_convnexttiny", (10, 1e-4, 128, 0.03, 1, 1, "train", 800, 1200)),
        ("main/flowers_resnet18", (15, 5e-3, 128, 0.03, 0, 1, "train", 800, 1600)),
        ("main/flowers_convnextbase", (12, 1e-4, 128, 0.1, 1, 1, "train", 600, 2400)),
        ("main/pets_resnet50", (30, 1e-4, 64, 0.05, 1, 1, "train", 500, 2000)),
        ("main/food101_vittiny", (10, 1e-4, 128, 0.03, 1, 1, "train", 200, 600)),
        ("main/in1k_resnet50", (None, None, 128, 0.005, 0, 33, "train", 1000, 4000)),
        ("main/cifar10_vittiny", (10, 1e-4, 128, 0.15, 0, 1, "train", 100, 400)),
        ("full/stl10_convnet", (50, 5e-3, 64, 1e-4, 1, 1, "train", 2000, 10000)),
        ("full/cifar10_resnet", (50, 5e-3, 128, 0.001, 0, 1, "train", 1500, 6000)),
        ("full/svhn_cnnmedium", (25, 3e-3, 128, 0.01, 0, 1, "train", 2000, 8000)),
        (
            "main/cifar100_resnet18",
            (10, 5e-4, 128, 0.03, 1, 1, "eval_after_first_save", 500, 1000),
        ),
    ],
)
def test_values_are_the_authors(name, values):
    """Rows of the authors' configurations, read by eye."""
    recipe = load_recipe(name)
    collection, before = recipe.collection, recipe.collection.pretraining
    assert values == (
        before and before.epochs,
        before and before.lr,
        collection.fine_tuning.batch_size,
        collection.fine_tuning.lr,
        collection.skip_steps_per_epoch,
        collection.save_every_steps,
        collection.fine_tuning.mode,
        recipe.codec.training.num_steps,
        recipe.diffusion.training.num_steps,
    )


@pytest.mark.parametrize("name", OTHERS)
def test_recipes_of_other_tasks(name):
    """Tables 10 to 12: 300 checkpoints, fine-tuned from published networks."""
    pytest.importorskip("torchvision")
    recipe = load_recipe(name)
    parts = build_meta_models(recipe, describe_task(recipe.task))
    trained = num_values(parts.network.parameters())
    assert (parts.layout.num_parameters, parts.vector_length, trained) == OTHERS[name]
    assert (recipe.preset, recipe.task.protocol) == ("paper", "validation")
    assert recipe.task.network.pretrained and recipe.collection.pretraining is None
    assert (recipe.collection.num_checkpoints, recipe.generation.num_samples) == (300, 200)


def test_no_other_recipes_of_other_tasks():
    assert {name for name in NAMES if name.startswith("other/")} == set(OTHERS)


def test_ablations_name_the_default_recipe():
    for name in PAPERS:
        is_ablation = name.startswith("ablation/")
        assert bool(load_factors(name)) == is_ablation, name


def test_the_list_is_true():
    listed = {entry.name: entry for entry in list_recipes()}
    assert set(listed) == set(NAMES) == set(json.loads(COSTS.read_text(encoding="utf-8")))
    for name, entry in listed.items():
        recipe = load_recipe(name)
        assert entry.description == recipe.description
        factors = load_factors(name).items()
        assert entry.factors == {
            path: value["kind"] if isinstance(value, dict) else value for path, value in factors
        }, name
        if name in PAPERS:
            assert entry.num_parameters == SIZES[family_of(name)][0]
        if name in OTHERS:
            assert (entry.num_parameters, entry.pflop) == (OTHERS[name][0], None)


CHEAP = [
    "quickstart",
    "main/flowers_resnet18",
    "full/mnist_cnnmedium",
    "ablation/vae_sample",
]


@pytest.mark.parametrize(
    "name",
    [
        name if name in (*CHEAP, *OTHERS) else pytest.param(name, marks=pytest.mark.slow)
        for name in NAMES
    ],
)
def test_costs_are_what_is_computed(name):
    """After a change, ``python -m tests.recipe.costs`` writes the table again."""
    found, expected = json.loads(COSTS.read_text(encoding="utf-8"))[name], computed(name)
    assert found == (expected if name in OTHERS else pytest.approx(expected, rel=0.02))
