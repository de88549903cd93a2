"""Packages of other authors as they ship them, each in an environment of ``envs/`` where its pins conflict."""
