"""A run's folder serves where a part of it is wanted."""

import shutil

import pytest

from paramdiff.checkpoints.hub import name_on_hub, names_revisions
from paramdiff.checkpoints.sources import find_runs
from paramdiff.commands.generate import generate
from paramdiff.commands.run_artifacts import generated_in, originals_in, refuse_unevaluated
from paramdiff.errors import UserError
from paramdiff.pipeline_io import locate_pipeline
from paramdiff.storage import sha256_of


def test_generate_takes_a_run_as_its_pipeline(tiny_run, tmp_path):
    generate(str(tiny_run), tmp_path / "of_run", num_samples=2, device="cpu")
    generate(tiny_run / "pipeline", str(tmp_path / "of_pipeline"), num_samples=2, device="cpu")
    one, other = (
        sorted((tmp_path / name).glob("*.safetensors")) for name in ("of_run", "of_pipeline")
    )
    assert [sha256_of(path) for path in one] == [sha256_of(path) for path in other]
    assert len(one) == 2


def test_an_unfinished_run_says_what_is_next(tiny_run, tmp_path):
    shutil.copy(tiny_run / "recipe.yaml", tmp_path)
    next_command = f"paramdiff run {tmp_path / 'recipe.yaml'} --out {tmp_path} completes it"
    for refuse in (refuse_unevaluated, generated_in, originals_in):
        arguments = (tmp_path,) if refuse is refuse_unevaluated else (str(tmp_path), print)
        with pytest.raises(UserError, match=r": this run ") as raised:
            refuse(*arguments)
        assert str(raised.value).endswith(next_command)
    with pytest.raises(UserError, match="this run has no pipeline yet"):
        locate_pipeline(tmp_path)


def test_a_run_without_a_task_is_evaluated_by_another_command(tmp_path):
    (tmp_path / "recipe.yaml").write_text("task: null\n")
    (tmp_path / "generated").mkdir()
    command = f"paramdiff compare {tmp_path} --originals {tmp_path} --out DIR"
    with pytest.raises(UserError) as raised:
        refuse_unevaluated(tmp_path)
    assert command in str(raised.value)


def test_the_parts_are_told(tiny_run):
    told = []
    assert generated_in(str(tiny_run), told.append) == str(tiny_run / "generated")
    assert originals_in(str(tiny_run), told.append) == str(tiny_run / "zoo")
    assert told == [f"Judged: {tiny_run / 'generated'}", f"Originals: {tiny_run / 'zoo'}"]
    for part in ("zoo", "generated"):
        assert generated_in(str(tiny_run / part), told.append) == str(tiny_run / part)
    assert len(told) == 2
    refuse_unevaluated(tiny_run)


def test_what_looks_like_a_path_is_not_looked_for_on_the_hub(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("huggingface_hub.snapshot_download", None)  # would fail otherwise
    monkeypatch.setattr("paramdiff.pipeline_io.snapshot_download", None)
    (tmp_path / "runs").mkdir()
    for name in ("runs/nope", "./runs/nope", str(tmp_path / "nope"), "nope", "../nope", "a/b/c"):
        with pytest.raises(UserError, match="neither a pipeline's folder nor a run's"):
            locate_pipeline(name)
        with pytest.raises(UserError, match="there is no such checkpoint or folder"):
            find_runs([name])


def test_names_on_the_hub(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert name_on_hub("owner/name") == name_on_hub("hf://owner/name") == "owner/name"
    (tmp_path / "owner").mkdir()
    assert name_on_hub("owner/name") is None
    assert name_on_hub("hf://owner/name") == "owner/name"
    assert names_revisions("hf://owner/name@step1,step2") and names_revisions("other/name@step*")
    assert not names_revisions("owner/name@step1")
