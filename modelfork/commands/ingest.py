"""`forkledger ingest`: record in a fork what a person said elsewhere, each turn once however often it is run."""

from __future__ import annotations

import json
import secrets
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

import ledger
from modelfork.commands.own import APP, newest_own
from modelfork.errors import Malformed, TooLong
from modelfork.ingest.source import open_source
from modelfork.ingest.turns import Fault, Found, LeftOut, Turn, record_id
from modelfork.main import open_manager

if TYPE_CHECKING:
    from modelfork.forks import ForkManager
    from modelfork.settings import ForkSettings

MOST_SHOWN = 1_000  # lines about single turns: a file may be nothing but faults


@dataclass(slots=True)
class Stock:
    """What a file holds, counted. Only the first places are kept."""

    new: int = 0
    there: int = 0  # recorded already
    recorded: int = 0
    learned: int = 0
    left_out: dict[str, int] = field(default_factory=dict)  # by reason
    faults: int = 0
    places_left_out: list[LeftOut] = field(default_factory=list)
    places_at_fault: list[Fault] = field(default_factory=list)

    def note(self, found: LeftOut | Fault) -> None:
        if isinstance(found, Fault):
            self.faults += 1
            if len(self.places_at_fault) < MOST_SHOWN:
                self.places_at_fault.append(found)
        else:
            self.left_out[found.why] = self.left_out.get(found.why, 0) + 1
            if len(self.places_left_out) < MOST_SHOWN:
                self.places_left_out.append(found)


class _Fork:
    """A fork's place, and the record ids that the turns of one pass through a file have in it."""

    def __init__(self, log: ledger.LogReader, keystore: ledger.KeyStore, fork_id: str) -> None:
        log.head(fork_id)
        self.fork_id = fork_id
        self._log = log
        self._root = keystore.fork_keys(fork_id).root
        self._times: Counter[bytes] = Counter()

    def name(self, turn: Turn) -> bytes:
        """The record id of the next turn."""
        self._times[turn.content] += 1
        return record_id(self._root, self.fork_id, turn.content, self._times[turn.content])

    def holds(self, named: bytes) -> bool:
        return self._log.record(self.fork_id, named) is not None


def ingest(
    path: Path,
    data: Path,
    keys: Path,
    fork: str,
    settings: ForkSettings,
    learn: bool,
    dry_run: bool,
    as_json: bool,
    database_url: str = "",
) -> bool:
    """Record the file's turns in order; with `dry_run` count them only. Returns whether all of it could be read."""
    console = Console(stderr=True)
    with open_source(path) as read:
        if dry_run:
            with _looking(data, keys, fork, database_url) as looked:
                stock = _survey(read(), looked)
                fork_id = looked.fork_id if looked else ""
        else:
            fork_id, stock = _ingest(read, data, keys, fork, settings, learn, console, database_url)
    _tell(fork_id, stock, dry_run, as_json)
    return not stock.faults


@contextmanager
def _looking(data: Path, keys: Path, fork: str, database_url: str) -> Iterator[_Fork | None]:
    """The fork, to be looked at only; None where none is named and there is none yet."""
    if not fork and not (data / "keystore.db").is_file():
        yield None
        return
    keystore = ledger.open_keystore(data / "keystore.db", keys)
    try:
        reader = ledger.open_log_reader(data, database_url)
        try:
            fork_id = fork or newest_own(reader, keystore)
            yield _Fork(reader, keystore, fork_id) if fork_id else None
        finally:
            reader.store.close()
    finally:
        keystore.close()


def _ingest(
    read: Callable[[], Iterator[Found]],
    data: Path,
    keys: Path,
    fork: str,
    settings: ForkSettings,
    learn: bool,
    console: Console,
    database_url: str,
) -> tuple[str, Stock]:
    log, keystore, now = ledger.open_house(data, keys, database_url)
    try:
        fork_id = fork or newest_own(log, keystore)
        stock = _survey(read(), _Fork(log, keystore, fork_id) if fork_id else None)
        if stock.new:
            manager = open_manager(log, keystore, settings, now, secrets.token_bytes, data)
            fork_id = fork_id or manager.create(APP)
            with _progress(stock.new, console) as advance:
                _record(read(), manager, _Fork(log, keystore, fork_id), learn, stock, advance)
        if fork_id:
            ledger.publish.publish(log)  # also what an earlier run recorded that was killed
        return fork_id, stock
    finally:
        log.close()
        keystore.close()


def _survey(found: Iterable[Found], fork: _Fork | None) -> Stock:
    stock = Stock()
    for one in found:
        if not isinstance(one, Turn):
            stock.note(one)
        elif fork is not None and fork.holds(fork.name(one)):
            stock.there += 1
        else:
            stock.new += 1
    return stock


def _record(
    found: Iterable[Found],
    manager: ForkManager,
    fork: _Fork,
    learn: bool,
    stock: Stock,
    advance: Callable[[], None],
) -> None:
    """Record what the fork does not hold, in order. What the model has no form for is a fault."""
    for turn in found:
        if not isinstance(turn, Turn):
            continue
        named = fork.name(turn)
        if fork.holds(named):
            continue
        said = turn.interaction
        try:
            recorded = manager.record(fork.fork_id, named, replace(said, teaches=said.teaches and learn))
        except (Malformed, TooLong) as error:
            stock.note(Fault(turn.place, str(error)))
        else:
            stock.recorded += 1
            stock.learned += recorded.learned
        advance()


@contextmanager
def _progress(total: int, console: Console) -> Iterator[Callable[[], None]]:
    columns = (TextColumn("recording"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, disable=not console.is_terminal) as progress:
        task = progress.add_task("recording", total=total)
        yield lambda: progress.advance(task)


def _tell(fork_id: str, stock: Stock, dry_run: bool, as_json: bool) -> None:
    if as_json:
        told = {"fork": fork_id or None, "dry_run": dry_run, **asdict(stock)}
        typer.echo(json.dumps(told))
        return
    for one in stock.places_at_fault:
        typer.echo(f"{one.place}: {one.wrong}", err=True)
    _tell_rest(stock.faults)
    for left in stock.places_left_out if dry_run else ():
        typer.echo(f"{left.place}: left out, {left.why}", err=True)
    _tell_rest(sum(stock.left_out.values()) if dry_run else 0)
    parts = [
        f"{stock.new:,} to record" if dry_run else f"{stock.recorded:,} recorded, {stock.learned:,} of them learned"
    ]
    parts += [f"{stock.there:,} there already"] if stock.there else []
    parts += [f"{count:,} left out ({why})" for why, count in sorted(stock.left_out.items())]
    parts += [f"{stock.faults:,} could not be read"] if stock.faults else []
    parts += ["nothing was written"] if dry_run else []
    typer.echo(f"{f'fork {fork_id}' if fork_id else 'a new fork'}: {'; '.join(parts)}")


def _tell_rest(count: int) -> None:
    if count > MOST_SHOWN:
        typer.echo(f"… and {count - MOST_SHOWN:,} more", err=True)
