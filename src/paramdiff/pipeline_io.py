"""A saved pipeline's folder: its place, its files, and those that travel with it.

Everything is checked before anything of it is loaded.
"""

import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from diffusers import DDIMScheduler, DDPMScheduler, DPMSolverMultistepScheduler
from huggingface_hub import snapshot_download
from huggingface_hub.errors import HfHubHTTPError
from pydantic import ConfigDict, Field

from paramdiff.checkpoints.formats import EXTRA_FILES_FOLDER, read_format
from paramdiff.checkpoints.hub import name_on_hub
from paramdiff.codecs.codec_settings import Statistics
from paramdiff.codecs.registry import CODECS
from paramdiff.component import EARLIER_CLASSES, index_entry
from paramdiff.diffusion.denoisers.registry import DENOISERS
from paramdiff.errors import UserError, first_line, of_an_earlier_version
from paramdiff.parameters.space import BASE_FILE, FORMAT_FILE, ParameterSpace
from paramdiff.settings import Settings, load
from paramdiff.storage import CARD_FILE, read_json
from paramdiff.zoo.learned_from import LEARNED_FROM_FILE

SPACE = "parameter_space"
PARTS: dict[str, Callable[[], Iterable[type]]] = {
    SPACE: lambda: (ParameterSpace,),
    "codec": CODECS.values,
    "denoiser": DENOISERS.values,
    "scheduler": lambda: (DDPMScheduler, DDIMScheduler, DPMSolverMultistepScheduler),
}
"""Each part, and the classes that may lie there: those that are registered when it is loaded."""
OPTIONAL_PARTS = ("denoiser", "scheduler")
"""Absent together if the codec is a VAE whose prior is sampled directly."""


class StoredSettings(Settings):
    """Entries that the pipeline itself keeps in its index."""

    model_config = ConfigDict(strict=True)

    statistics: Statistics
    standardize: bool
    num_inference_steps: int = Field(gt=0)
    temperature: float = Field(ge=0)
    guidance_scale: float
    batch_size: int = Field(gt=0)


INDEX_FILE = "model_index.json"
EARLIER_KEYS = ("standardise", "num_steps", "spread")
"""Former names of ``standardize``, ``num_inference_steps`` and ``temperature``."""
_PIPELINE = "ParameterDiffusionPipeline"
_ALLOWED_FILES = {
    "config.json",
    BASE_FILE,
    FORMAT_FILE,
    LEARNED_FROM_FILE,
    "scheduler_config.json",
}


def locate_pipeline(folder: str | os.PathLike[str], **wanted: Any) -> Path:
    """Find the local folder of a pipeline, downloaded if it is a Hub repository.

    Args:
        folder: a pipeline's folder or a run's, or ``owner/name`` or ``hf://owner/name`` on the
            Hugging Face Hub, where no folder is called ``owner``.
        **wanted: ``revision`` and ``token`` for the Hub.

    Returns:
        The folder.

    Raises:
        UserError: there is none.
    """
    path, name = Path(folder), name_on_hub(os.fspath(folder))
    if name is not None:
        # diffusers' own selection leaves the base checkpoint out
        travelling = [INDEX_FILE, CARD_FILE, *(f"{part}/*" for part in PARTS)]
        try:
            index = Path(snapshot_download(name, allow_patterns=INDEX_FILE, **wanted))
            _read_index(index)  # before some other repository's gigabytes
            return Path(snapshot_download(name, allow_patterns=travelling, **wanted))
        except (ValueError, OSError, HfHubHTTPError) as error:
            raise UserError(
                f"{folder}: no folder of this name, and the Hub gave none: {first_line(error)}"
            ) from None
    if not path.is_dir():
        raise UserError(f"{path}: this is neither a pipeline's folder nor a run's")
    if not (path / INDEX_FILE).is_file() and (path / "recipe.yaml").is_file():
        if not (path / "pipeline" / INDEX_FILE).is_file():
            raise UserError(
                f"{path}: this run has no pipeline yet: the command that began it completes it"
            )
        return path / "pipeline"
    return path


def pipeline_files(path: Path) -> list[str]:
    """List the files of a pipeline's folder that travel with it, the card among them.

    Args:
        path: the folder.

    Returns:
        Relative paths, sorted; nothing hidden, and nothing that ``check_pipeline_folder`` refuses.

    Raises:
        UserError: see ``check_pipeline_folder``.
    """
    check_pipeline_folder(path)
    places = [path, *(path / part for part in PARTS if (path / part).is_dir())]
    found = [file for place in places for file in place.iterdir() if file.is_file()]
    found += [path / SPACE / EXTRA_FILES_FOLDER / one for one in _extra_files(path)]
    return sorted(str(file.relative_to(path)) for file in found if file.name[0] != ".")


def check_pipeline_folder(path: Path) -> None:
    """Refuse missing and foreign files and classes before anything is loaded.

    Args:
        path: the folder.

    Raises:
        UserError: it is incomplete or holds something foreign.
    """
    index = _read_index(path)
    known = (*PARTS, *StoredSettings.model_fields)
    foreign = [key for key in index if key not in known and not key.startswith("_")]
    if foreign:
        raise UserError(f"{path / INDEX_FILE}: foreign key {foreign[0]!r}")
    _refuse_misfits(path / INDEX_FILE, index)
    _refuse_foreign(path, {*PARTS, INDEX_FILE, CARD_FILE})
    is_prior = all(index.get(part) == [None, None] for part in OPTIONAL_PARTS)
    for part, classes in PARTS.items():
        if is_prior and part in OPTIONAL_PARTS:
            continue
        stored = [list(index_entry(kind)) for kind in classes()]
        if index.get(part) not in stored:
            raise UserError(f"{path / INDEX_FILE}: {part}: {index.get(part)} is none of {stored}")
        if not (path / part).is_dir():
            raise UserError(f"{path / part}: this folder is missing")
        weights = {p.name for p in (path / part).glob("diffusion_pytorch_model*.safetensors*")}
        extra = {EXTRA_FILES_FOLDER} if part == SPACE and _extra_files(path) else set()
        _refuse_foreign(path / part, _ALLOWED_FILES | weights | extra)
    _refuse_foreign_extra_files(path)
    if not is_prior and not (path / "scheduler" / "scheduler_config.json").is_file():
        raise UserError(f"{path / 'scheduler' / 'scheduler_config.json'}: this file is missing")


def _extra_files(path: Path) -> tuple[str, ...]:
    """Relative paths of the files that generated checkpoints repeat, as the form names them."""
    file = path / SPACE / FORMAT_FILE
    return read_format(file).extra_files if file.is_file() else ()


def _refuse_foreign_extra_files(path: Path) -> None:
    place = path / SPACE / EXTRA_FILES_FOLDER
    found = {str(one.relative_to(place)) for one in place.rglob("*") if one.is_file()}
    foreign = sorted(found - set(_extra_files(path)))
    if foreign:
        raise UserError(f"{place}: foreign file {foreign[0]!r}")


def _read_index(path: Path) -> dict[str, Any]:
    index = read_json(path / INDEX_FILE)
    if not isinstance(index, dict) or index.get("_class_name") != _PIPELINE:
        raise UserError(f"{path / INDEX_FILE}: this is not the index of a {_PIPELINE}")
    old = [key for key in EARLIER_KEYS if key in index]
    old += [value[1] for value in index.values() if _is_of_earlier_class(value)]
    if old:
        raise of_an_earlier_version(path / INDEX_FILE, old[0])
    return index


def _is_of_earlier_class(value: Any) -> bool:
    return isinstance(value, list) and len(value) == 2 and value[1] in EARLIER_CLASSES


def _refuse_misfits(file: Path, index: dict[str, Any]) -> None:
    kept = StoredSettings.model_fields.keys() & index
    load(StoredSettings, {key: index[key] for key in kept}, file)


def _refuse_foreign(path: Path, expected: set[str]) -> None:
    found = {entry.name for entry in path.iterdir() if not entry.name.startswith(".")}
    if found - expected:
        raise UserError(
            f"{path}: foreign file {sorted(found - expected)[0]!r}; only {sorted(expected)} may "
            "lie here"
        )
