"""Latents to a trained denoiser, and noise to latents."""
