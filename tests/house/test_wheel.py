"""The wheel holds what a stranger needs: both packages whole, type markers, the demo base, the licence."""

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    folder = tmp_path_factory.mktemp("wheel")
    subprocess.run(
        [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", folder, ROOT],
        check=True,
        capture_output=True,
        timeout=120,
    )
    (path,) = folder.glob("forkledger-*.whl")
    return zipfile.ZipFile(path)


def in_tree(*patterns: str) -> set[str]:
    return {
        path.relative_to(ROOT).as_posix()
        for package in ("ledger", "modelfork")
        for pattern in patterns
        for path in (ROOT / package).rglob(pattern)
        if path.is_file()
    }


def test_both_packages_are_whole_and_typed(wheel: zipfile.ZipFile) -> None:
    names = set(wheel.namelist())
    assert {"ledger/py.typed", "modelfork/py.typed"} <= names
    assert in_tree("*.py", "*.pyi", "*.json") <= names


def test_the_demo_base_is_inside(wheel: zipfile.ZipFile) -> None:
    assert in_tree("demo/base/*") <= set(wheel.namelist())


def test_nothing_else_is_inside(wheel: zipfile.ZipFile) -> None:
    tops = {name.partition("/")[0] for name in wheel.namelist()}
    assert tops == {"ledger", "modelfork", "forkledger-0.1.0.dist-info"}


def test_licence_and_entry_points_travel_along(wheel: zipfile.ZipFile) -> None:
    licence = wheel.read("forkledger-0.1.0.dist-info/licenses/docs/LICENSE").decode()
    assert "Apache License" in licence
    entry_points = wheel.read("forkledger-0.1.0.dist-info/entry_points.txt").decode()
    for line in (
        "forkledger = ledger.cli:main",
        "modelfork = modelfork.cli:register",
        "modelfork = modelfork.main:attach",
    ):
        assert line in entry_points.splitlines()
