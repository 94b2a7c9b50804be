"""Generated networks on disk: one checkpoint each."""

from collections.abc import Iterable, Sequence
from pathlib import Path

import torch
from torch import Tensor

from paramdiff.artefacts import CARD_FILE, write_tensors, write_text, written_aside
from paramdiff.cards.generated_card import generated_card
from paramdiff.cards.provenance import Provenance
from paramdiff.checkpoints.stored import StoredCheckpoint, write_checkpoint
from paramdiff.errors import UserError
from paramdiff.generated import GeneratedParameters
from paramdiff.parameters.layout import ParameterLayout

MOST_NAMED = 4


def write_generated(folder: Path, generated: GeneratedParameters, provenance: Provenance) -> None:
    """Write state dicts in the form that the learned checkpoints have, safetensors otherwise.

    A checkpoint that is one safetensors file has its seed and the pipeline's hash as metadata. A
    card lies beside the checkpoints, and which checkpoints were learned from, where that is known.

    Args:
        folder: where; must not exist yet.
        generated: the networks.
        provenance: how they were generated.
    """
    form = generated.form
    origin = {"pipeline_sha256": provenance.pipeline_sha256}
    if provenance.base is not None:
        origin["base_sha256"] = provenance.base[1]
    with written_aside(folder) as aside:
        aside.mkdir()
        for number, (seed, state_dict) in enumerate(zip(generated.seeds, generated, strict=True)):
            metadata = {"seed": seed, **origin}
            tensors = (
                {name: state_dict[name] for name in generated.names}
                if provenance.selected_only
                else state_dict
            )
            if form is None:
                write_tensors(aside / f"{number:04d}.safetensors", tensors, metadata)
            else:
                write_checkpoint(aside / f"{number:04d}{form.suffix}", tensors, form, metadata)
        if provenance.learned_from is not None:
            provenance.learned_from.write(aside)
        write_text(aside / CARD_FILE, generated_card(provenance))


def read_vectors(
    checkpoints: Sequence[StoredCheckpoint], layout: ParameterLayout, entry: str | None = None
) -> Tensor:
    """The raw vectors ``[M, P]`` of checkpoints.

    Args:
        checkpoints: complete or partial ones; tensors outside the layout are ignored.
        layout: where each tensor lies in a vector.
        entry: the key of the state dict, where a file holds several.

    Returns:
        One row per checkpoint.

    Raises:
        UserError: a file cannot be read or does not fit the layout.
    """
    return torch.stack([_vector(one, layout, entry) for one in checkpoints])


def _vector(checkpoint: StoredCheckpoint, layout: ParameterLayout, entry: str | None) -> Tensor:
    tensors, _ = checkpoint.read(entry)
    for slot in layout.slots:
        found = tensors.get(slot.name)
        if found is None or tuple(found.shape) != slot.shape:
            odd = "is missing" if found is None else f"has shape {list(found.shape)}"
            wanted = "" if found is None else f", expected {list(slot.shape)}"
            raise UserError(
                f"{checkpoint.path}: tensor {slot.name!r} {odd}{wanted}; it holds "
                f"{_some(tensors)}, and expected are {_some(layout.names)}: are these of one "
                "network?"
            )
    return layout.flatten(tensors, str(checkpoint.path))


def _some(names: Iterable[str]) -> str:
    listed = list(names)
    shown = ", ".join(listed[:MOST_NAMED]) or "nothing"
    return shown if len(listed) <= MOST_NAMED else f"{shown} and {len(listed) - MOST_NAMED} more"
