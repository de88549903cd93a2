"""DAVAE as composed here beside the authors' classes (github.com/jhu99/scbean), on the same cells.

    python tests/performance/fidelity/davae.py CHECKOUT

Needs tensorflow with tf-keras beside the packages of the main environment. Theirs gets what their preparation makes,
log counts per million of genes and of gene activity, and is trained by its defaults; ours does all of it itself.
"""

from __future__ import annotations

import os
import sys
import time
import types
from functools import partial

import numpy as np
from side_by_side import alternate, both_modalities, compare, designs, parser


def released(checkout):
    """Their module, by Keras 2; the packages' own imports (plotting, umap) are not needed."""
    os.environ.update(TF_USE_LEGACY_KERAS="1", TF_CPP_MIN_LOG_LEVEL="3", CUDA_VISIBLE_DEVICES="")
    import tensorflow

    tensorflow.config.threading.set_intra_op_parallelism_threads(1)
    tensorflow.config.threading.set_inter_op_parallelism_threads(1)
    optimizers = tensorflow.keras.optimizers
    optimizers.Adam = lambda lr: optimizers.legacy.Adam(learning_rate=lr)
    for name, folder in (("scbean", "scbean"), ("scbean.model", "scbean/model"), ("scbean.tools", "scbean/tools")):
        sys.modules[name] = types.ModuleType(name)
        sys.modules[name].__path__ = [str(checkout / folder)]
    sys.modules["scbean.tools.utils"] = types.ModuleType("scbean.tools.utils")
    sys.modules["scbean.tools"].utils = sys.modules["scbean.tools.utils"]
    import scbean.model.davae as davae

    return davae, tensorflow


def main() -> None:
    """Scores, then times."""
    options = parser(__doc__)
    options.add_argument("--apart", action="store_true", help="ours with one thing of the release at a time")
    arguments = options.parse_args()
    davae, tensorflow = released(arguments.checkout)
    from scipy import sparse

    from models.davae import DAVAE
    from models.parts.gene_activity import region_gene_overlap
    from models.parts.transforms import log_normalised

    def ours(visible, seed, **settings):
        model = DAVAE(**settings)
        model.fit(visible, seed, "cpu")
        return model.embed()

    def theirs(visible, seed, kind="DACVAE", weight=1.0, epochs=20, hidden=(128, 64, 32, 5), taken=None):
        tensorflow.keras.utils.set_random_seed(seed)
        overlap = region_gene_overlap(visible.var["atac"], visible.var["rna"])
        kept = np.flatnonzero(np.asarray(overlap.sum(axis=0)).ravel() > 0)
        activity = sparse.csr_matrix(visible.counts["atac"] @ overlap[:, kept])
        rna = log_normalised(visible.counts["rna"], 1e6)[:, kept].toarray()
        x = np.concatenate([rna, log_normalised(activity, 1e6).toarray()])
        domain = np.eye(2, dtype=np.float32)[(np.arange(len(x)) >= len(rna)).astype(int)]
        network = getattr(davae, kind)(x.shape[1], 2, weight, list(hidden))
        network.build()
        network.compile()
        order = np.random.default_rng(seed).permutation(len(x))
        ones = np.ones(len(x), np.float32)
        network.train(x[order], domain[order], ones, batch_size=128, epochs=1)
        started = time.perf_counter()
        network.train(x[order], domain[order], ones, batch_size=128, epochs=epochs - 1)
        if taken is not None:
            taken.append((time.perf_counter() - started) / (epochs - 1))
        codes = network.get_output(x, domain)[0]
        return both_modalities(visible, dict(zip(("rna", "atac"), np.split(codes, [len(rna)]))))

    inputs, term = {"inputs": "counts_per_million"}, {"released": True}
    rate, weight = {"epochs": 60, "learning_rate": 0.01}, {"domain_scale": 3.0}
    whole = {**inputs, **term, **rate, **weight, "n_latent": 5}

    def ours_released(visible, seed):
        return ours(visible, seed, **whole)

    def unconditional(visible, seed):
        return theirs(visible, seed, "DAVAE", 3.0, 60)

    if arguments.only != "times":
        ways = {"ours, released": ours_released, "theirs: DAVAE, weight 3, 60 epochs": unconditional}
        ways |= {"ours": ours, "theirs": theirs}
        if arguments.apart:
            changed = {
                "ours": {},
                "with its Gaussian term and layers": term,
                "with its rate and epochs": rate,
                "with a classifier of 3 D": weight,
                "with its inputs": inputs,
                "with its inputs, term and layers": {**inputs, **term},
                "as released": whole,
                "as released, with the likelihood and our layers": {**whole, "released": False},
            }
            ways = {name: partial(ours, **settings) for name, settings in changed.items()}
        made = designs(arguments.data or ["simulated"], 0.5)
        compare(ways, made, arguments.seeds, ", half unpaired")
    if arguments.only != "scores":
        visible, _ = designs(["simulated"], 0.5)["simulated"]

        def our_epoch():
            taken, model = [], DAVAE(epochs=6)
            model.progress = lambda *_, **__: taken.append(time.perf_counter())
            model.fit(visible, 0, "cpu")
            return float(np.median(np.diff(taken)))

        def their_epoch():
            taken = []
            theirs(visible, 0, epochs=6, taken=taken)
            return taken[0]

        alternate({"ours": our_epoch, "theirs": their_epoch}, arguments.repeats, "an epoch of 2,000 observations")


if __name__ == "__main__":
    main()
