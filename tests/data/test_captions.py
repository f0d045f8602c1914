"""Sentences as numbers: of words, and of which sentence it is."""

import dataclasses

import numpy as np

from tfgen.data import captions
from tfgen.layers import tokens

TRAIN = ["A red circle.", "a blue square", "A RED circle"]


def test_numbers_of_sentences():
    features, train, test = captions.described(TRAIN)
    assert test is None
    # In the order of their words, as first written; case and stops tell nothing apart.
    assert features["sentence"].classes == ("a blue square", "A red circle.")
    assert train["sentence"].tolist() == [1, 0, 1]
    vocabulary = features["tokens"].classes
    assert vocabulary == ("", "[UNK]", "a", "blue", "circle", "red", "square")
    assert features["tokens"].shape == (8,)
    wanted = [[2, 5, 4], [2, 3, 6], [2, 5, 4]]
    np.testing.assert_array_equal(train["tokens"][:, :3], wanted)
    assert not train["tokens"][:, 3:].any()
    assert train["tokens"].dtype == train["sentence"].dtype == np.int64


def test_sentences_of_the_test_split():
    """Words are those of training; a sentence that it lacks has no number."""
    test = ["a blue square", "A blue circle", "a puce circle"]
    features, _, numbers = captions.described(TRAIN, test)
    assert numbers["sentence"].tolist() == [0, -1, -1]
    told = tokens.decode(numbers["tokens"][1:2], features["tokens"].classes)
    assert told == ["a blue circle"]
    assert numbers["tokens"][2, :3].tolist() == [2, 1, 4]
    assert "puce" not in features["tokens"].classes


def test_a_long_sentence_of_either_split_makes_room():
    nine = "a red red red red red red red circle"
    for train, test in (([*TRAIN, nine], None), (TRAIN, [nine])):
        features, arrays, others = captions.described(train, test)
        assert features["tokens"].shape == (16,)
        assert {x["tokens"].shape[1] for x in (arrays, others or arrays)} == {16}


def test_many_sentences_are_numbered_but_not_listed(monkeypatch):
    monkeypatch.setattr(captions, "MOST_CLASSES", 1)
    features, train, _ = captions.described(TRAIN)
    assert features["sentence"].classes == ()
    assert train["sentence"].tolist() == [1, 0, 1]


def test_sentences_that_only_rows_left_out_have():
    """They are neither numbered nor listed; the others keep their order."""
    features, train, test = captions.described(
        ["c red", "a red", "b red", "a red"], ["b red", "c red"]
    )
    kept = {name: array[:2] for name, array in train.items()}
    left = {name: array[2:] for name, array in train.items()}
    new, kept, left, test = captions.of_training(features, kept, left, test)
    assert new["sentence"].classes == ("a red", "c red")
    assert kept["sentence"].tolist() == [1, 0]
    assert left["sentence"].tolist() == [-1, 0]
    assert test["sentence"].tolist() == [-1, 1]
    assert features["sentence"].classes == ("a red", "b red", "c red")
    assert new["tokens"] == features["tokens"]
    assert kept["sentence"].dtype == np.int64
    unlisted = {"sentence": dataclasses.replace(features["sentence"], classes=())}
    again, numbers = captions.of_training(unlisted, train)
    assert again["sentence"].classes == ()
    np.testing.assert_array_equal(numbers["sentence"], train["sentence"])
    images = {"image": np.zeros([2, 4, 4, 1])}
    assert captions.of_training({}, images, None) == ({}, images, None)
