"""From a saved pipeline to a folder of new checkpoints."""

from collections.abc import Mapping
from functools import partial
from pathlib import Path

from diffusers.utils import logging

from paramdiff.checkpoints.formats import StoredCheckpoint
from paramdiff.commands.energy_by_name import build_energy, data_with_energy, describe_energy
from paramdiff.device import resolve_device
from paramdiff.diffusion.diffusion_settings import Value
from paramdiff.errors import UserError
from paramdiff.locking import sole_maker
from paramdiff.model_cards.card import checkpoints_on_card, data_on_card
from paramdiff.model_cards.provenance import Provenance, generation_settings
from paramdiff.pipeline import ParameterDiffusionPipeline
from paramdiff.pipeline_io import locate_pipeline
from paramdiff.processes import refuse_several
from paramdiff.progress import StageProgress, ignore_progress
from paramdiff.runs.generated_folder import write_generated
from paramdiff.storage import StrPath, path_or_none, sha256_of
from paramdiff.zoo.learned_from import LearnedFrom


def generate(
    pipeline: StrPath,
    out: StrPath,
    *,
    num_samples: int = 200,
    seed: int = 0,
    temperature: float | None = None,
    num_inference_steps: int | None = None,
    condition: Mapping[str, Value] | None = None,
    guidance_scale: float | None = None,
    energy: str | None = None,
    energy_scale: float | None = None,
    recipe: str | None = None,
    base_checkpoint: StrPath | None = None,
    state_dict_key: str | None = None,
    selected_only: bool = False,
    device: str = "auto",
    progress: StageProgress = ignore_progress,
) -> Path:
    """Generate networks from a saved pipeline, and write complete checkpoints with their card.

    Args:
        pipeline: its folder, a run's, or ``owner/name`` on the Hub.
        out: a new folder.
        num_samples: networks to generate.
        seed: random seed of the first; the others count up.
        temperature: scale about the training mean; by default the pipeline's.
        num_inference_steps: denoiser evaluations per network; by default the pipeline's.
        condition: condition by name, such as ``{"score": 0.8}``.
        guidance_scale: classifier-free guidance; by default the pipeline's.
        energy: the name of a score that networks are pulled towards; see ``build_energy``.
        energy_scale: how much a unit of that score counts, 1 by default.
        recipe: with ``energy="loss"``: the recipe whose task it is.
        base_checkpoint: a complete checkpoint for the tensors that are not generated, in whose
            format the new ones are stored.
        state_dict_key: the key of its state dict, if its file holds several.
        selected_only: leave out the tensors that are not generated.
        device: ``auto``, ``cpu``, ``cuda`` or ``mps``.
        progress: called with a stage's name, the steps done and the steps in all.

    Returns:
        The folder.

    Raises:
        UserError: anything that the user can mend.
    """
    if energy is None and energy_scale is not None:
        raise UserError(
            f"--energy-scale: expected --energy beside it, found {energy_scale:g} alone"
        )
    pull = None if energy is None else (energy, 1.0 if energy_scale is None else energy_scale)
    out, base = Path(out), path_or_none(base_checkpoint)
    target = resolve_device(device)
    refuse_several(target, "generate")
    with sole_maker(out):
        logging.set_verbosity_error()
        logging.disable_progress_bar()
        folder = locate_pipeline(pipeline)
        loaded = ParameterDiffusionPipeline.from_pretrained(folder).to(target)
        completing = None
        if base is not None:
            stored = StoredCheckpoint(base, base.name)
            loaded.parameter_space.complete_from(*stored.read(state_dict_key), str(base))
            completing = (stored.name, stored.sha256)
        score = None
        if energy is not None or recipe is not None:
            score = build_energy(energy or "", recipe, loaded.parameter_space, target)
        seeds = range(seed, seed + num_samples)
        networks = loaded(
            seeds,
            num_inference_steps=num_inference_steps,
            temperature=temperature,
            condition=condition,
            guidance_scale=guidance_scale,
            energy=score,
            energy_scale=1.0 if pull is None else pull[1],
            progress=partial(progress, "generating networks"),
        )
        provenance = Provenance(
            Path(pipeline).resolve().name if Path(pipeline).exists() else str(pipeline),
            sha256_of(folder),
            seeds,
            settings=generation_settings(
                loaded,
                num_samples,
                num_inference_steps=num_inference_steps,
                temperature=temperature,
                condition=condition,
                guidance_scale=guidance_scale,
                energy=None if pull is None else describe_energy(*pull),
            ),
            checkpoint_format=loaded.parameter_space.checkpoint_format,
            checkpoints=checkpoints_on_card(folder),
            learned_from=LearnedFrom.read(folder / "parameter_space"),
            base=completing,
            selected_only=selected_only,
            data=data_with_energy(
                data_on_card(folder),
                pull,
                num_inference_steps or loaded.config.num_inference_steps,
                num_samples,
            ),
        )
        write_generated(out, networks, provenance)
    return out
