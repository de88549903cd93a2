"""uniPort: coupled variational autoencoders with minibatch unbalanced optimal transport."""

from __future__ import annotations

import numpy as np

from benchmarks.formats import Multimodal
from models.base import Declaration, IntegrationModel
from models.parts.gene_activity import region_gene_overlap
from models.wrapped.common import mean_of_codes, prepare

_RELEASE = "uniport 1.3, Run"
_LEAST_GENES = 50


class UniPort(IntegrationModel):
    """The released function ``uniport.Run``: ATAC as gene activity and RNA, over common and specific genes.

    Mode ``h`` needs common genes, so coordinates of genes. Where the data set has none, mode ``d`` integrates the
    two modalities in their own features, which the run record says. The pairing of cells is used in neither.
    """

    declaration = Declaration(
        name="uniport",
        title="uniPort",
        summary="Coupled variational autoencoders of RNA and gene activity, aligned by unbalanced optimal transport.",
        kind="wrapped",
        paper="Cao et al. 2022, Nature Communications, doi:10.1038/s41467-022-35094-8",
        licence="MIT",
        modality_sets=(("rna", "atac"),),
        unpaired=True,
        needs_paired=False,
        environment="numpy1-packages",
        gpu=True,
        defaults={
            "iteration": 30_000,
            "batch_size": 256,
            "lr": 2e-4,
            "lambda_s": 0.5,
            "lambda_recon": 1.0,
            "lambda_kl": 0.5,
            "lambda_ot": 1.0,
            "n_top_features": 2000,
        },
        origins={
            "iteration": _RELEASE,
            "batch_size": _RELEASE,
            "lr": _RELEASE,
            "lambda_s": _RELEASE,
            "lambda_recon": _RELEASE,
            "lambda_kl": _RELEASE,
            "lambda_ot": _RELEASE,
            "n_top_features": "uniport 1.3, tutorial of RNA and ATAC",
        },
    )

    @classmethod
    def load_packages(cls) -> None:
        """Import uniport."""
        import uniport  # noqa: F401

    def fit(self, design: Multimodal, seed: int, device: str) -> None:
        """Scale the values by domain, train, encode."""
        import scipy.sparse as sp
        import uniport

        from models.parts.transforms import log_normalised

        settings = self.hyperparameters
        prepare(seed)
        genes, peaks = design.var["rna"], design.var["atac"]
        shared = np.zeros(0, dtype=np.int64)
        if all("chrom" in table.columns for table in (genes, peaks)):
            overlap = region_gene_overlap(peaks, genes)
            shared = np.flatnonzero(np.asarray(overlap.sum(axis=0)).ravel() > 0)
        horizontal = len(shared) >= _LEAST_GENES
        if horizontal:
            second = log_normalised(sp.csr_matrix(design.counts["atac"] @ overlap[:, shared]))
        else:
            self.warnings.append("no gene activity (coordinates missing): RNA and ATAC in their own features, mode d")
            second = log_normalised(design.counts["atac"])
        first = log_normalised(design.counts["rna"])
        tables = [self._table(values, domain) for domain, values in enumerate((first, second))]
        common = None
        if horizontal:
            import anndata

            rows = [first[:, shared], second]
            common = anndata.concat([self._table(values, domain, False) for domain, values in enumerate(rows)])
            common = common[:, self._variable(common.X)].copy()
            for column in ("domain_id", "source"):
                common.obs[column] = common.obs[column].astype("category")
        for table in [*tables, *([common] if horizontal else [])]:
            uniport.batch_scale(table)
        result = uniport.Run(
            adatas=tables,
            adata_cm=common,
            mode="h" if horizontal else "d",
            iteration=settings["iteration"],
            batch_size=settings["batch_size"],
            lr=settings["lr"],
            outdir="uniport",
            seed=seed,
            num_workers=0,
            **{name: settings[name] for name in ("lambda_s", "lambda_recon", "lambda_kl", "lambda_ot")},
        )
        codes = (
            np.split(np.asarray(result.obsm["latent"]), [first.shape[0]])
            if horizontal
            else [np.asarray(table.obsm["latent"]) for table in tables]
        )
        self._embedding = mean_of_codes(design, dict(zip(("rna", "atac"), codes)))

    def _table(self, values, domain: int, choose: bool = True):
        """An AnnData of one domain, dense, its most variable features if `choose`."""
        import anndata

        chosen = values[:, self._variable(values)] if choose else values
        table = anndata.AnnData(chosen.toarray().astype(np.float32))
        table.obs_names = [f"{domain}_{row}" for row in range(table.n_obs)]
        for column, value in (("domain_id", str(domain)), ("source", ("RNA", "ATAC")[domain])):
            table.obs[column] = value
            table.obs[column] = table.obs[column].astype("category")
        return table

    def _variable(self, values) -> np.ndarray:
        import scipy.sparse as sp

        from models.preprocessing import highly_variable

        return highly_variable(sp.csr_matrix(values), self.hyperparameters["n_top_features"])

    def embed(self) -> np.ndarray:
        """Mean of the codes of the modalities that a cell has, observations x 16."""
        return self._embedding
