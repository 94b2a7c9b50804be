"""Labels to scores: an example's score is whether it is right, and what is wrong is the rest."""

import pytest
import torch

from paramdiff.errors import UserError
from paramdiff.evaluation.predictor import classification

VALIDATION = torch.tensor([0, 1])
TEST = torch.tensor([2, 0, 1])


def answering(labels, **fields):
    return classification(lambda vectors: labels, VALIDATION, TEST, **fields)


def test_answers_by_hand():
    labels = torch.tensor([[0, 1, 2, 0, 1], [1, 1, 0, 0, 2]], dtype=torch.int16)
    predictor = answering(labels)
    found = predictor.predict(torch.zeros(2, 1))
    assert found.validation.tolist() == [[True, True], [False, True]]
    assert found.test.tolist() == [[True, True, True], [False, True, False]]
    assert found.wrong.equal(~found.test)
    assert found.labels.equal(labels[:, 2:])
    assert (predictor.num_validation, predictor.num_test) == (2, 3)
    assert {tensor.dtype for tensor in (found.validation, found.test, found.wrong)} == {torch.bool}


def test_other_labels_may_be_the_same_mistakes():
    labels = torch.tensor([[0, 1, 0, 0, 1], [0, 1, 1, 0, 1]])
    one, other = answering(labels).predict(torch.zeros(2, 1)).wrong
    assert one.equal(other)


def test_validation_examples_alone():
    """By labels of their own where these are given, so that no test example is scored."""
    labels = torch.tensor([[0, 1, 2, 0, 1], [1, 1, 0, 0, 2]])
    found = answering(labels).predict_validation(torch.zeros(2, 1))
    assert found.values.tolist() == [[True, True], [False, True]]
    assert found.wrong.equal(~found.values)

    def refuse(vectors):
        raise AssertionError("test examples were scored")

    alone = classification(refuse, VALIDATION, TEST, validation_labels=lambda _: labels[:, :2])
    assert alone.predict_validation(torch.zeros(2, 1)).values.equal(found.values)
    wrong = classification(refuse, VALIDATION, TEST, validation_labels=lambda _: labels)
    with pytest.raises(UserError, match="expected 2 predictions per network, found 5"):
        wrong.predict_validation(torch.zeros(2, 1))


def test_networks_with_new_statistics_are_a_behavior_of_their_own():
    again = answering(torch.tensor([[0, 1, 2, 1, 1]]))
    predictor = answering(torch.zeros(1, 5), reestimated=again)
    assert predictor.reestimated.predict(torch.zeros(1, 1)).test.tolist() == [[True, False, True]]
    assert answering(torch.zeros(1, 5)).reestimated is None


def test_labels_of_the_wrong_length_are_refused():
    with pytest.raises(UserError, match="expected 5 predictions per network, found 4"):
        answering(torch.zeros(1, 4)).predict(torch.zeros(1, 1))
