"""From a saved pipeline to a folder of new checkpoints."""

from collections.abc import Mapping
from functools import partial
from pathlib import Path

from diffusers.utils import logging

from paramdiff.checkpoints.formats import StoredCheckpoint
from paramdiff.commands.energy_by_name import build_energy, data_with_energy, energy_in_words
from paramdiff.device import resolve_device
from paramdiff.diffusion.diffusion_settings import Value
from paramdiff.locking import sole_maker
from paramdiff.model_cards.card import checkpoints_on_card, data_on_card
from paramdiff.model_cards.provenance import Provenance, generation_settings
from paramdiff.pipeline import ParameterDiffusionPipeline
from paramdiff.pipeline_io import locate_pipeline
from paramdiff.processes import refuse_several
from paramdiff.progress import StageProgress, ignore_progress
from paramdiff.runs.generated_folder import write_generated
from paramdiff.storage import StrPath, sha256_of
from paramdiff.zoo.learned_from import LearnedFrom


def generate(
    pipeline: StrPath,
    out: StrPath,
    *,
    num: int,
    seed: int = 0,
    temperature: float | None = None,
    num_inference_steps: int | None = None,
    condition: Mapping[str, Value] | None = None,
    guidance_scale: float | None = None,
    energy: tuple[str, float] | None = None,
    recipe: str | None = None,
    base: Path | None = None,
    entry: str | None = None,
    selected_only: bool = False,
    device: str = "auto",
    progress: StageProgress = ignore_progress,
) -> None:
    """Generate networks and write them with their card.

    Args:
        pipeline: its folder, a run's, or ``owner/name`` on the Hub.
        out: a new folder.
        num: how many networks.
        seed: of the first; the others count up.
        temperature: scale about the training mean; by default the pipeline's.
        num_inference_steps: denoiser evaluations per network; by default the pipeline's.
        condition: what is asked for, name to value.
        guidance_scale: how much that counts; by default the pipeline's.
        energy: name and scale of a score that networks are pulled towards; see ``build_energy``.
        recipe: whose task a loss that guides is about.
        base: a complete checkpoint for what is not generated, in whose form they are stored.
        entry: the key of the base's state dict, where its file holds several.
        selected_only: whether to leave out the tensors that are not generated.
        device: ``auto``, ``cpu``, ``cuda`` or ``mps``.
        progress: told the stage's name, steps done and steps in all.

    Raises:
        UserError: anything that the user can mend.
    """
    out = Path(out)
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
            loaded.parameter_space.complete_from(*stored.read(entry), str(base))
            completing = (stored.name, stored.sha256)
        score = None
        if energy is not None or recipe is not None:
            name = "" if energy is None else energy[0]
            score = build_energy(name, recipe, loaded.parameter_space, target)
        seeds = range(seed, seed + num)
        networks = loaded(
            seeds,
            num_inference_steps=num_inference_steps,
            temperature=temperature,
            condition=condition,
            guidance_scale=guidance_scale,
            energy=score,
            energy_scale=1.0 if energy is None else energy[1],
            progress=partial(progress, "generating networks"),
        )
        provenance = Provenance(
            Path(pipeline).resolve().name if Path(pipeline).exists() else str(pipeline),
            sha256_of(folder),
            seeds,
            settings=generation_settings(
                loaded,
                num,
                num_inference_steps=num_inference_steps,
                temperature=temperature,
                condition=condition,
                guidance_scale=guidance_scale,
                energy=None if energy is None else energy_in_words(*energy),
            ),
            checkpoint_format=loaded.parameter_space.checkpoint_format,
            checkpoints=checkpoints_on_card(folder),
            learned_from=LearnedFrom.read(folder / "parameter_space"),
            base=completing,
            selected_only=selected_only,
            data=data_with_energy(
                data_on_card(folder),
                energy,
                num_inference_steps or loaded.config.num_inference_steps,
                num,
            ),
        )
        write_generated(out, networks, provenance)
