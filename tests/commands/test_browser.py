"""Where there is no browser: a test that needs one is skipped, or fails where one is required."""

from __future__ import annotations

import pytest
from browser import REQUIRED, open_browser, serve_tensorboard, wait_for


@pytest.mark.parametrize(("required", "outcome"), [(None, pytest.skip.Exception), ("required", pytest.fail.Exception)])
def test_missing_browser(required, outcome, tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv(REQUIRED, raising=False)
    if required:
        monkeypatch.setenv(REQUIRED, required)
    with pytest.raises(outcome, match="install Chromium and its driver"), open_browser():
        pass


def test_missing_driver(tmp_path, monkeypatch):
    (tmp_path / "chromium").touch(mode=0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv(REQUIRED, raising=False)
    with pytest.raises(pytest.skip.Exception, match="no chromedriver on the PATH"), open_browser():
        pass


def test_server_that_does_not_answer_says_why(tmp_path):
    with pytest.raises(pytest.fail.Exception, match="TensorBoard does not answer"), serve_tensorboard(tmp_path, 0.0):
        pass


def test_waiting_ends_with_the_first_true_value_or_the_last_one():
    values = iter([0, "", 3, 4])
    assert wait_for(lambda: next(values), pause=0.0) == 3
    assert wait_for(lambda: 0, patience=0.0) == 0
