"""Event files: whole, cut off, damaged, growing."""

from __future__ import annotations

import io
import math
import warnings

import matplotlib.image
import numpy as np
import pytest
import torch
from torch.utils.tensorboard import SummaryWriter

from thermo_callbacks.commands.report.events import event_files, read_event_file
from thermo_callbacks.commands.report.log import Log

with warnings.catch_warnings():  # of the parts that TensorBoard brings along
    warnings.simplefilter("ignore", DeprecationWarning)
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

HEADER = 12  # bytes before a record's data: its length, and a checksum


def written(folder, values):
    writer = SummaryWriter(folder)
    for step, value in enumerate(values):
        writer.add_scalar("thermo/temperature", value, step)
    writer.close()
    (path,) = event_files(folder)
    return path


def read(path):
    log = Log()
    read_event_file(path, log)
    return log


def values_of(log):
    return log.scalars["thermo/temperature"].values.tolist() if log.scalars else []


def records_of(data):
    """Where each record of a file begins and ends."""
    start, found = 0, []
    while start < len(data):
        end = start + HEADER + int.from_bytes(data[start : start + 8], "little") + 4
        found.append((start, end))
        start = end
    return found


def test_a_whole_file_has_no_notice(tmp_path):
    log = read(written(tmp_path, [1.0, 0.5, math.nan, 0.25]))
    assert log.notices == []
    np.testing.assert_array_equal(values_of(log), [1.0, 0.5, math.nan, 0.25])


def test_the_values_are_those_of_tensorboards_own_reader(logs):
    (path,) = event_files(logs.both)
    log, accumulator = read(path), EventAccumulator(str(path), size_guidance={"scalars": 0})
    accumulator.Reload()
    tags = accumulator.Tags()["scalars"]
    assert set(log.scalars) == set(tags)
    assert len(tags) > 50
    for tag in tags:
        events = accumulator.Scalars(tag)
        assert log.scalars[tag].steps.tolist() == [event.step for event in events], tag
        np.testing.assert_array_equal(log.scalars[tag].values, [event.value for event in events], tag)


def test_more_values_than_tensorboard_keeps_by_itself(tmp_path):
    values = [float(step) for step in range(10_500)]  # its limit is 10,000
    assert values_of(read(written(tmp_path, values))) == values


@pytest.mark.parametrize("kept", ["length", "checksum of the length", "data", "checksum of the data"])
def test_a_file_cut_off_within_a_record_is_read_up_to_it(tmp_path, kept):
    path = written(tmp_path, [1.0, 0.5, 0.25])
    data = path.read_bytes()
    start, end = records_of(data)[-1]
    cut = {
        "length": start + 3,
        "checksum of the length": start + 10,
        "data": start + HEADER + 5,
        "checksum of the data": end - 2,
    }[kept]
    path.write_bytes(data[:cut])
    log = read(path)
    assert values_of(log) == [1.0, 0.5]
    records = len(records_of(data)) - 1
    assert log.notices == [
        f"{path.name} is cut off or damaged after {records} records: {start} of its {cut} bytes were read, and are "
        "shown."
    ]


@pytest.mark.parametrize("place", ["length", "data"])
def test_a_damaged_record_ends_the_file(tmp_path, place):
    path = written(tmp_path, [1.0, 0.5, 0.25, 0.125])
    data = bytearray(path.read_bytes())
    start, _ = records_of(data)[-2]
    data[start + (2 if place == "length" else HEADER + 4)] ^= 0xFF
    path.write_bytes(data)
    log = read(path)
    assert values_of(log) == [1.0, 0.5]
    assert "is cut off or damaged after" in log.notices[0]


def test_garbage_alone_gives_nothing_and_says_so(tmp_path):
    path = tmp_path / "events.out.tfevents.1.host.1.0"
    path.write_bytes(np.random.default_rng(0).bytes(5000))
    log = read(path)
    assert log.scalars == {}
    assert log.notices == [
        f"{path.name} is cut off or damaged after 0 records: 0 of its 5,000 bytes were read, and are shown."
    ]


def test_an_empty_file(tmp_path):
    path = tmp_path / "events.out.tfevents.1.host.1.0"
    path.touch()
    log = read(path)
    assert (log.scalars, log.notices) == ({}, [f"{path.name} is empty."])


def test_a_record_that_is_no_event_ends_the_file(tmp_path):
    from tensorboard.summary.writer.record_writer import RecordWriter

    path = tmp_path / "events.out.tfevents.1.host.1.0"
    with path.open("wb") as stream:
        RecordWriter(stream).write(b"\xff\xff no event")
    log = read(path)
    assert log.notices == [f"{path.name} can't be read beyond its record 0 (DecodeError)."]


def test_a_file_that_vanishes(tmp_path):
    log = read(tmp_path / "events.out.tfevents.1.host.1.0")
    assert "can't be read beyond its record 0 (No such file or directory)" in log.notices[0]


def test_a_file_that_is_still_written_is_read_as_far_as_it_goes(tmp_path):
    writer = SummaryWriter(tmp_path)
    for step in range(3):
        writer.add_scalar("thermo/temperature", 1.0, step)
        writer.flush()
        (path,) = event_files(tmp_path)
        assert len(values_of(read(path))) == step + 1
    writer.close()


def test_the_last_image_histogram_and_text_are_kept(tmp_path):
    writer = SummaryWriter(tmp_path)
    spectra = [torch.tensor([1.0, 2.0]), torch.tensor([0.5, 3.0, 3.0, 8.0])]
    for step, spectrum in enumerate(spectra):
        writer.add_image("thermo/engines", torch.full((3, 4, 5), step / 2), step)
        writer.add_histogram("thermo/bulk_spectrum", spectrum, step)
        writer.add_text("thermo/legend", f"text {step}", step)
    writer.close()
    (path,) = event_files(tmp_path)
    log = read(path)
    image, histogram = log.images["thermo/engines"], log.histograms["thermo/bulk_spectrum"]
    assert image.step == 1
    assert matplotlib.image.imread(io.BytesIO(image.encoded)).shape[:2] == (4, 5)
    assert image.encoded.startswith(b"\x89PNG")
    assert (histogram.step, sum(histogram.counts)) == (1, 4)
    assert (histogram.edges[0], histogram.edges[-1]) == (0.5, 8.0)
    assert len(histogram.edges) == len(histogram.counts) + 1
    assert np.all(np.diff(histogram.edges) >= 0)
    assert log.texts == {"thermo/legend": "text 1"}


def test_scalars_of_newer_writers_are_tensors(tmp_path):
    from tensorboard.compat.proto.event_pb2 import Event
    from tensorboard.compat.proto.summary_pb2 import Summary
    from tensorboard.compat.proto.tensor_shape_pb2 import TensorShapeProto
    from tensorboard.summary.writer.record_writer import RecordWriter
    from tensorboard.util.tensor_util import make_tensor_proto

    path = tmp_path / "events.out.tfevents.1.host.1.0"
    with path.open("wb") as stream:
        for step in (1, 2):
            value = Summary.Value(tag="thermo/temperature", tensor=make_tensor_proto(0.5 * step))
            assert value.tensor.tensor_shape == TensorShapeProto()
            if step == 1:
                value.metadata.plugin_data.plugin_name = "scalars"
            event = Event(step=step, wall_time=1.0, summary=Summary(value=[value]))
            RecordWriter(stream).write(event.SerializeToString())
    assert values_of(read(path)) == [0.5, 1.0]
