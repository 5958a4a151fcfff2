"""Anchors published checkpoints at a timestamp authority: its token says that a checkpoint was there at a time.

RFC 3161. A token proves time only, on the word of one authority, and costs nothing: a second anchor beside a chain. It
is kept as it came, the authority's whole response, and checked offline by whoever trusts the authority's root.

What is stamped is the checkpoint as its log signed it (`stamped`), without the cosignatures: they come later, differ
from copy to copy, and a token would hold for none but the one copy.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import cache
from types import ModuleType
from typing import TypeAlias

import httpx
from cryptography import x509

from ledger import checkpoint as checkpoints
from ledger import note as notes
from ledger.anchor import Public, Standing, known
from ledger.anchor.exchange import Exchange
from ledger.errors import BadSignature, LedgerError, Malformed, Refused, Unavailable
from ledger.store import Attempt, Outbox, Settled, readable

KIND = "rfc3161:"
"""What the name of each such backend begins with."""

LONGEST_ANSWER = 64 << 10  # bytes: a token has one, and some more with the certificates that lead to its root
PAUSE = 60  # seconds before an authority is asked again that gave no token

Roots: TypeAlias = Sequence[x509.Certificate]

_SHA256 = x509.ObjectIdentifier("2.16.840.1.101.3.4.2.1")
_GRANTED = 0
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_QUERY, _REPLY = "application/timestamp-query", "application/timestamp-reply"


def read_roots(pem: bytes) -> Roots:
    """The certificates of a PEM file: whom a token has to come from in the end, and those on the way there that its
    authority does not send along. Raises Malformed."""
    try:
        return x509.load_pem_x509_certificates(pem)
    except ValueError:
        raise Malformed("timestamp roots: expected one or more certificates in PEM") from None


def stamped(note: bytes) -> bytes:
    """What a token is about: the checkpoint's text and the signatures under the log's own name. Raises Malformed."""
    unverified = notes.parse(note)
    origin = checkpoints.parse(unverified.text).origin
    return unverified.text + b"\n" + b"".join(one.encode() for one in unverified.signatures if one.name == origin)


def verify_token(token: bytes, note: bytes, roots: Roots) -> int:
    """When the checkpoint in `note` was there at the latest: microseconds since 1970-01-01 UTC. Offline.

    `note` is the signed checkpoint with any cosignatures or none. Raises Malformed for bytes that are no granted
    response, BadSignature for a token about something else or from somebody else. The checkpoint's own signature is
    not checked here (`checkpoint.open_checkpoint`).
    """
    return _verify(token, stamped(note), roots, None)


def _verify(token: bytes, expected: bytes, roots: Roots, nonce: int | None) -> int:
    library = _library()
    # 1. It is a response with a token in it (RFC 3161 2.4.2).
    try:
        response = library.decode_timestamp_response(token)
        if response.status != _GRANTED:
            said = readable("; ".join(response.status_string))[:200]
            raise Malformed(f"timestamp: expected a granted one, got status {response.status} ({said})")
        told = response.tst_info
        imprint = told.message_imprint
        at: datetime = told.gen_time
    except ValueError as error:  # DER, and to the letter: some authorities do not sort what DER sorts
        said = readable(str(error))[:200]
        raise Malformed(f"timestamp: expected a response as in RFC 3161, section 2.4.2 ({said})") from None
    # 2. The token is about this checkpoint.
    if imprint.hash_algorithm != _SHA256 or imprint.message != hashlib.sha256(expected).digest():
        raise BadSignature("timestamp: expected a token over the SHA-256 of this checkpoint, it is over something else")
    # 3. It answers the question that was asked. Nobody knows that question later, and then the signature is enough.
    if nonce is not None and told.nonce != nonce:
        raise BadSignature("timestamp: expected the nonce that was sent, another came back")
    # 4. It is signed by a certificate for timestamping that leads to one of the roots and was valid at that time.
    try:
        library.VerifierBuilder(roots=list(roots)).build().verify(response, imprint.message)
    except (library.VerificationError, ValueError) as error:
        said = readable(str(error))[:200]
        raise BadSignature(f"timestamp: expected a signature that leads to a pinned root ({said})") from None
    return (at - _EPOCH) // timedelta(microseconds=1)


class TimestampAnchor:
    """A `ledger.anchor.Anchor`: one token a checkpoint, and at most one in `every` seconds.

    `now` tells microseconds since 1970-01-01 UTC; `timeout`, in seconds, is for a whole answer.
    """

    def __init__(
        self, url: str, roots: Roots, outbox: Outbox, every: int, timeout: float, now: Callable[[], int]
    ) -> None:
        _library()
        if not roots:
            raise Refused("timestamp roots: expected the certificate of at least one root")
        self.backend = f"{KIND}{_shown(url)}"
        self._roots = roots
        self._outbox = outbox
        self._every = every
        self._now = now
        self._exchange = Exchange(url, {"accept": _REPLY, "content-type": _QUERY}, timeout, LONGEST_ANSWER)
        self._failed: tuple[int, str] | None = None  # when, and why
        self._standing = Standing(self.backend)

    def close(self) -> None:
        self._exchange.close()

    def turn(self, public: Public) -> Standing:
        self._standing = replace(self._standing, waiting=None)
        try:
            self._step(public)
        except LedgerError as error:  # the store is away, or holds what it must not
            self._standing = replace(self._standing, waiting=str(error))
        return self._standing

    def found_under(self, attempt: Attempt) -> str:
        """The SHA-256 of a token."""
        return hashlib.sha256(attempt.data).hexdigest()

    def _step(self, public: Public) -> None:
        for kept in self._outbox.open(self.backend):  # checked before it was kept: we were stopped between the two
            self._settle(kept)
        last = self._look(public)
        if last is not None and last.size == public.size and last.root != public.root:
            reason = (
                f"log: at size {last.size} the root {last.root.hex()} was stamped, {public.root.hex()} is published"
            )
            self._outbox.halt(self.backend, reason)
            self._look(public)
        if self._standing.halted is not None or self._standing.lag == 0 or not self._is_time(last):
            return
        if self._failed is not None and 0 <= self._now() - self._failed[0] < PAUSE * 1_000_000:
            self._standing = replace(self._standing, waiting=self._failed[1])
            return
        try:
            token = self._token(public)
        except LedgerError as error:
            self._failed = self._now(), str(error)
            self._standing = replace(self._standing, waiting=str(error))
            return
        if self._outbox.last_anchored(self.backend) == last:  # else another worker was faster, and ours is one too many
            attempt = Attempt(self.backend, public.size, 0, public.size, public.root, token, self._now())
            if self._outbox.keep(attempt):
                self._settle(attempt)
        self._look(public)

    def _look(self, public: Public) -> Settled | None:
        """How things stand by the outbox. Returns the last token's checkpoint."""
        last = self._outbox.last_anchored(self.backend)
        self._standing = replace(known(self._outbox, self.backend, public), waiting=self._standing.waiting)
        return last

    def _settle(self, kept: Attempt) -> None:
        settled = Settled(
            kept.backend, kept.nonce, kept.attempt, kept.size, kept.root,
            anchored=True, block=0, block_hash=b"", cost=0, at=kept.at,
        )  # fmt: skip
        self._outbox.settle(settled)

    def _is_time(self, last: Settled | None) -> bool:
        # A time to come is a clock that was wrong: it must not stop this for years.
        return last is None or not 0 <= self._now() - last.at < self._every * 1_000_000

    def _token(self, public: Public) -> bytes:
        """A token that was checked. Raises Unavailable, Malformed or BadSignature."""
        library, about = _library(), stamped(public.note)
        query = library.TimestampRequestBuilder(about, library.HashAlgorithm.SHA256).build()  # with a nonce of its own
        try:
            status, token = self._exchange.post(query.as_bytes())
        except Unavailable as error:
            raise Unavailable(f"timestamp: no answer ({error})") from None
        except Malformed as error:
            raise Malformed(f"timestamp: {error}") from None
        if status != 200:
            raise Unavailable(f"timestamp: expected an answer with status 200, got {status}")
        _verify(token, about, self._roots, query.nonce)
        return token


def _shown(url: str) -> str:
    """A URL without user, password and query. Raises Refused."""
    try:
        parsed = httpx.URL(url)
    except httpx.InvalidURL:
        raise Refused("timestamp: expected the http(s) URL of an authority") from None
    if parsed.scheme not in ("http", "https") or not parsed.host:
        raise Refused("timestamp: expected the http(s) URL of an authority")
    return f"{parsed.scheme}://{parsed.netloc.decode()}{parsed.raw_path.decode().split('?')[0]}"


@cache
def _library() -> ModuleType:
    try:
        import rfc3161_client
    except ImportError:
        raise Refused("timestamp: expected the extra `chain`: pip install 'forkledger[chain]'") from None
    return rfc3161_client
