"""What keeps forks live: state and rehearsal memory, both rebuilt from the ledger and never ahead of it.

Recorded first, applied second. A fork's updates are made one after another under its lock, and one fork learns at a
time; answers go on between the iterations. Forks in self custody are not here: the service holds no key of theirs.
"""

from __future__ import annotations

import hashlib
import hmac
import threading
import uuid
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from typing import Any

import ledger
from ledger.errors import AlreadyRecorded, Conflict, NotFound, StaleNumber
from modelfork.base import Base
from modelfork.batcher import Batcher
from modelfork.errors import Unsuited
from modelfork.fairlock import FairLock
from modelfork.generate import Sampling, TextStream
from modelfork.history import Remembered, effect, history, key_finder, remember
from modelfork.interaction import Interaction, Message, Noted
from modelfork.learn import Learned, learn, nothing_learned, practise
from modelfork.lesson import lesson_of
from modelfork.live import LiveFork
from modelfork.recipe import Recipe, encode_recipe, recipe_digest
from modelfork.recording import Particulars, Writer, as_recorded, build_record
from modelfork.rehearse import Memory
from modelfork.replay import Replayed, State, advance, genesis
from modelfork.snapshots import Snapshots

TRIES = 20  # for a place in a fork, against other processes that keep winning it


@dataclass(frozen=True, slots=True)
class Recorded:
    """A durable record: where it stands and what it did. `size` counts its bytes without input and output.

    `learned` is whether its lesson moved the fork, `practised` whether what was told earlier was learned again in its
    place. `noted` is what a statement was learned as.
    """

    record_id: bytes
    version: int
    leaf_index: int
    entry_hash: bytes
    receipt: bytes
    learned: bool
    practised: bool
    size: int
    noted: tuple[Noted, ...] = ()


@dataclass(frozen=True, slots=True)
class Answered:
    """A turn that is done and recorded."""

    interaction: Interaction
    recorded: Recorded
    prompt_tokens: int
    completion_tokens: int


def fork_id_of(drawn: bytes) -> str:
    """The id of the fork whose 16 bytes these are: a UUID of version 4 (RFC 9562, section 5.4)."""
    return str(uuid.UUID(bytes=drawn, version=4))


class ForkManager:
    """Forks in service custody over one ledger and one base. Safe to use from several threads.

    `now` gives microseconds since 1970-01-01 UTC, `random(n)` n unpredictable bytes. At most `most_live` forks are
    kept in memory; the one idle for longest goes first. When it is asked for again it is read from its snapshot, where
    `snapshots` has one that holds, and from the entries that came since; else it is replayed.
    """

    def __init__(
        self,
        log: ledger.Ledger,
        keystore: ledger.KeyStore,
        base: Base,
        recipe: Recipe,
        now: Callable[[], int],
        random: Callable[[int], bytes],
        most_live: int = 64,
        snapshots: Snapshots | None = None,
    ) -> None:
        if recipe.anchors_digest != base.anchors_digest:
            raise Unsuited("recipe: it names other anchor rows than the base has")
        self._log = log
        self._keystore = keystore
        self._base = base
        self._recipe = recipe
        self._recipe_digest = recipe_digest(encode_recipe(recipe))
        self._now = now
        self._random = random
        self._most_live = most_live
        self._snapshots = snapshots
        self._live: OrderedDict[str, LiveFork] = OrderedDict()
        self._table = threading.Lock()  # around _live
        self._batcher = Batcher(base)
        self._learning = FairLock()  # more learners at once would each be slower and none done sooner

    @property
    def longest_answer(self) -> int:
        return self._base.context

    @property
    def live(self) -> tuple[str, ...]:
        """Forks in memory, the one idle for longest first."""
        with self._table:
            return tuple(self._live)

    def create(self, app_id: str, drawn: bytes | None = None) -> str:
        """A new fork at genesis, in service custody. Returns its id once its first entry is durable.

        The id comes from the 16 bytes `drawn`, else from random ones. The same ones again give the same fork, and
        finish one that was only begun.
        """
        fork_id = fork_id_of(drawn or self._random(16))
        try:
            keys = self._keystore.make_fork_keys(fork_id, app_id)
        except Conflict:
            if drawn is None or self._keystore.app_of_fork(fork_id) != app_id:
                raise
            if self._log.store.head(fork_id) is not None:
                return fork_id
            keys = self._keystore.fork_keys(fork_id)
        begun = genesis(self._base.layout_digest, self._base.layout.dimension)
        body = ledger.entry.encode_fork_created(
            ledger.entry.ForkCreated(
                fork_id=fork_id,
                owner_key=keys.owner.public,
                custody=ledger.entry.SERVICE,
                layout_digest=self._base.layout_digest,
                recipe_digest=self._recipe_digest,
                genesis_digest=begun.digest,
                dimension=begun.dimension,
            )
        )
        topic = ledger.entry.FORK_CREATED
        signature = keys.owner.sign(ledger.keys.signed_message(topic, self._log.origin, body))
        self._log.create_fork(ledger.entry.SignedControl(topic, body, (signature,)))
        return fork_id

    # --- live forks --------------------------------------------------------------------------------------

    @contextmanager
    def _open(self, fork_id: str) -> Iterator[tuple[LiveFork, Replayed, Writer]]:
        """The fork, locked, with everything that the ledger holds of it read in. Raises NotFound or Unsuited."""
        with self._table:
            live = self._live.get(fork_id)
            if live is None:
                live = self._live[fork_id] = LiveFork(self._log, self._keystore, fork_id, self._snapshots)
            self._live.move_to_end(fork_id)
            live.users += 1
        try:
            with live.lock:
                yield live, *self._caught_up(live)
                live.keep()
        finally:
            with self._table:
                live.users -= 1
                self._evict_idle()

    def _evict_idle(self) -> None:
        """With the table held: drop what nobody works with, the one idle for longest first. While more forks than
        `most_live` are worked with at once, all of them stay: two copies of one fork would learn at one state."""
        for fork_id in [one for one, live in self._live.items() if not live.users]:
            if len(self._live) <= self._most_live:
                return
            del self._live[fork_id]

    def _caught_up(self, live: LiveFork) -> tuple[Replayed, Writer]:
        read, writer = live.caught_up()
        self._expect_ours(read)
        return read, writer

    def _expect_ours(self, read: Replayed) -> None:
        if read.fork.layout_digest != self._base.layout_digest:
            raise Unsuited(f"fork {read.fork.fork_id}: it was made on another base or basis than the one loaded")
        if read.fork.recipe_digest != self._recipe_digest:
            raise Unsuited(f"fork {read.fork.fork_id}: it was made with another recipe than the one in force")

    def evict(self, fork_id: str) -> None:
        """Forget a live fork that nobody works with; the next use reads it again."""
        with self._table:
            if fork_id in self._live and not self._live[fork_id].users:
                del self._live[fork_id]

    def state(self, fork_id: str) -> State:
        return self._read(fork_id).state

    def _read(self, fork_id: str) -> Replayed:
        """The fork as the ledger has it. Who learns with it is not waited for, unless the ledger has more already: many
        who look at a fork that learns would hold the threads that others need."""
        head = self._log.store.head(fork_id)
        with self._table:
            live = self._live.get(fork_id)
            read = live.read if live is not None else None
            if read is not None and head is not None and read.state.version == head.version:
                self._live.move_to_end(fork_id)
                self._expect_ours(read)
                return read
        with self._open(fork_id) as (_, opened, _writer):
            return opened

    # --- turns -------------------------------------------------------------------------------------------

    def take_turn(
        self,
        fork_id: str,
        record_id: bytes,
        messages: tuple[Message, ...],
        sampling: Sampling,
        teaches: bool,
        push: Callable[[str], None],
        request: bytes = b"",
    ) -> Answered:
        """Answer with the fork, then record the turn. `push` gets the answer's pieces as they come.

        Raises before the first piece TooLong when the prompt does not fit, Busy when too many others are answered; then
        nothing is recorded. `request` is what makes the same request known again. When another process recorded that
        one meanwhile, its answer is returned, which need not be the pieces that were pushed.
        """
        state = self.state(fork_id)
        prompt = self._base.render(messages, prompt=True)
        stream = TextStream(self._base, sampling.stop)
        pieces: list[str] = []

        def show(piece: str) -> None:
            if piece:
                pieces.append(piece)
                push(piece)

        with closing(self._batcher.generate(state.vector, prompt, sampling)) as tokens:
            for token in tokens:
                show(stream.push(token))
                if stream.done:
                    break
        show(stream.finish())
        interaction = Interaction(messages, "".join(pieces), teaches=teaches, finish_reason=stream.finish_reason)
        counted = (len(prompt), stream.tokens)
        known, recorded = self._record(fork_id, record_id, interaction, request, counted)
        if known is not None:
            return self.answered_again(known, request)
        return Answered(interaction, recorded, *counted)

    def find(self, fork_id: str, record_id: bytes) -> Remembered | None:
        """A record of the fork, opened; None when there is none."""
        stored = self._log.record(fork_id, record_id)
        return remember(self._log, stored, key_finder(self._keystore, fork_id)) if stored else None

    def answered_again(self, known: Remembered, request: bytes) -> Answered:
        """What a turn was answered with when it was first asked. Conflict when it was another request."""
        self._expect_same_request(known, request)
        metrics = known.particulars.metrics
        return Answered(known.interaction, self._recorded(known), metrics.prompt_tokens, metrics.completion_tokens)

    def _expect_same_request(self, known: Remembered, request: bytes) -> None:
        kept = self._keystore.request_of(known.body.fork_id, known.body.key_commitment)
        if not hmac.compare_digest(kept, request):
            raise Conflict("Idempotency-Key: it was used with another request")

    def judge(
        self,
        fork_id: str,
        record_id: bytes,
        refers_to: bytes,
        correction: str,
        rating: float | None,
        comment: str,
        request: bytes = b"",
    ) -> Recorded:
        """Record a verdict on an earlier answer, and learn from it unless that one was not to teach. NotFound when
        there is no such record."""
        said = self._said(fork_id, refers_to)
        if said.refers_to:  # a verdict on a verdict is one on the same answer
            refers_to = said.refers_to
            said = self._said(fork_id, refers_to)
        verdict = Interaction(said.messages, said.answer, correction, rating, comment, refers_to, said.teaches)
        return self.record(fork_id, record_id, verdict, request)

    def _said(self, fork_id: str, record_id: bytes) -> Interaction:
        known = self.find(fork_id, record_id)
        if known is None:
            raise NotFound(f"record {record_id.hex()}: not in fork {fork_id}")
        return known.interaction

    def record(self, fork_id: str, record_id: bytes, interaction: Interaction, request: bytes = b"") -> Recorded:
        """Learn from an interaction and record it; applied to the live fork once it is durable.

        The same record id again returns the first record; Conflict when it says something else.
        """
        known, recorded = self._record(fork_id, record_id, interaction, request, (0, 0))
        if known is not None:
            self._expect_same_request(known, request)
            said, stands = as_recorded(interaction), replace(known.interaction, noted=())
            if stands not in (said, replace(said, teaches=False)):  # it came while learning was paused
                raise Conflict(f"record {record_id.hex()}: recorded already with other content")
        return recorded

    def pause(self, fork_id: str, paused: bool) -> None:
        """Learn nothing from what is recorded from now on, or learn again; what came in between stays unlearned.

        What is being learned is finished first. Raises NotFound for a fork that is not in service custody.
        """
        with self._open(fork_id):
            self._keystore.pause(fork_id, paused)

    def _record(
        self, fork_id: str, record_id: bytes, interaction: Interaction, request: bytes, counted: tuple[int, int]
    ) -> tuple[Remembered | None, Recorded]:
        """Learn and record, or find what stands under the record id already. `counted` is tokens of prompt and
        answer."""
        interaction = as_recorded(interaction)
        with self._open(fork_id) as (live, read, _):
            known = self.find(fork_id, record_id)
            if known is not None:
                return known, self._recorded(known)
            if self._keystore.is_paused(fork_id):
                interaction = replace(interaction, teaches=False)
            seed = int.from_bytes(hashlib.sha256(b"forkledger/seed/v1\0" + record_id).digest()[:8], "big")
            learned = self._learn(read.state, interaction, live.memory, seed)
            interaction = replace(interaction, noted=learned.noted)
            particulars = Particulars(
                user_id="",
                created_at=self._now(),
                state_version=read.state.version,
                metrics=replace(learned.metrics, prompt_tokens=counted[0], completion_tokens=counted[1]),
                rehearsed=learned.rehearsed,
                seed=seed,
            )
            for _ in range(TRIES):
                read, writer = self._caught_up(live)
                after = advance(read.state, read.state.version + 1, learned.update)
                signed, salt = build_record(
                    writer,
                    read.records + 1,
                    record_id,
                    interaction,
                    learned.update,
                    after.digest,
                    particulars,
                    self._random,
                )
                commitment = ledger.record.decode_body(signed.body).key_commitment
                self._keystore.keep_salt(fork_id, commitment, salt, request)
                try:
                    receipt = self._log.append(signed)
                except StaleNumber:
                    self._keystore.drop_salt(fork_id, commitment)
                    continue  # another process was first: its entries come before ours
                except AlreadyRecorded:
                    self._keystore.drop_salt(fork_id, commitment)
                    known = self.find(fork_id, record_id)
                    if known is None:
                        raise
                    return known, self._recorded(known)
                promised = self._log.open_receipt(receipt)
                grown = replace(
                    read,
                    state=after,
                    head=promised.entry_hash,
                    records=read.records + 1,
                    checked=read.checked + 1,
                )
                live.go_on(grown, record_id, interaction, particulars)
                stored = self._log.entry_at(promised.leaf_index)
                return None, self._recorded_as(stored, interaction, receipt)
            raise Conflict(f"fork {fork_id}: {TRIES} tries for the next place were all lost to others")

    def _learn(self, state: State, interaction: Interaction, memory: Memory, seed: int) -> Learned:
        """From the lesson. A turn without one practises where no other fork learns now or comes to while it begins."""
        if lesson_of(interaction) is not None:
            with self._learning:
                return learn(self._base, self._recipe, state.vector, interaction, memory, seed)
        with self._learning.if_free() as free:
            if free and interaction.teaches:
                return practise(self._base, self._recipe, state.vector, memory, seed, self._learning.wanted)
        return nothing_learned(self._base)

    def _recorded(self, known: Remembered) -> Recorded:
        return self._recorded_as(known.stored, known.interaction)

    def _recorded_as(
        self, stored: ledger.StoredEntry, interaction: Interaction, receipt: bytes | None = None
    ) -> Recorded:
        body = ledger.record.decode_body(ledger.entry.decode_entry(stored.data).body)
        payloads = self._log.payloads(stored.leaf_index)
        learned, practised = effect(body, interaction)
        beside = sum(len(payloads.get(kind, b"")) for kind in (ledger.record.UPDATE, ledger.record.PARTICULARS))
        return Recorded(
            record_id=body.record_id,
            version=stored.version,
            leaf_index=stored.leaf_index,
            entry_hash=ledger.merkle.leaf_hash(stored.data),
            receipt=receipt or self._log.receipt_of(stored),
            learned=learned,
            practised=practised,
            size=len(stored.data) + beside,
            noted=interaction.noted,
        )

    # --- what a person sees ------------------------------------------------------------------------------

    def describe(self, fork_id: str) -> dict[str, Any]:
        """Head, digests and state of a fork, after replaying what is not live. Of a fork in self custody, what its
        entries say in clear."""
        if not self._keystore.holds_key(fork_id):
            return self._described_from_outside(fork_id)
        read = self._read(fork_id)
        return {
            "fork_id": fork_id,
            "custody": "service",
            "origin": self._log.origin,
            "version": read.state.version,
            "head": read.head.hex(),
            "interactions": read.records,
            "paused": self._keystore.is_paused(fork_id),
            "state_digest": read.state.digest.hex(),
            "owner_key_id": read.fork.owner_key.key_id.hex(),
            "layout_digest": read.fork.layout_digest.hex(),
            "recipe_digest": read.fork.recipe_digest.hex(),
            "base_digest": self._base.layout.base_digest.hex(),
        }

    def _described_from_outside(self, fork_id: str) -> dict[str, Any]:
        head = self._log.head(fork_id)
        _, first = next(self._log.read(fork_id))
        created = ledger.entry.decode_fork_created(first.body)
        return {
            "fork_id": fork_id,
            "custody": "self",
            "origin": self._log.origin,
            "version": head.version,
            "head": head.entry_hash.hex(),
            "interactions": head.interactions,
            "owner_key_id": created.owner_key.key_id.hex(),
            "layout_digest": created.layout_digest.hex(),
            "recipe_digest": created.recipe_digest.hex(),
        }

    def history(self, fork_id: str, after: int = 0, limit: int = 100) -> list[dict[str, Any]]:
        """What the fork was given, in order, and what it learned of it."""
        return history(self._log, key_finder(self._keystore, fork_id), fork_id, after, limit)
