"""A number against its closed form, and a claim: its numbers and their results."""

import dataclasses


@dataclasses.dataclass(frozen=True)
class Check:
    """One number against its closed form.

    Attributes:
        quantity: What is compared, with its unit.
        closed_form: What theory says.
        computed: What the code gave.
        tolerance: Largest |difference| that passes. 0 with `relation` "<" or ">":
            then `closed_form` is a bound.
        relation: "=", "<" or ">": how `computed` must stand to `closed_form`.
    """

    quantity: str
    closed_form: float
    computed: float
    tolerance: float = 0.0
    relation: str = "="

    @property
    def difference(self):
        """Return computed - closed form."""
        return self.computed - self.closed_form

    @property
    def passed(self):
        """Whether it holds; never for NaN."""
        return bool(
            {
                "=": abs(self.difference) <= self.tolerance,
                "<": self.difference < 0,
                ">": self.difference > 0,
            }[self.relation]
        )


@dataclasses.dataclass(frozen=True)
class Claim:
    """Checks of one claim, and the results that its figure shows, by name."""

    checks: list
    results: dict
