"""Looking on: `forkledger audit`, `watch`, `verify` and `evidence`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ledger.cli.options import (
    AsJson,
    ChainId,
    Contract,
    DatabaseUrl,
    Genesis,
    LogId,
    LogKey,
    PolicyFile,
    bytes_of,
    places_of,
    refusals,
    value_of,
)


def audit(
    target: Annotated[
        str,
        typer.Argument(
            metavar="URL|FOLDER|FILE", help="A log's URL, a folder of its tiles, a ledger file or folder, a database."
        ),
    ],
    log_key: LogKey = "",
    policy: PolicyFile = None,
    state: Annotated[
        Path | None,
        typer.Option(
            "--state", metavar="FILE", help="Where the last checkpoint is kept.", show_default="a file for this target"
        ),
    ] = None,
    chain: Annotated[
        str, typer.Option("--chain", metavar="URL", help="JSON-RPC of a node of the chain that the log is anchored on.")
    ] = "",
    contract: Contract = "",
    chain_id: ChainId = None,
    genesis: Genesis = "",
    log_id: LogId = "",
    block: Annotated[
        str,
        typer.Option(
            "--block",
            metavar="HASH",
            help="The block to look at.",
            show_default="the newest that the node has as final",
        ),
    ] = "",
    save_anchor: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Write what the chain holds as a proof, for `forkledger verify`."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Check a whole log: every entry, signature, hash and checkpoint, and that it only grew.

    A public log is read by its URL (http, https) or from a folder of its tiles; of a database (a file, or
    postgresql://...) also payloads, columns and heads are checked. Nothing is changed. Witnesses are asked for of a
    public log only.

    With --chain also what an EVM chain holds of the log: that the newest anchored root is the log's at that size, and
    so was every one before. The node need not be trusted, save for which block is final: name it by --block.

    Ends with 0 when all holds, 1 when something does not (the last line names the first fault), 2 on wrong usage,
    3 when the log is not there, is none, or cannot be read on; the same command then goes on from where it ended. A
    clean audit keeps the newest checkpoint, so that the next one also notices a history that was rewritten
    consistently and signed again.
    """
    from ledger import note
    from ledger.commands import audit as command
    from ledger.commands import onchain, trust
    from ledger.settings import read_settings

    with value_of("--log-key"):
        pinned = note.Ed25519Verifier.from_vkey(log_key) if log_key else None
    if not chain and (contract or chain_id or genesis or log_id or block or save_anchor):
        raise typer.BadParameter("expected a node to ask", param_hint="--chain")
    beside = None
    if chain:
        beside = onchain.on_chain(
            chain,
            contract=bytes_of(contract, 20, "--contract"),
            chain_id=chain_id,
            genesis_hash=bytes_of(genesis, 32, "--genesis"),
            log_id=bytes_of(log_id, 32, "--log-id"),
            block_hash=bytes_of(block, 32, "--block"),
            save=save_anchor,
        )
    with refusals():
        with value_of("--policy"):
            accepts = trust.read_policy(policy) if policy else None
        kept_in = read_settings().state.expanduser() / "audit"
        clean = command.audit(target, pinned, accepts, state, kept_in, as_json, beside)
    raise typer.Exit(0 if clean else 1)


def watch(
    fork_id: Annotated[str, typer.Argument(metavar="FORK", help="The fork's id.")],
    log: Annotated[
        str, typer.Option("--log", metavar="URL|FOLDER|FILE", help="Where the log is read, as for `forkledger audit`.")
    ],
    log_key: LogKey = "",
    policy: PolicyFile = None,
    owner_key: Annotated[
        str,
        typer.Option(
            metavar="HEX", help="The owner's public key, or its key id.", show_default="as the fork's first entry says"
        ),
    ] = "",
    every: Annotated[
        float, typer.Option(min=0, metavar="SECONDS", help="Look again and again, so long apart.", show_default="once")
    ] = 0,
    state: Annotated[
        Path | None,
        typer.Option(
            "--state", metavar="FILE", help="What was seen last.", show_default="a file for this fork and log"
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Look after a fork: that its log only grew, its head did not go back, and its owner signed all that is new.

    Without a policy the log's signature is enough: a log could show its owner what it shows nobody else. Witnesses are
    asked for of a public log only.

    Ends with 0 when nothing is wrong, 1 with an alarm that names leaf and version, 2 on wrong usage, 3 when the log
    cannot be read or has no such fork. The first look reads the whole log, later ones what is new.
    """
    from ledger import note
    from ledger.commands import trust
    from ledger.commands import watch as command
    from ledger.settings import read_settings

    with value_of("--log-key"):
        pinned = note.Ed25519Verifier.from_vkey(log_key) if log_key else None
    try:
        owner = bytes.fromhex(owner_key) if owner_key else None
    except ValueError:
        owner = b""
    if owner is not None and len(owner) != 32:
        raise typer.BadParameter("expected 64 hex digits", param_hint="--owner-key")
    with refusals():
        kept_in = read_settings().state.expanduser() / "watch"
        with value_of("--policy"):
            accepts = trust.read_policy(policy) if policy else None
        clean = command.watch_fork(fork_id, log, pinned, accepts, owner, state, kept_in, every, as_json)
    raise typer.Exit(0 if clean else 1)


def verify(
    file: Annotated[
        Path,
        typer.Argument(
            help="Evidence of one entry, as `forkledger evidence` writes it; else a receipt (with --log), an anchor "
            "proof (--block) or a timestamp (--tsa-roots)."
        ),
    ],
    policy: Annotated[
        Path | None,
        typer.Option("--policy", metavar="POLICY", help="A tlog-policy: the logs to believe, and which witnesses."),
    ] = None,
    log_key: Annotated[
        str, typer.Option("--log-key", metavar="VKEY", help="Instead of a policy: one log, and no witness.")
    ] = "",
    log: Annotated[
        str,
        typer.Option("--log", metavar="URL|FOLDER|FILE", help="Of a receipt: the log, as for `forkledger audit`."),
    ] = "",
    receipt_key: Annotated[
        str, typer.Option(metavar="VKEY", help="Of a receipt: the log's receipt key, as its operator gave it.")
    ] = "",
    block: Annotated[
        str,
        typer.Option("--block", metavar="HASH", help="Of an anchor proof: the hash of its block, which you trust."),
    ] = "",
    anchor: Annotated[
        Path | None,
        typer.Option(
            "--anchor",
            metavar="FILE",
            help="An anchor proof of the checkpoint in the evidence.",
            show_default="its own",
        ),
    ] = None,
    contract: Contract = "",
    chain_id: ChainId = None,
    genesis: Genesis = "",
    log_id: LogId = "",
    tsa_roots: Annotated[
        Path | None,
        typer.Option(metavar="PEM", help="Of a timestamp: the authority's root certificates, which you trust."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Check evidence offline, step by step: that an entry is in the log at its place, signed by who had the right.

    With --log FILE is a receipt (the signed note alone), and the log is read: whether it kept that promise. A log that
    has another entry there, or none once a checkpoint was due, is told of; receipt and checkpoint together are then
    evidence against it. Witnesses are asked for of a public log only.

    With --block also what an EVM chain held of the log in that block: by the anchor proof in the evidence, by that in
    another file (--anchor), or alone, where FILE is one. With --tsa-roots FILE is a checkpoint that a timestamp
    authority stamped, as `/v1/log/timestamp` gives it.

    Ends with 0 when all holds, 1 when a step fails (the last line says which, where and why), 2 on wrong usage, 3 when
    a file or the log cannot be read, or a receipt is not due yet. It does not show that nothing follows the entry.
    """
    from ledger import note
    from ledger import policy as policies
    from ledger.anchor.chainproof import pin
    from ledger.commands import receipt as receipts
    from ledger.commands import timestamp as timestamps
    from ledger.commands import trust
    from ledger.commands import verify as command
    from ledger.main import microseconds

    if (policy is None) == (not log_key):
        raise typer.BadParameter("expected one of the two", param_hint="--policy or --log-key")
    if bool(log) != bool(receipt_key):
        raise typer.BadParameter("expected both for a receipt, neither for evidence", param_hint="--log, --receipt-key")
    if not block and (anchor or contract or chain_id or genesis or log_id):
        raise typer.BadParameter("expected the hash of the anchor proof's block", param_hint="--block")
    if tsa_roots and (block or log):
        raise typer.BadParameter("a timestamp has neither a block nor a log", param_hint="--tsa-roots")
    if block and log:
        raise typer.BadParameter("a receipt has no anchor proof", param_hint="--block")
    trusted = bytes_of(block, 32, "--block")
    names = {"genesis_hash": bytes_of(genesis, 32, "--genesis"), "log_id": bytes_of(log_id, 32, "--log-id")}
    at = bytes_of(contract, 20, "--contract")
    with value_of("--receipt-key"):
        pinned = note.Ed25519Verifier.from_vkey(receipt_key) if receipt_key else None
    with refusals():
        with value_of("--policy" if policy else "--log-key"):
            believed = policies.of_log(log_key) if policy is None else trust.read_policy(policy)
        if tsa_roots is not None:
            holds: bool | None = timestamps.verify_timestamp(file, believed, tsa_roots, as_json)
        elif pinned is None:
            of_chain = pin(trusted, at, chain_id=chain_id, **names) if trusted else None
            holds = command.verify(file, believed, as_json, of_chain, anchor)
        else:
            holds = receipts.verify_receipt(file, log, believed, pinned, as_json, microseconds)
    raise typer.Exit(3 if holds is None else 0 if holds else 1)


def evidence(
    fork_id: Annotated[str, typer.Argument(metavar="FORK", help="The fork's id.")],
    output: Annotated[Path, typer.Option("--output", "-o", metavar="FILE", help="Where to write it.")],
    record_id: Annotated[str, typer.Argument(metavar="[RECORD_ID]", help="The record's id, 32 hex digits.")] = "",
    version: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="Instead of a record id: the entry's version.")
    ] = None,
    data: Annotated[
        str,
        typer.Option(
            metavar="FOLDER|URL", help="The ledger's folder or its service. [FORKLEDGER_DATA, else ./forkledger-data]"
        ),
    ] = "",
    database_url: DatabaseUrl = "",
    as_tlog_proof: Annotated[
        bool, typer.Option("--tlog-proof", help="Write a C2SP .tlog-proof of the entry instead, without who signed it.")
    ] = False,
    anchor: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Put an anchor proof in it, as `audit --save-anchor` writes it.")
    ] = None,
) -> None:
    """Write the evidence of one entry to a file, for others to check with `forkledger verify`."""
    from ledger.commands import evidence as command
    from ledger.errors import Malformed
    from ledger.evidence import encode_evidence, tlog_proof
    from ledger.keys import check_fork_id
    from ledger.settings import read_settings

    of_service = data.startswith(("http://", "https://"))
    if of_service and database_url:
        raise typer.BadParameter("expected a service or a database, not both", param_hint="--data, --database-url")
    try:
        check_fork_id(fork_id)
    except Malformed as error:
        raise typer.BadParameter(str(error), param_hint="FORK") from None
    if bool(record_id) == bool(version):
        raise typer.BadParameter("expected one of the two", param_hint="RECORD_ID or --version")
    try:
        entry = bytes.fromhex(record_id) if version is None else version
    except ValueError:
        raise typer.BadParameter("expected 32 hex digits", param_hint="RECORD_ID") from None
    with refusals():
        if of_service:
            target, found = data, command.of_service(data, fork_id, entry)
        else:
            folder, _, _ = places_of(Path(data) if data else None, None)
            database_url = database_url or read_settings().database_url
            target, found = database_url or str(folder), command.of_ledger(folder, database_url, fork_id, entry)
        if anchor:
            from ledger.commands.onchain import with_anchor

            found = with_anchor(found, anchor, target)
        output.write_bytes(tlog_proof(found).encode() if as_tlog_proof else encode_evidence(found))
    typer.echo(f"{output}: evidence of leaf {found.entry.leaf_index}")
