"""The random forest imputer: weights over the complete cells from the leaves that they share with a query."""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp

from models.base import Declaration
from models.imputers import BLOCK_DEFAULTS, BLOCK_ORIGINS, MODALITY_SETS, Imputer


class RandomForestImputer(Imputer):
    """A random forest from the components that an observation has to those that it lacks.

    A forest's regression is a weighted mean of its training targets: ``w_j`` is the average over trees of the number of
    times that cell j was drawn for the tree, over that of all cells in the query's leaf, where j shares this leaf
    (Meinshausen 2006, Quantile regression forests, equation 4 with the bootstrap's repeats counted). The weights
    give counts without a detour through components, and the standard deviation.
    """

    declaration = Declaration(
        name="random-forest-imputer",
        title="Random forest imputer",
        version=2,
        summary="Absent modalities by a random forest trained on the complete cells; joint PCA of the completed data.",
        kind="composed",
        paper="Breiman 2001, Random forests, 10.1023/A:1010933404324",
        modality_sets=MODALITY_SETS,
        unpaired=True,
        predicts=True,
        uncertainty=True,
        defaults={**BLOCK_DEFAULTS, "n_trees": 100, "min_leaf": 5, "max_features": 1 / 3},
        origins={
            **BLOCK_ORIGINS,
            "n_trees": "scikit-learn 1.9.1, RandomForestRegressor",
            "min_leaf": "Breiman's R package randomForest: 5 in regression",
            "max_features": "Breiman's R package randomForest: a third in regression",
        },
    )

    @classmethod
    def load_packages(cls) -> None:
        """Import scikit-learn."""
        import sklearn.ensemble  # noqa: F401

    def _weights(self, source: np.ndarray, query: np.ndarray, target: np.ndarray, seed: int) -> sp.csr_matrix:
        self.forest = self._grow(source, target, seed)
        total = sp.csr_matrix((len(query), len(source)))
        for tree, drawn in zip(self.forest.estimators_, self.forest.estimators_samples_):
            leaves = tree.apply(source.astype(np.float32))
            times = np.bincount(drawn, minlength=len(source)).astype(float)
            size = np.bincount(leaves, weights=times, minlength=tree.tree_.node_count)
            cells = np.flatnonzero(times)
            shares = sp.csr_matrix(
                (times[cells] / size[leaves[cells]], (leaves[cells], cells)), shape=(len(size), len(source))
            )
            total = total + shares[tree.apply(query.astype(np.float32))]
        return sp.csr_matrix(total / len(self.forest.estimators_))

    def _grow(self, source: np.ndarray, target: np.ndarray, seed: int):
        """A forest trained from `source` to `target`."""
        from sklearn.ensemble import RandomForestRegressor

        settings = self.hyperparameters
        forest = RandomForestRegressor(
            n_estimators=settings["n_trees"],
            min_samples_leaf=settings["min_leaf"],
            max_features=settings["max_features"],
            random_state=int(seed),
            n_jobs=1,
        )
        return forest.fit(source, target[:, 0] if target.shape[1] == 1 else target)
