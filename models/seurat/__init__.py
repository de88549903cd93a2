"""Seurat 4 in R: the three strategies by which the MultiVI paper used it, as models of the registry."""
