"""One program at a time."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from paramdiff.errors import UserError
from paramdiff.locking import sole_writer

# no part of this program that takes seconds to load
HOLDER = """
import os, signal, sys
from pathlib import Path
from paramdiff.artefacts import new_folder
from paramdiff.locking import sole_writer
with sole_writer(Path(sys.argv[1])), new_folder(Path(sys.argv[1])) as aside:
    for number in range(3):
        (aside / f"{number}.txt").write_text("half")
    print("at work", flush=True)
    sys.stdin.readline()
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_the_second_program_is_refused_until_the_first_is_gone(tmp_path):
    folder = tmp_path / "runs" / "one"
    program = [sys.executable, "-c", HOLDER, str(folder)]
    with subprocess.Popen(program, stdin=-1, stdout=-1, text=True) as holder:
        assert holder.stdout.readline() == "at work\n"
        with (
            pytest.raises(UserError, match=f"{folder}: another program is at work"),
            sole_writer(folder),
        ):
            pytest.fail("two programs at once")
        with sole_writer(folder.with_name("other")):
            pass
        holder.communicate("end\n")
    assert holder.returncode == -signal.SIGKILL
    assert not folder.exists()
    again = subprocess.run(program, input="end\n", capture_output=True, text=True)
    assert again.stdout == "at work\n"  # what the killed one left is in nobody's way


def test_it_leaves_nothing_behind(tmp_path):
    (tmp_path / "kept").mkdir()
    for folder in (tmp_path / "kept" / "new", tmp_path / "a" / "b" / "c"):
        with pytest.raises(RuntimeError), sole_writer(folder):
            raise RuntimeError
    with sole_writer(tmp_path / "d" / "e"):
        (tmp_path / "d" / "e").mkdir()
    assert sorted(str(p.relative_to(tmp_path)) for p in tmp_path.rglob("*")) == [
        "d",
        "d/e",
        "kept",
    ]


def test_a_folder_under_another_name_is_the_same(tmp_path, monkeypatch):
    (tmp_path / "folder").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "folder")
    monkeypatch.chdir(tmp_path / "folder")
    with sole_writer(tmp_path / "folder"):
        for name in (".", "../folder", "../link", "../link/"):
            with (
                pytest.raises(UserError, match="another program"),
                sole_writer(Path(name)),
            ):
                pytest.fail(name)
