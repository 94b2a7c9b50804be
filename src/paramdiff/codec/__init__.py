"""Vector to latent and back: the paper's convolutional autoencoder, and a linear codec (PCA)."""
