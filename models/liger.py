"""LIGER (pyliger): integrative non-negative matrix factorisation of expression and gene activity, quantile-aligned."""

from __future__ import annotations

import numpy as np
import pandas as pd
import scipy.sparse as sp

from benchmarks.formats import Multimodal
from models.base import Declaration, DivergedError, IntegrationModel, NotAvailableError

_PACKAGE = "pyliger 0.2.4"


class LIGER(IntegrationModel):
    """pyliger on two data sets that share genes: RNA, and the gene activity of ATAC.

    1. ATAC becomes gene activity: by coordinates or, where genes have none, by the regions that go with a gene's
       expression over the paired cells (as for the Seurat models; the run record says which).
    2. pyliger: normalise to the row sum, choose genes by the RNA, scale without centring, factorise by alternating
       non-negative least squares (``|X_i - H_i (W + V_i)|^2 + lambda |H_i V_i|^2``, Welch et al. 2019), align quantiles of H.
    3. An observation with both modalities is in both data sets; its embedding is the mean of the two aligned rows. One
       that has no count in any shared gene gets the mean of all others, with a warning.

    Batches other than the modality are not corrected.
    """

    declaration = Declaration(
        name="liger",
        title="LIGER",
        summary="Integrative non-negative matrix factorisation of RNA and gene activity, with quantile alignment.",
        kind="wrapped",
        paper="Welch et al. 2019, Single-cell multi-omic integration compares and contrasts features of brain cell identity, 10.1016/j.cell.2019.05.006",
        licence="GPL-3.0",
        modality_sets=(("rna", "atac"),),
        unpaired=True,
        needs_paired=False,
        environment="liger",
        defaults={
            "n_latent": 20,
            "penalty": 5.0,
            "n_iterations": 30,
            "variance_threshold": 0.1,
            "n_neighbors": 20,
            "links_per_gene": 10,
        },
        origins={
            "n_latent": "LIGER's vignettes and pyliger's iNMF_HALS (k = 20)",
            "penalty": f"{_PACKAGE}, optimize_ALS: value_lambda",
            "n_iterations": f"{_PACKAGE}, optimize_ALS: max_iters",
            "variance_threshold": f"{_PACKAGE}, select_genes: var_thresh",
            "n_neighbors": f"{_PACKAGE}, quantile_norm: knn_k",
            "links_per_gene": "ours: as the Seurat models, used without gene coordinates alone",
        },
    )

    @classmethod
    def load_packages(cls) -> None:
        """Import pyliger.

        Raises
        ------
        NotAvailableError
            If it is not installed.
        """
        try:
            import pyliger  # noqa: F401
        except ImportError as error:
            raise NotAvailableError(f"{error.name} is not installed; run: make env NAME=liger") from error

    def fit(self, design: Multimodal, seed: int, device: str) -> None:
        """Gene activity, factors, alignment; see the class."""
        import pyliger

        settings = self.hyperparameters
        counts, genes = self._shared_counts(design)
        data, rows = [], []
        for modality, matrix in counts.items():
            # The package drops empty rows unasked.
            filled = np.flatnonzero(np.asarray(matrix.sum(axis=1)).ravel() > 0)
            rows.append(design.rows[modality][filled])
            data.append(self._annotated(matrix[filled], genes, modality))
        liger = pyliger.create_liger(data, remove_missing=False)
        pyliger.normalize(liger, remove_missing=False)
        pyliger.select_genes(liger, var_thresh=settings["variance_threshold"], datasets_use=[0])
        pyliger.scale_not_center(liger, remove_missing=False)
        # The package seeds numpy with rand_seed - 1, and zero is the least seed.
        pyliger.optimize_ALS(
            liger,
            k=settings["n_latent"],
            value_lambda=settings["penalty"],
            max_iters=settings["n_iterations"],
            rand_seed=int(seed) + 1,
        )
        pyliger.quantile_norm(liger, knn_k=settings["n_neighbors"], rand_seed=int(seed))
        total, count = np.zeros((design.n_obs, settings["n_latent"])), np.zeros(design.n_obs)
        for positions, part in zip(rows, liger.adata_list):
            total[positions] += part.obsm["H_norm"]
            count[positions] += 1
        if not np.isfinite(total).all():
            raise DivergedError("the factors are not finite")
        self._embedding = total / np.maximum(count, 1)[:, None]
        if (count == 0).any():
            self._embedding[count == 0] = self._embedding[count > 0].mean(axis=0)
            self.warnings.append(f"{int((count == 0).sum())} observations have no count in the shared genes")
        self.epochs = settings["n_iterations"]

    def _shared_counts(self, design: Multimodal) -> tuple[dict[str, sp.csr_matrix], pd.Index]:
        """RNA and gene activity over the same genes, and the genes' names."""
        from models.parts.linked_regions import regions_of_genes

        genes = design.var["rna"]
        overlap, way = regions_of_genes(design, self.hyperparameters["links_per_gene"])
        if way != "coordinates":
            self.warnings.append(f"gene activity by {way}: coordinates are missing")
        activity = sp.csr_matrix(design.counts["atac"] @ overlap)
        used = [np.asarray(matrix.sum(axis=0)).ravel() > 0 for matrix in (design.counts["rna"], activity)]
        kept = np.flatnonzero(used[0] & used[1])
        return {"rna": design.counts["rna"][:, kept], "atac": activity[:, kept]}, genes.index[kept]

    def _annotated(self, counts: sp.csr_matrix, genes: pd.Index, name: str):
        """One data set as the package wants it: named indices, its name in ``uns``."""
        import anndata

        obs = pd.DataFrame(index=pd.Index([f"{name}_{i}" for i in range(counts.shape[0])], name="cell", dtype=object))
        var = pd.DataFrame(index=pd.Index(genes.astype(object), name="gene"))
        return anndata.AnnData(counts.astype(np.float64), obs=obs, var=var, uns={"sample_name": name})

    def embed(self) -> np.ndarray:
        """Aligned factor loadings, observations x ``n_latent``."""
        return self._embedding.astype(np.float32)
