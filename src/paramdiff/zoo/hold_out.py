"""Choice of the imported checkpoints to hold out, consistent with a generator's training set."""

from collections.abc import Sequence
from typing import Literal

from paramdiff.checkpoints.duplicates import values_sha256_of
from paramdiff.checkpoints.formats import StoredCheckpoint
from paramdiff.checkpoints.order import first_names
from paramdiff.errors import UserError
from paramdiff.zoo.learned_from import LearnedFrom
from paramdiff.zoo.zoo import HoldOutRule

Use = Literal["trained", "held out", "unused"]
"""Use of a checkpoint by a generator."""


def hold_out_last(
    entries: list[dict], num_held_out: int, sources: Sequence[str], *, spaced: bool
) -> HoldOutRule:
    """Hold out the last checkpoints, or evenly spaced ones.

    Args:
        entries: index entries, in which ``held_out`` is set.
        num_held_out: number to hold out.
        sources: the user's sources, for errors.
        spaced: hold out evenly spaced checkpoints.

    Returns:
        The rule by which they were chosen.

    Raises:
        UserError: no checkpoint would remain.
    """
    if num_held_out == 0:
        return "none"
    if num_held_out >= len(entries):
        raise UserError(
            f"num_held_out: cannot hold out {num_held_out} of the {len(entries)} checkpoints of "
            f"{', '.join(sources)}"
        )
    if spaced:  # the middle of each of equally long segments
        for number in range(num_held_out):
            entries[(2 * number + 1) * len(entries) // (2 * num_held_out)]["held_out"] = True
        return _rule(entries, "spaced")
    for entry in entries[-num_held_out:]:
        entry["held_out"] = True
    return _rule(entries, "tail")


def _rule(entries: Sequence[dict], rule: HoldOutRule) -> HoldOutRule:
    """Return the rule, or ``run`` if whole runs are held out."""
    learned = {entry["run"] for entry in entries if not entry["held_out"]}
    held_out = {entry["run"] for entry in entries if entry["held_out"]}
    if not held_out:
        return "none"
    return rule if learned & held_out else "run"


def generator_uses(
    listed: Sequence[StoredCheckpoint], known: LearnedFrom, state_dict_key: str | None
) -> list[Use] | None:
    """Determine each checkpoint's use by a generator.

    Args:
        listed: the checkpoints.
        known: record of the generator's checkpoints.
        state_dict_key: key of the state dict in a file that holds several.

    Returns:
        One use per checkpoint; None if one lacks generated tensors.
    """
    digests = [values_sha256_of(stored, known.tensors, state_dict_key) for stored in listed]
    if None in digests:
        return None
    trained, held_out = set(known.trained), set(known.held_out)
    return [
        "trained" if one in trained else "held out" if one in held_out else "unused"
        for one in digests
    ]


def hold_out_as_before(entries: list[dict], uses: Sequence[Use], rule: HoldOutRule) -> HoldOutRule:
    """Hold out the checkpoints that the generator held out.

    Args:
        entries: index entries, in which ``held_out`` is set.
        uses: use of each by the generator.
        rule: rule by which the generator's were chosen.

    Returns:
        The rule, or ``run`` if whole runs are held out.

    Raises:
        UserError: the generator held out all of them.
    """
    for entry, use in zip(entries, uses, strict=True):
        entry["held_out"] = use == "held out"
    if all(entry["held_out"] for entry in entries):
        raise UserError(
            "--originals: all of these checkpoints were held out by the generator; pass those "
            "that trained it, too"
        )
    return _rule(entries, rule)


def note_unused(entries: Sequence[dict], uses: Sequence[Use]) -> list[str]:
    """Make a sentence on originals that the generator neither used nor held out.

    Args:
        entries: index entries.
        uses: use of each by the generator.

    Returns:
        At most one sentence.
    """
    pairs = zip(entries, uses, strict=True)
    names = [entry["source"] for entry, use in pairs if use == "unused"]
    if not names:
        return []
    return [
        f"{len(names)} of {len(entries)} originals neither trained the generator nor were held "
        f"out by it: {first_names(names)}"
    ]


def refuse_trained(entries: Sequence[dict], uses: Sequence[Use] | None) -> None:
    """Refuse to hold out checkpoints that trained the generator and would count as new.

    Args:
        entries: index entries with ``held_out``.
        uses: use of each by the generator, if known.

    Raises:
        UserError: a held-out checkpoint trained the generator.
    """
    pairs = zip(entries, uses or [], strict=uses is not None)
    names = [one["source"] for one, use in pairs if one["held_out"] and use == "trained"]
    if not names:
        return
    num = (uses or []).count("held out")
    before = f"omit the option to hold out the {num} that the generator held out"
    raise UserError(
        f"--num-held-out: {first_names(names)} trained the generator, as hashes show, and cannot "
        f"be held out: {before if num else 'omit the option'}, or pass 0 to hold out none"
    )
