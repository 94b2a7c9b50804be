"""The public functions and classes: what ``import paramdiff`` gives, and ``docs/api.md``."""

import ast
import importlib
import inspect
import re
import subprocess
import sys
from pathlib import Path
from typing import get_origin

import paramdiff

DOCUMENT = Path(__file__).parents[1] / "docs" / "api.md"
REGISTRIES = ("METHODS", "METRICS", "CODECS", "DENOISERS")
COMMANDS = ("inspect", "fit", "generate", "make", "compare", "push", "run", "check")


def test_all_public_names():
    assert sorted(paramdiff.__all__) == sorted(
        [
            *COMMANDS,
            *REGISTRIES,
            "AutoencoderCodec",
            "BehavioralCodec",
            "Conv1dDenoiser",
            "MLPDenoiser",
            "PCACodec",
            "ParameterDiffusionPipeline",
            "ParameterSpace",
            "Recipe",
            "UserError",
            "Zoo",
            "ZooRecorder",
            "load_recipe",
            "show_progress",
        ]
    )
    for name in paramdiff.__all__:
        assert getattr(paramdiff, name).__doc__, name


def test_type_checkers_see_what_is_loaded_when_used():
    tree = ast.parse(Path(paramdiff.__file__).read_text(encoding="utf-8"))
    (block,) = (node for node in tree.body if isinstance(node, ast.If))
    seen = {alias.asname: node.module for node in block.body for alias in node.names}
    assert seen == {name: paramdiff._PUBLIC[name] for name in paramdiff.__all__}
    assert (Path(paramdiff.__file__).parent / "py.typed").is_file()


def test_importing_costs_nothing():
    code = (
        "import sys, paramdiff; heavy = {'torch', 'diffusers', 'pydantic'} & set(sys.modules); "
        "assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


def test_commands_are_functions_that_say_what_they_take():
    for name in COMMANDS:
        function = getattr(paramdiff, name)
        signature = inspect.signature(function)
        assert signature.return_annotation is not inspect.Signature.empty, name
        for parameter in signature.parameters.values():
            assert parameter.annotation is not inspect.Parameter.empty, (name, parameter.name)
            assert f"    {parameter.name}: " in inspect.getdoc(function), (name, parameter.name)
        positional = [
            one for one in signature.parameters.values() if one.kind is one.POSITIONAL_OR_KEYWORD
        ]
        assert len(positional) <= 3, name


def test_each_command_of_the_command_line_calls_its_function():
    for name in COMMANDS:
        source = Path(importlib.import_module(f"paramdiff.cli.{name}").__file__).read_text()
        assert f"paramdiff.{name}(" in source, name


def entry(name):
    """A function with its signature and the first line of its docstring."""
    function = getattr(paramdiff, name)
    signature = signature_of(name, function)
    return f"## {name}\n\n{first_line(function)}\n\n```python\n{signature}\n```\n"


def first_line(public):
    return inspect.getdoc(public).splitlines()[0]


def signature_of(name, function):
    signature = inspect.signature(function)
    parameters = list(signature.parameters.values())
    lines, is_marked = [], False
    for one in parameters:
        if one.kind is one.KEYWORD_ONLY and not is_marked:
            lines.append("*")
            is_marked = True
        lines.append(shown(one))
    arrow = f" -> {named(signature.return_annotation)}"
    if len(lines) < 4:
        return f"{name}({', '.join(lines)}){arrow}"
    return f"{name}(\n" + "".join(f"    {line},\n" for line in lines) + f"){arrow}"


def shown(parameter):
    text = ("**" if parameter.kind is parameter.VAR_KEYWORD else "") + parameter.name
    if parameter.annotation is not parameter.empty:
        text += f": {named(parameter.annotation)}"
    return text if parameter.default is parameter.empty else f"{text} = {value(parameter.default)}"


def named(annotation):
    if isinstance(annotation, str):
        return annotation
    # in Python 3.10 Sequence[str] is a class, too
    is_plain = inspect.isclass(annotation) and get_origin(annotation) is None
    if is_plain and annotation.__module__ != "types":
        return annotation.__name__
    text = str(annotation).replace("str | os.PathLike[str]", "StrPath").replace("typing.", "")
    return re.sub(r"\b(?:\w+\.)+(\w+)", r"\1", text)


def value(default):
    return default.__name__ if callable(default) else repr(default)


def rendered():
    functions = [
        name for name in paramdiff.__all__ if inspect.isfunction(getattr(paramdiff, name))
    ]
    classes = [name for name in paramdiff.__all__ if inspect.isclass(getattr(paramdiff, name))]
    table = "".join(f"| `{name}` | {first_line(getattr(paramdiff, name))} |\n" for name in classes)
    listed = f"## Classes\n\n| class | is |\n|---|---|\n{table}"
    table = "".join(f"| `{name}` | {first_line(module_of(name))} |\n" for name in REGISTRIES)
    registries = f"## Registries\n\n| registry | holds |\n|---|---|\n{table}"
    return "\n".join([HEAD, *map(entry, functions), listed, registries])


def module_of(name):
    return importlib.import_module(paramdiff._PUBLIC[name])


HEAD = """# The public functions and classes

`import paramdiff` gives these and costs nothing: each loads when it is first used. They can do
what the command line can; `help(paramdiff.fit)` explains every argument. Functions print nothing
of their own: `progress` is called with a stage's name, the steps done and the steps in all, and
`show_progress` shows that as the command line does.

```python
import paramdiff

with paramdiff.show_progress() as progress:
    result = paramdiff.fit("checkpoints", "runs/mine", num_samples=20, progress=progress)
    judged = paramdiff.compare(
        "checkpoints", "judged", generated=result.generated, score_fn="judge:score"
    )
found = paramdiff.compare("checkpoints", "compared", score_fn="judge:score")
print(found.verdict.headline)  # what is worth making
paramdiff.make(found.ranking.single.winner, "checkpoints", "best", score_fn="judge:score")
```

A mistake of the caller is a `UserError` of one line.
"""


def test_the_document_is_true():
    """After a change, ``python -m tests.test_public_api`` writes the document again."""
    assert DOCUMENT.read_text(encoding="utf-8") == rendered()


if __name__ == "__main__":
    DOCUMENT.write_text(rendered(), encoding="utf-8")
