"""Old spellings of commands and options are accepted, and a note names the present ones."""

import pytest
import typer

from paramdiff.cli._app import app
from paramdiff.cli._options import (
    RENAMED_COMMANDS,
    RENAMED_OPTIONS,
    RENAMED_OPTIONS_OF,
    with_present_options,
)
from tests.cli.help import HELP_FILE

COMMANDS = typer.main.get_command(app).commands
OPTIONS = {
    name: {option for one in command.params for option in one.opts}
    for name, command in COMMANDS.items()
}


@pytest.mark.parametrize("old", RENAMED_OPTIONS)
def test_each_old_option_becomes_one_that_a_command_has(old):
    having = [name for name, options in OPTIONS.items() if RENAMED_OPTIONS[old] in options]
    assert having
    for name in having:
        new = RENAMED_OPTIONS_OF.get(name, {}).get(old, RENAMED_OPTIONS[old])
        expected = f"{old} is now {new}"
        found = with_present_options(name, ["a", old, "3", "b"], OPTIONS[name])
        assert found == (["a", new, "3", "b"], [expected])
        assert with_present_options(name, [f"{old}=3"], OPTIONS[name])[0] == [f"{new}=3"]
        assert old not in OPTIONS[name]


def test_base_is_another_option_of_a_sweep():
    assert RENAMED_OPTIONS_OF == {"sweep": {"--base": "--base-recipe"}}
    found, _ = with_present_options("sweep", ["--base", "mine"], OPTIONS["sweep"])
    assert found == ["--base-recipe", "mine"]


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("generation.num_steps=50", "generation.num_inference_steps=50"),
        ("codec.kind=linear", "codec.kind=pca"),
        ("diffusion.schedule.target=velocity", "diffusion.schedule.prediction_type=v_prediction"),
        ("generator_seeds=[0, 1]", "generator_seeds=[0, 1]"),
        ("name=generation.num_steps=50", "name=generation.num_steps=50"),
    ],
)
def test_old_keys_after_set_become_the_present_ones(old, new):
    notes = [] if old == new else [f"{old} is now {new}"]
    arguments = ["digits", "--set", old, f"--set={old}", old]
    expected = ["digits", "--set", new, f"--set={new}", old]
    assert with_present_options("run", arguments, OPTIONS["run"]) == (expected, notes * 2)
    assert with_present_options("recipes", arguments, OPTIONS["recipes"]) == (arguments, [])


def test_what_no_command_has_is_left_alone():
    assert with_present_options("run", ["--num", "3"], OPTIONS["run"]) == (["--num", "3"], [])
    arguments = ["--", "--num", "3"]
    assert with_present_options("fit", arguments, OPTIONS["fit"]) == (arguments, [])


def test_old_commands_are_called_by_their_new_names(call, tmp_path):
    assert RENAMED_COMMANDS.keys().isdisjoint(COMMANDS)
    assert set(RENAMED_COMMANDS.values()) <= set(COMMANDS)
    status, _, stderr = call(
        *("evaluate", tmp_path, "--originals", tmp_path, "--out", tmp_path / "out"),
        *("--score", "no:such", "--keep-best", 1),
    )
    *notes, error = stderr.splitlines()
    assert notes == [
        "note: evaluate is now compare",
        "note: --score is now --score-fn",
        "note: --keep-best is now --copy-best",
    ]
    assert status == 2 and error.startswith("error: ")


def test_old_options_still_make_networks(call, tiny_run, tmp_path):
    status, _, stderr = call(
        *("generate", tiny_run / "pipeline", "--num", 2, "--steps=5", "--spread", 0.5),
        *("--out", tmp_path / "new", "--device", "cpu"),
    )
    assert status == 0 and len(list((tmp_path / "new").glob("*.safetensors"))) == 2
    assert stderr.splitlines()[:3] == [
        "note: --num is now --num-samples",
        "note: --steps is now --num-inference-steps",
        "note: --spread is now --temperature",
    ]


def test_the_help_names_none_of_them():
    words = set(HELP_FILE.read_text(encoding="utf-8").split())
    assert words.isdisjoint(RENAMED_OPTIONS)
