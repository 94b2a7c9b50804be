"""Groups of ``evaluation.json`` made by hand."""

from paramdiff.evaluation.group_schema import Group
from paramdiff.evaluation.metrics.nearest_neighbors import Distance
from paramdiff.evaluation.metrics.score import GroupScore
from paramdiff.evaluation.metrics.similarity import Summary


def group(accuracy=0.9, similarity=0.5, pairwise=0.5, **fields):
    same = {"mean": similarity, "std": 0.0, "min": similarity, "max": similarity}
    defaults = {
        "n": 20,
        "score": GroupScore(
            mean=accuracy,
            std=0.0,
            min=accuracy,
            max=accuracy,
            median=accuracy,
            ci95=(accuracy, accuracy),
        ),
        "max_similarity": None if similarity is None else Summary(**same),
        "max_similarity_with_source": None,
        "pairwise_similarity": pairwise,
        "min_distance": Distance(mean=1.0, min=1.0, max=1.0),
        "nearest_ratio": 0.9,
        "copies": 0.0,
        "dispersion": 1.0,
        "dispersion_per_tensor": None,
        "dispersion_in_components": None,
        "effective_rank_ratio": 1.0,
        "z_u": None,
        "data_used": "none",
    }
    return Group(**{**defaults, **fields})
