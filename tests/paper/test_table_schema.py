"""The paper's tables and figures are all described, by recipes that exist and its own numbers."""

import json

import pytest

from paramdiff.errors import UserError
from paramdiff.paper.comparison_table import QUANTITIES
from paramdiff.paper.published import PUBLISHED, published_for
from paramdiff.paper.table_schema import load_paper_tables, paper_tables_like, variation
from paramdiff.recipe.loading import list_recipes, shipped_recipes
from paramdiff.recipe.schema import load_recipe

TABLES = load_paper_tables()
NAMES = [
    *("table1", "table2", "table3a", "table3b", "table3c", "table3d", "table3e", "table3f"),
    *("table4", "table6", "table7", "table8", "table9", "table13"),
    *("figure1", "figure3", "figure4", "figure5a", "figure5b", "figure5c"),
]

# Typed from the paper's tables, in percent; None where it prints nothing.
PRINTED = {
    "table3a": {
        "none": (77.5, 76.7),
        "parameters only": (77.4, 76.7),
        "latents only": (77.9, 77.6),
        "both (default)": (77.9, 77.7),
    },
    "table3b": {
        "0.001 (default)": (77.9, 77.7),
        "times 0.01": (77.9, 77.6),
        "times 5": (77.9, 77.6),
        "times 2000": (77.9, 77.6),
        "times 5000": (77.3, 76.8),
    },
    "table3c": {
        "0.1 (default)": (77.9, 77.7),
        "times 0.01": (77.4, 76.7),
        "times 0.1": (77.4, 76.8),
        "times 10": (77.9, 77.6),
        "times 100": (77.5, 77.2),
    },
    "table3d": {
        "SGD": (77.6, 77.5, 77.3),
        "Adam": (79.7, 79.6, 79.4),
        "AdamW (default)": (77.4, 77.9, 77.7),
    },
    "table3e": {
        "10": (77.0, 76.6),
        "50": (77.5, 77.2),
        "200": (77.8, 77.5),
        "300 (default)": (77.9, 77.7),
        "400": (78.0, 77.6),
    },
    "table3f": {
        "first convolution": (77.8, 77.8, 77.3),
        "classifier": (77.8, 77.8, 77.7),
        "BN 10-13": (77.4, 77.5, 77.0),
        "BN 14-15": (77.7, 77.3, 76.8),
        "BN 16-17 (default)": (77.4, 77.9, 77.7),
    },
    "table4": {
        "0.001 and 0.1 (default)": (77.9, (85, 87)),
        "times 0.01": (77.4, (75, 84)),
        "times 0.1": (77.4, (75, 83)),
        "times 10": (77.9, (82, 87)),
        "times 100": (77.6, (79, 83)),
    },
    "table7": {
        "MNIST": (92.1, None, 68.6, 86.7, 84.8, 93.3),
        "SVHN": (71.3, None, 54.5, 72.3, 70.7, 74.1),
    },
    "table8": {
        "originals": (77.4, 76.9, (93, 98)),
        "VAE": (77.3, 76.6, (74, 82)),
        "p-diff (default)": (77.9, 77.7, (85, 87)),
    },
    "table9": {
        "T = 10": (74.6, 70.5),
        "T = 100": (77.9, 77.6),
        "T = 1000 (default)": (77.9, 77.7),
        "T = 2000": (77.8, 77.5),
    },
}
PRINTED_CELLS = {
    ("table1", "ResNet-18", "CIFAR-100"): (77.4, 77.7, 77.9),
    ("table1", "ResNet-50", "Food-101"): (80.4, 80.0, 80.1),
    ("table1", "ViT-Tiny", "Pets"): (90.5, 89.9, 90.4),
    ("table1", "ViT-Base", "Flowers"): (98.1, 98.0, 98.2),
    ("table1", "ConvNeXt-Tiny", "ImageNet-1K"): (83.4, 83.7, 83.7),
    ("table1", "ConvNeXt-Base", "STL-10"): (99.7, 99.6, 99.7),
    ("table2", "CIFAR-10", "MLP-mini"): (41.8, 41.8, 42.4),
    ("table2", "CIFAR-10", "ViT-mini"): (73.4, 73.6, 73.6),
    ("table2", "STL-10", "ConvNet-mini"): (46.4, 45.6, 46.1),
    ("table2", "STL-10", "ResNet-mini"): (51.5, 51.4, 51.8),
}


def published(setting, columns):
    numbers = published_for(setting.key)
    values = (QUANTITIES[name].published(setting, numbers, name) for name in columns)
    return tuple(
        tuple(round(100 * bound) for bound in value)
        if isinstance(value, tuple)
        else value and round(100 * value, 1)
        for value in values
    )


def test_all_of_the_papers_tables_and_figures_are_there():
    assert list(TABLES) == NAMES
    assert TABLES["table3a"].number == "Table 3a"
    assert TABLES["figure5c"].number == "Figure 5c"
    assert all(one.title and not one.title.endswith(".") for one in TABLES.values())


@pytest.mark.parametrize("name", NAMES)
def test_every_setting_is_a_recipe_that_resolves(name):
    for setting in TABLES[name].settings:
        assert setting.recipe in shipped_recipes()
        if setting.change is not None:
            path, _, value = setting.change.partition("=")
            changed = load_recipe(setting.recipe, [setting.change])
            part, _, own = path.rpartition(".")
            assert getattr(getattr(changed, part), own) == float(value)
            assert changed != load_recipe(setting.recipe)
            assert setting.key == setting.recipe + variation(setting.change)


@pytest.mark.parametrize("name", list(PRINTED))
def test_published_numbers_are_the_papers(name):
    paper_table = TABLES[name]
    found = {
        setting.label: published(setting, setting.columns or paper_table.columns)
        for setting in paper_table.rows
    }
    assert found == PRINTED[name]


@pytest.mark.parametrize("cell", list(PRINTED_CELLS))
def test_published_cells_are_the_papers(cell):
    name, down, across = cell
    paper_table = TABLES[name]
    setting = paper_table.matrix.setting(down, across)
    assert setting in paper_table.settings
    assert published(setting, paper_table.columns) == PRINTED_CELLS[cell]


def test_every_cell_of_the_matrices_is_published():
    sizes = {name: len(TABLES[name].settings) for name in ("table1", "table2")}
    assert sizes == {"table1": 36, "table2": 10}
    for name in sizes:
        for setting in TABLES[name].settings:
            assert None not in published(setting, TABLES[name].columns), setting.key


def test_the_eight_settings_beyond_the_recipes():
    noises = [
        (load_recipe(one.recipe, [one.change]).codec, one.key)
        for name in ("table3b", "table3c")
        for one in TABLES[name].settings
        if one.change
    ]
    assert [(codec.input_noise, codec.latent_noise) for codec, _ in noises] == [
        *((noise, 0.1) for noise in (1e-5, 0.005, 2.0, 5.0)),
        *((0.001, noise) for noise in (0.001, 0.01, 1.0, 10.0)),
    ]
    assert len({key for _, key in noises}) == 8


def test_sizes_are_those_of_the_recipes():
    sizes = {recipe.name: recipe.num_parameters for recipe in list_recipes()}
    printed = {one.recipe: one.published["num_parameters"] for one in TABLES["table6"].rows}
    assert len(printed) == 11
    assert {name: sizes[name] for name in printed} == printed


def test_numbers_of_the_authors_logs():
    """Typed from the logs: recipes of each folder, with what the log of each tells."""
    default = published_for("main/cifar100_resnet18")
    assert (default.log_original_std, default.log_generated_std) == (0.00162, 0.00128)
    assert (default.log_original_similarity, default.log_generated_similarity) == (0.7837, 0.8799)
    assert default.log_noise["0.15"].accuracy == 0.7549
    assert default.log_noise["0.15"].max_similarity == 0.7921
    tiny = published_for("full/stl10_resnet")
    assert (tiny.log_original_std, tiny.log_generated_std) == (0.00578, 0.00794)
    assert (tiny.log_original_similarity, tiny.log_generated_similarity) == (0.7899, 0.8463)
    assert tiny.log_noise["0.05"].accuracy == 0.5047
    assert tiny.log_noise["0.05"].max_similarity == 0.8774
    slow = published_for("ablation/save_lr00003")
    assert slow.log_noise.keys() == {"0.001", "0.05", "0.15"}
    assert (slow.log_noise["0.15"].accuracy, slow.log_noise["0.15"].max_similarity) == (
        0.7606,
        0.7658,
    )
    assert published_for("ablation/adam_optimizer").log_noise == {}


def test_logs_say_what_was_concluded_from_them():
    """Of the 46 recipes with a log, 46 gained in the mean and 45 became more alike."""
    logs = [
        published_for(name)
        for name in json.loads(PUBLISHED.read_text(encoding="utf-8"))
        if name.startswith(("main/", "full/"))
    ]
    logs = [one for one in logs if one.log_generated_mean is not None]
    assert len(logs) == 46
    assert all(one.log_generated_mean > one.log_original_mean for one in logs)
    alike = [one.log_generated_similarity > one.log_original_similarity for one in logs]
    assert sum(alike) == 45
    assert sum(one.log_generated_std < one.log_original_std for one in logs) == 40


def test_names_and_patterns():
    assert [one.name for one in paper_tables_like("table3[ab]")] == ["table3a", "table3b"]
    assert [one.name for one in paper_tables_like("figure*")] == NAMES[-6:]
    with pytest.raises(UserError, match=r"table5: no table or figure .* nearest is 'tabl"):
        paper_tables_like("table5")
    with pytest.raises(UserError, match=r"table13: no recipe .* `python -m benchmarks.memory`"):
        paper_tables_like("table13")
