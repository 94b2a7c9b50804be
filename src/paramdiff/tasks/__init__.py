"""A name to data splits and a network."""
