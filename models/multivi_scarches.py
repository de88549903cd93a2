"""MultiVI trained on some batches and extended to unseen ones by scArches' architecture surgery."""

from __future__ import annotations

import dataclasses

import numpy as np

from benchmarks.errors import InputError
from benchmarks.formats import Multimodal
from models import scvi_common
from models.multivi import MultiVI


class MultiVIScArches(MultiVI):
    """MULTIVI of the reference batches; of the query batch only the new batch weights are trained.

    1. The observations of all batches but the query train a MULTIVI whose encoders see the batch
       (``encode_covariates``), as surgery needs: without it the encoders have nothing that is new to a batch.
    2. ``load_query_data`` adds the inputs of the query batch to the first layers and freezes all other weights;
       the query's observations train them, without weight decay, so that the reference stays where it was.
    3. Reference observations are embedded by the reference model and query observations by the extended one: with a
       single reference batch the package gives both batches new inputs, and only the query's are ever trained.

    Only ``modality_weights="equal"``: weights of single cells exist for the cells trained on alone.
    """

    declaration = dataclasses.replace(
        MultiVI.declaration,
        name="multivi-scarches",
        title="MultiVI, scArches",
        summary="MultiVI trained without one batch, which architecture surgery then maps onto the trained model.",
        paper="Lotfollahi et al. 2022, Mapping single-cell data to reference atlases by transfer learning, 10.1038/s41587-021-01001-7; Ashuach et al. 2023, 10.1038/s41592-023-01909-9",
        predicts=False,
        uncertainty=False,
        defaults={
            name: value
            for name, value in MultiVI.declaration.defaults.items()
            if name not in ("modality_weights", "n_prediction_samples")
        }
        | {"query_batch": None, "query_epochs": None},
        origins={
            name: origin
            for name, origin in MultiVI.declaration.origins.items()
            if name not in ("modality_weights", "n_prediction_samples")
        }
        | {
            "query_batch": "ours: null stands for the batch with the fewest observations (of equals the last by name)",
            "query_epochs": "ours: null stands for max_epochs, with the same early stopping",
        },
        choices={"modality_penalty": MultiVI.declaration.choices["modality_penalty"]},
    )

    def fit(self, design: Multimodal, seed: int, device: str) -> None:
        """Train on the reference, then on the query.

        Raises
        ------
        InputError
            If there is one batch only, no batch of the chosen name, or a modality that no reference cell has.
        """
        scvi_common.prepare(seed)
        settings = self.hyperparameters
        self.hyperparameters = {**settings, "modality_weights": "equal"}
        batches = design.obs["batch"].astype(str).to_numpy()
        chosen = query_batch(batches, settings["query_batch"])
        self._query_rows, self._reference_rows = np.flatnonzero(batches == chosen), np.flatnonzero(batches != chosen)
        reference, query = design.subset(self._reference_rows), design.subset(self._query_rows)
        for modality in design.modalities:
            if not len(reference.rows[modality]):
                raise InputError(
                    f"multivi-scarches: no cell outside batch {chosen!r} has {modality}; choose another query_batch"
                )
        self._model = self._new_model(reference, encode_covariates=True)
        self._train(self._model, device)
        first = self.epochs or 0

        import scvi

        self._extended = scvi.model.MULTIVI.load_query_data(
            self._data(query), self._model, accelerator="gpu" if device == "cuda" else "cpu"
        )

        # Without weight decay, as the method's authors train the query: frozen weights must not decay either.
        changes = {"weight_decay": 0.0, "max_epochs": settings["query_epochs"] or settings["max_epochs"]}

        def report(epoch: int, total: int, **losses: float) -> None:
            self.progress(first + epoch, first + total, **{f"query_{name}": value for name, value in losses.items()})

        self._train(self._extended, device, report, **changes)
        self.warnings.append(
            f"query batch {chosen} ({len(self._query_rows)} observations); "
            f"{first} epochs on the reference, {self.epochs - first} on the query"
        )

    def embed(self) -> np.ndarray:
        """Means of the joint posterior, observations x latent; see the class for which model gives which rows."""
        size = self.hyperparameters["batch_size"]
        reference, query = scvi_common.latent(self._model, size), scvi_common.latent(self._extended, size)
        values = np.empty((len(reference) + len(query), reference.shape[1]), dtype=np.float32)
        values[self._reference_rows], values[self._query_rows] = reference, query
        return values


def query_batch(batches: np.ndarray, chosen: str | None) -> str:
    """The batch that plays the unseen one.

    Parameters
    ----------
    batches
        Batch of each observation.
    chosen
        Its name, or ``None`` for the batch with the fewest observations, of equals the last by name.

    Raises
    ------
    InputError
        If there are fewer than two batches, or `chosen` is none of them.
    """
    names, sizes = np.unique(batches, return_counts=True)
    if len(names) < 2:
        raise InputError(
            "multivi-scarches: the design has one batch; surgery needs a reference batch and another one to map"
        )
    if chosen is None:
        return str(names[np.flatnonzero(sizes == sizes.min())[-1]])
    if chosen not in names:
        raise InputError(f"multivi-scarches: query_batch {chosen!r} is no batch of the design ({', '.join(names)})")
    return chosen
