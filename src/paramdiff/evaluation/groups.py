"""Every group's vectors: what is evaluated, and every free alternative made from the originals."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

import torch
from torch import Tensor

from paramdiff.evaluation.inputs import Subject
from paramdiff.evaluation.matched_strengths import Matched, Pilots
from paramdiff.memmap import map_rows
from paramdiff.methods.controls import rearranged
from paramdiff.methods.data_use import NO_DATA, DataUse, data_used
from paramdiff.methods.method import Material
from paramdiff.methods.registry import CONSTRUCTIONS, FAMILIES
from paramdiff.parameters.normalization import Normalization
from paramdiff.random import seeded_generator
from paramdiff.subsampling import evenly_spaced

REESTIMATED = DataUse("inputs", "training")
"""What re-estimating BatchNorm statistics looks at."""


@dataclass(frozen=True)
class Candidates:
    """A group before it is scored.

    Attributes:
        name: as in ``evaluation.json``.
        raw: ``[M, P]``, what is scored.
        vectors: ``[M, P]``, normalized per tensor.
        source: ``[M]`` index of the original that each was made from, where there is one.
        seeds: ``[M]`` generator seeds, where there are several.
        data: what the construction looked at beside the parameters.
        finish: the last step that its networks take before they are scored.
        facts: what was chosen while it was made, label to value.
    """

    name: str
    raw: Tensor
    vectors: Tensor
    source: Tensor | None = None
    seeds: Tensor | None = None
    data: DataUse = NO_DATA
    finish: Literal["batchnorm"] | None = None
    facts: Mapping[str, str] = field(default_factory=dict)


def given_groups(subject: Subject, normalization: Normalization) -> Iterator[Candidates]:
    """The groups that are not constructed; ``original`` first."""
    scratch, size = subject.scratch, subject.layout.num_parameters

    def group(name: str, raw: Tensor, data: DataUse = NO_DATA) -> Candidates:
        vectors = map_rows(raw, lambda rows: normalization.apply(rows.float()), size, scratch)
        return Candidates(name, raw, vectors, data=data)

    own_index = torch.arange(len(subject.originals))
    used = data_used(subject.data_budget)
    yield replace(group("original", subject.originals), source=own_index)
    yield replace(group("generated", subject.generated, used), seeds=subject.generator_seeds)
    if len(subject.held_out):
        yield group("held_out", subject.held_out)
    if subject.latents is not None:
        decode = subject.latents.decode
        decoded = map_rows(subject.original_latents, decode, size, scratch)
        yield group("reconstructed", decoded, used)


def planned(material: Material, pilots: Pilots) -> list[Matched]:
    """Choose the baselines of an evaluation.

    Every construction that can be made and every family at its fixed strengths, and at those that
    match the generated networks. With a last step, those whose method has one.

    Args:
        material: what they are made from.
        pilots: measures them on validation data.

    Returns:
        The baselines; ``constructed`` makes the networks of one.
    """
    families = [one for one in FAMILIES if one.missing(material) is None]
    fixed = [one for one in CONSTRUCTIONS if one.missing(material) is None]
    if material.symmetries is not None:
        fixed.append(rearranged())
    if pilots.finish:
        families = [one for one in families if one.at(one.smallest).finishes]
        fixed = [one for one in fixed if one.finishes]
    found = {one.name: one for one in pilots.fixed(fixed)}
    return list((found | {one.name: one for one in pilots.matched(families)}).values())


def constructed(matched: Matched, material: Material, num: int, seed: int) -> Candidates:
    """Make the networks of a baseline that are scored on test data.

    Args:
        matched: which baseline, and what it was matched to.
        material: what it is made from.
        num: how many networks, as many as were generated.
        seed: of the draws.

    Returns:
        The group.
    """
    baseline = matched.baseline
    made = baseline.build(material, num, seeded_generator(seed, baseline.name))
    raw = made.raw
    if raw is None:
        raw = map_rows(made.vectors, material.normalization.invert, made.vectors.shape[1], None)
    return Candidates(
        matched.name,
        raw,
        made.vectors,
        made.source,
        data=REESTIMATED if matched.finish and baseline.data == NO_DATA else baseline.data,
        finish=matched.finish,
        facts=made.facts,
    )


def reestimated(group: Candidates, num: int) -> Candidates:
    """Take evenly spaced networks of a group, to be scored with re-estimated BatchNorm statistics.

    Args:
        group: the originals or the generated networks.
        num: how many, at most.

    Returns:
        The group, whose name ends in ``+bn``.
    """
    rows = evenly_spaced(len(group.raw), num)
    return Candidates(
        f"{group.name}+bn",
        group.raw[rows],
        group.vectors[rows],
        None if group.source is None else group.source[rows],
        None if group.seeds is None else group.seeds[rows],
        REESTIMATED if group.data == NO_DATA else group.data,
        finish="batchnorm",
    )


def left_out(material: Material, failed: Mapping[str, str]) -> dict[str, str]:
    """Name the baselines that are not there, as a fact for the report.

    Args:
        material: what the baselines among them would be made from.
        failed: of others, and of those that were made and cannot be scored, name to reason.

    Returns:
        One fact, or none.
    """
    missing = {one.name: one.missing(material) for one in CONSTRUCTIONS}
    missing |= {family.name: family.missing(material) for family in FAMILIES}
    reasons = {name: reason for name, reason in missing.items() if reason is not None}
    names = [f"{name} ({reason})" for name, reason in (reasons | dict(failed)).items()]
    return {"Left out": ", ".join(names)} if names else {}
