"""How many witnesses a policy must ask for, so that a log cannot split with the help of some of them: 2q > n + f."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

import pytest

from ledger.errors import BadSignature, LedgerError
from ledger.policy import Policy, parse
from ledger.witness.witness import Witness
from tests.ledger.witness.house import LOG_KEY, History, history, keys, witness_in

ONE, OTHER = history(), history(shared=5)
SIZE = 12


def policy_of(witnesses: int, quorum: int) -> Policy:
    lines = [f"log {LOG_KEY.vkey}"]
    lines += [f"witness w{n} {keys(f'w{n}', 50 + n).ed25519.vkey}" for n in range(witnesses)]
    members = " ".join(f"w{n}" for n in range(witnesses))
    return parse("\n".join([*lines, f"group g {quorum} {members}", "quorum g", ""]).encode())


def cosignatures(witness: Witness, of: History) -> bytes:
    """What a witness gives to this history at SIZE, if anything."""
    try:
        return witness.add_checkpoint(of.asks(0, SIZE))
    except LedgerError:
        return b""


def accepted(policy: Policy, of: History, lines: list[bytes]) -> bool:
    try:
        return policy.check(of.signed(SIZE) + b"".join(lines)) == of.tree(SIZE)
    except BadSignature:
        return False


@pytest.mark.parametrize("colluding", range(4))
@pytest.mark.parametrize("witnesses", range(1, 5))
def test_two_histories_reach_a_quorum_only_where_twice_the_quorum_is_at_most_all_and_the_colluding_again(
    witnesses: int, colluding: int, tmp_path: Path
) -> None:
    """Every way of showing the two histories to the honest witnesses; those that collude sign both."""
    honest = witnesses - colluding
    if honest < 0:
        return
    split_at: set[int] = set()  # quorums that both histories reached
    for shown_one in range(honest + 1):
        lines: dict[int, list[bytes]] = {1: [], 2: []}
        with ExitStack() as stack:
            for number in range(witnesses):
                folders = [tmp_path / f"{shown_one}-{number}-{copy}" for copy in (1, 2)]
                for folder in folders:
                    folder.mkdir()
                first = stack.enter_context(witness_in(folders[0], keys(f"w{number}", 50 + number)))
                if number < honest:  # one memory
                    order = [(1, ONE), (2, OTHER)] if number < shown_one else [(2, OTHER), (1, ONE)]
                    given = [(which, cosignatures(first, shown)) for which, shown in order]
                else:  # a memory for each who asks
                    second = stack.enter_context(witness_in(folders[1], keys(f"w{number}", 50 + number)))
                    given = [(1, cosignatures(first, ONE)), (2, cosignatures(second, OTHER))]
                for which, answer in given:
                    lines[which].append(answer)
        for quorum in range(1, witnesses + 1):
            policy = policy_of(witnesses, quorum)
            if accepted(policy, ONE, lines[1]) and accepted(policy, OTHER, lines[2]):
                split_at.add(quorum)
    assert split_at == {quorum for quorum in range(1, witnesses + 1) if 2 * quorum <= witnesses + colluding}
