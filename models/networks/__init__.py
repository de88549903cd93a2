"""The networks of the composed models, one module a paper, built from ``models.parts``."""
