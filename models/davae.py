"""DAVAE (Hu et al. 2022), composed here: a shared encoder on gene activity, adversarial on modality and batch.

=======================================================  ============================================
paper                                                    code
=======================================================  ============================================
RNA and gene activity in common features                 ``gene_activity.shared_space``
shared encoder and decoder, 128, 64 and 32 units         ``DAVAENetwork.encoder``, ``decoder``
Gaussian likelihood with estimated variance              ``losses["reconstruction"]``
domain classifier, 16 units, gradient reversal           ``DomainClassifier``, ``reverse_gradient``
mean of a cell's two codes (Brombacher et al. 2022)      ``DAVAE.embed``
=======================================================  ============================================

The release is run in docs/fidelity_scmvp_portal_davae_scalex.md. Weights of the terms, widths, drop-out and batch size
are its defaults. Not its: 10 dimensions (5), 100 epochs at a rate of 0.001 (20 at 0.01), all genes that have a region
(2,000 variable ones); its Gaussian term is divided by the residuals' variance once too often, so that
above a variance of e it rewards larger residuals, and here stands the likelihood itself; inputs are standardised log
counts, as Portal has them, so the decoder's output is linear (the release: softplus of log counts); encoder and
decoder do not see the domain (the release's class ``DAVAE``, not its ``DACVAE``), and both modalities are
reconstructed (its preparation weighs all but the first data set by 0). ``inputs`` and ``released`` take this back (the
latter with the modality alone as domain): they are there to be compared with the release's class, not to be used.

DAVAE needs common features: gene activity, from coordinates. In data without gene coordinates the paired cells give
the correspondence instead (``gene_activity.shared_space``), which the run record says in a warning; without either the
run is not applicable.
"""

from __future__ import annotations

import numpy as np

from benchmarks.formats import Multimodal
from models.base import Declaration, NotApplicableError
from models.parts.composed import ComposedModel, common_plan

_RELEASE = "scbean 0.5.6, fit_integration"


class DAVAE(ComposedModel):
    """DAVAE composed of parts."""

    declaration = Declaration(
        name="davae",
        title="DAVAE",
        summary="Domain-adversarial variational autoencoder with one encoder for RNA and gene activity.",
        kind="composed",
        paper="Hu, Zhong and Shang 2022, Briefings in Bioinformatics, doi:10.1093/bib/bbab400",
        modality_sets=(("rna", "atac"),),
        unpaired=True,
        needs_paired=False,
        batches=True,
        gpu=True,
        version=2,
        defaults={
            "n_latent": 10,
            "widths": (128, 64, 32),
            "encoder_dropout": 0.01,
            "decoder_dropout": 0.05,
            "classifier_widths": (16,),
            "classifier_dropout": 0.05,
            "kl_scale": 1.0,
            "domain_scale": 1.0,
            "epochs": 100,
            "batch_size": 128,
            "learning_rate": 1e-3,
            "gradient_clip": 1000.0,
            "inputs": "standardised",
            "released": False,
        },
        origins={
            "n_latent": "Brombacher et al. 2022, Results: 10-dimensional embeddings; the release has 5",
            "widths": _RELEASE,
            "encoder_dropout": _RELEASE,
            "decoder_dropout": _RELEASE,
            "classifier_widths": _RELEASE,
            "classifier_dropout": _RELEASE,
            "kl_scale": _RELEASE,
            "domain_scale": f"{_RELEASE}: domain_lambda 1; the authors' scripts have 0.5 to 6",
            "epochs": "chosen here, with the lower rate; the release has 20, the authors' scripts 3 to 80",
            "batch_size": _RELEASE,
            "learning_rate": "chosen here: a tenth of the release's 0.01, which with 60 epochs scores no lower (fidelity page)",
            "gradient_clip": "chosen here: a guard for the adversarial term",
            "inputs": f"chosen here, as Portal has them; {_RELEASE}: log counts per million, counts_per_million",
            "released": "chosen here: the likelihood in the place of the release's term",
        },
        choices={"inputs": ("standardised", "counts_per_million")},
    )

    def build(self, data, design: Multimodal):
        """The network."""
        from models.networks.davae import DAVAENetwork

        names = ("n_latent", "encoder_dropout", "decoder_dropout", "classifier_dropout", "kl_scale", "domain_scale")
        chosen = {name: self.hyperparameters[name] for name in (*names, "released")}
        chosen |= {name: tuple(self.hyperparameters[name]) for name in ("widths", "classifier_widths")}
        return DAVAENetwork(data.x.shape[1], data.n_domains, positive=self._counts_per_million(), **chosen)

    def _counts_per_million(self) -> bool:
        return self.hyperparameters["inputs"] == "counts_per_million"

    def plan(self):
        """Adam, all cells, a fixed number of epochs."""
        fixed = {
            "optimiser": "adam",
            "weight_decay": 0.0,
            "validation_fraction": 0.0,
            "patience": None,
            "kl_warmup_epochs": 0,
        }
        return common_plan(self.hyperparameters, **fixed)

    def fit(self, design: Multimodal, seed: int, device: str) -> None:
        """Common features, then training on the cells of both modalities."""
        import torch

        from models.parts.dense import DenseRows
        from models.parts.gene_activity import shared_space
        from models.parts.trainer import Trainer, seeded

        self.design, self.seed, self.device = design, int(seed), device
        released = self.hyperparameters["released"]
        raw = {"scaled": False, "target": 1e6} if self._counts_per_million() else {}
        rna, atac, way = shared_space(design, self.seed, **raw)
        if raw and way != "gene activity":
            raise NotApplicableError(
                "davae: inputs is 'counts_per_million', which needs coordinates of genes; give standardised"
            )
        if way != "gene activity":
            self.warnings.append(f"no gene activity (coordinates missing): RNA and ATAC meet by {way} on paired cells")
        batches = np.full(design.n_obs, "") if released else design.obs["batch"].astype(str).to_numpy()
        keys = [f"{name}:{batch}" for name in ("rna", "atac") for batch in batches[design.rows[name]]]
        names, domain = np.unique(keys, return_inverse=True)
        x = torch.from_numpy(np.concatenate((rna, atac))).float().to(device)
        self.data = DenseRows(x, torch.from_numpy(domain.astype(np.int64)).to(device), len(names))
        with seeded(self.seed, device):
            self.network = self.build(self.data, design).to(device)
        Trainer(self.network, self.data, self.plan(), self.seed, self.progress, self.checkpoint).fit()

    def embed(self) -> np.ndarray:
        """Mean of the codes of the modalities that a cell has."""
        codes = super().embed()
        total, count = (
            np.zeros((self.design.n_obs, codes.shape[1]), np.float32),
            np.zeros((self.design.n_obs, 1), np.float32),
        )
        start = 0
        for name in ("rna", "atac"):
            rows = self.design.rows[name]
            total[rows] += codes[start : start + len(rows)]
            count[rows] += 1
            start += len(rows)
        return total / np.maximum(count, 1)
