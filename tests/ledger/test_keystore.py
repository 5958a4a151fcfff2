"""What the service keeps of apps, forks and salts; and the operator's keys that open it."""

import os
from pathlib import Path

import pytest

from ledger.errors import Conflict, NotFound, Refused
from ledger.keystore import KeyStore
from ledger.main import make_keystore, open_operator_keys
from ledger.vault import ServiceKey

FORK = "6f1e1a0e-7f2b-4d2a-9a51-1c1f0f7d9a11"


def opened(folder: Path, key: bytes = b"s" * 32) -> KeyStore:
    return KeyStore(folder / "keystore.db", ServiceKey(key), os.urandom)


def test_a_forks_secrets_come_back_and_lie_sealed(tmp_path: Path) -> None:
    store = opened(tmp_path)
    made = store.make_fork_keys(FORK, "app-1")
    assert store.fork_keys(FORK) == made
    store.close()
    stored = b"".join(file.read_bytes() for file in tmp_path.iterdir())
    assert made.owner.seed not in stored
    assert made.root not in stored


def test_a_fork_is_made_once_and_belongs_to_one_app(tmp_path: Path) -> None:
    store = opened(tmp_path)
    store.make_fork_keys(FORK, "app-1")
    with pytest.raises(Conflict):
        store.make_fork_keys(FORK, "app-1")
    with pytest.raises(Conflict):
        store.claim_fork(FORK, "app-2")
    store.close()


def test_the_apps_of_many_forks_are_looked_up_at_once(tmp_path: Path) -> None:
    store = opened(tmp_path)
    forks = [FORK[:-4] + f"{number:04}" for number in range(1001)]
    for fork_id in forks[:2]:
        store.claim_fork(fork_id, f"app-{fork_id[-1]}")
    assert store.apps_of_forks(forks) == {forks[0]: "app-0", forks[1]: "app-1"}
    assert store.apps_of_forks([]) == {}
    store.close()


def test_a_key_store_opens_with_the_key_it_was_made_with_only(tmp_path: Path) -> None:
    opened(tmp_path).close()
    with pytest.raises(Refused, match="another one"):
        opened(tmp_path, b"t" * 32)
    opened(tmp_path).close()


def test_an_api_key_opens_until_its_app_is_removed_and_is_stored_as_a_hash(tmp_path: Path) -> None:
    store = opened(tmp_path)
    app, api_key = store.add_app("notes")
    assert store.app_of_key(api_key) == app
    assert store.app_of_key(api_key[:-1]) is None
    assert api_key.encode() not in b"".join(file.read_bytes() for file in tmp_path.iterdir())
    store.remove_app(app.app_id)
    assert store.app_of_key(api_key) is None
    store.close()


def test_a_pause_is_kept_until_it_is_ended(tmp_path: Path) -> None:
    store = opened(tmp_path)
    for paused in (True, True, False, False, True):
        store.pause(FORK, paused)
        assert store.is_paused(FORK) is paused
    store.close()
    again = opened(tmp_path)
    assert again.is_paused(FORK)
    assert not again.is_paused(FORK[:-1] + "2")
    again.close()


def test_a_destroyed_salt_is_gone_from_the_disk_at_once(tmp_path: Path) -> None:
    store = opened(tmp_path)
    salt = os.urandom(32)
    store.keep_salt(FORK, b"c" * 32, salt)
    assert salt in b"".join(file.read_bytes() for file in tmp_path.iterdir())
    store.drop_salt(FORK, b"c" * 32)
    assert salt not in b"".join(file.read_bytes() for file in tmp_path.iterdir())
    with pytest.raises(NotFound):
        store.record_key(FORK, b"r" * 32, b"c" * 32, 1)
    store.close()


@pytest.mark.parametrize("lost", ["log.key", "receipt.key", "service.key"])
def test_a_lost_key_is_asked_for_and_never_made_anew_beside_data(tmp_path: Path, lost: str) -> None:
    data, keys = tmp_path / "data", tmp_path / "keys"
    make_keystore(data, open_operator_keys(data, keys, "log.example/x")).close()
    kept = (keys / lost).read_bytes()
    (keys / lost).unlink()
    with pytest.raises(NotFound, match="put it back"):
        open_operator_keys(data, keys, "")
    assert not (keys / lost).exists()
    (keys / lost).write_bytes(kept)
    (keys / lost).chmod(0o600)
    assert open_operator_keys(data, keys, "").log.name == "log.example/x"
