"""What the letters in the formulas of the catalogue stand for."""

from __future__ import annotations

SYMBOLS = {
    "q": "weights",
    "g": "their gradient",
    "D": "what the optimizer moved them by",
    "D₋": "the move of the step before",
    "g₊": "the gradient of the step after",
    "μ": "momentum",
    "φ": "the whole move that a gradient causes against its first step's: 1 without momentum, 1 / (1 - μ) with it, "
    "1 / (1 - μ²) with Nesterov's",
    "m": "mobility: the whole move per unit of gradient",
    "κ": "share of a weight that weight decay takes off in a step: rate times decay, or m times decay where it is "
    "part of the gradient",
    "N": "how many weights there are",
    "n": "how many of them are watched",
    "Σ": "sum over those",
    "B": "samples of a batch",
    "L": "its loss",
    "U": "mean of L",
    "Q": "heat",
    "T": "kinetic temperature",
    "Tᵢ": "that of a single weight",
    "S": "entropy of the weights",
    "H": "Hessian of U (how the slope changes with the weights)",
    "∇U": "slope of U",
    "tr": "sum of a matrix's diagonal",
    "Cov, Var, ⟨ ⟩": "taken over a window of steps (with momentum the first two are of successive steps of it)",
}
"""Symbols of the moving weights."""

NEURON_SYMBOLS = {
    "z": "input",
    "a": "output of an activation",
    "f": "the activation, ⟨ ⟩ and Var taken over a batch",
    "x": "states of all neurons",
    "w, b": "weights and biases between them",
    "G": "how stiff they are about the forward pass, (1 - ∂f/∂x)ᵀ (1 - ∂f/∂x) plus a regulator",
    "C": "their complexity",
    "Tₓ": "their equipartition temperature",
    "Sₓ": "their entropy",
    "∇²C": "sum of the second derivatives of C by the weights",
}
"""Symbols of activations and of the bulk's neurons."""


def explained(symbols: dict[str, str]) -> str:
    """Symbols and what they stand for, in one sentence of Markdown."""
    return "; ".join(f"**{symbol}** {meaning}" for symbol, meaning in symbols.items())
