"""Cards: what a saved pipeline or a folder of generated networks is, in words beside it."""
