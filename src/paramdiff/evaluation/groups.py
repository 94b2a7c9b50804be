"""Every group's vectors: what is evaluated, and every free alternative made from the originals."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from paramdiff.codec.linear import fit_linear_codec
from paramdiff.engine import seeded_generator
from paramdiff.evaluation.baselines.anchors import rearranged
from paramdiff.evaluation.baselines.catalogue import BASELINES
from paramdiff.evaluation.baselines.construction import Baseline, Material
from paramdiff.evaluation.baselines.distributions import gaussian, multiswag
from paramdiff.evaluation.data_use import NO_DATA, DataUse, data_used
from paramdiff.evaluation.spread import dispersion
from paramdiff.evaluation.subject import Subject
from paramdiff.mapped import by_rows
from paramdiff.parameters.normalisation import Normalisation

EXPLAINED_VARIANCE = 0.8
"""Of the principal components that stand for a codec where there is none."""


@dataclass(frozen=True)
class Candidates:
    """A group before it is scored.

    Attributes:
        name: as in ``evaluation.json``.
        raw: ``[M, P]``, what is scored.
        vectors: ``[M, P]``, normalised per tensor.
        source: ``[M]`` index of the original that each was made from, where there is one.
        seeds: ``[M]`` generator seeds, where there are several.
        data: what the construction looked at beside the parameters.
    """

    name: str
    raw: Tensor
    vectors: Tensor
    source: Tensor | None = None
    seeds: Tensor | None = None
    data: DataUse = NO_DATA


def given_groups(subject: Subject, normalisation: Normalisation) -> Iterator[Candidates]:
    """The groups that are not constructed; ``original`` first."""
    scratch, size = subject.scratch, subject.layout.num_parameters

    def group(name: str, raw: Tensor, data: DataUse = NO_DATA) -> Candidates:
        vectors = by_rows(raw, lambda rows: normalisation.apply(rows.float()), size, scratch)
        return Candidates(name, raw, vectors, data=data)

    own_index = torch.arange(len(subject.originals))
    used = data_used(subject.data_budget)
    yield replace(group("original", subject.originals), source=own_index)
    yield replace(group("generated", subject.generated, used), seeds=subject.generator_seeds)
    if len(subject.held_out):
        yield group("held_out", subject.held_out)
    if subject.latents is not None:
        decode = subject.latents.decode
        decoded = by_rows(subject.original_latents, decode, size, scratch)
        yield group("reconstructed", decoded, used)


def free_baselines(material: Material, generated: Tensor) -> list[Baseline]:
    """The free alternatives that can be made, in the catalogue's order.

    Beside them stands the fair opponent: a Gaussian that spreads exactly as widely as the
    generated networks. Where there are several trajectories, SWAG of each stands beside them;
    where units can trade places, copies in disguise do.

    Args:
        material: what they are made from.
        generated: ``[M, P]``, normalised per tensor.

    Returns:
        The baselines; ``constructed`` makes a group of one.
    """
    found = [baseline for baseline in BASELINES if baseline.missing(material) is None]
    if material.has_several_trajectories:
        found += [multiswag(0.5), multiswag(1.0), multiswag(1.5)]
    if material.symmetries is not None:
        found.append(rearranged())
    spread = dispersion(generated, material.originals)
    if spread is not None:
        matched = gaussian(spread, matched_gaussian(spread))
        if matched.name not in {baseline.name for baseline in BASELINES}:
            found.append(matched)
    return found


def matched_gaussian(spread: float) -> str:
    """The name of the Gaussian that spreads as widely as the generated networks."""
    return f"gaussian@{round(spread, 2)}"


def constructed(baseline: Baseline, material: Material, num: int, seed: int) -> Candidates:
    """A free alternative, made.

    Args:
        baseline: which.
        material: what it is made from.
        num: how many networks, as many as were generated.
        seed: of the draws.

    Returns:
        The group.
    """
    made = baseline.build(material, num, seeded_generator(seed, baseline.name))
    raw = made.raw
    if raw is None:
        raw = by_rows(made.vectors, material.normalisation.invert, made.vectors.shape[1], None)
    return Candidates(baseline.name, raw, made.vectors, made.source, data=baseline.data)


def left_out(material: Material, failed: Mapping[str, str]) -> dict[str, str]:
    """The alternatives that are not there, as a fact for the report.

    Args:
        material: what the baselines among them would be made from.
        failed: of others, and of those that were made and cannot be scored, name to reason.

    Returns:
        One fact, or none.
    """
    missing = {baseline.name: baseline.missing(material) for baseline in BASELINES}
    reasons = {name: reason for name, reason in missing.items() if reason is not None}
    names = [f"{name} ({reason})" for name, reason in (reasons | dict(failed)).items()]
    return {"Left out": ", ".join(names)} if names else {}


def latents_of(
    subject: Subject, originals: Tensor, normalisation: Normalisation
) -> tuple[Tensor, Callable[[Tensor], Tensor]]:
    """The originals' latents and the way back to normalised vectors.

    Where nothing was trained, or the codec saw training data, so that what it decodes is not free,
    principal components of the originals serve.

    Args:
        subject: with or without a codec.
        originals: ``[N, P]``, normalised per tensor.
        normalisation: of these.

    Returns:
        Latents ``[N, L]``, and a function from latents to normalised vectors.
    """
    if subject.latents is not None and subject.data_budget is None:
        decode = subject.latents.decode
        return subject.original_latents, lambda points: normalisation.apply(decode(points))
    codec = fit_linear_codec(
        originals, EXPLAINED_VARIANCE, residual=False, scratch=subject.scratch
    )
    return codec.encode(originals), codec.decode
