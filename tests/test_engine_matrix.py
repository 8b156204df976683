"""Exact products, whichever library computes them."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from hascodesign.engine import matrix
from hascodesign.engine.matrix import Weights, products


def product(weights, codes, signed):
    out = np.zeros((len(weights), codes.shape[1]), dtype=np.int64)
    left = Weights(weights.astype(np.int8))
    for first, sums in products(left, codes.astype(np.uint8), signed):
        out[:, first : first + sums.shape[1]] = sums
    return out


@pytest.mark.parametrize("int8", [False, True])
@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize("shape", [(1, 1, 1), (3, 5, 7), (17, 300, 1500), (4, 3000, 9)])
def test_products_are_exact(shape, signed, int8, monkeypatch):
    if int8 and not matrix.int8_is_exact():
        pytest.skip("no exact 8-bit product on this processor")
    monkeypatch.setattr(matrix, "int8_is_best", lambda: int8)
    rng = np.random.default_rng(0)
    rows, depth, columns = shape
    weights = rng.integers(-128, 128, (rows, depth))
    numbers = rng.integers(-128, 128, (depth, columns)) + (0 if signed else 128)
    np.testing.assert_array_equal(product(weights, numbers & 0xFF, signed), weights @ numbers)
    extreme = np.full_like(numbers, -128 if signed else 255)
    lowest = np.full_like(weights, -128)
    np.testing.assert_array_equal(product(lowest, extreme & 0xFF, signed), lowest @ extreme)


def test_float32_is_left_where_it_would_round(monkeypatch):
    """An odd sum above 2^24 is not a float32."""
    monkeypatch.setattr(matrix, "int8_is_best", lambda: False)
    weights, codes = np.full((1, 600), 127), np.full((600, 2), 255)
    weights[0, 0] = 126
    expected = weights @ codes
    assert expected[0, 0] > 1 << 24
    assert int(np.float32(expected[0, 0])) != expected[0, 0]
    np.testing.assert_array_equal(product(weights, codes, False), expected)


@pytest.mark.parametrize("precision", ["highest", "medium"])
def test_float_only_leaves_out_8_bit_products(precision, monkeypatch):
    """The same integers, also where a program has let torch round float32 products."""

    def refused(*_):
        raise AssertionError("an 8-bit product")

    monkeypatch.setattr(matrix, "int8_is_best", lambda: True)
    monkeypatch.setattr(matrix, "_int8", refused)
    rng = np.random.default_rng(1)
    weights, codes = rng.integers(-8, 8, (9, 700)), rng.integers(0, 256, (700, 40))
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision(precision)
    try:
        with matrix.float_only():
            np.testing.assert_array_equal(product(weights, codes, False), weights @ codes)
    finally:
        torch.set_float32_matmul_precision(before)
    with pytest.raises(AssertionError, match="8-bit"):
        product(weights, codes, False)
