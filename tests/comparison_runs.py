"""Records of a comparison, made up, whose means are easy to tell."""

from __future__ import annotations

import math

from thermo_callbacks.comparison.records import PathPoint, RunRecord

LOSSES = {"ReLU": 0.30, "Tanh": 0.50, "GELU": 0.29, "SELU": 0.70}
EFFICIENCIES = {"ReLU": 0.5, "Tanh": 0.25, "GELU": 0.5, "SELU": 1.0}


def run(activation, seed, /, **changes):
    loss = LOSSES[activation] + 0.01 * seed + (0.004 * seed**2 if activation == "GELU" else 0.0)
    efficiency = EFFICIENCIES[activation] + 0.01 * seed
    fields = {
        "activation": activation,
        "seed": seed,
        "engine": "driven" if activation == "SELU" else "passive",
        "values": {
            "val_loss_best": loss,
            "val_loss_final": loss + 0.1,
            "accuracy": 1.0 - loss,
            "seconds": 10.0 + seed,
            "work_efficiency": efficiency**2,
            "temperature": 1e-5 * (1 + seed),
            "entropy": -2e5,
            "entropy_destruction": 12.0 + seed,
            "laplacian": 100.0 + seed,
        },
        "work_efficiency": [("net.1", efficiency), ("net.3", efficiency)],
        "learning_efficiency": [("net.1", 0.75), ("net.3", math.nan)],
        "path": [PathPoint(step, -1e5 - step - seed, 1e-5 * (step + 1)) for step in (10, 20, 30)],
    }
    return RunRecord(**{**fields, **changes})


def runs(activations=tuple(LOSSES), seeds=3):
    return [run(activation, seed) for activation in activations for seed in range(seeds)]


FAILED = run("SELU", 1, status="failed", message="RuntimeError: no such luck.", values={}, work_efficiency=[], path=[])
DIVERGED = run("SELU", 2, status="diverged", message="the loss was nan", values={"val_loss_best": 0.01})
