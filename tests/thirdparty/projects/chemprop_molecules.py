"""chemprop: properties of molecules. Its batch holds a dataclass of graphs that is copied and moved in its own way."""

from __future__ import annotations

from typing import Any

from chemprop import data, models, nn
from lightning.pytorch import Trainer

MOLECULES = [f"{'C' * carbons}{group}" for carbons in range(1, 21) for group in ("O", "N", "Cl", "C(=O)O", "c1ccccc1")]


def fit(callbacks: list[Any], options: dict[str, Any]) -> None:
    """Learn the number of carbon atoms, less the groups'."""
    points = [data.MoleculeDatapoint.from_smi(name, [float(name.count("C"))]) for name in MOLECULES]
    loader = data.build_dataloader(data.MoleculeDataset(points), batch_size=10, seed=1)
    model = models.MPNN(nn.BondMessagePassing(d_h=32, depth=2), nn.MeanAggregation(), nn.RegressionFFN(32, 32))
    Trainer(callbacks=callbacks, max_epochs=5, **options).fit(model, loader)
