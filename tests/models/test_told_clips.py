"""Clips of Moving Shapes are what their sentences say: minutes of one core.

Judged by classifiers of real clips. `-s` shows the figures.
"""

import functools

import numpy as np
import pytest
import tensorflow as tf

from tests.models.test_gists import looked_at
from tfgen import models
from tfgen.data import load, shapes
from tfgen.metrics import passes

pytestmark = pytest.mark.slow
KIND = shapes.SMALL


@functools.cache
def data(batch):
    return load("moving_shapes/small", batch=batch)


@functools.cache
def judge(label):
    """A classifier of one attribute, right about all but a few real clips."""
    rows = data(32)
    model = models.build(
        "video_classifier", "small", spec=rows.spec, hparams={"label": label}
    )
    model.fit(rows.train, steps_per_epoch=500, verbose=0)
    test = rows.test.arrays
    assert right(model, test["video"] / np.float32(127.5) - 1, test[label]) >= 0.99
    return model


def right(model, clips, labels):
    return np.mean(model.classify(clips)["label"] == labels)


def shares(model, labels=("colour", "direction")):
    """Of clips of all test sentences, the shares that the judges call right."""
    test = data(32).test.arrays
    made = passes.in_parts(
        passes.graph(lambda tokens: model.generate(tokens, 1)), test["tokens"], rows=72
    )
    return {label: right(judge(label), made, test[label]) for label in labels}


@functools.cache
def trained(name, steps, batch):
    model = models.build(name, "small", spec=data(batch).spec)
    model.fit(data(batch).train, steps_per_epoch=steps, verbose=0)
    return model


@functools.cache
def video_of_gists():
    """3,000 steps of the gist, 4,000 of the video."""
    return trained("text2video", 7000, 16)


def test_filters_make_clips_move_as_told():
    found = shares(trained("text_filter_gan", 2000, 8))
    print(found)
    assert found["colour"] >= 0.9 and found["direction"] >= 0.7


def test_gists_are_set_in_motion_as_told():
    found = shares(video_of_gists())
    print(found)
    assert found["colour"] >= 0.9 and found["direction"] >= 0.7


def test_clips_begin_with_their_gists():
    """Where the gist has the object; else all clips of a sentence could be one."""
    model = video_of_gists()
    told = KIND.labels("train", np.arange(len(KIND.combinations)))
    tokens = model.tokens(tf.constant(np.repeat(KIND.sentences(told), 4)))
    latents = [
        tf.random.stateless_normal([len(tokens), size], [0, number])
        for number, size in enumerate(model.latent_sizes().values())
    ]
    made = model.make(tokens, latents, training=False)
    begun, meant = (
        looked_at(np.clip((frames.numpy() + 1) / 2, 0, 1))[1]
        for frames in (made["videos"][:, 0], made["gist"])
    )
    apart = np.median(np.linalg.norm(begun - meant, axis=1))
    spread = begun.reshape(-1, 4, 2).std(axis=1).mean()
    print({"apart": apart, "spread": spread})
    assert apart < 1.5 < 2 < spread


def test_another_sentences_filters_change_the_clip():
    """From the same gists and noise."""
    model = video_of_gists()
    told = KIND.labels("train", np.arange(len(KIND.combinations)))
    turned = dict(told, direction=(told["direction"] + 1) % len(KIND.paths))
    tokens, others = (
        model.tokens(tf.constant(KIND.sentences(each))) for each in (told, turned)
    )
    z = tf.random.stateless_normal([len(tokens), model.config.gist_size], [1, 2])
    noise = tf.random.stateless_normal([len(tokens), model.config.noise_size], [3, 4])
    gists = model.decoder([z, tokens])
    clips, changed = (
        model.generator_ema([each, gists, noise], training=False)[0].numpy()
        for each in (tokens, others)
    )
    change = np.abs(clips - changed).mean()
    print({"change": change})
    assert change > 0.02
