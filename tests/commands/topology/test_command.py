"""The subcommand: what it prints, what it refuses, and that it ends."""

from __future__ import annotations

import csv
import os
import re
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from thermo_callbacks import functional
from thermo_callbacks.commands.cli import main
from thermo_callbacks.commands.options import POSITIVE, SHARE, whole
from thermo_callbacks.commands.topology import command
from thermo_callbacks.functional.topology import Shell, analyse, survey
from thermo_callbacks.functional.topology import ranking as _topology_survey

BUDGET = ["--budget", "100000", "--depth", "3", "--in", "784", "--out", "10"]


@pytest.fixture(autouse=True)
def narrow(monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")


@pytest.fixture
def run(capsys):
    def call(*arguments):
        assert main(["topology", *arguments]) == 0
        text, errors = capsys.readouterr()
        assert errors == ""
        assert max(map(len, text.splitlines())) <= 80
        return text

    return call


def words(text):
    return " ".join(text.split())


def options(**changes):
    named = {"budget": "100000", "depth": "3", "in": "784", "out": "10"} | changes
    return [part for name, value in named.items() for part in (f"--{name}", value)]


def refusal(capsys, *arguments):
    with pytest.raises(SystemExit) as end:
        main(["topology", *arguments])
    assert end.value.code == 2
    text, errors = capsys.readouterr()
    assert text == ""
    assert errors.count("\n") == 1
    assert errors.startswith("thermo-callbacks: error: ")
    return errors.removeprefix("thermo-callbacks: error: ").rstrip("\n")


def test_one_topology(run):
    text = run("784-128-64-32-10")
    found = analyse((784, 128, 64, 32, 10))
    assert re.search(rf"energy E +{found.connections:,}", text)
    assert re.search(rf"disorder +{found.disorder:.4f} +\d+ %", text)
    assert re.search(rf"efficiency +{found.efficiency:.4f} +\d+ %", text)
    for layer, temperature in enumerate(found.temperatures, start=1):
        shown = re.search(rf"^ {layer} +\d+ +\d+ +[\d.]+ +([\d,.]+) *$", text, re.MULTILINE)[1]
        assert float(shown.replace(",", "")) == pytest.approx(temperature, rel=0.005)
    said = words(text)
    assert "What this says: Size: 110,912 connections" in said
    assert "What this does not say: how well the network learns." in said
    assert "estimated from 2,000 drawn at random" in said
    again = re.search(r"thermo-callbacks topology (--budget .*?) What", said)[1].split()
    assert "about" in words(run(*again))


def test_one_topology_among_all_of_its_size(run):
    text = run("784-512-512-10")
    peers = survey(Shell(784, 10, 2, 668_672, 0.01))
    assert peers.drawn is None
    share = (peers.quantities.efficiency < analyse((784, 512, 512, 10)).efficiency).mean()
    assert re.search(rf"efficiency +0\.5972 +{100 * share:.0f} %", text)


@pytest.mark.parametrize("text", ["784-10", "784-30-10", "4-1-1-2", "10-8-8-8-8-8-8-8-8-8-8-8-8-10"])
def test_topologies_with_little_to_say(run, text):
    assert f"{text} as a thermodynamic state" in run(text)


def test_ranking_of_a_list(run):
    text = run(*BUDGET, "--top", "4")
    found = survey(Shell(784, 10, 3, 10**5))
    assert words(text).startswith(
        "100,000 connections, 3 hidden layers, 784 inputs, 10 outputs: 509 topologies, all of them listed. Highest "
        "disorder"
    )
    rows = re.findall(r"^ (\d+) +(784-\S+-10) +([\d,]+) +(\S+) +(\S+) +(\S+) *$", text, re.MULTILINE)
    order = found.ranked("disorder").tolist()
    assert [int(row[0]) for row in rows] == [1, 2, 3, 4, 507, 508, 509]
    for rank, name, neurons, disorder, efficiency, _ in rows:
        one = analyse(found.widths[order[int(rank) - 1]].tolist())
        assert (name, int(neurons.replace(",", ""))) == (str(one), one.neurons)
        assert (float(disorder), float(efficiency)) == pytest.approx((one.disorder, one.efficiency), abs=5e-5)


def test_ranking_of_a_sample(run):
    text = run(*options(budget="1000000", depth="4"), "--samples", "200", "--seed", "7", "--by", "efficiency")
    said = words(text)
    assert "too many to list. 200 were drawn at random, each topology as probable as any other (seed 7)" in said
    assert "in the highest 1.5 % of all, with 95 % probability" in said
    assert "Highest efficiency" in said
    assert text == run(*options(budget="1000000", depth="4"), "--samples", "200", "--seed", "7", "--by", "efficiency")


def test_tolerance_shows_connections(run):
    text = run(*options(budget="20000"), "--tolerance", "0.02", "--top", "5")
    assert "within 2.0 %" in text
    shown = [int(each.replace(",", "")) for each in re.findall(r"784-\S+-10 +([\d,]+)", text)]
    assert len(shown) == 8
    assert all(19_600 <= each <= 20_400 for each in shown)
    assert len(set(shown)) > 1


def test_one_hidden_layer_has_nothing_to_rank(run):
    assert "there is nothing to rank" in words(run(*options(budget="79400", depth="1")))


def test_csv(run, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # a long path makes a long line
    file = Path("all of them.csv")
    text = run(*BUDGET, "--by", "efficiency", "--csv", str(file))
    assert f"All 509 are in {file}." in words(text)
    with file.open() as lines:
        rows = list(csv.DictReader(lines))
    assert [int(row["rank"]) for row in rows] == list(range(1, 510))
    efficiencies = [float(row["efficiency"]) for row in rows]
    assert efficiencies == sorted(efficiencies, reverse=True)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["784x512"], "a topology is widths with hyphens between them such as 784-512, not '784x512'"),
        ([], "give a topology such as 784-512-512-10, or a budget: --budget 100000 --depth 3 --in 784 --out 10"),
        (["--budget", "5"], "a budget takes --budget, --depth, --in, --out: --depth, --in, --out missing"),
        (["4-3-2", "--budget", "5"], "give either a topology or a budget: 4-3-2 can't stand beside --budget"),
        (options(budget="1e6"), "--budget: give a whole number from 1 to 1000000000000000, not '1e6'"),
        (options(budget="10000000000000000"), "--budget: give a whole number from 1 to 1000000000000000, not '1000"),
        (options(depth="0"), "--depth: give a whole number from 1 to 100, not '0'"),
        ([*BUDGET, "--tolerance", "1"], "--tolerance: give a share from 0 to below 1 such as 0.01 for 1 %, not '1'"),
        ([*BUDGET, "--tolerance", "5%"], "--tolerance: give a share from 0 to below 1 such as 0.01 for 1 %, not '5%'"),
        ([*BUDGET, "--by", "energy"], "--by: invalid choice: 'energy'"),
        ([*BUDGET, "--samples", "99"], "--samples: give a whole number from 100 to 1000000, not '99'"),
        (
            options(budget="100", depth="2"),
            "--budget 100 is too small: a network with 784 inputs, 10 outputs and --depth 2 has at least 795",
        ),
        (
            options(budget="1000", depth="1"),
            "--budget 1000 can't be met: no network with 784 inputs, 10 outputs and --depth 1 has that many "
            "connections; the nearest that can be are 794 and 1588; or give --tolerance 0.01",
        ),
        (
            options(budget="79400", depth="1", **{"by": "stability"}),
            "--by stability has no value for one hidden layer; give --depth 2 or more",
        ),
    ],
)
def test_refusals(capsys, arguments, message):
    assert refusal(capsys, *arguments).startswith(message)


def test_the_nearest_budgets_can_be_met(capsys, run):
    message = refusal(capsys, *options(budget="10007", depth="2"))
    below, above = map(int, re.search(r"nearest that can be are (\d+) and (\d+)", message).groups())
    assert below < 10_007 < above
    for budget in (below, above):
        assert "listed" in run(*options(budget=str(budget), depth="2"))


def test_layers_too_many_to_search(capsys, monkeypatch):
    monkeypatch.setattr(_topology_survey, "_PILOT", 1)
    message = refusal(capsys, *options(budget="1000000", depth="14"))
    assert message.endswith(
        "came up in a search at random: they are rare in many layers; give up to 8 hidden layers, or "
        "up to 10 and --tolerance 0.01"
    )


def test_a_file_that_cannot_be_written(capsys, tmp_path):
    message = refusal(capsys, *BUDGET, "--csv", str(tmp_path / "missing" / "file.csv"))
    assert message.endswith("can't be written (No such file or directory): give a file in a folder that is there")


def test_a_file_of_somebody_else_is_refused_and_an_own_one_replaced(capsys, run, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    file = Path("notes.csv")
    run(*BUDGET, "--csv", str(file))
    first = file.read_text()
    run(*BUDGET, "--csv", str(file))
    assert file.read_text() == first
    header, row, *_ = first.splitlines()
    monkeypatch.setattr(functional.topology, "survey", None)  # nothing is searched for before the refusal
    for text in (
        "rank,name\n1,mine\n",
        "rank,topology,connections,neurons,my notes\n1,mine\n",
        first + "my favourite is the third\n",
        f"{header}\n{row},my favourite\n",
        f"{header}\n{row.replace('-', ' and ')}\n",
        "",
    ):
        file.write_text(text)
        message = refusal(capsys, *BUDGET, "--csv", str(file))
        assert message.endswith(
            f"--csv {str(file)!r} exists and is no ranking of this program, or was changed since: give another name"
        )
        assert file.read_text() == text


def test_a_name_of_a_file_that_is_empty_or_too_long_is_refused(capsys):
    assert refusal(capsys, *BUDGET, "--csv", "").startswith("--csv: give the name of a file, not ''")
    assert "can't be written (File name too long)" in refusal(capsys, *BUDGET, "--csv", "x" * 300)


def test_ctrl_c(capsys, monkeypatch):
    def stop(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(command, "_rank", stop)
    assert main(["topology", *BUDGET]) == 130
    assert "Stopped by Ctrl-C." in capsys.readouterr().out


@pytest.mark.parametrize(("text", "share"), [("0", 0.0), ("0.05", 0.05), ("1e-6", 1e-6)])
def test_shares(text, share):
    assert SHARE["type"](text) == share


@pytest.mark.parametrize(("metadata", "text", "value"), [(whole(1), "5", 5), (POSITIVE, "0.5", 0.5)])
def test_numbers_are_plain_ones_that_can_be_sent_to_other_processes(metadata, text, value):
    read = metadata["type"](text)
    assert (read, type(read)) == (value, type(value))


def test_errors_come_before_heavy_imports():
    code = (
        "import sys\nfrom thermo_callbacks.commands.cli import main\n"
        "try:\n    main(['topology', '784x512'])\nexcept SystemExit:\n    print('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout == "False\n"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ("--budget 1000000000000000 --depth 100 --in 10 --out 10", "they are rare in many layers; give up to 8"),
        ("--budget 2000000005 --depth 2 --in 1000000000 --out 10", "nearest that can be are 2000000001 and 2000000012"),
        ("--budget 1000000000000000 --depth 2 --in 1000000000 --out 1000000000", "give --tolerance 0.01"),
    ],
)
def test_the_largest_that_may_be_asked_for_is_answered_in_bounded_time_and_memory(arguments, words):
    done = subprocess.run(
        [sys.executable, "-W", "error::RuntimeWarning", "-m", "thermo_callbacks", "topology", *arguments.split()],
        capture_output=True,
        encoding="utf-8",
        timeout=100,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (4 << 30, 4 << 30)),
    )
    assert done.returncode == 2
    assert words in done.stderr


def test_a_network_with_more_connections_than_can_be_drawn_from_is_read_alone(capsys):
    assert main(["topology", "-".join(["1000000000"] * 60)]) == 0
    assert "exceeds" not in capsys.readouterr().out


def test_a_pipe_for_the_table_is_not_waited_for(tmp_path, capsys):
    os.mkfifo(tmp_path / "table.csv")
    with pytest.raises(SystemExit) as end:
        main(
            [
                "topology",
                "--budget",
                "27",
                "--depth",
                "2",
                "--in",
                "4",
                "--out",
                "2",
                "--csv",
                str(tmp_path / "table.csv"),
            ]
        )
    assert end.value.code == 2
    assert "--csv must be a file, got " in capsys.readouterr().err
