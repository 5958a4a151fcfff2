"""A turn that brings no lesson practises what the fork was told before, and nobody waits for that."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest

from modelfork import forks, recipe
from modelfork.learn import practise
from modelfork.recipe import ONE, Recipe, default_recipe
from modelfork.settings import DEMO_BASE
from tests.modelfork.api.gate import Gate
from tests.modelfork.api.house import House


@pytest.fixture
def house(open_house: Callable[[Path], House], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> House:
    """One over the demo base, whose forks practise what is not all but certain."""

    def eager(anchors_digest: bytes) -> Recipe:
        light = replace(default_recipe(anchors_digest), anchors=4, rewordings=2, drawn_rewordings=3)
        return replace(light, practice_loss=ONE // 100, target_loss=ONE // 200)

    monkeypatch.setenv("FORKLEDGER_BASE", str(DEMO_BASE))
    monkeypatch.setattr(recipe, "default_recipe", eager)
    return open_house(tmp_path)


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


def test_a_turn_without_a_lesson_practises_what_was_told_and_says_so(http: httpx.Client, fork: str) -> None:
    told = corrected(http, fork)
    for _ in range(12):  # the guard may undo one, or the words drawn be known
        before = digest(http, fork)
        said = question(http, fork)
        assert said["learned"] is False
        assert said["practised"] is (digest(http, fork) != before)
        if said["practised"]:
            break
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
    house: House, http: httpx.Client, fork: str, monkeypatch: pytest.MonkeyPatch
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
