"""The wrappers of scvi-tools: the package gets what it should, and gives back what it gives without us."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from benchmarks.errors import InputError
from models.multivi import MultiVI
from models.multivi_scarches import MultiVIScArches, query_batch
from models.scvi_single import SCVI, PeakVI
from models.totalvi_scvi import TotalVI


def package_embedding(kind: str, design, seed: int, epochs: int) -> np.ndarray:
    """The package called directly, as its documentation does."""
    import anndata
    import scvi

    scvi.settings.seed = seed
    modality, model_type, options = {
        "scvi": ("rna", scvi.model.SCVI, {"plan_kwargs": {"lr": 1e-3}, "early_stopping": True}),
        "peakvi": ("atac", scvi.model.PEAKVI, {}),
    }[kind]
    data = anndata.AnnData(design.counts[modality].copy(), obs=design.obs[["batch"]].astype(str))
    model_type.setup_anndata(data, batch_key="batch")
    model = model_type(data)
    options |= {"accelerator": "cpu", "devices": 1, "check_val_every_n_epoch": 1, "enable_progress_bar": False}
    model.train(max_epochs=epochs, enable_checkpointing=False, **options)
    return model.get_latent_representation()


@pytest.mark.parametrize(("name", "model_type", "modality"), [("scvi", SCVI, "rna"), ("peakvi", PeakVI, "atac")])
def test_single_modality_is_the_package_with_its_defaults(make, name, model_type, modality):
    design, _ = make((modality,), 0.0, 60)
    model = model_type(max_epochs=3)
    model.fit(design, 4, "cpu")
    np.testing.assert_allclose(model.embed(), package_embedding(name, design, 4, 3), atol=1e-5)
    assert model.epochs == 3
    assert set(model.loss_history) == {"train", "validation", "validation_reconstruction"}
    assert all(len(losses) == 3 for losses in model.loss_history.values())


@pytest.mark.parametrize("model_type", [SCVI, TotalVI])
def test_early_stop_is_said(make, model_type):
    design, _ = make(("rna", "protein")[: len(model_type.declaration.modality_sets[0])], 0.0, 60)
    model = model_type(max_epochs=60, patience=1)
    model.fit(design, 0, "cpu")
    assert model.epochs < 60
    assert model.warnings == [f"stopped early after {model.epochs} of 60 epochs"]


@pytest.mark.parametrize(
    ("weights", "penalty"), itertools.product(("equal", "universal", "cell"), ("Jeffreys", "MMD", "None"))
)
def test_all_combinations_of_weights_and_penalty_train_with_protein(make, weights, penalty):
    design, _ = make(("rna", "protein"), 0.5, 40)
    model = MultiVI(max_epochs=1, modality_weights=weights, modality_penalty=penalty)
    model.fit(design, 0, "cpu")
    assert np.isfinite(model.embed()).all()
    module = model._model.module
    assert (module.modality_weights, module.modality_penalty) == (weights, penalty)
    shape = {"equal": (3,), "universal": (3,), "cell": (design.n_obs, 3)}[weights]
    assert tuple(module.mod_weights.shape) == shape
    assert (weights == "equal") == ("mod_weights" not in dict(module.named_parameters()))


def test_configured_variants_are_the_nine_combinations(root):
    import yaml

    variants = yaml.safe_load((root / "config" / "models.yaml").read_text(encoding="utf-8"))
    found = {("equal", "Jeffreys")}
    for entry in variants.values():
        settings = entry.get("hyperparameters", {})
        if entry["model"] == "multivi" and set(settings) <= {"modality_weights", "modality_penalty"}:
            MultiVI(**settings)
            found.add((settings.get("modality_weights", "equal"), settings.get("modality_penalty", "Jeffreys")))
    assert found == set(itertools.product(("equal", "universal", "cell"), ("Jeffreys", "MMD", "None")))


class TestScArches:
    def test_reference_does_not_see_the_query(self, make):
        """The reference's embedding is a MULTIVI's that was trained on the reference batch alone."""
        design, _ = make(("rna", "atac"), 0.0, 60)
        model = MultiVIScArches(max_epochs=2, query_batch="b1")
        model.fit(design, 3, "cpu")
        batches = design.obs["batch"].astype(str).to_numpy()
        alone = design.subset(np.flatnonzero(batches == "b2"))
        other = MultiVIScArches(max_epochs=2)
        other.hyperparameters["modality_weights"] = "equal"
        from models import scvi_common

        scvi_common.prepare(3)
        package = other._new_model(alone, encode_covariates=True)
        other._train(package, "cpu")
        np.testing.assert_array_equal(model.embed()[batches == "b2"], scvi_common.latent(package, 128))

    def test_surgery_leaves_the_reference_weights(self, make):
        """Of the query's model only inputs that the reference had not have moved."""
        design, _ = make(("rna", "atac"), 0.5, 60)
        model = MultiVIScArches(max_epochs=2, query_epochs=4)
        model.fit(design, 3, "cpu")
        before, after = model._model.module.state_dict(), model._extended.module.state_dict()
        moved = grown = 0
        for name, weight in before.items():
            new = after[name]
            if weight.shape == new.shape:
                if name.startswith(("z_encoder", "z_decoder")):
                    moved += int(not np.array_equal(weight.numpy(), new.numpy()))
            else:
                grown += 1
                kept = new[tuple(slice(0, size) for size in weight.shape)]
                np.testing.assert_array_equal(kept.numpy(), weight.numpy())
        assert grown > 0 and moved == 0
        assert model.epochs == 6 and len(model.loss_history["query_train"]) == 4
        assert "2 epochs on the reference, 4 on the query" in model.warnings[-1]

    def test_query_batch(self):
        batches = np.array(["a", "a", "b", "c"])
        assert query_batch(batches, None) == "c"
        assert query_batch(batches, "a") == "a"
        with pytest.raises(InputError, match="'d' is no batch of the design \\(a, b, c\\)"):
            query_batch(batches, "d")
        with pytest.raises(InputError, match="one batch"):
            query_batch(np.array(["a", "a"]), None)

    def test_modality_without_reference_is_refused(self, make):
        design, _ = make(("rna", "atac"), 0.0, 60)
        in_query = (design.obs["batch"].astype(str) == "b2").to_numpy()
        changed = type(design)(
            design.obs,
            {"rna": design.counts["rna"], "atac": design.counts["atac"][np.flatnonzero(in_query)]},
            design.var,
            {"rna": np.arange(design.n_obs), "atac": np.flatnonzero(in_query)},
            design.uns,
        )
        with pytest.raises(InputError, match="no cell outside batch 'b2' has atac"):
            MultiVIScArches(max_epochs=1, query_batch="b2").fit(changed, 0, "cpu")
