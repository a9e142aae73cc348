"""PINA: a network that solves Poisson's equation. Its loss takes derivatives of the network by itself."""

from __future__ import annotations

from typing import Any

import torch
from pina.model import FeedForward
from pina.problem.zoo import Poisson2DSquareProblem
from pina.solver import PhysicsInformedSingleModelSolver
from pina.trainer import Trainer


def problem() -> Poisson2DSquareProblem:
    """Poisson's equation at drawn points."""
    square = Poisson2DSquareProblem()
    square.discretise_domain(40, "random", domains=list(square.domains))
    return square


def fit(callbacks: list[Any], options: dict[str, Any]) -> None:
    """Solve Poisson's equation."""
    square = problem()
    model = FeedForward(2, 1, inner_size=16, n_layers=2, func=torch.nn.Tanh)
    solver = PhysicsInformedSingleModelSolver(square, model)
    Trainer(solver, batch_size=10, callbacks=callbacks, max_epochs=12, **options).train()
