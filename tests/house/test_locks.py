"""The locks: hashed, complete, of one mind, and without torch, which .ci/setup installs before them."""

import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
LOCKS = ("lock.txt", "base-lock.txt", "node-lock.txt")


def read(lock: str) -> str:
    return (ROOT / ".ci" / lock).read_text(encoding="utf-8")


def pins(lock: str) -> dict[str, str]:
    return dict(re.findall(r"^([a-z0-9-]+)==([^ \\]+)", read(lock), flags=re.MULTILINE))


@pytest.mark.parametrize("lock", LOCKS)
def test_every_pin_has_hashes_and_no_index_is_named(lock: str) -> None:
    text = re.sub(r"^ *#.*$", "", read(lock), flags=re.MULTILINE)
    requirements = re.split(r"\n(?=\S)", text.strip())
    assert len(requirements) == len(pins(lock))
    assert all(" --hash=sha256:" in requirement for requirement in requirements)
    assert "://" not in text


@pytest.mark.parametrize("lock", LOCKS)
def test_torch_and_its_cuda_libraries_are_not_locked(lock: str) -> None:
    assert [name for name in pins(lock) if re.match(r"torch$|triton$|nvidia-|cuda-", name)] == []


def test_the_locks_hold_what_pyproject_asks_for() -> None:
    extras = PROJECT["optional-dependencies"]
    base = PROJECT["dependencies"]
    full = base + extras["forks"] + extras["chain"] + extras["postgres"] + extras["test"]
    for lock, wanted in (("base-lock.txt", base), ("lock.txt", full)):
        locked = pins(lock)
        for requirement in map(Requirement, wanted):
            name = canonicalize_name(requirement.name)
            if name != "torch":
                assert requirement.specifier.contains(locked[name]), f"{lock}: {requirement}; run `make lock`"


def test_the_base_lock_is_part_of_the_full_lock() -> None:
    assert pins("base-lock.txt").items() <= pins("lock.txt").items()
