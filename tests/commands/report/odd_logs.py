"""Logs with odd and hostile values, each beside a healthy temperature, and the words that must say so."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

with warnings.catch_warnings():  # of the parts that TensorBoard brings along
    warnings.simplefilter("ignore", DeprecationWarning)
    from tensorboard.compat.proto.event_pb2 import Event
    from tensorboard.compat.proto.summary_pb2 import HistogramProto, Summary
    from tensorboard.compat.proto.tensor_pb2 import TensorProto
    from tensorboard.compat.proto.tensor_shape_pb2 import TensorShapeProto
    from tensorboard.compat.proto.types_pb2 import DataType
    from tensorboard.summary.writer.record_writer import RecordWriter

HEALTHY = [(step, 1.0 + 0.25 * step, 1.7e9 + step) for step in range(5)]
EVENTS = "events.out.tfevents.1.host.1.0"


def scalar(tag: str, step: int, value: float, time: float = 1.7e9) -> Any:
    return Event(step=step, wall_time=time, summary=Summary(value=[Summary.Value(tag=tag, simple_value=value)]))


def healthy(tag: str = "thermo/temperature") -> list[Any]:
    return [scalar(tag, *row) for row in HEALTHY]


def write_events(folder: Path, *events: Any) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / EVENTS
    with path.open("wb") as stream:
        writer = RecordWriter(stream)
        for event in (*healthy(), *events):
            writer.write(event if isinstance(event, bytes) else event.SerializeToString())
    return path


def tensor_event(plugin: str, tensor: Any, tag: str = "thermo/heat") -> Any:
    value = Summary.Value(tag=tag, tensor=tensor)
    value.metadata.plugin_data.plugin_name = plugin
    return Event(step=3, wall_time=1.7e9, summary=Summary(value=[value]))


def histogram_event(**fields: Any) -> Any:
    value = Summary.Value(tag="thermo/bulk_spectrum", histo=HistogramProto(**fields))
    return Event(step=3, wall_time=1.7e9, summary=Summary(value=[value]))


def with_file(name: str, content: str | bytes) -> Callable[[Path], Any]:
    def write(folder: Path) -> None:
        write_events(folder)
        (folder / name).write_bytes(content if isinstance(content, bytes) else content.encode("utf-8", "surrogatepass"))

    return write


def with_fifo(name: str) -> Callable[[Path], Any]:
    def write(folder: Path) -> None:
        write_events(folder)
        os.mkfifo(folder / name)

    return write


def events(*given: Any) -> Callable[[Path], Any]:
    return lambda folder: write_events(folder, *given)


def table(*rows: str, header: str = "epoch,step,thermo/heat") -> Callable[[Path], Any]:
    return with_file("metrics.csv", "\n".join([header, *rows]) + "\n")


class Case(NamedTuple):
    """Attributes: words: part of a notice; empty where nothing is left out."""

    write: Callable[[Path], Any]
    words: str = ""


def _bomb(levels: int = 30) -> str:
    lines = [f"a{place}: &a{place} [{', '.join([f'*a{place - 1}'] * 9)}]" for place in range(1, levels)]
    return "\n".join(["a0: &a0 [x, x, x, x, x, x, x, x, x]", *lines, "rate: 0.1\n"])


def _merges(levels: int = 12) -> str:
    lines = [f"b{place}: &b{place} {{<<: [{', '.join([f'*b{place - 1}'] * 9)}]}}" for place in range(1, levels)]
    return "\n".join(["b0: &b0 {x: 1}", *lines, "rate: 0.1\n"])


TIMES = {"nan": float("nan"), "inf": float("inf"), "-inf": float("-inf"), "1e12": 1e12, "-1e12": -1e12, "1e300": 1e300}
TYPES = [number for name, number in DataType.items() if not name.endswith("_REF")]
_SIX = {"min": 0.0, "max": 3.0, "num": 6.0, "sum": 9.0, "sum_squares": 20.0}
_GOOD = {**_SIX, "bucket_limit": [1.0, 2.0, 3.0], "bucket": [1.0, 2.0, 3.0]}
_NAN = float("nan")
HISTOGRAMS = {
    "more edges": {**_GOOD, "bucket_limit": [1.0, 2.0, 3.0, 4.0]},
    "more counts": {**_GOOD, "bucket": [1.0, 2.0, 3.0, 4.0]},
    "no edges": {**_GOOD, "bucket_limit": []},
    "nothing": {},
    "nan edge": {**_GOOD, "bucket_limit": [1.0, _NAN, 3.0]},
    "nan count": {**_GOOD, "bucket": [1.0, _NAN, 3.0]},
    "inf count": {**_GOOD, "bucket": [1.0, float("inf"), 3.0]},
    "nan min": {**_GOOD, "min": _NAN},
    "nan max": {**_GOOD, "max": _NAN},
    "inf ends": {**_GOOD, "min": float("-inf"), "max": float("inf")},
    "min above max": {**_GOOD, "min": 5.0, "max": -5.0},
    "edges fall": {**_GOOD, "bucket_limit": [3.0, 2.0, 1.0]},
    "negative count": {**_GOOD, "bucket": [-1.0, 2.0, 3.0]},
    "huge": {**_GOOD, "min": -1e308, "max": 1e308, "bucket_limit": [-1e307, 0.0, 1e308]},
    "a million": {**_GOOD, "bucket_limit": list(range(10**6)), "bucket": [1.0] * 10**6},
}
_SHAPES = {"huge": [10**12], "negative": [-1], "many": [10**9] * 4, "two": [2], "empty": [0]}


def _shape(sizes: list[int]) -> Any:
    return TensorShapeProto(dim=[TensorShapeProto.Dim(size=size) for size in sizes])


def tensors_of_all_types() -> list[Any]:
    """A tensor of each type, empty and with bytes of a wrong number, in the place of a number and of a text."""
    found = []
    for number in TYPES:
        for plugin in ("scalars", "text"):
            for packed in (b"", b"\x01\x80" * 8, b"\xff" * 3):
                tag = f"thermo/{DataType.Name(number)}_{plugin}_{len(packed)}"
                found.append(tensor_event(plugin, TensorProto(dtype=number, tensor_content=packed), tag))
    return found


def _tensors() -> dict[str, Case]:
    cases = {"tensors of all types": Case(events(*tensors_of_all_types()), "its tensor holds no")}
    for name, sizes in _SHAPES.items():
        one = TensorProto(dtype=DataType.DT_FLOAT, float_val=[1.0], tensor_shape=_shape(sizes))
        cases[f"tensor of shape {name}"] = Case(events(tensor_event("scalars", one)), "thermo/heat")
        text = TensorProto(dtype=DataType.DT_STRING, string_val=[b"x"], tensor_shape=_shape(sizes))
        cases[f"text of shape {name}"] = Case(events(tensor_event("text", text)))
    cases["text as scalar"] = Case(
        events(tensor_event("scalars", TensorProto(dtype=DataType.DT_STRING, string_val=[b"0.5"]))), "thermo/heat"
    )
    cases["scalar as text"] = Case(
        events(tensor_event("text", TensorProto(dtype=DataType.DT_FLOAT, float_val=[1.0]))), "thermo/heat"
    )
    return cases


CONFIGURATION = "thermo_run_configuration.json"
_ENGINES = [scalar("thermo_work_efficiency/act", 4, 0.5)]


def _engine_type(kind: str) -> Case:
    def write(folder: Path) -> None:
        write_events(folder, *_ENGINES)
        (folder / CONFIGURATION).write_text(f'{{"engine_types": {{"act": {kind}}}}}')

    return Case(write)


CASES: dict[str, Case] = {
    **_tensors(),
    **{f"wall time {name}": Case(events(scalar("thermo/heat", 3, 1.0, time)), "time") for name, time in TIMES.items()},
    "all wall times nan": Case(
        lambda folder: write_events(folder, *(scalar("thermo/temperature", row[0], 1.0, _NAN) for row in HEALTHY)),
        "time",
    ),
    **{f"histogram {name}": Case(events(histogram_event(**each)), "histogram") for name, each in HISTOGRAMS.items()},
    **{
        f"step {step}": Case(events(scalar("thermo/heat", step, 1.0)), "step")
        for step in (2**63 - 1, -(2**63), 2**62, 2**53 + 1)
    },
    "negative steps": Case(events(*(scalar("thermo/heat", -step, 1.0 * step) for step in range(5)))),
    **{
        f"table step {step}": Case(table(f"0,{step},1.0", "0,1,1.0"), "step")
        for step in ("9223372036854775807", "9223372036854775808", "1e19", "1e308", "-1e19", "inf")
    },
    **{f"table step {step[:9]}": Case(table(f"0,{step},1.0", "0,1,1.0"), "lines") for step in ("nan", "9" * 5000)},
    **{
        f"table value {value}": Case(table(f"0,1,{value}", "0,2,1.0"), "thermo/heat")
        for value in ("1e308", "-1e308", "1e-320", "-1e-320")
    },
    "table both ends": Case(table("0,1,1e308", "0,2,-1e308", "0,3,1e-320"), "thermo/heat"),
    "table value of 5,000 digits": Case(table(f"0,1,{'9' * 5000}", "0,2,1.0")),
    "table name of 5,000 digits": Case(table("0,1,1.0", header=f"epoch,step,thermo_heat/{'7' * 5000}")),
    "event name of 5,000 digits": Case(events(scalar(f"thermo_heat/{'7' * 5000}", 1, 1.0))),
    "table with a column twice": Case(table("0,1,1.0,2.0", header="epoch,step,thermo/heat,thermo/heat")),
    "table with step twice": Case(table("1,1,1.0", header="step,step,thermo/heat")),
    "table with cells of a megabyte": Case(table(f"0,1,{'x' * 10**6}", "0,2,1.0"), "lines"),
    "table of NUL": Case(with_file("metrics.csv", b"\0" * 10000), "metrics.csv"),
    "table of noise": Case(with_file("metrics.csv", os.urandom(5000) + b"\n"), "metrics.csv"),
    "table in UTF-16": Case(with_file("metrics.csv", "epoch,step,a\n0,1,2\n".encode("utf-16")), "metrics.csv"),
    "table with a byte order mark": Case(with_file("metrics.csv", "\ufeffstep,thermo/heat\n1,2.0\n"), ""),
    "event values at the ends": Case(
        events(*(scalar("thermo/heat", i, v) for i, v in enumerate((3e38, -3e38, 1e-45))))
    ),
    "hparams with a tag of python": Case(
        with_file("hparams.yaml", "a: !!python/object/apply:os.system [exit]\nrate: 0.1\n"), "a"
    ),
    "hparams with a name of python": Case(with_file("hparams.yaml", "a: !!python/name:os.system\nrate: 0.1\n"), "a"),
    "hparams with an unknown tag": Case(with_file("hparams.yaml", "a: !thing {b: 1}\nrate: 0.1\n"), "a"),
    "hparams with a bad date": Case(with_file("hparams.yaml", "when: 2024-99-99\nrate: 0.1\n"), "when"),
    "hparams with a bad time": Case(with_file("hparams.yaml", "when: 2024-01-01 99:99:99\nrate: 0.1\n"), "when"),
    "hparams with bad tags": Case(
        with_file(
            "hparams.yaml", "a: !!timestamp x\nb: !!bool x\nc: !!int x\nd: !!float x\ne: !!binary é\nrate: 0.1\n"
        ),
        "a",
    ),
    "hparams 5,000 deep": Case(with_file("hparams.yaml", "a: " + "[" * 5000 + "]" * 5000 + "\nrate: 0.1\n"), "hparams"),
    "hparams 90 deep": Case(with_file("hparams.yaml", "a: " + "[" * 90 + "]" * 90 + "\nrate: 0.1\n"), "hparams"),
    "hparams with an alias bomb": Case(with_file("hparams.yaml", _bomb()), "hparams"),
    "hparams with a bomb of merges": Case(with_file("hparams.yaml", _merges()), "hparams"),
    "hparams that hold themselves": Case(with_file("hparams.yaml", "a: &a [*a]\nrate: 0.1\n"), "a"),
    "hparams with an integer of 5,000 digits": Case(with_file("hparams.yaml", f"a: {'9' * 5000}\nrate: 0.1\n"), "a"),
    "hparams with a list as a name": Case(with_file("hparams.yaml", "? [1, 2]\n: 3\nrate: 0.1\n")),
    "hparams as a fifo": Case(with_fifo("hparams.yaml"), "hparams"),
    "hparams of two documents": Case(with_file("hparams.yaml", "rate: 0.1\n---\nrate: 0.2\n"), "hparams"),
    "hparams of noise": Case(with_file("hparams.yaml", os.urandom(3000)), "hparams"),
    "hparams of ten megabytes": Case(with_file("hparams.yaml", "a: 1\n" * 2_000_000), "hparams"),
    "hparams with a half of a sign": Case(with_file("hparams.yaml", 'a: "\\ud800"\nrate: 0.1\n')),
    "hparams that are a list": Case(with_file("hparams.yaml", "[1, 2]\n"), "hparams"),
    "hparams that are empty": Case(with_file("hparams.yaml", "")),
    "configuration as a fifo": Case(with_fifo(CONFIGURATION), CONFIGURATION),
    "configuration 5,000 deep": Case(
        with_file(CONFIGURATION, '{"a": ' + "[" * 5000 + "]" * 5000 + "}"), "holds no configuration"
    ),
    "configuration 900 deep": Case(with_file(CONFIGURATION, '{"a": ' + '{"a": ' * 900 + "1" + "}" * 900 + "}"), ""),
    "configuration with a number of 5,000 digits": Case(
        with_file(CONFIGURATION, f'{{"window": {"9" * 5000}}}'), "holds no configuration"
    ),
    "configuration with a batch of 400 digits": Case(
        with_file(CONFIGURATION, f'{{"batch_size": 1{"0" * 400}, "window": 1{"0" * 400}}}')
    ),
    "configuration with half a sign": Case(with_file(CONFIGURATION, '{"a": "\\ud800"}')),
    "configuration that is no JSON": Case(with_file(CONFIGURATION, '{"a": '), "holds no configuration"),
    "configuration of odd kinds": Case(
        with_file(CONFIGURATION, '{"window": true, "batch_size": [1], "engine_types": [1], "layers": {"a": NaN}}')
    ),
    **{
        f"engine type {kind}": _engine_type(kind)
        for kind in ('"Module"', '"module"', '"__class__"', "[1]", "{}", "null", "NaN", '"passive"')
    },
    "activation called Module": Case(
        lambda folder: (
            write_events(folder, scalar("thermo_work_efficiency/Module", 4, 0.5)),
            (folder / CONFIGURATION).write_text('{"engine_types": {"Module": "Module"}}'),
        )
    ),
    "an image that is none": Case(
        events(
            Event(
                step=1,
                wall_time=1.0,
                summary=Summary(
                    value=[
                        Summary.Value(
                            tag="thermo/engines", image=Summary.Image(encoded_image_string=b"\x89PNG<script>")
                        )
                    ]
                ),
            )
        )
    ),
    "a tag of control characters": Case(events(scalar("thermo_heat/\x00\x1b[31m\x07\u202e", 1, 1.0))),
    "a tag of a formula": Case(events(*(scalar("thermo_temperature/$x^{", step, 1.0) for step in range(4)))),
    "an empty tag": Case(events(scalar("", 1, 1.0), scalar("thermo/", 1, 1.0), scalar("thermo_heat/", 1, 1.0))),
    "an event without a summary": Case(events(Event(step=1), Event(wall_time=_NAN, file_version="brain.Event:9"))),
    "not UTF-8 in a tag": Case(events(b"\x2a\x0a\x0a\x08\x0a\x02\xff\xfe\x15\x00\x00\x80\x3f"), "can't be read"),
    "50,000 tags": Case(events(*(scalar(f"thermo_heat/{place}", place, 1.0) for place in range(50_000))), "tags"),
    "a text of two megabytes": Case(
        events(
            tensor_event("text", TensorProto(dtype=DataType.DT_STRING, string_val=[b"*a_`[ " * 350_000]), "thermo/note")
        ),
        "thermo/note",
    ),
}
