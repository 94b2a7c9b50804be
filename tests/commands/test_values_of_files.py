"""What lies in files is what is learned, scored and written: no value is another checkpoint's."""

import warnings

import pytest
import torch
from torch import nn

from paramdiff.commands.compare import compare
from paramdiff.commands.fit import plan_fit
from paramdiff.commands.inspect import inspect
from paramdiff.errors import UserError
from paramdiff.evaluation.evaluation_file import read_evaluation
from paramdiff.runs.run import make_networks
from paramdiff.storage import read_json
from paramdiff.zoo.import_checkpoints import import_checkpoints
from paramdiff.zoo.zoo import Zoo

pytestmark = pytest.mark.usefixtures("without_figures")

QUICK = (
    "diffusion.training.num_steps=20",
    "diffusion.denoiser.width=8",
    "generation.num_inference_steps=10",
)


def states(num=6, seed=0):
    """Gates, a scale, complex weights, a tied embedding, statistics of unlike channels."""
    generator = torch.Generator().manual_seed(seed)

    def draw(*shape):
        return 0.1 * torch.randn(shape, generator=generator)

    sizes = torch.tensor([1e-4, 1e2, 9e8])
    for step in range(num):
        embedding = 1 + draw(4, 3)
        yield {
            "z.weight": 1 + draw(3, 3),
            "embed": embedding,
            "gate": 0.5 + draw(1),
            "logit_scale": 4.6 + draw(),
            "spectrum": torch.complex(1 + draw(2, 2), draw(2, 2)),
            "bn.running_mean": sizes.sqrt() * (3 + draw(3)),
            "bn.running_var": sizes * draw(3).exp(),
            "bn.num_batches_tracked": torch.tensor(step),
            "mask": torch.full((3, 3), -torch.inf).triu(1),
            "position_ids": torch.arange(4),
            "head": embedding.clone(),
        }


def score(state):
    """Of everything that counts."""
    parts = [
        tensor for name, tensor in state.items() if "num_batches" not in name and name != "mask"
    ]
    parts = [torch.view_as_real(one) if one.is_complex() else one for one in parts]
    return sum(float(one.double().abs().log().mean()) for one in parts if one.is_floating_point())


def gate(state):
    return float(state["gate"])


def saved(folder, given):
    folder.mkdir(parents=True)
    for number, state in enumerate(given):
        torch.save(state, folder / f"step{number}.pt")
    return folder


def evaluated(originals, generated, out, function="score", **options):
    with warnings.catch_warnings():
        if not options.pop("tells", False):
            warnings.simplefilter("error")
        return compare(
            originals,
            out,
            generated=generated,
            score_fn=f"{__name__}:{function}",
            device="cpu",
            **{"num_held_out": 0} | options,
        )


def means(folder, function=score):
    values = [function(torch.load(path)) for path in sorted(folder.glob("*.pt"))]
    return sum(values) / len(values)


def test_evaluate_scores_what_lies_on_disk(tmp_path):
    a, b = saved(tmp_path / "a", states(6, 0)), saved(tmp_path / "b", states(4, 1))
    found = evaluated(a, b, tmp_path / "out", copy_best=1)
    for group, folder in (("original", a), ("generated", b)):
        assert found.groups[group].score.mean == pytest.approx(means(folder), rel=1e-6)
    ((name, value),) = read_json(tmp_path / "out" / "best" / "validation.json").items()
    assert value == pytest.approx(score(torch.load(b / name)), rel=1e-6)
    assert (
        read_evaluation(tmp_path / "out" / "evaluation.json").groups.keys() == found.groups.keys()
    )


@pytest.mark.parametrize("function", ["score", "gate"])
def test_what_is_generated_and_scored_again(tmp_path, function):
    a = saved(tmp_path / "a", states(24))
    gaussian = ("diffusion=null",)  # a denoiser would have to be trained first
    plan = plan_fit([str(a)], tmp_path / "out", num_samples=3, device="cpu", overrides=gaussian)
    assert "head is embed" in str(inspect([str(a)]).facts["Tied"])
    make_networks(plan.recipe, tmp_path / "out", device="cpu")
    first = torch.load(a / "step0.pt")
    originals = [torch.load(path) for path in a.glob("*.pt")]
    for path in (tmp_path / "out" / "generated").glob("*.pt"):
        made = torch.load(path, weights_only=True)
        assert list(made) == list(first)
        assert {name: one.dtype for name, one in made.items()} == {
            name: one.dtype for name, one in first.items()
        }
        assert made["head"].equal(made["embed"])
        assert made["head"].data_ptr() == made["embed"].data_ptr()
        for name in ("mask", "position_ids", "bn.num_batches_tracked"):
            assert made[name].equal(first[name])
        for name in ("gate", "logit_scale", "spectrum", "bn.running_mean", "bn.running_var"):
            assert not made[name].equal(first[name])
        for name in ("bn.running_mean", "bn.running_var"):
            low = torch.stack([state[name] for state in originals]).amin(0)
            high = torch.stack([state[name] for state in originals]).amax(0)
            assert (made[name] > low / 1.5).all() and (made[name] < high * 1.5).all(), made[name]
        assert (made["spectrum"].imag != 0).any()
    generated = tmp_path / "out" / "generated"
    found = evaluated(a, generated, tmp_path / "judged", function)
    expected = means(generated, globals()[function])
    assert found.groups["generated"].score.mean == pytest.approx(expected, rel=1e-5)


def test_free_alternatives_keep_small_channels(tmp_path):
    a = saved(tmp_path / "a", states(8))
    found = evaluated(
        a, saved(tmp_path / "b", states(4, 1)), tmp_path / "out", "smallest_variance"
    )
    assert found.groups["average@all"].score.mean == pytest.approx(1, rel=0.3)


def smallest_variance(state):
    """1 where it is of its size."""
    return float(state["bn.running_var"][0] / 1e-4)


def changed(folder, number, **tensors):
    path = folder / f"step{number}.pt"
    torch.save(torch.load(path) | {k.replace("__", "."): v for k, v in tensors.items()}, path)


@pytest.mark.parametrize(
    ("tensors", "told"),
    [
        ({"position_ids": torch.arange(4) + 1}, "'position_ids', which is not compared, differs"),
        ({"more": torch.ones(2)}, "'more' is none of the originals'"),
        (
            {"embed": torch.full((4, 3), 0.1, dtype=torch.float64)},
            "'embed' holds torch.float64, whose values do not",
        ),
        ({"mask": torch.zeros(3, 3)}, "'mask', which is not compared"),
    ],
)
def test_a_generated_file_that_would_be_scored_as_another_is_refused(tmp_path, tensors, told):
    a, b = saved(tmp_path / "a", states(4)), saved(tmp_path / "b", states(4, 1))
    changed(b, 2, **tensors)
    with pytest.raises(UserError, match=r"step2\.pt: tensor ") as caught:
        evaluated(a, b, tmp_path / "out")
    assert told in str(caught.value)
    assert not (tmp_path / "out").exists()


def test_what_a_selection_leaves_out_must_be_the_originals(tmp_path):
    a, b = saved(tmp_path / "a", states(4)), saved(tmp_path / "b", states(4))
    first = torch.load(a / "step0.pt")
    for folder in (a, b):
        for number in range(4):
            kept = {"gate": torch.load(folder / f"step{number}.pt")["gate"]}
            torch.save(first | kept, folder / f"step{number}.pt")
    found = evaluated(a, b, tmp_path / "out", select=("gate",))
    assert found.groups["generated"].score.mean == pytest.approx(means(b), rel=1e-6)
    changed(b, 1, logit_scale=torch.tensor(1.0))
    with pytest.raises(UserError, match=r"step1\.pt: tensor 'logit_scale', which is not compared"):
        evaluated(a, b, tmp_path / "out2", select=("gate",))


def test_a_base_says_that_files_are_not_scored_as_they_are(tmp_path):
    a, b = saved(tmp_path / "a", states(4)), saved(tmp_path / "b", states(4))
    base = torch.load(a / "step3.pt")
    torch.save(base, tmp_path / "base.pt")
    for number in range(4):
        torch.save(base | {"gate": torch.rand(1)}, b / f"step{number}.pt")
    options = {"select": ("gate",), "base_checkpoint": tmp_path / "base.pt"}
    with pytest.warns(
        UserWarning, match=r"those of base\.pt, so that the scores of the originals"
    ):
        found = evaluated(a, b, tmp_path / "out", tells=True, **options)
    assert "base.pt" in found.facts["Completed with"]
    assert found.groups["generated"].score.mean == pytest.approx(means(b), rel=1e-6)


def test_a_counter_that_differs_is_told(tmp_path):
    a, b = saved(tmp_path / "a", states(4)), saved(tmp_path / "b", states(4, 1))
    for number in range(4):
        changed(a, number, n_averaged=torch.tensor(number))
        changed(b, number, n_averaged=torch.tensor(9))
    found = evaluated(a, b, tmp_path / "out")
    assert found.facts["Completed with"] == "n_averaged of every network: those of step0.pt"


def test_generated_networks_that_are_not_tied_are_scored_so(tmp_path):
    a, b = saved(tmp_path / "a", states(4)), saved(tmp_path / "b", states(4, 1))
    changed(b, 2, head=torch.full((4, 3), 9.0))
    found = evaluated(a, b, tmp_path / "out")
    assert found.groups["generated"].score.mean == pytest.approx(means(b), rel=1e-6)


# ---- what can be neither generated nor copied


def quantized(step):
    weight = torch.randn(4, 8, generator=torch.Generator().manual_seed(step))
    scale = weight.abs().amax(1)
    codes = (weight / scale[:, None] * 127).round().to(torch.int8)
    return {"fc.weight": codes, "fc.SCB": scale, "fc.bias": torch.ones(4) * step}


def gptq(step):
    codes = torch.randint(0, 99, (4, 2), generator=torch.Generator().manual_seed(step))
    return {"qweight": codes.int(), "scales": torch.rand(4).half(), "g_idx": torch.arange(4)}


def pruned(step):
    mask = (torch.rand(4, 4, generator=torch.Generator().manual_seed(step)) > 0.5).float()
    return {"weight_mask": mask, "weight_orig": torch.randn(4, 4)}


def spectral(step):
    torch.manual_seed(step)
    return nn.utils.parametrizations.spectral_norm(nn.Linear(3, 4)).state_dict()


def observed(step):
    return {
        "weight": torch.randn(3),
        "observer.min_val": -torch.rand(1),
        "observer.n": torch.ones(1),
    }


def started(step):
    return {"weight": torch.randn(3), "initialized": torch.tensor(int(step > 0))}


def masked(step):
    return {"weight": torch.randn(3), "allowed": torch.rand(6) > 0.5}


@pytest.mark.parametrize(
    ("state", "name"),
    [
        (quantized, "fc.weight"),
        (gptq, "qweight"),
        (pruned, "weight_mask"),
        (spectral, "parametrizations.weight.0._u"),
        (observed, "observer.min_val"),
        (started, "initialized"),
        (masked, "allowed"),
    ],
)
def test_it_is_refused_by_name_with_what_to_do(tmp_path, state, name):
    a = saved(tmp_path / "a", (state(step) for step in range(5)))
    told = f"tensor '{name}' differs between the checkpoints and cannot be generated: "
    with pytest.raises(UserError) as caught:
        plan_fit([str(a)], tmp_path / "out", num_samples=1, device="cpu", overrides=QUICK)
    assert str(caught.value).startswith(told) and "--base-checkpoint FILE" in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1
    with pytest.raises(UserError) as caught:  # a recipe that selects everything
        import_checkpoints([str(a)], tmp_path / "zoo", ("*",))
    assert str(caught.value).startswith(told)
    found = inspect([str(a)])
    assert name in found.facts["Cannot be generated"]
    assert any(warning.startswith(f"{name} differs") for warning in found.warnings)
    torch.save(state(9), tmp_path / "base.pt")
    plan = plan_fit(
        [str(a)],
        tmp_path / "out",
        base_checkpoint=tmp_path / "base.pt",
        num_samples=1,
        device="cpu",
        overrides=QUICK,
    )
    assert name not in plan.recipe.parameters.select
    assert not any(tmp_path.glob("zoo*"))


def test_codes_that_are_equal_are_copied(tmp_path):
    codes = quantized(0)["fc.weight"]
    a = saved(tmp_path / "a", (quantized(step) | {"fc.weight": codes} for step in range(5)))
    import_checkpoints([str(a)], tmp_path / "zoo", ("*",))
    zoo = Zoo.load(tmp_path / "zoo")
    assert zoo.base["fc.weight"].equal(codes) and zoo.layout.names == ("fc.SCB", "fc.bias")


def test_order_and_ties_survive_the_zoo(tmp_path):
    a = saved(tmp_path / "a", states(4))
    import_checkpoints([str(a)], tmp_path / "zoo", ("*",))
    zoo = Zoo.load(tmp_path / "zoo")
    first = torch.load(a / "step0.pt")
    assert list(zoo.base) == list(first)
    assert zoo.layout.ties == (("head", "embed"),)
    for row, path in zip(zoo.originals, sorted(a.glob("*.pt")), strict=True):
        found = zoo.layout.unflatten(row)
        assert all(found[name].equal(torch.load(path)[name]) for name in zoo.layout.names)
