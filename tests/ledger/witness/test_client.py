"""What a log gets from its witnesses: all that is true, in time, whatever some of them do."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from nacl.signing import SigningKey

from ledger import note
from ledger.api.witness import create_app
from ledger.cosign import Ed25519CosignatureVerifier, Ed25519Cosigner, MlDsa44Signer
from ledger.errors import BadProof, Malformed, Refused
from ledger.note import Ed25519Signer
from ledger.policy import parse as parse_policy
from ledger.witness.client import LONGEST_ANSWER, State, Witness, Witnesses, witnesses_of
from ledger.witness.keys import WitnessKeys
from ledger.witness.memory import Memory
from ledger.witness.request import AddCheckpoint
from ledger.witness.witness import Witness as Server
from tests.ledger.witness.house import LOG_KEY, NOW, History, history, keys
from tests.ledger.witness.serving import Answer, Pretender, serving

HONEST, FORK = history(), history(shared=5)
TIMEOUT = 10.0
SIZE = 12


class House:
    """Witnesses by name, real and pretended, and the log that asks them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.stack = ExitStack()
        self.witnesses: list[Witness] = []
        self.servers: dict[str, Server] = {}

    def real(self, name: str, seen: int = 0, of: History = HONEST) -> Server:
        its_keys = self._keys(name)
        server = Server(its_keys, Memory(self.folder / f"{name}.db"), lambda: NOW)
        server.add_log(LOG_KEY.vkey)
        if seen:
            server.add_checkpoint(of.asks(0, seen))
        self._add(name, self.stack.enter_context(serving(create_app(server))), its_keys)
        self.servers[name] = server
        return server

    def pretended(self, name: str, answers: Callable[[AddCheckpoint, int], Answer]) -> Pretender:
        pretender = Pretender(answers)
        url = self.stack.enter_context(serving(pretender))
        self._add(name, f"{url}/a/prefix/", self._keys(name))
        return pretender

    def down(self, name: str) -> None:
        with serving(Pretender(lambda *_: Answer(200))) as url:
            pass
        self._add(name, url, self._keys(name))

    def asks(self, timeout: float = TIMEOUT) -> Witnesses:
        asking = Witnesses(self.witnesses, timeout, lambda: NOW)
        self.stack.callback(asking.close)
        return asking

    def _keys(self, name: str) -> WitnessKeys:
        return keys(name, seed=len(self.witnesses) + 20)

    def _add(self, name: str, url: str, its_keys: WitnessKeys) -> None:
        self.witnesses.append(Witness(name, url, tuple(signer.verifier for signer in its_keys.signers)))


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    house = House(tmp_path)
    with house.stack:
        yield house


@dataclass
class Shared:
    """One pretended witness for the tests that ask one thing of it: its answer is set by each."""

    url: str = ""
    answer: Answer = field(default_factory=lambda: Answer(200))

    def asks(self) -> Witnesses:
        verifiers = tuple(signer.verifier for signer in keys("w1", 20).signers)
        return Witnesses([Witness("w1", self.url, verifiers)], TIMEOUT, lambda: NOW)


@pytest.fixture(scope="module")
def shared() -> Iterator[Shared]:
    shared = Shared()
    with serving(Pretender(lambda *_: shared.answer)) as url:
        shared.url = f"{url}/a/prefix"
        yield shared


def prover(size: int, of: History = HONEST) -> Callable[[int], list[bytes]]:
    return lambda old: of.prove(old, size)


def collect(asking: Witnesses, size: int = SIZE, old: int = 0, of: History = HONEST) -> dict[str, int]:
    """How many cosignatures came from whom, each verified over the checkpoint with the keys of the witnesses."""
    given_lines = asking.collect(of.signed(size), old, prover(size, of))
    verifiers = [verifier for witness in asking._witnesses for verifier in witness.verifiers]
    if given_lines:
        signed = of.signed(size) + b"".join(line.encode() for line in given_lines)
        assert set(note.open_note(signed, verifiers).signatures) == set(given_lines)
    return {name: sum(line.name == name for line in given_lines) for name in {line.name for line in given_lines}}


def states(asking: Witnesses) -> dict[str, State]:
    return {name: standing.state for name, standing in asking.standings().items()}


def cosignatures(name: str, seed: int, size: int, of: History = HONEST, now: int = NOW) -> bytes:
    text = of.tree(size).encode()
    signers = keys(name, seed, now).signers
    return b"".join(note.Signature(each.name, each.key_id, each.sign(text)).encode() for each in signers)


# --- when all is well ---


def test_all_cosign_with_all_their_keys_in_the_order_of_the_witnesses(house: House) -> None:
    for name in ("w1", "w2", "w3"):
        house.real(name)
    asking = house.asks()
    lines = asking.collect(HONEST.signed(SIZE), 0, prover(SIZE))
    assert [line.name for line in lines] == ["w1", "w1", "w2", "w2", "w3", "w3"]
    assert collect(asking, 20) == {"w1": 2, "w2": 2, "w3": 2}
    standing = asking.standings()["w2"]
    assert (standing.state, standing.reason, standing.at, standing.size, standing.alarms) == (State.OK, "", NOW, 20, 0)


def test_only_the_log_s_own_signatures_are_sent(house: House) -> None:
    ml_dsa = MlDsa44Signer(LOG_KEY.name, bytes(32), lambda: 0)
    stranger = Ed25519Signer("stranger.example/x", bytes([5]) * 32)
    pretender = house.pretended("w1", lambda asked, _: Answer(200, (cosignatures("w1", 20, SIZE),)))
    own = HONEST.signed(SIZE, LOG_KEY, ml_dsa)
    signed = own + note.Signature(stranger.name, stranger.key_id, stranger.sign(b"anything")).encode()
    assert len(house.asks().collect(signed, 0, prover(SIZE))) == 2
    assert pretender.asked[0].checkpoint == own


def test_growth_is_shown_from_what_each_witness_cosigned_last(house: House) -> None:
    pretender = house.pretended("w1", lambda asked, number: Answer(200, (cosignatures("w1", 20, (SIZE, 20)[number]),)))
    asking = house.asks()
    assert collect(asking, SIZE, old=7) == {"w1": 2}
    assert collect(asking, 20, old=3) == {"w1": 2}
    assert [asked.old_size for asked in pretender.asked] == [7, SIZE]
    assert [list(asked.proof) for asked in pretender.asked] == [HONEST.prove(7, SIZE), HONEST.prove(SIZE, 20)]


@pytest.mark.parametrize(("seen", "old"), [(5, 0), (5, 7), (SIZE, 3), (7, 40)])
def test_a_witness_that_stands_elsewhere_is_asked_once_more_from_there(house: House, seen: int, old: int) -> None:
    house.real("w1", seen=seen)
    asking = house.asks()
    assert collect(asking, SIZE, old) == {"w1": 2}
    assert states(asking) == {"w1": State.OK}


def test_the_same_checkpoint_is_cosigned_again(house: House) -> None:
    house.real("w1")
    asking = house.asks()
    assert collect(asking) == collect(asking) == {"w1": 2}


def test_cosignatures_by_other_keys_than_the_witness_s_are_ignored(house: House) -> None:
    both = cosignatures("w1", 20, SIZE) + cosignatures("w9", 99, SIZE) + cosignatures("w1", 98, SIZE)
    house.pretended("w1", lambda *_: Answer(200, (both,)))
    assert collect(house.asks()) == {"w1": 2}


def test_without_witnesses_nothing_is_asked() -> None:
    asking = Witnesses([], TIMEOUT, lambda: NOW)
    assert asking.collect(HONEST.signed(SIZE), 0, prover(SIZE)) == []
    asking.close()


def test_what_is_no_checkpoint_is_malformed(house: House) -> None:
    with pytest.raises(Malformed):
        house.asks().collect(note.sign(b"anything\n", [LOG_KEY]), 0, prover(SIZE))


def test_two_witnesses_of_one_name_are_refused(house: House) -> None:
    house.down("w1")
    with pytest.raises(Refused):
        Witnesses(house.witnesses * 2, TIMEOUT, lambda: NOW)


# --- when some do not ---


def test_one_that_is_down_costs_its_own_cosignature_and_comes_back(house: House) -> None:
    house.real("w1")
    house.down("w2")
    asking = house.asks()
    assert collect(asking) == {"w1": 2}
    assert states(asking) == {"w1": State.OK, "w2": State.UNREACHABLE}
    assert asking.standings()["w2"].reason


@pytest.mark.parametrize(
    "slow",
    [
        Answer(200, (cosignatures("w1", 20, SIZE),), pause=3),
        Answer(200, tuple(bytes([byte]) for byte in cosignatures("w1", 20, SIZE)), pause=0.2),  # always a little
    ],
    ids=["silent", "dripping"],
)
def test_one_that_is_slow_is_not_waited_for(house: House, slow: Answer) -> None:
    house.pretended("w1", lambda *_: slow)
    house.real("w2")
    asking = house.asks(timeout=0.7)
    began = time.monotonic()
    assert collect(asking) == {"w2": 2}
    assert collect(asking, 20) == {"w2": 2}
    assert time.monotonic() - began < 2.5
    assert states(asking)["w1"] is State.UNREACHABLE


def test_one_that_still_answers_is_not_asked_again_until_it_has(house: House) -> None:
    pretender = house.pretended(
        "w1", lambda _, number: Answer(200, (cosignatures("w1", 20, SIZE),), pause=0 if number else 0.6)
    )
    asking = house.asks(timeout=1)  # for the whole: each of the pauses is shorter
    assert collect(asking) == {}
    assert collect(asking) == {}
    assert len(pretender.asked) == 1
    assert states(asking) == {"w1": State.UNREACHABLE}
    end = time.monotonic() + 20
    while collect(asking) != {"w1": 2}:
        assert time.monotonic() < end
        time.sleep(0.1)


def test_one_that_drips_for_ever_is_given_up_and_asked_again(house: House) -> None:
    house.pretended(
        "w1",
        lambda _, number: Answer(200, (cosignatures("w1", 20, SIZE),)) if number else Answer(200, (b"x",) * 200, 0.2),
    )
    asking = house.asks(timeout=0.7)
    assert collect(asking) == {}
    end = time.monotonic() + 15
    while collect(asking) != {"w1": 2}:
        assert time.monotonic() < end
        time.sleep(0.1)


@pytest.mark.parametrize(
    ("status", "body", "state"),
    [
        (404, b"", State.REFUSED),
        (403, b"", State.REFUSED),
        (400, b"", State.REFUSED),
        (301, b"", State.REFUSED),
        (413, b"", State.REFUSED),
        (202, b"", State.REFUSED),
        (429, b"", State.UNREACHABLE),
        (500, b"", State.UNREACHABLE),
        (503, b"", State.UNREACHABLE),
        (409, b"7\n", State.REFUSED),  # the very size that was sent
        (409, b"", State.REFUSED),
        (409, b"many\n", State.REFUSED),
        (409, b"-1\n", State.REFUSED),
        (200, b"", State.REFUSED),
        (200, b"anything\n", State.REFUSED),
        (200, b"\xff\n", State.REFUSED),
        (200, cosignatures("w1", 99, SIZE), State.REFUSED),  # another key
        (200, cosignatures("w1", 20, SIZE - 1), State.REFUSED),  # another tree
        (200, cosignatures("w1", 20, SIZE, FORK), State.REFUSED),
        (200, cosignatures("w1", 20, SIZE, now=0), State.REFUSED),  # no time
        (200, cosignatures("w1", 20, SIZE).rstrip(b"\n"), State.REFUSED),
    ],
)
def test_what_a_witness_should_not_answer_is_refused(shared: Shared, status: int, body: bytes, state: State) -> None:
    shared.answer = Answer(status, (body,))
    with closing(shared.asks()) as asking:
        assert collect(asking, old=7) == {}
        assert states(asking) == {"w1": state}
        assert asking.standings()["w1"].reason


def test_a_cosignature_over_a_longer_text_is_no_cosignature_of_the_checkpoint(house: House) -> None:
    """An empty line in the answer would move the end of the text, and the signature would hold over that."""
    longer = HONEST.tree(SIZE).encode() + b"\nmore\n"
    key, dated = SigningKey(bytes([20]) * 32), b"cosignature/v1\ntime %d\n" % NOW + longer
    verifier = Ed25519CosignatureVerifier("w1", bytes(key.verify_key))
    blob = NOW.to_bytes(8, "big") + key.sign(dated).signature
    answer = b"more\n\n" + note.Signature("w1", verifier.key_id, blob).encode()
    assert note.open_note(HONEST.tree(SIZE).encode() + b"\n" + answer, [verifier]).text == longer

    house.pretended("w1", lambda *_: Answer(200, (answer,)))
    house.witnesses[0] = replace(house.witnesses[0], verifiers=(verifier,))
    asking = house.asks()
    assert collect(asking) == {}
    assert states(asking) == {"w1": State.REFUSED}


def test_a_very_long_answer_is_not_read_to_its_end(house: House) -> None:
    pieces = (b"x" * LONGEST_ANSWER, *[b"x"] * 100)
    house.pretended("w1", lambda *_: Answer(200, pieces, pause=0.1))
    asking = house.asks()
    assert collect(asking) == {}
    assert "at most" in asking.standings()["w1"].reason


def test_a_url_that_is_none_is_refused_without_asking() -> None:
    asking = Witnesses([Witness("w1", "http://[", ()), Witness("w2", "ftp://x", ())], TIMEOUT, lambda: NOW)
    assert asking.collect(HONEST.signed(SIZE), 0, prover(SIZE)) == []
    assert set(states(asking).values()) <= {State.REFUSED, State.UNREACHABLE}
    asking.close()


def test_where_no_proof_can_be_made_the_others_still_answer(house: House) -> None:
    house.real("w1", seen=5)
    house.real("w2")

    def proves(old: int) -> list[bytes]:
        if old:
            raise BadProof("hashes are damaged")
        return []

    asking = house.asks()
    assert [line.name for line in asking.collect(HONEST.signed(SIZE), 0, proves)] == ["w2", "w2"]
    assert states(asking) == {"w1": State.REFUSED, "w2": State.OK}
    assert "damaged" in asking.standings()["w1"].reason


def test_one_that_names_ever_other_sizes_is_asked_twice_and_is_behind(house: House) -> None:
    pretender = house.pretended("w1", lambda asked, number: Answer(409, (b"%d\n" % (3 + number),)))
    asking = house.asks()
    assert collect(asking, old=7) == {}
    assert [asked.old_size for asked in pretender.asked] == [7, 3]
    assert states(asking) == {"w1": State.BEHIND}
    assert asking.standings()["w1"].size == 4


@given(status=st.integers(200, 599), body=st.binary(max_size=80))
def test_no_answer_makes_a_collection_fail_or_gives_a_false_cosignature(
    shared: Shared, status: int, body: bytes
) -> None:
    shared.answer = Answer(status, () if status in (204, 304) else (body,))
    with closing(shared.asks()) as asking:
        assert collect(asking) == {}


# --- when the log is not what it was ---


def test_a_fork_at_the_same_size_is_an_alarm(house: House, caplog: pytest.LogCaptureFixture) -> None:
    house.real("w1", seen=SIZE, of=FORK)
    house.real("w2")
    asking = house.asks()
    for times in (1, 2):
        with caplog.at_level(logging.ERROR, "forkledger.witness.client"):
            assert collect(asking) == {"w2": 2}
        standing = asking.standings()["w1"]
        assert (standing.state, standing.alarms, standing.size) == (State.ALARM, times, SIZE)
    assert "another root" in standing.reason
    alarms = [record for record in caplog.records if record.name == "forkledger.witness.client"]
    assert [(vars(each)["witness"], vars(each)["state"]) for each in alarms] == [("w1", "alarm")]
    assert [alarm.kind for alarm in house.servers["w1"].alarms()] == ["split-view"]


@pytest.mark.parametrize("status", [409, 422])
def test_another_root_is_an_alarm_in_either_status_that_the_standard_has_had_for_it(house: House, status: int) -> None:
    house.pretended("w1", lambda asked, _: Answer(409, (b"12\n",)) if asked.old_size < SIZE else Answer(status))
    asking = house.asks()
    assert collect(asking) == {}
    assert states(asking) == {"w1": State.ALARM}


@pytest.mark.parametrize("seen", [7, 8, 11])
def test_growth_of_another_history_is_an_alarm(house: House, seen: int) -> None:
    house.real("w1", seen=seen, of=FORK)
    asking = house.asks()
    assert collect(asking) == {}
    assert states(asking) == {"w1": State.ALARM}
    assert [alarm.kind for alarm in house.servers["w1"].alarms()] == ["unproven-growth"]


@pytest.mark.parametrize("of", [HONEST, FORK])
def test_a_witness_that_knows_a_larger_log_is_an_alarm_until_the_log_has_outgrown_it(house: House, of: History) -> None:
    house.real("w1", seen=20, of=of)
    asking = house.asks()
    assert collect(asking, old=7) == {}
    standing = asking.standings()["w1"]
    assert (standing.state, standing.size) == (State.ALARM, 20)
    assert "went back" in standing.reason
    assert collect(asking, 25) == ({"w1": 2} if of is HONEST else {})
    assert states(asking) == {"w1": State.OK if of is HONEST else State.ALARM}


def test_no_proof_from_zero_can_be_wrong_so_refusing_it_is_no_alarm(house: House) -> None:
    house.pretended("w1", lambda *_: Answer(422))
    asking = house.asks()
    assert collect(asking, old=0) == {}
    assert states(asking) == {"w1": State.REFUSED}


# --- policies ---


def test_the_witnesses_of_a_policy_are_those_with_a_url_one_for_each() -> None:
    w1, w2 = keys("w1.example", 11), keys("w2.example", 12)
    lonely = Ed25519Cosigner("w3.example", bytes([13]) * 32, lambda: NOW)
    policy = parse_policy(
        f"log {LOG_KEY.vkey}\n"
        f"witness one {w1.vkeys[0]} https://w1.example/\n"
        f"witness two {w2.vkeys[0]} https://w2.example/x\n"
        f"witness one-more {w1.vkeys[1]} https://w1.example\n"
        f"witness three {lonely.vkey}\n"
        "quorum one\n".encode()
    )
    first, second = witnesses_of(policy)
    assert (first.name, first.url, [each.key_id for each in first.verifiers]) == (
        "one", "https://w1.example", [signer.key_id for signer in w1.signers]
    )  # fmt: skip
    assert (second.name, second.url, len(second.verifiers)) == ("two", "https://w2.example/x", 1)
