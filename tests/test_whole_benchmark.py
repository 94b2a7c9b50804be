"""The benchmark of a whole ResNet-18 runs at a tiny number of updates and says what it should."""

import json

import numpy as np
import pytest
from benchmarks.whole import main


@pytest.mark.slow
def test_it_ends_in_one_json_object(tmp_path, capsys):
    draws = np.random.default_rng(0)
    arrays = {}
    for part in ("train", "test"):
        arrays[f"x_{part}"] = draws.integers(0, 256, (80, 3, 32, 32), np.uint8)
        arrays[f"y_{part}"] = draws.integers(0, 10, 80, np.uint8)
    np.savez(tmp_path / "images.npz", **arrays)
    quick = ["diffusion.training.num_steps=10", "generation.num_inference_steps=10"]
    changes = [*quick, "codec.explained_variance=1"]
    files = ["--out", str(tmp_path / "out"), "--data", str(tmp_path / "images.npz")]
    sizes = ["--num-checkpoints", "3", "--num-steps", "1"]
    main([*files, *sizes, *(part for one in changes for part in ("--set", one))])
    found = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert found["checkpoints"] == 3 and found["latent_dim"] == 2
    assert 11_690_000 < found["vector_length"] < 11_710_000  # running statistics among them
    assert 100 < found["fit"]["peak_own_mb"] < found["fit"]["peak_memory_mb"]
    groups = found["groups"]
    assert groups["original after the codec"]["accuracy"] == groups["original"]["accuracy"]
    assert groups["generated"]["n"] == groups["gaussian"]["n"] == 10
