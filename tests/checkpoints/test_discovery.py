"""Folders as trainers leave them: which files are checkpoints, and what is said of the others."""

import shutil

import pytest
import torch

from paramdiff.checkpoints.optimizer_files import is_optimizer_file
from paramdiff.checkpoints.sources import find_checkpoints
from paramdiff.errors import UserError
from paramdiff.storage import write_tensors
from tests.checkpoints.checkpoint_files import STATE

ADAM = {"state": {0: {"exp_avg": torch.ones(2)}}, "param_groups": [{"lr": 0.1, "params": [0]}]}
TRAINER = ("optimizer.pt", "scheduler.pt", "rng_state.pth", "scaler.pt", "training_args.bin")
ACCELERATE = (
    *("optimizer.bin", "optimizer_1.bin", "scheduler.bin", "sampler.bin", "sampler_1.bin"),
    *("random_states_0.pkl", "custom_checkpoint_0.pkl", "dl_state_dict.bin"),
)
LAYOUTS = {
    "Trainer, a plain module": ("model.safetensors", TRAINER),
    "Trainer, old": ("pytorch_model.bin", TRAINER),
    "accelerate": ("model.safetensors", ACCELERATE),
    "accelerate, torch": ("pytorch_model.bin", ACCELERATE),
    "diffusers LoRA": ("pytorch_lora_weights.safetensors", ("optimizer.bin", "scheduler.bin")),
    "diffusers network": ("unet/diffusion_pytorch_model.safetensors", ("optimizer.bin",)),
    "PEFT, named": ("task1/adapter_model.safetensors", TRAINER),
    "by hand": ("weights.pth", ("optimizer.pth", "lr_scheduler.pth")),
    "by hand, tar": ("net.pth.tar", ("optim.pth.tar",)),
    "PEFT": ("adapter_model.safetensors", ("optimizer.pt", "rng_state_0.pth", "rng_state_1.pth")),
}


def put(path, value=0.0):
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".safetensors":
        write_tensors(path, {"a": torch.full((3,), float(value))})
    else:
        torch.save({"a": torch.full((3,), float(value))}, path)
    return path


def found_in(*sources):
    """The names of each run, and what was passed over."""
    found = find_checkpoints([str(one) for one in sources])
    return [[one.name for one in run] for run in found.runs], " | ".join(found.skipped)


def refusal(*sources):
    with pytest.raises(UserError) as caught:
        for run in find_checkpoints([str(one) for one in sources]).runs:
            for stored in run:
                stored.read()
    message = str(caught.value)
    assert len(message.splitlines()) == 1
    return message


# ---- files beside weights


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("has_configuration", [False, True])
def test_training_state_beside_weights_is_passed_over(tmp_path, layout, has_configuration):
    weights, state = LAYOUTS[layout]
    for step in (10, 20, 100):
        folder = tmp_path / f"checkpoint-{step}"
        file = put(folder / weights, step)
        if has_configuration:
            (file.parent / "config.json").write_text("{}")
        for name in state:
            torch.save(ADAM, folder / name)
    ((*run,),), told = found_in(tmp_path)
    assert [name.split("/")[0] for name in run] == [f"checkpoint-{s}" for s in (10, 20, 100)]
    assert state[0] in told and "training state" in told and "in 3 folders" in told
    values = [float(one.read()[0]["a"][0]) for one in find_checkpoints([str(tmp_path)]).runs[0]]
    assert values == [10, 20, 100]
    ((name,),), told = found_in(tmp_path / "checkpoint-20")
    assert state[0] in told and not name.startswith("checkpoint-10")


def test_training_state_beside_weights_in_one_folder(tmp_path):
    for step in (1, 2):
        put(tmp_path / f"model_{step}.pt", step)
        torch.save(ADAM, tmp_path / f"optimizer_{step}.pt")
        torch.save(ADAM, tmp_path / f"opt00{step}.pt")
    assert found_in(tmp_path)[0] == [["model_1.pt", "model_2.pt"]]
    told = "opt001.pt, opt002.pt, optimizer_1.pt, optimizer_2.pt (training state)"
    assert found_in(tmp_path)[1] == told
    runs, told = found_in(*sorted(tmp_path.iterdir()))  # as a shell expands a pattern
    assert runs == [["model_1.pt", "model_2.pt"]] and "optimizer_2.pt" in told
    assert found_in(f"{tmp_path}/*")[0] == [["model_1.pt", "model_2.pt"]]


@pytest.mark.parametrize("place", ["", "checkpoint-5/", "global_step5/"])
def test_training_state_alone_is_refused_with_the_next_step(tmp_path, place):
    (tmp_path / place).mkdir(exist_ok=True)
    torch.save(ADAM, tmp_path / place / "optimizer.pt")
    torch.save({"last_epoch": 3}, tmp_path / place / "scheduler.pt")
    told = refusal(tmp_path)
    assert "optimizer.pt, scheduler.pt" in told or "optimizer.pt" in told
    assert "pass the folder with the weights" in told
    told = refusal(tmp_path / place / "optimizer.pt")
    assert "the state of an optimizer" in told and "pass the file with the weights" in told
    assert "last_epoch" in refusal(tmp_path / place / "scheduler.pt")


@pytest.mark.parametrize(
    "name",
    ["model_and_optimizer.pt", "opt-125m.bin", "resampler.pt", "unet.pt", "model_optim_rng.pt"],
)
def test_names_that_speak_of_weights_are_no_training_state(name):
    assert not is_optimizer_file(name)


def test_a_second_network_of_accelerate_is_told(tmp_path):
    for step in (1, 2):
        put(tmp_path / f"checkpoint_{step}" / "model.safetensors", step)
        put(tmp_path / f"checkpoint_{step}" / "model_1.safetensors", step)
    runs, told = found_in(tmp_path)
    assert runs == [["checkpoint_1", "checkpoint_2"]]
    assert "model_1.safetensors in 2 folders (weights of a further network" in told
    runs, _ = found_in(f"{tmp_path}/*/model_1.safetensors")
    assert runs == [[f"checkpoint_{step}/model_1.safetensors" for step in (1, 2)]]


# ---- a final model at the root


@pytest.mark.parametrize("copied", ["checkpoint-20", "checkpoint-10", None])
@pytest.mark.parametrize(
    "weights", ["model.safetensors", "pytorch_lora_weights.safetensors", "adapter_model.bin"]
)
def test_checkpoints_beside_a_final_model_are_read(tmp_path, copied, weights):
    for step in (10, 20):
        put(tmp_path / f"checkpoint-{step}" / weights, step)
    (tmp_path / "config.json").write_text("{}")
    if copied is None:
        put(tmp_path / weights, 99)
    else:
        shutil.copy(tmp_path / copied / weights, tmp_path / weights)
    runs, told = found_in(tmp_path)
    assert runs == [["checkpoint-10", "checkpoint-20"]]
    words = "no copy of a checkpoint below it" if copied is None else f"a copy of {copied}"
    assert f"the model at the root: {words}" in told


def test_a_pipeline_at_the_root(tmp_path):
    (tmp_path / "model_index.json").write_text("{}")
    weights = "diffusion_pytorch_model.safetensors"
    for place in ("", "checkpoint-5/", "checkpoint-10/"):
        put(tmp_path / place / "unet" / weights, len(place))
        (tmp_path / place / "unet" / "config.json").write_text("{}")
    put(tmp_path / "vae" / weights)
    runs, told = found_in(tmp_path)
    assert runs == [["checkpoint-5/unet", "checkpoint-10/unet"]]
    assert "the model at the root: no copy" in told
    shutil.copytree(tmp_path / "checkpoint-5/unet", tmp_path / "unet", dirs_exist_ok=True)
    assert "the model at the root: a copy of checkpoint-5/unet" in found_in(tmp_path)[1]


def test_seeds_with_a_final_model_each_are_runs(tmp_path):
    for seed in (0, 1):
        for place in ("", "checkpoint-5/", "checkpoint-10/"):
            put(tmp_path / f"seed{seed}" / place / "model.safetensors", seed)
    runs, told = found_in(tmp_path)
    assert runs == [[f"seed{seed}/checkpoint-{step}" for step in (5, 10)] for seed in (0, 1)]
    assert "the model at the root" in told


@pytest.mark.parametrize("names", [["best.pt"], ["best.pt", "last.ckpt"], ["pretrained.pth"]])
def test_a_file_beside_folders_of_runs(tmp_path, names):
    for name in names:
        put(tmp_path / name)
    for seed in (0, 1):
        put(tmp_path / f"seed{seed}" / "1.pt", seed)
        put(tmp_path / f"seed{seed}" / "2.pt", seed)
    runs, told = found_in(tmp_path)
    assert runs == [[f"seed{seed}/{step}.pt" for step in (1, 2)] for seed in (0, 1)]
    assert all(name in told for name in names) and "beside folders of checkpoints" in told
    shutil.move(tmp_path / "seed0", tmp_path / "logs/version_0/checkpoints")
    shutil.rmtree(tmp_path / "seed1")
    (run,) = find_checkpoints([str(tmp_path)]).runs
    place = tmp_path / "logs/version_0/checkpoints"
    assert [stored.path for stored in run] == [place / "1.pt", place / "2.pt"]


def test_runs_at_different_depths(tmp_path):
    for name in ("a/1.pt", "a/2.pt", "b/x/1.pt", "c/x/y/1.pt", "c/x/y/2.pt"):
        put(tmp_path / name)
    runs, told = found_in(tmp_path)
    assert runs == [["a/1.pt", "a/2.pt"], ["b/x/1.pt"], ["c/x/y/1.pt", "c/x/y/2.pt"]] and not told


def test_what_lies_deeper_beside_checkpoints_is_told(tmp_path):
    for name in ("1.pt", "2.pt", "old/x/1.pt"):
        put(tmp_path / name)
    (tmp_path / "logs/x").mkdir(parents=True)
    (tmp_path / "logs/x/notes.txt").write_text("nothing")
    runs, told = found_in(tmp_path)
    assert runs == [["1.pt", "2.pt"]] and told.startswith(
        "old (subfolders with their own checkpoints"
    )


def test_a_run_beside_folders_of_others(tmp_path):
    for name in ("1.pt", "2.pt", "old/1.pt", "old/2.pt"):
        put(tmp_path / name)
    runs, told = found_in(tmp_path)
    assert runs == [["1.pt", "2.pt"]] and told.startswith(
        "old (subfolders with their own checkpoints"
    )


def test_averages_beside_weights(tmp_path):
    for step in (1, 2):
        put(tmp_path / f"model{step}.pt")
        put(tmp_path / f"ema_0.999_{step}.pt")
        put(tmp_path / "steps" / f"step_{step}" / "unet" / "model.safetensors")
        put(tmp_path / "steps" / f"step_{step}" / "unet_ema" / "model.safetensors")
    runs, told = found_in(tmp_path / "steps")
    assert runs == [["step_1/unet", "step_2/unet"]]
    assert "unet_ema in 2 folders (averages of weights" in told
    shutil.rmtree(tmp_path / "steps")
    runs, told = found_in(tmp_path)
    assert runs == [["model1.pt", "model2.pt"]] and "ema_0.999_1.pt" in told
    assert found_in(f"{tmp_path}/ema*")[0] == [["ema_0.999_1.pt", "ema_0.999_2.pt"]]


def test_several_networks_in_each_step_are_refused(tmp_path):
    for step in (1, 2):
        for name in ("text_encoder", "unet"):
            put(tmp_path / f"checkpoint-{step}" / name / "model.safetensors")
    told = refusal(tmp_path)
    assert "several networks (text_encoder, unet)" in told
    pattern = f"{tmp_path}/*/text_encoder"
    assert f"'{pattern}'" in told
    assert len(found_in(pattern)[0][0]) == 2


# ---- suffixes and depth


@pytest.mark.parametrize(
    "suffix",
    [".pth.tar", ".pt.tar", ".PTH", ".Pt", ".ckpt.tar", ".model", ".pkl", ".tar", ".chkpt", ""],
)
@pytest.mark.parametrize("zipped", [True, False])
def test_what_torch_wrote_is_found_whatever_its_suffix(tmp_path, suffix, zipped):
    for step in range(2):
        file = tmp_path / f"checkpoint{step}{suffix}"
        torch.save({"state_dict": STATE}, file, _use_new_zipfile_serialization=zipped)
    (tmp_path / "tokenizer.model").write_bytes(b"\n\x0e\n\x05<unk>\x15\x00\x00\x00\x00\x18\x02")
    (tmp_path / "log.txt").write_text("0.5")
    (run,) = find_checkpoints([str(tmp_path)]).runs
    assert [one.name for one in run] == [f"checkpoint{step}{suffix}" for step in range(2)]
    assert list(run[0].read()[0]) == list(STATE)
    assert run[0].read()[1].suffix == suffix
    assert find_checkpoints([str(tmp_path / f"checkpoint0{suffix}")]).runs


def test_upper_case_safetensors(tmp_path):
    write_tensors(tmp_path / "a.safetensors", STATE)
    (tmp_path / "a.safetensors").rename(tmp_path / "A.SAFETENSORS")
    (run,) = find_checkpoints([str(tmp_path)]).runs
    assert run[0].read()[1].files[0].kind == "safetensors"


def test_folders_one_or_more_levels_too_high(tmp_path):
    for version in (0, 1):
        for epoch in (1, 2):
            place = f"lightning_logs/version_{version}/checkpoints/epoch={epoch}.ckpt"
            put(tmp_path / place)
    for folder in (tmp_path, tmp_path / "lightning_logs"):
        assert found_in(folder)[0] == [
            [f"version_{version}/checkpoints/epoch={epoch}.ckpt" for epoch in (1, 2)]
            for version in (0, 1)
        ]


# ---- forms that must be put together or converted first


def touched(folder, *names):
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"x")
    return folder


@pytest.mark.parametrize(
    ("names", "told"),
    [
        ([".metadata", "__0_0.distcp"], "dcp_to_torch"),
        (["step-5/.metadata", "step-5/__0_0.distcp"], "dcp_to_torch"),
        (["a/pytorch_model_fsdp_0/__0_0.distcp", "a/scheduler.bin"], "dcp_to_torch"),
        (["epoch=1.ckpt/.metadata", "epoch=1.ckpt/__0_0.distcp"], "dcp_to_torch"),
        (["global_step5/zero_pp_rank_0_mp_rank_00_model_states.pt"], "zero_to_fp32.py"),
        (
            ["a/global_step5/bf16_zero_pp_rank_0_mp_rank_00_optim_states.pt", "a/latest"],
            "zero_to_fp32.py",
        ),
        (["g/mp_rank_00_model_states.pt", "g/mp_rank_01_model_states.pt"], "Megatron"),
        (["i/mp_rank_00/model_optim_rng.pt", "i/mp_rank_01/model_optim_rng.pt"], "Megatron"),
        (["consolidated.00.pth", "consolidated.01.pth"], "merge them"),
        (["fsdp_rank0.pt", "fsdp_rank1.pt"], "whole checkpoints"),
        (["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"], "index"),
        (["model.h5"], "Keras"),
        (["model.keras"], "Keras"),
        (["a.gguf"], "GGUF"),
        (["model.onnx"], "ONNX"),
        (["flax_model.msgpack"], "msgpack_restore"),
        (["weights.npz"], "torch.from_numpy"),
        (["model.ckpt-10.index", "model.ckpt-10.data-00000-of-00001"], "TensorFlow"),
        (["saved_model.pb", "variables/variables.index"], "TensorFlow"),
        (["1000/_CHECKPOINT_METADATA"], "Orbax"),
        (["events.out.tfevents.1"], "there are no checkpoint files"),
    ],
)
def test_other_forms_are_named_with_the_next_step(tmp_path, names, told):
    assert told in refusal(touched(tmp_path, *names))


def test_deepspeed_without_shards_is_read(tmp_path):
    for step in (1, 2):
        folder = tmp_path / f"global_step{step}"
        folder.mkdir()
        torch.save({"module": STATE}, folder / "mp_rank_00_model_states.pt")
        torch.save(ADAM, folder / "zero_pp_rank_0_mp_rank_00_optim_states.pt")
    runs, told = found_in(tmp_path)
    assert runs == [[f"global_step{step}/mp_rank_00_model_states.pt" for step in (1, 2)]]
    assert "optim_states.pt in 2 folders (training state)" in told
    assert list(find_checkpoints([str(tmp_path)]).runs[0][0].read()[0]) == list(STATE)


def test_shards_with_their_index_beside_deepspeed_folders(tmp_path):
    folder = put(tmp_path / "checkpoint-5" / "model.safetensors").parent
    touched(folder, "global_step5/zero_pp_rank_0_mp_rank_00_model_states.pt", "zero_to_fp32.py")
    put(tmp_path / "checkpoint-10" / "model.safetensors")
    assert found_in(tmp_path)[0] == [["checkpoint-5", "checkpoint-10"]]


# ---- variants


def test_variants_of_weights(tmp_path):
    (tmp_path / "config.json").write_text("{}")
    put(tmp_path / "model.fp16.safetensors", 1)
    ((stored,),) = find_checkpoints([str(tmp_path)]).runs
    tensors, checkpoint_format = stored.read()
    assert (
        float(tensors["a"][0]) == 1 and checkpoint_format.files[0].file == "model.fp16.safetensors"
    )
    assert "config.json" in checkpoint_format.extra_texts
    put(tmp_path / "model.bf16.safetensors", 2)
    assert "several variants (bf16, fp16); pass one" in refusal(tmp_path)
    put(tmp_path / "model.safetensors", 3)
    ((stored,),) = find_checkpoints([str(tmp_path)]).runs
    assert float(stored.read()[0]["a"][0]) == 3
    assert "model.bf16.safetensors, model.fp16.safetensors" in found_in(tmp_path)[1]


@pytest.mark.parametrize("shard", ["5GB", "10KB"])
def test_a_pipeline_of_variants_loads_after_the_round_trip(tmp_path, shard):
    from diffusers import DDPMPipeline, DDPMScheduler, UNet2DModel

    from paramdiff.checkpoints.formats import write_checkpoint

    unet = UNet2DModel(
        sample_size=8,
        block_out_channels=(8,),
        norm_num_groups=4,
        layers_per_block=1,
        down_block_types=("DownBlock2D",),
        up_block_types=("UpBlock2D",),
    )
    pipeline = DDPMPipeline(unet, DDPMScheduler())
    pipeline.save_pretrained(tmp_path / "a", variant="fp16", max_shard_size=shard)
    ((stored,),) = find_checkpoints([str(tmp_path / "a")]).runs
    tensors, checkpoint_format = stored.read()
    write_checkpoint(
        tmp_path / "b", {name: one + 1 for name, one in tensors.items()}, checkpoint_format
    )
    loaded = DDPMPipeline.from_pretrained(tmp_path / "b", variant="fp16").unet.state_dict()
    for name, tensor in loaded.items():
        torch.testing.assert_close(tensor, tensors[f"unet.{name}"] + 1)
