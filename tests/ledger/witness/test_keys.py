"""A witness's keys are made once, beside its memory, and never without it."""

from __future__ import annotations

import hashlib
import itertools
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ledger.errors import LedgerError, Malformed, NotFound, Refused
from ledger.witness import keys as key_files
from ledger.witness.witness import Witness, open_witness
from tests.ledger.witness.house import LOG_KEY, NOW, cosigned, history

NAME = "witness.example/w1"
Opens = Callable[..., Witness]


def drawing(seed: int = 0) -> Callable[[int], bytes]:
    numbers = itertools.count()
    return lambda length: hashlib.sha256(b"%d %d" % (seed, next(numbers))).digest()[:length]


@pytest.fixture
def opened(tmp_path: Path) -> Iterator[Opens]:
    """Opens the witness in the test's folder; all are closed at the end."""
    witnesses: list[Witness] = []

    def opens(name: str = NAME, seed: int = 0) -> Witness:
        witnesses.append(open_witness(tmp_path / "data", tmp_path / "keys", name, lambda: NOW, drawing(seed)))
        return witnesses[-1]

    yield opens
    for witness in witnesses:
        witness.close()


def test_keys_are_made_on_first_use_for_their_owner_alone_and_stay(opened: Opens, tmp_path: Path) -> None:
    made = opened().vkeys
    assert [vkey.split("+")[0] for vkey in made] == [NAME, NAME]
    assert opened(seed=1).vkeys == opened(name="", seed=2).vkeys == made
    files = sorted((tmp_path / "keys").iterdir())
    assert [file.name for file in files] == ["witness-ml-dsa.key", "witness.key"]
    assert {stat.S_IMODE(file.stat().st_mode) for file in [*files, tmp_path / "data" / "witness.db"]} == {0o600}
    assert stat.S_IMODE((tmp_path / "keys").stat().st_mode) == 0o700


def test_without_a_name_one_is_drawn(opened: Opens) -> None:
    assert opened(name="").name.startswith("witness.local/")


def test_without_the_ml_dsa_key_ed25519_alone_cosigns(opened: Opens, tmp_path: Path) -> None:
    witness = opened()
    witness.add_log(LOG_KEY.vkey)
    tree = history()
    witness.add_checkpoint(tree.asks(0, 3))
    (tmp_path / "keys" / "witness-ml-dsa.key").unlink()
    again = opened()
    assert again.vkeys == witness.vkeys[:1]
    answer = again.add_checkpoint(tree.asks(3, 5))
    assert cosigned(answer, tree.tree(5), key_files.open_keys(tmp_path / "keys", lambda: NOW)) == [NOW]


def test_keys_whose_memory_is_gone_are_refused(opened: Opens, tmp_path: Path) -> None:
    opened().close()
    (tmp_path / "data" / "witness.db").unlink()
    with pytest.raises(Refused, match="memory"):
        opened()
    assert not (tmp_path / "data" / "witness.db").exists()


def test_beside_a_memory_that_is_in_use_no_key_is_ever_made(opened: Opens, tmp_path: Path) -> None:
    witness = opened()
    witness.add_log(LOG_KEY.vkey)
    witness.add_checkpoint(history().asks(0, 3))
    (tmp_path / "keys" / "witness.key").unlink()
    with pytest.raises(NotFound):
        opened(seed=1)
    assert not (tmp_path / "keys" / "witness.key").exists()


def test_a_crash_between_memory_and_keys_is_made_good(opened: Opens, tmp_path: Path) -> None:
    opened().close()
    kept = (tmp_path / "keys" / "witness.key").read_text()
    (tmp_path / "keys" / "witness-ml-dsa.key").unlink()
    assert len(opened(name="", seed=1).vkeys) == 2
    assert (tmp_path / "keys" / "witness.key").read_text() == kept


@pytest.mark.parametrize("breaks", ["name", "inside", "mode", "other name", "swapped"])
def test_keys_that_are_not_this_witness_s_are_refused(opened: Opens, tmp_path: Path, breaks: str) -> None:
    opened().close()
    ed25519, ml_dsa = tmp_path / "keys" / "witness.key", tmp_path / "keys" / "witness-ml-dsa.key"
    name, expected, data = NAME, (Refused, Malformed), tmp_path / "data"
    match breaks:
        case "name":
            name = "witness.example/w2"
        case "inside":
            data = tmp_path
        case "mode":
            ed25519.chmod(0o644)
        case "other name":
            ml_dsa.unlink()
            key_files.make_keys(tmp_path / "others", "witness.example/w2", lambda: NOW, drawing(3))
            ml_dsa.write_text((tmp_path / "others" / "witness-ml-dsa.key").read_text())
            ml_dsa.chmod(0o600)
        case "swapped":
            ed25519.write_text(ml_dsa.read_text())
    with pytest.raises(expected):
        open_witness(data, tmp_path / "keys", name, lambda: NOW, drawing())


def test_no_message_holds_a_secret(opened: Opens, tmp_path: Path) -> None:
    opened().close()
    file = tmp_path / "keys" / "witness.key"
    secret = file.read_text().strip()
    file.write_text(secret[:-4] + "AAAA")
    with pytest.raises(LedgerError) as caught:
        opened()
    assert secret.rsplit("+", 1)[1][:8] not in str(caught.value)
