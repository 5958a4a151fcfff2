"""Live forks: evicted and replayed, worked on by many threads, and never ahead of the ledger."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import ledger
from ledger.audit import audit
from ledger.errors import Conflict, StaleNumber
from ledger.main import open_house
from modelfork.forks import Answered, ForkManager
from modelfork.generate import Sampling
from modelfork.history import key_finder
from modelfork.interaction import Interaction, Message
from modelfork.loss import gradient
from modelfork.main import open_base
from modelfork.recording import open_interaction
from modelfork.replay import replay

Open = Callable[..., ForkManager]


@pytest.fixture
def open_manager(tmp_path: Path, tiny_base: Path) -> Iterator[Open]:
    """Each one is like another process: it shares the files and nothing else."""
    opened: list[tuple[Any, Any]] = []
    numbers = itertools.count()
    lock = threading.Lock()

    def random(length: int) -> bytes:
        with lock:
            return np.random.default_rng(next(numbers)).bytes(length)

    def open_one(most_live: int = 64) -> ForkManager:
        log, keystore, now = open_house(tmp_path / "data", tmp_path / "keys")
        opened.append((log, keystore))
        return ForkManager(log, keystore, *open_base(tiny_base, 1), now, random, most_live)

    yield open_one
    for log, keystore in opened:
        log.store.close()
        keystore.close()


def number(count: int) -> bytes:
    return count.to_bytes(16, "big")


def tell(manager: ForkManager, fork: str, record: int, text: str) -> None:
    manager.record(fork, number(record), Interaction((Message("user", text),), "I see."))


def correct(manager: ForkManager, fork: str, record: int, asked: str, answer: str) -> None:
    manager.record(fork, number(record), Interaction((Message("user", asked),), "no", correction=answer))


def ask(manager: ForkManager, fork: str, record: int, push: Callable[[str], None] = lambda _: None) -> Answered:
    asked = (Message("user", "Who?"),)
    return manager.take_turn(fork, number(record), asked, Sampling(max_tokens=12), True, push)


def digest(manager: ForkManager, fork: str) -> bytes:
    return manager.state(fork).digest


def replayed(manager: ForkManager, fork: str) -> bytes:
    log = manager._log
    found = replay(log.read(fork), log.payloads, key_finder(manager._keystore, fork), log.origin)
    assert found.checked == found.records
    return found.state.digest


def is_clean(manager: ForkManager) -> bool:
    return audit(manager._log.store, None, None, lambda *_: None).clean


def test_forks_that_were_evicted_come_back_as_they_were(open_manager: Open) -> None:
    few, all_of_them = open_manager(most_live=2), open_manager()
    made = [few.create("app") for _ in range(6)]
    for record, fork in itertools.product(range(3), made):
        correct(few, fork, record, f"Who is {record}?", f"It is {fork[:3]}.")
        assert len(few.live) <= 2
    digests = {fork: digest(few, fork) for fork in made}
    assert len(set(digests.values())) == 6
    assert digests == {fork: digest(all_of_them, fork) for fork in made}
    assert digests == {fork: replayed(few, fork) for fork in made}
    assert len(few.live) == 2
    assert len(all_of_them.live) == 6
    # And what they rehearse from now on is what a fork that stayed in memory does.
    for fork in made:
        few.evict(fork)
        assert fork not in few.live
        with few._open(fork) as (live, _, _):
            assert [one.record_id for one in live.memory.without()] == [number(record) for record in range(3)]


def test_two_managers_that_learn_the_same_come_to_the_same_update(open_manager: Open) -> None:
    """One has the fork in memory since its creation, the other replays it: the next update is the same."""
    stayed = open_manager()
    fork = stayed.create("app")
    for record in range(4):
        correct(stayed, fork, record, f"Who is {record}?", f"It is {record}.")
    fresh = open_manager()
    with fresh._open(fork) as (theirs, _, _), stayed._open(fork) as (ours, _, _):
        assert theirs.memory.without("") == ours.memory.without("")
    correct(fresh, fork, 4, "Who is 4?", "It is 4.")
    assert digest(stayed, fork) == digest(fresh, fork) == replayed(stayed, fork)
    with stayed._open(fork) as (ours, _, _):
        assert len(ours.memory) == 5


def test_many_threads_on_one_fork_lose_and_double_nothing(open_manager: Open) -> None:
    manager = open_manager()
    fork = manager.create("app")
    with ThreadPoolExecutor(8) as pool:
        work: list[Future[Any]] = [
            *(pool.submit(tell, manager, fork, record, f"It is {record}.") for record in range(12)),
            *(pool.submit(ask, manager, fork, 100 + record) for record in range(6)),
            *(pool.submit(tell, manager, fork, record, f"It is {record}.") for record in range(12)),
        ]
        for done in work:
            done.result(120)
    described = manager.describe(fork)
    assert (described["interactions"], described["version"]) == (18, 19)
    assert digest(manager, fork) == replayed(manager, fork)
    assert is_clean(manager)


def test_many_threads_on_more_forks_than_may_live_do_not_wait_for_ever(open_manager: Open) -> None:
    manager = open_manager(most_live=2)
    made = [manager.create("app") for _ in range(5)]
    with ThreadPoolExecutor(8) as pool:
        work = [
            pool.submit(call, manager, fork, record)
            for record, fork in itertools.product(range(3), made)
            for call in (lambda m, f, r: tell(m, f, r, f"It is {r}."), lambda m, f, r: ask(m, f, 100 + r))
        ]
        for done in work:
            done.result(120)
    assert len(manager.live) <= 2
    for fork in made:
        assert manager.describe(fork)["interactions"] == 6
        assert digest(manager, fork) == replayed(manager, fork)
    assert is_clean(manager)


def test_who_looks_at_a_fork_or_talks_to_it_does_not_wait_for_who_learns_with_it(open_manager: Open) -> None:
    manager = open_manager()
    fork = manager.create("app")
    tell(manager, fork, 1, "It is one.")
    before = digest(manager, fork)
    with ThreadPoolExecutor(1) as pool, manager._open(fork):  # as long as a step takes
        assert pool.submit(manager.describe, fork).result(30)["state_digest"] == before.hex()
        assert pool.submit(digest, manager, fork).result(30) == before
    tell(manager, fork, 2, "It is two.")
    assert manager.describe(fork)["version"] == 3


def test_updates_of_one_fork_are_made_one_after_another(open_manager: Open) -> None:
    """Each is computed at the state that the one before led to, also while the fork would be evicted."""
    manager = open_manager(most_live=1)
    fork, other = manager.create("app"), manager.create("app")
    with ThreadPoolExecutor(6) as pool:
        work: list[Future[Any]] = [pool.submit(tell, manager, fork, record, f"It is {record}.") for record in range(10)]
        work += [pool.submit(manager.describe, other) for _ in range(10)]
        for done in work:
            done.result(120)
    for record in range(10):
        found = manager.find(fork, number(record))
        assert found is not None
        assert found.particulars.state_version == found.stored.version - 1


def test_two_processes_on_one_fork_take_turns(open_manager: Open) -> None:
    managers = [open_manager(), open_manager()]
    fork = managers[0].create("app")
    with ThreadPoolExecutor(2) as pool:
        for done in [pool.submit(tell, managers[record % 2], fork, record, f"It is {record}.") for record in range(16)]:
            done.result(120)
    assert [manager.describe(fork)["interactions"] for manager in managers] == [16, 16]
    assert digest(managers[0], fork) == digest(managers[1], fork) == replayed(managers[0], fork)
    assert is_clean(managers[0])
    salts = managers[0]._keystore._connection.execute("SELECT COUNT(*) FROM salts").fetchone()
    assert salts == (16,)  # attempts that came to nothing leave none behind


def test_an_append_that_fails_leaves_the_live_fork_at_what_the_ledger_holds(
    open_manager: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    manager = open_manager()
    fork = manager.create("app")
    tell(manager, fork, 1, "It is one.")
    before = digest(manager, fork)

    def full(_: object) -> bytes:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(manager._log, "append", full)
        with pytest.raises(OSError, match="No space"):
            tell(manager, fork, 2, "It is two.")
    assert digest(manager, fork) == before == replayed(manager, fork)
    append = manager._log.append

    def durable_but_unheard(signed: ledger.record.SignedRecord) -> bytes:
        append(signed)
        raise OSError(5, "the answer was lost")

    with monkeypatch.context() as patch:
        patch.setattr(manager._log, "append", durable_but_unheard)
        with pytest.raises(OSError, match="lost"):
            correct(manager, fork, 3, "Who?", "Me.")
    assert digest(manager, fork) == replayed(manager, fork) != before
    with manager._open(fork) as (live, _, _):
        assert len(live.memory) == 1  # the correction: what a random base makes of a statement is not noted
    correct(manager, fork, 3, "Who?", "Me.")  # again: the same record
    assert manager.describe(fork)["interactions"] == 2


def test_a_replay_that_fails_half_way_leaves_nothing_half_read(
    open_manager: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer, reader = open_manager(), open_manager()
    fork = writer.create("app")
    assert digest(reader, fork) == digest(writer, fork)
    for record in range(3):
        correct(writer, fork, record, f"Who is {record}?", "Me.")
    calls = itertools.count()
    opened = open_interaction

    def fails(*given: Any) -> Any:
        if next(calls) == 1:
            raise MemoryError
        return opened(*given)

    with monkeypatch.context() as patch:
        patch.setattr("modelfork.live.open_interaction", fails)
        with pytest.raises(MemoryError):
            reader.state(fork)
    with reader._open(fork) as (live, read, _):
        assert len(live.memory) == 3
        assert read.records == 3


def test_who_always_loses_the_race_gives_up_with_a_conflict(
    open_manager: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    manager = open_manager()
    fork = manager.create("app")

    def never(_: object) -> bytes:
        raise StaleNumber("always one behind", 2)

    monkeypatch.setattr(manager._log, "append", never)
    with pytest.raises(Conflict, match="tries"):
        tell(manager, fork, 1, "It is one.")
    salts = manager._keystore._connection.execute("SELECT COUNT(*) FROM salts").fetchone()
    assert salts == (0,)


def test_a_turn_is_answered_with_one_state_while_others_teach(open_manager: Open) -> None:
    manager = open_manager()
    fork = manager.create("app")
    alone = ask(manager, fork, 1).interaction.answer
    teaching = threading.Event()

    def teach(_: str) -> None:
        if not teaching.is_set():
            teaching.set()
            with ThreadPoolExecutor(1) as pool:
                pool.submit(tell, manager, fork, 2, "It is two.").result(60)

    assert ask(manager, fork, 3, teach).interaction.answer == alone
    assert teaching.is_set()
    assert manager.describe(fork)["interactions"] == 3
    assert digest(manager, fork) == replayed(manager, fork)


def test_the_tokenizer_and_the_model_bear_many_threads(open_manager: Open) -> None:
    manager = open_manager()
    made = [manager.create("app") for _ in range(4)]
    alone = {fork: ask(manager, fork, 0).interaction.answer for fork in made}
    texts = ["x" * 150, "é" * 60, "a <|end|> b", "日本語" * 10]
    expected = [manager._base.render((Message("user", text),), prompt=True) for text in texts]

    def render(at: int) -> bool:
        return manager._base.render((Message("user", texts[at % 4]),), prompt=True) == expected[at % 4]

    with ThreadPoolExecutor(8) as pool:
        rendered = [pool.submit(render, at) for at in range(400)]
        asked = [(fork, pool.submit(ask, manager, fork, 1 + again)) for again in range(3) for fork in made]
        assert all(done.result(60) for done in rendered)
        assert all(done.result(60).interaction.answer == alone[fork] for fork, done in asked)


def test_answers_go_on_between_the_iterations_of_a_fork_that_learns(
    open_manager: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    manager = open_manager()
    learner, asked = manager.create("app"), manager.create("app")
    answered: list[Answered] = []

    def with_an_answer_before_it(*given: Any) -> Any:
        if not answered:
            with ThreadPoolExecutor(1) as pool:  # it never comes where a learner keeps the model
                answered.append(pool.submit(ask, manager, asked, 1).result(20))
        return gradient(*given)

    monkeypatch.setattr("modelfork.learn.gradient", with_an_answer_before_it)
    correct(manager, learner, 1, "Who is it?", "It is me.")
    assert answered[0].recorded.version == 2
    assert manager.describe(learner)["interactions"] == 1
