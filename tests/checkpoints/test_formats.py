"""Checkpoints of the real libraries are read, and what is written in their form loads back."""

import json
import shutil
from collections import OrderedDict

import pytest
import torch
from torch import nn

from paramdiff.checkpoints.formats import (
    CheckpointFormat,
    StoredCheckpoint,
    is_checkpoint,
    write_checkpoint,
)
from paramdiff.errors import UserError
from paramdiff.storage import read_metadata, write_tensors
from tests.checkpoints.checkpoint_files import STATE, assert_state, saved


def read(path, entry=None):
    return StoredCheckpoint(path, path.name).read(entry)


def shifted(tensors):
    return {
        name: tensor + 0.25 if tensor.is_floating_point() else tensor
        for name, tensor in tensors.items()
    }


def through(path, target):
    """Read a checkpoint, change it, write it in its own form; the tensors that were written."""
    tensors, checkpoint_format = read(path)
    changed = shifted(tensors)
    write_checkpoint(target, changed, checkpoint_format)
    again, same = read(target)
    assert_state(again, changed)
    stripped = [
        one.model_dump() | {"file": None if not checkpoint_format.is_folder else one.file}
        for one in same.files
    ]
    assert stripped == [
        one.model_dump() | {"file": None if not checkpoint_format.is_folder else one.file}
        for one in checkpoint_format.files
    ]
    return changed


# ---- one file


@pytest.mark.parametrize("suffix", [".pt", ".ckpt", ".bin"])
@pytest.mark.parametrize(
    "around",
    [
        lambda state: state,
        lambda state: {"epoch": 3, "state_dict": state},
        lambda state: {"model": {f"module.{name}": one for name, one in state.items()}},
        lambda state: {f"_orig_mod.module.{name}": one for name, one in state.items()},
        lambda state: {"state_dict": {"ema": state}},
    ],
)
def test_a_torch_file_comes_back_as_it_was_wrapped(tmp_path, suffix, around):
    path = saved(tmp_path / f"a{suffix}", around(OrderedDict(STATE)))
    written = through(path, tmp_path / f"b{suffix}")
    content = torch.load(tmp_path / f"b{suffix}", weights_only=True)
    wanted = around(written)
    while not isinstance(next(iter(wanted.values())), torch.Tensor):
        key = next(key for key, value in wanted.items() if isinstance(value, dict))
        wanted, content = wanted[key], content[key]
    assert_state(content, wanted)


def test_a_networks_file_loads_strictly_after_the_round_trip(tmp_path):
    network = nn.Sequential(nn.Conv2d(1, 3, 3), nn.BatchNorm2d(3), nn.Flatten(), nn.Linear(3, 2))
    network.bfloat16()
    path = saved(tmp_path / "a.pt", network.state_dict())
    through(path, tmp_path / "b.pt")
    loaded = torch.load(tmp_path / "b.pt")
    network.load_state_dict(loaded, strict=True)
    assert loaded["0.weight"].dtype == torch.bfloat16


def test_several_state_dicts_need_a_name(tmp_path):
    averaged = {name: tensor * 2 for name, tensor in STATE.items()}
    path = saved(tmp_path / "a.pt", {"model": STATE, "ema": averaged, "teacher": STATE})
    with pytest.raises(UserError, match=r"several state dicts \(model, ema\)"):
        read(path)
    assert_state(read(path, "ema")[0], averaged)
    assert_state(read(path, "teacher")[0], STATE)
    with pytest.raises(UserError, match="'student'"):
        read(saved(tmp_path / "b.pt", STATE), "student")


# ---- headers and order


def test_a_headers_metadata_are_kept(tmp_path):
    from safetensors import safe_open
    from safetensors.torch import save_file

    own = {"format": "pt", "lora_adapter_metadata": '{"alpha": 16}', "ss_output_name": "ä"}
    about_values = {"sshs_model_hash": "12", "modelspec.hash_sha256": "0x12"}
    save_file({"b": torch.ones(3), "a": torch.zeros(2)}, tmp_path / "a.safetensors",
              own | about_values | {"paramdiff": "null"})  # fmt: skip
    tensors, checkpoint_format = read(tmp_path / "a.safetensors")
    write_checkpoint(tmp_path / "b.safetensors", tensors, checkpoint_format, {"seed": 3})
    write_checkpoint(tmp_path / "c.safetensors", tensors, checkpoint_format, {"seed": 3})
    with safe_open(tmp_path / "b.safetensors", "pt") as file:
        assert file.metadata() == own | {"paramdiff": '{"seed": 3}'}
    assert read_metadata(tmp_path / "b.safetensors") == {"seed": 3}
    assert (tmp_path / "b.safetensors").read_bytes() == (tmp_path / "c.safetensors").read_bytes()
    assert_state(read(tmp_path / "b.safetensors")[0], tensors)


def test_metadata_of_every_shard_are_kept(tmp_path):
    from safetensors import safe_open
    from safetensors.torch import save_file

    folder = tmp_path / "a"
    folder.mkdir()
    for number in (1, 2):
        name = f"model-0000{number}-of-00002.safetensors"
        save_file(
            {f"t{number}": torch.ones(3)}, folder / name, {"format": "pt", "part": str(number)}
        )
    places = {f"t{number}": f"model-0000{number}-of-00002.safetensors" for number in (1, 2)}
    index = json.dumps({"weight_map": places})
    (folder / "model.safetensors.index.json").write_text(index)
    through(folder, tmp_path / "b")
    for number in (1, 2):
        name = tmp_path / "b" / f"model-0000{number}-of-00002.safetensors"
        with safe_open(name, "pt") as file:
            assert file.metadata() == {"format": "pt", "part": str(number)}


@pytest.mark.parametrize("suffix", [".pt", ".ckpt"])
def test_the_order_of_tensors_is_kept(tmp_path, suffix):
    state = {name: torch.ones(2) for name in ("z", "a", "m")} | {"b": torch.ones(2).half()}
    tensors, checkpoint_format = read(saved(tmp_path / f"a{suffix}", state))
    mixed = dict(sorted(tensors.items()))
    write_checkpoint(tmp_path / f"b{suffix}", mixed, checkpoint_format)
    assert list(torch.load(tmp_path / f"b{suffix}")) == list(state)


# ---- Lightning


def lightning_file(path, version="2.6.6", **more):
    content = {
        "epoch": 3,
        "global_step": 40,
        "pytorch-lightning_version": version,
        "state_dict": {"net.weight": torch.ones(12, 4), "net.bias": torch.ones(12)},
        "loops": {"fit_loop": {"state_dict": {}}},
        "callbacks": {"ModelCheckpoint": {"dirpath": "/home/somebody"}},
        "optimizer_states": [{"state": {0: torch.ones(3)}}],
        "lr_schedulers": [],
        "hparams_name": "kwargs",
        "hyper_parameters": {"hidden": 12, "scale": 3.0, "sizes": (1, 2), "by": {1: "a"}},
    }
    return saved(path, content | more)


def test_what_lightning_asks_for_is_kept_and_nothing_of_training(tmp_path):
    tensors, checkpoint_format = read(lightning_file(tmp_path / "a.ckpt"))
    checkpoint_format = CheckpointFormat.model_validate_json(
        checkpoint_format.model_dump_json()
    )  # as in a pipeline's folder
    write_checkpoint(tmp_path / "b.ckpt", tensors, checkpoint_format)
    content = torch.load(tmp_path / "b.ckpt", weights_only=True)
    original = torch.load(tmp_path / "a.ckpt")
    assert set(original) - set(content) == {"callbacks", "optimizer_states", "lr_schedulers"}
    for key in set(content) - {"state_dict"}:
        assert content[key] == original[key]
    assert "somebody" not in checkpoint_format.model_dump_json()


def test_hyper_parameters_that_are_not_plain_are_named(tmp_path):
    from pathlib import Path

    given = {"hidden": 12, "where": Path("/home/somebody"), "on": [Path("a"), 1]}
    _, checkpoint_format = read(lightning_file(tmp_path / "a.ckpt", hyper_parameters=given))
    assert checkpoint_format.left_out == ("hyper_parameters.where", "hyper_parameters.on")
    assert checkpoint_format.files[0].container.beside["hyper_parameters"] == {"hidden": 12}


def test_other_wrappers_are_as_before(tmp_path):
    path = saved(
        tmp_path / "a.pt", {"state_dict": STATE, "epoch": 3, "hyper_parameters": {"a": 1}}
    )
    assert read(path)[1].files[0].container.beside == {}


@pytest.mark.parametrize("version", [None, "2.6.6", "2.0.0", "1.9.0", "1.6.3", "1.5.10", "0.9.0"])
def test_lightning_loads_what_is_written(tmp_path, version):
    lightning = pytest.importorskip("lightning")

    class Lit(lightning.LightningModule):
        def __init__(self, hidden=8, scale=1.0):
            super().__init__()
            self.save_hyperparameters()
            self.net = nn.Linear(4, hidden)

    given = {"hyper_parameters": {"hidden": 12, "scale": 3.0}, "callbacks": {}}
    path = lightning_file(tmp_path / "a.ckpt", version or "2.6.6", **given)
    if version is not None and version < "2":
        from lightning.pytorch.utilities.migration import migration

        content = torch.load(path)
        content["loops"] = {"fit_loop": migration._get_fit_loop_initial_state_1_6_0()}
        if version < "1.6":  # which kept none
            del content["loops"]
        torch.save(content, path)
    if version is None:
        trainer = lightning.Trainer(logger=False, enable_checkpointing=False, accelerator="cpu")
        trainer.strategy.connect(Lit(hidden=12, scale=3.0))
        trainer.save_checkpoint(path)
    tensors, checkpoint_format = read(path)
    write_checkpoint(tmp_path / "b.ckpt", shifted(tensors), checkpoint_format)
    loaded = Lit.load_from_checkpoint(tmp_path / "b.ckpt", map_location="cpu")
    assert dict(loaded.hparams) == {"hidden": 12, "scale": 3.0}
    assert_state(dict(loaded.state_dict()), shifted(tensors))


# ---- the libraries' folders


@pytest.fixture
def bert():
    from transformers import BertConfig, BertForSequenceClassification

    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=50,
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=20,
    )
    return BertForSequenceClassification(config)


@pytest.mark.parametrize("shard", ["5GB", "10KB"])
def test_transformers_folders(tmp_path, bert, shard):
    from transformers import BertForSequenceClassification

    bert.save_pretrained(tmp_path / "a", max_shard_size=shard)
    assert is_checkpoint(tmp_path / "a")
    num_files = len(list((tmp_path / "a").glob("*.safetensors")))
    assert (num_files > 1) == (shard == "10KB")
    tensors, checkpoint_format = read(tmp_path / "a")
    assert_state({name: tensors[name] for name in bert.state_dict()}, bert.state_dict())
    assert len(checkpoint_format.files) == num_files
    written = through(tmp_path / "a", tmp_path / "b")
    found = BertForSequenceClassification.from_pretrained(tmp_path / "b").state_dict()
    assert_state(found, {name: written[name] for name in found})


@pytest.mark.filterwarnings("ignore::FutureWarning:transformers")  # between the two libraries
@pytest.mark.filterwarnings("ignore:Could not find a config file")  # some versions look for one
def test_peft_adapters(tmp_path, bert):
    from peft import LoraConfig, PeftModel, get_peft_model

    base = bert.state_dict()
    adapted = get_peft_model(bert, LoraConfig(r=2, target_modules=["query", "value"]))
    adapted.save_pretrained(tmp_path / "a")
    assert is_checkpoint(tmp_path / "a")
    written = through(tmp_path / "a", tmp_path / "b")
    assert all("lora" in name for name in written) and len(written) == 8
    fresh = type(bert)(bert.config)
    fresh.load_state_dict(base, strict=False)
    loaded = PeftModel.from_pretrained(fresh, tmp_path / "b")
    found = [value for name, value in loaded.state_dict().items() if "lora" in name]
    assert {float(value.sum()) for value in found} == {
        float(value.sum()) for value in written.values()
    }


@pytest.fixture
def unet():
    from diffusers import UNet2DModel

    torch.manual_seed(0)
    return UNet2DModel(
        sample_size=8,
        in_channels=1,
        out_channels=1,
        block_out_channels=(8, 8),
        norm_num_groups=4,
        layers_per_block=1,
        down_block_types=("DownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "UpBlock2D"),
    )


def test_diffusers_folders(tmp_path, unet):
    from diffusers import UNet2DModel

    unet.save_pretrained(tmp_path / "a")
    written = through(tmp_path / "a", tmp_path / "b")
    found = UNet2DModel.from_pretrained(tmp_path / "b").state_dict()
    assert_state(found, {name: written[name] for name in found})


def test_diffusers_pipelines(tmp_path, unet):
    from diffusers import DDPMPipeline, DDPMScheduler

    DDPMPipeline(unet, DDPMScheduler()).save_pretrained(tmp_path / "a")
    tensors, _ = read(tmp_path / "a")
    assert all(name.startswith("unet.") for name in tensors)
    written = through(tmp_path / "a", tmp_path / "b")
    found = DDPMPipeline.from_pretrained(tmp_path / "b").unet.state_dict()
    assert_state(found, {name: written[f"unet.{name}"] for name in found})
    assert (tmp_path / "b" / "scheduler" / "scheduler_config.json").is_file()


def test_a_trainers_folder_is_one_checkpoint_and_loses_its_optimiser(tmp_path, bert):
    folder = tmp_path / "checkpoint-500"
    bert.save_pretrained(folder)
    saved(folder / "optimizer.pt", {"state": {}, "param_groups": []})
    (folder / "trainer_state.json").write_text("{}")
    (folder / "README.md").write_text("# What the original is")
    assert is_checkpoint(folder)
    through(folder, tmp_path / "b")
    assert not (tmp_path / "b" / "optimizer.pt").exists()
    assert not (tmp_path / "b" / "README.md").exists()
    assert (tmp_path / "b" / "config.json").is_file()


def test_a_folder_of_checkpoints_is_not_one(tmp_path):
    for name in ("model.safetensors", "other.safetensors"):
        write_tensors(tmp_path / "a" / name, STATE)
    assert not is_checkpoint(tmp_path / "a")
    (tmp_path / "a" / "other.safetensors").unlink()
    assert is_checkpoint(tmp_path / "a")


# ---- what does not fit


@pytest.mark.parametrize(
    ("places", "told"),
    [
        ({"a": "../../etc/model.safetensors"}, "etc"),
        ({"a": "/etc/model.safetensors"}, "etc"),
        ({"a": ".."}, "'..'"),
        ({"a": 3}, "3 is not a file"),
        ({"a": "notes.txt"}, "notes.txt"),
        ({"b": "one.safetensors"}, "disagree about tensor"),
        ({"a": "one.safetensors", "b": "two.safetensors"}, "two.safetensors"),
        ({}, "weight_map"),
        ([], "weight_map"),
    ],
)
def test_indices_that_lead_elsewhere_are_refused(tmp_path, places, told):
    folder = tmp_path / "a"
    write_tensors(folder / "one.safetensors", {"a": torch.ones(2)})
    index = folder / "model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": places}))
    with pytest.raises(UserError) as caught:
        read(folder)
    assert told in str(caught.value) and len(str(caught.value).splitlines()) == 1
    assert not list(tmp_path.glob("b*"))


def test_a_tensor_in_two_shards_is_refused(tmp_path):
    folder = tmp_path / "a"
    for name in ("one", "two"):
        write_tensors(folder / f"{name}.safetensors", {"a": torch.ones(2)})
    content = '{"weight_map": {"a": "one.safetensors", "b": "two.safetensors"}}'
    (folder / "model.safetensors.index.json").write_text(content)
    with pytest.raises(UserError, match="two"):
        read(folder)


def test_a_tensor_without_a_place_is_refused(tmp_path):
    _, checkpoint_format = read(saved(tmp_path / "a.pt", STATE))
    with pytest.raises(UserError, match="'strange'"):
        write_checkpoint(tmp_path / "b.pt", {"strange": torch.ones(1)}, checkpoint_format)
    assert not (tmp_path / "b.pt").exists()


def test_the_selected_tensors_alone_can_be_written(tmp_path, bert):
    bert.save_pretrained(tmp_path / "a", max_shard_size="10KB")
    tensors, checkpoint_format = read(tmp_path / "a")
    some = {name: one for name, one in tensors.items() if "LayerNorm" in name}
    write_checkpoint(tmp_path / "b", some, checkpoint_format)
    assert_state(dict(sorted(read(tmp_path / "b")[0].items())), dict(sorted(some.items())))


def test_hashes_tell_contents_apart(tmp_path, bert):
    bert.save_pretrained(tmp_path / "a", max_shard_size="10KB")
    shutil.copytree(tmp_path / "a", tmp_path / "b")
    a, b = (StoredCheckpoint(tmp_path / name, name) for name in "ab")
    assert a.sha256 == b.sha256
    through(tmp_path / "a", tmp_path / "c")
    assert StoredCheckpoint(tmp_path / "c", "c").sha256 != a.sha256
