"""`forkledger replay` of files that are not as they were: it says so, and never gives an old state for the present."""

import json
import os
import shutil
import sqlite3
import uuid
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import psycopg
import pytest
from typer.testing import CliRunner, Result

import ledger
from ledger.cli import app
from ledger.errors import BadProof
from modelfork import update as updates
from modelfork.cli import register
from modelfork.history import history, key_finder, remember
from modelfork.interaction import Interaction, Message
from modelfork.recording import Particulars, Writer, build_record
from modelfork.replay import advance, genesis
from tests.modelfork.written import DIMENSION, LAYOUT, RECIPE

if not any(command.callback and command.callback.__name__ == "replay" for command in app.registered_commands):
    register(app)  # as `ledger.cli.main` does

TOLD = 4  # records


@dataclass(frozen=True)
class House:
    file: Path
    keystore: Path
    keys: Path
    fork: str
    records: tuple[bytes, ...]


def build(folder: Path, database_url: str = "") -> House:
    """A ledger of one fork in service custody: five entries, a checkpoint over the first four."""
    log, secrets, _ = ledger.open_house(folder / "data", folder / "keys", database_url)
    fork = str(uuid.uuid4())
    keys, state = secrets.make_fork_keys(fork, "app"), genesis(LAYOUT, DIMENSION)
    created = ledger.entry.ForkCreated(
        fork, keys.owner.public, ledger.entry.SERVICE, LAYOUT, RECIPE, state.digest, DIMENSION
    )
    body, topic = ledger.entry.encode_fork_created(created), ledger.entry.FORK_CREATED
    signature = keys.owner.sign(ledger.keys.signed_message(topic, log.origin, body))
    log.create_fork(ledger.entry.SignedControl(topic, body, (signature,)))
    writer, records = Writer(log.origin, created, keys.owner, keys.root), []
    for number in range(1, TOLD + 1):
        update = updates.Update(5, updates.SIGNS, np.ones(DIMENSION, np.int8))
        state = advance(state, number + 1, update)
        records.append(os.urandom(16))
        said = Interaction((Message("user", f"question {number}"),), f"answer {number}")
        particulars = Particulars("", 0, number)
        record, salt = build_record(writer, number, records[-1], said, update, state.digest, particulars, os.urandom)
        secrets.keep_salt(fork, ledger.record.decode_body(record.body).key_commitment, salt)
        log.append(record)
        if number == TOLD - 1:
            ledger.publish.publish(log)
    log.close()
    secrets.close()
    data = folder / "data"
    return House(data / "ledger.db", data / "keystore.db", folder / "keys", fork, tuple(records))


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> House:
    return build(tmp_path_factory.mktemp("house"))


@pytest.fixture
def house(built: House, tmp_path: Path) -> House:
    for file in (built.file, built.keystore):
        shutil.copy(file, tmp_path / file.name)
    return House(tmp_path / "ledger.db", tmp_path / "keystore.db", built.keys, built.fork, built.records)


def replayed(house: House, *statements: str, options: tuple[str, ...] = ()) -> Result:
    connection = sqlite3.connect(house.file, isolation_level=None)
    for statement in statements:
        connection.execute(statement)
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.close()
    return CliRunner().invoke(app, ["replay", str(house.file), "--keys", str(house.keys), "--json", *options])


def test_a_whole_file_is_replayed(house: House) -> None:
    done = replayed(house)
    assert done.exit_code == 0, done.output
    assert [(one["fork_id"], one["version"], one["records"]) for one in json.loads(done.stdout)] == [(house.fork, 5, 4)]
    assert done.stderr == ""


@pytest.mark.parametrize(
    ("statements", "said"),
    [
        (["DELETE FROM heads"], "the head that the ledger has for the fork is missing"),
        (["DELETE FROM heads", "DELETE FROM entries"], "not one entry of it is here"),
        (["UPDATE heads SET interactions=3"], "the entries end here"),
        (["UPDATE heads SET version='x'"], "the entries end here"),
        (["UPDATE heads SET head='x'"], "the entries end here"),
        (["DELETE FROM entries WHERE notification_id=5"], "version 4: the entries end here"),
        (["UPDATE hashes SET hash=zeroblob(32)"], "its root is not that of"),
        (["DELETE FROM hashes"], "newest checkpoint: hashes: no node hash"),
        (["UPDATE checkpoints SET note=x'00'"], "newest checkpoint: "),
        (["UPDATE checkpoints SET note='text'"], "newest checkpoint: "),
        (["UPDATE entries SET state=x'ffff' WHERE notification_id=3"], "version 3: entry"),
        (["UPDATE entries SET state='zz' WHERE notification_id=3"], "version 3: entry"),
        (["UPDATE entries SET state=CAST(state AS TEXT) WHERE notification_id=1"], "version 1: entry"),
        (["UPDATE payloads SET bytes='zz' WHERE leaf_index=2 AND kind=3"], "version 3: payload 3"),
        (["UPDATE entries SET topic=CAST(x'ff' AS TEXT) WHERE notification_id=3"], "SQLite cannot read on"),
    ],
)
@pytest.mark.parametrize("named", [True, False])
def test_a_file_that_lost_or_garbled_something_is_no_success(
    house: House, statements: list[str], said: str, named: bool
) -> None:
    done = replayed(house, *statements, options=("--fork", house.fork) if named else ())
    assert (done.exit_code, said in done.stderr) == (1, True), done.output
    assert done.stderr.count("\n") == 1
    if not said.startswith(("newest", "its root", "SQLite")):
        assert f"fork {house.fork}" in done.stderr
        assert done.stdout == ""


@pytest.mark.parametrize("covered", [2, 4])
def test_entries_cut_off_with_the_head_set_back_are_missed_by_the_checkpoint(house: House, covered: int) -> None:
    with sqlite3.connect(house.file) as connection:
        (state,) = connection.execute("SELECT state FROM entries WHERE notification_id=?", [covered]).fetchone()
        head = ledger.merkle.leaf_hash(state).hex()
    connection.close()
    done = replayed(
        house,
        f"DELETE FROM entries WHERE notification_id>{covered}",
        f"UPDATE heads SET version={covered}, interactions={covered - 1}, head=x'{head}'",
    )
    if covered == 4:  # what no checkpoint covers can be cut off: docs/format.md
        assert done.exit_code == 0, done.output
    else:
        assert (done.exit_code, "2 of the 4 entries under it are missing" in done.stderr) == (1, True), done.output


def test_without_any_checkpoint_a_notice_says_so(house: House) -> None:
    done = replayed(house, "DELETE FROM checkpoints")
    assert done.exit_code == 0
    assert "notice: no checkpoint covers" in done.stderr


def test_a_record_found_under_another_id_or_place_is_not_opened(house: House) -> None:
    log, secrets = ledger.open_reader(house.file), ledger.open_keystore(house.keystore, house.keys)
    key_of = key_finder(secrets, house.fork)
    stored = log.record(house.fork, house.records[0])
    assert stored is not None
    assert remember(log, stored, key_of).interaction.answer == "answer 1"
    log.store.close()
    with sqlite3.connect(house.file) as connection:
        connection.execute("UPDATE entries SET record_id=NULL WHERE notification_id=2")
        connection.execute("UPDATE entries SET record_id=? WHERE notification_id=3", [house.records[0]])
        connection.execute("UPDATE entries SET originator_version=40 WHERE notification_id=4")
    connection.close()
    log = ledger.open_reader(house.file)
    for asked in (house.records[0], house.records[2]):
        stored = log.record(house.fork, asked)
        assert stored is not None
        with pytest.raises(BadProof, match="another record"):
            remember(log, stored, key_of)
    with pytest.raises(BadProof):  # a record is one by its bytes: a column cannot hide it
        history(log, key_of, house.fork, 1, 1)
    log.store.close()
    secrets.close()


# --- a ledger in PostgreSQL ---


@pytest.fixture
def far(postgres_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> House:
    """A house whose ledger is in PostgreSQL; the rest of it is where the environment says."""
    house = build(tmp_path / "service", postgres_url)
    assert not house.file.exists()
    monkeypatch.setenv("FORKLEDGER_DATA", str(house.keystore.parent))
    monkeypatch.setenv("FORKLEDGER_KEYS", str(house.keys))
    return house


def run(*words: object) -> Result:
    return CliRunner().invoke(app, [*map(str, words), "--json"])


def test_a_ledger_in_postgresql_is_replayed_and_its_history_told(
    far: House, postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for words in (["--database-url", postgres_url], []):  # by its option; by the environment
        done = run("replay", *words)
        assert done.exit_code == 0, done.output
        (found,) = json.loads(done.stdout)
        assert (found["fork_id"], found["version"], found["records"], found["checked"]) == (far.fork, 5, 4, 4)
        told = run("history", far.fork, *words)
        assert told.exit_code == 0, told.output
        assert [one.get("answer") for one in json.loads(told.stdout)] == [None, *(f"answer {n}" for n in range(1, 5))]
        monkeypatch.setenv("FORKLEDGER_DATABASE_URL", postgres_url)
    assert run("replay", "--expect", found["state_digest"]).exit_code == 0
    assert run("replay", "--expect", "0" * 64).exit_code == 1
    monkeypatch.setenv("FORKLEDGER_DATA", "elsewhere")
    assert run("replay").exit_code == 3
    assert run("replay", "--keystore", far.keystore).exit_code == 0


@pytest.mark.parametrize(
    ("statement", "said"),
    [
        ("DELETE FROM entries WHERE notification_id=5", "the entries end here"),
        ("DELETE FROM heads", "the head that the ledger has for the fork is missing"),
        ("UPDATE checkpoints SET note='x'", "newest checkpoint: "),
    ],
)
def test_what_was_changed_in_postgresql_is_noticed(far: House, postgres_url: str, statement: str, said: str) -> None:
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        connection.execute(statement.encode())
    done = run("replay", "--database-url", postgres_url)
    assert (done.exit_code, said in done.stderr) == (1, True), done.output


def test_a_file_that_is_named_wins_over_the_database_of_the_environment(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FORKLEDGER_DATABASE_URL", "postgresql://nobody@127.0.0.1:1/nothing")
    assert replayed(house).exit_code == 0
    assert run("replay").exit_code == 3


def test_neither_or_both_of_file_and_database_is_wrong_usage(house: House) -> None:
    assert run("replay").exit_code == 2
    assert run("replay", house.file, "--database-url", "postgresql://nobody@127.0.0.1:1/nothing").exit_code == 2
