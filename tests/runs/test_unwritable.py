"""Disks that fill, folders that take nothing, and other programs at work in the same folder."""

import os

import pytest
import torch

from paramdiff.commands.generate import generate
from paramdiff.errors import UserError
from paramdiff.locking import sole_maker, sole_writer
from paramdiff.recipe.schema import load_recipe
from paramdiff.runs.run import make_networks, run
from paramdiff.storage import read_metadata, read_tensors


def test_a_disk_that_fills_again_and_again_changes_nothing(tiny, tiny_run, tmp_path, small_files):
    """Each attempt gets a little further; what stands in the end is what one attempt makes."""
    recipe, out = load_recipe("quickstart", tiny), tmp_path / "run"
    told = []
    for size in (300, 1500, 6000, 20_000, 60_000, 200_000):
        try:
            with small_files(size):
                make_networks(recipe, out, device="cpu")
        except UserError as error:
            told.append(str(error))
            assert len(told[-1].splitlines()) == 1 and "File too large" in told[-1]
        for path in out.rglob("*.safetensors"):
            if ".partial" not in str(path):
                read_tensors(path)  # whole
    assert len(set(told)) >= 3
    make_networks(recipe, out, device="cpu")
    assert not list(tmp_path.rglob(".partial*"))
    for path in sorted((out / "generated").glob("*.safetensors")):
        same = tiny_run / "generated" / path.name
        assert read_metadata(path) == read_metadata(same)
        for name, tensor in read_tensors(path).items():
            assert torch.equal(tensor, read_tensors(same)[name])


@pytest.mark.parametrize("form", ["safetensors", "torch"])
def test_generated_networks_are_all_there_or_none(tiny_run, tmp_path, small_files, form):
    base = tiny_run / "zoo" / "base.safetensors"
    if form == "torch":
        torch.save(read_tensors(base), tmp_path / "base.pt")
        base = tmp_path / "base.pt"
    before = sorted(tmp_path.iterdir())
    with small_files(20_000), pytest.raises(UserError, match=r"0000.*File too large"):
        generate(str(tiny_run / "pipeline"), tmp_path / "new", num_samples=3, base_checkpoint=base)
    assert sorted(tmp_path.iterdir()) == before


def test_two_runs_in_one_folder(tiny, tiny_run, tmp_path):
    recipe = load_recipe("quickstart", tiny)
    before = {path: path.stat().st_mtime_ns for path in tiny_run.rglob("*")}
    with sole_writer(tiny_run), pytest.raises(UserError, match="another program is at work"):
        run(recipe, tiny_run, device="cpu")
    assert {path: path.stat().st_mtime_ns for path in tiny_run.rglob("*")} == before
    with sole_writer(tmp_path / "new"), pytest.raises(UserError, match="another program"):
        make_networks(recipe, tmp_path / "new", device="cpu")
    with sole_maker(tmp_path / "new"), pytest.raises(UserError, match="another program"):
        generate(str(tiny_run / "pipeline"), tmp_path / "new", num_samples=1)
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def as_nobody(tmp_path):
    """Without root's right to write anywhere."""
    tmp_path.chmod(0o555)
    is_root = os.geteuid() == 0
    if is_root:
        os.seteuid(65534)
    try:
        yield
    finally:
        if is_root:
            os.seteuid(0)
        tmp_path.chmod(0o755)


def test_a_folder_that_takes_nothing_is_an_error_of_the_system(tiny, tmp_path, as_nobody):
    """Which the program tells in one line, as any error of a file."""
    for out in (tmp_path / "run", tmp_path / "deep" / "run"):
        with pytest.raises(PermissionError):
            make_networks(load_recipe("quickstart", tiny), out, device="cpu")
