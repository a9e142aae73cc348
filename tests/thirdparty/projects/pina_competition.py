"""PINA: a network and its critic play for a solution. Manual optimization, two raw optimizers stepped by hand."""

from __future__ import annotations

from typing import Any

import torch
from pina.model import FeedForward
from pina.problem.zoo import Poisson2DSquareProblem
from pina.solver import CompetitivePhysicsInformedSolver
from pina.trainer import Trainer


def fit(callbacks: list[Any], options: dict[str, Any]) -> None:
    """Solve Poisson's equation against a critic."""
    square = Poisson2DSquareProblem()
    square.discretise_domain(40, "random", domains=list(square.domains))
    solver = CompetitivePhysicsInformedSolver(square, FeedForward(2, 1, inner_size=16, n_layers=2, func=torch.nn.Tanh))
    Trainer(solver, batch_size=10, callbacks=callbacks, max_epochs=12, **options).train()
