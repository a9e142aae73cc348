"""Finding TensorBoard writers behind real loggers."""

from __future__ import annotations

import lightning.pytorch.loggers as lightning_loggers
import pytest
import pytorch_lightning.loggers as pytorch_lightning_loggers
from lightning.pytorch.loggers.logger import DummyLogger
from lightning.pytorch.utilities import rank_zero_only
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch.utils.tensorboard import SummaryWriter

from thermo_callbacks.display import PrefixedWriter, tensorboard_writers
from thermo_callbacks.display.tensorboard.writers import is_logger, write_text


@pytest.mark.parametrize(
    "namespace", [lightning_loggers, pytorch_lightning_loggers], ids=lambda module: module.__name__
)
def test_finds_the_writer_of_both_namespaces(namespace, tmp_path):
    logger = namespace.TensorBoardLogger(tmp_path)
    assert tensorboard_writers([logger]) == [PrefixedWriter(logger.experiment, "")]
    logger.experiment.close()
    logger = namespace.TensorBoardLogger(tmp_path, prefix="gan.d")
    assert tensorboard_writers([logger]) == [PrefixedWriter(logger.experiment, "gan.d-")]
    logger.experiment.close()


def test_finds_a_subclass(tmp_path):
    class OwnLogger(lightning_loggers.TensorBoardLogger):
        pass

    logger = OwnLogger(tmp_path)
    assert tensorboard_writers([logger]) == [PrefixedWriter(logger.experiment)]
    logger.experiment.close()


def test_takes_a_writer_as_it_is(tmp_path):
    with SummaryWriter(tmp_path) as writer:
        assert tensorboard_writers([writer]) == [PrefixedWriter(writer)]


def test_knows_a_writer_by_what_it_can_do():
    class ForeignWriter:
        def add_scalar(self, tag, scalar_value, global_step=None): ...
        def add_text(self, tag, text_string, global_step=None): ...
        def add_image(self, tag, img_tensor, global_step=None, walltime=None, dataformats="CHW"): ...
        def add_histogram(self, tag, values, global_step=None): ...
        def add_custom_scalars(self, layout): ...

    class TensorBoardLogger:
        experiment = ForeignWriter()

    assert tensorboard_writers([TensorBoardLogger()]) == [PrefixedWriter(TensorBoardLogger.experiment)]


def test_names_each_writer_once(tmp_path):
    logger = lightning_loggers.TensorBoardLogger(tmp_path)
    assert len(tensorboard_writers([logger, logger, logger.experiment])) == 1
    logger.experiment.close()


def test_no_writer_on_other_ranks(tmp_path, monkeypatch):
    monkeypatch.setattr(rank_zero_only, "rank", 1)
    logger = lightning_loggers.TensorBoardLogger(tmp_path)
    assert hasattr(logger.experiment, "add_custom_scalars")  # the dummy answers to everything
    assert tensorboard_writers([logger]) == []
    assert list(tmp_path.iterdir()) == []


def test_no_writer_in_a_fast_dev_run():
    assert tensorboard_writers([DummyLogger()]) == []


def test_leaves_other_loggers_alone(tmp_path):
    class CloudLogger(lightning_loggers.Logger):
        name, version = "cloud", 0

        @property
        def experiment(self):
            raise AssertionError("a run was created in the cloud")

        def log_metrics(self, metrics, step=None): ...
        def log_hyperparams(self, params): ...

    assert tensorboard_writers([CloudLogger(), lightning_loggers.CSVLogger(tmp_path / "csv")]) == []
    assert list(tmp_path.iterdir()) == []


def test_a_text_is_written_under_the_loggers_prefix(tmp_path):
    with SummaryWriter(tmp_path) as writer:
        write_text([PrefixedWriter(writer, "run-")], "thermo/topology", "a text", 7)
    (event,) = EventAccumulator(str(tmp_path)).Reload().Tensors("run-thermo/topology/text_summary")
    assert event.step == 7
    assert event.tensor_proto.string_val[0] == b"a text"


@pytest.mark.parametrize(
    "namespace", [lightning_loggers, pytorch_lightning_loggers], ids=lambda module: module.__name__
)
def test_loggers_are_told_by_the_name_of_their_class(namespace, tmp_path):
    assert is_logger(namespace.CSVLogger(tmp_path), "CSVLogger")
    assert not is_logger(namespace.CSVLogger(tmp_path), "TensorBoardLogger")
    assert not is_logger(DummyLogger(), "CSVLogger")
