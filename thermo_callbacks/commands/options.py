"""What options of the command line are read with."""

from __future__ import annotations

import argparse
import math
from dataclasses import dataclass
from typing import NoReturn

from jsonargparse import ArgumentParser

PROGRAM = "thermo-callbacks"
INTERRUPTED = 130
"""The shell's exit status of a program ended by Ctrl-C."""


@dataclass(frozen=True)
class WholeNumber:
    """Reads an option's whole number.

    Attributes:
        least: Smallest number allowed.
        most: Largest number allowed; None for no limit.
    """

    least: int
    most: int | None = None

    def __str__(self) -> str:
        return "whole number"

    def __call__(self, text: str) -> int:
        """Read and check a number.

        Args:
            text: What was given.

        Returns:
            The number.

        Raises:
            argparse.ArgumentTypeError: If it is none, or out of range.
        """
        try:
            value = int(text)
        except ValueError:
            value = self.least - 1
        if value < self.least or (self.most is not None and value > self.most):
            wanted = f"of at least {self.least}" if self.most is None else f"from {self.least} to {self.most}"
            raise argparse.ArgumentTypeError(f"give a whole number {wanted}, not {text!r}")
        return value


@dataclass(frozen=True)
class PositiveNumber:
    """Reads an option's positive number."""

    def __str__(self) -> str:
        return "number"

    def __call__(self, text: str) -> float:
        """Read and check a number.

        Args:
            text: What was given.

        Returns:
            The number.

        Raises:
            argparse.ArgumentTypeError: If it is none, not finite or not positive.
        """
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if not 0.0 < value < math.inf:
            raise argparse.ArgumentTypeError(f"give a number above 0 such as 0.01, not {text!r}")
        return value


class Parser(ArgumentParser):
    """A parser that says what is wrong in one line."""

    def error(self, message: str, ex: Exception | None = None) -> NoReturn:  # noqa: ARG002  jsonargparse's signature
        """Say what is wrong, and exit with status 2.

        Args:
            message: What is wrong.
            ex: The exception behind it.
        """
        self.exit(2, f"{PROGRAM}: error: {' '.join(message.split()).removeprefix('argument ')}\n")
