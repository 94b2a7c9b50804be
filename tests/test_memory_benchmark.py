"""The benchmark of memory counts the paper's weights, and ends in one JSON object."""

import json

import pytest
from benchmarks.memory import ROWS, main, peak_mb, weights_of

WEIGHTS = {  # method: parameters of the autoencoder and of the denoiser
    2_048: (2_199_201, 2_462_977),
    30_016: (17_169_761, 2_545_153),
    100_288: (104_960_737, 2_807_809),
    300_288: (619_030_049, 3_726_337),
}


def test_weights_are_those_of_the_papers_networks():
    found = {length: tuple(weights_of(length, dim).values()) for length, dim, *_ in ROWS}
    assert found == WEIGHTS


def test_it_ends_in_one_json_object(capsys):
    main(["--limit-mb", "0", "--device", "cpu"])
    lines = capsys.readouterr().out.splitlines()
    found = json.loads(lines[-1])["rows"]
    assert len(lines) == 14 and len(found) == 12
    assert [row["published_mb"] for row in found[:3]] == [None, 658, 530]
    assert {row["measured_mb"] for row in found} == {None}
    assert found[1]["weights_mb"] == found[1]["computed_mb"] == round(16 * 2_199_201 / 2**20)
    assert found[2]["weights_mb"] == round((16 * 2_462_977 + 4 * 2_199_201) / 2**20)


@pytest.mark.slow
def test_a_part_takes_more_than_its_weights_and_the_default_preset_less():
    autoencoder = peak_mb("autoencoder", 2_048, 128, "cpu")
    assert autoencoder > 16 * 2_199_201 / 2**20
    assert peak_mb("default", 2_048, 128, "cpu") < autoencoder
