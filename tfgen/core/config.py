"""Hyperparameters: a frozen dataclass a model, each field checked and documented."""

import dataclasses
import difflib
import math
import typing

from tfgen.core.errors import BadInput


def option(default, meaning, *, at_least=None, at_most=None, above=None, choices=None):
    """Return a dataclass field with its meaning (and unit) and its valid values."""
    limits = {
        "at_least": at_least,
        "at_most": at_most,
        "above": above,
        "choices": choices,
    }
    return dataclasses.field(default=default, metadata={"meaning": meaning, **limits})


@dataclasses.dataclass(frozen=True)
class Config:
    """Base of every model's `Config`; values are checked when it is made."""

    def __post_init__(self):
        for field in dataclasses.fields(self):
            _check(type(self), field, getattr(self, field.name))

    @classmethod
    def parse(cls, preset, values):
        """Return a Config from a preset's fields and `{name: text or value}`.

        Raises:
            BadInput: An unknown name, or a value of another type or out of range.
        """
        fields = {field.name: field for field in dataclasses.fields(cls)}
        parsed = dict(preset)
        for name, value in values.items():
            if name not in fields:
                close = difflib.get_close_matches(name, fields, n=1)
                hint = f" (did you mean {close[0]}?)" if close else ""
                raise BadInput(
                    f"unknown hparam {name!r}{hint}; valid: {', '.join(fields)}"
                )
            parsed[name] = _convert(cls, fields[name], value)
        return cls(**parsed)

    def to_json(self):
        """Return the fields as a dict of JSON values."""
        return dataclasses.asdict(self)

    @classmethod
    def from_json(cls, values):
        """Return the Config that `to_json` described."""
        return cls.parse({}, values)

    def describe(self):
        """Return one line a field: name, value, meaning."""
        return [
            f"{field.name}={getattr(self, field.name)}  {field.metadata['meaning']}"
            for field in dataclasses.fields(self)
        ]


_TRUE = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}


def _convert(cls, field, value):
    kind = typing.get_type_hints(cls)[field.name]
    try:
        if kind is bool:
            return value if isinstance(value, bool) else _TRUE[str(value).lower()]
        if kind is int and isinstance(value, float) and value != int(value):
            raise ValueError
        if typing.get_origin(kind) is tuple:
            parts = value.split(",") if isinstance(value, str) else value
            return tuple(typing.get_args(kind)[0](part) for part in parts)
        return kind(value)
    except (ValueError, KeyError, TypeError, OverflowError):
        name = getattr(kind, "__name__", str(kind))
        raise BadInput(
            f"hparam {field.name}={value!r} is not {name} ({field.metadata['meaning']})"
        ) from None


def _check(cls, field, value):
    limits = field.metadata
    if isinstance(value, float) and not math.isfinite(value):
        raise BadInput(
            f"hparam {field.name}={value} must be a number ({limits['meaning']})"
        )
    complaints = {
        "at_least": lambda bound: value < bound and f"at least {bound}",
        "at_most": lambda bound: value > bound and f"at most {bound}",
        "above": lambda bound: value <= bound and f"above {bound}",
        "choices": lambda bound: value not in bound and f"one of {', '.join(bound)}",
    }
    for name, complaint in complaints.items():
        bound = limits.get(name)
        if bound is None or not (wrong := complaint(bound)):
            continue
        raise BadInput(
            f"hparam {field.name}={value} must be {wrong} ({limits['meaning']})"
        )
