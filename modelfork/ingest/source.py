"""A file with what was said elsewhere: which format it is, and its pieces in the order in which they are recorded.

Lines are recorded as they stand. An export has its newest conversation first, so its conversations are put in the order
in which they began; that of an archive is unpacked for it into a temporary file that has no name.
"""

from __future__ import annotations

import re
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath
from typing import BinaryIO

from modelfork.errors import Malformed
from modelfork.ingest.chatgpt import begun_at, read_conversation
from modelfork.ingest.openai import read_chat
from modelfork.ingest.pieces import LONGEST, elements, lines
from modelfork.ingest.turns import Fault, Found

LARGEST = 4 << 30  # bytes of an archive's conversations, unpacked
MOST_CONVERSATIONS = 100_000
_BOM = b"\xef\xbb\xbf"
_NAME = re.compile(r"conversations(-\d+)?\.json")  # in one file, or in numbered parts
_UNPACKED = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)  # the others take as much memory as the file says
_TOO_LONG = f"expected at most {LONGEST:,} bytes, found more"


@dataclass(frozen=True, slots=True)
class _Conversation:
    """Where a conversation stands. `number` counts from 1, over all parts of the export."""

    number: int
    file: BinaryIO
    begin: int
    end: int


@contextmanager
def open_source(path: Path) -> Iterator[Callable[[], Iterator[Found]]]:
    """What reads the file, from its beginning each time.

    Raises Malformed where it is no file, or an archive without conversations or with too many; OSError.
    """
    if path.exists() and not path.is_file():
        raise Malformed(f"{path}: expected a file")
    with ExitStack() as held:
        file = held.enter_context(path.open("rb"))
        if file.read(2) == b"PK":
            yield partial(_conversations, *_index(_unpacked(file, held)))
        elif _begins_list(file):
            yield partial(_conversations, *_index([file]))
        else:
            yield partial(_chats, file)


# --- lines ------------------------------------------------------------------------------------------------


def _chats(file: BinaryIO) -> Iterator[Found]:
    file.seek(0)
    for number, line in lines(file):
        if line is None:
            yield Fault(f"line {number}", _TOO_LONG)
        elif (line := line.removeprefix(_BOM) if number == 1 else line).strip():
            yield from read_chat(f"line {number}", line)


# --- an export --------------------------------------------------------------------------------------------


def _begins_list(file: BinaryIO) -> bool:
    file.seek(0)
    begin = file.read(4096).removeprefix(_BOM).lstrip()
    file.seek(0)
    return begin.startswith(b"[")


def _index(files: list[BinaryIO]) -> tuple[list[_Conversation], list[Fault]]:
    """The conversations, the one that began first first, and what is wrong with the lists that they stand in."""
    found: list[_Conversation] = []
    faults: list[Fault] = []
    for file in files:
        first = len(found)
        try:
            if not _begins_list(file):
                raise Malformed("expected a list of conversations, found something else")
            for begin, end in elements(file):
                if len(found) == MOST_CONVERSATIONS:
                    raise Malformed(f"expected at most {MOST_CONVERSATIONS:,} conversations, found more")
                found.append(_Conversation(len(found) + 1, file, begin, end))
        except Malformed as error:
            faults.append(Fault(f"after conversation {len(found)}", str(error)))
        if len(found) == first + 1 and not _bytes(found[first]).strip():
            del found[first]  # the list is empty
    return sorted(found, key=_begun), faults


def _begun(one: _Conversation) -> tuple[float, int]:
    try:
        return begun_at(_bytes(one)) if one.end - one.begin <= LONGEST else 0.0, one.number
    except Malformed:
        return 0.0, one.number  # to be told when it is read


def _bytes(one: _Conversation) -> bytes:
    one.file.seek(one.begin)
    return one.file.read(min(one.end - one.begin, LONGEST))


def _conversations(found: list[_Conversation], faults: list[Fault]) -> Iterator[Found]:
    for one in found:
        place = f"conversation {one.number}"
        if one.end - one.begin > LONGEST:
            yield Fault(place, _TOO_LONG)
        else:
            yield from read_conversation(place, _bytes(one))
    yield from faults


def _unpacked(file: BinaryIO, held: ExitStack) -> list[BinaryIO]:
    """The conversations of an archive, as files without a name that `held` closes."""
    parts: list[BinaryIO] = []
    room = LARGEST
    try:
        with zipfile.ZipFile(file) as archive:
            members = [one for one in archive.infolist() if _NAME.fullmatch(PurePosixPath(one.filename).name)]
            if not members:
                raise Malformed("archive: expected conversations.json in it, found none")
            for member in sorted(members, key=lambda one: one.filename):
                if member.compress_type not in _UNPACKED:
                    raise Malformed("archive: expected conversations stored or deflated, found another packing")
                parts.append(held.enter_context(tempfile.TemporaryFile()))  # noqa: SIM115
                with archive.open(member) as packed:
                    while chunk := packed.read(1 << 20):
                        room -= len(chunk)
                        if room < 0:
                            raise Malformed(f"archive: expected at most {LARGEST:,} bytes of conversations, found more")
                        parts[-1].write(chunk)
    except (zipfile.BadZipFile, zlib.error, EOFError):
        raise Malformed("archive: expected a whole zip file, found a damaged one") from None
    except (RuntimeError, NotImplementedError):
        raise Malformed("archive: expected one that opens without a password, found another") from None
    return parts
