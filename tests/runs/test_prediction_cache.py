"""A vector that has answered is not asked again, and the evaluation is the same to the bit."""

from dataclasses import replace

import pytest
import torch

from paramdiff.evaluation.predictor import Predictions, Predictor, ValidationPredictions
from paramdiff.recipe.schema import load_recipe
from paramdiff.runs.prediction_cache import PredictionCache, cache_folder
from paramdiff.runs.run import run
from paramdiff.storage import read_json, read_tensors


class Counting:
    """Classifies by the vector's first values and counts whom it asks."""

    def __init__(self):
        self.asked = []

    def predict(self, vectors):
        self.asked += vectors[:, 0].tolist()
        labels = vectors.long() % 7
        return Predictions(labels[:, :2] == 1, labels == 2, labels != 2, labels)

    def predict_validation(self, vectors):
        self.asked += (100 * vectors[:, 0]).tolist()
        is_right = vectors.long()[:, :2] % 7 == 1
        return ValidationPredictions(is_right, ~is_right)

    def predictor(self, **fields):
        return Predictor(2, 3, self.predict, self.predict_validation, **fields)


def equal(one, other):
    return all(
        getattr(one, part).equal(getattr(other, part))
        for part in ("validation", "test", "wrong", "labels")
    )


def test_each_vector_is_asked_once(tmp_path):
    vectors = torch.tensor([[1.0, 2, 3], [4, 5, 6], [1, 2, 3], [8, 9, 10]])
    plain, counting = Counting(), Counting()
    remembered = PredictionCache(counting.predictor(), tmp_path / "a")
    for rows in ([0, 1], [2, 3, 0], [3, 1, 2, 0]):
        assert equal(remembered.predict(vectors[rows]), plain.predict(vectors[rows]))
    assert counting.asked == [1.0, 4.0, 8.0]
    remembered.write()
    later = Counting()
    again = PredictionCache(later.predictor(), tmp_path / "a").predictor()
    assert equal(again.predict(vectors), plain.predict(vectors))
    assert again.predict(vectors).labels.dtype == torch.int64 and later.asked == []
    assert again.predict(vectors + 1).test.shape == (4, 3) and len(later.asked) == 3


def test_each_question_has_its_own_memory(tmp_path):
    """Validation scores, and all that is answered with re-estimated statistics."""
    vectors = torch.tensor([[1.0, 2, 3], [4, 5, 6]])

    def remembering():
        plain, again = Counting(), Counting()
        predictor = plain.predictor(reestimated=again.predictor())
        return PredictionCache(predictor, tmp_path / "a"), plain, again

    memory, plain, again = remembering()
    predictor = memory.predictor()
    for _ in range(2):
        assert predictor.predict_validation(vectors).values.equal(
            Counting().predict_validation(vectors).values
        )
        assert predictor.reestimated.predict_validation(vectors[1:]).wrong.shape == (1, 2)
        assert equal(predictor.reestimated.predict(vectors), Counting().predict(vectors))
    assert plain.asked == [100.0, 400.0] and again.asked == [400.0, 1.0, 4.0]
    assert equal(predictor.predict(vectors), Counting().predict(vectors))
    assert plain.asked == [100.0, 400.0, 1.0, 4.0]
    memory.write()
    later, plain, again = remembering()
    predictor = later.predictor()
    found = predictor.predict_validation(vectors)
    assert found.wrong.equal(Counting().predict_validation(vectors).wrong)
    assert equal(predictor.predict(vectors), Counting().predict(vectors))
    assert equal(predictor.reestimated.predict(vectors), Counting().predict(vectors))
    predictor.reestimated.predict_validation(vectors[1:])
    assert plain.asked == again.asked == []
    predictor.reestimated.predict_validation(vectors)
    assert again.asked == [100.0]


def test_other_training_data_have_their_own_memory(tiny, tiny_run, tmp_path):
    """They show in what a network answers with the statistics that they give it."""
    recipe, zoo, counting = load_recipe("quickstart", tiny), tiny_run / "zoo", Counting()
    sample = counting.predict(torch.rand(1, 4))
    one, other = (counting.predict_validation(torch.full((1, 4), value)) for value in (1.0, 2.0))
    folders = {
        cache_folder(tmp_path, recipe, zoo, "cpu", sample, again) for again in (None, one, other)
    }
    assert len(folders) == 3


def test_runs_side_by_side_do_not_disturb_each_other(tmp_path):
    vectors = torch.tensor([[1.0, 2, 3], [4, 5, 6], [8, 9, 10]])
    runs = [PredictionCache(Counting().predictor(), tmp_path / "a") for _ in range(2)]
    runs[0].predict(vectors[:2])
    runs[1].predict(vectors[1:])
    for each in (*runs, *runs):
        each.write()
    assert len(list((tmp_path / "a").iterdir())) == 2
    later = Counting()
    again = PredictionCache(later.predictor(), tmp_path / "a")
    assert equal(again.predict(vectors), Counting().predict(vectors)) and later.asked == []
    again.write()
    assert len(list((tmp_path / "a").iterdir())) == 2


def test_scores_without_labels_are_remembered(tmp_path):
    def predict(vectors):
        return Predictions(vectors[:, :1], vectors[:, 1:2], None)

    predictor = Predictor(9, 9, predict, predict_validation=None)
    remembered = PredictionCache(predictor, tmp_path / "a")
    vectors = torch.rand(3, 2)
    remembered.predict(vectors)
    remembered.write()
    found = PredictionCache(predictor, tmp_path / "a").predict(vectors)
    assert found.validation.equal(vectors[:, :1]) and found.test.equal(vectors[:, 1:])
    assert found.wrong is None and found.labels is None


@pytest.mark.usefixtures("without_figures")
def test_an_evaluation_from_memory_is_the_same(tiny, tiny_run, tmp_path):
    recipe = load_recipe("quickstart", tiny)
    for name in ("a", "b"):
        run(
            recipe,
            tmp_path / name,
            device="cpu",
            reuse=tiny_run,
            prediction_cache=tmp_path / "cache",
        )
    assert len(list((tmp_path / "cache").iterdir())) == 1
    wanted = read_json(tiny_run / "evaluation.json") | {"cost": None}
    arrays = read_tensors(tiny_run / "arrays.safetensors")
    for name in ("a", "b"):
        assert read_json(tmp_path / name / "evaluation.json") | {"cost": None} == wanted
        found = read_tensors(tmp_path / name / "arrays.safetensors")
        assert found.keys() == arrays.keys()
        assert all(found[key].equal(value) for key, value in arrays.items())


@pytest.mark.parametrize("change", ["task.seed=1", 'parameters.select=["norm3.*"]'])
def test_another_task_or_selection_has_its_own_memory(tiny, tiny_run, tmp_path, change):
    recipe, other = load_recipe("quickstart", tiny), load_recipe("quickstart", [*tiny, change])
    zoo = tiny_run / "zoo"
    sample = Counting().predict(torch.rand(1, 4))
    own = cache_folder(tmp_path, recipe, zoo, "cpu", sample)
    assert own == cache_folder(tmp_path, recipe, zoo, "cpu", sample)
    assert own != cache_folder(tmp_path, other, zoo, "cpu", sample)
    assert own != cache_folder(tmp_path, recipe, zoo, "mps", sample)


@pytest.mark.parametrize("part", ["validation", "test", "wrong", "labels"])
def test_other_data_at_the_same_place_have_their_own_memory(tiny, tiny_run, tmp_path, part):
    recipe, zoo = load_recipe("quickstart", tiny), tiny_run / "zoo"
    sample = Counting().predict(torch.rand(1, 4))
    changed = replace(sample, **{part: ~getattr(sample, part)})
    own, other = (cache_folder(tmp_path, recipe, zoo, "cpu", one) for one in (sample, changed))
    assert own != other
