"""scAI, composed from its objective: factors shared by RNA and ATAC, ATAC aggregated over similar cells meanwhile."""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp

from benchmarks.formats import Multimodal
from models.base import Declaration, DivergedError, IntegrationModel
from models.preprocessing import highly_variable, log_normalise

_PAPER = "Jin et al. 2020, Methods"


class ScAI(IntegrationModel):
    """Non-negative matrix factorisation with an aggregation learned together with it (Jin et al. 2020).

    With ``X1`` genes x cells, ``X2`` peaks x cells and K factors, the paper minimises

        alpha |X1 - W1 H|^2 + |X2 (Z o R) - W2 H|^2 + lambda |Z - H'H|^2 + gamma sum_j |h_j|_1^2

    over non-negative W1, W2 (features x K), H (K x cells) and Z (cells x cells), with R a fixed matrix of Bernoulli(s)
    draws: ``X2 (Z o R)`` is ATAC aggregated over a random part of each cell's similar cells. Solved here by
    multiplicative updates, written from the gradient ``G+ - G-`` of each factor as ``factor * G- / G+``:

    =======  ========================================================  =================================================
    factor   G-                                                        G+
    =======  ========================================================  =================================================
    W1       X1 H'                                                     W1 H H'
    W2       X2 (Z o R) H'                                             W2 H H'
    H        alpha W1'X1 + W2'X2(Z o R) + lambda H (Z + Z')            (alpha W1'W1 + W2'W2 + 2 lambda H H' + gamma 1) H
    Z        (X2'W2 H) o R + lambda H'H                                (X2'X2 (Z o R)) o R + lambda Z
    =======  ========================================================  =================================================

    The objective leaves the scale between W and H open, and lambda and gamma would draw H to zero. As in the authors'
    release, each iteration therefore starts with the rows of H scaled to sum 1 (here W takes up the factor). In W1, W2 and Z
    the updates never raise the objective; in H, where it is of fourth order, they can (seen with lambda = 10,000 and 40
    cells, not with 500). The embedding is H, transposed, each factor divided by its standard deviation.

    Each iteration takes time in proportion to the cube of the number of cells, and memory to its square: the authors
    of scMVP stopped it after 48 hours at 5,081 cells. Batches are not corrected.
    """

    declaration = Declaration(
        name="scai",
        title="scAI",
        summary="Non-negative factors shared by RNA and ATAC, ATAC aggregated over similar cells while they are found.",
        kind="composed",
        paper="Jin et al. 2020, scAI: an unsupervised approach for the integrative analysis of parallel single-cell transcriptomic and epigenomic profiles, 10.1186/s13059-020-1932-8",
        modality_sets=(("rna", "atac"),),
        defaults={
            "n_latent": 20,
            "alpha": 1.0,
            "lambda": 10_000.0,
            "gamma": 1.0,
            "share": 0.25,
            "n_iterations": 500,
            "tolerance": 1e-5,
            "n_top_genes": 2000,
        },
        origins={
            "n_latent": f"{_PAPER} (K = 20)",
            "alpha": _PAPER,
            "lambda": _PAPER,
            "gamma": _PAPER,
            "share": f"{_PAPER} (s = 0.25)",
            "n_iterations": "the authors' release: at most 500 iterations",
            "tolerance": "the authors' release: 1e-6 an iteration; here over ten of them",
            "n_top_genes": "Seurat's and scanpy's usual number of highly variable genes",
        },
    )

    def fit(self, design: Multimodal, seed: int, device: str) -> None:
        """Alternate the updates until the objective stands still."""
        settings, generator = self.hyperparameters, np.random.default_rng(seed)
        rna = log_normalise(design.counts["rna"])
        first = sp.csr_matrix(rna[:, highly_variable(rna, settings["n_top_genes"])].T)
        second = sp.csr_matrix(design.counts["atac"].T, dtype=np.float64, copy=True)
        second.eliminate_zeros()
        second.data[:] = 1.0
        state = initial_state(first, second, settings["n_latent"], settings["share"], generator)
        weights = settings["alpha"], settings["lambda"], settings["gamma"]
        gram = (second.T @ second).toarray()
        last = settings["n_iterations"]
        previous = np.inf
        for iteration in range(1, last + 1):
            rescale(state)
            update(state, first, second, gram, *weights)
            if iteration % 10 == 0 or iteration == last:
                value = objective(state, first, second, *weights)
                self.progress(iteration, last, objective=value)
                if 0 <= previous - value < settings["tolerance"] * abs(value):
                    break
                previous = value
        if not np.isfinite(state["H"]).all():
            raise DivergedError("the factors are not finite")
        factors = state["H"].T
        self._embedding = factors / np.maximum(factors.std(axis=0), 1e-300)

    def embed(self) -> np.ndarray:
        """Factor loadings of unit variance, observations x ``n_latent``."""
        return self._embedding.astype(np.float32)


def initial_state(first, second, n_factors: int, share: float, generator: np.random.Generator) -> dict[str, np.ndarray]:
    """Uniform W1, W2, H and Z, and R."""
    n_cells = first.shape[1]
    shapes = {"W1": (first.shape[0], n_factors), "W2": (second.shape[0], n_factors)}
    shapes |= {"H": (n_factors, n_cells), "Z": (n_cells, n_cells)}
    state = {name: generator.uniform(size=shape) for name, shape in shapes.items()}
    state["R"] = (generator.uniform(size=(n_cells, n_cells)) < share).astype(np.float64)
    return state


def rescale(state: dict[str, np.ndarray]) -> None:
    """Scale the rows of H to sum 1, in place, and the columns of W1 and W2 by the inverse."""
    sums = np.maximum(state["H"].sum(axis=1), 1e-300)
    state["H"] /= sums[:, None]
    state["W1"] *= sums
    state["W2"] *= sums


def update(
    state: dict[str, np.ndarray], first, second, gram: np.ndarray, alpha: float, penalty: float, gamma: float
) -> None:
    """One update of W1, W2, H and Z, in place; `gram` is ``X2'X2``, `penalty` the paper's lambda."""
    w1, w2, h, z, r = (state[name] for name in ("W1", "W2", "H", "Z", "R"))
    aggregated = second @ (z * r)
    square = h @ h.T
    w1 *= (first @ h.T) / np.maximum(w1 @ square, 1e-300)
    w2 *= (aggregated @ h.T) / np.maximum(w2 @ square, 1e-300)
    down = alpha * (first.T @ w1).T + w2.T @ aggregated + penalty * (h @ (z + z.T))
    up = alpha * w1.T @ w1 + w2.T @ w2 + 2 * penalty * square + gamma
    h *= down / np.maximum(up @ h, 1e-300)
    similar = h.T @ h
    down = (second.T @ w2) @ h * r + penalty * similar
    z *= down / np.maximum((gram @ (z * r)) * r + penalty * z, 1e-300)


def objective(state: dict[str, np.ndarray], first, second, alpha: float, penalty: float, gamma: float) -> float:
    """The paper's objective."""
    w1, w2, h, z, r = (state[name] for name in ("W1", "W2", "H", "Z", "R"))
    return float(
        alpha * np.sum((first.toarray() - w1 @ h) ** 2)
        + np.sum((second @ (z * r) - w2 @ h) ** 2)
        + penalty * np.sum((z - h.T @ h) ** 2)
        + gamma * np.sum(h.sum(axis=0) ** 2)
    )
