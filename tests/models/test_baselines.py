"""The linear baselines, the topic model and the imputers against independent computations."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp

from models.cca import CanonicalCorrelation, canonical_correlation
from models.concatenated_pca import ConcatenatedPCA
from models.forest_imputer import RandomForestImputer
from models.imputers import KNNImputer
from models.parts.latent_dirichlet import LatentDirichletAllocation
from models.preprocessing import block_components, log_normalise, tf_idf
from models.scai import initial_state, objective, rescale, update
from models.single_views import ATACLatentSemanticIndexing, ProteinPrincipalComponents, RNAPrincipalComponents
from models.topics import TopicModel, TopicsAndRNA


def same_up_to_sign(values: np.ndarray, reference: np.ndarray) -> None:
    signs = np.sign((values * reference).sum(axis=0))
    np.testing.assert_allclose(values * signs, reference, atol=1e-3 * np.abs(reference).max())


class TestSingleViews:
    def test_rna_is_sklearns_pca(self, make):
        from sklearn.decomposition import PCA

        design, _ = make(("rna",), 0.0, 120)
        model = RNAPrincipalComponents(n_latent=5)
        model.fit(design, 0, "cpu")
        dense = log_normalise(design.counts["rna"]).toarray()
        same_up_to_sign(model.embed(), PCA(5, svd_solver="full").fit_transform(dense))

    def test_protein_is_sklearns_pca_of_centred_log_ratios(self, make):
        from sklearn.decomposition import PCA

        design, _ = make(("protein",), 0.0, 120)
        model = ProteinPrincipalComponents(n_latent=4)
        model.fit(design, 0, "cpu")
        logs = np.log1p(design.counts["protein"].toarray())
        same_up_to_sign(model.embed(), PCA(4, svd_solver="full").fit_transform(logs - logs.mean(axis=1, keepdims=True)))

    def test_atac_is_the_svd_of_the_tf_idf(self, make):
        design, _ = make(("atac",), 0.0, 120)
        model = ATACLatentSemanticIndexing(n_latent=4)
        model.fit(design, 0, "cpu")
        left, singular, _ = np.linalg.svd(tf_idf(design.counts["atac"]).toarray(), full_matrices=False)
        depth = np.log1p(design.counts["atac"].getnnz(axis=1))
        first = int(abs(np.corrcoef(left[:, 0], depth)[0, 1]) >= 0.5)
        scores = (left * singular)[:, first : first + 4]
        same_up_to_sign(model.embed(), scores - scores.mean(axis=0))


class TestConcatenatedPCA:
    def test_is_sklearns_pca_of_all_features(self, make):
        from sklearn.decomposition import PCA

        design, _ = make(("rna", "atac", "protein"), 0.0, 120)
        model = ConcatenatedPCA(n_latent=5)
        model.fit(design, 0, "cpu")
        dense = np.hstack([log_normalise(design.counts[m]).toarray() for m in ("rna", "atac", "protein")])
        same_up_to_sign(model.embed(), PCA(5, svd_solver="full").fit_transform(dense))

    def test_modalities_are_not_balanced(self, make):
        """Repeating every peak ten times adds nothing that was not known, and draws this embedding away from RNA's."""
        import pandas as pd

        design, _ = make(("rna", "atac"), 0.0, 120)
        names = pd.Index([f"peak_{i}" for i in range(10 * design.counts["atac"].shape[1])], dtype=object)
        wide = type(design)(
            design.obs,
            {"rna": design.counts["rna"], "atac": sp.csr_matrix(sp.hstack([design.counts["atac"]] * 10))},
            {"rna": design.var["rna"], "atac": pd.DataFrame(index=names)},
        )
        rna = RNAPrincipalComponents(n_latent=3)
        rna.fit(design, 0, "cpu")
        agreement = []
        for data in (design, wide):
            model = ConcatenatedPCA(n_latent=3)
            model.fit(data, 0, "cpu")
            agreement.append(_shared_variance(rna.embed(), model.embed()))
        assert agreement[1] < agreement[0] - 0.1, agreement


def _shared_variance(first: np.ndarray, second: np.ndarray) -> float:
    """Mean squared canonical correlation."""
    bases = [np.linalg.qr(values - values.mean(axis=0))[0] for values in (first, second)]
    return float((np.linalg.svd(bases[0].T @ bases[1], compute_uv=False) ** 2).mean())


class TestCCA:
    def test_correlations_are_the_textbooks(self):
        """Singular values of the product of the blocks' orthonormal bases (Bjorck and Golub 1973)."""
        generator = np.random.default_rng(0)
        shared = generator.normal(size=(300, 2))
        first = np.hstack([shared, generator.normal(size=(300, 3))]) @ generator.normal(size=(5, 5))
        second = np.hstack([shared + generator.normal(size=(300, 2)), generator.normal(size=(300, 2))])
        first, second = first - first.mean(axis=0), second - second.mean(axis=0)
        a, b, correlations = canonical_correlation(first, second)
        bases = np.linalg.qr(first)[0], np.linalg.qr(second)[0]
        np.testing.assert_allclose(correlations, np.linalg.svd(bases[0].T @ bases[1], compute_uv=False), atol=1e-8)
        u, v = first @ a, second @ b
        np.testing.assert_allclose(u.T @ u / 300, np.eye(4), atol=1e-8)
        np.testing.assert_allclose(v.T @ v / 300, np.eye(4), atol=1e-8)
        np.testing.assert_allclose(u.T @ v / 300, np.diag(correlations), atol=1e-8)

    def test_first_variate_is_sklearns(self):
        from sklearn.cross_decomposition import CCA

        generator = np.random.default_rng(1)
        shared = generator.normal(size=(300, 1))
        first, second = (shared @ generator.normal(size=(1, 4)) + generator.normal(size=(300, 4)) for _ in range(2))
        first, second = first - first.mean(axis=0), second - second.mean(axis=0)
        a, b, _ = canonical_correlation(first, second)
        u, v = CCA(n_components=1, max_iter=5000, tol=1e-12).fit_transform(first, second)
        assert abs(np.corrcoef(u[:, 0], first @ a[:, 0])[0, 1]) > 0.9999
        assert abs(np.corrcoef(v[:, 0], second @ b[:, 0])[0, 1]) > 0.9999

    def test_embedding_is_the_posterior_mean(self, make):
        """Against the conditional mean of the joint Gaussian of the shared variable, u and v."""
        design, _ = make(("rna", "protein"), 0.5, 120)
        model = CanonicalCorrelation(n_latent=3, shrinkage=0.0)
        model.fit(design, 0, "cpu")
        blocks = [block_components(design, m, 30, 2000, 0) for m in ("rna", "protein")]
        paired = np.flatnonzero(design.complete)
        local = [np.searchsorted(design.rows[m], paired) for m in ("rna", "protein")]
        centred = [block - block[rows].mean(axis=0) for block, rows in zip(blocks, local)]
        a, b, correlations = canonical_correlation(centred[0][local[0]], centred[1][local[1]])
        for k in range(3):
            r = correlations[k]
            # Covariances under the model: var(z) = 1, cov(z, u) = cov(z, v) = sqrt(r), cov(u, v) = r.
            both = np.linalg.solve(np.array([[1, r], [r, 1]]), np.sqrt([r, r]))
            u, v = centred[0] @ a[:, k], centred[1] @ b[:, k]
            expected = both[0] * u[local[0]] + both[1] * v[local[1]]
            np.testing.assert_allclose(model.embed()[paired, k], expected, atol=1e-4)
            alone = ~design.has("protein")
            rows = np.searchsorted(design.rows["rna"], np.flatnonzero(alone))
            np.testing.assert_allclose(model.embed()[alone, k], np.sqrt(r) * u[rows], atol=1e-4)

    def test_shrinkage_keeps_noise_from_correlating(self):
        generator = np.random.default_rng(2)
        first, second = generator.normal(size=(40, 30)), generator.normal(size=(40, 30))
        assert canonical_correlation(first, second)[2][0] > 0.99
        assert canonical_correlation(first, second, 0.5)[2][0] < 0.8


def topic_counts(n_cells: int = 60, n_features: int = 40, seed: int = 0) -> sp.csr_matrix:
    generator = np.random.default_rng(seed)
    topics = generator.dirichlet(np.full(n_features, 0.1), 3)
    shares = generator.dirichlet(np.full(3, 0.3), n_cells)
    return sp.csr_matrix(generator.poisson(50 * shares @ topics).astype(float))


class TestTopics:
    def test_cells_given_topics_are_sklearns(self):
        """With the topics held fixed, the cells' variational parameters and the bound are scikit-learn's."""
        from sklearn.decomposition import LatentDirichletAllocation as Reference

        counts = topic_counts()
        model = LatentDirichletAllocation(counts, 3, 0.5, 0.1, np.random.default_rng(0))
        for _ in range(20):
            model.step()
        for _ in range(500):
            model.step(update_topics=False)
        reference = Reference(
            3, doc_topic_prior=0.5, topic_word_prior=0.1, max_doc_update_iter=2000, mean_change_tol=1e-10, max_iter=1
        ).fit(counts)
        reference.components_ = model.topics
        log_means = np.exp(_log_mean(model.topics))
        reference.exp_dirichlet_component_ = log_means
        np.testing.assert_allclose(model.proportions(), reference.transform(counts), atol=1e-4)
        assert model.bound() == pytest.approx(reference.score(counts), rel=1e-5)

    def test_bound_never_falls_and_topics_are_found(self):
        counts = topic_counts()
        model = LatentDirichletAllocation(counts, 3, 0.5, 0.1, np.random.default_rng(1))
        bounds = [model.bound()]
        for _ in range(60):
            model.step()
            bounds.append(model.bound())
        assert np.all(np.diff(bounds) > -1e-8 * np.abs(bounds[1:]))
        assert bounds[-1] > bounds[0]
        from sklearn.decomposition import LatentDirichletAllocation as Reference

        best = max(
            Reference(3, doc_topic_prior=0.5, topic_word_prior=0.1, max_iter=60, random_state=seed)
            .fit(counts)
            .score(counts)
            for seed in range(3)
        )
        assert bounds[-1] > best - 0.02 * abs(best)

    def test_embedding_is_standardised_within_cells(self, make):
        design, _ = make(("atac",), 0.0, 60)
        model = TopicModel(n_topics=5, n_iterations=25)
        model.fit(design, 0, "cpu")
        np.testing.assert_allclose(model.embed().mean(axis=1), 0, atol=1e-5)
        np.testing.assert_allclose(model.embed().std(axis=1), 1, atol=1e-4)
        perplexity = model.loss_history["perplexity"]
        assert len(perplexity) == 3 and perplexity[-1] < perplexity[0]

    def test_counts_are_binarised(self, make):
        design, _ = make(("atac",), 0.0, 60)
        doubled = type(design)(design.obs, {"atac": design.counts["atac"] * 2}, design.var)
        first, second = TopicModel(n_iterations=5), TopicModel(n_iterations=5)
        first.fit(design, 0, "cpu")
        second.fit(doubled, 0, "cpu")
        np.testing.assert_array_equal(first.embed(), second.embed())

    def test_join_gives_both_blocks_the_same_weight(self, make):
        design, _ = make(("rna", "atac"), 0.0, 60)
        model = TopicsAndRNA(n_topics=5, n_iterations=10, n_components=7)
        model.fit(design, 0, "cpu")
        assert model.embed()[:, :7].var(axis=0).sum() == pytest.approx(1, rel=1e-4)
        assert model.embed()[:, 7:].var(axis=0).sum() == pytest.approx(1, rel=1e-4)


def _log_mean(parameters: np.ndarray) -> np.ndarray:
    from scipy.special import psi

    return psi(parameters) - psi(parameters.sum(axis=1, keepdims=True))


class TestScAI:
    def state(self, penalty: float):
        generator = np.random.default_rng(0)
        first = sp.csr_matrix(generator.poisson(1.0, (30, 40)).astype(float))
        second = sp.csr_matrix((generator.uniform(size=(50, 40)) < 0.2).astype(float))
        return initial_state(first, second, 4, 0.25, generator), first, second, (1.0, penalty, 1.0)

    @pytest.mark.parametrize("penalty", [0.0, 10.0, 100.0])
    def test_objective_falls(self, penalty):
        """Far below that of the start; and the updates of W1, W2 and Z, which are quadratic problems, never raise it."""
        state, first, second, weights = self.state(penalty)
        gram = (second.T @ second).toarray()
        rescale(state)
        start = objective(state, first, second, *weights)
        for _ in range(60):
            rescale(state)
            before = {key: value.copy() for key, value in state.items()}
            update(state, first, second, gram, *weights)
            at = dict(before)
            for name in ("W1", "W2", "H", "Z"):
                level = objective(at, first, second, *weights)
                at[name] = state[name]
                if name != "H":
                    assert objective(at, first, second, *weights) <= level * (1 + 1e-9), name
        assert objective(state, first, second, *weights) < 0.5 * start

    def test_rescaling_keeps_the_products(self):
        state, *_ = self.state(1.0)
        before = {name: state[name] @ state["H"] for name in ("W1", "W2")}
        rescale(state)
        np.testing.assert_allclose(state["H"].sum(axis=1), 1)
        for name, product in before.items():
            np.testing.assert_allclose(state[name] @ state["H"], product)

    @pytest.mark.parametrize("name", ["W1", "W2", "H", "Z"])
    def test_updates_go_down_the_gradient(self, name):
        """An update goes down along the numerical gradient: entries with a positive one shrink."""
        state, first, second, weights = self.state(100.0)
        gram = (second.T @ second).toarray()
        for _ in range(3):
            update(state, first, second, gram, *weights)
        # The order of updates within a step: what comes before `name` has to be at its new value.
        order = ["W1", "W2", "H", "Z"]
        before = {key: value.copy() for key, value in state.items()}
        update(state, first, second, gram, *weights)
        at = {key: state[key] if key in order[: order.index(name)] else before[key] for key in before}
        generator = np.random.default_rng(1)
        for index in zip(*(generator.integers(0, size, 12) for size in before[name].shape)):
            gradient = 0.0
            for sign in (1, -1):
                shifted = {key: value.copy() for key, value in at.items()}
                step = 1e-5 * max(shifted[name][index], 1e-3)
                shifted[name][index] += sign * step
                gradient += sign * objective(shifted, first, second, *weights) / (2 * step)
            ratio = state[name][index] / before[name][index]
            if abs(ratio - 1) > 1e-4:
                assert (ratio < 1) == (gradient > 0)


class TestImputers:
    def components(self, design):
        blocks = {}
        for modality in design.modalities:
            scores = block_components(design, modality, 30, 2000, 0)
            blocks[modality] = scores / np.sqrt(scores.var(axis=0).sum())
        return blocks

    def test_nearest_neighbours_by_hand(self, make):
        design, _ = make(("rna", "protein"), 0.5, 120)
        model = KNNImputer(n_neighbors=4)
        model.fit(design, 0, "cpu")
        prediction = model.predict("protein")
        blocks, paired = self.components(design), np.flatnonzero(design.complete)
        position = {row: i for i, row in enumerate(design.rows["rna"])}
        in_protein = {row: i for i, row in enumerate(design.rows["protein"])}
        for place in (0, 5, len(prediction.rows) - 1):
            query = blocks["rna"][position[prediction.rows[place]]]
            distances = [np.linalg.norm(query - blocks["rna"][position[row]]) for row in paired]
            nearest = paired[np.argsort(distances)[:4]]
            counts = np.stack([design.counts["protein"][in_protein[row]].toarray()[0] for row in nearest])
            np.testing.assert_allclose(prediction.mean[place], counts.mean(axis=0), rtol=1e-5)
            np.testing.assert_allclose(prediction.deviation[place], counts.std(axis=0), rtol=1e-4, atol=1e-4)

    def test_units_of_rna_and_atac(self, make):
        design, _ = make(("rna", "atac"), 0.5, 120)
        model = KNNImputer()
        model.fit(design, 0, "cpu")
        median = np.median(np.asarray(design.counts["rna"].sum(axis=1)))
        np.testing.assert_allclose(model.predict("rna").mean.sum(axis=1), median, rtol=1e-4)
        atac = model.predict("atac").mean
        np.testing.assert_allclose(atac * 15, np.round(atac * 15), atol=1e-4)

    def test_forest_weights_give_the_forests_own_predictions(self, make):
        design, _ = make(("rna", "atac"), 0.5, 120)
        model = RandomForestImputer(n_trees=10)
        generator = np.random.default_rng(0)
        source, query, target = (generator.normal(size=shape) for shape in ((80, 5), (30, 5), (80, 4)))
        weights = model._weights(source, query, target, 3)
        np.testing.assert_allclose(np.asarray(weights.sum(axis=1)).ravel(), 1)
        np.testing.assert_allclose(weights @ target, model.forest.predict(query), atol=1e-8)

    @pytest.mark.parametrize("model_type", [KNNImputer, RandomForestImputer])
    def test_a_feature_of_one_value_is_predicted_without_doubt(self, make, model_type):
        design, _ = make(("rna", "protein"), 0.5, 120)
        # 15 times a fifteenth of 9 is not 9 in floating point, nor is the variance then 0.
        values = np.array([3, 7, 9, 11, 13, 101])
        counts = design.counts["protein"].tolil()
        counts[:, : len(values)] = np.tile(values, (counts.shape[0], 1))
        design.counts["protein"] = counts.tocsr()
        model = model_type()
        model.fit(design, 0, "cpu")
        prediction = model.predict("protein")
        np.testing.assert_allclose(prediction.mean[:, :6], np.tile(values, (len(prediction.mean), 1)), rtol=1e-6)
        np.testing.assert_array_equal(prediction.deviation[:, :6], 0)
        assert (prediction.deviation[:, 6:] > 0.1).any()

    @pytest.mark.parametrize("model_type", [KNNImputer, RandomForestImputer])
    def test_prediction_beats_the_mean(self, make, model_type):
        design, truth = make(("rna", "protein"), 0.5, 240, 2.0)
        model = model_type()
        model.fit(design, 0, "cpu")
        prediction = model.predict("protein")
        np.testing.assert_array_equal(prediction.rows, truth.rows["protein"])
        withheld = truth.counts["protein"].toarray()
        error = ((prediction.mean - withheld) ** 2).mean()
        assert error < 0.5 * ((withheld - design.counts["protein"].toarray().mean(axis=0)) ** 2).mean()

    def test_three_modalities_use_all_that_is_there(self, make):
        design, _ = make(("rna", "atac", "protein"), 0.5, 120)
        model = KNNImputer(n_neighbors=3)
        model.fit(design, 0, "cpu")
        for modality in design.modalities:
            prediction = model.predict(modality)
            np.testing.assert_array_equal(prediction.rows, np.flatnonzero(~design.has(modality)))
            assert np.all(prediction.mean.sum(axis=1) > 0)

    def test_too_few_complete_cells(self, make):
        design, _ = make(("rna", "atac"), 0.95, 40)
        with pytest.raises(ValueError, match="at least 3 complete cells; the design has 2"):
            KNNImputer().fit(design, 0, "cpu")
