"""The run's row in TensorBoard's table of hyperparameters: which values stand beside them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from thermo_callbacks.catalog import QUANTITIES
from thermo_callbacks.display.tensorboard.writers import PrefixedWriter

FINAL_VALUES = tuple(
    quantity.tag
    for quantity in sorted(QUANTITIES, key=lambda quantity: quantity.final_value or 0)
    if quantity.final_value is not None
)
"""Tags that get a column, in order. TensorBoard shows the first five metrics of a table, and others when ticked."""


def write_columns(
    writers: Iterable[PrefixedWriter],
    tags: Iterable[str],
    hyperparameters: Mapping[str, Any] | None = None,
    others: Iterable[str] = (),
) -> None:
    """Give the table its columns: hyperparameters, and the last value of each tag, those of others first."""
    # TensorBoard takes the columns from the first such entry that it finds, in the order of the runs and of what they
    # wrote: an entry after another of the same run changes nothing. It fills in the last value that the run logged
    # under a tag, so nothing has to be written when a run ends, and a run that was cut off has a row too. A run without
    # hyperparameters gets its row here; else whoever writes them writes it with their values.
    from torch.utils.tensorboard import SummaryWriter
    from torch.utils.tensorboard.summary import hparams

    for writer, prefix in writers:
        if not isinstance(writer, SummaryWriter):  # tensorboardX takes other messages
            continue
        columns = dict.fromkeys((prefix + tag for tag in (*others, *tags)), 0.0)
        experiment, *session = hparams(dict(hyperparameters or {}), columns)  # type: ignore[no-untyped-call]
        _name_columns(experiment, {prefix + tag: tag for tag in tags})
        for entry in (experiment, *(session if hyperparameters is None else ())):
            writer._get_file_writer().add_summary(entry)  # type: ignore[no-untyped-call]


def _name_columns(experiment: Any, tags: Mapping[str, str]) -> None:
    """Head the columns with words: TensorBoard breaks narrow heads at spaces, and elsewhere in the middle of a word."""
    from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData

    plugin_data = experiment.value[0].metadata.plugin_data
    content = HParamsPluginData.FromString(plugin_data.content)
    for metric in content.experiment.metric_infos:
        if tag := tags.get(metric.name.tag):
            metric.display_name = tag.partition("/")[2].replace("_", " ")
    plugin_data.content = content.SerializeToString()
