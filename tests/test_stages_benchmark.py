"""The benchmark of stages ends in one JSON object, with a time for every size."""

import json
from dataclasses import replace

from benchmarks import stages


def test_it_ends_in_one_json_object(capsys, monkeypatch):
    kept = [
        replace(stage, varied={size: (16,) for size in stage.varied})
        for stage in stages.STAGES
        if stage.preset != "paper"
    ]
    small = stages.Sizes(checkpoints=12, parameters=64, latent=8, samples=4)
    monkeypatch.setattr(stages, "STAGES", kept)
    monkeypatch.setattr(stages, "Sizes", lambda: small)
    threads = stages.torch.get_num_threads()
    try:
        stages.main(["--rounds", "1"])
    finally:
        stages.torch.set_num_threads(threads)
    lines = capsys.readouterr().out.splitlines()
    rows = json.loads(lines[-1])["rows"]
    assert len(rows) == len(lines) - 1 == sum(len(stage.varied) for stage in kept)
    assert all(milliseconds > 0 for *_, milliseconds in rows)
