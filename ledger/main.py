"""The composition root: opens keys, files and ledger, and wires the service by hand."""

from __future__ import annotations

import os
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import entry_points
from pathlib import Path
from typing import TYPE_CHECKING

from ledger import checkpoint as checkpoints
from ledger import logsource, merkle, note
from ledger.errors import Malformed, NotFound, Refused
from ledger.keyfolder import CHAIN_KEY, OperatorKeys, expect_apart, make_keys, open_keys, read_chain_key
from ledger.keystore import KeyStore
from ledger.ledger import Ledger, LogReader
from ledger.publicfolder import PublicFolder
from ledger.store import Store
from ledger.store.sqlite import open_read_only, open_store

if TYPE_CHECKING:
    from fastapi import FastAPI

    from ledger.anchor import Public
    from ledger.anchor.evm import EvmNode
    from ledger.anchor.outbox import EvmAnchor
    from ledger.anchor.place import Place
    from ledger.anchor.worker import Worker
    from ledger.policy import Policy

LEDGER_FILE = "ledger.db"
KEYSTORE_FILE = "keystore.db"
PUBLIC_FOLDER = "public"
PLACE_FILE = "anchor.json"
ANSWER_WITHIN = 5.0  # seconds that all witnesses together have for one checkpoint
NODE_ANSWERS_WITHIN = 10.0  # seconds that a chain's node, or a timestamp authority, has for one answer
STUCK_AFTER = 120  # seconds that a transaction may wait for a block before it is offered for more


@dataclass(frozen=True, slots=True)
class Anchoring:
    """Where checkpoints are to be anchored: empty for nowhere."""

    rpc: str = ""  # of a node of the chain that `forkledger anchor deploy` named
    key: Path = Path(CHAIN_KEY)  # the file with the key of the account that anchors
    highest_fee: int = 50 * 10**9  # wei a unit of gas
    tsa: str = ""
    tsa_roots: Path | None = None
    every: int = 3600  # seconds


def microseconds() -> int:
    """The clock of the service."""
    return time.time_ns() // 1000


def seconds() -> int:
    """The same, for what is dated in seconds."""
    return int(time.time())


def open_operator_keys(data: Path, keys: Path, origin: str) -> OperatorKeys:
    """The operator's keys, made on first use. Refused when they would lie inside the data folder.

    Beside existing data no key is ever made: a lost one must be put back, a new one would open nothing.
    """
    expect_apart(keys, data)
    if not any((data / name).exists() for name in (LEDGER_FILE, KEYSTORE_FILE)):
        make_keys(keys, origin or f"forkledger.local/{secrets.token_hex(4)}", secrets.token_bytes)
    return open_keys(keys)


def _own_file(data: Path, name: str) -> Path:
    """The path of a file in `data` that only its owner may read, whatever the folder allows. SQLite gives the files
    beside it the same mode."""
    data.mkdir(parents=True, exist_ok=True, mode=0o700)
    os.close(os.open(data / name, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
    return data / name


def open_ledger(data: Path, keys: OperatorKeys, database_url: str = "") -> Ledger:
    """The ledger in `data`, or in PostgreSQL where a URL is given, created when there is none, for a program that takes
    its turn beside a server.

    Refused where a server publishes from `data` a log that it keeps elsewhere: this would be a second of its name. So
    it is, by BadProof, where what it publishes is not what stands here.
    """
    from ledger.publisher import Publisher

    folder = PublicFolder(data / PUBLIC_FOLDER)
    if not database_url and folder.checkpoint() is not None and not (data / LEDGER_FILE).exists():
        raise Refused(f"ledger: expected {data / LEDGER_FILE}; what {folder.path} shows is kept in another database")
    store = open_database(database_url) if database_url else open_store(_own_file(data, LEDGER_FILE))
    ledger = _closing_on_error(
        store, lambda: Ledger(store, keys.log, keys.receipt, microseconds, second_key=keys.log_ml_dsa)
    )
    try:
        Publisher(ledger, folder)  # compares the two, and publishes nothing
    except BaseException:
        ledger.close()
        raise
    return ledger


def serve_ledger(data: Path, keys: OperatorKeys, database_url: str) -> Ledger:
    """The ledger in `data`, or in PostgreSQL where a URL is given, proven by what is published of it."""
    store = open_database(database_url) if database_url else open_store(_own_file(data, LEDGER_FILE))
    folder = PublicFolder(data / PUBLIC_FOLDER)
    return _closing_on_error(
        store,
        lambda: Ledger(store, keys.log, keys.receipt, microseconds, folder.checkpoint, keys.log_ml_dsa),
    )


def open_database(url: str) -> Store:
    """The ledger in a PostgreSQL database, whose tables are made or brought up to date. Needs the extra `postgres`."""
    try:
        from ledger.store import postgres
    except ModuleNotFoundError:
        raise Refused("PostgreSQL: expected the extra `postgres`: pip install 'forkledger[postgres]'") from None
    return postgres.open_store(url)


def _closing_on_error(store: Store, make: Callable[[], Ledger]) -> Ledger:
    try:
        return make()
    except BaseException:
        store.close()
        raise


def open_keystore(path: Path, keys: Path) -> KeyStore:
    """An existing key store, with the service key of the folder `keys`."""
    if not path.is_file():
        raise NotFound(f"key store: no file at {path}")
    return KeyStore(path, open_keys(keys).service, secrets.token_bytes)


def make_keystore(data: Path, keys: OperatorKeys) -> KeyStore:
    """The key store in `data`, created when there is none."""
    return KeyStore(_own_file(data, KEYSTORE_FILE), keys.service, secrets.token_bytes)


def open_reader(path: Path) -> LogReader:
    """A ledger file, read-only, without any of the operator's keys."""
    return _reader(open_read_only(path), path.parent)


def open_database_reader(url: str, data: Path) -> LogReader:
    """The same of a ledger in PostgreSQL, whose service has `data` for its folder."""
    return _reader(logsource.open_database(url), data)


def open_log_reader(data: Path, database_url: str) -> LogReader:
    """One of the two: the ledger of the house whose folder is `data`, read-only."""
    return open_database_reader(database_url, data) if database_url else open_reader(data / LEDGER_FILE)


def open_log(data: Path, database_url: str) -> LogReader:
    """The same, where the store's outbox is to be written. It appends nothing and signs nothing."""
    if database_url:
        return _reader(open_database(database_url), data)
    if not (data / LEDGER_FILE).is_file():
        raise NotFound(f"ledger: no file at {data / LEDGER_FILE}")
    return _reader(open_store(data / LEDGER_FILE), data)


def _reader(store: Store, data: Path) -> LogReader:
    vkey = store.setting("log-vkey")
    if vkey is None:
        store.close()
        raise Malformed(f"ledger: {store.name} does not name its log key")
    # With the cosignatures, where a server has published beside it.
    shown = PublicFolder(data / PUBLIC_FOLDER)
    published = shown.checkpoint if shown.checkpoint() is not None else None
    return LogReader(store, note.Ed25519Verifier.from_vkey(vkey), published)


def open_house(data: Path, keys: Path, database_url: str = "") -> tuple[Ledger, KeyStore, Callable[[], int]]:
    """Everything in `data` and `keys`, made when there is none, for a program that works without a server. The ledger
    itself may be in PostgreSQL."""
    operator = open_operator_keys(data, keys, "")
    ledger = open_ledger(data, operator, database_url)
    try:
        return ledger, make_keystore(data, operator), microseconds
    except BaseException:
        ledger.close()
        raise


def make_public(ledger: Ledger, data: Path) -> None:
    """Publish what is there into the folder of the house, once, where no server does."""
    from ledger.publisher import Publisher

    Publisher(ledger, PublicFolder(data / PUBLIC_FOLDER)).publish()


def read_anchor_place(data: Path) -> Place:
    """Where the log of `data` is anchored. Raises NotFound where `forkledger anchor deploy` never named a place."""
    from ledger.anchor.place import read_place

    place = read_place(data / PLACE_FILE)
    if place is None:
        raise NotFound(f"anchor place: no file {data / PLACE_FILE}; `forkledger anchor deploy` makes it")
    return place


def open_node(rpc: str, key: bytes) -> EvmNode:
    """A node of a chain, and the account with this key there. Asks nothing yet."""
    try:
        from ledger.anchor.evm import EvmNode
    except ModuleNotFoundError:
        raise Refused("chain: expected the extra `chain`: pip install 'forkledger[chain]'") from None
    return EvmNode(rpc, key, NODE_ANSWERS_WITHIN)


def open_chain_anchor(ledger: LogReader, place: Place, wanted: Anchoring) -> EvmAnchor:
    """What anchors a log on a chain. Asks nothing yet."""
    node = open_node(wanted.rpc, read_chain_key(wanted.key))
    from ledger.anchor.chain import Identity
    from ledger.anchor.evm import EvmChain
    from ledger.anchor.outbox import EvmAnchor, Limits

    hashes = ledger.store.hashes
    return EvmAnchor(
        EvmChain(node, place.chain_id, f"0x{place.contract.hex()}", place.log_id),
        Identity(place.chain_id, place.genesis, place.code_hash),
        ledger.store.outbox,
        lambda size: merkle.tree_root(size, hashes),
        lambda old, new: merkle.prove_consistency(old, new, hashes),
        Limits(wanted.highest_fee, STUCK_AFTER, wanted.every),
        microseconds,
    )


def open_worker(ledger: LogReader, data: Path, wanted: Anchoring, may: Callable[[], bool]) -> Worker | None:
    """What anchors the published checkpoints of the log in `data`, while it `may`; None where nothing is wanted."""
    from ledger.anchor import Anchor
    from ledger.anchor.worker import Worker

    anchors: list[Anchor] = []
    if wanted.rpc:
        expect_apart(wanted.key, data)
        anchors.append(open_chain_anchor(ledger, read_anchor_place(data), wanted))
    if wanted.tsa:
        from ledger.anchor.rfc3161 import TimestampAnchor, read_roots

        if wanted.tsa_roots is None:
            raise Refused("timestamp roots: expected a PEM file with the authority's roots (FORKLEDGER_TSA_ROOTS)")
        roots, outbox = read_roots(wanted.tsa_roots.read_bytes()), ledger.store.outbox
        anchors.append(TimestampAnchor(wanted.tsa, roots, outbox, wanted.every, NODE_ANSWERS_WITHIN, microseconds))
    return Worker(anchors, lambda: published(ledger, data), may) if anchors else None


def published(ledger: LogReader, data: Path) -> Public | None:
    """The checkpoint that the world sees of the log in `data`: nothing else is anchored."""
    from ledger.anchor import Public

    note_ = PublicFolder(data / PUBLIC_FOLDER).checkpoint()
    if note_ is None:
        return None
    tree = checkpoints.open_checkpoint(note_, ledger.origin, [ledger.log_verifier])
    return Public(tree.size, tree.root, note_)


def build_app(
    data: Path,
    keys: OperatorKeys,
    database_url: str = "",
    policy: Policy | None = None,
    anchoring: Anchoring | None = None,
) -> FastAPI:
    """The whole service: the ledger's routes and those of the packages that the entry points name.

    Under a `policy` a checkpoint is published once its quorum of witnesses has cosigned it.
    """
    from ledger.api.app import create_app
    from ledger.api.service import Service
    from ledger.publisher import Publisher
    from ledger.witness.client import Witnesses, witnesses_of

    if policy is not None and keys.log.vkey not in [log.verifier.vkey for log in policy.logs]:
        raise Refused(f"policy: expected a line `log {keys.log.vkey}`, the key of this log")
    ledger = serve_ledger(data, keys, database_url)
    keystore = make_keystore(data, keys)
    witnesses = Witnesses(witnesses_of(policy), ANSWER_WITHIN, seconds) if policy and policy.witnesses else None
    publisher = Publisher(ledger, PublicFolder(data / PUBLIC_FOLDER), policy, witnesses)
    worker = open_worker(ledger, data, anchoring or Anchoring(), lambda: not ledger.fenced())

    def close() -> None:
        if worker is not None:
            worker.close()
        publisher.close()
        ledger.close()
        keystore.close()

    service = Service(ledger, keystore, keys.service, microseconds, secrets.token_bytes, publisher, worker, data)
    app = create_app(service, close)
    for found in sorted(entry_points(group="forkledger.services"), key=lambda found: found.name):
        found.load()(app, service)
    ledger.take_over(secrets.token_bytes)  # last: what cannot start must not stop a server that runs
    return app
