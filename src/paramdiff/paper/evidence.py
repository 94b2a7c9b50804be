"""The runs that a sweep's folder holds, by the settings of the paper that they stand for."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from paramdiff.evaluation.schema import ARRAYS_FILE, Evaluation
from paramdiff.paper.exhibit import Exhibit, Setting
from paramdiff.paper.reported import Published
from paramdiff.storage import read_tensors


@dataclass(frozen=True)
class Run:
    """One finished run.

    Attributes:
        name: of its folder in the sweep's.
        folder: that folder.
        evaluation: its numbers.
        departures: fields in which it is not what the paper ran; none where a base explains them.
        base: the run in the same folder that it changes; None where there is none.
        is_on_other_base: whether that is another recipe than the paper changed.
    """

    name: str
    folder: Path
    evaluation: Evaluation
    departures: tuple[str, ...] = ()
    base: "Run | None" = None
    is_on_other_base: bool = False

    @cached_property
    def tensors(self) -> dict[str, Any]:
        """Its arrays, read once: see ``paramdiff.evaluation.schema.ARRAYS``."""
        return read_tensors(self.folder / ARRAYS_FILE)


@dataclass(frozen=True)
class Evidence:
    """What exhibits are drawn from.

    Attributes:
        exhibits: all tables and figures, in the order of the paper.
        runs: finished runs by the key of their setting.
        published: what is published for a setting, by its key.
        sizes: generated parameters of every shipped recipe.
        failures: why a run failed, by the key of its setting.
    """

    exhibits: Sequence[Exhibit]
    runs: Mapping[str, Run]
    published: Mapping[str, Published]
    sizes: Mapping[str, int]
    failures: Mapping[str, str]

    def run_of(self, exhibit: Exhibit, setting: Setting) -> Run | None:
        """The run that stands for a setting; for the default, what the other settings change."""
        if setting.key == exhibit.default:
            own = [self.runs.get(other.key) for other in exhibit.settings]
            of_all = list(self.runs.values())
            for among in (own, of_all):
                bases = [run.base for run in among if run and run.is_on_other_base and run.base]
                if bases and (among is own or setting.key not in self.runs):
                    names = Counter(base.name for base in bases)
                    most = names.most_common(1)[0][0]
                    return next(base for base in bases if base.name == most)
        return self.runs.get(setting.key)

    def is_about(self, exhibit: Exhibit) -> bool:
        """Whether any run shows what this exhibit is about, beyond the default of many."""
        if not exhibit.needs_runs:
            return False
        own = [one for one in exhibit.settings if one.key != exhibit.default]
        if not own:
            return self.run_of(exhibit, exhibit.settings[0]) is not None
        return any(one.key in self.runs for one in own)


NOTHING = Evidence((), {}, {}, {}, {})
