"""What lies beside the weights: kept as files, or left out."""

import json

import pytest
import torch

from paramdiff.checkpoints import extra_files
from paramdiff.checkpoints.extra_files import MAX_INLINE_BYTES
from paramdiff.checkpoints.formats import StoredCheckpoint, is_checkpoint, write_checkpoint
from paramdiff.errors import UserError
from paramdiff.parameters.layout import ParameterLayout
from paramdiff.parameters.space import ParameterSpace
from paramdiff.pipeline_io import check_pipeline_folder
from paramdiff.storage import write_tensors
from paramdiff.zoo.import_checkpoints import import_checkpoints
from paramdiff.zoo.zoo import read_index

BINARY = bytes(range(256)) * 9


@pytest.fixture
def folder(tmp_path):
    path = tmp_path / "checkpoint-10"
    write_tensors(path / "model.safetensors", {"a": torch.arange(3.0)})
    for name, content in {
        "config.json": '{"_name_or_path": "x"}',
        "tokenizer.json": json.dumps({"vocab": ["ä" * 50] * (MAX_INLINE_BYTES // 50)}),
        "merges.txt": "a b\r\nc d\r\n",
        "modeling_own.py": "class Own: ...\n",
        "1_Pooling/config.json": "{}",
        "chat_template.jinja": "{{ messages }}",
    }.items():
        (path / name).parent.mkdir(exist_ok=True)
        (path / name).write_bytes(content.encode())
    for name in ("spiece.model", "sentencepiece.bpe.model", "qwen.tiktoken"):
        (path / name).write_bytes(BINARY)
    return path


def written(folder, target):
    tensors, checkpoint_format = StoredCheckpoint(folder, folder.name).read()
    write_checkpoint(target, tensors, checkpoint_format)
    return checkpoint_format


def files(folder):
    return {p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()}


def test_vocabularies_are_kept_byte_for_byte(folder, tmp_path):
    checkpoint_format = written(folder, tmp_path / "new")
    assert set(checkpoint_format.extra_files) == {
        "tokenizer.json",
        "spiece.model",
        "sentencepiece.bpe.model",
        "qwen.tiktoken",
    }
    assert files(tmp_path / "new") == files(folder)
    for name in files(folder) - {"model.safetensors"}:
        assert (tmp_path / "new" / name).read_bytes() == (folder / name).read_bytes()
    assert checkpoint_format.left_out == ()


def test_large_files_are_never_read_whole(folder, tmp_path, monkeypatch):
    whole = extra_files.Path.read_bytes

    def refuse(path):
        assert path.stat().st_size <= MAX_INLINE_BYTES, path
        return whole(path)

    monkeypatch.setattr(extra_files.Path, "read_bytes", refuse)
    written(folder, tmp_path / "new")


STATES = {
    "trainer_state.json": '{"global_step": 3, "log_history": []}',
    "renamed.json": '{"best_model_checkpoint": "/home/somebody/run", "log_history": []}',
    "training_args.json": '{"output_dir": "/home/somebody"}',
    "all_results.json": "{}",
    "eval_results.json": "{}",
    "events.out.tfevents.17": "x",
    "train.log": "/home/somebody",
    "zero_to_fp32.py": "",
    "latest": "global_step3",
    "checkpoint-5/config.json": "{}",
    "runs/a/log.txt": "/home/somebody",
}


def test_the_state_of_a_training_is_left_out_and_told(folder, tmp_path):
    before = files(folder)
    for name, content in STATES.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(content)
    torch.save({"a": torch.ones(2)}, folder / "optimizer.pt")
    (folder / "image.png").write_bytes(BINARY)
    other = folder / "another_adapter"
    write_tensors(other / "adapter_model.safetensors", {"a": torch.ones(2)})
    (other / "adapter_config.json").write_text("{}")
    checkpoint_format = written(folder, tmp_path / "new")
    assert files(tmp_path / "new") == before
    assert "somebody" not in checkpoint_format.model_dump_json()
    told = {name if "/" not in name else name.partition("/")[0] + "/" for name in STATES}
    assert set(checkpoint_format.left_out) == told | {
        "optimizer.pt",
        "image.png",
        "another_adapter/",
    }


def test_components_of_a_pipeline_belong_to_it(tmp_path):
    for component in ("unet", "text_encoder"):
        place = tmp_path / "a" / component
        write_tensors(place / "model.safetensors", {component: torch.ones(2)})
        (place / "config.json").write_text("{}")
    (tmp_path / "a" / "model_index.json").write_text("{}")
    for name in ("scheduler/scheduler_config.json", "tokenizer/vocab.json"):
        (tmp_path / "a" / name).parent.mkdir()
        (tmp_path / "a" / name).write_text("{}")
    written(tmp_path / "a", tmp_path / "b")
    assert files(tmp_path / "b") == files(tmp_path / "a")
    assert is_checkpoint(tmp_path / "b")


def space_of(folder, target):
    tensors, checkpoint_format = StoredCheckpoint(folder, folder.name).read()
    layout = ParameterLayout.of(tensors, ["a"])
    vectors = torch.stack([layout.flatten(tensors), layout.flatten(tensors) + 1])
    ParameterSpace.fit(
        vectors, layout, tensors, checkpoint_format=checkpoint_format
    ).save_pretrained(target)


def test_they_travel_with_the_zoo_and_the_pipeline(folder, tmp_path):
    for step in (1, 2):
        place = tmp_path / "in" / f"checkpoint-{step}"
        place.mkdir(parents=True)
        for name in files(folder):
            (place / name).parent.mkdir(exist_ok=True)
            (place / name).write_bytes((folder / name).read_bytes())
        write_tensors(place / "model.safetensors", {"a": step * torch.arange(3.0)})
    import_checkpoints([str(tmp_path / "in")], tmp_path / "zoo", ("*",))
    space_of(folder, tmp_path / "space")
    names = files(folder)
    (tmp_path / "in").rename(tmp_path / "gone")
    folder.rename(tmp_path / "gone2")
    forms = [
        read_index(tmp_path / "zoo").checkpoint_format,
        ParameterSpace.from_pretrained(tmp_path / "space").checkpoint_format,
    ]
    for number, checkpoint_format in enumerate(forms):
        write_checkpoint(tmp_path / f"new{number}", {"a": torch.ones(3)}, checkpoint_format)
        assert files(tmp_path / f"new{number}") == names
        assert (tmp_path / f"new{number}" / "spiece.model").read_bytes() == BINARY
    assert str(tmp_path) not in (tmp_path / "zoo" / "index.json").read_text()
    assert str(tmp_path) not in (tmp_path / "space" / "checkpoint_format.json").read_text()
    (tmp_path / "space" / "extra_files" / "spiece.model").unlink()
    with pytest.raises(UserError, match=r"spiece\.model: the file is missing"):
        ParameterSpace.from_pretrained(tmp_path / "space")


@pytest.mark.parametrize("odd", ["../x", "/etc/passwd", "a/../../b"])
def test_a_form_that_leads_out_of_its_folder_is_refused(folder, tmp_path, odd):
    space_of(folder, tmp_path / "space")
    checkpoint_format = json.loads((tmp_path / "space" / "checkpoint_format.json").read_text())
    checkpoint_format["extra_files"].append(odd)
    (tmp_path / "space" / "checkpoint_format.json").write_text(json.dumps(checkpoint_format))
    with pytest.raises(UserError, match="lies outside the checkpoint"):
        ParameterSpace.from_pretrained(tmp_path / "space")


def test_foreign_files_among_them_are_refused(tiny_run, folder, tmp_path):
    import shutil

    pipeline = tmp_path / "pipeline"
    shutil.copytree(tiny_run / "pipeline", pipeline)
    shutil.rmtree(pipeline / "parameter_space")
    space_of(folder, pipeline / "parameter_space")
    check_pipeline_folder(pipeline)
    (pipeline / "parameter_space" / "extra_files" / "odd.model").write_bytes(b"")
    with pytest.raises(UserError, match=r"foreign file 'odd\.model'"):
        check_pipeline_folder(pipeline)
