"""What `--help` shows is what the source says."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.metadata import entry_points
from typing import Any

import typer
from rich.text import Text

from ledger.cli import app


def _texts(command: Any, name: str) -> Iterator[tuple[str, str]]:
    """The help of a command, of its parameters and of all commands below it, each with its name."""
    yield name, command.help or ""
    for parameter in command.params:
        yield f"{name} {parameter.name}", getattr(parameter, "help", None) or ""
    for below in getattr(command, "commands", {}).values():
        yield from _texts(below, f"{name} {below.name}")


def test_no_help_text_loses_words_that_stand_in_square_brackets() -> None:
    for entry_point in entry_points(group="forkledger.commands"):
        entry_point.load()(app)
    texts = dict(_texts(typer.main.get_command(app), "forkledger"))
    assert {"forkledger audit state", "forkledger anchor deploy admin_key", "forkledger chat fork"} <= set(texts)
    # Rich takes [any] for a style and drops it, but shows [FORKLEDGER_DATA].
    assert {name: text for name, text in texts.items() if Text.from_markup(text).plain != text} == {}
