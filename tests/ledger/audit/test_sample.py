"""The sample ledger: our audit says of it what is written down, and so does a verifier that shares nothing with us."""

from __future__ import annotations

import base64
import json
import shutil
import subprocess
import sys
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from ledger import note, policy
from ledger.audit import Trust, audit_public
from ledger.logsource import Folder

SAMPLE = Path(__file__).resolve().parents[3] / "docs" / "sample-ledger"
EXPECTED: dict[str, Any] = json.loads((SAMPLE / "expected.json").read_bytes())


def changed(log: Path, changes: list[dict[str, Any]]) -> Path:
    """As docs/sample-ledger/README.md says."""
    for change in changes:
        path = log / change["file"]
        data = bytearray(path.read_bytes())
        if "flip" in change:
            data[change["flip"]] ^= 1
        if "cut" in change:
            del data[change["cut"] :]
        if "last_line" in change:
            del data[data.rindex(b"\n", 0, -1) + 1 :]
        path.write_bytes(data)
        if "remove" in change:
            path.unlink()
    return log


@pytest.mark.parametrize("variant", EXPECTED["variants"], ids=lambda variant: variant["name"])
def test_our_audit_finds_what_is_written_down(tmp_path: Path, variant: dict[str, Any]) -> None:
    log = changed(Path(shutil.copytree(SAMPLE / "log", tmp_path / "log")), variant["changes"])
    accepts = policy.parse((SAMPLE / "policy").read_bytes())
    (key,) = (each.verifier for each in accepts.logs)
    assert isinstance(key, note.Ed25519Verifier)
    kept = (SAMPLE / variant["kept"]).read_bytes() if "kept" in variant else None
    report = audit_public(Folder(log), Trust(key, accepts.check), kept, lambda _done, _total: None)
    expected, found = variant["first_fault"], report.first_fault
    assert report.clean == (expected is None), found
    if found is not None:
        assert {name: getattr(found, name) for name in expected} == expected, found
    else:
        assert report.root is not None
        assert (report.root.hex(), report.entries, report.forks) == (EXPECTED["root"], 40, 3)


def test_the_script_beside_it_makes_the_same_bytes(tmp_path: Path) -> None:
    subprocess.run([sys.executable, SAMPLE / "make.py", tmp_path], check=True, cwd=SAMPLE.parents[1], timeout=60)
    made = {path.relative_to(tmp_path): path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    stands = {
        path.relative_to(SAMPLE): path.read_bytes()
        for path in SAMPLE.rglob("*")
        if path.is_file() and path.name not in ("README.md", "make.py") and path.suffix != ".pyc"
    }
    assert made == stands


# --- a verifier that shares no line with ours: RFC 6962 as written, and nothing but hashlib ---


def tree_hash(leaves: list[bytes]) -> bytes:
    """RFC 6962, 2.1: MTH."""
    if not leaves:
        return sha256(b"").digest()
    if len(leaves) == 1:
        return sha256(b"\x00" + leaves[0]).digest()
    split = 1
    while split * 2 < len(leaves):
        split *= 2
    return sha256(b"\x01" + tree_hash(leaves[:split]) + tree_hash(leaves[split:])).digest()


def fields(message: bytes) -> dict[int, Any]:
    """A protobuf message of varints and bytes, as far as an entry needs one."""
    found: dict[int, Any] = {}
    at = 0

    def varint() -> int:
        nonlocal at
        value = shift = 0
        while True:
            byte = message[at]
            at += 1
            value |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                return value

    while at < len(message):
        tag = varint()
        value: Any = varint()
        if tag & 7 == 2:
            at, value = at + value, message[at : at + value]
        found[tag >> 3] = value
    return found


def test_a_verifier_with_nothing_but_hashlib_agrees() -> None:
    bundle = (SAMPLE / "log/tile/entries/000.p/40").read_bytes()
    entries = []
    while bundle:
        length = int.from_bytes(bundle[:2], "big")
        entries.append(bundle[2 : 2 + length])
        bundle = bundle[2 + length :]
    leaves = [sha256(b"\x00" + data).digest() for data in entries]
    assert [leaf.hex() for leaf in leaves] == EXPECTED["leaf_hashes"]
    assert b"".join(leaves) == (SAMPLE / "log/tile/0/000.p/40").read_bytes()
    assert tree_hash(entries).hex() == EXPECTED["root"]
    lines = (SAMPLE / "log/checkpoint").read_text().splitlines()
    assert lines[:3] == [EXPECTED["origin"], "40", base64.b64encode(tree_hash(entries)).decode()]
    kept = (SAMPLE / "kept").read_text().splitlines()
    assert kept[1:3] == ["25", base64.b64encode(tree_hash(entries[:25])).decode()]
    heads: dict[str, dict[str, Any]] = {}
    for data, leaf, expected in zip(entries, leaves, EXPECTED["entries"], strict=True):
        entry = fields(data)
        fork_id = entry[2].decode()
        before = heads.get(fork_id, {"version": 0, "entry_hash": bytes(32).hex()})
        assert (entry[1].decode(), entry[4].hex()) == (EXPECTED["origin"], before["entry_hash"])
        assert (fork_id, entry[3], len(data)) == (expected["fork_id"], expected["version"], expected["length"])
        assert entry[3] == before["version"] + 1
        owner = fields(fields(entry[6])[2])[2].hex() if entry[3] == 1 else before["owner_key"]
        heads[fork_id] = {"version": entry[3], "entry_hash": leaf.hex(), "owner_key": owner}
    assert heads == EXPECTED["heads"]
