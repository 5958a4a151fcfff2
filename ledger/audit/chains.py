"""Steps 3 to 6: what an entry says, after which one it comes, and who signed it. Memory grows with the forks only."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import NamedTuple

from ledger.audit import lean
from ledger.audit.report import MOST_FAULTS, Faults
from ledger.audit.signatures import Claim, Signatures
from ledger.entry import (
    FORK_CREATED,
    LONGEST_ENTRY,
    NO_ENTRY,
    USER_TRAINING_RECORD,
    Entry,
    ForkCreated,
    check_origin,
    decode_entry,
    shown_topic,
)
from ledger.errors import BadSignature, LedgerError, Malformed
from ledger.keys import signed_message
from ledger.merkle import HASH_SIZE
from ledger.record import STEP_LIMIT, Body, decode_body
from ledger.rights import Rights, check_fork_created, check_signer, rights_from
from ledger.store import Row

_LEAF = sha256(b"\x00")


class Place(NamedTuple):
    """The names of an entry in a report."""

    leaf: int | None
    fork_id: str | None
    version: int | None


@dataclass(slots=True)
class Fork:
    """What later entries of a fork are judged by."""

    leaf: int
    version: int
    head: bytes  # 32
    interactions: int = 0
    created: ForkCreated | None = None
    rights: Rights | None = None
    # For the short way: what the fork's records repeat. Empty, no record matches.
    terms: bytes = b""
    key_id: bytes = b""
    key: bytes = b""

    def own(self, created: ForkCreated) -> None:
        """From here on the fork has an owner."""
        self.created, self.rights = created, rights_from(created)
        self.terms, self.key_id, self.key = lean.terms_of(created), created.owner_key.key_id, created.owner_key.raw


class Chains:
    """Every fork of the log, as far as the walk has come. `signatures` takes what is to be verified; without one,
    no record's signature is."""

    def __init__(self, faults: Faults, origin: str | None, signatures: Signatures | None) -> None:
        self.origin = origin
        self.forks: dict[bytes, Fork] = {}  # by the bytes of the fork's id
        self.records = 0
        self.placed: dict[int, Place] = {}  # by leaf: where entries belong whose bytes are not to be believed
        self._faults = faults
        self._signatures = signatures
        self._pattern = lean.pattern(origin) if origin is not None and _is_origin(origin) else None
        self._before_body = signed_message(USER_TRAINING_RECORD, origin, b"") if self._pattern and origin else b""

    def check_page(self, first: int, page: Sequence[bytes], published: bytes) -> list[bytes]:
        """Check entries of a log that has nothing beside them, from leaf `first` on. Returns their leaf hashes.

        `published` are the hashes that the log gives for these leaves, as far as it does. They are compared elsewhere;
        here they only tell whether an entry's bytes are to be believed when a fault is given a place.
        """
        if self._pattern is None:
            return [
                self._check_alone(first + at, data, published[at * HASH_SIZE :][:HASH_SIZE])
                for at, data in enumerate(page)
            ]
        match, forks, varint, float_of = self._pattern.match, self.forks, lean.varint, lean.FLOAT.unpack
        small, few = lean.SMALL_VARINTS, len(lean.SMALL_VARINTS)
        claims, before_body = self._signatures, self._before_body
        alone = 0
        hashes: list[bytes] = []
        begun = _LEAF.copy
        for leaf, data in enumerate(page, first):
            found = match(data)
            if found is not None:
                fork_id, version, previous, length, body, number, rate, _, terms, key_id, signature = found.groups()
                fork = forks.get(fork_id)
                if (
                    fork is not None
                    and previous == fork.head
                    and version == (small[v] if (v := fork.version + 1) < few else varint(v))
                    and number == (small[n] if (n := fork.interactions + 1) < few else varint(n))
                    and terms == fork.terms
                    and key_id == fork.key_id
                    and length == small[len(body)]
                    and (
                        rate is None
                        or (0.0 < (step := float_of(rate)[0] * STEP_LIMIT) < STEP_LIMIT and step.is_integer())
                    )
                ):
                    hashed = begun()
                    hashed.update(data)
                    here = hashed.digest()
                    hashes.append(here)
                    fork.leaf = leaf
                    fork.version = v
                    fork.head = here
                    fork.interactions = n
                    if claims is not None:
                        claims.add(Claim(leaf, fork_id.decode(), v, fork.key, signature + before_body + body))
                    continue
            stated = published[(leaf - first) * HASH_SIZE : (leaf - first + 1) * HASH_SIZE]
            hashes.append(self._check_alone(leaf, data, stated))
            alone += 1
        self.records += len(page) - alone  # those that were checked alone are counted there
        return hashes

    def _check_alone(self, leaf: int, data: bytes, stated: bytes) -> bytes:
        here = sha256(b"\x00" + data).digest()
        self.check(leaf, data, here, None, believed=not stated or stated == here)
        return here

    def check(
        self, leaf: int, data: bytes, here: bytes, row: Row | None, *, believed: bool
    ) -> tuple[Place, Body | None]:
        """Steps 3 to 6 of one entry, strictly. Returns where it stands and, of a record, the body.

        `here` is the leaf hash, `believed` whether the log has the same one for this leaf.
        """
        faults = self._faults
        # 3. It parses, has its place, and its columns say what its bytes say.
        at = Place(leaf, row.fork_id, row.version) if row else Place(leaf, None, None)
        try:
            entry = decode_entry(data)
        except LedgerError as error:
            faults.add(*at, 3, str(error))
            self._advance(at, here)
            return at, None
        if at.fork_id is None or believed:
            # Two of three agree: bytes that have the hash stored for them are not those that were damaged.
            at = Place(leaf, entry.fork_id, entry.version)
            if row is None and not believed and len(self.placed) < MOST_FAULTS:  # each search walks all forks
                at = self._place_of_damaged(at, entry)
                self.placed[leaf] = at
        if self.origin is None:
            self.origin = entry.origin
        self._compare(at, "origin", self.origin, entry.origin)
        if row is not None:
            self._compare(at, "fork column", entry.fork_id, row.fork_id)
            self._compare(at, "version column", entry.version, row.version)
            self._compare(at, "topic column", entry.topic, row.topic)
            if row.accepted_at is None:
                faults.add(*at, 3, "accepted_at column: expected an integer")
        if len(data) > LONGEST_ENTRY:
            faults.add(*at, 3, f"entry: expected at most {LONGEST_ENTRY} bytes, got {len(data)}")
        # 4. It follows the fork's entry before.
        before = self.forks.get((at.fork_id or "").encode())
        self._compare(at, "version", before.version + 1 if before else 1, entry.version, step=4)
        if entry.previous != (before.head if before else NO_ENTRY):
            faults.add(*at, 4, "previous: not the hash of the fork's entry before")
        fork = self._advance(at, here)
        # 5, 6. What it says, and who says so.
        try:
            return at, self._check_statement(at, row, entry, fork)
        except LedgerError as error:
            faults.add(*at, 6 if isinstance(error, BadSignature) else 5, str(error))
            return at, None

    def _place_of_damaged(self, stated: Place, entry: Entry) -> Place:
        """The fork whose head the entry follows: damage that hit the fork's name did not hit that as well."""
        known = self.forks.get(entry.fork_id.encode())
        if entry.previous == NO_ENTRY or (known is not None and known.head == entry.previous):
            return stated
        for fork_id, fork in self.forks.items():
            if fork.head == entry.previous:
                return Place(stated.leaf, fork_id.decode(), fork.version + 1)
        return stated

    def _advance(self, at: Place, here: bytes) -> Fork:
        """The fork of this entry, which is now its head: a broken entry is not blamed on the next one as well."""
        leaf, fork_id = at.leaf or 0, (at.fork_id or "").encode()
        fork = self.forks.get(fork_id)
        if fork is None:
            fork = Fork(leaf, at.version or 1, here)
            if at.fork_id is not None:
                self.forks[fork_id] = fork
        else:
            fork.leaf, fork.version, fork.head = leaf, at.version or fork.version + 1, here
        return fork

    def _check_statement(self, at: Place, row: Row | None, entry: Entry, fork: Fork) -> Body | None:
        faults = self._faults
        if entry.topic == FORK_CREATED:
            self._compare_record_id(at, row, None)
            if entry.version != 1:
                faults.add(*at, 5, "fork-created: the fork exists already")
                return None
            # At once, not queued: whether the fork has an owner decides how its next entries are judged.
            created = check_fork_created(entry.origin, entry.fork_id, entry.body, entry.signatures)
            self._compare(at, "authority", 1, entry.authority, step=6)
            fork.own(created)
            return None
        if entry.version == 1:
            faults.add(*at, 5, f"topic: expected {FORK_CREATED} as a fork's first entry")
        if entry.topic != USER_TRAINING_RECORD:
            topic = shown_topic(entry.topic)
            faults.add(*at, 5, f"topic: {topic} is not known to this version; replay of this fork halts")
            self._compare_record_id(at, row, None)
            self._check_owner(at, entry, fork)
            return None
        self.records += 1
        fork.interactions += 1
        body = decode_body(entry.body)
        self._compare_record_id(at, row, body.record_id)
        self._compare(at, "fork of the body", entry.fork_id, body.fork_id, step=5)
        if body.interaction_number != fork.interactions:
            self._compare(at, "interaction number", fork.interactions, body.interaction_number, step=5)
            fork.interactions = body.interaction_number  # one gap is one fault
        self._check_owner(at, entry, fork)
        if fork.created is None:
            return body
        for name in ("layout_digest", "recipe_digest"):
            if getattr(body, name) != getattr(fork.created, name):
                faults.add(*at, 5, f"{name}: not the one that the fork was created with")
        self._compare(at, "update_dimension", fork.created.dimension, body.update_dimension, step=5)
        return body

    def _check_owner(self, at: Place, entry: Entry, fork: Fork) -> None:
        """Step 6, of whatever comes after a fork's first entry."""
        if fork.rights is None:
            self._faults.add(
                *at, 6, "signature: no owner is known to judge it by, the fork's first entry does not hold"
            )
            return
        self._compare(at, "authority", fork.rights.authority, entry.authority, step=6)
        if not entry.topic.isascii():  # nobody can have signed it: the signed bytes have ASCII in its place
            self._faults.add(*at, 6, "signature: over no entry of this topic, which is not ASCII")
            return
        if self._signatures is not None and _is_plainly_by(fork, entry):
            signed = entry.signatures[0].raw + signed_message(entry.topic, entry.origin, entry.body)
            self._signatures.add(Claim(at.leaf or 0, at.fork_id or "", at.version or 0, fork.key, signed))
            return
        try:
            check_signer(fork.rights, entry.origin, entry.topic, entry.body, entry.signatures)
        except BadSignature as error:
            self._faults.add(*at, 6, str(error))

    def _compare_record_id(self, at: Place, row: Row | None, expected: bytes | None) -> None:
        if row is not None:
            self._compare(at, "record id column", expected, row.record_id)

    def _compare(self, at: Place, what: str, expected: object, found: object, step: int = 3) -> None:
        if expected != found:
            self._faults.add(*at, step, f"{what}: expected {_shown(expected)}, found {_shown(found)}")


def _is_origin(origin: str) -> bool:
    try:
        check_origin(origin)
    except Malformed:
        return False
    return True


def _is_plainly_by(fork: Fork, entry: Entry) -> bool:
    """One signature of the owner's key id and the right form: only its holding is left to be checked."""
    if len(entry.signatures) != 1 or fork.rights is None:
        return False
    (signature,) = entry.signatures
    return (
        signature.key_id == fork.key_id
        and signature.algorithm == fork.rights.owner_key.algorithm
        and len(signature.raw) == 64
    )


def _shown(value: object) -> str:
    return value.hex() if isinstance(value, bytes) else "none" if value is None else str(value)
