"""What is used of Lightning besides its callbacks, from the namespace that is installed, ``lightning`` if both are.

:mod:`thermo_callbacks.callbacks.compat` makes callbacks that both namespaces take; what trains by itself needs one.
"""

from __future__ import annotations

from importlib.util import find_spec
from typing import TYPE_CHECKING

if TYPE_CHECKING or find_spec("lightning"):
    from lightning.fabric.utilities import logger as logger_utilities
    from lightning.pytorch import Callback as TrainerCallback
    from lightning.pytorch import LightningDataModule, LightningModule, Trainer, seed_everything
    from lightning.pytorch.callbacks import RichProgressBar
    from lightning.pytorch.callbacks.progress import rich_progress
    from lightning.pytorch.loggers import TensorBoardLogger
    from lightning.pytorch.utilities.combined_loader import CombinedLoader
    from lightning.pytorch.utilities.exceptions import SIGTERMException
    from lightning.pytorch.utilities.model_helpers import is_overridden
    from lightning.pytorch.utilities.seed import isolate_rng

    NAMESPACE = "lightning.pytorch"
else:
    from lightning_fabric.utilities import logger as logger_utilities
    from pytorch_lightning import Callback as TrainerCallback
    from pytorch_lightning import LightningDataModule, LightningModule, Trainer, seed_everything
    from pytorch_lightning.callbacks import RichProgressBar
    from pytorch_lightning.callbacks.progress import rich_progress
    from pytorch_lightning.loggers import TensorBoardLogger
    from pytorch_lightning.utilities.combined_loader import CombinedLoader
    from pytorch_lightning.utilities.exceptions import SIGTERMException
    from pytorch_lightning.utilities.model_helpers import is_overridden
    from pytorch_lightning.utilities.seed import isolate_rng

    NAMESPACE = "pytorch_lightning"

__all__ = [
    "NAMESPACE",
    "CombinedLoader",
    "LightningDataModule",
    "LightningModule",
    "RichProgressBar",
    "SIGTERMException",
    "TensorBoardLogger",
    "Trainer",
    "TrainerCallback",
    "is_overridden",
    "isolate_rng",
    "logger_utilities",
    "rich_progress",
    "seed_everything",
]
