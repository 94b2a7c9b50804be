"""Comparisons in ``evaluation.json``: paired differences, frontiers, the best of N, ensembles."""

from pydantic import Field

from paramdiff.settings import Settings

Pair = tuple[float, float]


class Needed(Settings):
    """Roughly what would decide a comparison that is not decided.

    It would show a difference of the size found, or that it lies within the margin of equivalence,
    whichever takes less.
    """

    networks: int | None = Field(
        description="of each group, on the same examples; null if no number of them would do"
    )
    examples: int | None = Field(
        description="of test data, with the same networks; null if no number of them would do"
    )
    factor: float = Field(description="by which both would have to grow together")


class Comparison(Settings):
    """Mean score of ``group`` minus that of ``reference``, paired on the same example draws."""

    group: str
    reference: str
    reference_dispersion: float | None
    difference: float
    ci95: Pair
    needed: Needed | None = Field(None, description="null where the interval decides")


class FrontierPoint(Settings):
    """A baseline that no other one beats at its place on an axis."""

    group: str
    place: float = Field(description="its similarity, or its dispersion")
    score: float


class Frontier(Settings):
    """The best scores of baselines along one axis, and the baseline that decides there."""

    points: tuple[FrontierPoint, ...] = Field(description="from the least to the most alike")
    at: float | None = Field(description="the generated networks' place")
    reference: str | None = Field(
        description="the baseline with the best validation score among those that are at most as "
        "similar, or at least as dispersed, as the generated networks on validation data; null "
        "where there is none"
    )
    unbeaten: tuple[str, ...] = Field(
        (),
        description="those of them that the generated networks are not better than on test data",
    )


class BestOfN(Settings):
    """The best of ``n`` parameter sets on validation data, scored once on test data."""

    n: int
    validation_score: float
    test_score: float
    ci95: Pair = Field(
        description="of the test score: networks, validation and test examples are drawn anew, "
        "and the choice is repeated"
    )
    num_tied: int = Field(
        description="networks with the highest validation score; one of them is drawn"
    )


class EnsembleScore(Settings):
    """Mean class probabilities of ``members`` networks: averages over disjoint ensembles.

    Intervals cover examples, and ensembles where there are several.
    """

    members: int
    num_ensembles: int
    accuracy: float
    accuracy_ci95: Pair
    nll: float = Field(description="negative log-likelihood in nats")
    nll_ci95: Pair
    ece: float = Field(description="expected calibration error, 15 bins")
    brier: float = Field(description="sum over classes of squared errors")
    ood_auroc: float | None = Field(
        description="telling test from out-of-distribution inputs by the largest probability"
    )
    ood_auroc_ci95: Pair | None = None
    temperature: float | None = Field(
        None,
        description="of the lowest NLL on validation data, one per ensemble: their mean; null "
        "where no data are set apart to choose it",
    )
    nll_calibrated: float | None = Field(None, description="NLL at that temperature")
    nll_calibrated_ci95: Pair | None = None
    ece_calibrated: float | None = Field(None, description="ECE at that temperature")
    equivalent: float | None = Field(
        None,
        description="originals together that have this NLL, each ensemble at its own temperature "
        "where there is one (Ashukha et al. 2020: the deep-ensemble equivalent, if originals are "
        "independent runs); null beyond the largest ensemble of originals",
    )


class EnsembleComparison(Settings):
    """Ensembles of generated networks minus those of ``reference``, paired on examples.

    Intervals cover examples, and ensembles where there are several.
    """

    members: int
    reference: str
    accuracy: float
    accuracy_ci95: Pair
    nll: float
    nll_ci95: Pair
    nll_calibrated: float | None = Field(None, description="each at its own temperature")
    nll_calibrated_ci95: Pair | None = None
    ood_auroc: float | None = None
    ood_auroc_ci95: Pair | None = None
