"""Denoisers: networks that predict the noise in a latent."""
