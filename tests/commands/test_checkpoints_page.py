"""The page about one's own checkpoints: every block of it runs, with the libraries themselves."""

import re
import shlex
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch

from paramdiff.checkpoints.recorded import recorded_values
from paramdiff.checkpoints.sources import find_runs
from paramdiff.cli import main
from paramdiff.storage import read_json

PAGE = Path(__file__).parents[2] / "docs" / "checkpoints.md"
QUICK = (
    "diffusion.training.num_steps=20",
    "diffusion.denoiser.width=8",
    "generation.num_inference_steps=10",
)
"""At a tiny size: nothing but these is added to what the page says."""
LIBRARIES = {"vit", "detector", "bert", "lora", "unet", "zoo"}
HAS_LIGHTNING = find_spec("lightning") is not None


def blocks():
    """Language and content of all blocks but the first, whose names stand for others."""
    text = PAGE.read_text(encoding="utf-8")
    return re.findall(r"^```(\w+)\n(.*?)^```", text, re.MULTILINE | re.DOTALL)[1:]


def call(command, monkeypatch, capsys):
    program, *arguments = shlex.split(command)
    assert program == "paramdiff"
    if arguments[0] == "fit":
        arguments += [part for override in QUICK for part in ("--set", override)]
    monkeypatch.setattr(sys, "argv", ["paramdiff", *arguments])
    monkeypatch.setattr("warnings.showwarning", None)  # main sets it
    with pytest.raises(SystemExit) as ended:
        main()
    assert not ended.value.code, (command, capsys.readouterr().err)


def values(tensors):
    """What may be compared whatever a library calls its tensors."""
    return sorted((tuple(one.shape), float(one.double().sum())) for one in tensors)


@pytest.mark.filterwarnings("ignore::FutureWarning:transformers")  # between the two libraries
@pytest.mark.filterwarnings("ignore:Could not find a config file")  # some versions of peft look
@pytest.mark.filterwarnings("ignore:.*(num_workers|pin_memory):UserWarning")  # without a GPU
@pytest.mark.filterwarnings("ignore:.*(log_every_n_steps|LeafSpec|GPU|checkpoint)")  # Lightning
def test_the_page_runs(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    page: dict = {"__name__": "page"}
    made, loaded = None, set()
    for language, content in blocks():
        if language == "python":
            if "lightning" in content and not HAS_LIGHTNING:
                continue
            exec(compile(content, PAGE.name, "exec"), page)
            if made is not None:  # the library has loaded the first that was generated
                (checkpoints,) = find_runs([f"runs/{made}/generated"])
                tensors, _ = checkpoints[0].read()
                inside = page["network"].state_dict()
                if made == "lora":
                    inside = {name: one for name, one in inside.items() if "lora" in name}
                found = [inside[name] for name in tensors if name in inside] or inside.values()
                assert values(found) == values(tensors.values()), made
                assert len(checkpoints) == 3
                loaded.add(made)
            made = None
            continue
        for command in content.splitlines():
            call(command, monkeypatch, capsys)
            made = command.split()[2] if " fit " in command else None
    assert loaded == LIBRARIES
    recorded = {"zoo": 50, "zoo-bert": 5} | ({"zoo-lightning": 50} if HAS_LIGHTNING else {})
    for folder, every in recorded.items():
        (run,) = find_runs([folder])
        assert [one.step for one in run] == [every * number for number in range(1, 7)]
        assert {"loss"} <= set(recorded_values(run[0].path))
    same = [torch.load(Path(folder) / "0001.pth") for folder in ("more", "as-many")]
    assert all(one.equal(same[1][name]) for name, one in same[0].items())
    assert len(read_json(Path("judged/best/validation.json"))) == 1
    assert "Not evaluated" not in Path("given-away/README.md").read_text(encoding="utf-8")
