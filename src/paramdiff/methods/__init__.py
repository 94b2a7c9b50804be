"""Methods: ways from a zoo to new parameter vectors."""
