"""The checkpoints of a comparison: found, read, and what is known of them."""

import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from torch import Tensor

from paramdiff.checkpoints.order import first_names
from paramdiff.checkpoints.recorded import recorded_base
from paramdiff.checkpoints.sources import FoundCheckpoints, find_checkpoints, find_runs
from paramdiff.commands.run_artifacts import generated_in, originals_in
from paramdiff.errors import UserError
from paramdiff.evaluation.inputs import EvaluationInputs
from paramdiff.methods.data_use import budget_of
from paramdiff.model_cards.card import data_on_card
from paramdiff.parameters.selection import select as select_names
from paramdiff.runs.alignment_stage import known_symmetries
from paramdiff.runs.evaluation_stage import network_facts
from paramdiff.runs.generated_folder import read_vectors
from paramdiff.runs.predictors import untrained_vectors
from paramdiff.storage import StrPath
from paramdiff.tasks.base import Task
from paramdiff.zoo.import_checkpoints import import_checkpoints
from paramdiff.zoo.learned_from import (
    LearnedFrom,
    is_held_out_new,
    learned_from,
)
from paramdiff.zoo.zoo import INDEX_FILE, Zoo, read_index


@dataclass(frozen=True)
class Sources:
    """The checkpoints of a comparison, found but not read.

    Attributes:
        originals: a source of checkpoints, or a zoo's folder.
        generated: a source of those to judge; None to let methods race.
        judged: what was found there.
        samples: name to further checkpoints.
    """

    originals: str
    generated: str | None
    judged: FoundCheckpoints | None
    samples: dict[str, FoundCheckpoints]

    @classmethod
    def find(
        cls,
        checkpoints: StrPath,
        generated: StrPath | None,
        samples: Mapping[str, StrPath],
        log: Callable[[str], None],
    ) -> "Sources":
        """Find all of them; a run's folder stands for its zoo or its generated networks."""
        taken = None if generated is None else generated_in(str(generated), log)
        return cls(
            originals_in(str(checkpoints), log),
            taken,
            None if taken is None else find_checkpoints([taken]),
            {name: find_checkpoints([str(folder)]) for name, folder in samples.items()},
        )

    @property
    def title(self) -> str:
        """The heading of the report."""
        name = Path(self.originals).name
        if self.generated is None:
            return f"What to make of {name}"
        return f"{Path(self.generated).name} against {name}"


@dataclass(frozen=True)
class Reading:
    """Choices on reading checkpoints.

    Attributes:
        patterns: of the tensors to compare; all by default.
        base: a complete checkpoint for what the originals lack.
        state_dict_key: the key of the state dict in files that hold several.
        num_held_out: originals to hold out; None for those that the generator held out.
    """

    patterns: tuple[str, ...]
    base: Path | None
    state_dict_key: str | None
    num_held_out: int | None

    def check(self, originals: str) -> None:
        """Refuse what a zoo has chosen already, and patterns that match nothing."""
        if (Path(originals) / INDEX_FILE).is_file():
            _refuse_what_a_zoo_has(self.patterns, self.base, self.num_held_out)
        elif self.patterns:
            first = find_runs([originals])[0][0]
            select_names(first.read(self.state_dict_key)[0], self.patterns)


def completing_checkpoint(originals: str, given: Path | None) -> Path | None:
    """Return the given base checkpoint, or the one that a recorder wrote beside the originals."""
    if given is not None or (Path(originals) / INDEX_FILE).is_file():
        return given
    return recorded_base(stored.path for run in find_runs([originals]) for stored in run)


@dataclass
class Originals:
    """The originals as a zoo, and what must be said of them.

    Attributes:
        zoo: the originals.
        known: what the generator learned from, as far as it is known.
        is_held_out_new: whether it is proved that nothing held out trained the generator.
        replaced: names of the tensors in which vectors are completed with other values.
        facts: label to value.
        notes: one sentence each.
    """

    zoo: Zoo
    known: LearnedFrom | None
    is_held_out_new: bool
    replaced: set[str] = field(default_factory=set)
    facts: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


def comparison_inputs(
    found: Sources, opened: Originals, task: Task, reading: Reading, scratch: Path
) -> EvaluationInputs:
    """Read the networks to compare, and collect what is known of them."""
    zoo, judged = opened.zoo, found.judged

    def vectors_of(checkpoints: FoundCheckpoints) -> Tensor:
        return read_vectors(
            checkpoints.listed,
            zoo.layout,
            reading.state_dict_key,
            rest=zoo.base,
            counters=opened.replaced,
        )

    generated = None if judged is None else vectors_of(judged)
    samples = {name: vectors_of(one) for name, one in found.samples.items()}
    used = None if found.generated is None else data_on_card(Path(found.generated))
    facts = opened.facts | _completed(zoo, opened.replaced, reading.base)
    notes = list(opened.notes)
    if judged is not None:
        notes = [f"Generated checkpoints: {note}." for note in judged.notes] + notes
        facts = {
            "Task data in what is judged": "not known, no card beside it tells"
            if used is None
            else used.in_words,
            "What the generator learned from": _told_of(opened.known, opened.is_held_out_new, zoo),
            **_skipped_files(judged, "what is judged"),
            **facts,
        }
    return replace(
        EvaluationInputs.of(
            zoo, generated, title=found.title, facts=network_facts(task, zoo) | facts
        ),
        samples=samples,
        untrained=untrained_vectors(task, zoo.layout),
        symmetries=known_symmetries(task, zoo),
        data_budget=budget_of(used),
        is_held_out_new=opened.is_held_out_new,
        notes=tuple(notes),
        scratch=scratch,
    )


def open_originals(found: Sources, scratch: Path, reading: Reading) -> Originals:
    """Load a zoo, or make one of checkpoints."""
    originals, judged = found.originals, found.judged
    compared = () if judged is None else judged.listed
    known = learned_from(sorted({stored.path.absolute().parent for stored in compared}))
    if (Path(originals) / INDEX_FILE).is_file():
        return Originals(
            Zoo.load(Path(originals)), known, is_held_out_new(read_index(Path(originals)), known)
        )
    imported = import_checkpoints(
        [originals],
        scratch / "zoo",
        reading.patterns or ("*",),
        base=reading.base,
        num_held_out=0 if judged is None else reading.num_held_out,
        state_dict_key=reading.state_dict_key,
        known=known,
        compared=compared,
    )
    return Originals(
        Zoo.load(scratch / "zoo"),
        known,
        imported.is_held_out_new,
        set(imported.replaced),
        _skipped_files(find_checkpoints([originals]), "the originals"),
        [f"Originals: {note}." for note in imported.notes],
    )


def _skipped_files(found: FoundCheckpoints, where: str) -> dict[str, str]:
    return {f"{label} among {where}": value for label, value in found.facts.items()}


def _told_of(known: LearnedFrom | None, is_new: bool, zoo: Zoo) -> str:
    """Describe what is known of the checkpoints that trained the generator."""
    if known is None:
        return "not known, nothing beside the generated checkpoints tells"
    told = f"{len(known.trained)} checkpoints; it held out {len(known.held_out)}"
    if not len(zoo.held_out):
        return told
    proof = "none of those held out here trained it" if is_new else "not compared with those here"
    return f"{told}; {proof}"


def _completed(zoo: Zoo, replaced: set[str], base: Path | None) -> dict[str, str]:
    """Tell where networks are scored with other values than their files hold."""
    # BatchNorm's own counter decides nothing
    names = [name for name in zoo.base if name in replaced and "num_batches_tracked" not in name]
    if not names:
        return {}
    first = zoo.index.checkpoints[0].source or "the first checkpoint"
    source = first if base is None else base.name
    told = f"{first_names(names)} of every network: those of {source}"
    if base is not None:
        told += ", so that the scores of the originals are not those of their files"
        warnings.warn(told, stacklevel=2)
    return {"Completed with": told}


def _refuse_what_a_zoo_has(
    patterns: tuple[str, ...], base: Path | None, num_held_out: int | None
) -> None:
    given = {"--select": patterns, "--base-checkpoint": base, "--num-held-out": num_held_out}
    for option, value in given.items():
        if value:
            raise UserError(
                f"{option}: expected for checkpoints, but --originals is a zoo, which has its own"
            )
