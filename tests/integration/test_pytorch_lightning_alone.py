"""Where ``pytorch_lightning`` is installed and ``lightning`` is not; ``tests/without_lightning.py`` runs more there."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData

ROOT = Path(__file__).parents[2]
RUN = """
import sys, warnings
import torch, pytorch_lightning as pl
from pytorch_lightning.loggers import TensorBoardLogger
from torch.utils.data import DataLoader, TensorDataset
from thermo_callbacks import ThermoMonitor

class Line(pl.LightningModule):
    def __init__(self, lr=0.1):
        super().__init__()
        self.save_hyperparameters()
        self.layer = torch.nn.Linear(4, 1)
    def training_step(self, batch, batch_idx):
        return (self.layer(batch[0]) - batch[1]).square().mean()
    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=self.hparams.lr)

torch.manual_seed(0)
inputs = torch.randn(128, 4)
data = DataLoader(TensorDataset(inputs, inputs[:, :1] + torch.randn(128, 1)), batch_size=4)
trainer = pl.Trainer(
    max_epochs=1, accelerator="cpu", enable_progress_bar=False, enable_model_summary=False, log_every_n_steps=1,
    logger=TensorBoardLogger(sys.argv[1], name="", version=""), callbacks=ThermoMonitor("standard"),
)
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    trainer.fit(Line(), data)
print("WARNED", [str(each.message) for each in caught if "able of final values" in str(each.message)])
print("MODULES", [name for name in sys.modules if name.startswith("lightning.")])
"""


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """Environment of a process, and of those that it starts, in which ``lightning`` can't be imported."""
    hidden = tmp_path / "hidden"
    hidden.mkdir()
    (hidden / "sitecustomize.py").write_text('import sys\n\nsys.modules["lightning"] = None\n', encoding="utf-8")
    return {**os.environ, "PYTHONPATH": os.pathsep.join([str(hidden), str(ROOT)]), "OMP_NUM_THREADS": "1"}


@pytest.mark.slow
def test_saved_hyperparameters_have_their_columns_and_no_warning(environment: dict[str, str], tmp_path: Path) -> None:
    logs = tmp_path / "logs"
    done = subprocess.run(
        [sys.executable, "-c", RUN, str(logs)], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "WARNED []" in done.stdout
    assert "MODULES []" in done.stdout
    events = EventAccumulator(str(logs)).Reload()
    content = events.summary_metadata["_hparams_/experiment"].plugin_data.content
    columns = [info.name.tag for info in HParamsPluginData.FromString(content).experiment.metric_infos]
    assert "thermo/temperature" in columns
    assert "hp_metric" in columns


@pytest.mark.slow
def test_compare_trains_and_ranks(environment: dict[str, str], tmp_path: Path) -> None:
    options = ["--activations", "ReLU", "Tanh", "--data", "digits", "--seeds", "1", "--max-epochs", "1", "--directory"]
    command = [sys.executable, "-m", "thermo_callbacks", "compare", *options, str(tmp_path / "comparison")]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "Tanh" in (tmp_path / "comparison" / "summary.csv").read_text(encoding="utf-8")
