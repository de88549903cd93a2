"""GLUE (scglue): graph-linked variational autoencoders, guided by which peak lies at which gene."""

from __future__ import annotations

import numpy as np
import pandas as pd
import scipy.sparse as sp

from benchmarks.errors import InputError
from benchmarks.formats import Multimodal, Prediction
from models.base import Declaration, DivergedError, IntegrationModel
from models.parts.linked_regions import regions_of_genes
from models.wrapped.common import annotated, mean_of_codes, prepare

_TUTORIAL = "scglue 0.4.1, tutorial of paired and unpaired data"
_RELEASE = "scglue 0.4.1"
_AUTOMATIC = f"{_RELEASE}: null lets fit_SCGLUE choose by the number of cells"


class GLUE(IntegrationModel):
    """The released ``fit_SCGLUE``; ``PairedSCGLUEModel`` where some cells are paired, else ``SCGLUEModel``.

    The guidance graph links a gene with the peaks that overlap its body or its promoter (2,000 base pairs before
    it), as the package's own builder does with the bedtools program, which is not needed here. Genes are the highly
    variable ones, peaks those linked to one. Where the data set does not say where its genes lie, a gene is linked
    with the peaks that go with it in the paired cells.
    """

    declaration = Declaration(
        name="scglue",
        title="GLUE (scglue)",
        summary="Variational autoencoders of RNA and ATAC, linked by a graph of which peak lies at which gene.",
        kind="wrapped",
        paper="Cao and Gao 2022, Nature Biotechnology, doi:10.1038/s41587-022-01284-4",
        licence="MIT",
        modality_sets=(("rna", "atac"),),
        unpaired=True,
        needs_paired=False,
        batches=True,
        predicts=True,
        environment="torch-packages",
        gpu=True,
        defaults={
            "n_top_genes": 2000,
            "n_components": 100,
            "latent_dim": 50,
            "h_depth": 2,
            "h_dim": 256,
            "dropout": 0.2,
            "lr": 2e-3,
            "batch_size": 128,
            "max_epochs": None,
            "balance": True,
            "upstream": 2000,
            "links_per_gene": 10,
        },
        origins={
            "n_top_genes": _TUTORIAL,
            "n_components": _TUTORIAL,
            "latent_dim": _RELEASE,
            "h_depth": _RELEASE,
            "h_dim": _RELEASE,
            "dropout": _RELEASE,
            "lr": _RELEASE,
            "batch_size": _RELEASE,
            "max_epochs": _AUTOMATIC,
            "balance": f"{_RELEASE}: cells are weighted so that clusters of the two modalities have the same weight",
            "upstream": f"{_RELEASE}, rna_anchored_guidance_graph (promoter_len)",
            "links_per_gene": "ours: as the Seurat models, used without gene coordinates alone",
        },
    )

    @classmethod
    def load_packages(cls) -> None:
        """Import scglue."""
        import scglue  # noqa: F401

    def fit(self, design: Multimodal, seed: int, device: str) -> None:
        """Build the graph, reduce each modality for the encoders, and train in the package's two rounds."""
        import scglue

        settings = self.hyperparameters
        prepare(seed)
        scglue.config.CPU_ONLY = device == "cpu"
        scglue.config.DATALOADER_PIN_MEMORY = False
        self.design = design
        rna, atac = annotated(design, "rna"), annotated(design, "atac")
        rna.obsm["reduced"], rna.var["highly_variable"] = self._reduced_rna(rna, seed)
        self.graph, linked = self._guidance(design, rna.var["highly_variable"].to_numpy())
        atac.var["highly_variable"] = linked
        n_components = min(settings["n_components"], min(atac.shape) - 1)
        scglue.data.lsi(atac, n_components=n_components, use_highly_variable=False, n_iter=15, random_state=seed)
        atac.obsm["reduced"] = atac.obsm["X_lsi"]
        # The graph's vertices must be distinct: a gene may be called like a peak.
        rna.var_names, atac.var_names = [
            [f"{kind}{i}" for i in range(data.n_vars)] for kind, data in zip(("gene", "peak"), (rna, atac))
        ]
        paired = bool(design.complete.any())
        for data in (rna, atac):
            scglue.models.configure_dataset(
                data, "NB", use_highly_variable=True, use_rep="reduced", use_batch="batch", use_obs_names=paired
            )
        self.data = {"rna": rna, "atac": atac}
        fit_settings = {"data_batch_size": settings["batch_size"], "directory": "glue"}
        if settings["max_epochs"] is not None:
            # The package's own proportions of these to its number of epochs.
            epochs = settings["max_epochs"]
            for name, divisor in (("align_burnin", 6), ("patience", 12), ("reduce_lr_patience", 24)):
                fit_settings[name] = max(1, -(-epochs // divisor))
            fit_settings["max_epochs"] = epochs
        self.model = scglue.models.fit_SCGLUE(
            self.data,
            self.graph,
            model=scglue.models.PairedSCGLUEModel if paired else scglue.models.SCGLUEModel,
            skip_balance=not settings["balance"],
            init_kws={name: settings[name] for name in ("latent_dim", "h_depth", "h_dim", "dropout")}
            | {"random_seed": seed},
            compile_kws={"lr": settings["lr"]},
            fit_kws=fit_settings,
        )
        weights = [data.obs["balancing_weight"] for data in self.data.values() if "balancing_weight" in data.obs]
        if not all(np.isfinite(weight).all() for weight in weights):
            raise DivergedError(
                "after pre-training no clusters of the two modalities match, so that the balancing weights are not "
                "numbers; train longer, or set balance to false"
            )

    def _reduced_rna(self, rna, seed: int) -> tuple[np.ndarray, np.ndarray]:
        """Principal components of scaled, log-normalised highly variable genes, and which genes these are."""
        from models.parts.transforms import log_normalised, principal_components, standardised
        from models.preprocessing import highly_variable

        values = log_normalised(rna.X)
        chosen = np.zeros(rna.n_vars, dtype=bool)
        chosen[highly_variable(values, self.hyperparameters["n_top_genes"])] = True
        n_components = self.hyperparameters["n_components"]
        return principal_components(standardised(values[:, chosen]), n_components, seed), chosen

    def _guidance(self, design: Multimodal, genes: np.ndarray):
        """The guidance graph of `genes` (a mask) and the peaks linked to one, and the mask of these peaks."""
        import networkx

        overlap, way = regions_of_genes(
            design, self.hyperparameters["links_per_gene"], self.hyperparameters["upstream"], min_genes=1
        )
        if way != "coordinates":
            self.warnings.append(f"guidance graph by {way}: coordinates are missing")
        overlap = (overlap @ sp.diags(genes.astype(np.float32))).tocsr()
        # What is zero because its gene was not chosen is stored all the same.
        overlap.eliminate_zeros()
        overlap = overlap.tocoo()
        if overlap.nnz == 0:
            raise InputError(
                "scglue: no peak belongs to a highly variable gene; the modalities have nothing to link them"
            )
        graph = networkx.MultiDiGraph()
        for peak, gene in zip(overlap.row, overlap.col):
            graph.add_edge(f"gene{gene}", f"peak{peak}", weight=1.0, sign=1, type="fwd")
            graph.add_edge(f"peak{peak}", f"gene{gene}", weight=1.0, sign=1, type="rev")
        linked = np.zeros(len(design.var["atac"]), dtype=bool)
        linked[overlap.row] = True
        vertices = [f"gene{gene}" for gene in np.flatnonzero(genes)] + [f"peak{i}" for i in np.flatnonzero(linked)]
        for vertex in vertices:
            graph.add_edge(vertex, vertex, weight=1.0, sign=1, type="loop")
        return graph, linked

    def embed(self) -> np.ndarray:
        """Mean of the codes of the modalities that a cell has, observations x ``latent_dim``."""
        return mean_of_codes(
            self.design, {name: self.model.encode_data(name, data) for name, data in self.data.items()}
        )

    def predict(self, modality: str) -> Prediction:
        """Decode the other modality's code; what is not in the model (peaks without a gene) is its mean in the data."""
        source = "atac" if modality == "rna" else "rna"
        rows = np.flatnonzero(~self.design.has(modality))
        cells = self.data[source][np.searchsorted(self.design.rows[source], rows)].copy()
        counts = self.design.counts[modality]
        library = float(np.median(np.asarray(counts.sum(axis=1))))
        target = self.data[modality]
        known = set(pd.unique(target.obs["batch"]))
        first = min(known)
        batch = np.array([name if name in known else first for name in cells.obs["batch"]])
        decoded = self.model.decode_data(
            source, modality, cells, self.graph, target_libsize=library, target_batch=batch
        )
        counts = sp.csr_matrix(counts > 0, dtype=np.float32) if modality == "atac" else counts
        mean = np.repeat(np.asarray(counts.mean(axis=0), dtype=np.float32), len(rows), axis=0)
        chosen = target.var["highly_variable"].to_numpy()
        # Counts of a peak are negative binomial in the model; the probability that there are any is close to Poisson's.
        mean[:, chosen] = -np.expm1(-decoded) if modality == "atac" else decoded
        return Prediction(np.clip(mean, 0, 1 if modality == "atac" else None), rows)
