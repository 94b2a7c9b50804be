"""The README's commands are there, and its Python example runs."""

import re
import shutil
import sys
from pathlib import Path

import pytest

from paramdiff.cli import main

README = Path(__file__).parents[1] / "README.md"
FENCE = re.compile(r"^```(\w*)[^\n]*\n(.*?)^```", re.MULTILINE | re.DOTALL)


def blocks(*languages):
    text = README.read_text(encoding="utf-8")
    return [body for language, body in FENCE.findall(text) if language in languages]


def commands():
    """The fenced command lines, continued ones joined, without prompts and comments."""
    text = "\n".join(blocks("", "sh", "bash", "shell", "console")).replace("\\\n", " ")
    lines = (line.split(" #")[0].strip().removeprefix("$ ") for line in text.splitlines())
    return [line for line in lines if line and not line.startswith("#")]


@pytest.mark.parametrize("command", ["paramdiff quickstart", "python -m pytest"])
def test_a_command_is_there_exactly_once(command):
    pattern = re.compile(rf"(?:^|[\s/;&]){re.escape(command)}(?=$|[\s;&|])")
    found = [line for line in commands() if pattern.search(line)]
    assert len(found) == 1, found


@pytest.mark.usefixtures("without_figures")
def test_the_python_example_runs(tmp_path, monkeypatch, tiny):
    """At a tiny size: only the overrides are added, every line of the example is executed."""
    import paramdiff

    examples = blocks("python", "py")
    assert len(examples) == 1
    load_recipe = paramdiff.load_recipe

    def load_tiny(source, overrides=()):
        return load_recipe(source, [*overrides, *tiny])

    monkeypatch.setattr(paramdiff, "load_recipe", load_tiny)
    monkeypatch.chdir(tmp_path)
    exec(compile(examples[0], "README.md", "exec"), {"__name__": "example"})
    assert (tmp_path / "runs" / "quickstart" / "report.html").is_file()


@pytest.mark.slow
def test_the_commands_for_ones_own_checkpoints_run(tmp_path, monkeypatch, tiny_run, capsys):
    """One after the other, as they stand there, beside a finished quickstart."""
    section = README.read_text(encoding="utf-8").partition("## Your own checkpoints")[2]
    lines = FENCE.search(section)[2].splitlines()
    assert [line.split()[1] for line in lines] == [
        "inspect",
        "compare",
        "make",
        "fit",
        "compare",
        "generate",
        "push",
    ]
    shutil.copytree(tiny_run / "generated", tmp_path / "runs" / "quickstart" / "generated")
    monkeypatch.chdir(tmp_path)
    for line in lines:
        monkeypatch.setattr(sys, "argv", line.split())
        monkeypatch.setattr("warnings.showwarning", None)  # main sets it
        with pytest.raises(SystemExit) as ended:
            main()
        assert not ended.value.code, capsys.readouterr().err
    assert (tmp_path / "runs" / "shared" / "model_index.json").is_file()
    assert len(list((tmp_path / "runs" / "more").glob("*.safetensors"))) == 5
    assert len(list((tmp_path / "runs" / "judged" / "best").glob("*.safetensors"))) == 3
    assert (tmp_path / "runs" / "judged" / "report.html").is_file()
    assert (tmp_path / "runs" / "compared" / "report.html").is_file()
    assert len(list((tmp_path / "runs" / "compared" / "best").glob("*.safetensors"))) == 1
    assert len(list((tmp_path / "runs" / "swag").glob("*.safetensors"))) == 5
