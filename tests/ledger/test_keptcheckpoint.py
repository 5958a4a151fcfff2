"""The checkpoint that an audit keeps from one time to the next."""

from pathlib import Path

import pytest

from ledger import keptcheckpoint
from ledger.errors import Malformed
from tests.ledger.written import LOG_KEY


def test_what_was_kept_is_read_again(tmp_path: Path) -> None:
    file = keptcheckpoint.place(tmp_path / "not" / "yet", tmp_path / "ledger.db")
    assert keptcheckpoint.read(file) is None
    for checkpoint in (b"first\n", b"second\nline\n"):
        keptcheckpoint.keep(file, LOG_KEY.vkey, checkpoint)
        assert keptcheckpoint.read(file) == keptcheckpoint.Kept(LOG_KEY.verifier, checkpoint)
    assert [path.name for path in file.parent.iterdir()] == [file.name]


def test_each_ledger_file_has_a_file_of_its_own_however_it_is_named(tmp_path: Path) -> None:
    first = keptcheckpoint.place(tmp_path, tmp_path / "ledger.db")
    assert first != keptcheckpoint.place(tmp_path, tmp_path / "other.db")
    (tmp_path / "link.db").symlink_to(tmp_path / "ledger.db")
    assert first == keptcheckpoint.place(tmp_path, tmp_path / "link.db")
    assert first == keptcheckpoint.place(tmp_path, tmp_path / "folder" / ".." / "ledger.db")


@pytest.mark.parametrize("content", [b"", b"no key\ncheckpoint\n", b"\xff\n", LOG_KEY.vkey.encode(), b"\n"])
def test_another_file_is_not_taken_for_one(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "file"
    file.write_bytes(content)
    with pytest.raises(Malformed, match="kept checkpoint"):
        keptcheckpoint.read(file)
