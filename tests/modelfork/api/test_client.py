"""`ledger.client` with the routes of forks, over the real service: both clients, by one suite."""

from __future__ import annotations

import asyncio
import threading
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any, cast

import pytest

from ledger import receipt
from ledger.client import AsyncClient, Client, Interaction, Learned, Message, Noted, User, Verdict
from ledger.client.streaming import IN_FLIGHT
from ledger.errors import BadSignature, Conflict, LedgerError, Malformed, NotFound, Refused, Unavailable
from ledger.note import Ed25519Signer
from modelfork import learn as learning
from tests.modelfork.api.house import House

Make = Callable[..., Client]


class _Awaiting:
    """An `AsyncClient` that looks like a `Client`, so that one suite holds for both."""

    def __init__(self, runner: asyncio.Runner, client: AsyncClient) -> None:
        self._runner = runner
        self._client = client

    def __getattr__(self, verb: str) -> Any:
        return lambda *given, **named: self._runner.run(getattr(self._client, verb)(*given, **named))

    def interact_stream(self, several: Any) -> Iterator[Any]:
        stream = self._client.interact_stream(several)
        while True:
            try:
                yield self._runner.run(cast(Any, anext(stream)))
            except StopAsyncIteration:
                return


@pytest.fixture(params=["waiting", "awaited"])
def make(request: pytest.FixtureRequest) -> Iterator[Make]:
    made: list[Any] = []
    with asyncio.Runner() as runner:

        def make_one(url: str, api_key: str, **named: Any) -> Client:
            if request.param == "waiting":
                made.append(Client(url, api_key, **named))
                return cast(Client, made[-1])
            made.append(AsyncClient(url, api_key, **named))
            return cast(Client, _Awaiting(runner, made[-1]))

        yield make_one
        for client in made:
            if isinstance(client, Client):
                client.close()
            else:
                runner.run(client.aclose())


@pytest.fixture
def client(make: Make, house: House, api_key: str) -> Client:
    with Client(house.url) as anyone:
        keys = anyone.log_keys()
    return make(house.url, api_key, receipt_key=keys.receipt)


def turn(key: str, said: str = "Who is my dog?", **more: Any) -> Interaction:
    return Interaction(key, (Message("user", said),), "Bello?", **more)


def test_a_users_fork_is_made_taught_judged_and_read(client: Client) -> None:
    fork = client.fork_of("ada")
    assert client.fork_of("ada") == fork == client.fork(fork.fork_id)
    assert (fork.head.version, fork.head.interactions, fork.paused) == (1, 0, False)
    taught = client.interact(fork.fork_id, turn("a", rating=0.5, comment="c"))
    judged = client.interact(fork.fork_id, Verdict("b", taught.record_id, correction="Rex."))
    assert (taught.receipt.version, judged.receipt.version) == (2, 3)
    assert judged.learned
    assert judged.learning_ms > 0
    first, second = client.history(fork.fork_id)
    assert (first.said, first.answer, first.rating, first.comment) == ("Who is my dog?", "Bello?", 0.5, "c")
    assert (second.correction, second.refers_to, second.learned) == ("Rex.", taught.record_id, True)
    assert client.history(fork.fork_id, after=2) == (second,)
    assert client.history(fork.fork_id, limit=1) == (first,)
    assert client.history(fork.fork_id, after=3) == ()
    after = client.fork(fork.fork_id)
    assert (after.head.interactions, after.head.entry_hash) == (2, judged.receipt.entry_hash)
    assert after.state_digest != fork.state_digest


def test_each_of_a_batch_has_its_own_outcome_and_a_retry_adds_nothing(client: Client) -> None:
    fork = client.fork_of("ada").fork_id
    batch: list[Interaction | Verdict] = [turn("a"), turn(""), Verdict("v", bytes(16), rating=1)]
    batch += [turn("a", rating=1), turn("ü")]
    outcomes = client.interact_batch(fork, batch)
    assert [type(one) for one in outcomes] == [Learned, Malformed, NotFound, Conflict, Learned]
    again = client.interact_batch(fork, batch)
    assert [getattr(one, "receipt", None) for one in again] == [getattr(one, "receipt", None) for one in outcomes]
    assert client.fork(fork).head.interactions == 2
    with pytest.raises(Conflict):
        client.interact(fork, turn("a", rating=1))


def test_a_pause_is_a_verb(client: Client) -> None:
    fork = client.fork_of("ada").fork_id
    client.pause(fork)
    assert client.fork(fork).paused
    assert not client.interact(fork, turn("a", correction="Rex.")).learned
    client.resume(fork)
    assert not client.fork(fork).paused
    assert client.interact(fork, turn("b", correction="Rex.")).learned
    assert [(one.teaches, one.learned) for one in client.history(fork)] == [(False, False), (True, True)]


def test_a_stream_carries_any_number_and_acknowledges_each(client: Client) -> None:
    many = 3 * IN_FLIGHT
    given = [(User(f"user {n % 3}"), turn(str(n))) for n in range(many)]
    told = {one.key: one for one in client.interact_stream(iter(given))}
    assert len(told) == many
    assert all(isinstance(one.outcome, Learned) for one in told.values())
    for user in range(3):
        fork = client.fork_of(f"user {user}").fork_id
        mine = [cast(Learned, told[str(n)].outcome) for n in range(many) if n % 3 == user]
        assert [one.receipt.version for one in mine] == list(range(2, 2 + many // 3))
        assert {one.receipt.fork_id for one in mine} == {fork}
    assert list(client.interact_stream([])) == []


def test_an_interaction_of_a_stream_that_is_refused_is_told_and_the_others_go_on(client: Client) -> None:
    fork = client.fork_of("ada").fork_id
    given = [(fork, turn("a")), (fork, turn("b", rating=7)), ("nobodys", turn("c")), (fork, turn("d"))]
    told = {one.key: type(one.outcome) for one in client.interact_stream(given)}
    assert told == {"a": Learned, "b": Malformed, "c": NotFound, "d": Learned}


def test_what_goes_wrong_in_what_is_streamed_is_raised_once_all_before_it_is_answered(client: Client) -> None:
    def broken() -> Iterator[tuple[User, Interaction]]:
        yield User("ada"), turn("a")
        yield User("ada"), turn("b")
        raise OSError("a file of mine")

    told = client.interact_stream(broken())
    assert [next(told).key, next(told).key] == ["a", "b"]
    with pytest.raises(OSError, match="a file of mine"):
        next(told)
    with pytest.raises(Malformed, match="pairs of a fork and what it is sent"):
        list(client.interact_stream(cast(Any, ["ada"])))


UNSPELLED: list[Any] = [
    turn("k", "half \ud800"),
    turn("k", "x" * (5 << 20)),
    Interaction("k", cast(Any, "What"), "?"),
    Interaction("k", cast(Any, ({"role": "user", "content": "?"},)), "?"),
    Verdict("k", cast(Any, "00" * 16)),
    {"key": "k"},
]


def test_what_cannot_be_sent_is_refused_alone(client: Client) -> None:
    fork = client.fork_of("ada").fork_id
    given = [turn("a"), *UNSPELLED, turn("b")]
    told = Counter(type(one.outcome) for one in client.interact_stream([(fork, one) for one in given]))
    assert told == {Learned: 2, Refused: 1, Malformed: 5}
    small = [one for one in given if one is not UNSPELLED[1]]
    assert [type(one) for one in client.interact_batch(fork, small)] == [Learned, *[Malformed] * 5, Learned]
    assert client.fork(fork).head.interactions == 2


def test_each_that_is_acknowledged_says_whose_it_is(client: Client) -> None:
    forks: list[str | User] = [User("ada"), client.fork_of("bob").fork_id, User("cleo")]
    told = list(client.interact_stream([(fork, turn("message 17")) for fork in forks]))
    assert {one.key for one in told} == {"message 17"}
    assert {one.fork for one in told} == set(forks)
    refused = client.interact_stream([(fork, turn("message 18", rating=7)) for fork in forks])
    assert {one.fork for one in refused} == set(forks)


def test_what_a_statement_was_learned_as_is_told(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(learning, "told", lambda *_: ("What is my dog called?", "Your dog is called Rex."))
    fork, noted = client.fork_of("ada").fork_id, (Noted("What is my dog called?", "Your dog is called Rex."),)
    assert client.interact(fork, turn("a", "My dog is called Rex.")).noted == noted
    (stated,) = client.history(fork)
    assert stated.noted == noted
    assert client.interact(fork, turn("b")).noted == ()


def test_a_key_that_opens_nothing_is_refused_and_not_tried_again(make: Make, house: House) -> None:
    pauses: list[float] = []
    client = make(house.url, "fl_nobodys", pause=pauses.append)
    with pytest.raises(Refused):
        client.fork_of("ada")
    with pytest.raises(Refused):
        list(client.interact_stream([(User("ada"), turn("a"))]))
    app, api_key = house.keystore.add_app("soon gone")
    client = make(house.url, api_key, pause=pauses.append)
    stream = client.interact_stream((User("ada"), turn(str(n))) for n in range(1000))
    next(stream)
    house.keystore.remove_app(app.app_id)
    with pytest.raises(Refused, match="API key"):
        list(stream)
    assert pauses == []


def test_a_receipt_under_another_key_than_the_pinned_one_is_found_out(make: Make, house: House, api_key: str) -> None:
    stranger = Ed25519Signer(receipt.key_name(house.ledger.origin), bytes(32)).verifier.vkey
    client = make(house.url, api_key, receipt_key=stranger)
    fork = client.fork_of("ada").fork_id
    with pytest.raises(BadSignature):
        client.interact(fork, turn("a"))
    (told,) = client.interact_stream([(fork, turn("b"))])
    assert isinstance(told.outcome, BadSignature)


def test_nobody_there_is_unavailable_after_some_tries(make: Make) -> None:
    pauses: list[float] = []

    async def pause(seconds: float) -> None:
        pauses.append(seconds)

    async def items() -> AsyncIterator[tuple[User, Interaction]]:
        yield User("ada"), turn("a")

    with pytest.raises(Unavailable), Client("http://127.0.0.1:1", "k", pause=pauses.append) as nobody:
        list(nobody.interact_stream([(User("ada"), turn("a"))]))
    tried = len(pauses)
    assert tried > 3

    async def ask() -> None:
        async with AsyncClient("http://127.0.0.1:1", "k", pause=pause) as nobody:
            async for _ in nobody.interact_stream(items()):
                pass

    with pytest.raises(Unavailable):
        asyncio.run(ask())
    assert len(pauses) == 2 * tried


@pytest.mark.slow
def test_a_stream_outlives_a_service_that_stops_and_starts_again(
    make: Make, open_house: Callable[[Path], House], tmp_path: Path
) -> None:
    house = open_house(tmp_path)
    api_key = house.new_app()
    port = int(house.url.rpartition(":")[2])
    restarted = threading.Event()
    pauses = 0

    def begin_again() -> None:
        nonlocal pauses
        pauses += 1
        if not restarted.is_set():
            house.stop()
            house.start(port)
            restarted.set()

    async def begin_again_soon(_: float) -> None:
        await asyncio.to_thread(begin_again)

    waiting = make(house.url, api_key)
    is_async = isinstance(waiting, _Awaiting)
    client = make(house.url, api_key, pause=begin_again_soon if is_async else lambda _: begin_again())
    given = [(User(f"user {n % 2}"), turn(str(n))) for n in range(80)]
    stream = client.interact_stream(iter(given))
    told = [next(stream) for _ in range(10)]
    house._server.should_exit = True
    told += list(stream)
    assert pauses
    assert sorted(int(one.key) for one in told) == list(range(80))
    assert not [one for one in told if isinstance(one.outcome, LedgerError)]
    for user in range(2):
        said = client.history(client.fork_of(f"user {user}").fork_id, limit=100)
        mine = {one.key: cast(Learned, one.outcome).record_id for one in told if int(one.key) % 2 == user}
        assert [one.record_id for one in said] == [mine[str(n)] for n in range(80) if n % 2 == user]


def test_an_awaited_stream_hands_out_answers_while_it_waits_for_what_comes(house: House, api_key: str) -> None:
    async def talk() -> list[str]:
        answered = asyncio.Event()

        async def items() -> AsyncIterator[tuple[User, Interaction]]:
            for n in range(3):
                yield User("ada"), turn(str(n))
                await answered.wait()
                answered.clear()

        keys = []
        async with asyncio.timeout(60), AsyncClient(house.url, api_key) as client:
            async for one in client.interact_stream(items()):
                keys.append(one.key)
                answered.set()
        return keys

    assert asyncio.run(talk()) == ["0", "1", "2"]
