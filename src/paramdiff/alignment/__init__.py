"""Networks from independent runs in common coordinates: which units can trade places, and how."""
