"""Data without any label give no hint at the number of cell types: models with a mixture must do without."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.designs import DesignSpec, make_design
from models import registry
from tests.models.conftest import small_dataset


@pytest.mark.parametrize("name", ["scmvp", "multidgd"])
def test_mixtures_have_components_without_a_hint(name):
    data = small_dataset()
    data.obs["cell_type"] = None
    visible, _ = make_design(data, DesignSpec("small", ("rna", "atac")))
    assert visible.uns["n_cell_types"] == 0
    model = registry.model_class(name)(epochs=1)
    model.fit(visible, 0, "cpu")
    values = model.embed()
    assert values.shape[0] == visible.n_obs and np.isfinite(values).all()
