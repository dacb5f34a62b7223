"""User-fixable errors, reported in one line with cause and fix."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any


class UserError(Exception):
    """An error that the user can fix. The entry point prints its line and exits with status 2."""


class Interrupted(KeyboardInterrupt):
    """A signal ended the run. Not an Exception, so that it ends a sweep as well."""

    def __init__(self, message: str, number: int):
        super().__init__(message)
        self.status = 128 + number


def in_one_line(error: Exception) -> str:
    """What an error says, without line breaks and not too long; its class where it says nothing."""
    return " ".join(str(error).split())[:200] or type(error).__name__


def check(condition: Any, message: str) -> None:
    """Raise `UserError(message)` unless the condition holds."""
    if not condition:
        raise UserError(message)


def known(name: str, names: Iterable[str], what: str) -> None:
    """Raise a UserError that lists the known names unless `name` is one of them."""
    check(name in names, f"unknown {what} {name!r}; known: {', '.join(sorted(names))}")


def at_least(minimum: int, **settings: int) -> None:
    """Raise a UserError for the first setting that is below `minimum`."""
    for name, value in settings.items():
        check(value >= minimum, f"{name}={value}: at least {minimum} is needed")


def positive(value: float, what: str, zero: bool = False) -> None:
    """Raise a UserError unless `value` is a finite number above 0 (or 0 itself with `zero`)."""
    fine = math.isfinite(value) and (value > 0 or (zero and value == 0))
    bound = "of 0 or more" if zero else "above 0"
    check(fine, f"{what}={value:g}: a finite number {bound} is needed")
