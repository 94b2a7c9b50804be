"""Over two hundred damaged and hostile files: one clear line each, and nothing else happens."""

import subprocess
import sys

import pytest
import torch

from paramdiff.checkpoints.sources import find_runs
from paramdiff.checkpoints.summary import summarize
from paramdiff.commands.inspect import inspect
from paramdiff.errors import UserError
from paramdiff.storage import write_tensors
from tests.checkpoints import corpus


@pytest.fixture(scope="module")
def marker(tmp_path_factory):
    return tmp_path_factory.mktemp("marker") / "executed"


@pytest.fixture(scope="module")
def structural(tmp_path_factory, marker):
    folder = tmp_path_factory.mktemp("corpus")
    for name, content in corpus.structural(marker):
        (folder / name).write_bytes(content)
    return sorted(folder.iterdir())


def refusal(path):
    with pytest.raises(UserError) as caught:
        summarize(find_runs([str(path)]))
    return str(caught.value)


def test_the_corpus_is_large(structural):
    families = {path.name.partition("-")[0] for path in structural}
    named = {"truncated", "other", "header", "twice", "traversing", "bomb", "odd", "command"}
    assert families == named
    assert len(structural) >= 200


@pytest.mark.filterwarnings("ignore::UserWarning")  # sparse tensors are in beta state
def test_structural_damage_is_one_line_and_nothing_happens(structural, marker):
    before = {path: path.stat().st_mtime_ns for path in structural}
    for path in structural:
        told = refusal(path)
        assert told.startswith(f"{path}: "), path.name
        assert told.isprintable() and len(told) <= 302 + len(str(path)), path.name
        assert not marker.exists(), path.name
    assert {path: path.stat().st_mtime_ns for path in structural} == before
    assert set(structural[0].parent.iterdir()) == set(structural)


def test_the_commands_mean_something(structural, marker):
    """An ordinary reader would have executed them."""
    path = next(p for p in structural if p.name == "command-os.system-whole-True.pt")
    torch.load(path, weights_only=False)
    assert marker.exists()
    marker.unlink()


def test_the_program_refuses_them_with_status_2(structural, marker):
    """Once for each family, as a shell would call it."""
    chosen = {path.name.partition("-")[0]: path for path in structural}
    code = (
        "import sys\n"
        "from paramdiff.cli import main\n"
        "for path in sys.argv[1:]:\n"
        "    sys.argv = ['paramdiff', 'inspect', path]\n"
        "    try:\n"
        "        main()\n"
        "    except SystemExit as ended:\n"
        "        print(ended.code)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *map(str, chosen.values())],
        capture_output=True,
        text=True,
        timeout=300,
    )
    told = [line for line in done.stdout.split() if line.isdigit()]
    assert told == ["2"] * len(chosen)
    lines = done.stderr.splitlines()
    assert len(lines) == len(chosen) and all(line.startswith("error: ") for line in lines)
    assert not marker.exists()


def test_bombs_do_not_fill_the_memory(structural):
    """Under a limit of half a gigabyte beyond what importing takes."""
    bombs = [str(p) for p in structural if p.name.startswith(("bomb", "header"))]
    code = (
        "import resource, sys, warnings\n"
        "warnings.simplefilter('ignore')\n"
        "import torch; from paramdiff.checkpoints.read import read_file\n"
        "from paramdiff.errors import UserError\n"
        "from pathlib import Path\n"
        "size = int(open('/proc/self/statm').read().split()[0]) * resource.getpagesize()\n"
        "resource.setrlimit(resource.RLIMIT_AS, (size + (1 << 29),) * 2)\n"
        "for path in map(Path, sys.argv[1:]):\n"
        "    try:\n"
        "        read_file(path); print('read', path.name)\n"
        "    except UserError as error:\n"
        "        if 'MemoryError' in str(error): print('filled', path.name)\n"
    )
    if not sys.platform.startswith("linux"):
        pytest.skip("memory limits are those of Linux")
    done = subprocess.run(
        [sys.executable, "-c", code, *bombs], capture_output=True, text=True, timeout=300
    )
    assert (done.returncode, done.stdout) == (0, ""), done.stderr[-2000:]


def test_a_flipped_bit_is_refused_or_read(tmp_path):
    for name, content in corpus.flipped_structure():
        path = tmp_path / name
        path.write_bytes(content)
        try:
            found = summarize(find_runs([str(path)]))
        except UserError as error:
            assert str(error).startswith(f"{path}: ") and str(error).isprintable()
        else:
            assert found.tensors


@pytest.mark.parametrize(
    ("name", "tensors", "told"), list(corpus.broken_payloads()), ids=lambda value: str(value)[:24]
)
def test_broken_values_load_and_are_told(tmp_path, name, tensors, told):
    usual = {"a": torch.linspace(-1, 1, 64)}
    for number in range(2):
        torch.save({"a": usual["a"] + number * 0.01}, tmp_path / f"0{number}.pt")
    if name.endswith(".safetensors"):
        write_tensors(tmp_path / name, tensors)
    else:
        torch.save(tensors, tmp_path / name)
    inspection = inspect([str(tmp_path)])
    lines = [*inspection.warnings[:-1], *(one for one in inspection.notes if "equal" in one)]
    warnings = " | ".join(lines)
    assert (told in warnings and name in warnings) if told else not warnings


@pytest.mark.parametrize("suffix", [".pt", ".safetensors"])
def test_a_set_of_mixed_types_is_refused(tmp_path, suffix):
    """Of the others, nobody could tell which type is meant."""
    usual = torch.linspace(-1, 1, 64)
    for number, dtype in enumerate((torch.float32, torch.float32, torch.bfloat16)):
        write_tensors(tmp_path / f"{number}.safetensors", {"a": usual.to(dtype)})
        if suffix == ".pt":
            (tmp_path / f"{number}.safetensors").unlink()
            torch.save({"a": usual.to(dtype)}, tmp_path / f"{number}.pt")
    told = refusal(tmp_path)
    assert told == (
        f"{tmp_path / f'2{suffix}'}: tensor 'a' holds torch.bfloat16, but torch.float32 in "
        f"0{suffix}"
    )
    (tmp_path / f"2{suffix}").unlink()
    assert summarize(find_runs([str(tmp_path)])).tensors["a"].dtype == torch.float32
