"""Linear classifiers of points, as networks to evaluate: cheap, with known predictions.

Vectors are the weights and biases of a classifier of noisy points. Adding one number to the
weights of all classes changes no prediction: originals that differ by that alone are as good as
each other, but independent draws per coordinate destroy them.
"""

from functools import cache

import torch
from torch.nn import functional as F

from paramdiff.evaluation.evaluate import evaluate
from paramdiff.evaluation.evaluation_settings import EvaluationSettings
from paramdiff.evaluation.further_schema import OutOfDistribution
from paramdiff.evaluation.inputs import EvaluationInputs, LatentSpace
from paramdiff.evaluation.predictor import (
    Predictions,
    Predictor,
    ValidationPredictions,
    classification,
)
from paramdiff.methods.finetuning import TrainingExamples
from paramdiff.parameters.layout import ParameterLayout

NUM_CLASSES, NUM_FEATURES = 3, 4
STATE = {
    "weight": torch.zeros(NUM_CLASSES, NUM_FEATURES),
    "bias": torch.zeros(NUM_CLASSES),
}
LAYOUT = ParameterLayout.of(STATE, list(STATE))
SIZE = LAYOUT.num_parameters
NUM_VALIDATION, NUM_TEST, NUM_FOREIGN = 100, 400, 50


@cache
def data():
    """Noisy points whose best classifier is known: validation first, then test."""
    generator = torch.Generator().manual_seed(0)
    truth = torch.randint(NUM_CLASSES, (NUM_VALIDATION + NUM_TEST,), generator=generator)
    inputs = torch.randn(len(truth), NUM_FEATURES, generator=generator)
    inputs[torch.arange(len(truth)), truth] += 2.0
    return inputs, truth


def logits(vectors, inputs):
    weight = vectors[:, :-NUM_CLASSES].view(-1, NUM_CLASSES, NUM_FEATURES)
    return torch.einsum("mkd,ed->mek", weight, inputs) + vectors[:, None, -NUM_CLASSES:]


def _best_class(logits):
    return logits.max(2).indices  # argmax takes ten times as long where classes are far apart


def labels(vectors):
    return _best_class(logits(vectors.float(), data()[0]))


def probabilities(vectors):
    """Of the test points, then of points about the origin, which belong to no class."""
    foreign = 0.3 * torch.randn(
        NUM_FOREIGN, NUM_FEATURES, generator=torch.Generator().manual_seed(9)
    )
    inputs = torch.cat([data()[0][NUM_VALIDATION:], foreign])
    for vector in vectors:
        yield logits(vector[None].float(), inputs)[0].softmax(1)


def validation_probabilities(vectors):
    for vector in vectors:
        yield logits(vector[None].float(), data()[0][:NUM_VALIDATION])[0].softmax(1)


@cache
def training():
    """300 further points, with labels."""
    generator = torch.Generator().manual_seed(11)
    truth = torch.randint(NUM_CLASSES, (300,), generator=generator)
    inputs = torch.randn(len(truth), NUM_FEATURES, generator=generator)
    inputs[torch.arange(len(truth)), truth] += 2.0

    points, labels = (part[:NUM_VALIDATION] for part in data())

    def validation_score(vectors):
        return (_best_class(logits(vectors, points)) == labels).double().mean(1)

    def validation_loss(vectors):
        return torch.stack([F.cross_entropy(one, labels) for one in logits(vectors, points)])

    return TrainingExamples(
        lambda vector, rows: logits(vector[None], inputs[rows])[0],
        truth,
        validation_score,
        validation_loss,
    )


def predictor(**fields):
    """Labels only, which is quick; ``UNSURE`` adds probabilities and foreign points."""
    _, truth = data()
    defaults = {
        "validation_truth": truth[:NUM_VALIDATION],
        "test_truth": truth[NUM_VALIDATION:],
        "labels": labels,
    }
    return classification(**{**defaults, **fields})


def without_errors():
    """The same networks, of which nobody says what they get wrong."""
    known = predictor()

    def predict(vectors):
        found = known.predict(vectors)
        return Predictions(found.validation.float(), found.test.float(), None)

    def predict_validation(vectors):
        return ValidationPredictions(known.predict_validation(vectors).values.float(), None)

    return Predictor(NUM_VALIDATION, NUM_TEST, predict, predict_validation, "share")


UNSURE = {
    "probabilities": probabilities,
    "validation_probabilities": validation_probabilities,
    "out_of_distribution": OutOfDistribution(
        description="points about the origin", num_examples=NUM_FOREIGN
    ),
}


def good(num, seed, spread=0.25):
    """Classifiers about the best one, independent in every coordinate."""
    generator = torch.Generator().manual_seed(seed)
    best = LAYOUT.flatten({"weight": torch.eye(NUM_CLASSES, NUM_FEATURES), "bias": torch.zeros(3)})
    return best + spread * torch.randn(num, SIZE, generator=generator)


def shifted(num, seed, shift=3.0, spread=0.1, fault=0.0):
    """Good classifiers, each with a number added to all classes alike; a fault favors one."""
    generator = torch.Generator().manual_seed(seed + 1000)
    weight = shift * torch.randn(num, 1, NUM_FEATURES, generator=generator)
    weight = weight.expand(-1, NUM_CLASSES, -1).flatten(1)
    bias = shift * torch.randn(num, 1, generator=generator).expand(-1, NUM_CLASSES)
    vectors = good(num, seed, spread) + torch.cat([weight, bias], dim=1)
    vectors[:, -1] += fault
    return vectors


def trajectory(num, seed, step=0.05):
    """Classifiers of one training run: each a small step from the one before."""
    generator = torch.Generator().manual_seed(seed)
    steps = step * torch.randn(num, SIZE, generator=generator)
    return good(1, seed, 0.1) + steps.cumsum(0)


def untrained(seed):
    return torch.randn(SIZE, generator=torch.Generator().manual_seed(seed))


def perfect_codec():
    """Reconstructs every vector as it is."""
    return LatentSpace(encode=lambda vectors: vectors, decode=lambda latents: latents)


def inputs_of(generated, originals=None, num_runs=3, **fields):
    originals = good(30, 1) if originals is None else originals
    defaults = {
        "layout": LAYOUT,
        "originals": originals,
        "held_out": good(10, 2),
        "generated": generated,
        "hold_out": "run",
        "runs": torch.arange(len(originals)) % num_runs,
        "title": "linear classifiers",
        "facts": {"Task": "points"},
        "untrained": untrained,
    }
    return EvaluationInputs(**{**defaults, **fields})


def evaluated(generated, originals=None, seed=0, how=None, **fields):
    return evaluate(
        inputs_of(generated, originals, **fields),
        how or predictor(),
        EvaluationSettings(seed=seed),
    )


@cache
def typical():
    """The evaluation of 20 good networks beside 30 good originals; to be read only."""
    return evaluated(good(20, 3))


def to(evaluation, reference):
    return next(one for one in evaluation.comparisons if one.reference == reference)


def words(evaluation):
    verdict = evaluation.verdict
    return " ".join([verdict.headline, *verdict.sentences]).lower()


def warnings(evaluation):
    return " ".join(evaluation.verdict.warnings).lower()
