"""What modelfork adds to the command `forkledger`. Imports no torch: a command does when it runs.

Exit codes are those of `ledger.cli`.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

Data = Annotated[Path, typer.Option(envvar="FORKLEDGER_DATA", help="Folder of the ledger.")]
Keys = Annotated[Path, typer.Option(envvar="FORKLEDGER_KEYS", help="Folder of the operator's keys.")]
DatabaseUrl = Annotated[
    str,
    typer.Option(help="postgresql://… of the ledger; else it is a file in the data folder. [FORKLEDGER_DATABASE_URL]"),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, for machines.")]

_DATA, _KEYS = Path("forkledger-data"), Path("forkledger-keys")


def register(app: typer.Typer) -> None:
    """Add modelfork's commands to `app`. Found through the entry points `forkledger.commands`."""
    app.command()(demo)
    app.command()(chat)
    app.command()(ingest)
    app.command()(history)
    app.command()(replay)
    base = typer.Typer(help="The model that forks stand on.", no_args_is_help=True)
    base.command()(prepare)
    app.add_typer(base, name="base")


@contextmanager
def _refusals() -> Iterator[None]:
    import sqlite3

    from ledger.errors import LedgerError
    from modelfork.errors import Diverged, ForkError

    try:
        yield
    except Diverged as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(1) from None
    except (LedgerError, ForkError, OSError) as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(3) from None
    except sqlite3.DatabaseError as error:  # a file that opened and is damaged further in
        typer.echo(f"SQLite cannot read on ({error}); `forkledger audit FILE` says what is wrong", err=True)
        raise typer.Exit(3) from None


def _expect_torch() -> None:
    if importlib.util.find_spec("torch") is None:
        typer.echo("this command needs a model: install forkledger[forks]", err=True)
        raise typer.Exit(3)


def demo(
    folder: Annotated[
        Path | None, typer.Option(help="An empty or missing folder to work in.", show_default="a temporary one")
    ] = None,
    seed: Annotated[
        int | None, typer.Option(help="Which invented person to draw.", show_default="random, printed")
    ] = None,
    on_chain: Annotated[
        bool, typer.Option("--chain", help="Anchor the log as well, on an anvil started for it.")
    ] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print JSON, for machines; the rest on standard error.")
    ] = False,
) -> None:
    """Teach a fork ten facts of an invented person, prove it, replay it elsewhere, tamper with a copy and find it."""
    _expect_torch()
    from modelfork.demo.demo import run
    from modelfork.settings import read_settings

    with _refusals():
        settings = read_settings()
        raise typer.Exit(0 if run(folder, seed, settings.base, settings.torch_threads, as_json, on_chain) else 1)


def chat(
    data: Data = _DATA,
    keys: Keys = _KEYS,
    fork: Annotated[
        str,
        typer.Option(help="The fork to talk to.", show_default="the newest of the command line's own, else a new one"),
    ] = "",
    database_url: DatabaseUrl = "",
    as_json: AsJson = False,
) -> None:
    """Talk to a fork in this terminal, without a server. /correct TEXT, /like, /dislike judge the last answer."""
    _expect_torch()
    from modelfork.commands.chat import chat as command
    from modelfork.settings import read_settings

    with _refusals():
        settings = read_settings()
        command(data, keys, fork, settings, as_json, database_url or settings.database_url)


def ingest(
    file: Annotated[
        Path, typer.Argument(help="OpenAI-style JSONL, or a ChatGPT data export (.zip or conversations.json).")
    ],
    fork: Annotated[
        str,
        typer.Option(
            help="The fork to record in.", show_default="the newest of the command line's own, else a new one"
        ),
    ] = "",
    learn: Annotated[
        bool, typer.Option(help="Learn from statements, corrections and ratings, as the service does.")
    ] = True,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be recorded; write nothing.")] = False,
    data: Data = _DATA,
    keys: Keys = _KEYS,
    database_url: DatabaseUrl = "",
    as_json: AsJson = False,
) -> None:
    """Record in a fork what you said elsewhere. Run again, it goes on where it stopped, and takes what is new.

    Ends with 0 when all of the file could be read, 1 when something in it could not; the rest is recorded all the same.
    """
    if not dry_run:
        _expect_torch()
    from modelfork.commands.ingest import ingest as command
    from modelfork.settings import read_settings

    with _refusals():
        settings = read_settings()
        url = database_url or settings.database_url
        raise typer.Exit(0 if command(file, data, keys, fork, settings, learn, dry_run, as_json, url) else 1)


def history(
    fork: Annotated[str, typer.Argument(help="The fork's id.")],
    data: Data = _DATA,
    keys: Keys = _KEYS,
    database_url: DatabaseUrl = "",
    as_json: AsJson = False,
) -> None:
    """Show what a fork was given and what it learned of it."""
    from modelfork.commands.history import history as command
    from modelfork.settings import read_settings

    with _refusals():
        command(data, keys, database_url or read_settings().database_url, fork, as_json)


def replay(
    path: Annotated[
        Path | None,
        typer.Argument(metavar="[FILE]", help="The ledger file, unless it is in a database. Opened read-only."),
    ] = None,
    fork: Annotated[str, typer.Option(help="The fork's id.", show_default="all forks whose keys are kept here")] = "",
    database_url: Annotated[
        str, typer.Option(help="Instead of FILE: postgresql://… of the ledger. [FORKLEDGER_DATABASE_URL]")
    ] = "",
    keystore: Annotated[
        Path | None,
        typer.Option(
            help="The key store's file.",
            show_default="keystore.db beside FILE; else in FORKLEDGER_DATA or ./forkledger-data",
        ),
    ] = None,
    keys: Keys = _KEYS,
    expect: Annotated[str, typer.Option(metavar="DIGEST", help="Fail (1) unless the state has this digest.")] = "",
    as_json: AsJson = False,
) -> None:
    """Rebuild forks from their entries alone, with numpy, and check every state commitment on the way.

    Ends with 0 when every replay leads to what was committed, 1 when one does not, 3 when it could not be done.
    """
    import ledger
    from modelfork.commands.replay import replay as command
    from modelfork.settings import read_settings

    with _refusals():
        settings = read_settings()
    url = database_url or ("" if path else settings.database_url)
    if bool(path) == bool(url):
        raise typer.BadParameter("expected one of the two", param_hint="FILE or --database-url")
    data = path.parent if path else settings.data
    with _refusals():
        held = command(
            lambda: ledger.open_reader(path) if path else ledger.open_database_reader(url, data),
            fork,
            keystore or data / "keystore.db",
            keys,
            expect,
            as_json,
        )
        raise typer.Exit(0 if held else 1)


def prepare(
    model: Annotated[
        str,
        typer.Argument(help="A Hugging Face causal language model: a local folder, or a name that is in the cache."),
    ],
    as_json: AsJson = False,
) -> None:
    """Compute basis, layout and anchor rows of a model and store them beside it, with digests. Fetches nothing.

    Of a name that this machine's Hugging Face cache has (owner/name), the files are linked into a folder ./name first.
    A folder that was prepared before is only checked. An anchors.jsonl that is there stays.
    """
    _expect_torch()
    from modelfork.commands.base import prepare as command
    from modelfork.settings import read_settings

    with _refusals():
        settings = read_settings()
        command(model, settings.torch_threads, settings.base_device, as_json)
