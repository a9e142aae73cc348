"""A real browser without a window, and TensorBoard served for it."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

_BROWSERS = ("chromium", "chromium-browser", "google-chrome")
_FLAGS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",  # what a page asks of the network has to fail
)
REQUIRED = "THERMO_BROWSER"
"""Environment variable that, set to ``required``, makes a missing browser a failure and not a skip."""


@contextlib.contextmanager
def open_browser(width: int = 1400, height: int = 1000) -> Iterator[Any]:
    """A Chrome driver of selenium's for Chromium without a window, its profile fresh and gone at the end.

    Skips the test where there is no Chromium, or fails it where one is required.
    """
    browser = next(filter(None, map(shutil.which, _BROWSERS)), None)
    driver = shutil.which("chromedriver")
    if browser is None or driver is None:
        what = f"none of {', '.join(_BROWSERS)}" if browser is None else "no chromedriver"
        missing = f"{what} on the PATH: install Chromium and its driver to run the tests in the browser"
        if os.environ.get(REQUIRED) == "required":
            pytest.fail(missing)
        pytest.skip(missing)
    # not at the top: it takes a second, which collecting the other tests need not wait for
    from selenium import webdriver

    with tempfile.TemporaryDirectory(prefix="browser-", ignore_cleanup_errors=True) as profile:
        options = webdriver.ChromeOptions()
        options.binary_location = browser
        for flag in (*_FLAGS, f"--user-data-dir={profile}", f"--window-size={width},{height}"):
            options.add_argument(flag)
        options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
        chrome = webdriver.Chrome(options=options, service=webdriver.ChromeService(driver))
        try:
            yield chrome
        finally:
            chrome.quit()


@contextlib.contextmanager
def serve_tensorboard(logdir: Path | str, patience: float = 60.0) -> Iterator[str]:
    """TensorBoard on a free port of this machine, killed at the end; yields its address, ``http://127.0.0.1:...``."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    address = f"http://127.0.0.1:{port}"
    command = [sys.executable, "-m", "tensorboard.main", f"--logdir={logdir}", "--host=127.0.0.1", f"--port={port}"]
    with (
        tempfile.TemporaryFile() as output,
        # a session of its own: TensorBoard starts a data server beside itself, which has to go too
        subprocess.Popen(
            [*command, "--reload_interval=1"], stdout=output, stderr=subprocess.STDOUT, start_new_session=True
        ) as server,
    ):
        try:
            if (
                not wait_for(lambda: server.poll() is not None or _answers(address), patience)
                or server.poll() is not None
            ):
                output.seek(0)
                pytest.fail(f"TensorBoard does not answer at {address}: {output.read().decode()[-2000:]}")
            yield address
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(server.pid, 9)


def wait_for(condition: Callable[[], Any], patience: float = 90.0, pause: float = 0.25) -> Any:
    """First true value of a condition that is asked for again and again, or the last one when patience ends."""
    end = time.monotonic() + patience
    while not (found := condition()) and time.monotonic() < end:
        time.sleep(pause)
    return found


def _answers(address: str) -> bool:
    try:
        with urllib.request.urlopen(address, timeout=2.0) as page:
            return bool(page.read(1))
    except (urllib.error.URLError, OSError):
        return False
