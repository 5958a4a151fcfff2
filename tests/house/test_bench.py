"""The scripts of bench/ stand outside the type checker: each at least finds what it imports."""

import subprocess
import sys
from pathlib import Path

import pytest

BENCH = Path(__file__).parents[2] / "bench"
SCRIPTS = sorted(BENCH.glob("*.py"))
IMPORT_ALL = """
import importlib, sys
for name in sys.argv[1:]:
    importlib.import_module(name)
"""


@pytest.mark.slow
def test_every_script_finds_what_it_imports() -> None:
    assert len(SCRIPTS) > 10
    names = [script.stem for script in SCRIPTS]
    done = subprocess.run([sys.executable, "-c", IMPORT_ALL, *names], cwd=BENCH, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_every_script_is_in_the_readme() -> None:
    said = (BENCH / "README.md").read_text(encoding="utf-8")
    assert [script.name for script in SCRIPTS if f"`{script.name}`" not in said] == []
