"""SCALEX as composed here beside the authors' function (github.com/jsxlei/SCALEX), on the same scaled matrix.

    python tests/performance/fidelity/scalex.py CHECKOUT

Genes and proteins stand side by side, log-normalised within their modality; their own code scales and trains. Their
function encodes with batch normalisation in training mode unless it is told ``eval=True``: both are shown.
"""

from __future__ import annotations

import sys
import tempfile
import time

import numpy as np
from side_by_side import alternate, compare, designs, parser, seconds


def main() -> None:
    """Scores, then times."""
    options = parser(__doc__)
    options.add_argument("--iterations", type=int, default=30_000, help="most training steps; the release has 30,000")
    arguments = options.parse_args()
    sys.path.insert(0, str(arguments.checkout))
    import anndata
    from scalex.function import SCALEX as released
    from scipy import sparse

    from models.parts.transforms import log_normalised
    from models.scalex import SCALEX

    def ours(visible, seed, **settings):
        model = SCALEX(n_iterations=arguments.iterations, **settings)
        model.fit(visible, seed, "cpu")
        return model.embed()

    def prepared(visible):
        x = sparse.hstack([log_normalised(visible.counts[name]) for name in ("rna", "protein")]).tocsr()
        batch = visible.obs["batch"].astype(str).to_numpy()
        whole = anndata.AnnData(x, obs=visible.obs[["batch"]].astype(str))
        parts = [whole[batch == name].copy() for name in np.unique(batch)]
        return whole.obs_names, parts, list(np.unique(batch))

    def theirs(visible, seed, evaluation=False, iterations=None):
        names, parts, batches = prepared(visible)
        with tempfile.TemporaryDirectory() as folder:
            result = released(
                parts,
                batch_categories=batches,
                processed=True,
                min_features=0,
                min_cells=0,
                max_iteration=iterations or arguments.iterations,
                seed=seed,
                outdir=folder,
                ignore_umap=True,
                show=False,
                num_workers=0,
                eval=evaluation,
            )
        # Their function appends the batch to the names and orders by batch.
        found = {str(name): row for name, row in zip(result.obs_names, result.obsm["latent"])}
        batch = visible.obs["batch"].astype(str).to_numpy()
        keys = [name if name in found else f"{name}-{own}" for name, own in zip(names.astype(str), batch)]
        return np.stack([found[key] for key in keys]).astype(np.float32)

    def theirs_evaluated(visible, seed):
        return theirs(visible, seed, True)

    if arguments.only != "times":
        ways = {"ours": ours, "theirs": theirs, "theirs, eval=True": theirs_evaluated}
        made = designs(arguments.data or ["bmmc_cite", "simulated"], 0.0, ("rna", "protein"))
        compare(ways, made, arguments.seeds, f", at most {arguments.iterations} steps")
    if arguments.only != "scores":
        visible, _ = designs(["simulated"], 0.0, ("rna", "protein"))["simulated"]
        epochs, per_epoch = 6, visible.n_obs // 64

        def our_epoch():
            taken, model = [], SCALEX(n_iterations=epochs * (per_epoch + 1))
            model.progress = lambda *_, **__: taken.append(time.perf_counter())
            model.fit(visible, 0, "cpu")
            return float(np.median(np.diff(taken)))

        def their_epoch():
            long = seconds(theirs, visible, 0, False, 2 * epochs * per_epoch)
            return (long - seconds(theirs, visible, 0, False, epochs * per_epoch)) / epochs

        alternate({"ours": our_epoch, "theirs": their_epoch}, arguments.repeats, "an epoch of 1,000 cells")


if __name__ == "__main__":
    main()
