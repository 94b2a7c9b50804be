"""A pipeline that can be asked for something."""

import warnings

import pytest
import torch

from paramdiff.diffusion.conditioning import Conditions
from paramdiff.errors import UserError
from paramdiff.pipeline import ParameterDiffusionPipeline
from paramdiff.storage import read_json, write_json
from tests.pipeline.parts import KINDS, build

CONDITIONS = Conditions.fit({"score": [0.71, 0.74, 0.76], "run": ["a", "b", "a"]})
ASKED = {"score": 0.75, "run": "b"}


@pytest.fixture(scope="module", params=KINDS[:2], ids="-".join)
def conditional(request):
    return build(*request.param, conditions=CONDITIONS)


def vectors(pipeline, **options):
    return pipeline(seeds=range(5), **options).vectors


def test_scale_0_asks_for_nothing_and_others_for_something(conditional):
    plain = vectors(conditional)
    asked = vectors(conditional, condition=ASKED)
    assert torch.equal(vectors(conditional, condition={}), plain)
    assert torch.equal(vectors(conditional, condition=ASKED, guidance_scale=0), plain)
    assert torch.equal(vectors(conditional, condition=ASKED, guidance_scale=1), asked)
    assert not torch.allclose(asked, plain, atol=1e-4)
    for other in ({"score": 0.75}, {"run": "b"}, {"score": 0.72, "run": "b"}):
        assert not torch.allclose(vectors(conditional, condition=other), asked, atol=1e-5)
    assert not torch.allclose(vectors(conditional, condition=ASKED, guidance_scale=3), asked)


def test_a_saved_pipeline_knows_its_conditions(conditional, tmp_path):
    conditional.register_to_config(guidance_scale=2.5)
    conditional.save_pretrained(tmp_path / "p")
    again = ParameterDiffusionPipeline.from_pretrained(tmp_path / "p")
    conditional.register_to_config(guidance_scale=1.0)
    assert again.conditions == CONDITIONS
    found = vectors(again, condition=ASKED)
    assert torch.equal(found, vectors(conditional, condition=ASKED, guidance_scale=2.5))
    assert torch.equal(vectors(again), vectors(conditional))


def test_conditions_that_are_none_do_not_load(conditional, tmp_path):
    conditional.save_pretrained(tmp_path / "p")
    path = tmp_path / "p" / "denoiser" / "config.json"
    write_json(path, read_json(path) | {"conditions": [{"kind": "number", "name": "x"}]})
    with pytest.raises(UserError, match="cannot be loaded") as caught:
        ParameterDiffusionPipeline.from_pretrained(tmp_path / "p")
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"condition": {"scores": 0.8}}, "the nearest is 'score'"),
        ({"condition": {"score": "good"}}, "is not a number"),
        ({"condition": {"run": 7}}, "is not among a, b"),
        ({"guidance_scale": 2}, "guidance_scale: 2 has no effect without a condition"),
        ({"guidance_scale": 2, "condition": {}}, "guidance_scale: 2 has no effect"),
    ],
)
def test_what_cannot_be_asked_for_is_refused(conditional, options, told):
    with pytest.raises(UserError, match=told):
        conditional(seeds=[0], **options)


def test_an_unconditional_pipeline_cannot_be_asked(pipeline):
    with pytest.raises(UserError, match="trained without conditions"):
        pipeline(seeds=[0], condition={"score": 0.8})


def test_beyond_the_zoo_it_goes_on_and_says_so(conditional):
    with pytest.warns(UserWarning, match="score=0.8 extrapolates: the zoo has 0.71 to 0.76"):
        beyond = vectors(conditional, condition={"score": 0.8})
    assert beyond.isfinite().all()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        vectors(conditional, condition={"score": 0.76})


def test_the_reverse_process_is_asked_for_the_same(conditional):
    followed = conditional.trajectory([3, 8], num_inference_steps=10, every=3, condition=ASKED)
    asked = conditional(seeds=[3, 8], condition=ASKED, batch_size=2)
    assert torch.equal(followed.states[-1], asked.vectors)
