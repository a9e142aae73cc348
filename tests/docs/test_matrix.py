"""The matrix of settings on the page is that of the tests, and each of its tests is there."""

from __future__ import annotations

import re
from pathlib import Path

from integration import test_matrix
from integration.settings_matrix import PAIRS, TEST, table

PAGE = (Path(__file__).parents[2] / "docs" / "supported.md").read_text(encoding="utf-8")


def test_the_page_has_the_matrix_that_the_tests_hold() -> None:
    # python tests/integration/settings_matrix.py prints it
    assert table() in PAGE


def test_each_cell_names_a_test_that_is_there() -> None:
    named = re.findall(r"`(tests/integration/test_matrix\.py::\w+)\[([^]]+)\]`", PAGE)
    (mark,) = (
        each for each in test_matrix.test_training_is_the_same_and_measured.pytestmark if each.name == "parametrize"
    )
    there = {parameters.id for parameters in mark.args[1]}
    assert len(named) == 2 * len(PAIRS) == 26
    assert {path for path, _ in named} == {TEST}
    assert {words for _, words in named} == there
