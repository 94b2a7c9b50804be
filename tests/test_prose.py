"""The prose and files of the package: docstrings, names, sizes, and words not to use."""

import ast
import re
from collections import defaultdict
from pathlib import Path

import pytest

import paramdiff

SOURCE = Path(paramdiff.__file__).parent
FILES = sorted(path for path in SOURCE.rglob("*.py"))

OPENINGS = frozenset({"What", "How", "Whether", "Where", "Which", "Of", "Told", "Who"})
"""First words of a docstring that describes its subject by a clause instead of naming it."""

SHARED_NAMES = frozenset({"__init__", "__main__", "base", "registry"})
"""Module names that several packages may have, besides a command and its function."""

PAIRS = {
    "inputs": ["evaluation/inputs", "scoring/inputs"],
    "schema": ["evaluation/schema", "recipe/schema"],
    "tables": ["report/tables", "tasks/tables"],
}
"""Module names that two packages have, each the plain word for its content."""

MAX_LINES = 350
LONGER = {"pipeline.py": "one class: the parts, their checks and the call that generates"}
"""Files above the limit, each with its reason."""

DIALECT = {
    "free alternative": "baseline",
    "opponent": "baseline",
    "yardstick": "baseline",
    "rival": "data-matched baseline",
    "cautions": "warnings",
    "artefact": "artifact",
    "behaviour": "behavior",
    "exhibit": "table or figure of the paper",
    "trade places": "are interchangeable",
    "trunk": "pretrained network",
    "passed over": "skipped",
}
"""Words of the old dialect, with the words that replace them."""

ALLOWED = {
    "behaviour": ("recipe/error_messages.py",),
    "trade places": ("report/templates/novelty.html.jinja", "runs/aligned.py"),
}
"""Files and packages in which such a word still occurs: old keys, the paper, unmended ones."""


def docstrings(path):
    """Docstrings of a file with their lines, including those of constants."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if not isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef):
            continue
        for statement in node.body:
            value = statement.value if isinstance(statement, ast.Expr) else None
            if isinstance(value, ast.Constant) and isinstance(value.value, str):
                yield statement.lineno, value.value


def test_docstrings_name_their_subject_or_are_imperative():
    found = [
        f"{path.relative_to(SOURCE)}:{line}: {text.splitlines()[0]}"
        for path in FILES
        for line, text in docstrings(path)
        if re.split(r"\W", text.strip())[0] in OPENINGS
    ]
    assert not found, "\n".join(found)


def test_module_names_are_unique():
    places = defaultdict(list)
    for path in FILES:
        name = path.relative_to(SOURCE).with_suffix("")
        if path.stem not in SHARED_NAMES and name.parts[0] != "cli":
            places[path.stem].append(str(name))
    repeated = {name: found for name, found in places.items() if len(found) > 1}
    assert repeated == PAIRS


def test_files_are_short():
    lengths = {
        str(path.relative_to(SOURCE)): len(path.read_text(encoding="utf-8").splitlines())
        for path in FILES
    }
    too_long = {name for name, length in lengths.items() if length > MAX_LINES}
    assert too_long <= set(LONGER)


@pytest.mark.parametrize("word", DIALECT)
def test_the_old_dialect_does_not_return(word):
    pattern = re.compile(rf"\b{word}s?\b", re.IGNORECASE)
    found = [
        f"{path.relative_to(SOURCE)}:{number}: {line.strip()}"
        for path in sorted(SOURCE.rglob("*"))
        if path.suffix in (".py", ".jinja", ".yaml")
        and not str(path.relative_to(SOURCE)).startswith(ALLOWED.get(word, ()) or ("-",))
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1)
        if pattern.search(line)
    ]
    assert not found, f"say {DIALECT[word]}:\n" + "\n".join(found)
