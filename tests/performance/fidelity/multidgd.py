"""multiDGD: the release (Center-for-Health-Data-Science/multiDGD) beside our model, on the same cells.

    python tests/performance/fidelity/multidgd.py CHECKOUT [--data simulated] [--unpaired 0.5] [--epochs 150]

Both train for the same number of epochs without early stopping, from the origin, with nine tenths of the paired
cells for training. Cells that lack a modality are inferred afterwards, ten steps each. Where there are such cells, the
release runs twice: as it is, and with the depths matched. As it is, the depths of a mini-batch's cells enter the loss of
one modality with one dimension too many, so that every cell's profile is set against its counts at the depth of each of
the eight cells. Nothing else of the release is changed.
"""

from __future__ import annotations

import sys
import tempfile
import time
from functools import partial

import anndata
import numpy as np
import pandas as pd
import scipy.sparse as sp
import side_by_side
import torch

from models.multidgd import MultiDGD


def annotated(visible, cells: np.ndarray, modalities: list[str], split: np.ndarray) -> anndata.AnnData:
    """The release's input: the given cells, modalities side by side, `split` in ``train_val_test``."""
    blocks = [visible.padded(name)[cells] for name in modalities]
    var = [name for name, block in zip(modalities, blocks) for _ in range(block.shape[1])]
    obs = pd.DataFrame({"train_val_test": split}, index=[f"cell{cell}" for cell in cells])
    batches = visible.obs["batch"].astype(str).to_numpy()
    if len(np.unique(batches)) > 1:
        obs["covariate_batch"] = batches[cells]
    return anndata.AnnData(
        sp.hstack(blocks).tocsr().astype(np.float32),
        obs=obs,
        var=pd.DataFrame({"modality": var}, index=[f"feature{i}" for i in range(len(var))]),
    )


def trained(visible, seed: int, epochs: int, folder: str):
    """Their model, the paired cells, and which of them are held out."""
    import multiDGD

    paired = np.flatnonzero(visible.complete)
    held_out = np.zeros(len(paired), bool)
    held_out[np.random.default_rng(seed).permutation(len(paired))[: len(paired) // 10]] = True
    data = annotated(visible, paired, ["rna", "atac"], np.where(held_out, "validation", "train"))
    options = {"n_components": int(visible.uns["n_cell_types"])}
    model = multiDGD.DGD(data, parameter_dictionary=options, save_dir=folder + "/", random_seed=seed)
    model.train(n_epochs=epochs, train_minimum=epochs + 1)
    return model, paired, held_out


def match_depths(decoder) -> None:
    """Let the release's loss of one modality take each cell's profile at the depth of that cell."""
    loss = decoder.loss

    def matched(output, target, scale=None, **options):
        alike = isinstance(output, torch.Tensor) and output.ndim == 2 and output.shape == target.shape
        return loss(output, target, scale=scale.reshape(-1, 1) if alike else scale, **options)

    decoder.loss = matched


def their_embedding(visible, seed: int, epochs: int, matched: bool = False) -> np.ndarray:
    """Basal representations of all observations."""
    with tempfile.TemporaryDirectory() as folder:
        model, paired, held_out = trained(visible, seed, epochs, folder)
        if matched:
            match_depths(model.decoder)
        embedding = np.zeros((visible.n_obs, model.representation.z.shape[1]), np.float32)
        embedding[paired[~held_out]] = model.representation.z.detach().numpy()
        if held_out.any():
            embedding[paired[held_out]] = model.validation_rep.z.detach().numpy()
        for name in ("rna", "atac"):
            cells = np.flatnonzero(visible.has(name) & ~visible.complete)
            if len(cells):
                model.predict_new(annotated(visible, cells, [name], np.repeat("test", len(cells))), n_epochs=10)
                embedding[cells] = model.test_rep.z.detach().numpy()
    return embedding


def main() -> None:
    """Compare, then time."""
    options = side_by_side.training_parser(__doc__, epochs=150)
    options.add_argument("--unpaired", type=float, default=0.0, help="fraction of the cells that are split")
    options = options.parse_args()
    sys.path.insert(0, str(options.checkout / "src"))
    torch.set_num_threads(1)
    made = side_by_side.designs(options.data or ["simulated", "bmmc_multiome"], options.unpaired)
    ours = side_by_side.fitted(MultiDGD, {"epochs": options.epochs, "patience": options.epochs, **options.ours})

    if options.only != "times":
        ways = {"ours": ours, "theirs": lambda visible, seed: their_embedding(visible, seed, options.epochs)}
        if options.unpaired:
            ways["theirs, depths matched"] = lambda visible, seed: their_embedding(visible, seed, options.epochs, True)
        side_by_side.compare(ways, made, options.seeds, f", {options.unpaired:.0%} unpaired, {options.epochs} epochs")
    if options.only != "scores":
        side_by_side.time_epochs(made, partial(MultiDGD, epochs=12, patience=12), their_epoch, options.repeats)


def their_epoch(visible, n_epochs: int = 10) -> float:
    """CPU seconds of one of their epochs: the difference of a long and a short training."""
    seconds = []
    with tempfile.TemporaryDirectory() as folder:
        for total in (2, 2 + n_epochs):
            start = time.process_time()
            trained(visible, 0, total, folder)
            seconds.append(time.process_time() - start)
    return (seconds[1] - seconds[0]) / n_epochs


if __name__ == "__main__":
    main()
