"""Networks of any method, made of a zoo and written as checkpoints with their card."""

import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from paramdiff.checkpoints.order import first_names
from paramdiff.errors import NotFiniteError, UserError
from paramdiff.evaluation.baselines import made
from paramdiff.evaluation.matched_strengths import Finish, Matched
from paramdiff.evaluation.predictor import Predictor
from paramdiff.memmap import map_rows
from paramdiff.methods.group_names import label_of
from paramdiff.methods.method import Member
from paramdiff.methods.method_context import MethodContext
from paramdiff.methods.registry import find_member
from paramdiff.model_cards.card import made_card
from paramdiff.model_cards.provenance import Origin
from paramdiff.parameters.adapters import AdapterProducts
from paramdiff.parameters.normalization import fit_for_comparison
from paramdiff.progress import StageProgress, ignore_progress
from paramdiff.runs.alignment_stage import is_unordered, known_symmetries
from paramdiff.runs.generated_folder import write_networks
from paramdiff.runs.predictors import (
    StatisticsOf,
    statistics_estimator,
    untrained_vectors,
)
from paramdiff.storage import CARD_FILE, write_text, written_aside
from paramdiff.tasks.base import Task
from paramdiff.zoo.learned_from import LearnedFrom
from paramdiff.zoo.zoo import Zoo

UNORDERED = (
    "the checkpoints are of independent runs, whose channels have no common order: what mixes "
    "runs fails; --align, with --task or --data and --network, brings them into one order"
)
HINTS = {
    "needs the network that training started from": ": name it with --base-checkpoint",
    "needs the network": ": name it with --task, or --data and --network",
    "needs validation data": ": name them with --task, --data or --score-fn",
    "needs several runs with several checkpoints each": "; average takes one run",
}
STATISTICS = (".running_mean", ".running_var")


@dataclass(frozen=True)
class Made:
    """Networks that a method made of checkpoints.

    Attributes:
        folder: of the new checkpoints and their card.
        name: of the method at its strength, as ``compare`` names it.
        num_networks: how many there are.
        facts: label to value.
    """

    folder: Path
    name: str
    num_networks: int
    facts: dict[str, str]


@dataclass(frozen=True)
class Maker:
    """Writes the networks of methods, made of one zoo.

    Attributes:
        zoo: the originals.
        task: of their network; None if it is not known.
        predictor: of the task.
        device: where BatchNorm statistics are computed.
        scratch: an existing folder for arrays larger than memory.
        seed: random seed of every method.
        progress: called with a stage's name, the steps done and the steps in all.
        keeps_factors: let methods see the factors of low-rank adapters, not their products.
    """

    zoo: Zoo
    task: Task | None
    predictor: Predictor | None
    device: torch.device
    scratch: Path
    seed: int
    progress: StageProgress = ignore_progress
    keeps_factors: bool = False

    def write(
        self, out: Path, method: str, num_samples: int, *, keeps_batchnorm: bool = False
    ) -> Made:
        """Make networks by a method and write them with their card.

        Args:
            out: a new folder.
            method: see ``find_member``.
            num_samples: networks to make.
            keeps_batchnorm: leave BatchNorm statistics as the method makes them.

        Returns:
            Where they are, and what was chosen on the way.

        Raises:
            UserError: the method needs what is not there, or a network is not finite.
        """
        member, wants_finish = find_member(method)
        statistics, predictor = None, self.predictor
        if wants_finish and keeps_batchnorm:
            raise UserError(f"{method}: +bn and --keep-batchnorm contradict each other")
        finishes = wants_finish or (
            # what is taken as it is has statistics that fit
            member.method.finish is not None
            and member.method.works_on_products
            and not keeps_batchnorm
        )
        if finishes and self.task is not None:
            statistics = statistics_estimator(
                self.task, self.zoo, self.device, always=wants_finish
            )
        if statistics is not None and predictor is not None:
            predictor = predictor.reestimated
        if is_unordered(self.zoo):
            warnings.warn(UNORDERED, stacklevel=3)
        if (
            predictor is not None
            and predictor.selects_on_test
            and "validation labels" in member.needs
        ):
            warnings.warn(
                f"{method} is chosen by the only scores there are; its own on the same data looks "
                "better than it is",
                stacklevel=3,
            )
        context = self._context(predictor, member)
        missing = member.missing(context)
        if missing is not None:
            raise UserError(f"{method} {missing}{HINTS.get(missing, '')}")
        if self.task is None:
            self._warn_of_statistics(member, context)
        self.progress("making networks", 0, num_samples)
        finish: Finish = None if statistics is None else "batchnorm"
        group = made(Matched(member, None, finish=finish), context, num_samples, self.seed)
        origin = Origin.of(self.zoo.index)
        facts = {
            "Method": label_of(group.name),
            "Checkpoints": origin.description,
            **group.facts,
        }
        with written_aside(out) as aside:
            write_networks(
                aside,
                range(len(group.raw)),
                self._completed(group.raw, statistics),
                self.zoo.index.checkpoint_format,
                {"method": group.name, "method_seed": str(self.seed)},
            )
            known = LearnedFrom.of(self.zoo.index)
            if known is not None:
                known.write(aside)
            write_text(aside / CARD_FILE, made_card(group, self.seed, origin, facts))
        return Made(out, group.name, len(group.raw), facts)

    def _context(self, predictor: Predictor | None, member: Member) -> MethodContext:
        """Collect what the method makes networks from, and nothing that it does not need."""
        zoo, task, needs = self.zoo, self.task, member.needs
        normalization = fit_for_comparison(zoo.originals, zoo.layout)
        size = zoo.layout.num_parameters

        def scores(raw: Tensor) -> Tensor:
            assert predictor is not None
            return predictor.predict_validation(raw).values.float().mean(1)

        chooses = predictor is not None and "validation labels" in needs
        untrained = None
        if "network" in needs and task is not None:
            untrained = untrained_vectors(task, zoo.layout)
        return MethodContext(
            originals=map_rows(
                zoo.originals, lambda rows: normalization.apply(rows.float()), size, self.scratch
            ),
            raw=zoo.originals,
            layout=zoo.layout,
            normalization=normalization,
            untrained=None
            if untrained is None
            else lambda number: normalization.apply(untrained(number).float()),
            validation_score=scores(zoo.originals) if chooses else None,
            validate=(lambda one: scores(normalization.invert(one))) if chooses else None,
            symmetries=known_symmetries(task, zoo) if "symmetries" in needs and task else None,
            runs=zoo.runs,
            steps=zoo.steps,
            base=zoo.start,
            adapters=None if self.keeps_factors else AdapterProducts.find(zoo.layout),
        )

    def _warn_of_statistics(self, member: Member, context: MethodContext) -> None:
        """Say that running statistics are those of other weights, if nothing fits them anew."""
        shared = {slot.name for slot in context.shared}
        names = [
            name
            for name in self.zoo.layout.names
            if name.endswith(STATISTICS) and name not in shared
        ]
        if names and member.method.finish == "batchnorm":
            warnings.warn(
                f"{first_names(names)}: BatchNorm statistics are made like any other tensor, and "
                "seldom fit the new weights; with --task, or --data and --network, they are "
                "re-estimated",
                stacklevel=3,
            )

    def _completed(
        self, raw: Tensor, statistics: StatisticsOf | None
    ) -> Iterator[dict[str, Tensor]]:
        """Yield the complete state dicts of raw vectors ``[M, P]``."""
        layout, base = self.zoo.layout, self.zoo.base
        for number, vector in enumerate(raw):
            if not torch.isfinite(vector).all():
                raise NotFiniteError(
                    f"network {number}: its parameters hold NaN or infinite values"
                )
            state = layout.complete(vector, base)
            if statistics is not None:
                found = statistics({name: state[name] for name in layout.names})
                state |= {name: one.to(state[name].dtype) for name, one in found.items()}
            yield state
            self.progress("making networks", number + 1, len(raw))
