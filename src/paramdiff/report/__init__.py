"""``evaluation.json`` and ``arrays.safetensors`` to one self-contained HTML page."""
