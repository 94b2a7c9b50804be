"""What a user gets for free: constructions from the originals to new parameter vectors."""
