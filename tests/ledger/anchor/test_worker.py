"""The worker gives every backend its turn with what is published, and never speaks for a log that it lost."""

from dataclasses import dataclass, field

from ledger.anchor import Public, Standing
from ledger.anchor.worker import Worker
from ledger.store import Attempt

PUBLIC = Public(5, b"\x05" * 32, b"note")


@dataclass
class Recorded:
    """A backend that keeps what it was given."""

    backend: str
    given: list[Public] = field(default_factory=list)
    closed: bool = False

    def turn(self, public: Public) -> Standing:
        self.given.append(public)
        return Standing(self.backend, anchored=public.size)

    def found_under(self, attempt: Attempt) -> str:
        return attempt.data.hex()

    def close(self) -> None:
        self.closed = True


def test_every_backend_gets_what_is_published() -> None:
    one, other = Recorded("one"), Recorded("other")
    worker = Worker([one, other], lambda: PUBLIC, lambda: True)
    assert [standing.backend for standing in worker.turn()] == ["one", "other"]
    assert one.given == other.given == [PUBLIC]
    assert worker.standings[0].anchored == 5
    worker.close()
    assert one.closed
    assert other.closed


def test_nothing_is_anchored_while_nothing_is_public() -> None:
    one = Recorded("one")
    assert Worker([one], lambda: None, lambda: True).turn() == ()
    assert one.given == []


def test_a_process_that_lost_the_log_anchors_nothing_more() -> None:
    one, may = Recorded("one"), [True, False]
    worker = Worker([one], lambda: PUBLIC, lambda: may.pop(0))
    worker.turn()
    worker.turn()
    assert one.given == [PUBLIC]


def test_an_attempt_is_named_by_the_backend_that_made_it() -> None:
    worker = Worker([Recorded("one")], lambda: PUBLIC, lambda: True)
    assert worker.found_under(Attempt("one", 0, 0, 5, PUBLIC.root, b"\xaa", 1)) == "aa"
    assert worker.found_under(Attempt("another", 0, 0, 5, PUBLIC.root, b"\xaa", 1)) is None
