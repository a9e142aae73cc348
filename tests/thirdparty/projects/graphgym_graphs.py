"""PyTorch Geometric's GraphGym: graph networks. Its batch is a graph object, which the training step writes to."""

from __future__ import annotations

from typing import Any

import torch
from lightning.pytorch import Trainer
from torch_geometric.data import Data
from torch_geometric.graphgym import cfg, create_model, set_cfg
from torch_geometric.loader import DataLoader

NODES, FEATURES, GRAPHS = 12, 6, 160


def graph() -> Data:
    """A ring with chords, whose class is the sign of what its nodes carry."""
    nodes = torch.randn(NODES, FEATURES)
    ring = torch.stack([torch.arange(NODES), torch.arange(1, NODES + 1) % NODES])
    edges = torch.cat([ring, ring.flip(0), torch.randint(NODES, (2, 8))], dim=1)
    return Data(x=nodes, edge_index=edges, y=(nodes[:, 0].mean() > 0).float())


def fit(callbacks: list[Any], options: dict[str, Any]) -> None:
    """Classify graphs."""
    set_cfg(cfg)
    cfg.dataset.task, cfg.dataset.task_type, cfg.model.loss_fun = "graph", "classification", "cross_entropy"
    cfg.gnn.dim_inner, cfg.gnn.layers_pre_mp, cfg.gnn.layers_mp, cfg.gnn.head = 16, 1, 2, "graph"
    cfg.optim.base_lr, cfg.share.num_splits = 0.01, 1
    model = create_model(to_device=False, dim_in=FEATURES, dim_out=1)
    loader = DataLoader([graph() for _ in range(GRAPHS)], batch_size=16, shuffle=True)
    Trainer(callbacks=callbacks, max_epochs=5, **options).fit(model, loader)
