"""MultiVI (Ashuach et al. 2023), composed here: RNA, accessibility and protein in one averaged posterior.

==========================================================  ====================================================
paper                                                       code
==========================================================  ====================================================
q(z_R | x_R), q(z_A | x_A), q(z_P | x_P) by encoders        ``MultiVINetwork.encoders`` (``GaussianEncoder``)
Z = (Z_A + Z_R) / 2, or universal, or cell weights          ``fuse``: ``masked_weights``, ``weighted_average``
x_R ~ NegBin(l rho, theta), released zero-inflated          ``ExpressionDecoder.loss``
x_A ~ Ber(l p r)                                            ``AccessibilityDecoder.loss``: ``factored_bernoulli_loss``
x_P ~ pi NegBin(background) + (1 - pi) NegBin(foreground)   ``ProteinDecoder.loss``
l_c = f(x_c)                                                ``LibraryEncoder``
symmKL(q(z_A), q(z_R)), for three modalities every pair     ``modality_penalty``: ``jeffreys``, ``pairwise``
KL x (i - 1) / 50 in the first 50 epochs (paper: i / 50)    ``TrainingPlan.kl_warmup_epochs``
classifier with 32 hidden units, adversarially trained      ``DomainClassifier``, ``second_loss``
==========================================================  ====================================================

Where paper and release (scvi-tools 1.4.2) differ, the default is the release: zero-inflated NB, standard
deviations in place of variances in the Jeffreys penalty, variances averaged with sqrt(w), encoders that do not see
the batch (paper: q(z | x, s)), proteins without a library factor and with one dispersion. The adversary's batch
normalisation has torch's constants (release: epsilon 0.001, momentum 0.01). With ``fusion="cell"`` weights of held-out
and test cells are not learned and stay equal. The adversary
tells apart batch and, in a design with unpaired cells, which modalities a cell has (the scvi-tools tutorial's
``batch_key="modality"``); the decoders see the batch alone.
"""

from __future__ import annotations

import numpy as np

from benchmarks.formats import Multimodal, Prediction
from models.base import Declaration
from models.parts.composed import ComposedModel, common_plan

_PAPER = "Ashuach et al. 2023, Methods, Training procedure"
_RELEASE = "scvi-tools 1.4.2, MULTIVI"


class MultiVINative(ComposedModel):
    """MultiVI composed of parts."""

    declaration = Declaration(
        name="multivi-native",
        title="MultiVI (native)",
        summary="Variational autoencoder with one encoder a modality, averaged posteriors and a Jeffreys penalty.",
        kind="composed",
        paper="Ashuach et al. 2023, Nature Methods, doi:10.1038/s41592-023-01909-9",
        modality_sets=(("rna", "atac", "protein"), ("rna", "atac"), ("rna", "protein")),
        unpaired=True,
        needs_paired=False,
        batches=True,
        predicts=True,
        embeds_new_cells=True,
        uncertainty=True,
        gpu=True,
        version=3,
        defaults={
            "width": None,
            "n_latent": None,
            "n_layers": 2,
            "dropout": 0.1,
            "fusion": "equal",
            "penalty": "jeffreys",
            "released_jeffreys": True,
            "adversary": True,
            "adversary_widths": (32, 32),
            "adversary_dropout": 0.1,
            "adversary_learning_rate": 1e-3,
            "adversary_epsilon": 0.01,
            "gene_likelihood": "zinb",
            "epochs": 500,
            "batch_size": 128,
            "learning_rate": 1e-4,
            "weight_decay": 1e-3,
            "kl_warmup_epochs": 50,
            "patience": 50,
            "validation_fraction": 0.1,
            "prediction_samples": 15,
        },
        origins={
            "width": f"{_RELEASE}: min(128, sqrt(regions, or genes))",
            "n_latent": f"{_RELEASE}: sqrt(width)",
            "n_layers": _RELEASE,
            "dropout": _RELEASE,
            "fusion": "Ashuach et al. 2023: the default is the average",
            "penalty": "Ashuach et al. 2023: symmetric Jeffreys divergence",
            "released_jeffreys": _RELEASE,
            "adversary": _PAPER,
            "adversary_widths": f"{_PAPER}: 32 hidden units; two layers as released",
            "adversary_dropout": _RELEASE,
            "adversary_learning_rate": f"{_RELEASE}, AdversarialTrainingPlan",
            "adversary_epsilon": f"{_RELEASE}, AdversarialTrainingPlan: of its Adam",
            "gene_likelihood": f"{_RELEASE} (the paper: nb)",
            "epochs": _PAPER,
            "batch_size": _PAPER,
            "learning_rate": _PAPER,
            "weight_decay": _PAPER,
            "kl_warmup_epochs": _PAPER,
            "patience": _PAPER,
            "validation_fraction": _PAPER,
            "prediction_samples": "Ashuach et al. 2023, Methods: n = 15 samples of the latent space",
        },
        choices={
            "fusion": ("equal", "universal", "cell"),
            "penalty": ("jeffreys", "latent_distance", "mmd", "none"),
            "gene_likelihood": ("zinb", "nb"),
        },
    )

    def build(self, data, design: Multimodal):
        """The network, sized by the data."""
        import torch

        from models.networks.multivi import MultiVINetwork

        domain = None
        if self.hyperparameters["adversary"]:
            keys = design.obs["batch"].astype(str).to_numpy().astype(object)
            for modality in data.modalities:
                keys = keys + np.where(design.has(modality), "+", "-").astype(object)
            names, codes = np.unique(keys.astype(str), return_inverse=True)
            if len(names) > 1:
                domain = torch.from_numpy(codes.astype(np.int64))
        names = (
            "width",
            "n_latent",
            "n_layers",
            "dropout",
            "fusion",
            "penalty",
            "gene_likelihood",
            "released_jeffreys",
            "adversary_dropout",
            "adversary_learning_rate",
            "adversary_epsilon",
        )
        chosen = {name: self.hyperparameters[name] for name in names}
        chosen["adversary_widths"] = tuple(self.hyperparameters["adversary_widths"])
        return MultiVINetwork(data.n_features, data.n_batches, data.n_observations, domain, **chosen)

    def plan(self):
        """AdamW, KL warm-up, early stopping on the held-out reconstruction."""
        return common_plan(self.hyperparameters)

    def predict(self, modality: str) -> Prediction:
        """Mean and standard deviation over samples of the latent space, and of the proteins' background.

        Cells without `modality` have the mean scaling factor of those that were learned from with it; test cells
        have their own.
        """
        import torch

        from models.parts.encoders import sample_gaussian
        from models.parts.trainer import seeded

        rows, network, data = self.lacking(modality), self.network, self.data
        means, deviations = [], []
        n_samples = self.hyperparameters["prediction_samples"]
        with torch.no_grad(), seeded(self.seed + 1, self.device):
            mean_scale = self._mean_scale(modality)
            for positions in torch.from_numpy(rows).to(data.device).split(512):
                batch = data.minibatch(positions)
                scale = self._scale(batch, modality, mean_scale)
                mean, variance = network.fuse(batch, network.posteriors(batch))
                average = spread = 0.0
                for drawn in range(1, n_samples + 1):
                    z, covariates = sample_gaussian(mean, variance), batch.batch_one_hot
                    if modality == "rna":
                        value, gate = network.rna_decoder(z, covariates)
                        value = value * scale if gate is None else value * scale * torch.sigmoid(-gate)
                    elif modality == "atac":
                        value = network.atac_decoder(z, covariates) * scale
                    else:
                        background, foreground, logits = network.protein_decoder(z, covariates)
                        share = torch.sigmoid(logits)
                        value = share * background + (1 - share) * foreground
                    # Welford's running mean and sum of squares.
                    change = value - average
                    average = average + change / drawn
                    spread = spread + change * (value - average)
                means.append(average)
                deviations.append((spread / max(n_samples - 1, 1)).sqrt())
        shape = (0, data.n_features[modality])
        stack = [
            torch.cat(parts).cpu().numpy() if parts else np.zeros(shape, np.float32) for parts in (means, deviations)
        ]
        return Prediction(stack[0], rows, stack[1])

    def _scale(self, batch, modality: str, mean_scale: float):
        """Scaling factors of a mini-batch: `mean_scale`, or n_rows x 1 where some cells have their own."""
        import torch

        counts = batch.counts[modality]
        if modality == "protein" or not counts.n_rows:
            return mean_scale
        scale = torch.full((batch.size, 1), mean_scale, device=batch.positions.device)
        library = self.network.rna_library if modality == "rna" else self.network.atac_library
        own = library(counts)
        scale[batch.where[modality], 0] = own.exp() if modality == "rna" else own
        return scale

    def _mean_scale(self, modality: str):
        """Mean over the cells that taught `modality` of exp(library) (RNA) or l (accessibility); one for proteins."""
        import torch

        if modality == "protein":
            return 1.0
        library = self.network.rna_library if modality == "rna" else self.network.atac_library
        parts = self.learned_with(modality).split(1024)
        values = torch.cat([library(self.data.minibatch(positions).counts[modality]) for positions in parts])
        return float((values.exp() if modality == "rna" else values).mean())
