"""Logs at random: event files, tables, settings and options; none ends in a traceback."""

from __future__ import annotations

import contextlib
import io
import shutil
import tempfile
from pathlib import Path

import pytest
from commands.report.odd_logs import TYPES, histogram_event, scalar, tensor_event, write_events
from commands.report.test_page import Page
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tensorboard.compat.proto.tensor_pb2 import TensorProto
from tensorboard.compat.proto.tensor_shape_pb2 import TensorShapeProto

from thermo_callbacks.catalog import QUANTITIES
from thermo_callbacks.commands.check.command import CRITICAL
from thermo_callbacks.commands.cli import main

TAGS = sorted({tag for quantity in QUANTITIES for tag in quantity.tags})
NAMES = st.text(max_size=12) | st.sampled_from(["net.0", "net.10", "$x^{", "<script>", "a" * 300, "7" * 5000])
SIGNS = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
tags = st.sampled_from(TAGS) | st.builds("{}/{}".format, st.sampled_from(["thermo_temperature", "thermo_heat"]), SIGNS)
tags = (
    tags
    | st.sampled_from(["train_loss", "thermo_dead_fraction/a", "thermo_work_efficiency/Module", "x-thermo/heat"])
    | SIGNS
)
steps = st.integers(-(2**63), 2**63 - 1) | st.integers(0, 200)
floats = st.floats(width=64) | st.sampled_from([1e308, -1e308, 1e-320, 0.0, 1.0])
shapes = st.lists(st.integers(-2, 10**12), max_size=3)


@st.composite
def scalars(draw):
    value = draw(st.floats(width=32))
    return scalar(draw(tags), draw(steps), value, draw(floats))


@st.composite
def histograms(draw):
    numbers = st.lists(floats, max_size=5)
    ends = {"min": draw(floats), "max": draw(floats)}
    return histogram_event(**ends, bucket_limit=draw(numbers), bucket=draw(numbers))


@st.composite
def tensors(draw):
    dimensions = [TensorShapeProto.Dim(size=size) for size in draw(shapes)]
    tensor = TensorProto(
        dtype=draw(st.sampled_from(TYPES)),
        tensor_shape=TensorShapeProto(dim=dimensions),
        tensor_content=draw(st.binary(max_size=16)),
        float_val=draw(st.lists(st.floats(width=32), max_size=2)),
        string_val=draw(st.lists(st.binary(max_size=30), max_size=2)),
        int_val=draw(st.lists(st.integers(-(2**31), 2**31 - 1), max_size=2)),
    )
    return tensor_event(draw(st.sampled_from(["scalars", "text", "images", ""])), tensor, draw(tags))


events = st.lists(scalars() | histograms() | tensors() | st.binary(max_size=40), max_size=12)
cells = st.sampled_from(["", "nan", "inf", "-inf", "1e308", "1e-320", "9" * 400, '"', "1", "2.5", "x"]) | SIGNS
table = st.builds(
    lambda header, rows: "\n".join(map(",".join, [["step", *header], *rows])),
    st.lists(tags.map(lambda tag: tag.replace("\n", " ")), max_size=4),
    st.lists(st.lists(cells, max_size=5), max_size=5),
)
plain = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | SIGNS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(SIGNS, inner, max_size=4),
    max_leaves=12,
)
lines = st.sampled_from(
    [
        "a: &a [*a]",
        "b: !!python/name:os.system",
        "c: 2024-99-99",
        "d: {",
        "? [1]",
        "e: !!binary é",
        "- 1",
        "<<: {a: 1}",
        "f: " + "[" * 80 + "]" * 80,
        "g: !!timestamp x",
        "h: 1:99:99",
        "---",
        "i: &i {x: 1}",
        "j: {<<: [*i, *i]}",
    ]
)
hparams = st.lists(lines | SIGNS, max_size=6).map("\n".join) | st.text(max_size=60)


def write(folder, found_events, found_table, found_hparams, found_configuration):
    import json

    write_events(folder, *(each for each in found_events))
    for name, text in {
        "metrics.csv": found_table,
        "hparams.yaml": found_hparams,
        "thermo_run_configuration.json": json.dumps(found_configuration),
    }.items():
        (folder / name).write_bytes(text.encode("utf-8", "surrogatepass"))


def check(arguments, statuses=(0, 2)):
    """A page and status 0, or one line and status 2."""
    output, errors = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(output), contextlib.redirect_stderr(errors):
        try:
            status = main(arguments)
        except SystemExit as end:
            status = end.code
    assert status in statuses, (status, errors.getvalue())
    assert errors.getvalue().count("\n") == (status == 2), errors.getvalue()
    return status


configuration = st.dictionaries(
    st.sampled_from(["window", "batch_size", "engine_types", "layers", "seed", "optimizers"])
    | st.sampled_from(["planned", "watched_layers", "untrained_layers"])
    | SIGNS,
    plain,
    max_size=5,
)
QUICK = {"deadline": None, "suppress_health_check": list(HealthCheck), "derandomize": True, "database": None}


def report_of(found_events, found_table, found_hparams, found_configuration):
    folder = Path(tempfile.mkdtemp(prefix="fuzz"))
    try:
        write(folder / "run", found_events, found_table, found_hparams, found_configuration)
        target = folder / "report.html"
        assert check(["report", str(folder / "run"), "--out", str(target)]) == 0
        assert Page(target.read_text(encoding="utf-8")).faults == []
        assert check(["check", str(folder / "run"), "--json", str(folder / "findings.json")], (0, CRITICAL)) != 2
    finally:
        shutil.rmtree(folder)


@settings(max_examples=25, **QUICK)
@given(events, table, hparams, configuration)
def test_some_logs_at_random(found_events, found_table, found_hparams, found_configuration):
    report_of(found_events, found_table, found_hparams, found_configuration)


@pytest.mark.slow
@settings(max_examples=1000, **QUICK)
@given(events, table, hparams, configuration)
def test_a_thousand_logs_at_random(found_events, found_table, found_hparams, found_configuration):
    report_of(found_events, found_table, found_hparams, found_configuration)


options = st.sampled_from(
    [
        "--max-epochs",
        "--logdir",
        "--lr",
        "--batch-size",
        "--seed",
        "--optimizer",
        "--out",
        "--json",
        "--budget",
        "--depth",
        "--in",
        "--tolerance",
        "--by",
        "--csv",
        "--directory",
        "--seeds",
        "--width",
        "--jobs",
        "--model",
        "--data",
        "--activations",
    ]
)
words = st.sampled_from(
    ["", " ", "-1", "0", "1e400", "nan", "9" * 20, "9" * 5000, "a" * 300, "\0", "--", "784-10", "x"]
)
commands = st.sampled_from(["demo", "compare", "report", "check", "topology", "nothing"])


@pytest.fixture
def still(monkeypatch, tmp_path):
    """Nothing is trained, and nothing is written but below a folder of the test."""
    from thermo_callbacks.commands.compare import command
    from thermo_callbacks.commands.demo import training

    def stop(*_):
        raise ValueError("reached the training")

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(command, "_train", stop)
    monkeypatch.setattr(training, "train", lambda *_: (_ for _ in ()).throw(SystemExit(2)))


@pytest.mark.slow
def test_a_thousand_command_lines_at_random(still):
    @settings(max_examples=1000, **QUICK)
    @given(commands, st.lists(st.tuples(options, words | SIGNS), max_size=4), st.lists(words | SIGNS, max_size=2))
    def run(command, pairs, places):
        output, errors = io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(output), contextlib.redirect_stderr(errors):
            try:
                status = main([command, *places, *(part for pair in pairs for part in pair)])
            except SystemExit as end:
                status = end.code
        assert status in (0, 2)

    run()
