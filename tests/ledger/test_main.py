"""Opening what stands in folders and databases: nothing is begun or added to beside what is public."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from ledger.errors import BadProof, Malformed, Refused
from ledger.ledger import Ledger
from ledger.main import Anchoring, open_database_reader, open_house, open_ledger, open_operator_keys, open_worker
from ledger.publicfolder import PublicFolder
from ledger.publish import publish
from ledger.publisher import Publisher
from ledger.store import postgres
from tests.ledger.written import Writer


def begin(ledger: Ledger, records: int) -> Writer:
    writer = Writer(1, origin=ledger.origin)
    ledger.create_fork(writer.control())
    for _ in range(records):
        ledger.append(writer.next())
    return writer


def test_a_house_whose_ledger_is_in_postgresql_is_opened_again_and_read(postgres_url: str, tmp_path: Path) -> None:
    data, keys = tmp_path / "data", tmp_path / "keys"
    ledger, keystore, _ = open_house(data, keys, postgres_url)
    writer = begin(ledger, 1)
    shown = Publisher(ledger, PublicFolder(data / "public")).publish()
    ledger.close()
    keystore.close()
    ledger, keystore, _ = open_house(data, keys, postgres_url)
    ledger.append(writer.next())
    publish(ledger)
    ledger.close()
    keystore.close()
    assert sorted(path.name for path in data.iterdir()) == ["keystore.db", "public"]
    reader = open_database_reader(postgres_url, data)
    assert (reader.size(), reader.checkpoint()) == (3, shown)
    reader.store.close()


def test_a_chain_key_that_lies_beside_the_ledger_is_refused_however_it_is_reached(tmp_path: Path) -> None:
    data, keys = tmp_path / "data", tmp_path / "keys"
    ledger, keystore, _ = open_house(data, keys)
    (data / "anchor.key").write_text("11" * 32)
    (data / "anchor.key").chmod(0o600)
    (keys / "anchor.key").symlink_to(data / "anchor.key")
    for key in (data / "anchor.key", keys / "anchor.key"):
        with pytest.raises(Refused, match="outside the data folder"):
            open_worker(ledger, data, Anchoring(rpc="http://127.0.0.1:1", key=key), lambda: True)
    ledger.close()
    keystore.close()


def test_a_database_of_another_log_key_is_refused(postgres_url: str, tmp_path: Path) -> None:
    ledger, keystore, _ = open_house(tmp_path / "data", tmp_path / "keys", postgres_url)
    ledger.close()
    keystore.close()
    with pytest.raises(Refused, match="belongs to another log key"):
        open_house(tmp_path / "other", tmp_path / "other keys", postgres_url)


def test_an_empty_database_beside_what_is_public_is_not_written_to(postgres_url: str, tmp_path: Path) -> None:
    data, keys = tmp_path / "data", tmp_path / "keys"
    ledger, keystore, _ = open_house(data, keys)
    begin(ledger, 1)
    Publisher(ledger, PublicFolder(data / "public")).publish()
    ledger.close()
    keystore.close()
    with pytest.raises(BadProof):
        open_house(data, keys, postgres_url)


def test_a_file_that_is_behind_what_is_public_is_not_written_to(tmp_path: Path) -> None:
    data, keys = tmp_path / "data", tmp_path / "keys"
    operator = open_operator_keys(data, keys, "")
    ledger = open_ledger(data, operator)
    writer = begin(ledger, 1)
    ledger.close()
    shutil.copy(data / "ledger.db", tmp_path / "backup.db")
    ledger = open_ledger(data, operator)
    ledger.append(writer.next())
    Publisher(ledger, PublicFolder(data / "public")).publish()
    ledger.close()
    shutil.copy(tmp_path / "backup.db", data / "ledger.db")
    with pytest.raises(BadProof):
        open_ledger(data, operator)


def test_a_database_that_names_no_log_is_not_read(postgres_url: str, tmp_path: Path) -> None:
    postgres.open_store(postgres_url).close()
    with pytest.raises(Malformed, match="does not name its log key"):
        open_database_reader(postgres_url, tmp_path)
