"""Model cards of pipelines and generated networks."""
