"""Hyperparameters: text in, checked values out, every mistake named."""

import dataclasses
import json

import pytest

from tfgen.core.config import Config, option
from tfgen.core.errors import BadInput


@dataclasses.dataclass(frozen=True)
class Example(Config):
    size: int = option(8, "pixels", at_least=1, at_most=64)
    rate: float = option(1e-3, "Adam", above=0)
    widths: tuple[int, ...] = option((4, 2), "units")
    mixed: bool = option(False, "whether")
    kind: str = option("mlp", "of network", choices=("mlp", "convolutional"))


@pytest.mark.parametrize(
    ("name", "given", "wanted"),
    [
        ("size", "16", 16),
        ("size", 16, 16),
        ("size", 16.0, 16),
        ("rate", "3e-4", 3e-4),
        ("rate", 1, 1.0),
        ("widths", "5", (5,)),
        ("widths", "5,6,7", (5, 6, 7)),
        ("widths", [5, 6], (5, 6)),
        ("widths", (5, 6), (5, 6)),
        ("mixed", "true", True),
        ("mixed", "False", False),
        ("mixed", "1", True),
        ("mixed", "no", False),
        ("mixed", True, True),
        ("kind", "convolutional", "convolutional"),
    ],
)
def test_values(name, given, wanted):
    value = getattr(Example.parse({}, {name: given}), name)
    assert value == wanted
    assert type(value) is type(wanted)


@pytest.mark.parametrize(
    ("name", "given", "message"),
    [
        ("size", "big", "hparam size='big' is not int (pixels)"),
        ("size", "1.5", "hparam size='1.5' is not int (pixels)"),
        ("size", 1.5, "hparam size=1.5 is not int (pixels)"),
        ("size", None, "hparam size=None is not int (pixels)"),
        ("size", "0", "hparam size=0 must be at least 1 (pixels)"),
        ("size", "65", "hparam size=65 must be at most 64 (pixels)"),
        ("rate", "fast", "hparam rate='fast' is not float (Adam)"),
        ("rate", "0", "hparam rate=0.0 must be above 0 (Adam)"),
        ("rate", "nan", "hparam rate=nan must be a number (Adam)"),
        ("widths", "4,x", "hparam widths='4,x' is not tuple"),
        ("widths", 4, "hparam widths=4 is not tuple"),
        ("mixed", "maybe", "hparam mixed='maybe' is not bool (whether)"),
        ("mixed", 2, "hparam mixed=2 is not bool (whether)"),
        (
            "kind",
            "mpl",
            "hparam kind=mpl must be one of mlp, convolutional (of network)",
        ),
    ],
)
def test_wrong_values(name, given, message):
    with pytest.raises(BadInput) as error:
        Example.parse({}, {name: given})
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_unknown_names():
    with pytest.raises(BadInput) as error:
        Example.parse({}, {"sise": "3"})
    assert str(error.value) == (
        "unknown hparam 'sise' (did you mean size?); "
        "valid: size, rate, widths, mixed, kind"
    )
    with pytest.raises(BadInput, match="unknown hparam 'xyzzy'; valid: size, rate"):
        Example.parse({}, {"xyzzy": "3"})


def test_presets_are_checked_and_overridden():
    assert Example.parse({"size": 3}, {}).size == 3
    assert Example.parse({"size": 3}, {"size": "4"}).size == 4
    with pytest.raises(BadInput, match="size=0 must be at least 1"):
        Example.parse({"size": 0}, {})
    with pytest.raises(BadInput, match="rate=-1.0 must be above 0"):
        Example(rate=-1.0)


def test_infinity_is_refused():
    with pytest.raises(BadInput, match="rate=inf"):
        Example.parse({}, {"rate": "inf"})


def test_json_round_trip():
    config = Example(size=3, rate=0.1, widths=(7, 8, 9), mixed=True, kind="mlp")
    text = json.dumps(config.to_json())
    assert Example.from_json(json.loads(text)) == config
    assert Example.from_json(json.loads(text)).widths == (7, 8, 9)


def test_config_is_frozen():
    with pytest.raises(dataclasses.FrozenInstanceError):
        Example().size = 3


def test_describe_has_a_line_for_each_field():
    lines = Example(size=4).describe()
    assert lines[0] == "size=4  pixels"
    assert len(lines) == 5
