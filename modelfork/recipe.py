"""All that fixes how updates are made, beside the layout. Every record of a fork names the recipe by digest.

Ratios are integers over 2^16, so that no float is hashed; the properties give them as floats, exactly.
"""

from __future__ import annotations

import hashlib
from dataclasses import asdict, dataclass

from google.protobuf.message import DecodeError

import ledger
from ledger.wire.v1 import record_pb2
from modelfork.errors import Malformed
from modelfork.wire.v1 import fork_pb2 as wire

ONE = 1 << 16  # a ratio of 1

_DOMAIN = b"forkledger/recipe/v1\0"


@dataclass(frozen=True, slots=True)
class Recipe:
    """The fields of `Recipe` in fork.proto, which says what each is."""

    target_loss: int
    eta: int
    longest_step: int
    rehearsed: int
    rewordings: int
    anchors: int
    anchors_digest: bytes  # 32
    contradiction_loss: int
    contradiction_iterations: int
    longest_row: int
    rewording_prompt: str
    own_words_weight: int
    update_encoding: int
    iterations: int
    contradiction_encoding: int
    lesson_weight: int
    question_prompt: str
    drawn_rewordings: int
    same_topic: int
    anchor_weight: int
    unknown_weight: int
    nearness: int
    learned_loss: int
    longest_iterations: int
    anchor_limit: int
    rehearsal_weight: int
    practice_loss: int
    context_weight: int
    context_share: int
    practice_drift: int
    drift_eta: int
    drift_anchors: int
    drift_iterations: int
    drift_context_share: int

    def __post_init__(self) -> None:
        if len(self.anchors_digest) != 32:
            raise Malformed(f"recipe: expected 32 bytes in anchors_digest, got {len(self.anchors_digest)}")
        for part in (self.context_share, self.drift_context_share):
            if not 0 < part < ONE:
                raise Malformed(f"recipe: expected a context share above 0 and below 2^16, got {part}")
        if not 0 <= self.longest_step < ledger.record.STEP_LIMIT:
            raise Malformed(f"recipe: expected a longest step below 2^24, got {self.longest_step}")
        for encoding in (self.update_encoding, self.contradiction_encoding):
            if not encoding or encoding not in record_pb2.UpdateEncoding.values():
                raise Malformed(f"recipe: update encoding {encoding} is not one of the known encodings")

    @property
    def target_loss_nats(self) -> float:
        return self.target_loss / ONE

    @property
    def eta_ratio(self) -> float:
        return self.eta / ONE

    @property
    def contradiction_loss_nats(self) -> float:
        return self.contradiction_loss / ONE

    @property
    def lesson_ratio(self) -> float:
        return self.lesson_weight / ONE

    @property
    def own_words_ratio(self) -> float:
        return self.own_words_weight / ONE

    @property
    def same_topic_cosine(self) -> float:
        return self.same_topic / ONE

    @property
    def anchor_ratio(self) -> float:
        return self.anchor_weight / ONE

    @property
    def unknown_ratio(self) -> float:
        return self.unknown_weight / ONE

    @property
    def nearness_ratio(self) -> float:
        return self.nearness / ONE

    @property
    def learned_loss_nats(self) -> float:
        return self.learned_loss / ONE

    @property
    def anchor_limit_nats(self) -> float:
        return self.anchor_limit / ONE

    @property
    def rehearsal_ratio(self) -> float:
        return self.rehearsal_weight / ONE

    @property
    def practice_loss_nats(self) -> float:
        return self.practice_loss / ONE

    @property
    def context_ratio(self) -> float:
        return self.context_weight / ONE

    @property
    def context_part(self) -> float:
        return self.context_share / ONE

    @property
    def practice_drift_nats(self) -> float:
        return self.practice_drift / ONE


def encode_recipe(recipe: Recipe) -> bytes:
    return wire.Recipe(**asdict(recipe)).SerializeToString(deterministic=True)


def decode_recipe(data: bytes) -> Recipe:
    """Read a recipe; raise Malformed unless `data` is the one spelling of it that `encode_recipe` writes."""
    message = wire.Recipe()
    try:
        message.ParseFromString(data)
    except DecodeError:
        raise Malformed(f"recipe: {len(data)} bytes do not parse as Recipe") from None
    recipe = Recipe(**{name: getattr(message, name) for name in Recipe.__slots__})
    if encode_recipe(recipe) != data:
        raise Malformed("recipe: expected the deterministic serialisation of known fields, got another")
    return recipe


def recipe_digest(data: bytes) -> bytes:
    """32 bytes that name a recipe: over its bytes as stored."""
    return hashlib.sha256(_DOMAIN + data).digest()


def default_recipe(anchors_digest: bytes) -> Recipe:
    """What a new fork is created with, where nothing else is asked for. docs/learning.md has what was tried."""
    return Recipe(
        target_loss=ONE // 20,
        eta=ONE,
        longest_step=3 << 19,
        rehearsed=10,
        rewordings=8,
        anchors=18,
        anchors_digest=anchors_digest,
        contradiction_loss=ONE // 2,
        contradiction_iterations=10,
        longest_row=256,
        rewording_prompt="Say this in other words: ",
        own_words_weight=ONE // 4,
        update_encoding=int(record_pb2.UPDATE_ENCODING_SPARSE_SIGNS),
        iterations=6,
        contradiction_encoding=int(record_pb2.UPDATE_ENCODING_SIGN_SUMS),
        lesson_weight=4 * ONE,
        question_prompt="Which question does this answer: ",
        drawn_rewordings=16,
        same_topic=ONE * 21 // 25,
        anchor_weight=ONE * 9 // 2,
        unknown_weight=2 * ONE,
        nearness=3 * ONE,
        learned_loss=ONE // 10,
        longest_iterations=16,
        anchor_limit=ONE // 4,
        rehearsal_weight=3 * ONE,
        practice_loss=ONE * 3 // 10,
        context_weight=2 * ONE,
        context_share=ONE // 5,
        practice_drift=ONE * 3 // 100,
        drift_eta=ONE // 2,
        drift_anchors=32,
        drift_iterations=4,
        drift_context_share=ONE * 2 // 5,
    )
