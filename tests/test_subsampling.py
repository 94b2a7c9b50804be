"""Evenly spaced indices."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from paramdiff.subsampling import evenly_spaced


@given(num=st.integers(1, 5_000_000_000), most=st.integers(1, 200))
def test_indices_are_valid_distinct_and_reach_both_ends(num, most):
    rows = evenly_spaced(num, most)
    assert len(rows) == min(num, most)
    assert rows[0] == 0
    assert rows[-1] == (num - 1 if most > 1 else 0)
    gaps = rows.diff()
    assert (gaps > 0).all()
    assert len(rows) < 2 or gaps.max() - gaps.min() <= 1


@pytest.mark.parametrize("num", [50_257 * 768, 4_096 * 11_008, 2**24 + 4])
def test_no_index_lies_past_the_end_where_single_precision_rounds_up(num):
    assert torch.linspace(0, num - 1, 512).long()[-1] == num, "no longer a hard case"
    assert evenly_spaced(num, 512)[-1] == num - 1
