"""What the likelihood models reach on MNIST in a few epochs."""

import numpy as np
import pytest

import tfgen
from tfgen import models
from tfgen.metrics import likelihood

pytestmark = pytest.mark.slow
EPOCH = 600  # steps of 100


@pytest.fixture(scope="module")
def mnist(shared_data):
    return tfgen.data.load("mnist", batch=100, data_dir=str(shared_data / "tfds"))


@pytest.fixture(scope="module")
def held_out(mnist):
    images = mnist.test.arrays["image"]
    rows = np.sort(np.random.default_rng(0).permutation(len(images))[:1000])
    return np.float32(images[rows]) / 255


def trained(mnist, name, epochs, **hparams):
    model = models.build(
        name,
        "paper",
        spec=mnist.spec,
        hparams=hparams,
        xla="on",
        steps_per_execution=100,
        log_every=EPOCH,
    )
    model.fit(mnist.train, steps_per_epoch=epochs * EPOCH, verbose=0)
    return model


def test_the_paper_s_network_in_five_epochs(mnist):
    model = trained(mnist, "vae", 5)
    images = np.float32(mnist.test.arrays["image"]) / 255
    found = likelihood.measure(model, images, ["elbo", "active_units"])
    assert found["elbo"].value > -115
    heavy = trained(mnist, "vae", 1, beta=20.0)
    units = likelihood.measure(heavy, images, ["active_units"])["active_units"]
    assert units.value < found["active_units"].value


def test_bounds_rise_with_their_draws(mnist, held_out):
    model = trained(mnist, "vae", 2, pixels="binarised")
    bounds = [
        likelihood.measure(model, held_out[:500], ["iwae"], k=k)["iwae"].value
        for k in (1, 5, 50, 500)
    ]
    assert bounds == sorted(bounds)


def test_both_layers_of_a_hierarchy_are_used(mnist, held_out):
    """Two epochs of its recipe. Seen: ELBO -140.2, 12.2 and 5.8 nats in the layers.

    With an output bias that starts at 0 it was -190.4, 2.8 and 0.8, and 0.1 in the
    second layer two epochs later.
    """
    stages = {"stages": 8, "stage_steps": 18}
    model = trained(mnist, "hierarchical_vae", 2, **stages)
    found = likelihood.measure(model, held_out, ["elbo", "kl_by_latent"])
    first, second = np.split(found["kl_by_latent"].value, [model.layer_sizes[0]])
    assert found["elbo"].value > -150
    assert first.sum() > 6 and second.sum() > 3
