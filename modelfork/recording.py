"""One interaction as a signed record over ciphertext, and back. The writer stands beside the reader.

Service and self custody write through the same function; only where owner key and root live differs.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field

from google.protobuf.message import DecodeError

import ledger
from ledger.wire.v1 import record_pb2 as wire
from modelfork import interaction as spoken
from modelfork.errors import Malformed, Unsuited
from modelfork.interaction import Interaction
from modelfork.update import EMPTY, Update, pack, unpack

_LENGTH = struct.Struct("<I")


@dataclass(frozen=True, slots=True)
class Writer:
    """What every record of a fork repeats, and the keys that write it. `root` is 32 bytes; no repr shows the keys."""

    origin: str
    fork: ledger.entry.ForkCreated
    owner_key: ledger.keys.SigningKey = field(repr=False)
    root: bytes = field(repr=False)

    def __post_init__(self) -> None:
        if self.owner_key.public != self.fork.owner_key:
            raise Unsuited(f"fork {self.fork.fork_id}: this is not its owner's key")


@dataclass(frozen=True, slots=True, kw_only=True)
class Metrics:
    """How the learning step went: `PerformanceMetrics` in record.proto. What is a float is kept as a float32."""

    loss_before: float = 0.0  # nats a token
    learned_tokens: int = 0
    iterations: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    guard_quarters: int = 0
    loss_after: float = 0.0
    anchor_loss: float = 0.0


@dataclass(frozen=True, slots=True)
class Particulars:
    """What is personal beside input, output and update. The verdict's part of it lives in `Interaction`."""

    user_id: str  # a pseudonym even here
    created_at: int  # microseconds since 1970-01-01 UTC
    state_version: int  # of the state that the update was computed at
    metrics: Metrics = Metrics()
    rehearsed: tuple[bytes, ...] = ()  # record ids, 16 bytes each
    seed: int = 0  # below 2^64; what every random choice of the step came from


def as_recorded(interaction: Interaction) -> Interaction:
    """The interaction as a reader of its record gets it: the rating is a float32 there.

    A process that learns must learn from this, or it would differ from one that was restarted.
    """
    return _opened(_plaintexts(interaction, Particulars("", 0, 0)))[0]


def build_record(
    writer: Writer,
    number: int,
    record_id: bytes,
    interaction: Interaction,
    update: Update,
    state_digest: bytes,
    particulars: Particulars,
    random: Callable[[int], bytes],
) -> tuple[ledger.record.SignedRecord, bytes]:
    """Encrypt, state and sign. Returns the record and the salt of its key, which is kept with the keys alone.

    `number` is the interaction number, `record_id` 16 bytes, `state_digest` that of the state after the update.
    `random` gives secret random bytes. Whoever loses a race for the number calls again with the next number and
    the same record id: salt and nonces are fresh each time. Raises Malformed where a value has no place.
    """
    if update.dimension != writer.fork.dimension:
        raise Unsuited(f"update: expected the fork's {writer.fork.dimension} numbers, got {update.dimension}")
    if len(record_id) != 16 or len(state_digest) != 32:
        raise Malformed("record: expected 16 bytes of record id and 32 of state digest")
    salt = random(32)
    key = ledger.vault.record_key(writer.root, salt, number)
    payloads = _seal(
        key, ledger.vault.Place(writer.origin, writer.fork.fork_id, record_id), interaction, update, particulars, random
    )
    body = ledger.record.Body(
        fork_id=writer.fork.fork_id,
        record_id=record_id,
        interaction_number=number,
        step=update.step,
        payloads=tuple((kind, ledger.record.payload_digest(kind, payloads[kind])) for kind in sorted(payloads)),
        key_scheme=ledger.vault.SCHEME,
        key_commitment=key.commitment,
        update_encoding=update.encoding,
        update_dimension=update.dimension,
        layout_digest=writer.fork.layout_digest,
        recipe_digest=writer.fork.recipe_digest,
        state_commitment=ledger.vault.state_commitment(key.commit_key, state_digest),
    )
    signed = ledger.record.encode_body(body)
    message = ledger.keys.signed_message(ledger.entry.USER_TRAINING_RECORD, writer.origin, signed)
    return ledger.record.SignedRecord(signed, (writer.owner_key.sign(message),), payloads), salt


def open_interaction(
    body: ledger.record.Body, payloads: Mapping[int, bytes], key: ledger.vault.RecordKey, origin: str
) -> tuple[Interaction, Particulars]:
    """What a record says, from its payloads. Raises Unsuited (another record's key), Malformed (a payload is missing
    or not what the body names), or `ledger.errors` where ciphertext does not open."""
    place = ledger.vault.Place(origin, body.fork_id, body.record_id)
    _expect_key(body, key)
    opened = {}
    for kind in (ledger.record.INPUT, ledger.record.OUTPUT, ledger.record.PARTICULARS):
        payload = _named_payload(body, payloads, kind)
        opened[int(kind)] = ledger.vault.unpad(ledger.vault.open_payload(key.subkey(kind), kind, payload, place))
    return _opened(opened)


def open_update(
    body: ledger.record.Body, payloads: Mapping[int, bytes], key: ledger.vault.RecordKey, origin: str
) -> Update:
    """The update that a record adds. Raises as `open_interaction` does, and Malformed where it does not unpack."""
    _expect_key(body, key)
    if body.update_encoding == EMPTY:
        return unpack(EMPTY, body.update_dimension, body.step, b"")
    kind = ledger.record.UPDATE
    payload = _named_payload(body, payloads, kind)
    packed = ledger.vault.open_payload(
        key.subkey(kind), kind, payload, ledger.vault.Place(origin, body.fork_id, body.record_id)
    )
    return unpack(body.update_encoding, body.update_dimension, body.step, packed)


def keep_opened(interaction: Interaction, particulars: Particulars) -> bytes:
    """What a record says, in one piece, for where it is kept sealed: u32le length || plaintext of input, output and
    particulars in turn."""
    plain = _plaintexts(interaction, particulars)
    return b"".join(_LENGTH.pack(len(plain[kind])) + plain[kind] for kind in sorted(plain))


def read_opened(kept: bytes) -> tuple[Interaction, Particulars]:
    """Undo `keep_opened`. Raises Malformed."""
    plain, at = {}, 0
    for kind in sorted((ledger.record.INPUT, ledger.record.OUTPUT, ledger.record.PARTICULARS)):
        if len(kept) < at + _LENGTH.size:
            raise Malformed("opened record: it ends within a length")
        (length,) = _LENGTH.unpack_from(kept, at)
        begin, at = at + _LENGTH.size, at + _LENGTH.size + length
        plain[int(kind)] = kept[begin:at]
    if len(kept) != at:
        raise Malformed(f"opened record: expected {at} bytes, got {len(kept)}")
    return _opened(plain)


def view(
    entry: ledger.entry.Entry, payloads: Mapping[int, bytes], key: ledger.vault.RecordKey | None = None
) -> wire.UserTrainingRecord:
    """The full message, for readers; with a key the particulars too. Never an input to a check.

    Input, output and update stay ciphertext in it, as their fields' names say. Payloads that are gone are absent.
    """
    body = ledger.record.decode_body(entry.body)
    message = wire.UserTrainingRecord.FromString(entry.body)
    message.encrypted_input = payloads.get(ledger.record.INPUT, b"")
    message.encrypted_output = payloads.get(ledger.record.OUTPUT, b"")
    message.encrypted_gradient = payloads.get(ledger.record.UPDATE, b"")
    message.signature = entry.signatures[0].raw if entry.signatures else b""
    if key is not None and ledger.record.PARTICULARS in payloads:
        kind = ledger.record.PARTICULARS
        payload = _named_payload(body, payloads, kind)
        place = ledger.vault.Place(entry.origin, body.fork_id, body.record_id)
        fragment = ledger.vault.unpad(ledger.vault.open_payload(key.subkey(kind), kind, payload, place))
        message.MergeFrom(_parse_particulars(fragment))
    return message


def _seal(
    key: ledger.vault.RecordKey,
    place: ledger.vault.Place,
    interaction: Interaction,
    update: Update,
    particulars: Particulars,
    random: Callable[[int], bytes],
) -> dict[int, bytes]:
    plain = _plaintexts(interaction, particulars)
    padded = {
        ledger.record.INPUT: ledger.vault.pad_text(plain[ledger.record.INPUT]),
        ledger.record.OUTPUT: ledger.vault.pad_text(plain[ledger.record.OUTPUT]),
        ledger.record.PARTICULARS: ledger.vault.pad_particulars(plain[ledger.record.PARTICULARS]),
    }
    if update.encoding != EMPTY:
        padded[ledger.record.UPDATE] = pack(update)  # its size is fixed already
    return {
        int(kind): ledger.vault.seal_payload(key.subkey(kind), kind, padded[kind], place, random(24))
        for kind in sorted(padded)
    }


def _plaintexts(interaction: Interaction, particulars: Particulars) -> dict[int, bytes]:
    return {
        int(ledger.record.INPUT): spoken.encode_input(interaction),
        int(ledger.record.OUTPUT): spoken.encode_output(interaction),
        int(ledger.record.PARTICULARS): _encode_particulars(interaction, particulars),
    }


def _opened(plain: Mapping[int, bytes]) -> tuple[Interaction, Particulars]:
    message = _parse_particulars(plain[ledger.record.PARTICULARS])
    feedback = message.feedback
    rating = feedback.rating if feedback.HasField("rating") else None
    said = spoken.decode(plain[ledger.record.INPUT], plain[ledger.record.OUTPUT], rating, feedback.refers_to)
    measured = Metrics(**{name: getattr(message.metrics, name) for name in Metrics.__slots__})
    return said, Particulars(
        user_id=message.user_id,
        created_at=message.created_at,
        state_version=message.state_version,
        metrics=measured,
        rehearsed=tuple(message.rehearsed[at : at + 16] for at in range(0, len(message.rehearsed), 16)),
        seed=message.seed,
    )


def _encode_particulars(interaction: Interaction, particulars: Particulars) -> bytes:
    if any(len(record_id) != 16 for record_id in particulars.rehearsed):
        raise Malformed("particulars: expected 16 bytes in each rehearsed record id")
    try:
        message = wire.UserTrainingRecord(
            user_id=particulars.user_id,
            metrics=wire.PerformanceMetrics(**asdict(particulars.metrics)),
            created_at=particulars.created_at,
            state_version=particulars.state_version,
            rehearsed=b"".join(particulars.rehearsed),
            seed=particulars.seed,
        )
    except ValueError:
        raise Malformed("particulars: a number is out of its field's range") from None
    feedback = _feedback_of(interaction)
    if feedback is not None:
        message.feedback.CopyFrom(feedback)
    return message.SerializeToString(deterministic=True)


def _feedback_of(interaction: Interaction) -> wire.UserFeedback | None:
    rating = interaction.rating
    if interaction.refers_to and len(interaction.refers_to) != 16:
        raise Malformed(f"feedback: expected 16 bytes in refers_to, got {len(interaction.refers_to)}")
    if rating is None and not interaction.correction and not interaction.refers_to:
        return None
    verdict = wire.VERDICT_UNSPECIFIED
    if rating is not None:
        if not -1 <= rating <= 1:  # a NaN is not either
            raise Malformed("feedback: expected a rating from -1 to 1")
        verdict = wire.VERDICT_LIKED if rating > 0 else wire.VERDICT_DISLIKED if rating < 0 else verdict
    if interaction.correction:
        verdict = wire.VERDICT_CORRECTED
    return wire.UserFeedback(rating=rating, verdict=verdict, refers_to=interaction.refers_to)


def _parse_particulars(fragment: bytes) -> wire.UserTrainingRecord:
    message = wire.UserTrainingRecord()
    try:
        message.ParseFromString(fragment)
    except DecodeError:
        raise Malformed("particulars: the opened payload does not parse as UserTrainingRecord") from None
    if len(message.rehearsed) % 16:
        raise Malformed("particulars: expected a multiple of 16 bytes in rehearsed")
    return message


def _expect_key(body: ledger.record.Body, key: ledger.vault.RecordKey) -> None:
    if body.key_scheme != ledger.vault.SCHEME:
        raise Unsuited(f"record: expected key scheme {ledger.vault.SCHEME}, got {body.key_scheme}")
    if key.commitment != body.key_commitment:
        raise Unsuited("record: this is not the key that its body is committed to")


def _named_payload(body: ledger.record.Body, payloads: Mapping[int, bytes], kind: int) -> bytes:
    """The payload of a kind, once its digest is the one that the body names."""
    named = next((digest for other, digest in body.payloads if other == kind), None)
    payload = payloads.get(kind)
    if named is None or payload is None:
        raise Malformed(f"payload {kind}: it is not here")
    if ledger.record.payload_digest(kind, payload) != named:
        raise Malformed(f"payload {kind}: its digest is not the one that the body names")
    return payload
