"""The script that runs tests without ``lightning``: what it chooses is there, and where there is one it says so."""

from __future__ import annotations

import subprocess
import sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import pytest

SCRIPT = Path(__file__).with_name("without_lightning.py")
SPECIFICATION = spec_from_file_location("without_lightning", SCRIPT)
assert SPECIFICATION is not None
assert SPECIFICATION.loader is not None
script = module_from_spec(SPECIFICATION)
SPECIFICATION.loader.exec_module(script)


@pytest.mark.parametrize("name", script.CHOSEN)
def test_what_is_chosen_is_there(name: str) -> None:
    assert (script.ROOT / name).exists()


def test_no_import_of_the_other_namespace_is_left(tmp_path: Path) -> None:
    script.copy_sources(tmp_path)
    left = [
        line.strip()
        for name in script.CHOSEN
        for path in [tmp_path / name, *(tmp_path / name).rglob("*.py")]
        if path.is_file()
        for line in path.read_text(encoding="utf-8").splitlines()
        if line.strip().startswith(("import lightning.", "from lightning.", "import lightning\n"))
    ]
    assert left == []


@pytest.mark.slow
def test_an_environment_that_has_it_is_refused() -> None:
    with pytest.raises(subprocess.CalledProcessError):
        script.prepare(Path(sys.prefix))
