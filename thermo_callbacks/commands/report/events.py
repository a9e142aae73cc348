"""Reader of TensorBoard event files that stops at the first damaged record."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from thermo_callbacks.commands.report.log import Log, LoggedImage
from thermo_callbacks.commands.report.records import FRAME, read_records
from thermo_callbacks.commands.report.tensors import number_in, text_in

EVENT_FILES = "*tfevents*"


def read_event_file(path: Path, log: Log) -> None:
    """Read an event file to its end, or to the first record that is cut off or damaged, and note that.

    A file that is still being written is read as far as it goes. No value behind a damaged record is taken, since
    nothing says where the next one begins.
    """
    # not at the top: it takes a second, and its parts warn of one another
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        from google.protobuf.message import DecodeError
        from tensorboard.compat.proto.event_pb2 import Event

    good = records = 0
    plugins: dict[str, str] = {}
    try:
        size = path.stat().st_size
        with path.open("rb") as stream:
            for block in read_records(stream):
                for record in block:
                    event = Event.FromString(record)
                    good, records = good + len(record) + FRAME, records + 1
                    for value in event.summary.value:
                        _take(value, event.step, event.wall_time, plugins, log)
    except (OSError, DecodeError, ValueError, MemoryError) as fault:
        log.notices.append(f"{path.name} can't be read beyond its record {records:,} ({_reason(fault)}).")
        log.close(path.name)
        return
    if size == 0:
        log.notices.append(f"{path.name} is empty.")
    elif good < size:
        log.notices.append(
            f"{path.name} is cut off or damaged after {records:,} records: {good:,} of its {size:,} bytes were read, "
            "and are shown."
        )
    log.close(path.name)


def _reason(fault: Exception) -> str:
    return getattr(fault, "strerror", None) or type(fault).__name__


def _take(value: Any, step: int, time: float, plugins: dict[str, str], log: Log) -> None:
    """Take over one value of an event."""
    kind = value.WhichOneof("value")
    if kind == "simple_value":
        log.add_scalar(value.tag, step, value.simple_value, time)
        return
    tag = value.tag
    if value.HasField("metadata"):  # of a tag's first value only
        plugins.setdefault(tag, value.metadata.plugin_data.plugin_name)
    if kind == "image":
        log.add_image(tag, LoggedImage(step, value.image.encoded_image_string))
    elif kind == "histo":
        ends = (value.histo.min, value.histo.max)
        log.add_histogram(tag, step, ends, (value.histo.bucket_limit, value.histo.bucket))
    elif kind == "tensor":
        _take_tensor(value.tensor, tag, plugins.get(tag, ""), (step, time), log)


def _take_tensor(tensor: Any, tag: str, plugin: str, when: tuple[int, float], log: Log) -> None:
    if plugin == "scalars":
        number = number_in(tensor)
        if number is None:
            log.note(tag, "its tensor holds no single number, left out")
        else:
            log.add_scalar(tag, when[0], number, when[1])
    elif plugin == "text":
        text = text_in(tensor)
        if text is None:
            log.note(tag, "its tensor holds no text, left out")
        else:
            log.add_text(tag.removesuffix("/text_summary"), text)


def event_files(folder: Path) -> Iterator[Path]:
    """Event files of a folder itself, in the order in which they were begun."""
    yield from sorted(path for path in folder.glob(EVENT_FILES) if path.is_file())
