"""Products on the processor, by whichever library makes them."""

import pytest
import torch

from models.parts import products


@pytest.mark.parametrize("onednn", [True, False])
@pytest.mark.parametrize("shape", [(1, 1, 1), (7, 5, 3), (130, 17, 99), (4, 0, 3), (0, 4, 3)])
def test_product_equals_a_product_in_double_precision(monkeypatch, shape, onednn):
    if onednn and not products._by_onednn():
        pytest.skip("no oneDNN, or no AVX-512 on this processor")
    monkeypatch.setattr(products, "_by_onednn", lambda: onednn)
    rows, columns, inner = shape
    generator = torch.Generator().manual_seed(0)
    left = torch.randn(rows, inner, generator=generator)
    right = torch.randn(columns, inner, generator=generator)
    for second in (right, right.t().contiguous().t()):
        expected = left.double() @ right.double().t()
        torch.testing.assert_close(products.product(left, second).double(), expected, rtol=1e-5, atol=1e-5)
