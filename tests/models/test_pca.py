"""Joint PCA against scikit-learn, and its projection of single modalities against the formula and the planted truth."""

from __future__ import annotations

import numpy as np
import pytest

from models.pca import JointPCA
from models.preprocessing import block_components


def blocks_of(design, modalities):
    blocks = [block_components(design, modality, 30, 2000, 0) for modality in modalities]
    return [block / np.sqrt(block.var(axis=0).sum()) for block in blocks]


def test_paired_is_pca_up_to_the_shrinkage(make):
    from sklearn.decomposition import PCA

    design, _ = make(("rna", "protein"), 0.0, 240)
    model = JointPCA(n_latent=4)
    model.fit(design, 0, "cpu")
    stacked = np.hstack(blocks_of(design, ("rna", "protein")))
    reference = PCA(svd_solver="full").fit(stacked)
    scores = reference.transform(stacked)[:, :4]
    variances = scores.var(axis=0)
    noise = PCA(svd_solver="full").fit(stacked).explained_variance_[4:].sum() * (239 / 240) / (stacked.shape[1] - 4)
    shrunk = scores * (variances - noise) / variances
    np.testing.assert_allclose(np.abs(model.embed()), np.abs(shrunk), atol=1e-4)


def test_blocks_weigh_the_same(make):
    """Multiplying one modality's counts changes its unit, not the embedding's balance of modalities."""
    design, _ = make(("rna", "protein"), 0.0, 240)
    for block in blocks_of(design, ("rna", "protein")):
        assert block.var(axis=0).sum() == pytest.approx(1)


def test_posterior_mean_solves_the_ridge_problem(make):
    """The embedding of an observation minimises |y - V z|^2 / noise + z' diag(1 / prior) z over its own block."""
    from scipy.optimize import minimize

    design, _ = make(("rna", "protein"), 0.5, 120)
    model = JointPCA(n_latent=3)
    model.fit(design, 0, "cpu")
    blocks = blocks_of(design, ("rna", "protein"))
    values = np.full((design.n_obs, sum(block.shape[1] for block in blocks)), np.nan)
    width = blocks[0].shape[1]
    values[design.rows["rna"], :width] = blocks[0]
    values[design.rows["protein"], width:] = blocks[1]
    complete = values[design.complete]
    centred = complete - complete.mean(axis=0)
    eigenvalues, vectors = np.linalg.eigh(centred.T @ centred / len(complete))
    eigenvalues, vectors = eigenvalues[::-1], vectors[:, ::-1]
    noise, prior = eigenvalues[3:].mean(), eigenvalues[:3] - eigenvalues[3:].mean()
    signs = np.sign(vectors[np.abs(vectors).argmax(axis=0), np.arange(vectors.shape[1])])
    loadings = (vectors * signs)[:, :3]
    row = int(np.flatnonzero(~design.has("protein"))[0])
    y = values[row, :width] - complete.mean(axis=0)[:width]

    def cost(z):
        return ((y - loadings[:width] @ z) ** 2).sum() / noise + (z**2 / prior).sum()

    best = minimize(cost, np.zeros(3), tol=1e-12).x
    np.testing.assert_allclose(model.embed()[row], best, atol=1e-3 * np.abs(best).max() + 1e-4)


def test_scale_of_single_modalities_matches(make):
    design, truth = make(("rna", "protein"), 0.5, 240, 2.0)
    model = JointPCA(n_latent=3)
    model.fit(design, 0, "cpu")
    values = model.embed()
    groups = truth.obs["group"].to_numpy()
    whole = values[groups == "paired"].std(axis=0)
    for group in ("rna", "protein"):
        ratio = values[groups == group].std(axis=0) / whole
        assert np.all((ratio > 0.5) & (ratio < 1.5)), ratio


def test_order_of_observations_does_not_matter(make):
    design, _ = make(("rna", "atac"), 0.5, 120)
    order = np.random.default_rng(0).permutation(design.n_obs)
    a, b = JointPCA(n_latent=5), JointPCA(n_latent=5)
    a.fit(design, 0, "cpu")
    b.fit(design.subset(order), 0, "cpu")
    np.testing.assert_allclose(np.abs(a.embed()[order]), np.abs(b.embed()), atol=1e-3)


def test_too_few_complete_observations(make):
    design, _ = make(("rna", "atac"), 0.95, 40)
    with pytest.raises(ValueError, match="at least 3 complete observations; the design has 2"):
        JointPCA().fit(design, 0, "cpu")
