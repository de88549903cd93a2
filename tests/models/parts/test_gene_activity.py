"""Gene activity against a brute-force overlap, and the transforms against hand computations."""

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp

from benchmarks.errors import InputError
from models.parts.gene_activity import gene_activity, region_gene_overlap
from models.parts.transforms import centred_log_ratio, log_normalised, standardised, tf_idf


def test_overlap_equals_brute_force():
    rng = np.random.default_rng(0)
    starts = rng.integers(0, 50_000, 80)
    regions = pd.DataFrame(
        {"chrom": rng.choice(["chr1", "chr2"], 80), "start": starts, "end": starts + rng.integers(50, 3000, 80)}
    )
    starts = rng.integers(0, 50_000, 30).astype(float)
    genes = pd.DataFrame({"chrom": rng.choice(["chr1", "chr2", "chr3"], 30), "start": starts, "end": starts + 4_000})
    genes["strand"] = rng.choice(["+", "-"], 30)
    genes.loc[5, ["start", "end"]] = np.nan
    overlap = region_gene_overlap(regions, genes).toarray()
    for j, gene in genes.iterrows():
        low = gene.start - (2_000 if gene.strand == "+" else 0)
        high = gene.end + (2_000 if gene.strand == "-" else 0)
        for i, region in regions.iterrows():
            expected = region.chrom == gene.chrom and region.start < high and region.end > low
            assert overlap[i, j] == expected
    counts = sp.csr_matrix(rng.poisson(0.5, (4, 80)).astype(np.float32))
    np.testing.assert_allclose(gene_activity(counts, regions, genes).toarray(), counts.toarray() @ overlap)


def test_missing_coordinates_name_the_column():
    with pytest.raises(InputError, match="start"):
        region_gene_overlap(
            pd.DataFrame({"chrom": ["a"], "end": [3]}), pd.DataFrame({"chrom": ["a"], "start": [1], "end": [2]})
        )


def test_transforms_by_hand():
    counts = sp.csr_matrix(np.array([[1, 3, 0], [0, 0, 0], [2, 0, 2]], dtype=np.float32))
    normalised = log_normalised(counts, target=4).toarray()
    np.testing.assert_allclose(normalised, np.log1p([[1, 3, 0], [0, 0, 0], [2, 0, 2]]), rtol=1e-6)
    weighted = tf_idf(counts, scale=10).toarray()
    # Cell 0 has 2 open regions; region 0 is open in 2 of 3 cells: 10 / 2 * 3 / 2.
    assert weighted[0, 0] == pytest.approx(np.log1p(7.5)) and weighted[0, 1] == pytest.approx(np.log1p(15))
    ratio = centred_log_ratio(counts)
    np.testing.assert_allclose(ratio.sum(1), 0, atol=1e-6)
    columns = standardised(counts)
    np.testing.assert_allclose(columns.mean(0), 0, atol=1e-6)
    np.testing.assert_allclose(columns.std(0), 1, rtol=1e-5)
