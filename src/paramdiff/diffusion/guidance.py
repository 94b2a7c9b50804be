"""Guidance of samples towards conditions or energies, at every step of the reverse process.

- A condition, without a classifier (Ho and Salimans 2022): the noise (or the
  velocity) is predicted with and without it, ``eps = eps_0 + scale * (eps_c - eps_0)``.
- Any differentiable score of the finished sample (Dhariwal and Nichol 2021, with the score at the
  predicted clean latent, Chung et al. 2023): ``eps - scale * sqrt(1 - alpha_bar) * grad``. Samples
  then follow the density that was learned times ``exp(scale * score)``, exactly so where data are
  Gaussian and the score is linear.

The gradient at the clean latent is carried back to the noisy one by the gain that Gaussian data of
the same variance have, not through the denoiser (as in pseudo-inverse guidance, Song et al. 2023):
near pure noise what is wrong with its slopes is divided by ``sqrt(alpha_bar)``, and samples fly
apart. The figures: docs/results/conditions.md.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from paramdiff.errors import UserError

LatentScore = Callable[[Tensor, Sequence[int]], Tensor]
"""Clean latents ``[B, D]`` and their seeds to scores ``[B]``, each of its own row; higher is
better."""


@dataclass(frozen=True)
class Guidance:
    """The guidance of samples; none by default.

    Attributes:
        condition: ``[C]``, as the denoiser reads it; None asks for nothing.
        condition_scale: 0 ignores the condition, 1 samples what was learned of it, more
            exaggerates it.
        score: of the finished sample; None if there is none.
        score_scale: how much a unit of score counts, in nats.
        variance: of clean latents, ``[D]`` or one for all; only a score needs it.
    """

    condition: Tensor | None = None
    condition_scale: float = 1.0
    score: LatentScore | None = None
    score_scale: float = 1.0
    variance: Tensor | float = 1.0

    def predict(
        self,
        denoiser: nn.Module,
        x: Tensor,
        timesteps: Tensor,
        alpha_bar: Tensor,
        seeds: Sequence[int],
        prediction_type: str = "epsilon",
    ) -> Tensor:
        """Predict the noise in ``x``, or the velocity, shifted towards what is wanted.

        Args:
            denoiser: predicts it.
            x: noisy latents ``[B, D]``.
            timesteps: ``[B]``, all the same.
            alpha_bar: the share of variance that is signal there, a scalar.
            seeds: one per latent.
            prediction_type: what the denoiser predicts, in diffusers' words: ``epsilon``, or
                ``v_prediction``.

        Returns:
            ``[B, D]``.

        Raises:
            UserError: the score has another shape, no gradient, or is not finite.
        """
        predicted = self._conditional(denoiser, x, timesteps)
        if self.score is None:
            return predicted
        signal, noise = alpha_bar.sqrt(), (1 - alpha_bar).sqrt()
        is_velocity = prediction_type == "v_prediction"
        eps = signal * predicted + noise * x if is_velocity else predicted
        with torch.enable_grad():
            clean = ((x - noise * eps) / signal).detach().requires_grad_()
            slopes = _slopes(self.score(clean, seeds), clean, seeds)
        gain = signal * self.variance / (alpha_bar * self.variance + 1 - alpha_bar)
        shift = self.score_scale * noise * gain * slopes
        return predicted - (shift / signal if is_velocity else shift)

    def _conditional(self, denoiser: nn.Module, x: Tensor, timesteps: Tensor) -> Tensor:
        if self.condition is None or self.condition_scale == 0:
            return denoiser(x, timesteps)
        asked = self.condition.to(x).expand(len(x), -1)
        given = denoiser(x, timesteps, asked)
        if self.condition_scale == 1:
            return given
        without = denoiser(x, timesteps)
        return without + self.condition_scale * (given - without)


UNGUIDED = Guidance()


def _slopes(scores: object, clean: Tensor, seeds: Sequence[int]) -> Tensor:
    """Compute the gradient of each score in its own row, checked."""
    if not isinstance(scores, Tensor) or scores.shape != (len(seeds),):
        found = list(scores.shape) if isinstance(scores, Tensor) else type(scores).__name__
        raise UserError(
            f"energy: it must return one score per network, a tensor of shape [{len(seeds)}], not "
            f"{found}"
        )
    _check_finite(scores.detach(), "the score", seeds)
    slopes = None
    if scores.requires_grad:
        (slopes,) = torch.autograd.grad(scores.sum(), clean, allow_unused=True)
    if slopes is None:
        raise UserError(
            "energy: its scores must be differentiable in the parameters, but have no gradient"
        )
    _check_finite(slopes.sum(1), "the gradient of the score", seeds)
    return slopes


def _check_finite(values: Tensor, what: str, seeds: Sequence[int]) -> None:
    bad = (~torch.isfinite(values)).nonzero().flatten().tolist()
    if bad:
        raise UserError(f"energy: {what} of seed {seeds[bad[0]]} is {float(values[bad[0]])}")
