"""Reader of TensorBoard event files that stops at the first damaged record."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from thermo_callbacks.commands.report.series import Series

EVENT_FILES = "*tfevents*"
_FRAME = 16  # bytes around a record: its length, and two checksums


class LoggedImage(NamedTuple):
    """An image as the logger wrote it."""

    step: int
    encoded: bytes


class LoggedHistogram(NamedTuple):
    """A histogram as the logger wrote it, with one edge more than counts."""

    step: int
    edges: list[float]
    counts: list[float]


@dataclass(kw_only=True)
class Log:
    """What files of a run hold.

    Attributes:
        scalars: Tag to its values.
        images: Tag to the last image.
        histograms: Tag to the last histogram.
        texts: Tag to the last text.
        notices: What could not be read, in sentences.
    """

    scalars: dict[str, Series] = field(default_factory=dict)
    images: dict[str, LoggedImage] = field(default_factory=dict)
    histograms: dict[str, LoggedHistogram] = field(default_factory=dict)
    texts: dict[str, str] = field(default_factory=dict)
    notices: list[str] = field(default_factory=list)

    def add_scalar(self, tag: str, step: int, value: float, time: float) -> None:
        """Add one value."""
        self.scalars.setdefault(tag, Series()).add(step, value, time)


def read_event_file(path: Path, log: Log) -> None:
    """Read an event file to its end, or to the first record that is cut off or damaged, and note that.

    A file that is still being written is read as far as it goes. Checksums are TensorBoard's own, and checked by its
    reader: no value behind a damaged record is taken, since nothing says where the next one begins.
    """
    # not at the top: it takes a second, and its parts warn of one another
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        from google.protobuf.message import DecodeError
        from tensorboard.backend.event_processing.event_file_loader import RawEventFileLoader
        from tensorboard.compat.proto.event_pb2 import Event

    good = records = 0
    plugins: dict[str, str] = {}
    try:
        size = path.stat().st_size
        for record in RawEventFileLoader(str(path)).Load():
            event = Event.FromString(record)
            good, records = good + len(record) + _FRAME, records + 1
            for value in event.summary.value if event.HasField("summary") else ():
                _take(value, int(event.step), float(event.wall_time), plugins, log)
    except (OSError, DecodeError, ValueError, MemoryError) as fault:
        log.notices.append(f"{path.name} can't be read beyond its record {records:,} ({_reason(fault)}).")
        return
    if size == 0:
        log.notices.append(f"{path.name} is empty.")
    elif good < size:
        log.notices.append(
            f"{path.name} is cut off or damaged after {records:,} records: {good:,} of its {size:,} bytes were read, "
            "and are shown."
        )


def _reason(fault: Exception) -> str:
    return getattr(fault, "strerror", None) or type(fault).__name__


def _take(value: Any, step: int, time: float, plugins: dict[str, str], log: Log) -> None:
    """Take over one value of an event."""
    kind, tag = value.WhichOneof("value"), value.tag
    if value.HasField("metadata"):  # of a tag's first value only
        plugins.setdefault(tag, value.metadata.plugin_data.plugin_name)
    if kind == "simple_value":
        log.add_scalar(tag, step, float(value.simple_value), time)
    elif kind == "image":
        log.images[tag] = LoggedImage(step, value.image.encoded_image_string)
    elif kind == "histo":
        log.histograms[tag] = _histogram(value.histo, step)
    elif kind == "tensor":
        _take_tensor(value.tensor, tag, plugins.get(tag, ""), (step, time), log)


def _take_tensor(tensor: Any, tag: str, plugin: str, when: tuple[int, float], log: Log) -> None:
    from tensorboard.util.tensor_util import make_ndarray

    if plugin == "scalars":
        log.add_scalar(tag, when[0], float(make_ndarray(tensor).item()), when[1])
    elif plugin == "text":
        parts = make_ndarray(tensor).ravel().tolist()
        text = "\n\n".join(part.decode("utf-8", "replace") for part in parts)
        log.texts[tag.removesuffix("/text_summary")] = text


def _histogram(histogram: Any, step: int) -> LoggedHistogram:
    counts = list(histogram.bucket)
    # a bin is named by its upper end; the first one begins at the smallest value, the last ends at the largest
    edges = [histogram.min, *histogram.bucket_limit]
    edges = [min(max(edge, histogram.min), histogram.max) for edge in edges]
    return LoggedHistogram(step, edges, counts)


def event_files(folder: Path) -> Iterator[Path]:
    """Event files of a folder itself, in the order in which they were begun."""
    yield from sorted(path for path in folder.glob(EVENT_FILES) if path.is_file())
