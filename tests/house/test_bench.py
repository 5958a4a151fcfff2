"""The scripts of bench/ stand outside the type checker: each at least finds what it imports."""

import json
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


@pytest.mark.slow
def test_what_measures_a_gpu_runs_where_there_is_none() -> None:
    given = ("--shape", "tiny", "--device", "cpu", "--repeats", "1", "--json")
    done = subprocess.run([sys.executable, BENCH / "gpu.py", *given], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    measured = json.loads(done.stdout)
    assert measured["gradient / bare"] > 0
    assert {f"a token, {users} users: cores / base" for users in (1, 8, 64)} < measured.keys()


def test_every_script_is_in_the_readme() -> None:
    said = (BENCH / "README.md").read_text(encoding="utf-8")
    assert [script.name for script in SCRIPTS if f"`{script.name}`" not in said] == []
