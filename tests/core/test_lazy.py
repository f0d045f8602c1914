"""Adam for a network that some steps update twice."""

import pytest

from tfgen.core import lazy


@pytest.mark.parametrize(
    ("every", "rate", "beta_2"),
    [
        # c = 4/5: 0.002 c, 0.99^c; c = 16/17.
        (4, 0.0016, 0.991992),
        (16, 0.00188235, 0.990585),
        (0, 0.002, 0.99),
    ],
)
def test_published_corrections(every, rate, beta_2):
    adam = lazy.adam(0.002, 0.0, 0.99, every)
    assert float(adam.learning_rate) == pytest.approx(rate, rel=1e-5)
    assert adam.beta_1 == 0.0
    assert adam.beta_2 == pytest.approx(beta_2, abs=5e-7)
    assert adam.epsilon == 1e-8


def test_updates_of_a_cycle_remember_as_long():
    # k + 1 updates of c = k / (k + 1): beta^k, the memory of k updates.
    adam = lazy.adam(0.002, 0.5, 0.9, 4)
    assert adam.beta_1**5 == pytest.approx(0.5**4)
    assert adam.beta_2**5 == pytest.approx(0.9**4)
    assert 5 * float(adam.learning_rate) == pytest.approx(4 * 0.002, rel=1e-6)
