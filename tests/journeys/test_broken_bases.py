"""A base that is broken stops a program at its start, with one line that says what is wrong."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.journeys.server import Place

pytestmark = pytest.mark.slow


def _another_digest(base: Path) -> None:
    with (base / "model.safetensors").open("r+b") as file:
        file.seek(-1, 2)
        last = file.read(1)[0]
        file.seek(-1, 2)
        file.write(bytes([last ^ 1]))


def _nothing_there(base: Path) -> None:
    shutil.rmtree(base)


def _rubbish(base: Path) -> None:
    (base / "manifest.json").unlink()
    (base / "config.json").write_text('{"model_type": "llama", "hidden_size": "wide"}')


COMMANDS = {"serve": ("serve", "--port", "0"), "chat": ("chat",), "prepare": ("base", "prepare")}


@pytest.mark.parametrize(
    ("command", "spoil", "said"),
    [
        ("serve", _another_digest, "model.safetensors is not the file that manifest.json names"),
        ("chat", _nothing_there, "is no folder here, and nothing is fetched"),
        ("prepare", _rubbish, "transformers cannot read config.json"),
    ],
)
def test_a_broken_base_is_one_line_and_no_traceback(
    tmp_path: Path, tiny_base: Path, command: str, spoil: Callable[[Path], None], said: str
) -> None:
    base = tmp_path / "base"
    shutil.copytree(tiny_base, base)
    spoil(base)
    more = (str(base),) if command == "prepare" else ()
    done = Place(tmp_path, base).command(*COMMANDS[command], *more)
    assert done.returncode == 3
    assert (done.stdout, done.stderr.count("\n")) == ("", 1)
    assert said in done.stderr
