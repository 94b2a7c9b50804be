"""Codecs: parameter vectors to latents and back."""
