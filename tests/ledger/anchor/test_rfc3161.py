"""Checkpoints stamped by a real timestamp authority on loopback, and by one that lies, dawdles or is away."""

import hashlib
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ledger import checkpoint as checkpoints
from ledger.anchor import Public, Standing
from ledger.anchor.rfc3161 import LONGEST_ANSWER, PAUSE, TimestampAnchor, read_roots, stamped, verify_token
from ledger.checkpoint import Checkpoint
from ledger.cosign import Ed25519Cosigner
from ledger.errors import BadSignature, Malformed, Refused
from ledger.note import Ed25519Signer
from ledger.note import parse as parse_note
from ledger.note import sign as sign_note
from ledger.store import Attempt, Store, sqlite
from tests.ledger.anchor.authority import TIMESTAMPING, Authority, certified, serving

ORIGIN = "log.example/one"
LOG = Ed25519Signer(ORIGIN, bytes(32))
WITNESS = Ed25519Cosigner("witness.example", b"\x01" * 32, lambda: 1_700_000_000)
EVERY = 3600


@pytest.fixture
def authority(tmp_path: Path) -> Iterator[Authority]:
    folder = tmp_path / "authority"
    folder.mkdir()
    with serving(folder) as served:
        yield served


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with closing(sqlite.open_store(tmp_path / "ledger.db")) as opened:
        yield opened


@dataclass
class Clock:
    micros: int = 1_700_000_000_000_000

    def __call__(self) -> int:
        return self.micros

    def pass_(self, seconds: float) -> None:
        self.micros += int(seconds * 1_000_000)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@contextmanager
def opened(
    authority: Authority, store: Store, clock: Clock, *, url: str = "", timeout: float = 10
) -> Iterator[TimestampAnchor]:
    roots = read_roots(authority.root.pem)
    with closing(TimestampAnchor(url or authority.url, roots, store.outbox, EVERY, timeout, clock)) as anchor:
        yield anchor


@pytest.fixture
def anchor(authority: Authority, store: Store, clock: Clock) -> Iterator[TimestampAnchor]:
    with opened(authority, store, clock) as made:
        yield made


def public(size: int, root: bytes | None = None) -> Public:
    tree = Checkpoint(ORIGIN, size, root or hashlib.sha256(b"%d" % size if size else b"").digest())
    return Public(size, tree.root, checkpoints.sign(tree, LOG))


def cosigned(note: bytes) -> bytes:
    text = parse_note(note).text
    line = sign_note(text, [WITNESS])[len(text) + 1 :]
    return note + line


def query_about(checkpoint: Public) -> bytes:
    import rfc3161_client

    builder = rfc3161_client.TimestampRequestBuilder(checkpoint.note, rfc3161_client.HashAlgorithm.SHA256)
    return builder.build().as_bytes()


def token(store: Store, anchor: TimestampAnchor, size: int) -> bytes:
    kept = store.outbox.attempt(anchor.backend, size, 0)
    assert kept is not None
    return kept.data


# --- a token ---


def test_a_checkpoint_is_stamped_once_and_the_token_kept_as_it_came(
    authority: Authority, store: Store, anchor: TimestampAnchor
) -> None:
    before = datetime.now(UTC) - timedelta(seconds=1)
    standing = anchor.turn(public(10))
    assert standing == Standing(anchor.backend, anchored=10, safe=10, settled=10)
    kept = token(store, anchor, 10)
    assert kept == (authority.folder / "reply").read_bytes()
    assert store.outbox.open(anchor.backend) == []
    at = datetime.fromtimestamp(verify_token(kept, public(10).note, read_roots(authority.root.pem)) / 1_000_000, UTC)
    assert before <= at <= datetime.now(UTC)
    for _ in range(3):
        assert anchor.turn(public(10)) == standing
    assert len(authority.asked) == 1


def test_openssl_reads_the_same_in_a_token(authority: Authority, store: Store, anchor: TimestampAnchor) -> None:
    checkpoint = public(10)
    anchor.turn(checkpoint)
    folder = authority.folder
    (folder / "token").write_bytes(token(store, anchor, 10))
    (folder / "note").write_bytes(checkpoint.note)
    (folder / "root.pem").write_bytes(authority.root.pem)
    command = "openssl ts -verify -in token -data note -CAfile root.pem"
    told = subprocess.run(command.split(), cwd=folder, capture_output=True, text=True, check=False)
    assert "Verification: OK" in told.stdout, told.stderr


def test_a_token_holds_for_the_checkpoint_with_any_cosignatures(
    authority: Authority, store: Store, anchor: TimestampAnchor
) -> None:
    checkpoint = public(10)
    anchor.turn(Public(10, checkpoint.root, cosigned(checkpoint.note)))
    roots, kept = read_roots(authority.root.pem), token(store, anchor, 10)
    at = verify_token(kept, checkpoint.note, roots)
    assert verify_token(kept, cosigned(checkpoint.note), roots) == at
    assert stamped(cosigned(checkpoint.note)) == checkpoint.note


def test_a_token_does_not_hold_for_another_checkpoint_or_another_signature(
    authority: Authority, store: Store, anchor: TimestampAnchor
) -> None:
    anchor.turn(public(10))
    roots, kept = read_roots(authority.root.pem), token(store, anchor, 10)
    tree = Checkpoint(ORIGIN, 10, public(10).root)
    for other in (
        public(11).note,
        public(10, bytes(32)).note,
        checkpoints.sign(tree, Ed25519Signer(ORIGIN, b"\x02" * 32)),
    ):
        with pytest.raises(BadSignature, match="over something else"):
            verify_token(kept, other, roots)
    with pytest.raises(Malformed):
        verify_token(kept, b"no note", roots)


def test_a_token_holds_under_the_pinned_root_alone(authority: Authority, store: Store, anchor: TimestampAnchor) -> None:
    anchor.turn(public(10))
    kept, note = token(store, anchor, 10), public(10).note
    same_name, other = certified("root", may_certify=True), certified("other", may_certify=True)
    for roots in ([same_name.certificate], [other.certificate], []):
        with pytest.raises(BadSignature, match="leads to a pinned root"):
            verify_token(kept, note, roots)
    verify_token(kept, note, [other.certificate, authority.root.certificate])


def test_certificates_on_the_way_to_the_root_come_with_the_token_or_are_pinned_beside_it(
    authority: Authority, store: Store, anchor: TimestampAnchor, clock: Clock
) -> None:
    between = certified("between", authority.root, may_certify=True, long=True)
    leaf = certified("authority", between, usage=TIMESTAMPING)
    authority.answer = lambda query: (200, authority.stamp(query, leaf, [between]))
    assert anchor.turn(public(10)).anchored == 10
    authority.answer = lambda query: (200, authority.stamp(query, leaf))
    clock.pass_(EVERY)
    assert "leads to a pinned root" in (anchor.turn(public(20)).waiting or "")
    roots = read_roots(authority.root.pem + between.pem)
    kept = (authority.folder / "reply").read_bytes()
    assert verify_token(kept, public(20).note, roots) > 0
    with pytest.raises(BadSignature):
        verify_token(kept, public(20).note, read_roots(between.pem))


def test_a_token_forged_from_an_authority_s_words_holds_by_its_signer_alone(authority: Authority) -> None:
    """That the forger of these tests makes what would pass, were it not for whom it signs."""
    forged = authority.forge(query_about(public(10)), authority.holder)
    assert verify_token(forged, public(10).note, [authority.root.certificate]) > 0


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=150)
@given(place=st.floats(0, 1, exclude_max=True), flip=st.integers(1, 255))
def test_a_token_with_a_changed_byte_holds_for_the_same_time_or_not_at_all(
    stamped_once: tuple[bytes, bytes, list[x509.Certificate]], place: float, flip: int
) -> None:
    kept, note, roots = stamped_once
    changed = bytearray(kept)
    changed[int(place * len(kept))] ^= flip
    try:
        at = verify_token(bytes(changed), note, roots)
    except (Malformed, BadSignature):
        return
    assert at == verify_token(kept, note, roots)  # a byte outside of what is signed


@pytest.fixture
def stamped_once(
    authority: Authority, store: Store, anchor: TimestampAnchor
) -> tuple[bytes, bytes, list[x509.Certificate]]:
    anchor.turn(public(10))
    return token(store, anchor, 10), public(10).note, list(read_roots(authority.root.pem))


@given(st.binary(max_size=200))
def test_bytes_that_are_no_token_are_malformed(drawn: bytes) -> None:
    with pytest.raises(Malformed):
        verify_token(drawn, public(10).note, [])


def test_a_file_of_roots_holds_certificates(authority: Authority) -> None:
    pem = authority.root.pem
    assert list(read_roots(pem + pem)) == [authority.root.certificate] * 2
    for wrong in (b"", b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", pem[:100]):
        with pytest.raises(Malformed, match="expected one or more certificates in PEM"):
            read_roots(wrong)


# --- when ---


def test_there_is_one_token_an_interval_and_it_is_about_the_newest_checkpoint(
    authority: Authority, store: Store, anchor: TimestampAnchor, clock: Clock
) -> None:
    anchor.turn(public(10))
    for size in (11, 20, 30):
        clock.pass_(EVERY / 4)
        standing = anchor.turn(public(size))
        assert (standing.anchored, standing.lag, standing.waiting) == (10, size - 10, None)
    clock.pass_(EVERY / 4)
    assert anchor.turn(public(40)).anchored == 40
    assert [one.size for one in store.outbox.settled(anchor.backend)] == [10, 40]
    assert len(authority.asked) == 2


def test_the_interval_is_kept_over_a_restart(
    authority: Authority, store: Store, anchor: TimestampAnchor, clock: Clock
) -> None:
    anchor.turn(public(10))
    with opened(authority, store, clock) as again:
        assert again.turn(public(20)).anchored == 10
        clock.pass_(EVERY)
        assert again.turn(public(20)).anchored == 20


def test_a_clock_that_was_ahead_stops_nothing(authority: Authority, anchor: TimestampAnchor, clock: Clock) -> None:
    anchor.turn(public(10))
    clock.pass_(-(10**8))
    assert anchor.turn(public(20)).anchored == 20


def test_an_empty_log_and_an_older_checkpoint_are_not_stamped(
    authority: Authority, anchor: TimestampAnchor, clock: Clock
) -> None:
    assert anchor.turn(public(0)) == Standing(anchor.backend)
    anchor.turn(public(10))
    clock.pass_(EVERY)
    assert anchor.turn(public(9)) == Standing(anchor.backend, anchored=10, safe=10, settled=10)
    assert len(authority.asked) == 1


def test_a_token_that_was_kept_before_a_crash_is_settled_without_asking_again(
    authority: Authority, store: Store, anchor: TimestampAnchor, monkeypatch: pytest.MonkeyPatch
) -> None:
    def crash(_: Attempt) -> None:
        raise SystemExit

    with monkeypatch.context() as patched:
        patched.setattr(anchor, "_settle", crash)
        with pytest.raises(SystemExit):
            anchor.turn(public(10))
    assert [one.size for one in store.outbox.open(anchor.backend)] == [10]
    assert anchor.turn(public(10)).settled == 10
    assert len(authority.asked) == 1


def test_of_two_workers_that_ask_at_once_one_keeps_its_token(
    authority: Authority, store: Store, anchor: TimestampAnchor, clock: Clock
) -> None:
    with opened(authority, store, clock) as other:

        def answer(query: bytes) -> tuple[int, bytes]:
            authority.answer = lambda query: (200, authority.stamp(query))
            assert other.turn(public(11)).anchored == 11  # while the first one waits
            return 200, authority.stamp(query)

        authority.answer = answer
        assert anchor.turn(public(10)) == Standing(anchor.backend, anchored=11, safe=11, settled=11)
    assert [one.size for one in store.outbox.settled(anchor.backend)] == [11]
    assert store.outbox.open(anchor.backend) == []


def test_another_root_at_a_stamped_size_halts(
    authority: Authority, store: Store, anchor: TimestampAnchor, clock: Clock
) -> None:
    anchor.turn(public(10))
    clock.pass_(EVERY)
    standing = anchor.turn(public(10, bytes(32)))
    assert standing.halted == f"log: at size 10 the root {public(10).root.hex()} was stamped, {'00' * 32} is published"
    assert anchor.turn(public(20)).halted == standing.halted == store.outbox.halted(anchor.backend)
    assert len(authority.asked) == 1
    store.outbox.resume(anchor.backend)
    assert anchor.turn(public(20)) == Standing(anchor.backend, anchored=20, safe=20, settled=20)


# --- an authority that does not do its part ---


def again(authority: Authority, size: int) -> bytes:
    """An answer to an earlier question."""
    return authority.stamp(query_about(public(size)))


def about_another(authority: Authority, _: bytes) -> bytes:
    return again(authority, 99)


def of_another_hash_function(authority: Authority, query: bytes) -> bytes:
    sha256, sha3_256 = bytes.fromhex("608648016503040201"), bytes.fromhex("608648016503040208")
    assert sha256 in query
    return authority.stamp(query.replace(sha256, sha3_256))


def with_another_nonce(authority: Authority, _: bytes) -> bytes:
    return again(authority, 10)


def by_nobody(authority: Authority, query: bytes) -> bytes:
    root = certified("root", may_certify=True, long=True)
    return authority.stamp(query, certified("authority", root, usage=TIMESTAMPING), [root])


def by_one_who_may_not_certify(authority: Authority, query: bytes) -> bytes:
    other = certified("a client", authority.root, usage=[ExtendedKeyUsageOID.CLIENT_AUTH], long=True)
    return authority.stamp(query, certified("authority", other, usage=TIMESTAMPING), [other])


def by_one_who_is_no_authority(authority: Authority, query: bytes) -> bytes:
    return authority.forge(query, certified("a client", authority.root, usage=[ExtendedKeyUsageOID.CLIENT_AUTH]))


def by_one_of_no_said_use(authority: Authority, query: bytes) -> bytes:
    return authority.forge(query, certified("anybody", authority.root))


def by_one_whose_time_is_over(authority: Authority, query: bytes) -> bytes:
    return authority.stamp(query, certified("authority", authority.root, usage=TIMESTAMPING, days=(-20, -10)))


def with_a_changed_signature(authority: Authority, query: bytes) -> bytes:
    reply = bytearray(authority.stamp(query))
    reply[-1] ^= 1
    return bytes(reply)


def out_of_order(authority: Authority, query: bytes) -> bytes:
    return authority.stamp(query, more=[authority.root])


REFUSED = bytes.fromhex("30053003020102")  # TimeStampResp { status { rejection } }
WITH_TEXT = bytes.fromhex("3014 3012 020102 300d 0c0b") + b"go\x1b[2J away"


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        (lambda a, q: (500, b""), "expected an answer with status 200, got 500"),
        (lambda a, q: (302, a.stamp(q)), "expected an answer with status 200, got 302"),
        (lambda a, q: (200, b""), "expected a response as in RFC 3161"),
        (lambda a, q: (200, b"<html>"), "expected a response as in RFC 3161"),
        (lambda a, q: (200, a.stamp(q)[:-1]), "expected a response as in RFC 3161"),
        (lambda a, q: (200, out_of_order(a, q)), "InvalidSetOrdering"),
        (lambda a, q: (200, a.stamp(q) + b"\n"), "expected a response as in RFC 3161"),
        (lambda a, q: (200, a.stamp(q) + bytes(LONGEST_ANSWER)), "expected an answer of at most 65536 bytes"),
        (lambda a, q: (200, REFUSED), "expected a granted one, got status 2 ()"),
        (lambda a, q: (200, WITH_TEXT), "expected a granted one, got status 2 (go�[2J away)"),
        (lambda a, q: (200, bytes.fromhex("30053003020100")), "expected a response as in RFC 3161"),
        (lambda a, q: (200, about_another(a, q)), "it is over something else"),
        (lambda a, q: (200, of_another_hash_function(a, q)), "it is over something else"),
        (lambda a, q: (200, with_another_nonce(a, q)), "expected the nonce that was sent, another came back"),
        (lambda a, q: (200, by_nobody(a, q)), "leads to a pinned root"),
        (lambda a, q: (200, by_one_who_may_not_certify(a, q)), "leads to a pinned root"),
        (lambda a, q: (200, by_one_who_is_no_authority(a, q)), "leads to a pinned root"),
        (lambda a, q: (200, by_one_of_no_said_use(a, q)), "leads to a pinned root"),
        (lambda a, q: (200, by_one_whose_time_is_over(a, q)), "leads to a pinned root"),
        (lambda a, q: (200, with_a_changed_signature(a, q)), "leads to a pinned root"),
    ],
)
def test_an_answer_that_is_no_good_token_is_told_and_not_kept(
    authority: Authority,
    store: Store,
    anchor: TimestampAnchor,
    clock: Clock,
    wrong: Callable[[Authority, bytes], tuple[int, bytes]],
    told: str,
) -> None:
    authority.answer = lambda query: wrong(authority, query)
    standing = anchor.turn(public(10))
    assert standing.waiting is not None
    assert told in standing.waiting
    assert (standing.anchored, standing.lag, standing.halted) == (0, 10, None)
    assert store.outbox.attempt(anchor.backend, 10, 0) is None
    assert store.outbox.last_anchored(anchor.backend) is None
    # It is asked again later, and not at once.
    authority.answer = lambda query: (200, authority.stamp(query))
    clock.pass_(PAUSE - 1)
    assert anchor.turn(public(10)).waiting == standing.waiting
    assert len(authority.asked) == 1
    clock.pass_(1)
    assert anchor.turn(public(10)) == Standing(anchor.backend, anchored=10, safe=10, settled=10)


def test_an_authority_that_is_away_is_waited_for(authority: Authority, store: Store, clock: Clock) -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as taken:
        port = taken.getsockname()[1]
    with opened(authority, store, clock, url=f"http://user:secret@127.0.0.1:{port}/tsr?key=secret") as anchor:
        assert anchor.backend == f"rfc3161:http://127.0.0.1:{port}/tsr"
        standing = anchor.turn(public(10))
        assert standing.waiting == "timestamp: no answer (ConnectError)"
        assert (standing.anchored, standing.lag) == (0, 10)


def test_an_authority_that_dawdles_holds_nobody_up(authority: Authority, store: Store, clock: Clock) -> None:
    listening = socket.create_server(("127.0.0.1", 0))
    connections: list[socket.socket] = []
    done = threading.Event()

    def dawdle() -> None:
        connection, _ = listening.accept()
        connections.append(connection)
        connection.sendall(b"HTTP/1.1 200 OK\r\nx: ")
        with suppress(OSError):  # it was hung up on
            while not done.wait(0.05):
                connection.sendall(b"x")  # never longer without a byte than a read waits for one

    thread = threading.Thread(target=dawdle)
    thread.start()
    with opened(authority, store, clock, url=f"http://127.0.0.1:{listening.getsockname()[1]}/", timeout=0.4) as anchor:
        begun = time.monotonic()
        standing = anchor.turn(public(10))
        assert time.monotonic() - begun < 5
        assert standing.waiting == "timestamp: no answer (no whole answer within 0.4 s)"
        done.set()
        thread.join()
        for each in (*connections, listening):
            each.close()


def test_a_store_that_is_away_is_waited_for(
    store: Store, anchor: TimestampAnchor, authority: Authority, tmp_path: Path
) -> None:
    with closing(sqlite.open_read_only(tmp_path / "ledger.db")) as reader:
        with opened(authority, reader, Clock()) as other:
            standing = other.turn(public(10))
        assert standing.waiting is not None
        assert standing.waiting.startswith("outbox: SQLite could not write")


# --- setting up ---


def test_a_token_is_found_under_its_digest(store: Store, anchor: TimestampAnchor) -> None:
    anchor.turn(public(10))
    kept = store.outbox.attempt(anchor.backend, 10, 0)
    assert kept is not None
    assert anchor.found_under(kept) == hashlib.sha256(kept.data).hexdigest()


@pytest.mark.parametrize("url", ["", "tsa.example", "ftp://tsa.example/", "http://", "http://[::1", "http://a:b:c/"])
def test_what_is_no_url_of_an_authority_is_refused(store: Store, authority: Authority, url: str) -> None:
    with pytest.raises(Refused, match=r"expected the http\(s\) URL of an authority"):
        TimestampAnchor(url, [authority.root.certificate], store.outbox, EVERY, 1, Clock())


def test_without_a_root_there_is_nothing_to_check_a_token_against(store: Store) -> None:
    with pytest.raises(Refused, match="at least one root"):
        TimestampAnchor("https://tsa.example/", [], store.outbox, EVERY, 1, Clock())


def test_without_the_extra_it_is_named() -> None:
    ask = """
import sys
sys.modules["rfc3161_client"] = None
from ledger.anchor.rfc3161 import verify_token
from ledger.errors import Refused
from tests.ledger.anchor.test_rfc3161 import public
try:
    verify_token(b"", public(1).note, [])
except Refused as error:
    print(error)
"""
    told = subprocess.run([sys.executable, "-c", ask], capture_output=True, text=True, check=True)
    assert told.stdout == "timestamp: expected the extra `chain`: pip install 'forkledger[chain]'\n"
