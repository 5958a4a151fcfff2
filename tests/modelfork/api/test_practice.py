"""A turn that brings no lesson practises what the fork was told before, and nobody waits for that."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import numpy as np
import pytest
from numpy.typing import NDArray

from modelfork import forks
from modelfork.base import Base
from modelfork.learn import Learned, practise
from modelfork.recipe import Recipe
from modelfork.rehearse import Memory
from modelfork.update import SIGNS, Update
from tests.modelfork.api.gate import Gate


def corrected(http: httpx.Client, fork: str) -> str:
    """Tell the fork something; the record of that."""
    said = [{"role": "user", "content": "What is my dog called?"}]
    body = {"messages": said, "answer": "No.", "correction": "Your dog is called Rex."}
    return str(http.post(f"/v1/forks/{fork}/interactions", json=body).raise_for_status().json()["record_id"])


def question(http: httpx.Client, fork: str, **more: Any) -> dict[str, Any]:
    body = {"messages": [{"role": "user", "content": "What is it?"}], "answer": "Yes.", **more}
    return dict(http.post(f"/v1/forks/{fork}/interactions", json=body).raise_for_status().json())


def digest(http: httpx.Client, fork: str) -> str:
    return str(http.get(f"/v1/forks/{fork}").raise_for_status().json()["state_digest"])


def test_a_turn_without_a_lesson_practises_what_was_told_and_says_so(
    http: httpx.Client, fork: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = corrected(http, fork)

    def moves(base: Base, recipe: Recipe, state: NDArray[np.int64], memory: Memory, *_: Any) -> Learned:
        # Whether a step does good is chance with so small a base; practice itself is tested over the demo base.
        rehearsed = tuple(one.record_id for one in memory.without())
        return Learned(Update(1, SIGNS, np.ones(len(state), np.int8)), rehearsed)

    monkeypatch.setattr(forks, "practise", moves)
    before = digest(http, fork)
    said = question(http, fork)
    assert (said["learned"], said["practised"]) == (False, True)
    assert digest(http, fork) != before
    *_, last = http.get(f"/v1/forks/{fork}/history").json()["history"]
    assert (last["learned"], last["practised"], last["rehearsed"]) == (False, True, [told])
    assert last["step"] > 0


def test_what_is_not_to_teach_practises_nothing(http: httpx.Client, fork: str) -> None:
    corrected(http, fork)
    before = digest(http, fork)
    said = question(http, fork, store=False)
    assert (said["learned"], said["practised"]) == (False, False)
    assert digest(http, fork) == before


def test_nobody_waits_for_practice_while_another_fork_learns(
    http: httpx.Client, fork: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = http.post("/v1/forks", json={}).raise_for_status().json()["fork_id"]
    practised = []

    def counted(*given: Any) -> Any:
        practised.append(given)
        return practise(*given)

    monkeypatch.setattr(forks, "practise", counted)
    gate = Gate(monkeypatch, forks, "learn")
    with ThreadPoolExecutor(1) as pool:
        learning = pool.submit(corrected, http, other)
        assert gate.begun.wait(30)
        question(http, fork)  # answered while the other still learns
        assert not learning.done()
        assert not practised
        gate.may_go_on.set()
        learning.result()
    question(http, fork)
    assert len(practised) == 1


def test_practice_gives_way_to_a_lesson_that_comes_while_it_begins(
    http: httpx.Client, fork: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    corrected(http, fork)
    other = http.post("/v1/forks", json={}).raise_for_status().json()["fork_id"]
    begun, given_up = threading.Event(), []

    def until_wanted(*given: Any) -> Any:
        begun.set()
        wanted = given[-1]
        for _ in range(3_000):
            if wanted():
                break
            threading.Event().wait(0.01)  # a test may poll
        given_up.append(wanted())
        return practise(*given)

    monkeypatch.setattr(forks, "practise", until_wanted)
    with ThreadPoolExecutor(2) as pool:
        practising = pool.submit(question, http, fork)
        assert begun.wait(30)
        corrected(http, other)
        assert not practising.result()["practised"]
    assert given_up == [True]
