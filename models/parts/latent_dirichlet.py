"""Latent Dirichlet allocation by variational Bayes, on sparse counts, with any Dirichlet parameters."""

from __future__ import annotations

from typing import Callable

import numpy as np
import scipy.sparse as sp
from scipy.special import gammaln, psi


class LatentDirichletAllocation:
    """Blei, Ng and Jordan 2003 with smoothed topics (their section 5.4), all cells in every pass.

    ``theta_c ~ Dirichlet(alpha)``, ``phi_t ~ Dirichlet(beta)``; a count of feature f in cell c is a draw from
    ``sum_t theta_ct phi_tf``. The posterior is approximated by ``q(theta_c) = Dirichlet(gamma_c)``, ``q(phi_t) =
    Dirichlet(lambda_t)`` and a topic for each count; a pass computes the latter's optimum and from it

        gamma_ct = alpha + e(theta)_ct sum_f R_cf e(phi)_tf,    lambda_tf = beta + e(phi)_tf sum_c R_cf e(theta)_ct,

    with ``e(x) = exp(E_q[log x])`` and ``R_cf = n_cf / sum_t e(theta)_ct e(phi)_tf``: coordinate ascent of the evidence's
    lower bound, which therefore never falls. scikit-learn's class solves the same, but refuses ``alpha`` above 1.

    Parameters
    ----------
    counts
        Cells x features, CSR, non-negative.
    n_topics, alpha, beta
        T, and the Dirichlet parameters of each topic and of each feature.
    generator
        Draws the start: lambda from Gamma(100, 1/100).

    Attributes
    ----------
    cells, topics
        gamma (cells x T) and lambda (T x features).
    """

    def __init__(
        self, counts: sp.csr_matrix, n_topics: int, alpha: float, beta: float, generator: np.random.Generator
    ) -> None:
        self.counts, self.alpha, self.beta = sp.csr_matrix(counts, dtype=np.float64), alpha, beta
        self.topics = generator.gamma(100.0, 0.01, (n_topics, counts.shape[1]))
        totals = np.asarray(self.counts.sum(axis=1))
        self.cells = alpha + np.repeat(totals / n_topics, n_topics, axis=1)
        self._rows = np.repeat(np.arange(counts.shape[0]), np.diff(self.counts.indptr))

    def _expectations(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """``E[log theta]``, ``E[log phi]``, and ``sum_t e(theta)_ct e(phi)_tf`` at the nonzeros."""
        theta = psi(self.cells) - psi(self.cells.sum(axis=1, keepdims=True))
        phi = psi(self.topics) - psi(self.topics.sum(axis=1, keepdims=True))
        of_cells, of_features = np.exp(theta), np.ascontiguousarray(np.exp(phi).T)
        mixed = np.empty(self.counts.nnz)
        chunk = max(1, (1 << 22) // self.cells.shape[1])
        for start in range(0, len(mixed), chunk):
            part = slice(start, start + chunk)
            mixed[part] = np.einsum("ij,ij->i", of_cells[self._rows[part]], of_features[self.counts.indices[part]])
        return theta, phi, np.maximum(mixed, 1e-300)

    def bound(self) -> float:
        """Lower bound of the logarithm of the evidence, at the current gamma and lambda."""
        theta, phi, mixed = self._expectations()
        value = float(self.counts.data @ np.log(mixed))
        for log_mean, parameters, prior in ((theta, self.cells, self.alpha), (phi, self.topics, self.beta)):
            size = parameters.shape[1]
            value += np.sum((prior - parameters) * log_mean) + np.sum(gammaln(parameters) - gammaln(prior))
            value += np.sum(gammaln(size * prior) - gammaln(parameters.sum(axis=1)))
        return float(value)

    def step(self, update_topics: bool = True) -> None:
        """One pass; without `update_topics`, gamma alone is updated."""
        theta, phi, mixed = self._expectations()
        shape = self.counts.shape
        ratio = sp.csr_matrix((self.counts.data / mixed, self.counts.indices, self.counts.indptr), shape=shape)
        of_cells, of_features = np.exp(theta), np.exp(phi)
        self.cells = self.alpha + of_cells * (ratio @ of_features.T)
        if update_topics:
            self.topics = self.beta + of_features * (ratio.T @ of_cells).T

    def fit(self, n_iterations: int, tolerance: float, report: Callable[..., None]) -> "LatentDirichletAllocation":
        """Pass until the perplexity falls by less than the fraction `tolerance` within ten passes.

        `report` gets the pass, the last one, and the perplexity, ``exp(-bound / number of counts)``, every tenth pass.
        """
        previous = np.inf
        for iteration in range(1, n_iterations + 1):
            self.step()
            if iteration % 10 == 0 or iteration == n_iterations:
                perplexity = float(np.exp(-self.bound() / max(self.counts.sum(), 1)))
                report(iteration, n_iterations, perplexity=perplexity)
                if previous - perplexity < tolerance * perplexity:
                    break
                previous = perplexity
        return self

    def proportions(self) -> np.ndarray:
        """Mean of theta: cells x topics, rows of sum 1."""
        return self.cells / self.cells.sum(axis=1, keepdims=True)
