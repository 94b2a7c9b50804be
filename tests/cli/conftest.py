"""The program, called as a shell calls it."""

import sys

import pytest

from paramdiff.cli import main
from paramdiff.cli._console import console


@pytest.fixture
def call(monkeypatch, capsys):
    """Calls the program as a shell does; returns its status and both outputs."""
    monkeypatch.setattr(console, "width", 200)

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["paramdiff", *map(str, arguments)])
        monkeypatch.setattr("warnings.showwarning", None)  # main sets it; put back afterwards
        with pytest.raises(SystemExit) as ended:
            main()
        captured = capsys.readouterr()
        return ended.value.code or 0, captured.out, captured.err

    return run


@pytest.fixture
def refused(call, tmp_path):
    """Calls the program, which must refuse in one line and write nothing."""

    def run(*arguments):
        before = sorted(tmp_path.rglob("*"))
        status, _, stderr = call(*arguments)
        assert status == 2, stderr
        assert len(stderr.splitlines()) == 1, stderr
        assert stderr.startswith("error: ")
        assert sorted(tmp_path.rglob("*")) == before
        return stderr.removeprefix("error: ").rstrip("\n")

    return run
