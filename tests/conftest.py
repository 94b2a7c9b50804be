"""What all tests share."""

import pytest
import torch


@pytest.fixture(scope="session", autouse=True)
def one_thread():
    """Threads that wait for each other slow tiny networks down several times on a busy machine."""
    torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def seeded():
    """What a test draws from the global stream is the same in every run."""
    torch.manual_seed(0)
