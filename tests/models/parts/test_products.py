"""Products on the processor, by whichever library makes them."""

import pytest
import torch

from models.parts import products

SHAPES = [(1, 1, 1), (7, 5, 3), (130, 17, 99), (4, 0, 3), (0, 4, 3)]


@pytest.fixture(params=[True, False])
def library(request, monkeypatch):
    if request.param and not products.by_onednn():
        pytest.skip("no oneDNN, or no AVX-512 on this processor")
    monkeypatch.setattr(products, "by_onednn", lambda: request.param)


@pytest.mark.parametrize("shape", SHAPES)
def test_product_equals_a_product_in_double_precision(library, shape):
    rows, columns, inner = shape
    generator = torch.Generator().manual_seed(0)
    left = torch.randn(rows, inner, generator=generator)
    right = torch.randn(columns, inner, generator=generator)
    for second in (right, right.t().contiguous().t()):
        expected = left.double() @ right.double().t()
        torch.testing.assert_close(products.product(left, second).double(), expected, rtol=1e-5, atol=1e-5)
        out = torch.full((rows, columns), torch.nan)
        assert products.product(left, second, out=out) is out
        torch.testing.assert_close(out.double(), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("shape", SHAPES)
def test_product_over_rows_equals_a_product_in_double_precision(library, shape):
    rows, columns, inner = shape
    generator = torch.Generator().manual_seed(0)
    left = torch.randn(inner, rows, generator=generator)
    right = torch.randn(inner, columns, generator=generator)
    expected = left.double().t() @ right.double()
    torch.testing.assert_close(products.product_over_rows(left, right).double(), expected, rtol=1e-5, atol=1e-5)
