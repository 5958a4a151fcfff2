"""What must hold whatever happens to the processes: nothing acknowledged is lost, nothing doubled, the audit clean."""

import multiprocessing
import random
import sqlite3
import subprocess
import sys
import threading
import time
from pathlib import Path

from ledger.audit import Report, audit
from ledger.merkle import tree_root
from ledger.publish import publish
from ledger.store.sqlite import open_read_only, open_store
from tests.ledger.written import LOG_KEY, Writer, fill, open_ledger

ROOT = Path(__file__).resolve().parents[2]


def audited(path: Path) -> Report:
    store = open_store(path)
    try:
        return audit(store, LOG_KEY.verifier, None, lambda done, total: None)
    finally:
        store.close()


def append_many(path: str, number: int, count: int) -> None:
    """In a process of its own: a fork's records, some sent twice, with a checkpoint now and then."""
    ledger, writer = open_ledger(Path(path)), Writer(number)
    ledger.create_fork(writer.control())
    for interaction in range(1, count + 1):
        record = writer.next()
        receipt = ledger.append(record)
        if interaction % 5 == 0:
            assert ledger.append(record) == receipt
            publish(ledger)
    ledger.store.close()


def test_two_processes_append_to_one_file_and_nothing_is_lost_or_doubled(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    open_ledger(path).store.close()
    spawn = multiprocessing.get_context("spawn")
    processes = [spawn.Process(target=append_many, args=(str(path), number, 25)) for number in (1, 2)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0, 0]
    report = audited(path)
    assert report.clean, [str(fault) for fault in report.faults]
    assert (report.entries, report.records, report.forks) == (52, 50, 2)


def test_a_new_file_that_another_process_is_just_making_is_waited_for(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    other = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    other.execute("CREATE TABLE t (a)")
    other.execute("BEGIN IMMEDIATE")
    other.execute("INSERT INTO t VALUES (1)")
    release = threading.Timer(0.2, other.rollback)
    release.start()
    open_store(path).close()  # changing the journal mode is refused at once while another writes
    release.join()
    other.close()


# A writer that says what was acknowledged, and that nobody lets finish.
ENDLESS = """
import sys
from pathlib import Path
from ledger.publish import publish
from tests.ledger.written import Writer, open_ledger
ledger, number = open_ledger(Path(sys.argv[1])), int(sys.argv[2])
writer = Writer(number)
ledger.create_fork(writer.control())
publish(ledger)
print("ready", flush=True)
while True:
    receipt = ledger.open_receipt(ledger.append(writer.next()))
    print(receipt.leaf_index, receipt.fork_id, receipt.version, receipt.entry_hash.hex(), flush=True)
    if receipt.version % 7 == 0:
        publish(ledger)
"""


def test_nothing_acknowledged_is_lost_when_the_writer_is_killed_at_any_moment(tmp_path: Path) -> None:
    path, moments = tmp_path / "ledger.db", random.Random(7)
    open_ledger(path).store.close()
    acknowledged: list[list[str]] = []
    for number in range(10):
        process = subprocess.Popen(
            [sys.executable, "-c", ENDLESS, str(path), str(number)], cwd=ROOT, stdout=subprocess.PIPE, text=True
        )
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        time.sleep(moments.uniform(0.01, 0.2))
        process.kill()
        rest, _ = process.communicate()
        acknowledged += [line.split() for line in rest.splitlines(keepends=True) if line.endswith("\n")]
    assert len(acknowledged) >= 10
    # An auditor reads what the last writer left, write-ahead log and all, and leaves it as it is.
    left = {file.name: file.read_bytes() for file in tmp_path.iterdir() if not file.name.endswith("-shm")}
    assert left["ledger.db-wal"]
    reader = open_read_only(path)
    report = audit(reader, LOG_KEY.verifier, None, lambda done, total: None)
    reader.close()
    assert report.clean, [str(fault) for fault in report.faults]
    assert left == {file.name: file.read_bytes() for file in tmp_path.iterdir() if not file.name.endswith("-shm")}
    ledger = open_ledger(path)
    for leaf, fork_id, version, entry_hash in acknowledged:
        found = ledger.entry_at(int(leaf))
        assert (found.fork_id, found.version) == (fork_id, int(version))
        assert ledger.open_receipt(ledger.receipt_of(found)).entry_hash.hex() == entry_hash
    publish(ledger)
    ledger.append(Writer(0).record(ledger.head(Writer(0).fork_id).interactions + 1))  # and it goes on
    ledger.store.close()
    report = audited(path)
    assert report.clean, [str(fault) for fault in report.faults]


def test_vacuum_changes_nothing_that_is_signed(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    ledger = open_ledger(path)
    fill(ledger, forks=2, records=3)
    publish(ledger)
    root = tree_root(8, ledger.store.hashes)
    ledger.store.close()
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("VACUUM")
    connection.close()
    report = audited(path)
    assert report.clean, [str(fault) for fault in report.faults]
    assert (report.covered, report.root) == (8, root)
    again = open_ledger(path)
    assert again.open_receipt(again.append(Writer(1).record(4))).leaf_index == 8
    again.store.close()
    assert audited(path).clean


def test_nothing_readable_touches_the_disk(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    said = "my neighbour Ottilie keeps eleven geese"
    ledger = open_ledger(path)
    writer = fill(ledger, forks=1, records=1)[0]
    ledger.append(writer.next(said=said))
    publish(ledger)
    on_disk = {file.name: file.read_bytes() for file in tmp_path.iterdir()}
    assert {"ledger.db", "ledger.db-wal", "ledger.db-shm"} <= on_disk.keys()
    ledger.store.close()
    on_disk["closed"] = path.read_bytes()
    key = writer.key_of(2)
    secrets = [said.encode(), b"Ottilie", b"answer to", b"particulars of", writer.key.seed, key.raw, key.commit_key]
    for name, content in on_disk.items():
        for secret in secrets:
            for spelling in (secret, secret.hex().encode(), secret.decode("latin-1").encode("utf-16-le")):
                assert spelling not in content, name
    assert writer.fork_id.encode() in on_disk["closed"]  # the search finds what is there
