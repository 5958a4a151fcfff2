"""Files as people have them: lines, an export, its archive; damaged, hostile, or none of these."""

from __future__ import annotations

import json
import struct
import tempfile
import zipfile
from pathlib import Path
from typing import Any

import pytest

from modelfork.errors import Malformed
from modelfork.ingest import pieces, source
from modelfork.ingest.source import open_source
from modelfork.ingest.turns import Fault, Found, Turn
from tests.modelfork.ingest.exported import talk, write_archive


def read(path: Path) -> list[Found]:
    """What the file holds, the same when it is read again."""
    with open_source(path) as again:
        found = list(again())
        assert list(again()) == found
    return found


def questions(found: list[Found]) -> list[str]:
    return [one.interaction.messages[-1].content for one in found if isinstance(one, Turn)]


def faults(found: list[Found]) -> list[tuple[str, str]]:
    return [(one.place, one.wrong) for one in found if isinstance(one, Fault)]


def line(question: str) -> bytes:
    return json.dumps({"messages": [{"role": "user", "content": question}], "answer": "Yes."}).encode()


def written(path: Path, value: Any) -> Path:
    path.write_bytes(value if isinstance(value, bytes) else json.dumps(value).encode())
    return path


def test_lines_are_read_as_they_stand_and_a_bad_one_stops_none(tmp_path: Path) -> None:
    data = b"\n".join([b"\xef\xbb\xbf" + line("a"), b"", b"nonsense", line("b") + b"\r", b"\xff", line("c")])
    found = read(written(tmp_path / "chats.jsonl", data))
    assert questions(found) == ["a", "b", "c"]
    assert [place for place, _ in faults(found)] == ["line 3", "line 5"]


def test_a_line_that_is_too_long_is_named_by_its_number(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pieces, "LONGEST", 1000)
    found = read(written(tmp_path / "chats.jsonl", line("a") + b"\n" + line("x" * 5000) + b"\n" + line("b")))
    assert questions(found) == ["a", "b"]
    assert faults(found) == [("line 2", f"expected at most {16 << 20:,} bytes, found more")]


def test_an_empty_file_holds_nothing(tmp_path: Path) -> None:
    assert read(written(tmp_path / "chats.jsonl", b"")) == []
    assert read(written(tmp_path / "conversations.json", b" [ ]\n")) == []


def test_conversations_are_read_in_the_order_in_which_they_began(tmp_path: Path) -> None:
    export = [talk("new", "Yes.", began=30), talk("old", "Yes.", began=10.5), talk("undated", "Yes.", began=None)]
    found = read(written(tmp_path / "any name", b"\xef\xbb\xbf \n" + json.dumps(export).encode()))
    assert questions(found) == ["undated", "old", "new"]
    assert [one.place for one in found] == ["conversation 3", "conversation 2", "conversation 1"]


def test_an_archive_is_read_with_all_its_numbered_parts(tmp_path: Path) -> None:
    path = write_archive(
        tmp_path / "export.zip",
        conversations_001=[talk("c", "Yes.", began=3)],
        conversations_000=[talk("d", "Yes.", began=4), talk("b", "Yes.", began=2)],
        shared_conversations=["no conversation"],
    )
    found = read(path)
    assert questions(found) == ["b", "c", "d"]
    assert [one.place for one in found] == ["conversation 2", "conversation 3", "conversation 1"]


def test_an_archive_of_one_folder_is_read_too(tmp_path: Path) -> None:
    path = tmp_path / "export.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("my export/conversations.json", json.dumps([talk("a", "Yes.")]))
    assert questions(read(path)) == ["a"]


def test_a_broken_conversation_stops_no_other(tmp_path: Path) -> None:
    parts = [json.dumps(talk("a", "Yes.", began=1)).encode(), b"nonsense", b'{"create_time": "x"}', b"[NaN]", b" "]
    parts.append(json.dumps(talk("b", "Yes.", began=2)).encode())
    found = read(written(tmp_path / "conversations.json", b"[" + b",".join(parts) + b"]"))
    assert questions(found) == ["a", "b"]
    assert sorted(place for place, _ in faults(found)) == [f"conversation {n}" for n in (2, 3, 4, 5)]


def test_a_file_that_was_cut_off_gives_what_is_whole_and_says_so(tmp_path: Path) -> None:
    whole = json.dumps([talk("a", "Yes."), talk("b", "Yes.")])
    found = read(written(tmp_path / "conversations.json", whole[:-40].encode()))
    assert questions(found) == ["a"]
    assert faults(found) == [("after conversation 1", "expected a ] that ends the list, found the end of the file")]


def test_a_conversation_that_is_too_long_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(source, "LONGEST", 5000)
    found = read(written(tmp_path / "conversations.json", [talk("a", "Yes."), talk("x" * 5000, "Yes.")]))
    assert questions(found) == ["a"]
    assert [place for place, _ in faults(found)] == ["conversation 2"]


def test_more_conversations_than_anybody_has_are_not_indexed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(source, "MOST_CONVERSATIONS", 2)
    found = read(written(tmp_path / "conversations.json", [talk("a", "Yes.")] * 3))
    assert questions(found) == ["a", "a"]
    assert faults(found) == [("after conversation 2", "expected at most 2 conversations, found more")]


def test_what_is_packed_small_and_opens_large_is_not_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(source, "LARGEST", 3 << 20)
    bomb = b" " * (2 << 20)
    path = write_archive(tmp_path / "export.zip", conversations_000=bomb, conversations_001=bomb)
    assert path.stat().st_size < 10_000
    with pytest.raises(Malformed, match=r"expected at most 3,145,728 bytes of conversations, found more"):
        read(path)


def test_what_is_unpacked_has_no_name_and_goes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    (tmp_path / "temporary").mkdir()
    path = write_archive(tmp_path / "export.zip", conversations=[talk("a", "Yes.")])
    with open_source(path) as again:
        assert questions(list(again())) == ["a"]
        assert list((tmp_path / "temporary").iterdir()) == []


def test_a_part_that_is_no_list_is_a_fault(tmp_path: Path) -> None:
    path = write_archive(tmp_path / "export.zip", conversations={"a": 1}, conversations_1=[talk("a", "Yes.")])
    found = read(path)
    assert questions(found) == ["a"]
    assert [wrong for _, wrong in faults(found)] == ["expected a list of conversations, found something else"]


def damaged(path: Path) -> None:
    data = bytearray(path.read_bytes())
    at = data.index(b"conversations.json") + 40
    data[at] ^= 0xFF
    path.write_bytes(data)


def locked(path: Path) -> None:
    data = bytearray(path.read_bytes())
    for signature, flags in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        at = data.rindex(signature)
        struct.pack_into("<H", data, at + flags, struct.unpack_from("<H", data, at + flags)[0] | 1)
    path.write_bytes(data)


def other_packing(path: Path) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_LZMA) as archive:
        archive.writestr("conversations.json", "[]")


def no_conversations(path: Path) -> None:
    write_archive(path)


def cut_off(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-30])


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (damaged, "expected a whole zip file"),
        (cut_off, "expected a whole zip file"),
        (locked, "expected one that opens without a password"),
        (other_packing, "expected conversations stored or deflated"),
        (no_conversations, "expected conversations.json in it, found none"),
    ],
)
def test_an_archive_that_does_not_open_says_why(tmp_path: Path, spoil: Any, said: str) -> None:
    path = write_archive(tmp_path / "export.zip", conversations=[talk("a" * 1000, "Yes.")])
    spoil(path)
    with pytest.raises(Malformed, match=said):
        read(path)


def test_what_is_no_file_is_not_read(tmp_path: Path) -> None:
    with pytest.raises(Malformed, match="expected a file"):
        read(tmp_path)
    with pytest.raises(FileNotFoundError):
        read(tmp_path / "nowhere")
