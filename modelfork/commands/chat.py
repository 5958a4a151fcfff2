"""`forkledger chat`: talk to a fork in a terminal; judge an answer and see the next one change."""

from __future__ import annotations

import json
import secrets
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import typer

import ledger
from modelfork.commands.own import APP, newest_own
from modelfork.errors import TooLong
from modelfork.forks import ForkManager, Recorded
from modelfork.generate import Sampling
from modelfork.interaction import Message
from modelfork.main import open_manager

if TYPE_CHECKING:
    from modelfork.settings import ForkSettings

HELP = (
    "/correct TEXT  /like  /dislike  judge the last answer; /pause  /resume  learning; "
    "/new starts a new conversation; /quit ends"
)


def chat(
    data: Path, keys: Path, fork: str, settings: ForkSettings, as_json: bool = False, database_url: str = ""
) -> None:
    """Read lines from standard input until /quit or its end.

    With `as_json` standard output has a JSON object a line, for the fork and for each record, and the talk goes to
    standard error.
    """
    log, keystore, now = ledger.open_house(data, keys, database_url)
    try:
        manager = open_manager(log, keystore, settings, now, secrets.token_bytes, data)
        fork_id = fork or newest_own(log, keystore) or manager.create(APP)
        log.head(fork_id)
        typer.echo(f"fork {fork_id}\n{HELP}", err=as_json)
        if as_json:
            typer.echo(json.dumps({"fork": fork_id}))
        _converse(manager, fork_id, as_json)
        ledger.publish.publish(log)
    finally:
        log.close()
        keystore.close()


def _converse(manager: ForkManager, fork_id: str, as_json: bool) -> None:
    say = partial(typer.echo, err=as_json)
    said: list[Message] = []
    last: Recorded | None = None
    while True:
        try:
            line = input("" if as_json else "you: ").strip()
        except EOFError:
            return
        command, _, rest = line.partition(" ")
        if command == "/quit":
            return
        if command == "/new":
            said, last = [], None
        elif command in ("/correct", "/like", "/dislike"):
            _judge(manager, fork_id, last, command, rest, as_json)
        elif command in ("/pause", "/resume"):
            manager.pause(fork_id, command == "/pause")
            say(
                "      [what is said is recorded, and not learned]" if command == "/pause" else "      [learning again]"
            )
        elif command.startswith("/"):
            say(HELP)
        elif line:
            said.append(Message("user", line))
            say("fork: ", nl=False)
            try:
                answered = manager.take_turn(
                    fork_id, secrets.token_bytes(16), tuple(said), Sampling(max_tokens=80), True, partial(say, nl=False)
                )
            except TooLong:
                say("\n      [this conversation is longer than the model can read: a new one begins]")
                said, last = [], None
                continue
            say("")
            _tell(answered.recorded, as_json, answer=answered.interaction.answer)
            said.append(Message("assistant", answered.interaction.answer))
            last = answered.recorded


def _judge(manager: ForkManager, fork_id: str, last: Recorded | None, command: str, rest: str, as_json: bool) -> None:
    if last is None or (command == "/correct" and not rest):
        reason = "nothing to judge" if last is None else "what should it have said?"
        typer.echo(f"      [{reason}]", err=as_json)
        return
    rating = {"/like": 1.0, "/dislike": -1.0}.get(command)
    judged = manager.judge(fork_id, secrets.token_bytes(16), last.record_id, rest if rating is None else "", rating, "")
    _tell(judged, as_json, judged=last.record_id.hex())


def _tell(recorded: Recorded, as_json: bool, **more: str) -> None:
    typer.echo(f"      [record {recorded.version}, {_learned(recorded)}]", err=as_json)
    if as_json:
        told = {"record": recorded.record_id.hex(), "version": recorded.version, "learned": recorded.learned}
        typer.echo(json.dumps(told | more))


def _learned(recorded: Recorded) -> str:
    if recorded.noted:
        said = " ".join(f"{one.question} {one.answer}" for one in recorded.noted)
        return f"learned: {said}" if recorded.learned else f"nothing to learn: {said}"
    if recorded.practised:
        return "nothing to learn; practised what it was told before"
    return "learned" if recorded.learned else "nothing to learn"
