"""Recipes resolve to every value, refuse what they do not know, and survive being written."""

import copy
import re

import pytest
import yaml
from pydantic import ValidationError

from paramdiff.errors import UserError
from paramdiff.recipe.differences import first_difference
from paramdiff.recipe.loading import FOLDERS, SHIPPED, shipped_recipes
from paramdiff.recipe.schema import load_recipe, to_yaml

SHIPPED_NAMES = sorted(
    str(path.relative_to(folder)).removesuffix(".yaml")
    for folder in FOLDERS
    for path in folder.rglob("*.yaml")
    if path.parent.name != "presets"
)


def message_of(*overrides, source="quickstart"):
    with pytest.raises(UserError) as caught:
        load_recipe(source, overrides)
    assert len(str(caught.value).splitlines()) == 1
    return str(caught.value)


def written(folder, **changes):
    content = yaml.safe_load((SHIPPED / "quickstart.yaml").read_text())
    path = folder / "mine.yaml"
    path.write_text(yaml.safe_dump(content | changes))
    return path


@pytest.mark.parametrize("path", ["seed", "generation.seed", "evaluation.seed", "task.seed"])
def test_seeds_are_what_every_library_takes(path):
    load_recipe("quickstart", [f"{path}={2**32 - 1}"])
    with pytest.raises(UserError, match=f"{path}: .*4294967295"):
        load_recipe("quickstart", [f"{path}={2**32}"])


def test_the_walk_finds_every_file():
    assert list(shipped_recipes()) == SHIPPED_NAMES
    assert len(SHIPPED_NAMES) >= 1 and "quickstart" in SHIPPED_NAMES


@pytest.mark.parametrize("name", SHIPPED_NAMES)
def test_shipped_recipes_resolve_and_survive_yaml(tmp_path, name):
    survives_yaml(tmp_path, load_recipe(name))


@pytest.mark.parametrize("name", ["quickstart", "main/pets_vitbase", "ablation/numberckpt_010"])
@pytest.mark.parametrize("preset", ["default", "paper"])
def test_a_preset_can_be_switched(tmp_path, name, preset):
    recipe, plain = load_recipe(name, [f"preset={preset}"]), load_recipe(name)
    survives_yaml(tmp_path, recipe)
    if preset == plain.preset:
        assert recipe == plain
    else:
        default = load_recipe("quickstart", [f"preset={preset}"])
        assert (recipe.codec, recipe.diffusion) == (default.codec, default.diffusion)
        assert (recipe.task, recipe.collection) == (plain.task, plain.collection)
        assert recipe.parameters.normalization == ("tensor" if preset == "paper" else "centered")
        same = {"normalization": plain.parameters.normalization}
        assert recipe.parameters.model_copy(update=same) == plain.parameters


def test_a_preset_switch_keeps_what_no_preset_decides(tmp_path):
    path = written(tmp_path, generation={"num_samples": 7, "num_inference_steps": 500})
    generation = load_recipe(path, ["preset=paper", "codec.latent_dim=64"]).generation
    assert (generation.num_samples, generation.num_inference_steps) == (7, 1000)
    assert load_recipe(path).generation.num_inference_steps == 500


@pytest.mark.parametrize(
    ("name", "path"),
    [
        ("ablation/noise_x10", "codec.input_noise"),
        ("ablation/vae_sample", "codec.input_noise"),
        ("ablation/diffusionstep_0100", "diffusion.schedule.num_timesteps"),
    ],
)
def test_an_ablation_of_its_preset_keeps_it(name, path):
    assert message_of("preset=default", source=name) == (
        f"{name}: preset: this ablation varies {path}, a value over the preset 'paper'; with "
        "another preset, none of its change would remain"
    )


def survives_yaml(tmp_path, recipe):
    path = tmp_path / "recipe.yaml"
    path.write_text(to_yaml(recipe), encoding="utf-8")
    again = load_recipe(path)
    assert again == recipe
    assert to_yaml(again) == to_yaml(recipe)
    assert (
        first_difference(yaml.safe_load(path.read_text()), recipe.model_dump(mode="json")) is None
    )


@pytest.mark.parametrize("name", SHIPPED_NAMES)
def test_shipped_recipes_describe_themselves(name):
    recipe = load_recipe(name)
    assert recipe.description
    assert recipe.name == name.rsplit("/", 1)[-1]


@pytest.mark.parametrize(
    ("override", "path", "nearest"),
    [
        ("sead=1", "sead", "seed"),
        ("generation.nmu_samples=1", "generation.nmu_samples", "num_samples"),
        ("task.naem=digits", "task.naem", "name"),
        ("codec.explained_varianc=0.9", "codec.explained_varianc", "explained_variance"),
        ("diffusion.denoiser.widht=8", "diffusion.denoiser.widht", "width"),
        ("diffusion.schedule.beta_strat=0.1", "diffusion.schedule.beta_strat", "beta_start"),
        ("collection.num_checkpoint=8", "collection.num_checkpoint", "num_checkpoints"),
        ("collection.pretraining.epoch=8", "collection.pretraining.epoch", "epochs"),
        ("diffusion.training.num_step=8", "diffusion.training.num_step", "num_steps"),
    ],
)
def test_unknown_keys_are_named_with_the_nearest_valid_one(override, path, nearest):
    found = message_of(override)
    assert found == f"quickstart: {path}: unknown key; the nearest valid one is {nearest!r}"


@pytest.mark.parametrize(
    ("part", "kind"),
    [
        *(("codec", kind) for kind in ("pca", "autoencoder", "behavioral")),
        *(("diffusion.denoiser", kind) for kind in ("mlp", "conv1d")),
        *(("collection", kind) for kind in ("train", "folder")),
    ],
)
def test_a_mistakes_place_is_as_users_write_it_whatever_the_kind(part, kind):
    """The first mistake is a missing field where the kind has such, and else the unknown one."""
    found = message_of(f"{part}={{kind: {kind}, nonsense: 1}}")
    field = re.match(rf"quickstart: {re.escape(part)}\.(\w+): ", found)
    assert field and field[1] != kind, found


def test_the_nearest_key_is_one_of_the_chosen_kind():
    found = message_of("preset=paper", "codec.laten_dim=8")
    assert found.startswith("quickstart: codec.laten_dim: ") and "'latent_dim'" in found
    found = message_of("preset=paper", "diffusion.denoiser.kernel=8")
    assert "diffusion.denoiser.kernel: " in found and "'kernel_size'" in found


@pytest.mark.parametrize(
    ("override", "path"),
    [
        ("generation.num_samples=many", "generation.num_samples"),
        ("generation.num_samples=2.5", "generation.num_samples"),
        ("diffusion.standardize=[1]", "diffusion.standardize"),
        ("parameters.select=norm", "parameters.select"),
        ("codec=pca", "codec"),
        ("task=digits", "task"),
        ("generation.num_samples=0", "generation.num_samples"),
        ("generation.temperature=-0.1", "generation.temperature"),
        ("generation.temperature=.nan", "generation.temperature"),
        ("codec.explained_variance=1.01", "codec.explained_variance"),
        ("diffusion.training.ema_decay=1", "diffusion.training.ema_decay"),
        ("collection.num_held_out=-1", "collection.num_held_out"),
        ("parameters.select=[]", "parameters.select"),
        ("generation.solver=euler", "generation.solver"),
        ("preset=fast", "preset"),
        ("codec.kind=quadratic", "codec.kind"),
        ("collection.kind=download", "collection.kind"),
    ],
)
def test_wrong_values_name_the_field(override, path):
    assert message_of(override).startswith(f"quickstart: {path}: ")


def test_an_unknown_preset_names_the_known_ones():
    found = message_of("preset=fast")
    assert "'default'" in found and "'paper'" in found and "'fast'" in found


@pytest.mark.parametrize("missing", ["task", "collection", "parameters.select"])
def test_missing_sections_are_named(tmp_path, missing):
    content = yaml.safe_load((SHIPPED / "quickstart.yaml").read_text())
    del content[missing.partition(".")[0]]
    path = tmp_path / "mine.yaml"
    path.write_text(yaml.safe_dump(content))
    assert message_of(source=path) == f"{path}: {missing}: this value is missing"


@pytest.mark.parametrize("text", ["a: [", "- 1\n- 2", "", "just words"])
def test_a_file_that_is_no_recipe_is_named(tmp_path, text):
    path = tmp_path / "bad.yaml"
    path.write_text(text)
    assert message_of(source=path).startswith(f"{path}: ")


def test_a_file_without_text_is_no_recipe(tmp_path):
    (tmp_path / "weights.pt").write_bytes(b"PK\x03\x04\xff\xfe")
    with pytest.raises(UserError, match=r"weights\.pt: this is no recipe in YAML, but binary"):
        load_recipe(tmp_path / "weights.pt")


def test_an_unknown_recipe_names_the_nearest():
    assert "'quickstart'" in message_of(source="quikstart")


def test_set_takes_yaml_values():
    recipe = load_recipe(
        "quickstart",
        [
            "generation.temperature=0.8",
            "diffusion.training.lr=5.0e-4",
            "parameters.select=[norm3.*, 're:norm2']",
            "diffusion.standardize=false",
            "description=a = b",
            "generation.solver=ddim",
        ],
    )
    assert recipe.generation.temperature == 0.8
    assert recipe.diffusion.training.lr == 5e-4
    assert recipe.parameters.select == ("norm3.*", "re:norm2")
    assert recipe.diffusion.standardize is False
    assert recipe.description == "a = b"
    assert recipe.generation.solver == "ddim"


def test_set_takes_whole_sections_and_the_last_one_wins():
    section = "{num_samples: 3, num_inference_steps: 10}"
    recipe = load_recipe(
        "quickstart", [f"generation={section}", "generation.seed=1", "generation.seed=2"]
    )
    assert (recipe.generation.num_samples, recipe.generation.seed) == (3, 2)


@pytest.mark.parametrize("override", ["seed", "", "generation.num_samples", "seed=[", "seed.a=1"])
def test_malformed_set_is_told(override):
    assert override.split("=")[0].split(".")[0] in message_of(override, "seed=1", override)


def test_a_switch_of_kind_replaces_the_section():
    recipe = load_recipe(
        "quickstart",
        [
            "collection={kind: folder, checkpoints: /checkpoints}",
            "diffusion.denoiser={kind: conv1d}",
        ],
    )
    assert (
        recipe.collection.kind == "folder" and recipe.collection.checkpoints[0] == "/checkpoints"
    )
    assert recipe.collection.num_held_out == 0  # the recipe's 50 belonged to the other kind
    assert recipe.diffusion.denoiser.model_dump() == {
        "kind": "conv1d",
        "channels": (64, 128, 256, 512, 256, 128, 64),
        "kernel_size": 7,
    }
    assert recipe.diffusion.standardize is True  # beside the switched part all is the preset's


def test_a_switch_of_kind_field_by_field_replaces_the_section():
    recipe = load_recipe(
        "quickstart", ["collection.checkpoints=/checkpoints", "collection.kind=folder"]
    )
    assert recipe.collection.model_dump(mode="json") == {
        "kind": "folder",
        "checkpoints": ["/checkpoints"],
        "state_dict_key": None,
        "base_checkpoint": None,
        "num_held_out": 0,
        "hold_out": "end",
    }
    recipe = load_recipe(
        "quickstart", ["preset=paper", "codec.kind=pca", "codec.explained_variance=0.9"]
    )
    assert recipe.codec.model_dump() == {
        "kind": "pca",
        "explained_variance": 0.9,
        "residual": True,
    }
    assert load_recipe("quickstart", ["codec.kind=pca"]) == load_recipe("quickstart")


def test_values_lie_over_the_preset(tmp_path):
    path = written(tmp_path, preset="paper", codec={"latent_dim": 64, "training": {"lr": 1e-3}})
    recipe = load_recipe(path, ["codec.input_noise=0.5"])
    assert recipe.codec.latent_dim == 64
    assert recipe.codec.training.lr == 1e-3
    assert recipe.codec.training.num_steps == 500
    assert recipe.codec.input_noise == 0.5
    assert recipe.codec.latent_noise == 0.1


def test_a_recipe_cannot_change():
    recipe = load_recipe("quickstart")
    with pytest.raises(ValidationError):
        recipe.seed = 1
    with pytest.raises(ValidationError):
        recipe.generation.temperature = 0.5
    assert (recipe.seed, recipe.generation.temperature) == (0, 1.0)


def test_the_paper_preset_is_the_authors_code():
    """The published configuration of main/cifar100_resnet18, and the +1 update of its loops."""
    recipe = load_recipe("quickstart", ["preset=paper"])
    codec, diffusion = recipe.codec, recipe.diffusion
    assert recipe.parameters.normalization == "tensor"
    assert codec.kind == "autoencoder"
    assert (codec.channels, codec.kernel_size) == ((64, 128, 256, 256, 32), 7)
    assert codec.latent_dim == 128
    assert (codec.input_noise, codec.latent_noise) == (0.001, 0.1)
    assert (codec.target, codec.kl_weight, codec.statistics) == ("noisy", 0.0, "sample")
    training = codec.training
    assert (training.num_steps, training.extra_updates) == (500, 1)
    assert (training.batch_size, training.lr) == (50, 2e-5)
    assert diffusion.denoiser.kind == "conv1d"
    assert diffusion.denoiser.channels == (64, 128, 256, 512, 256, 128, 64)
    assert diffusion.denoiser.kernel_size == 7
    assert (diffusion.latent_statistics, diffusion.standardize) == ("batch", False)
    schedule = diffusion.schedule
    assert (schedule.num_timesteps, schedule.beta_start, schedule.beta_end) == (1000, 1e-4, 2e-2)
    training = diffusion.training
    assert (training.num_steps, training.extra_updates) == (1000, 1)
    assert (training.batch_size, training.lr) == (50, 1e-4)
    for training in (codec.training, diffusion.training):
        assert (training.optimizer, training.weight_decay) == ("adamw", 0.0)
        assert (training.schedule, training.final_lr) == ("cosine", 0.0)
        assert (training.precision, training.ema_decay) == ("bfloat16", 0.0)
    generation = recipe.generation
    assert (generation.solver, generation.num_inference_steps, generation.temperature) == (
        "ddpm",
        1000,
        1.0,
    )


def test_first_difference():
    one = load_recipe("quickstart").model_dump(mode="json")
    assert first_difference(one, copy.deepcopy(one)) is None
    other = load_recipe(
        "quickstart", ["generation.temperature=0.5", "collection.fine_tuning.lr=0.1"]
    ).model_dump(mode="json")
    assert first_difference(one, other) == "collection.fine_tuning.lr: 0.03 there, 0.1 here"
    assert first_difference({"a": 1}, {"a": 1, "b": 2}) == "b: None there, 2 here"
    assert first_difference({"a": {"b": 1}}, {"a": 3}) == "a: {'b': 1} there, 3 here"
    assert first_difference({"a": [1, 2]}, {"a": [1, 3]}) == "a: [1, 2] there, [1, 3] here"


CONDITIONAL = "diffusion.conditions=[score]"


def test_a_conditional_recipe_resolves(tmp_path):
    asked = (CONDITIONAL, "generation.condition={score: 0.9}", "generation.guidance_scale=2")
    recipe = load_recipe("quickstart", asked)
    assert recipe.generation.condition == {"score": 0.9}
    survives_yaml(tmp_path, recipe)


@pytest.mark.parametrize(
    ("overrides", "told"),
    [
        (
            ["diffusion.conditions=[scores]"],
            "diffusion.conditions: 'scores' is unknown of checkpoints that are trained; the "
            "nearest is 'score'",
        ),
        (["diffusion.conditions=[step, step]"], "diffusion.conditions: these must differ"),
        (["diffusion.conditions=[run]"], "num_runs of at least 3"),
        (["diffusion.condition_dropout=0"], "condition_dropout: input should be greater than 0"),
        ([CONDITIONAL, "generation.condition.step=3"], "(score)"),
        (["generation.condition.step=3"], "(none)"),
        (
            ["generation.guidance_scale=2"],
            "guidance_scale: this has no effect without diffusion.conditions",
        ),
    ],
)
def test_conditions_that_cannot_be_known_or_asked_for_are_refused(overrides, told):
    assert told in message_of(*overrides)


def test_score_needs_a_task(tmp_path):
    folder = {"kind": "folder", "checkpoints": "zoo"}
    path = written(tmp_path, task=None, collection=folder)
    assert "score: this needs a task" in message_of(CONDITIONAL, source=path)


@pytest.mark.parametrize(
    ("override", "nearest"),
    [
        ("temperature=0.8", "the nearest valid one is 'generation.temperature'"),
        ("num_samples=8", "the nearest valid one is 'generation.num_samples'"),
        ("codec.temperatrue=0.8", "the nearest valid one is 'generation.temperature'"),
        ("predictor=1", "the nearest valid "),
    ],
)
def test_a_key_of_another_part_is_told_with_its_whole_path(override, nearest):
    path = override.partition("=")[0]
    assert message_of(override).startswith(f"quickstart: {path}: unknown key; {nearest}")


def test_a_recipe_by_any_kind_of_path(tmp_path):
    class Somewhere:
        def __fspath__(self):
            return str(tmp_path / "own.yaml")

    (tmp_path / "own.yaml").write_text(to_yaml(load_recipe("quickstart")))
    found = [load_recipe(path) for path in (Somewhere(), str(Somewhere().__fspath__()))]
    assert found[0] == found[1] == load_recipe("quickstart")
    with pytest.raises(UserError, match=r"^overrides: .* is not a list"):
        load_recipe("quickstart", "seed=3")
