"""State dict to vector and back: selection, layout, normalization."""
