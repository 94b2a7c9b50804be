"""The benchmark of a device: its parts end in time, and all of it runs on a CPU at tiny sizes."""

import json
import math
import sys
import time

import pytest
import torch
from benchmarks import gpu, gpu_parts
from benchmarks.gpu_setting import Row, Setting

PART = """
import json, subprocess, sys, time
name, results = sys.argv[1], sys.argv[sys.argv.index("--results") + 1]
row = {"what": name, "unit": "s", "device": 1.0, "cpu": 2.0, "theirs": None, "difference": None,
       "tolerance": None, "agrees": {"scoring": False, "sampling": True}.get(name)}
with open(results, "a") as stream:
    stream.write(json.dumps(row) + "\\n" + '{"what": "half a ro')
if name == "codec":
    sys.exit("no such codec")
if name == "denoiser":
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    print(child.pid, flush=True)
    time.sleep(600)
"""


@pytest.fixture
def parts(monkeypatch, tmp_path):
    """Parts of a few milliseconds: one fails, one starts a program and hangs, one disagrees."""
    (tmp_path / "part.py").write_text(PART)
    monkeypatch.setattr(gpu, "PROGRAM", (sys.executable, str(tmp_path / "part.py")))

    def run(*names, minutes=0.1):
        folder = tmp_path / "out"
        arguments = ["--device", "cpu", "--minutes", str(minutes), "--out", str(folder)]
        code = gpu.main([*arguments, "--only", *names])
        return code, json.loads((folder / "gpu.json").read_text())["parts"], folder

    return run


def test_one_object_one_table_and_what_disagrees(parts, capsys):
    code, found, _ = parts("scoring", "sampling", "tests")
    out = capsys.readouterr().out
    assert code == 1 and list(found) == ["tests", "sampling", "scoring"]
    assert [part["agrees"] for part in found.values()] == [True, True, False]
    assert json.loads(out.splitlines()[-1])["agrees"] is False
    assert out.count("DIFFERS") == 1 and out.count("agrees") > 1
    assert "half a ro" not in out
    assert parts("sampling")[0] == 0


def test_what_a_failed_part_said_is_told(parts, capsys):
    code, found, _ = parts("codec", "sampling")
    assert code == 1 and found["codec"]["status"] == "failed"
    assert "no such codec" in found["codec"]["told"] in capsys.readouterr().out
    assert found["codec"]["rows"] and found["sampling"]["agrees"]


def test_a_part_that_hangs_is_ended_with_all_that_it_started(parts):
    started = time.monotonic()
    code, found, folder = parts("denoiser", "run", minutes=0.07)
    assert code == 1 and time.monotonic() - started < 4.2
    assert found["denoiser"]["status"] == "ended before its end" and found["denoiser"]["rows"]
    assert found["run"]["status"] == "ended"
    child = int((folder / "denoiser.txt").read_text())
    assert not _is_alive(child)


def _is_alive(process):
    for _ in range(50):
        try:
            with open(f"/proc/{process}/stat") as stat:
                if stat.read().rpartition(")")[2].split()[0] == "Z":
                    return False
        except OSError:
            return False
        time.sleep(0.1)
    return True


def test_time_that_a_part_leaves_is_the_next_ones(parts):
    _, found, _ = parts("tests", "run", minutes=1)
    assert found["tests"]["seconds_given"] == pytest.approx(60 * 3 / 8, abs=1)
    assert found["run"]["seconds_given"] > 50


def test_what_is_not_finite_disagrees(tmp_path):
    setting = Setting(torch.device("cpu"), True, 0.0, tmp_path / "rows")
    for difference in (0.1, 0.3, math.nan, math.inf):
        setting.note(Row("losses", "relative", difference=difference, tolerance=0.2))
    rows = [json.loads(line) for line in (tmp_path / "rows").read_text().splitlines()]
    assert [row["agrees"] for row in rows] == [True, False, False, False]
    assert Row("an update", "ms", 3.0).agrees is None


def test_a_wrong_command_is_refused_in_a_line(tmp_path, capsys):
    assert gpu.main(["--device", "abacus"]) == 2
    assert gpu.main(["--device", "cpu", "--reference", str(tmp_path)]) == 2
    device, reference = capsys.readouterr().err.splitlines()
    assert "abacus" in device and "model/pdiff.py" in reference


def test_a_part_measures_nothing_more_when_its_time_is_over(tmp_path):
    late = ["--results", str(tmp_path / "rows"), "--tiny", "--seconds", "-1"]
    for name in ("sampling", "denoiser", "codec"):
        with pytest.raises(TimeoutError, match="its time is over"):
            gpu_parts.main([name, *late])
    told = [json.loads(line)["what"] for line in (tmp_path / "rows").read_text().splitlines()]
    assert told == ["losses of the first 3 updates, float32"] * 2


@pytest.mark.slow
def test_all_parts_run_on_a_cpu(tmp_path, capsys, monkeypatch):
    monkeypatch.delenv("PYTHONPATH", raising=False)
    arguments = ["--device", "cpu", "--tiny", "--minutes", "9", "--out", str(tmp_path)]
    code = gpu.main(arguments)
    found = json.loads(capsys.readouterr().out.splitlines()[-1])
    told = {name: part["told"] for name, part in found["parts"].items()}
    assert code == 0 and list(found["parts"]) == list(gpu.WEIGHTS), told
    rows = {name: part["rows"] for name, part in found["parts"].items()}
    assert rows["tests"][0]["device"] >= 20 and rows["tests"][0]["difference"] == 0
    compared = [row for part in rows.values() for row in part if row["tolerance"] is not None]
    assert len(compared) == 10 and all(row["difference"] == 0 for row in compared)
    stages = [row["what"] for row in rows["run"][:-1]]
    assert {"stage zoo", "stage codec", "stage denoiser", "stage evaluation"} <= set(stages)
    assert all(row["device"] > 0 for part in rows.values() for row in part if row["device"])
