"""The parameter space: padding, whole state dicts, saving and refusals."""

import json
import math

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from paramdiff.errors import UserError
from paramdiff.parameters.layout import ParameterLayout
from paramdiff.parameters.selection import select
from paramdiff.parameters.space import BASE_FILE, ParameterSpace, padded

WEIGHTS = "diffusion_pytorch_model.safetensors"
PATTERNS = ["0.weight", "1.*", "3.bias"]


def network(seed=0):
    """Three kinds of layers; the running statistics are not fresh."""
    torch.manual_seed(seed)
    net = nn.Sequential(
        nn.Conv2d(1, 3, 3), nn.BatchNorm2d(3), nn.Flatten(), nn.Linear(12, 2)
    ).train()
    for _ in range(3):
        net(torch.randn(8, 1, 4, 4) * 3)
    return net.eval()


def fitted(mode="tensor", num=4):
    states = [network(seed).state_dict() for seed in range(num)]
    layout = ParameterLayout.of(states[0], select(states[0], PATTERNS))
    vectors = torch.stack([layout.flatten(state) for state in states])
    return ParameterSpace.fit(vectors, layout, states[0], mode), vectors, states


def refusal(folder):
    with pytest.raises(UserError) as caught:
        ParameterSpace.from_pretrained(folder)
    message = str(caught.value)
    assert str(folder) in message
    assert len(message.splitlines()) == 1
    return message


@pytest.mark.parametrize("number", [1, 63, 64, 65, 128, 1000])
def test_padding_is_the_next_multiple_of_64(number):
    assert padded(number) == 64 * math.ceil(number / 64)


def test_what_is_padded_is_zero_and_ignored():
    space, vectors, _ = fitted()
    assert space.num_parameters == 27 + 3 + 3 + 3 + 3 + 2
    normalized = space.normalize(vectors)
    assert normalized.shape == (len(vectors), 64) == (len(vectors), space.padded_length)
    assert normalized.dtype == torch.float32
    assert normalized[:, space.num_parameters :].eq(0).all()
    raw = space.denormalize(normalized)
    torch.testing.assert_close(raw, vectors, rtol=1e-4, atol=1e-5)
    normalized[:, space.num_parameters :] = 7.0
    assert space.denormalize(normalized).equal(raw)


def test_one_vector_is_treated_as_a_batch_is():
    space, vectors, _ = fitted()
    assert space.normalize(vectors[1]).equal(space.normalize(vectors)[1])


@pytest.mark.parametrize("mode", ["tensor", "coordinate"])
def test_a_restored_network_is_whole(mode):
    space, vectors, states = fitted(mode)
    vector = space.denormalize(space.normalize(vectors[2]) + 0.3)
    restored = space.restore(vector)
    net = network(9)
    net.load_state_dict(restored, strict=True)
    assert list(restored) == list(states[0])
    for name, tensor in restored.items():
        assert tensor.dtype == states[0][name].dtype
        if name in space.layout.names:
            assert not tensor.equal(states[0][name])
        else:
            assert tensor.equal(states[0][name]), name
    assert "1.num_batches_tracked" not in space.layout.names
    assert torch.isfinite(net(torch.randn(2, 1, 4, 4))).all()


def test_restoring_a_checkpoint_is_exact():
    space, _, states = fitted()
    restored = space.restore(space.flatten(states[3]))
    for name in space.layout.names:
        assert restored[name].equal(states[3][name])


def test_what_is_restored_shares_no_memory():
    space, vectors, states = fitted()
    vector = vectors[0].clone()
    for tensor in space.restore(vector).values():
        tensor.zero_()
    assert vector.equal(vectors[0])
    assert all(space.base[name].equal(states[0][name]) for name in states[0])
    for tensor in states[0].values():
        tensor.zero_()
    assert not space.base["3.weight"].eq(0).all()


def test_save_and_load(tmp_path):
    space, vectors, _ = fitted()
    space.save_pretrained(tmp_path)
    loaded = ParameterSpace.from_pretrained(tmp_path)
    assert loaded.layout == space.layout
    assert dict(loaded.config)["slots"] == dict(space.config)["slots"]
    assert not loaded.training
    assert loaded.normalize(vectors).equal(space.normalize(vectors))
    one, other = loaded.restore(vectors[1]), space.restore(vectors[1])
    assert one.keys() == other.keys()
    assert all(one[name].equal(other[name]) for name in one)
    assert all(path.suffix in (".json", ".safetensors") for path in tmp_path.iterdir())


def test_a_missing_base_is_refused(tmp_path):
    fitted()[0].save_pretrained(tmp_path)
    (tmp_path / BASE_FILE).unlink()
    assert BASE_FILE in refusal(tmp_path)


def test_a_base_that_lacks_a_tensor_is_refused(tmp_path):
    fitted()[0].save_pretrained(tmp_path)
    base = load_file(tmp_path / BASE_FILE)
    del base["1.bias"]
    save_file(base, tmp_path / BASE_FILE)
    assert "'1.bias'" in refusal(tmp_path)


@pytest.mark.parametrize("change", ["missing", "foreign", "misshapen"])
def test_other_constants_are_refused(tmp_path, change):
    fitted()[0].save_pretrained(tmp_path)
    tensors = load_file(tmp_path / WEIGHTS)
    if change == "missing":
        del tensors["scale"]
    else:
        tensors["stranger" if change == "foreign" else "scale"] = torch.ones(3)
    save_file(tensors, tmp_path / WEIGHTS, {"format": "pt"})
    assert ("stranger" if change == "foreign" else "scale") in refusal(tmp_path)


@pytest.mark.parametrize("file", [WEIGHTS, BASE_FILE, "config.json"])
@pytest.mark.parametrize("share", [0.0, 0.5, 0.98])
def test_truncated_files_are_refused(tmp_path, file, share):
    fitted()[0].save_pretrained(tmp_path)
    data = (tmp_path / file).read_bytes()
    (tmp_path / file).write_bytes(data[: int(len(data) * share)])
    refusal(tmp_path)


def test_another_class_is_refused(tmp_path):
    fitted()[0].save_pretrained(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps({**config, "_class_name": "PCACodec"}))
    assert "PCACodec" in refusal(tmp_path)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
def test_constants_keep_their_precision(dtype):
    space, vectors, _ = fitted()
    before = {name: buffer.clone() for name, buffer in space.named_buffers()}
    normalized = space.normalize(vectors)
    assert space.to(dtype) is space
    assert before.keys() == {"location", "scale", "reference"}
    for name, buffer in space.named_buffers():
        assert buffer.dtype == torch.float32
        assert buffer.equal(before[name])
    assert space.normalize(vectors).equal(normalized)
