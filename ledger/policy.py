"""Whom to believe: the C2SP trust policy (c2sp.org/tlog-policy), as a text of lines.

    log <vkey> [<url>]                        a checkpoint is signed by one of these
    witness <name> <vkey> [<url>]             and cosigned by some of these:
    group <name> <k|any|all> <member>...      k of the witnesses and groups that stand on lines before
    quorum <name|none>                        this witness or group

Names mean something within the policy alone: a witness signs under the name in its vkey. Bytes above ASCII are opaque;
here they are read as UTF-8 where they can be.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass

from ledger import checkpoint, note
from ledger.checkpoint import Checkpoint
from ledger.cosign import AnyVerifier, Ed25519CosignatureVerifier, verifier_from_vkey
from ledger.errors import BadSignature, LedgerError, Malformed, Refused
from ledger.note import Ed25519Verifier

NO_QUORUM = "none"

_NOT_IN_A_POLICY = re.compile(rb"[^\t\n\x20-\x7e\x80-\xff]")
_BLANK = re.compile(r"[ \t]+")
_NOT_IN_A_WORD = re.compile(r"[\x00-\x20\x7f]")
_THRESHOLD = re.compile(r"[0-9]{1,9}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Log:
    verifier: AnyVerifier  # of type 01 or 06, named as the origin
    url: str | None = None


@dataclass(frozen=True, slots=True)
class Witness:
    name: str
    verifier: AnyVerifier  # of type 04 or 06
    url: str | None = None


@dataclass(frozen=True, slots=True)
class Group:
    name: str
    threshold: int
    members: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Policy:
    """Raises Malformed for what no policy can say."""

    logs: tuple[Log, ...]
    witnesses: tuple[Witness, ...]
    groups: tuple[Group, ...]
    quorum: str

    def __post_init__(self) -> None:
        rules = _Rules()
        for log in self.logs:
            rules.add_log(log)
        for witness in self.witnesses:
            rules.add_witness(witness)
        for group in self.groups:
            rules.add_group(group)
        rules.check_quorum(self.quorum)

    @property
    def verifiers(self) -> tuple[AnyVerifier, ...]:
        """Every key that the policy names."""
        return tuple(log.verifier for log in self.logs) + tuple(witness.verifier for witness in self.witnesses)

    def encode(self) -> bytes:
        lines = [["log", each.verifier.vkey, each.url or ""] for each in self.logs]
        lines += [["witness", each.name, each.verifier.vkey, each.url or ""] for each in self.witnesses]
        lines += [["group", each.name, str(each.threshold), *each.members] for each in self.groups]
        lines += [["quorum", self.quorum]]
        return "".join(f"{' '.join(line).rstrip(' ')}\n" for line in lines).encode(errors="surrogateescape")

    # --- what it asks for ---

    def quorum_met(self, names: Collection[str]) -> bool:
        """Whether cosignatures of these witnesses, by the policy's names, are enough."""
        return self.quorum == NO_QUORUM or self.quorum in self._witnessed(names)

    def cosigned_by(self, opened: note.Note) -> tuple[str, ...]:
        """The policy's names of the witnesses whose signatures hold on a note opened with its `verifiers`."""
        held = {(signature.name, signature.key_id) for signature in opened.signatures}
        return tuple(each.name for each in self.witnesses if (each.verifier.name, each.verifier.key_id) in held)

    def check(self, signed: bytes) -> Checkpoint:
        """The checkpoint, signed by a log of the policy and cosigned by its quorum.

        Raises Malformed; BadSignature where a signature does not hold or is missing, and names the quorum that was
        missed; Refused for a policy without logs.
        """
        if not self.logs:
            raise Refused("policy: expected at least one log to check a checkpoint by, it names none")
        # 1. No known key's signature is bad.
        opened = note.open_note(signed, self.verifiers)
        # 2. The text is a checkpoint.
        tree = checkpoint.parse(opened.text)
        # 3. One of the policy's logs signed it, and its own: key name = origin.
        held = {(signature.name, signature.key_id) for signature in opened.signatures}
        if not any(
            each.verifier.name == tree.origin and (each.verifier.name, each.verifier.key_id) in held
            for each in self.logs
        ):
            raise BadSignature(
                f"checkpoint: expected origin and signature of a log of the policy, {tree.origin!r} came"
            )
        # 4. So did its witnesses.
        names = self.cosigned_by(opened)
        if not self.quorum_met(names):
            raise BadSignature(f"checkpoint of size {tree.size}: {self._missed(names)}")
        return tree

    def _witnessed(self, names: Collection[str]) -> set[str]:
        """The witnesses and groups that these names make up. Groups stand in an order in which members come first."""
        met = {each.name for each in self.witnesses if each.name in names}
        for group in self.groups:
            if sum(member in met for member in group.members) >= group.threshold:
                met.add(group.name)
        return met

    def _missed(self, names: Collection[str]) -> str:
        met = self._witnessed(names)
        groups = {each.name: each for each in self.groups}
        missed, asked = [], [self.quorum]
        while asked:  # from the quorum down to the witnesses that are lacking
            name = asked.pop(0)
            if name in groups:
                group = groups[name]
                missed.append(f"{name!r} ({group.threshold} of {', '.join(group.members)})")
                asked += [member for member in group.members if member in groups and member not in met]
        of_groups = ", ".join(missed) or repr(self.quorum)
        return f"expected cosignatures for quorum {of_groups}, those of {', '.join(names) or 'no witness'} came"


def of_log(vkey: str) -> Policy:
    """A policy of one log and no witness. Raises Malformed."""
    return Policy((Log(verifier_from_vkey(vkey)),), (), (), NO_QUORUM)


def parse(policy: bytes) -> Policy:
    """Raises Malformed with the number of the line."""
    if found := _NOT_IN_A_POLICY.search(policy):
        number = policy.count(b"\n", 0, found.start()) + 1
        raise Malformed(
            f"policy line {number}: expected no control characters but tab and newline, {found[0].hex()} came"
        )
    rules = _Rules()
    logs: list[Log] = []
    witnesses: list[Witness] = []
    groups: list[Group] = []
    quorums: list[str] = []
    for number, line in enumerate(policy.decode(errors="surrogateescape").split("\n"), start=1):
        words = _BLANK.split(line.strip(" \t"))
        try:
            match words:
                case [""]:
                    pass
                case [comment, *_] if comment.startswith("#"):
                    pass
                case ["log", vkey, *url] if len(url) < 2:
                    logs.append(Log(verifier_from_vkey(vkey), *url))
                    rules.add_log(logs[-1])
                case ["witness", name, vkey, *url] if len(url) < 2:
                    witnesses.append(Witness(name, verifier_from_vkey(vkey), *url))
                    rules.add_witness(witnesses[-1])
                case ["group", name, threshold, *members]:
                    groups.append(Group(name, _threshold(threshold, members), tuple(members)))
                    rules.add_group(groups[-1])
                case ["quorum", name]:
                    if quorums:
                        raise Malformed("expected one quorum line, a second came")
                    rules.check_quorum(name)
                    quorums.append(name)
                case ["log" | "witness" | "group" | "quorum", *_]:
                    raise Malformed(f"expected another number of words after {words[0]!r}, {len(words) - 1} came")
                case _:
                    raise Malformed("expected log, witness, group or quorum")
        except LedgerError as error:
            raise Malformed(f"policy line {number}: {error}") from None
    if not quorums:
        raise Malformed("policy: expected one quorum line, none came")
    return Policy(tuple(logs), tuple(witnesses), tuple(groups), quorums[0])


def _threshold(written: str, members: Collection[str]) -> int:
    match written:
        case "any":
            return 1
        case "all":
            return len(members)
    if not _THRESHOLD.fullmatch(written):
        raise Malformed("expected any, all or a decimal after a group's name")
    return int(written)


class _Rules:
    """What a line may say after the lines before it."""

    def __init__(self) -> None:
        self._log_keys: set[bytes] = set()
        self._witness_keys: set[bytes] = set()
        self._names: set[str] = set()  # of witnesses and groups
        self._members: set[str] = set()

    def add_log(self, log: Log) -> None:
        if isinstance(log.verifier, Ed25519CosignatureVerifier):
            raise Malformed("expected a log's key of type 0x01 or 0x06, one of a cosigner came")
        if log.url is not None:
            _check_word(log.url, "a URL")
        self._add_key(log.verifier, self._log_keys, self._witness_keys)

    def add_witness(self, witness: Witness) -> None:
        if isinstance(witness.verifier, Ed25519Verifier):
            raise Malformed("expected a witness's key of type 0x04 or 0x06, 0x01 came")
        if witness.url is not None:
            _check_word(witness.url, "a URL")
        self._add_name(witness.name)
        self._add_key(witness.verifier, self._witness_keys, self._log_keys)

    def add_group(self, group: Group) -> None:
        for member in group.members:
            if member not in self._names:
                raise Malformed(f"expected members defined before, {member!r} came")
            # So that a witness adds to the quorum in one way only.
            if member in self._members:
                raise Malformed(f"expected each name in one place of one group, {member!r} came again")
            self._members.add(member)
        self._add_name(group.name)
        if not 1 <= group.threshold <= len(group.members):
            raise Malformed(f"expected a threshold from 1 to {len(group.members)} members, {group.threshold} came")

    def check_quorum(self, quorum: str) -> None:
        if quorum != NO_QUORUM and quorum not in self._names:
            raise Malformed(f"expected a quorum defined before, {quorum!r} came")

    def _add_name(self, name: str) -> None:
        _check_word(name, "a name")
        if name == NO_QUORUM or name in self._names:
            raise Malformed(f"expected a name that is not taken, {name!r} came")
        self._names.add(name)

    def _add_key(self, verifier: AnyVerifier, same: set[bytes], other: set[bytes]) -> None:
        # "Duplicate if they wrap the same underlying public key", whatever the name and the type.
        if verifier.public_key in same:
            raise Malformed("expected a key that no line before has, the same public key came again")
        # The standard does not forbid it, but a log is no witness of itself.
        if verifier.public_key in other:
            raise Malformed("expected a key of its own, one public key came for a log and for a witness")
        same.add(verifier.public_key)


def _check_word(word: str, what: str) -> None:
    """So that `encode` writes what `parse` reads back."""
    if not word or _NOT_IN_A_WORD.search(word):
        raise Malformed(f"expected {what} of at least one character, no spaces, no control characters")
    try:
        same = word.encode(errors="surrogateescape").decode(errors="surrogateescape") == word
    except UnicodeEncodeError:
        same = False
    if not same:
        raise Malformed(f"expected {what} of characters that UTF-8 can hold, or of its bytes as they were read")
