"""Fixtures of the paper's tests."""

import pytest

from tests.report.conftest import make_evaluation


@pytest.fixture
def evaluation():
    """The numbers of a made-up evaluation."""
    return make_evaluation()
