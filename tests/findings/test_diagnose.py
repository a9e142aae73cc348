"""Roots before consequences, and each once."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from thermo_callbacks.findings import CAUSES, READS, Cause, Finding, History, Severity, Sign, diagnose
from thermo_callbacks.findings import causes as package


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
        cause("info", sign("info", confidence=1.0)),
        cause("unsure", sign(confidence=0.9)),
        cause("sure", sign(confidence=0.99)),
        cause("root", sign(confidence=0.5), "leaf"),
        cause("leaf", sign()),
        cause("critical", sign("critical", confidence=0.1)),
    ]
    assert [name for name, *_ in found(*causes)] == ["critical", "root", "sure", "unsure", "info"]


def test_two_that_explain_each_other_are_both_told() -> None:
    assert {name for name, *_ in found(cause("a", sign(), "b"), cause("b", sign(), "a"))} == {"a", "b"}


def test_what_came_before_cannot_follow() -> None:
    early = cause("early", sign(before=("late",)))
    assert found(cause("late", sign(), "early"), early) == [("early", "warning", ("late",))]


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


@pytest.mark.parametrize("each", CAUSES.values(), ids=list(CAUSES))
def test_a_cause_explains_causes_and_says_all_that_its_page_needs(each: Cause) -> None:
    assert set(each.explains) <= CAUSES.keys() - {each.name}
    assert all(text.endswith(".") for text in (each.seen, each.means, each.sign, each.advice, each.mistaken))
