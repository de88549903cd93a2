"""MultiVI as composed here beside scvi-tools' MULTIVI, which is installed with the project, on the same cells.

    python tests/performance/fidelity/multivi.py [--unpaired 0.75] [--data bmmc_cite --modalities rna protein]

Both train for the same number of epochs at the same rate without early stopping: by default 100 at 0.003, as the studies
of real cells do, in place of the paper's 500 at 0.0001. In a design with unpaired cells the release's adversary tells
modalities apart only if they are in its batch key, as scvi-tools' tutorial has it; "batch alone" is the key of the
model ``multivi`` of the registry.
"""

from __future__ import annotations

from functools import partial

import numpy as np
import side_by_side
import torch

from models.multivi import MultiVI
from models.multivi_native import MultiVINative


class WithModalitiesInBatch(MultiVI):
    """The release with the modalities that a cell has in its batch key."""

    def _data(self, design):
        data = super()._data(design)
        keys = data.obs["batch"].astype(str)
        for modality in design.modalities:
            keys = keys + np.where(design.has(modality), "+", "-")
        data.obs["batch"] = keys.astype("category")
        return data


def main() -> None:
    """Compare, then time."""
    options = side_by_side.training_parser(__doc__, epochs=100, checkout=False)
    options.add_argument("--modalities", nargs="+", default=["rna", "atac"])
    options.add_argument("--unpaired", type=float, default=0.0)
    options.add_argument("--rate", type=float, default=0.003, help="learning rate of both")
    options.add_argument("--warm-up", type=int, default=20, help="epochs in which the KL term rises, of both")
    options.add_argument("--cells", type=int, default=1000, help="simulated cells")
    options.add_argument("--top-peaks", type=float, help="share of the peaks of real data, those with the most counts")
    options = options.parse_args()
    torch.set_num_threads(1)
    made = side_by_side.designs(
        options.data or ["bmmc_multiome", "simulated"],
        options.unpaired,
        tuple(options.modalities),
        options.cells,
        top_peaks=options.top_peaks,
    )
    ours = {"epochs": options.epochs, "patience": options.epochs, "learning_rate": options.rate}
    ours |= {"kl_warmup_epochs": options.warm_up, **options.ours}
    theirs = {"max_epochs": options.epochs, "early_stopping": False, "lr": options.rate}
    theirs |= {"n_epochs_kl_warmup": options.warm_up}
    ways = {"ours": side_by_side.fitted(MultiVINative, ours)}
    if options.unpaired:
        ways["theirs, modalities in the batch key"] = side_by_side.fitted(WithModalitiesInBatch, theirs)
    ways["theirs, batch alone" if options.unpaired else "theirs"] = side_by_side.fitted(MultiVI, theirs)
    if options.only != "times":
        label = f", {options.unpaired:.0%} unpaired, {options.epochs} epochs at {options.rate:g}"
        side_by_side.compare(ways, made, options.seeds, label)
    if options.only != "scores":
        short = partial(MultiVI, **{**theirs, "max_epochs": 12})
        side_by_side.time_epochs(
            made,
            partial(MultiVINative, **{**ours, "epochs": 12}),
            partial(side_by_side.our_epoch, short),
            options.repeats,
        )


if __name__ == "__main__":
    main()
