"""Portal as composed here beside the authors' class (github.com/YangLabHKUST/Portal), on the same components.

    python tests/performance/fidelity/portal.py CHECKOUT

The joint principal components are made once and given to both; their ``preprocess`` does not run with pandas 2.
"""

from __future__ import annotations

import sys
import tempfile
import time
import types

import numpy as np
from side_by_side import alternate, both_modalities, compare, designs, parser, seconds


def released(checkout):
    """Their class. The package imports rpy2 and tables for functions that are not used here: its parts are taken alone."""
    package = types.ModuleType("portal")
    package.__path__ = [str(checkout / "portal")]
    sys.modules["portal"] = package
    sys.modules.setdefault("tables", types.ModuleType("tables"))
    from portal.model import Model

    return Model


def main() -> None:
    """Scores, then times."""
    options = parser(__doc__)
    options.add_argument("--steps", type=int, default=2000, help="training steps; the release has 2000")
    options.add_argument("--batch-size", type=int, default=500, help="cells of each modality; the release has 500")
    arguments = options.parse_args()
    Model = released(arguments.checkout)

    from models.portal import Portal

    def ours(visible, seed):
        model = Portal(n_iterations=arguments.steps, batch_size=arguments.batch_size)
        model.fit(visible, seed, "cpu")
        return model.embed()

    def prepared(visible, seed, steps):
        model = Portal(n_iterations=20)
        model.fit(visible, seed, "cpu")
        paths = {"model_path": folder, "data_path": folder, "result_path": folder}
        theirs = Model(arguments.batch_size, steps, seed, **paths)
        theirs.emb_A, theirs.emb_B = model.data.first.numpy(), model.data.second.numpy()
        theirs.npcs = theirs.emb_A.shape[1]
        return theirs

    def theirs(visible, seed):
        model = prepared(visible, seed, arguments.steps)
        model.train()
        model.eval()
        split = np.split(model.latent, [len(model.emb_A)])
        return both_modalities(visible, dict(zip(("rna", "atac"), split)))

    with tempfile.TemporaryDirectory() as folder:
        if arguments.only != "times":
            ways = {"ours": ours, "theirs": theirs}
            made = designs(arguments.data or ["bmmc_multiome", "simulated"], 0.5)
            compare(ways, made, arguments.seeds, f", half unpaired, {arguments.steps} steps of {arguments.batch_size}")
        if arguments.only != "scores":
            visible, _ = designs(["simulated"])["simulated"]
            model = prepared(visible, 0, 100)

            def our_step():
                fresh, taken = Portal(n_iterations=100, batch_size=arguments.batch_size), []
                fresh.progress = lambda *_, **__: taken.append(time.perf_counter())
                fresh.fit(visible, 0, "cpu")
                return float(np.median(np.diff(taken))) / 20

            def their_step():
                return seconds(model.train) / 100

            alternate(
                {"ours": our_step, "theirs": their_step}, arguments.repeats, f"a step of {arguments.batch_size} cells"
            )


if __name__ == "__main__":
    main()
