"""What the folder of a base holds: `manifest.json` names every file of it by its SHA-256."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path

from modelfork.errors import Unsuited

MANIFEST, BASIS, ANCHORS, LAYOUT = "manifest.json", "basis.safetensors", "anchors.jsonl", "layout.bin"
FORMAT = "modelfork/base/v1"
BASE_DOMAIN = b"modelfork/base/v1\x00"
# All that transformers would read from the folder; a file of these that the manifest does not name is refused.
READ = (
    "config.json",
    "generation_config.json",
    "model.safetensors",
    "model-*-of-*.safetensors",
    "model.safetensors.index.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "tokenizer.model",
    "tekken.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.json",
    "merges.txt",
    "chat_template.jinja",
    "chat_template.json",
    "additional_chat_templates/*.jinja",
    "adapter_config.json",
    "adapter_model.safetensors",
)


def write_manifest(folder: Path) -> None:
    """Name every file as it is now: after a change of the anchor rows the basis stays, and with it every layout."""
    named = digests(folder, (*present(folder), ANCHORS, BASIS, LAYOUT))
    written = {"format": FORMAT, "files": dict(sorted(named.items()))}
    (folder / MANIFEST).write_text(json.dumps(written, indent=2) + "\n", encoding="utf-8")


def read_manifest(folder: Path) -> dict[str, str]:
    """Name to SHA-256 in hex, once every file is the one that is named and none is beside it that would be read
    unchecked. Raises Unsuited, which says what is wrong."""
    named = _named(folder)
    for name, digest in named.items():
        if _sha256(folder / name) != digest:
            raise Unsuited(f"base: {name} is not the file that {MANIFEST} names")
    for name in present(folder):
        if name not in named:
            raise Unsuited(f"base: {name} would be read, and {MANIFEST} does not name it")
    return named


def _named(folder: Path) -> dict[str, str]:
    """Name to SHA-256 in hex, every name a plain relative path."""
    try:
        read = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
        named = {str(name): str(digest) for name, digest in read["files"].items()}
        version = read["format"]
    except FileNotFoundError:
        raise Unsuited(f"base: no {MANIFEST} in the folder; `forkledger base prepare {folder}` writes it") from None
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        raise Unsuited(f"base: {MANIFEST} is not what its format says") from None
    if version != FORMAT:
        raise Unsuited(f"base: {MANIFEST} has another format, expected {FORMAT}")
    missing = {BASIS, ANCHORS, LAYOUT, "config.json"} - named.keys()
    if missing:
        raise Unsuited(f"base: {MANIFEST} does not name {', '.join(sorted(missing))}")
    if any(Path(name).is_absolute() or ".." in Path(name).parts or "\0" in name for name in named):
        raise Unsuited(f"base: {MANIFEST} names a file outside its folder")
    return named


def present(folder: Path) -> list[str]:
    """The files of the model that are in the folder."""
    return sorted(path.relative_to(folder).as_posix() for pattern in READ for path in folder.glob(pattern))


def digests(folder: Path, names: Iterable[str]) -> dict[str, str]:
    """SHA-256 in hex by name."""
    return {name: _sha256(folder / name) for name in names}


def _sha256(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:
        raise Unsuited(f"base: {path.name} is missing or cannot be read") from None


def base_digest(named: Mapping[str, str]) -> bytes:
    """SHA-256(domain || name 00 digest of each file of the model, names ascending)."""
    whole = hashlib.sha256(BASE_DOMAIN)
    for name in sorted(named.keys() - {BASIS, ANCHORS, LAYOUT}):
        whole.update(name.encode() + b"\x00" + bytes.fromhex(named[name]))
    return whole.digest()
