"""Cobolt: the release (epurdom/cobolt) beside our model, on the same cells.

    python tests/performance/fidelity/cobolt.py CHECKOUT [--data bmmc_cite --modalities rna protein] [--unpaired 0.5]

Needs xgboost beside our environment. Nothing of the release is changed.
"""

from __future__ import annotations

import random
import sys
import time
from functools import partial

import numpy as np
import side_by_side
import torch

from models.cobolt import Cobolt


def release(visible, seed: int):
    """Their model on their data set, and their barcodes in our order. Each batch is one of their data sets."""
    import scipy.sparse as sp

    # A module of scipy that the release names in an annotation and that scipy has since dropped.
    if not hasattr(sp, "csr"):
        sp.csr = type(sp)("scipy.sparse.csr")
        sp.csr.csr_matrix = sp.csr_matrix
    from cobolt.model import Cobolt as Release
    from cobolt.utils import MultiomicDataset, SingleData

    for generator in (random.seed, np.random.seed, torch.manual_seed):
        generator(seed)
    batch = visible.obs["batch"].astype(str).to_numpy()
    barcodes = np.array([f"{batch[i]}~{i}" for i in range(visible.n_obs)])
    parts = []
    for name in visible.modalities:
        rows, counts = visible.rows[name], visible.counts[name].astype(float)
        for value in np.unique(batch[rows]):
            here = np.flatnonzero(batch[rows] == value)
            features = np.array([f"f{i:06d}" for i in range(counts.shape[1])])
            parts.append(SingleData(name, value, features, counts[here], rows[here].astype(str)))
    return Release(dataset=MultiomicDataset.from_singledata(*parts), n_latent=10, device="cpu"), barcodes


def their_embedding(visible, seed: int, epochs: int, evaluation: bool = False) -> np.ndarray:
    """Their corrected latents, in our order; `evaluation` takes the running statistics, which they never do."""
    model, barcodes = release(visible, seed)
    model.train(num_epochs=epochs)
    model.model.train(not evaluation)
    latent, names = model.get_all_latent()
    row = {name: i for i, name in enumerate(names)}
    return latent[[row[name] for name in barcodes]]


def their_epoch(visible, n_epochs: int = 3) -> float:
    """CPU seconds of one of their epochs, after a first one."""
    model, _ = release(visible, 0)
    model.train(num_epochs=1)
    start = time.process_time()
    model.train(n_epochs)
    return (time.process_time() - start) / n_epochs


def main() -> None:
    """Compare, then time."""
    options = side_by_side.training_parser(__doc__, epochs=100)
    options.add_argument("--modalities", nargs=2, default=["rna", "atac"])
    options.add_argument("--unpaired", type=float, default=0.0, help="fraction of the cells that are split")
    options.add_argument("--evaluation", action="store_true", help="theirs in evaluation mode, too")
    options = options.parse_args()
    sys.path.insert(0, str(options.checkout))
    torch.set_num_threads(1)
    made = side_by_side.designs(
        options.data or ["simulated", "bmmc_multiome"], options.unpaired, tuple(options.modalities)
    )
    ours = side_by_side.fitted(Cobolt, {"epochs": options.epochs, **options.ours})

    if options.only != "times":
        ways = {"ours": ours, "theirs": lambda visible, seed: their_embedding(visible, seed, options.epochs)}
        if options.evaluation:
            ways["theirs, evaluation mode"] = lambda visible, seed: their_embedding(visible, seed, options.epochs, True)
        side_by_side.compare(ways, made, options.seeds, f", {options.unpaired:.0%} unpaired, {options.epochs} epochs")
    if options.only != "scores":
        side_by_side.time_epochs(made, partial(Cobolt, epochs=12), their_epoch, options.repeats)


if __name__ == "__main__":
    main()
