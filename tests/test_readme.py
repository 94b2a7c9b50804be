"""The README's commands are there, and its Python example runs."""

import re
from pathlib import Path

import pytest

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
