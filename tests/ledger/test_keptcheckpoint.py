"""The checkpoint that an audit keeps from one time to the next."""

from pathlib import Path

import pytest

from ledger import keptcheckpoint
from ledger.errors import Malformed
from tests.ledger.written import LOG_KEY, RECEIPT_KEY


def test_what_was_kept_is_read_again(tmp_path: Path) -> None:
    file = keptcheckpoint.place(tmp_path / "not" / "yet", LOG_KEY.vkey)
    assert keptcheckpoint.read(file) is None
    for checkpoint in (b"first\n", b"second\nline\n"):
        keptcheckpoint.keep(file, LOG_KEY.vkey, checkpoint)
        assert keptcheckpoint.read(file) == keptcheckpoint.Kept(LOG_KEY.verifier, checkpoint)
    assert [path.name for path in file.parent.iterdir()] == [file.name]


def test_each_log_has_a_file_of_its_own(tmp_path: Path) -> None:
    assert keptcheckpoint.place(tmp_path, LOG_KEY.vkey) != keptcheckpoint.place(tmp_path, RECEIPT_KEY.vkey)


@pytest.mark.parametrize("content", [b"", b"no key\ncheckpoint\n", b"\xff\n", LOG_KEY.vkey.encode(), b"\n"])
def test_another_file_is_not_taken_for_one(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "file"
    file.write_bytes(content)
    with pytest.raises(Malformed, match="kept checkpoint"):
        keptcheckpoint.read(file)
