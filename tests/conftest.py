"""What all tests share."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch

TINY = [
    "collection.pretraining.epochs=1",
    "collection.skip_steps=0",
    "collection.num_checkpoints=12",
    "collection.num_held_out=4",
    "diffusion.training.num_steps=20",
    "generation.num_samples=6",
    "generation.num_inference_steps=10",
    "evaluation.num_trajectories=1",
]
"""The quickstart at a size that a test can afford: about a second, and the report's drawing."""

TINY_PAPER = [
    *TINY,
    "preset=paper",
    "codec.channels=[4, 4, 4, 4, 4]",
    "codec.latent_dim=16",
    "codec.training.num_steps=8",
    "diffusion.denoiser.channels=[4, 8, 4]",
    "diffusion.conditions=[step]",
    "evaluation.num_conditions=2",
]


@pytest.fixture(scope="session", autouse=True)
def one_thread():
    """Threads that wait for each other slow tiny networks down several times on a busy machine."""
    torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def seeded():
    """What a test draws from the global stream is the same in every run."""
    torch.manual_seed(0)


@pytest.fixture
def small_files():
    """A context in which no file grows beyond so many bytes, as on a disk that fills up."""
    import resource

    @contextmanager
    def limited(size: int) -> Iterator[None]:
        soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
        try:
            yield
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))

    return limited


@pytest.fixture(scope="session")
def undrawn():
    """A context in which reports get no figures, which take half the time of a tiny run."""

    @contextmanager
    def context() -> Iterator[None]:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("paramdiff.report.page.draw_figures", lambda evaluation, arrays: {})
            yield

    return context


@pytest.fixture
def without_figures(undrawn):
    """For tests of something else than the report; the shared runs have theirs."""
    with undrawn():
        yield


@pytest.fixture(scope="session")
def tiny() -> list[str]:
    """Overrides of the quickstart's recipe."""
    return list(TINY)


@pytest.fixture(scope="session")
def tiny_paper() -> list[str]:
    """Overrides of the quickstart's recipe: the paper's preset with narrow networks."""
    return list(TINY_PAPER)


@pytest.fixture(scope="session")
def tiny_run(tmp_path_factory, tiny) -> Path:
    """A finished run of the tiny recipe; to be read only."""
    from paramdiff import load_recipe, run

    folder = tmp_path_factory.mktemp("shared") / "run"
    run(load_recipe("quickstart", tiny), folder, device="cpu")
    return folder


@pytest.fixture(scope="session")
def tiny_paper_run(tmp_path_factory, tiny_paper) -> Path:
    """A finished run of the paper's preset at tiny size; to be read only."""
    from paramdiff import load_recipe, run

    folder = tmp_path_factory.mktemp("shared") / "paper"
    run(load_recipe("quickstart", tiny_paper), folder, device="cpu")
    return folder


@pytest.fixture(scope="session")
def two_workers():
    """A local Ray cluster of two workers."""
    import ray

    from paramdiff.parallel import FanOut

    os.environ |= {"RAY_USAGE_STATS_ENABLED": "0", "RAY_AUTH_MODE": "disabled"}
    ray.init(
        num_cpus=2,
        include_dashboard=False,
        log_to_driver=False,
        logging_level="ERROR",
        runtime_env={"env_vars": {"PYTHONPATH": os.pathsep.join(sys.path)}},
    )
    yield FanOut(torch.device("cpu"))
    ray.shutdown()
