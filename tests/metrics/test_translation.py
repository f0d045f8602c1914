"""Translations against a known truth, by hand."""

import numpy as np
import pytest

from tfgen.core.errors import BadInput
from tfgen.metrics import translation


def test_psnr():
    truth = np.zeros([2, 2, 2, 1])
    images = np.stack([np.full([2, 2, 1], 0.2), np.full([2, 2, 1], 0.02)])
    # range 2: 20 log10(2 / 0.2) = 20 and 20 log10(2 / 0.02) = 40; sd / sqrt(2) = 10
    found = translation.psnr(images, truth, value_range=2.0)
    assert found.value == pytest.approx(30.0)
    assert found.error == pytest.approx(10.0)
    assert translation.psnr(truth, truth, 2.0).value == pytest.approx(100.0)


def test_retrieval():
    truth = np.arange(4.0).reshape(4, 1, 1, 1)
    assert translation.retrieval(truth + 0.4, truth).value == 1.0
    # 0.6 and 1.6 are nearer to the next; 2.6 too; 3.6 has none.
    found = translation.retrieval(truth + 0.6, truth)
    assert found.value == 0.25
    assert found.error == pytest.approx(0.5 / 2)  # sd of (0, 0, 0, 1) is 1 / 2
    # A tie is no hit: all translations alike are worth nothing.
    assert translation.retrieval(np.zeros_like(truth), np.ones_like(truth)).value == 0


def test_rows_that_do_not_match():
    with pytest.raises(BadInput, match="must be alike"):
        translation.psnr(np.zeros([3, 2, 2, 1]), np.zeros([2, 2, 2, 1]), 2.0)
    with pytest.raises(BadInput, match="two rows or more"):
        translation.retrieval(np.zeros([1, 2, 2, 1]), np.zeros([1, 2, 2, 1]))
