"""From a saved pipeline to new checkpoints, completed from the base that the user names."""

import pytest
import torch
from huggingface_hub import ModelCard

from paramdiff.commands.generate import generate
from paramdiff.errors import UserError
from paramdiff.storage import read_metadata, read_tensors, sha256_of, write_tensors


def generated(tiny_run, out, **options):
    generate(str(tiny_run / "pipeline"), out, num_samples=2, device="cpu", **options)
    beside = ("README.md", "learned_from.json")
    return sorted(path for path in out.iterdir() if path.name not in beside)


@pytest.fixture
def base(tiny_run):
    """A network whose unselected tensors nobody in the zoo has, in half precision."""
    state = read_tensors(tiny_run / "zoo" / "base.safetensors")
    return {
        name: torch.full_like(tensor, 3).half() if tensor.is_floating_point() else tensor
        for name, tensor in state.items()
    } | {"extra": torch.ones(2)}


def test_a_base_gives_what_is_not_generated_and_the_form(tiny_run, base, tmp_path):
    torch.save({"epoch": 3, "ema": {f"module.{k}": v for k, v in base.items()}}, tmp_path / "b.pt")
    files = generated(tiny_run, tmp_path / "new", base_checkpoint=tmp_path / "b.pt")
    assert [path.name for path in files] == ["0000.pt", "0001.pt"]
    usual = [read_tensors(path) for path in generated(tiny_run, tmp_path / "usual")]
    for path, own in zip(files, usual, strict=True):
        content = torch.load(path, weights_only=True)
        assert list(content) == ["ema"]
        found = {name.removeprefix("module."): one for name, one in content["ema"].items()}
        assert list(found) == list(base)
        for name, tensor in found.items():
            is_generated = name.startswith(("norm2", "norm3")) and name.endswith(("t", "bias"))
            expected = own[name].half() if is_generated else base[name]
            assert torch.equal(tensor, expected) and tensor.dtype == base[name].dtype, name
    digest = sha256_of(tmp_path / "b.pt")
    assert f"from `b.pt`, SHA-256 `{digest}`" in ModelCard.load(tmp_path / "new/README.md").text


def test_a_safetensors_base_is_in_the_metadata(tiny_run, base, tmp_path):
    write_tensors(tmp_path / "b.safetensors", base)
    first, _ = generated(tiny_run, tmp_path / "new", base_checkpoint=tmp_path / "b.safetensors")
    assert read_metadata(first) == {
        "seed": 0,
        "pipeline_sha256": sha256_of(tiny_run / "pipeline"),
        "base_sha256": sha256_of(tmp_path / "b.safetensors"),
    }


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"norm3.bias": None}, "'norm3.bias', which is generated, is missing; the nearest is"),
        ({"norm3.bias": torch.ones(63)}, r"shape \[64\], but is torch.float32 of shape \[63\]"),
        ({"norm3.bias": torch.ones(64).long()}, "but is torch.int64"),
    ],
)
def test_a_base_that_does_not_fit_is_refused(tiny_run, base, tmp_path, change, told):
    torch.save({k: v for k, v in (base | change).items() if v is not None}, tmp_path / "b.pt")
    with pytest.raises(UserError, match=told) as caught:
        generated(tiny_run, tmp_path / "new", base_checkpoint=tmp_path / "b.pt")
    assert str(caught.value).startswith(f"{tmp_path / 'b.pt'}: ")
    assert not (tmp_path / "new").exists()
