"""The papers' figures, each drawn from a study's tidy tables."""
