"""Odd and hostile logs: the page is written in bounded time, one bad value is left out, and a line says so."""

from __future__ import annotations

import signal

import pytest
from commands.report.odd_logs import CASES, HEALTHY, scalar, tensor_event, write_events
from commands.report.test_page import Page

from thermo_callbacks.commands.cli import main
from thermo_callbacks.commands.report.events import read_event_file
from thermo_callbacks.commands.report.hyperparameters import read_hyperparameters
from thermo_callbacks.commands.report.log import Log
from thermo_callbacks.commands.report.tensors import number_in

SECONDS = 30
PAGE = 5e6  # bytes
LONG = ("a million", "50,000", "ten megabytes", "two megabytes")


@pytest.fixture(autouse=True)
def bounded():
    def end(*_):
        raise TimeoutError(f"no page within {SECONDS} s")

    before = signal.signal(signal.SIGALRM, end)
    signal.alarm(SECONDS)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


def read(path):
    log = Log()
    read_event_file(path, log)
    return log


@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=[pytest.mark.slow] * any(each in name for each in LONG)) for name in CASES],
)
def test_the_page_is_written_and_says_what_is_left_out(name, tmp_path, capsys):
    case = CASES[name]
    case.write(tmp_path / "run")
    target = tmp_path / "report.html"
    assert main(["report", str(tmp_path / "run"), "--out", str(target)]) == 0
    printed, errors = capsys.readouterr()
    assert errors == ""
    assert case.words in printed.partition("Wrote ")[0]
    text = target.read_text(encoding="utf-8")
    assert len(text) < PAGE
    page = Page(text)
    assert page.faults == []
    assert bool(page.all("aside")) or not case.words
    assert f'data-value="{HEALTHY[-1][1]}"' in text  # the healthy value beside it


def test_values_with_an_unknown_time_come_before_all_others(tmp_path):
    log = read(
        write_events(tmp_path, scalar("thermo/heat", 1, 5.0, 100.0), scalar("thermo/heat", 1, 6.0, float("nan")))
    )
    assert log.scalars["thermo/heat"].values.tolist() == [5.0]


def test_huge_and_tiny_values_keep_their_sign_and_place(tmp_path):
    log = Log()
    for step, value in enumerate((1e308, -1e308, 1e-320, -1e-320, 1e99, float("inf"))):
        log.add_scalar("a", step, value, 1.0)
    assert log.scalars["a"].values.tolist() == [float("inf"), float("-inf"), 0.0, 0.0, 1e99, float("inf")]
    log.close("file")
    assert log.notices == [
        "file, value of 'a' and 1 more: it lies beyond ±1e100, shown as infinite.",
        "file, value of 'a' and 1 more: it is closer to 0 than 1e-100, shown as 0.",
    ]


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        ("float32", 1.5),
        ("float64", -1e-5),
        ("float16", 0.25),
        ("int32", -7),
        ("int64", 2**40),
        ("uint8", 200),
        ("bool", True),
    ],
)
@pytest.mark.parametrize("packed", [True, False])
def test_numbers_of_all_ordinary_types(kind, value, packed):
    import numpy as np
    from tensorboard.util.tensor_util import make_tensor_proto

    array = np.array(value, dtype=kind)
    tensor = make_tensor_proto(array)
    if packed:
        packed_bytes = array.tobytes()
        tensor = type(tensor)(dtype=tensor.dtype, tensor_content=packed_bytes)
    assert number_in(tensor) == float(array)


def test_settings_beside_a_broken_one_are_shown(tmp_path):
    (tmp_path / "hparams.yaml").write_text(
        "rate: 0.1\nwhen: 2024-99-99\nrun: !!python/object/apply:os.system [exit]\nlayers: [1, 2]\nflag: true\nnone:\n"
    )
    settings, notices = read_hyperparameters(tmp_path / "hparams.yaml")
    assert settings == {"rate": "0.1", "layers": "[1, 2]", "flag": "True", "none": "None"}
    assert [notice.partition(" (")[0] for notice in notices] == [
        "hparams.yaml: the setting 'when' is left out",
        "hparams.yaml: the setting 'run' is left out",
    ]


def test_nothing_is_executed_or_unpickled(tmp_path, monkeypatch):
    import builtins
    import pickle

    def refuse(*_, **__):
        raise AssertionError("something of the log was executed")

    for name in ("loads", "load", "Unpickler"):
        monkeypatch.setattr(pickle, name, refuse)
    for name in ("eval",):
        monkeypatch.setattr(builtins, name, refuse)
    write_events(
        tmp_path,
        tensor_event(
            "text", type(tensor_event("text", None).summary.value[0].tensor)(dtype=7, string_val=[b"\x80\x04."])
        ),
    )
    proof = tmp_path / "proof"
    (tmp_path / "hparams.yaml").write_text(f'a: !!python/object/apply:os.mkdir ["{proof}"]\n')
    settings, _ = read_hyperparameters(tmp_path / "hparams.yaml")
    log = read(next(tmp_path.glob("events*")))
    assert settings == {}
    assert log.texts["thermo/heat"] == "\ufffd\x04."
    assert not proof.exists()
