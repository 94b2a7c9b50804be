"""Is what was generated good, and is it new? Arrays in, ``evaluation.json`` out."""
