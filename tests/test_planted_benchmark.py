"""The planted generators on the quickstart's own zoo: every verdict is the one written down."""

import json
import sys

import pytest
from benchmarks import planted


@pytest.mark.slow
def test_every_planted_generator_is_found_out(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(planted, "NUM_GENERATED", 60)  # of 200, to be done in minutes
    monkeypatch.setattr(sys, "argv", ["planted", "--out", str(tmp_path)])
    planted.main()
    results = json.loads(capsys.readouterr().out.strip().splitlines()[-1])
    assert set(results) == {f"digits/{case}" for case in planted.CASES}
    assert {
        case: found["headline"] for case, found in results.items() if not found["is_right"]
    } == {}
    assert (tmp_path / "digits-copies" / "report.html").is_file()
