"""Pipelines that tests share."""

import shutil
from pathlib import Path

import pytest

from tests.pipeline.parts import KINDS, build


@pytest.fixture(scope="module", params=KINDS, ids="-".join)
def pipeline(request):
    return build(*request.param)


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    folder = tmp_path_factory.mktemp("saved") / "pipeline"
    build().save_pretrained(folder)
    return folder


@pytest.fixture
def copied(saved, tmp_path):
    return Path(shutil.copytree(saved, tmp_path / "pipeline"))
