"""scvi-tools: a variational autoencoder of cells. Its Trainer and its training plan are its own."""

from __future__ import annotations

from typing import Any

import scvi


def cells() -> Any:
    """Counts of genes and proteins, drawn."""
    scvi.settings.seed = 7
    return scvi.data.synthetic_iid(batch_size=100, n_genes=30, n_proteins=10)


def trainer_options(options: dict[str, Any]) -> dict[str, Any]:
    """What its Trainer is told."""
    return {"max_epochs": 8, "batch_size": 32, "early_stopping": False, **options}


def fit(callbacks: list[Any], options: dict[str, Any]) -> None:
    """Learn a latent space."""
    table = cells()
    scvi.model.SCVI.setup_anndata(table, batch_key="batch")
    scvi.model.SCVI(table, n_latent=6, n_hidden=32).train(callbacks=callbacks, **trainer_options(options))
