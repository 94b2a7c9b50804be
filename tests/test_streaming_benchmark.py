"""The benchmark of memory runs at tiny size and its files are what they claim to be."""

import json

import pytest
from benchmarks.streaming import VARYING, main, write_checkpoints

from paramdiff.checkpoints.sources import find_runs
from paramdiff.checkpoints.summary import summarize


def test_its_checkpoints_differ_where_they_should(tmp_path):
    num_bytes = write_checkpoints(tmp_path / "a", 2)
    assert num_bytes == sum(path.stat().st_size for path in (tmp_path / "a").iterdir())
    found = summarize(find_runs([str(tmp_path / "a")]))
    assert {name for name, one in found.tensors.items() if one.differs} == set(VARYING)
    assert num_bytes > 2 * 4 * 11_689_512


@pytest.mark.slow
def test_it_ends_in_one_json_object(tmp_path, capsys):
    main(["--out", str(tmp_path / "out"), "--num-checkpoints", "4"])
    found = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert found["checkpoints"] == 4
    for step in ("inspect", "fit"):
        assert 100 < found[step]["peak_memory_mb"] < found["limit_mb"]
