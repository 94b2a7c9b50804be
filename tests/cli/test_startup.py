"""Commands that need no network answer without loading torch."""

import subprocess
import sys

import pytest

PROGRAM = """
import sys
from paramdiff.cli import main
try:
    main()
finally:
    loaded = {"torch", "diffusers", "matplotlib", "scipy"} & set(sys.modules)
    print(sorted(loaded), file=sys.stderr)
"""


@pytest.mark.parametrize(
    ("arguments", "status", "told"),
    [
        (["--help"], 0, ""),
        (["recipes"], 0, ""),
        (["run", "--nope"], 2, "No such option"),
        (["run", "quikstart", "--out", "x"], 2, "the nearest is 'quickstart'"),
        (["check", "quickstart", "--set", "generation.heat=1"], 2, "generation.heat: unknown key"),
        (["sweep", "table5", "--out", "x"], 2, "the nearest is 'table"),
        (
            ["check", "quickstart", "--set", "codec.kind=pcb"],
            2,
            "codec.kind: unknown kind 'pcb'; the nearest is 'pca'",
        ),
    ],
)
def test_help_lists_and_wrong_arguments_load_no_torch(arguments, status, told, tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, *arguments], cwd=tmp_path, capture_output=True, text=True
    )
    assert done.returncode == status, done.stderr
    assert told in done.stderr
    assert done.stderr.splitlines()[-1] == "[]"


@pytest.mark.parametrize(
    "module", ["recipe.schema", "recipe.loading", "paper.table_schema", "codecs.registry"]
)
def test_settings_load_no_torch(module):
    program = f"import sys, paramdiff.{module}; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", program], check=True)
