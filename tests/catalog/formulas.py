"""Evaluates the formulas of the catalogue as they are shown, on tensors.

The notation, as told at ``Quantity.formula``: letters side by side multiply, ``·`` is the product summed over the last
dimension, Σ sums what follows it in its term, ⟨ ⟩ is the mean over the first dimension, ‖ ‖ the norm over the last one,
a name before a bracket or a space applies to what follows. Names are those of the values that are handed in.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

FUNCTIONS: dict[str, Any] = {
    "Cov": lambda one, other: ((one - one.mean(0)) * (other - other.mean(0))).sum(0) / (len(one) - 1),
    "Var": lambda values: values.var(0),
    "ln": torch.log,
    "det": torch.linalg.det,
    "tr": lambda matrix: matrix.diagonal(dim1=-2, dim2=-1).sum(-1),
    "change": lambda pair: pair[1] - pair[0],
    "mean": lambda pair: pair.mean(0),
}
CONSTANTS = {"π": math.pi, "e": math.e}
OPERATORS = ("+", "-", "/", "·", "(", ")", ",", "⟨", "⟩", "‖", "²", "½", "√", "Σ")


def parts_of(formula: str) -> list[str]:
    """The formulas of a row, without what they are called and the explanation behind them."""
    return [part.split(" = ")[-1].strip() for part in formula.partition(", where ")[0].split(";")]


def tokens_of(text: str, names: Mapping[str, Any]) -> list[str]:
    known = sorted([*names, *FUNCTIONS, *CONSTANTS, *OPERATORS], key=len, reverse=True)
    pattern = re.compile("|".join([r"\d+(?:\.\d+)?", *map(re.escape, known)]))
    tokens, rest = [], text.strip()
    while rest:
        match = pattern.match(rest)
        if match is None:
            raise ValueError(f"{text!r} has a symbol without a value at {rest!r}")
        tokens.append(match[0])
        rest = rest[match.end() :].lstrip()
    return tokens


def evaluate(text: str, values: Mapping[str, Any]) -> Tensor:
    """Value of a formula.

    Args:
        text: One of :func:`parts_of`.
        values: Symbol to a tensor, a number or a function.
    """
    reader = _Reader(tokens_of(text, values), {**FUNCTIONS, **CONSTANTS, **values})
    value = reader.expression()
    if reader.next:
        raise ValueError(f"{text!r} can't be read from {reader.next!r} on")
    return torch.as_tensor(value, dtype=torch.float64)


class _Reader:
    """Reads by recursive descent: sums of terms of factors."""

    def __init__(self, tokens: list[str], values: Mapping[str, Any]) -> None:
        self._tokens, self._values, self._place = tokens, values, 0

    @property
    def next(self) -> str:
        return self._tokens[self._place] if self._place < len(self._tokens) else ""

    def _take(self, expected: str = "") -> str:
        token = self.next
        assert token, "the formula ends too soon"
        assert not expected or token == expected, f"{token!r} stands where {expected!r} should"
        self._place += 1
        return token

    def expression(self) -> Any:
        value = self.term()
        while self.next in ("+", "-"):
            sign = 1.0 if self._take() == "+" else -1.0
            value = value + sign * self.term()
        return value

    def term(self) -> Any:
        if self.next == "-":
            self._take()
            return -1.0 * self.term()
        value: Any = None
        while self.next and self.next not in ("+", "-", ")", "⟩", ",") and not (self.next == "‖" and self._closes):
            operator = self._take() if self.next in ("/", "·") else ""
            if self.next == "Σ":
                self._take()
                operand = self.term().sum()
            else:
                operand = self.factor()
            if value is None:
                value = operand
            elif operator == "·":
                value = (value * operand).sum(-1)
            else:
                value = value / operand if operator == "/" else value * operand
        assert value is not None, f"a term is missing before {self.next!r}"
        return value

    _closes = False  # whether a bar ends a norm

    def factor(self) -> Any:
        token = self._take()
        if token == "(":
            value = self._enclosed(")")
        elif token == "⟨":
            value = self._enclosed("⟩").mean(0)
        elif token == "‖":
            value = torch.linalg.vector_norm(self._enclosed("‖"), dim=-1)
        elif token == "√":
            value = self.factor() ** 0.5
        elif token == "½":
            value = 0.5
        elif token[0].isdigit():
            value = float(token)
        else:
            value = self._values[token]
            if callable(value):
                value = value(*self._arguments())
        while self.next == "²":
            self._take()
            value = value * value
        return value

    def _enclosed(self, end: str) -> Any:
        outside, self._closes = self._closes, end == "‖"
        value = self.expression()
        self._closes = outside
        self._take(end)
        return value

    def _arguments(self) -> list[Any]:
        if self.next != "(":
            return [self.factor()]
        self._take("(")
        outside, self._closes = self._closes, False
        found = [self.expression()]
        while self.next == ",":
            self._take()
            found.append(self.expression())
        self._closes = outside
        self._take(")")
        return found
