"""scMVP as composed here beside the authors' network and trainer (github.com/bm2-lab/scMVP), on the same cells.

    python tests/performance/fidelity/scmvp.py CHECKOUT

Theirs is trained as their 10x notebook does without pre-training (rate 0.005, 15 epochs, batches of 64, 90 % of the
cells), and with the paper's 30 epochs, batches of 128 and 10 dimensions, which is what ours has. ``--only-ours`` shows
which of the differences from the release matter, and trains theirs not.
"""

from __future__ import annotations

import sys
import time
from unittest import mock

import numpy as np
from side_by_side import alternate, compare, designs, parser, seconds

_REMOVED = {"str": str, "int": int, "float": float, "bool": bool, "object": object}


def released(checkout):
    """Their modules; NumPy's removed names are given back to them."""
    for name, kind in _REMOVED.items():
        if name not in np.__dict__:
            setattr(np, name, kind)
    sys.path.insert(0, str(checkout))
    from scMVP.dataset import CellMeasurement, GeneExpressionDataset
    from scMVP.inference import MultiPosterior, MultiTrainer
    from scMVP.models import Multi_VAE_Attention

    return CellMeasurement, GeneExpressionDataset, MultiPosterior, MultiTrainer, Multi_VAE_Attention


def towards_release(epochs: int):
    """Name -> way to embed with what the release has and ours has not."""
    import torch

    from models.networks import scmvp as network
    from models.scmvp import ScMVP

    class DroppedChannel(network.Channel):
        def forward(self, x):
            return torch.nn.functional.dropout(super().forward(x), 0.1, self.training)

    class OneComponent(network.GaussianMixturePrior):
        """All components start equal at zero, and so stay equal."""

        def __init__(self, *sizes):
            super().__init__(*sizes)
            self.means.data.zero_()

        def initialise(self, *_):
            pass

    def way(**parts):
        def embed(visible, seed):
            with mock.patch.multiple(network, **parts):
                model = ScMVP(epochs=epochs)
                model.fit(visible, seed, "cpu")
                return model.embed()

        return embed

    drop, one = {"Channel": DroppedChannel}, {"GaussianMixturePrior": OneComponent}
    gate = network.MaskAttention
    sigmoid = {"MaskAttention": lambda width, **_: gate(width, competing=False)}
    return {
        "ours with drop-out 0.1 after each channel": way(**drop),
        "ours with one component": way(**one),
        "ours with the sigmoid mask in the decoder": way(**sigmoid),
        "ours with all three": way(**drop, **one, **sigmoid),
    }


def main() -> None:
    """Scores, then times."""
    options = parser(__doc__)
    options.add_argument("--epochs", type=int, default=30, help="the paper has 30")
    options.add_argument("--paper-settings-only", action="store_true", help="without their notebook's settings")
    options.add_argument("--only-ours", action="store_true", help="ours, and ours with more of the release")
    arguments = options.parse_args()
    CellMeasurement, GeneExpressionDataset, MultiPosterior, MultiTrainer, Network = released(arguments.checkout)
    import torch

    from models.parts.transforms import tf_idf
    from models.scmvp import ScMVP

    def ours(visible, seed):
        model = ScMVP(epochs=arguments.epochs)
        model.fit(visible, seed, "cpu")
        return model.embed()

    def prepared(visible, seed, n_latent=10, batch_size=128, train_size=1.0):
        atac = tf_idf(visible.counts["atac"]).toarray()
        names = [f"peak{i}" for i in range(atac.shape[1])]
        measurement = CellMeasurement("atac_expression", atac, "atac_names", names)
        data = GeneExpressionDataset()
        rna = visible.counts["rna"].toarray().astype(np.float32)
        data.populate_from_data(X=rna, Ys=[measurement], gene_names=[f"gene{i}" for i in range(rna.shape[1])])
        torch.manual_seed(seed)
        n_centroids = int(visible.uns["n_cell_types"])
        sizes = {"n_batch": 0, "n_latent": n_latent, "n_centroids": n_centroids, "n_alfa": 1.0, "mode": "mm-vae"}
        network = Network(rna.shape[1], atac.shape[1], **sizes)
        loader = {"batch_size": batch_size, "pin_memory": False}
        trainer = MultiTrainer(
            network, data, train_size, 1.0 - train_size, use_cuda=False, seed=seed, data_loader_kwargs=loader
        )
        return data, trainer

    def theirs(visible, seed, n_epochs=arguments.epochs, **settings):
        data, trainer = prepared(visible, seed, **settings)
        trainer.train(n_epochs=n_epochs, lr=5e-3)
        cells = np.arange(len(data))
        full = trainer.create_posterior(trainer.model, data, indices=cells, type_class=MultiPosterior)
        return full.sequential().get_latent()[0]

    def notebook(visible, seed):
        return theirs(visible, seed, 15, n_latent=20, batch_size=64, train_size=0.9)

    if arguments.only != "times":
        ways = {"ours": ours, "theirs": theirs}
        if arguments.only_ours:
            ways = {"ours": ours, **towards_release(arguments.epochs)}
        elif not arguments.paper_settings_only:
            ways["theirs, notebook settings"] = notebook
        compare(
            ways,
            designs(arguments.data or ["bmmc_multiome", "simulated"]),
            arguments.seeds,
            f", {arguments.epochs} epochs",
        )
    if arguments.only != "scores":
        visible, _ = designs(["simulated"])["simulated"]

        def our_epoch():
            taken, model = [], ScMVP(epochs=4)
            model.progress = lambda *_, **__: taken.append(time.perf_counter())
            model.fit(visible, 0, "cpu")
            return float(np.median(np.diff(taken)))

        def their_epoch():
            return seconds(lambda: prepared(visible, 0)[1].train(n_epochs=3, lr=5e-3)) / 3

        alternate({"ours": our_epoch, "theirs": their_epoch}, arguments.repeats, "an epoch of 1,000 cells")


if __name__ == "__main__":
    main()
