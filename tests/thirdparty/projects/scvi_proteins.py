"""scvi-tools: RNA and proteins of cells, with a classifier to be fooled. Manual optimization, two optimizers."""

from __future__ import annotations

from typing import Any

import scvi
from thirdparty.projects.scvi_cells import cells, trainer_options


def fit(callbacks: list[Any], options: dict[str, Any]) -> None:
    """Learn a latent space that hides the batch."""
    table = cells()
    scvi.model.TOTALVI.setup_anndata(table, batch_key="batch", protein_expression_obsm_key="protein_expression")
    model = scvi.model.TOTALVI(table, n_latent=6, n_layers_encoder=1)
    model.train(adversarial_classifier=True, callbacks=callbacks, **trainer_options(options))
