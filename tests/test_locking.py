"""One program at a time."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from paramdiff.errors import UserError
from paramdiff.locking import sole_maker, sole_writer

# no part of this program that takes seconds to load
HOLDER = """
import os, signal, sys
from pathlib import Path
from paramdiff.storage import written_aside
from paramdiff.locking import sole_maker
with sole_maker(Path(sys.argv[1])), written_aside(Path(sys.argv[1])) as aside:
    aside.mkdir()
    for number in range(3):
        (aside / f"{number}.txt").write_text("half")
    print("at work", flush=True)
    sys.stdin.readline()
    os.kill(os.getpid(), signal.SIGKILL)
"""


LOCKS = {"maker": sole_maker, "writer": sole_writer}


def test_the_second_program_is_refused_until_the_first_is_gone(tmp_path):
    folder = tmp_path / "runs" / "one"
    program = [sys.executable, "-c", HOLDER, str(folder)]
    with subprocess.Popen(program, stdin=-1, stdout=-1, text=True) as holder:
        assert holder.stdout.readline() == "at work\n"
        with (
            pytest.raises(UserError, match=f"{folder}: another program is at work"),
            sole_maker(folder),
        ):
            pytest.fail("two programs at once")
        with sole_maker(folder.with_name("other")):
            pass
        holder.communicate("end\n")
    assert holder.returncode == -signal.SIGKILL
    assert not folder.exists()
    again = subprocess.run(program, input="end\n", capture_output=True, text=True)
    assert again.stdout == "at work\n"  # what the killed one left is in nobody's way


@pytest.mark.parametrize("kind", LOCKS)
def test_it_leaves_nothing_behind(tmp_path, kind):
    lock = LOCKS[kind]
    (tmp_path / "kept").mkdir()
    for folder in (tmp_path / "kept" / "new", tmp_path / "a" / "b" / "c"):
        with pytest.raises(RuntimeError), lock(folder):
            raise RuntimeError
    with lock(tmp_path / "d" / "e"):
        (tmp_path / "d" / "e").mkdir(exist_ok=True)
        (tmp_path / "d" / "e" / "f").mkdir()
    found = sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*"))
    assert found == ["d", "d/e", "d/e/f", "kept"]


def test_a_folder_under_another_name_is_the_same(tmp_path, monkeypatch):
    (tmp_path / "folder").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "folder")
    monkeypatch.chdir(tmp_path / "folder")
    with sole_writer(tmp_path / "folder"):
        for name in (".", "../folder", "../link", "../link/"):
            with pytest.raises(UserError, match="another program"), sole_writer(Path(name)):
                pytest.fail(name)


def test_what_is_there_is_refused(tmp_path):
    (tmp_path / "file").write_text("mine")
    with pytest.raises(UserError, match="this is a file"), sole_writer(tmp_path / "file"):
        pytest.fail("a file")
    for name in ("file", "folder"):
        (tmp_path / "folder").mkdir(exist_ok=True)
        with (
            pytest.raises(UserError, match="exists already; name a new folder"),
            sole_maker(tmp_path / name),
        ):
            pytest.fail(name)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "folder"]
