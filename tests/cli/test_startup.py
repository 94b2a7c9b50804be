"""Commands load what they need: those without a network no torch, and none all of diffusers."""

import subprocess
import sys

import pytest
import torch

from paramdiff.storage import write_tensors

PROGRAM = """
import sys
from paramdiff.cli import main
try:
    main()
finally:
    heavy = {"torch", "diffusers", "diffusers.models.transformers", "peft", "timm", "torchvision",
             "torchmetrics", "sklearn", "scipy", "matplotlib", "pandas", "ray"}
    print(*sorted(heavy & set(sys.modules)), file=sys.stderr)
"""


def start(*arguments, cwd):
    return subprocess.run(
        [sys.executable, "-c", PROGRAM, *map(str, arguments)],
        cwd=cwd,
        capture_output=True,
        text=True,
    )


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
    done = start(*arguments, cwd=tmp_path)
    assert done.returncode == status, done.stderr
    assert told in done.stderr
    assert done.stderr.splitlines()[-1] == ""


@pytest.mark.parametrize(
    ("arguments", "loaded"),
    [
        (["inspect", "."], {"torch"}),
        # the codec and the denoiser are modules of diffusers; the digits are scikit-learn's
        (["check", "quickstart"], {"torch", "diffusers", "sklearn", "scipy"}),
    ],
)
def test_commands_load_what_they_need(arguments, loaded, tmp_path):
    for number in range(3):
        write_tensors(tmp_path / f"{number}.safetensors", {"weight": torch.randn(4)})
    done = start(*arguments, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert set(done.stderr.splitlines()[-1].split()) == loaded


@pytest.mark.parametrize(
    "module", ["recipe.schema", "recipe.loading", "paper.table_schema", "codecs.registry"]
)
def test_settings_load_no_torch(module):
    program = f"import sys, paramdiff.{module}; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", program], check=True)
