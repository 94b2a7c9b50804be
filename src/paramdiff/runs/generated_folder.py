"""Generated networks on disk: one checkpoint each."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor

from paramdiff.checkpoints.formats import CheckpointFormat, StoredCheckpoint, write_checkpoint
from paramdiff.checkpoints.tensor_kinds import is_counter
from paramdiff.errors import UserError
from paramdiff.model_cards.card import generated_card
from paramdiff.model_cards.provenance import Provenance
from paramdiff.parameters.layout import ParameterLayout
from paramdiff.state_dicts import GeneratedParameters
from paramdiff.storage import CARD_FILE, write_tensors, write_text, written_aside

MOST_NAMED = 4


def write_generated(folder: Path, generated: GeneratedParameters, provenance: Provenance) -> None:
    """Write state dicts in the format of the original checkpoints, or else as safetensors.

    A checkpoint that is one safetensors file has its seed and the pipeline's hash as metadata. A
    model card is written beside the checkpoints, and the list of the originals if it is known.

    Args:
        folder: where; must not exist yet.
        generated: the networks.
        provenance: how they were generated.
    """
    names = set(generated.names)
    networks: Iterable[dict[str, Tensor]] = generated
    if provenance.selected_only:
        networks = ({name: one[name] for name in one if name in names} for one in generated)
    origin = {"pipeline_sha256": provenance.pipeline_sha256}
    if provenance.base is not None:
        origin["base_sha256"] = provenance.base[1]
    with written_aside(folder) as aside:
        write_networks(aside, generated.seeds, networks, generated.checkpoint_format, origin)
        if provenance.learned_from is not None:
            provenance.learned_from.write(aside)
        write_text(aside / CARD_FILE, generated_card(provenance))


def write_networks(
    folder: Path,
    seeds: Iterable[int],
    networks: Iterable[Mapping[str, Tensor]],
    checkpoint_format: CheckpointFormat | None,
    origin: Mapping[str, str],
) -> None:
    """Write state dicts as numbered checkpoints.

    Args:
        folder: where; must not exist yet.
        seeds: one per network.
        networks: consumed one at a time.
        checkpoint_format: that of the originals; None for safetensors files.
        origin: metadata of each file, beside its seed, if the format has metadata.
    """
    folder.mkdir(parents=True)
    for number, (seed, tensors) in enumerate(zip(seeds, networks, strict=True)):
        metadata = {"seed": seed, **origin}
        if checkpoint_format is None:
            path = folder / f"{number:04d}.safetensors"
            write_tensors(path, tensors, metadata, keeps_order=True)
        else:
            path = folder / f"{number:04d}{checkpoint_format.suffix}"
            write_checkpoint(path, tensors, checkpoint_format, metadata)


def read_vectors(
    checkpoints: Sequence[StoredCheckpoint],
    layout: ParameterLayout,
    entry: str | None = None,
    *,
    rest: Mapping[str, Tensor] | None = None,
    counters: set[str] | None = None,
) -> Tensor:
    """Read the raw vectors ``[M, P]`` of checkpoints.

    Args:
        checkpoints: complete or partial ones.
        layout: where each tensor lies in a vector.
        entry: the key of the state dict in files that hold several.
        rest: a complete state dict that the vectors will be laid into. What a checkpoint holds
            must then be what is laid there; without it, tensors outside the layout are ignored.
        counters: joined by the names of counters that are not what is laid there.

    Returns:
        One row per checkpoint.

    Raises:
        UserError: a file cannot be read, does not fit the layout, or is another network than its
            vector laid into the rest.
    """
    rows = []
    for stored in checkpoints:
        tensors, _ = stored.read(entry)
        _refuse_other_shapes(tensors, layout, stored.path)
        if rest is not None:
            found = _refuse_others(tensors, layout, rest, str(stored.path))
            if counters is not None:
                counters |= found
        rows.append(layout.flatten(tensors, str(stored.path)))
    return torch.stack(rows)


def _refuse_other_shapes(
    tensors: Mapping[str, Tensor], layout: ParameterLayout, path: Path
) -> None:
    """Refuse a checkpoint that lacks what it is compared by."""
    for slot in layout.slots:
        found = tensors.get(slot.name)
        if found is None or tuple(found.shape) != slot.shape:
            odd = "is missing" if found is None else f"has shape {list(found.shape)}"
            wanted = "" if found is None else f", not {list(slot.shape)}"
            raise UserError(
                f"{path}: tensor {slot.name!r} {odd}{wanted}; it holds {_some(tensors)}, "
                f"but needs {_some(layout.names)}: are these of one network?"
            )


def _some(names: Iterable[str]) -> str:
    listed = list(names)
    shown = ", ".join(listed[:MOST_NAMED]) or "nothing"
    return shown if len(listed) <= MOST_NAMED else f"{shown} and {len(listed) - MOST_NAMED} more"


def _refuse_others(
    tensors: Mapping[str, Tensor], layout: ParameterLayout, rest: Mapping[str, Tensor], where: str
) -> set[str]:
    """Refuse a checkpoint that its vector and the rest do not give back; name other counters."""
    counters = set()
    types = {slot.name: slot.dtype for slot in layout.slots}
    types |= {name: types[source] for name, source in layout.ties}
    for name, tensor in tensors.items():
        if name not in rest:
            raise UserError(f"{where}: tensor {name!r} is none of the originals'")
        if name in types:
            same = tensor.to(types[name]).to(tensor.dtype) == tensor
            if not (same | ~torch.isfinite(tensor)).all():  # which is told with the shape
                raise UserError(
                    f"{where}: tensor {name!r} holds {tensor.dtype}, whose values do not fit the "
                    f"originals' {types[name]}: save both in one type"
                )
        elif not torch.equal(tensor, rest[name]) and is_counter(name, tensor):
            counters.add(name)
        elif not torch.equal(tensor, rest[name]):
            raise UserError(
                f"{where}: tensor {name!r}, which is not compared, differs from the originals', "
                "so that the file would not be scored as it is: compare it, too (--select), or "
                "name the checkpoint that all are completed from (--base-checkpoint)"
            )
    return counters
