"""Roots before consequences, and each once."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from thermo_callbacks.findings import CAUSES, READS, Cause, Finding, History, Severity, Sign, diagnose
from thermo_callbacks.findings import causes as package
from thermo_callbacks.findings.diagnose import LEVEL


def cause(name: str, sign: Sign | None, *explains: str) -> Cause:
    words = dict.fromkeys(("seen", "means", "sign", "advice", "mistaken"), f"words of {name}")
    return Cause(name=name, rule=lambda _: sign, reads=(), explains=explains, **words)


def sign(severity: Severity = "warning", **more: object) -> Sign:
    return Sign("seen", {"thermo/heat": 1.0}, severity=severity, **more)  # type: ignore[arg-type]


def found(*causes: Cause) -> list[tuple[str, str, tuple[str, ...]]]:
    findings = diagnose(History(), {each.name: each for each in causes})
    return [(each.cause, each.severity, each.consequences) for each in findings]


def test_nothing_is_found_in_nothing() -> None:
    assert diagnose(History()) == []
    assert diagnose(History(READS, {"optimizers": [{}], "inspection": {}})) == []


def test_consequences_are_folded_under_their_root_and_make_it_as_grave() -> None:
    assert found(cause("a", sign(), "b"), cause("b", sign("critical"), "c"), cause("c", sign("info"))) == [
        ("a", "critical", ("b", "c"))
    ]


def test_a_root_that_is_not_there_explains_nothing() -> None:
    assert found(cause("a", None, "b"), cause("b", sign())) == [("b", "warning", ())]


def test_the_gravest_comes_first_then_what_explains_more_then_what_is_surer() -> None:
    causes = [
        cause("info", sign("info")),
        replace(cause("unsure", sign(chance=0.01)), measured=True),
        cause("sure", sign()),
        cause("root", sign(), "leaf"),
        cause("leaf", sign()),
        cause("critical", sign("critical")),
    ]
    assert [name for name, *_ in found(*causes)] == ["critical", "root", "sure", "unsure", "info"]


@pytest.mark.parametrize(("windows", "looks"), [(1, 1), (2, 2), (5, 4), (25, 8), (1_000, 18)])
def test_a_chance_counts_for_all_rules_that_may_err_and_all_looks(windows: int, looks: int) -> None:
    history = History()
    for step in range(windows):
        history.add({"thermo/learning_rate": 0.1}, step)
    for chance, heard in ((0.99 * LEVEL / (3 * looks), True), (1.01 * LEVEL / (3 * looks), False)):
        causes = {name: replace(cause(name, None), measured=True) for name in ("a", "b")}
        causes |= {"exact": cause("exact", None), "c": replace(cause("c", sign(chance=chance)), measured=True)}
        found = diagnose(history, causes)
        assert [each.confidence for each in found] == ([pytest.approx(1 - 3 * looks * chance)] if heard else [])


def test_two_that_explain_each_other_are_both_told() -> None:
    assert {name for name, *_ in found(cause("a", sign(), "b"), cause("b", sign(), "a"))} == {"a", "b"}


def test_what_came_before_cannot_follow() -> None:
    early = cause("early", sign(before=("late",)))
    assert found(cause("late", sign(), "early"), early) == [("early", "warning", ("late",))]


@pytest.mark.parametrize(
    ("rates", "fast"),
    [
        ({"net.0": 2.0, "net.2": 0.02}, ["net.0"]),  # two layers: no middle between them
        ({"net.0": 2.0, "net.2": 0.02, "net.4": 0.02}, ["net.0"]),
        ({"net.0": 0.0, "net.2": 0.02}, []),  # one that rests is no measure of the other
        ({"net.0": 0.1, "net.2": 0.02}, []),
    ],
)
def test_a_layer_is_fast_beside_the_slower_half(rates: dict[str, float], fast: list[str]) -> None:
    run = History(READS, {"optimizers": [{}], "inspection": {"layer_rates": rates}})
    run.add({f"thermo_update_ratio/{name}": 0.3 for name in rates}, 19)
    assert [layer for each in diagnose(run) for layer in each.layers] == fast


@pytest.mark.parametrize(("share", "found"), [(0.72, ["one", "other"]), (0.5, [])])
def test_one_saturated_activation_of_a_pair_is_seen_by_the_mean(share: float, found: list[str]) -> None:
    facts = {"bounded_activations": ["one", "other"]}
    run = History(READS, {"inspection": facts, "activation_groups": {"pair": ["one", "other"]}})
    run.add({"thermo_saturated_fraction/pair": share}, 9)
    assert [layer for each in diagnose(run) for layer in each.layers] == found


def test_a_finding_survives_json() -> None:
    [finding] = diagnose(History(), {"a": cause("a", sign(layers=("net.0", "net.2")))})
    assert Finding.of_json(json.loads(json.dumps(finding.to_json()))) == finding


def test_a_finding_in_one_line() -> None:
    [finding] = diagnose(History(), {"a": cause("a", sign(layers=("net.0",)))})
    assert finding.line == "warning: a in net.0. seen words of a"
    assert replace(finding, layers=tuple("vwxyz")).place == "v, w, x and 2 more"


def test_a_module_in_the_folder_is_a_cause() -> None:
    names = {each.name.replace(" ", "_").replace("-", "_") for each in CAUSES.values()}
    files = {each.stem for each in Path(package.__path__[0]).glob("*.py")} - {"__init__"}
    assert names == files
    assert all(name == each.name for name, each in CAUSES.items())


NEW = """
from thermo_callbacks.findings import Cause, Sign

def _find(run):
    heat = run["thermo/heat"]
    return Sign(f"Heat was {heat.last:g} at step {run.step}.", {"thermo/heat": heat.last}) if heat.last > 0.0 else None

CAUSE = Cause(
    name="it climbs", rule=_find, reads=("thermo/heat",),
    seen="S.", means="M.", sign="G.", advice="Turn.", mistaken="N.",
)
"""


def test_a_new_file_is_all_that_a_new_cause_takes(tmp_path: Path) -> None:
    (tmp_path / "it_climbs.py").write_text(NEW, encoding="utf-8")
    shown = """
import sys
from thermo_callbacks.findings import causes
causes.__path__.append(sys.argv[1])
found = causes.collect()
from thermo_callbacks.findings import History, diagnose
history = History()
history.add({"thermo/heat": 2.0}, 3)
print(len(found), *[each.line for each in diagnose(history, found)])
"""
    done = subprocess.run([sys.executable, "-c", shown, tmp_path], capture_output=True, encoding="utf-8", check=True)
    assert done.stdout == f"{len(CAUSES) + 1} warning: it climbs. Heat was 2 at step 3. Turn.\n"


@pytest.mark.parametrize("each", CAUSES.values(), ids=list(CAUSES))
def test_a_cause_explains_causes_and_says_all_that_its_page_needs(each: Cause) -> None:
    assert set(each.explains) <= CAUSES.keys() - {each.name}
    assert all(text.endswith(".") for text in (each.seen, each.means, each.sign, each.advice, each.mistaken))
