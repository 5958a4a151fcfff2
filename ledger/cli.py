"""The command `forkledger`. Other packages add commands through the entry points `forkledger.commands`.

Exit codes:
    0  done; a check that was asked for holds
    1  a check failed: something is not what was signed, logged or promised
    2  wrong usage: unknown command or option, bad value
    3  could not be done: not found, refused, unreachable, or an extra is not installed

Nothing heavy is imported here: a command imports what it needs when it runs.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import entry_points
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ledger import __version__

if TYPE_CHECKING:
    from ledger.commands.anchor_fork import House
    from ledger.main import Anchoring

app = typer.Typer(
    name="forkledger",
    help="A ledger of everything a personal model has learned: signed, encrypted, chained and provable.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)

keys_app = typer.Typer(help="The operator's keys, and the API keys of apps.", no_args_is_help=True)
app.add_typer(keys_app, name="keys")

witness_app = typer.Typer(help="A witness: cosigns the checkpoints of logs that only grow.", no_args_is_help=True)
app.add_typer(witness_app, name="witness")

anchor_app = typer.Typer(
    help="Checkpoints on an EVM chain, where nobody can take one back, or stamped by an authority.",
    no_args_is_help=True,
)
app.add_typer(anchor_app, name="anchor")

Data = Annotated[Path | None, typer.Option(help="Folder of the ledger. [FORKLEDGER_DATA, else ./forkledger-data]")]
Keys = Annotated[Path | None, typer.Option(help="Folder of the operator's keys, outside the data folder. "
                                                "[FORKLEDGER_KEYS, else ./forkledger-keys]")]  # fmt: skip
DatabaseUrl = Annotated[
    str,
    typer.Option(help="postgresql://… of the ledger; else it is a file in the data folder. [FORKLEDGER_DATABASE_URL]"),
]
Origin = Annotated[str, typer.Option(help="The log's name, when its keys are made.")]
ChainRpc = Annotated[
    str, typer.Option(metavar="URL", help="JSON-RPC of a node of the chain to anchor on. [FORKLEDGER_CHAIN_RPC]")
]
Tsa = Annotated[
    str, typer.Option(metavar="URL", help="An RFC 3161 timestamp authority that stamps checkpoints. [FORKLEDGER_TSA]")
]
WitnessData = Annotated[
    Path, typer.Option(help="Folder of what the witness must never forget: leave it out of backups.")
]
WitnessKeys = Annotated[Path, typer.Option(help="Folder of the witness's keys, outside the data folder.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, for machines.")]
Contract = Annotated[
    str,
    typer.Option(
        "--contract", metavar="ADDRESS", help="The contract on the chain.", show_default="where its code puts it"
    ),
]
ChainId = Annotated[
    int | None, typer.Option("--chain-id", min=1, metavar="N", help="The chain's id.", show_default="any")
]
Genesis = Annotated[
    str, typer.Option("--genesis", metavar="HASH", help="The hash of the chain's block 0.", show_default="any")
]
LogId = Annotated[
    str,
    typer.Option(
        "--log-id", metavar="HASH", help="The log's id in the contract.", show_default="any with its name and key"
    ),
]
Registry = Annotated[
    str,
    typer.Option(
        "--registry", metavar="ADDRESS", help="The contract ForkRegistry.", show_default="where its code puts it"
    ),
]


@contextmanager
def _refusals() -> Iterator[None]:
    """What could not be done is one line on standard error and exit code 3."""
    import sqlite3

    from ledger.errors import LedgerError

    try:
        yield
    except (LedgerError, OSError) as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(3) from None
    except sqlite3.DatabaseError as error:  # a file that opened and is damaged further in
        typer.echo(f"SQLite cannot read on ({error}); `forkledger audit FILE` says what is wrong", err=True)
        raise typer.Exit(3) from None


def _bytes_of(given: str, size: int | None, option: str) -> bytes | None:
    """What an option says in hex, with or without 0x; None where it was left out."""
    try:
        found = bytes.fromhex(given.removeprefix("0x"))
    except ValueError:
        found = b""
    if given and (not found or size not in (None, len(found))):
        raise typer.BadParameter(f"expected {2 * size if size else 'pairs of'} hex digits", param_hint=option)
    return found or None


def _places(data: Path | None, keys: Path | None, origin: str = "") -> tuple[Path, Path, str]:
    from ledger.settings import Settings

    settings = Settings()
    return data or settings.data, keys or settings.keys, origin or settings.origin


def _anchoring(keys: Path, rpc: str, tsa: str = "") -> Anchoring:
    from ledger.keyfolder import CHAIN_KEY
    from ledger.main import Anchoring
    from ledger.settings import Settings

    settings = Settings()
    return Anchoring(
        rpc=rpc or settings.chain_rpc,
        key=keys / CHAIN_KEY,
        highest_fee=int(settings.chain_max_fee * 10**9),
        tsa=tsa or settings.tsa,
        tsa_roots=settings.tsa_roots,
        every=settings.anchor_every,
    )


def _house(data: Path | None, keys: Path | None, database_url: str, rpc: str) -> tuple[House, Anchoring]:
    from ledger.commands.anchor_fork import House
    from ledger.settings import Settings

    data, keys, _ = _places(data, keys)
    return House(data, keys, database_url or Settings().database_url), _anchoring(keys, rpc)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"forkledger {__version__}")
        raise typer.Exit


@app.callback()
def _forkledger(
    version: bool = typer.Option(
        False, "--version", callback=_print_version, is_eager=True, help="Print the version and exit."
    ),
) -> None:
    pass


@app.command()
def audit(
    target: Annotated[
        str,
        typer.Argument(
            metavar="URL|FOLDER|FILE", help="A log's URL, a folder of its tiles, a ledger file or folder, a database."
        ),
    ],
    log_key: Annotated[
        str, typer.Option("--log-key", metavar="VKEY", help="The log's public key, as its operator gave it.")
    ] = "",
    policy: Annotated[
        Path | None,
        typer.Option("--policy", metavar="FILE", help="A tlog-policy: the log's key, and which witnesses must cosign."),
    ] = None,
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
    from ledger.errors import LedgerError
    from ledger.settings import Settings

    try:
        pinned = note.Ed25519Verifier.from_vkey(log_key) if log_key else None
    except LedgerError as error:
        raise typer.BadParameter(str(error), param_hint="--log-key") from None
    if not chain and (contract or chain_id or genesis or log_id or block or save_anchor):
        raise typer.BadParameter("expected a node to ask", param_hint="--chain")
    beside = None
    if chain:
        beside = onchain.on_chain(
            chain,
            contract=_bytes_of(contract, 20, "--contract"),
            chain_id=chain_id,
            genesis_hash=_bytes_of(genesis, 32, "--genesis"),
            log_id=_bytes_of(log_id, 32, "--log-id"),
            block_hash=_bytes_of(block, 32, "--block"),
            save=save_anchor,
        )
    with _refusals():
        try:
            accepts = trust.read_policy(policy) if policy else None
        except LedgerError as error:
            raise typer.BadParameter(str(error), param_hint="--policy") from None
        kept_in = Settings().state.expanduser() / "audit"
        clean = command.audit(target, pinned, accepts, state, kept_in, as_json, beside)
    raise typer.Exit(0 if clean else 1)


@app.command()
def watch(
    fork_id: Annotated[str, typer.Argument(metavar="FORK", help="The fork's id.")],
    log: Annotated[
        str, typer.Option("--log", metavar="URL|FOLDER|FILE", help="Where the log is read, as for `forkledger audit`.")
    ],
    log_key: Annotated[
        str, typer.Option("--log-key", metavar="VKEY", help="The log's public key, as its operator gave it.")
    ] = "",
    policy: Annotated[
        Path | None,
        typer.Option("--policy", metavar="FILE", help="A tlog-policy: the log's key, and which witnesses must cosign."),
    ] = None,
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
    from ledger.errors import LedgerError
    from ledger.settings import Settings

    try:
        pinned = note.Ed25519Verifier.from_vkey(log_key) if log_key else None
    except LedgerError as error:
        raise typer.BadParameter(str(error), param_hint="--log-key") from None
    try:
        owner = bytes.fromhex(owner_key) if owner_key else None
    except ValueError:
        owner = b""
    if owner is not None and len(owner) != 32:
        raise typer.BadParameter("expected 64 hex digits", param_hint="--owner-key")
    kept_in = Settings().state.expanduser() / "watch"
    with _refusals():
        try:
            accepts = trust.read_policy(policy) if policy else None
        except LedgerError as error:
            raise typer.BadParameter(str(error), param_hint="--policy") from None
        clean = command.watch_fork(fork_id, log, pinned, accepts, owner, state, kept_in, every, as_json)
    raise typer.Exit(0 if clean else 1)


@app.command()
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
    from ledger.anchor.chainproof import pin
    from ledger.commands import receipt as receipts
    from ledger.commands import timestamp as timestamps
    from ledger.commands import trust
    from ledger.commands import verify as command
    from ledger.errors import LedgerError
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
    trusted = _bytes_of(block, 32, "--block")
    names = {"genesis_hash": _bytes_of(genesis, 32, "--genesis"), "log_id": _bytes_of(log_id, 32, "--log-id")}
    at = _bytes_of(contract, 20, "--contract")
    try:
        pinned = note.Ed25519Verifier.from_vkey(receipt_key) if receipt_key else None
    except LedgerError as error:
        raise typer.BadParameter(str(error), param_hint="--receipt-key") from None
    with _refusals():
        try:
            believed = command.policy_of_log(log_key) if policy is None else trust.read_policy(policy)
        except LedgerError as error:
            raise typer.BadParameter(str(error), param_hint="--policy" if policy else "--log-key") from None
        if tsa_roots is not None:
            holds: bool | None = timestamps.verify_timestamp(file, believed, tsa_roots, as_json)
        elif pinned is None:
            of_chain = pin(trusted, at, chain_id=chain_id, **names) if trusted else None
            holds = command.verify(file, believed, as_json, of_chain, anchor)
        else:
            holds = receipts.verify_receipt(file, log, believed, pinned, as_json, microseconds)
    raise typer.Exit(3 if holds is None else 0 if holds else 1)


@app.command()
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
    from ledger.settings import Settings

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
    with _refusals():
        if of_service:
            target, found = data, command.of_service(data, fork_id, entry)
        else:
            folder, _, _ = _places(Path(data) if data else None, None)
            database_url = database_url or Settings().database_url
            target, found = database_url or str(folder), command.of_ledger(folder, database_url, fork_id, entry)
        if anchor:
            from ledger.commands.onchain import with_anchor

            found = with_anchor(found, anchor, target)
        output.write_bytes(tlog_proof(found).encode() if as_tlog_proof else encode_evidence(found))
    typer.echo(f"{output}: evidence of leaf {found.entry.leaf_index}")


@app.command()
def serve(
    data: Data = None,
    keys: Keys = None,
    origin: Origin = "",
    database_url: DatabaseUrl = "",
    policy: Annotated[
        Path | None,
        typer.Option(
            help="A C2SP tlog-policy: its witnesses are asked to cosign, its quorum before publishing. "
            "[FORKLEDGER_POLICY]"
        ),
    ] = None,
    chain_rpc: ChainRpc = "",
    tsa: Tsa = "",
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port to listen on.")] = 8000,
) -> None:
    """Serve the ledger over HTTP, with forks and chat where the extra `forks` is installed.

    With a chain or a timestamp authority, what is published is anchored there while it serves.
    """
    from ledger import policy as policies
    from ledger.commands import serve as command
    from ledger.settings import Settings

    settings = Settings()
    with _refusals():
        file = policy or settings.policy
        rules = policies.parse(file.read_bytes()) if file else None
        places = _places(data, keys, origin)
        anchoring = _anchoring(places[1], chain_rpc, tsa)
        command.serve(*places, database_url or settings.database_url, rules, anchoring, host, port)


@keys_app.command("show")
def keys_show(data: Data = None, keys: Keys = None, origin: Origin = "", as_json: AsJson = False) -> None:
    """Print the public keys to pin; makes the keys when there are none."""
    from ledger.commands import keys as command

    with _refusals():
        command.show(*_places(data, keys, origin), as_json)


@keys_app.command("add-app")
def keys_add_app(
    name: Annotated[str, typer.Argument(help="What to call the app.")],
    data: Data = None,
    keys: Keys = None,
    origin: Origin = "",
    as_json: AsJson = False,
) -> None:
    """Let an app call: prints its API key, once."""
    from ledger.commands import keys as command

    with _refusals():
        command.add_app(*_places(data, keys, origin), name, as_json)


@keys_app.command("apps")
def keys_apps(data: Data = None, keys: Keys = None, as_json: AsJson = False) -> None:
    """List the apps that may call."""
    from ledger.commands import keys as command

    with _refusals():
        command.list_apps(*_places(data, keys), as_json)


@keys_app.command("remove-app")
def keys_remove_app(
    app_id: Annotated[str, typer.Argument(help="As `keys apps` lists it.")], data: Data = None, keys: Keys = None
) -> None:
    """Close the service to an app; its forks stay."""
    from ledger.commands import keys as command

    with _refusals():
        command.remove_app(*_places(data, keys), app_id)


@anchor_app.command("deploy")
def anchor_deploy(
    data: Data = None,
    keys: Keys = None,
    chain_rpc: ChainRpc = "",
    admin_key: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="The key of who may say later who anchors: keep it offline.",
            show_default="the anchoring key itself",
        ),
    ] = None,
    plainly: Annotated[
        bool, typer.Option(help="Without the CREATE2 factory, where a chain has none: at an address of its own.")
    ] = False,
    registry: Annotated[
        bool, typer.Option("--registry", help="Another contract instead: ForkRegistry, which `anchor register` needs.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Put the contract on a chain, create this log in it, and note both in the data folder as anchor.json.

    Makes keys/anchor.key when there is none, and prints its account, which needs funds. What is done already is not
    done again.
    """
    from ledger.commands import anchor as command

    with _refusals():
        data, keys, _ = _places(data, keys)
        if registry:
            from ledger.commands import anchor_fork

            anchor_fork.deploy_registry(keys, _anchoring(keys, chain_rpc), admin_key, plainly, as_json)
            return
        command.deploy(data, keys, _anchoring(keys, chain_rpc), admin_key, plainly, as_json)


@anchor_app.command("run")
def anchor_run(
    data: Data = None,
    keys: Keys = None,
    database_url: DatabaseUrl = "",
    chain_rpc: ChainRpc = "",
    tsa: Tsa = "",
    once: Annotated[bool, typer.Option(help="One turn, and end.")] = False,
    resume: Annotated[bool, typer.Option(help="Go on after a halt, whose cause somebody has looked into.")] = False,
) -> None:
    """Anchor what the service publishes, in a process of its own, until it is told to stop.

    Ends with 1 when it halts: the chain and this log contradict each other, or the chain refuses what it should not.
    """
    from ledger.commands import anchor as command
    from ledger.settings import Settings

    with _refusals():
        data, keys, _ = _places(data, keys)
        wanted = _anchoring(keys, chain_rpc, tsa)
        goes_on = command.run(data, database_url or Settings().database_url, wanted, once, resume)
    raise typer.Exit(0 if goes_on else 1)


@anchor_app.command("status")
def anchor_status(
    data: Data = None,
    keys: Keys = None,
    database_url: DatabaseUrl = "",
    chain_rpc: ChainRpc = "",
    as_json: AsJson = False,
) -> None:
    """Last checkpoint, last anchor, lag, cost so far, halted and why. Sends nothing. Ends with 1 when halted."""
    from ledger.commands import anchor as command
    from ledger.settings import Settings

    with _refusals():
        data, keys, _ = _places(data, keys)
        wanted = _anchoring(keys, chain_rpc)
        goes_on = command.status(data, database_url or Settings().database_url, wanted, as_json)
    raise typer.Exit(0 if goes_on else 1)


@anchor_app.command("register")
def anchor_register(
    fork: Annotated[str, typer.Argument(metavar="FORK", help="The id of a fork in service custody.")],
    owner: Annotated[str, typer.Option(metavar="ADDRESS", help="Who is to own it on the chain.")],
    registry: Registry = "",
    wants_consent: Annotated[
        bool, typer.Option("--show-consent", help="Print what the owner's wallet signs (EIP-712), and send nothing.")
    ] = False,
    deadline: Annotated[
        int | None,
        typer.Option(
            min=1, metavar="SECONDS", help="Since 1970: until when what is signed counts.", show_default="in a week"
        ),
    ] = None,
    consent: Annotated[
        str, typer.Option(metavar="HEX", help="The owner's signature of what --show-consent prints.")
    ] = "",
    for_good: Annotated[bool, typer.Option("--public-for-good", help="Send it. Nobody can ever take it back.")] = False,
    data: Data = None,
    keys: Keys = None,
    database_url: DatabaseUrl = "",
    chain_rpc: ChainRpc = "",
    as_json: AsJson = False,
) -> None:
    """Name a fork's owner on the chain that this log is anchored on. PUBLIC FOR GOOD, and only as the person asks.

    First with --show-consent, for the owner's wallet to sign (eth_signTypedData_v4); then with that signature as
    --consent, the same --deadline, and --public-for-good. The fork's key signs, the anchoring key attests and pays.
    """
    from ledger.commands import anchor_fork as command

    to = _bytes_of(owner, 20, "--owner")
    if to is None:
        raise typer.BadParameter("expected 40 hex digits", param_hint="--owner")
    at = _bytes_of(registry, 20, "--registry")
    signed = _bytes_of(consent, None, "--consent")
    with _refusals():
        house, wanted = _house(data, keys, database_url, chain_rpc)
        if wants_consent:
            command.show_consent(house, fork, to, at, deadline)
            return
        if signed is None or deadline is None:
            raise typer.BadParameter("expected with the --deadline that the owner signed", param_hint="--consent")
        command.register(house, wanted, fork, to, at, signed, deadline, for_good, as_json)


@anchor_app.command("owner")
def anchor_owner(
    fork: Annotated[str, typer.Argument(metavar="FORK", help="The fork's id.")],
    registry: Registry = "",
    data: Data = None,
    keys: Keys = None,
    database_url: DatabaseUrl = "",
    chain_rpc: ChainRpc = "",
    as_json: AsJson = False,
) -> None:
    """Who owns a fork on the chain: registered, pending, or false. Sends nothing. Ends with 1 when false.

    The ledger decides who may sign for a fork: what the chain says beside it is pending. False is what the fork's
    key never signed, and an anchorer attested: evidence against the operator.
    """
    from ledger.commands import anchor_fork as command

    at = _bytes_of(registry, 20, "--registry")
    with _refusals():
        house, wanted = _house(data, keys, database_url, chain_rpc)
        holds = command.owner(house, wanted.rpc, fork, at, as_json)
    raise typer.Exit(0 if holds else 1)


@witness_app.command("serve")
def witness_serve(
    data: WitnessData = Path("forkledger-witness"),
    keys: WitnessKeys = Path("forkledger-witness-keys"),
    name: Annotated[str, typer.Option(help="The witness's name, when its keys are made.")] = "",
    log: Annotated[
        list[str] | None, typer.Option(metavar="VKEY", help="The public key of a log to cosign for; may be repeated.")
    ] = None,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port to listen on.")] = 8001,
) -> None:
    """Serve a witness over HTTP, as c2sp.org/tlog-witness has it."""
    from ledger.commands import witness as command

    with _refusals():
        command.serve(data, keys, name, log or [], host, port)


@witness_app.command("keys")
def witness_keys(
    data: WitnessData = Path("forkledger-witness"),
    keys: WitnessKeys = Path("forkledger-witness-keys"),
    name: Annotated[str, typer.Option(help="The witness's name, when its keys are made.")] = "",
    as_json: AsJson = False,
) -> None:
    """Print the public keys to pin; makes the keys when there are none."""
    from ledger.commands import witness as command

    with _refusals():
        command.show_keys(data, keys, name, as_json)


@witness_app.command("add-log")
def witness_add_log(
    vkey: Annotated[str, typer.Argument(help="The log's public key, as its operator gave it.")],
    data: WitnessData = Path("forkledger-witness"),
    keys: WitnessKeys = Path("forkledger-witness-keys"),
) -> None:
    """Cosign for a log from now on, also by a server that runs already."""
    from ledger.commands import witness as command

    with _refusals():
        command.add_log(data, keys, vkey)


@witness_app.command("alarms")
def witness_alarms(data: WitnessData = Path("forkledger-witness"), as_json: AsJson = False) -> None:
    """Print the evidence against logs. Ends with 1 when there is a split view among it."""
    from ledger.commands import witness as command

    with _refusals():
        clean = command.show_alarms(data, as_json)
    raise typer.Exit(0 if clean else 1)


def main() -> None:
    """Run the command line, with the commands that installed packages add to it."""
    for entry_point in sorted(entry_points(group="forkledger.commands"), key=lambda found: found.name):
        entry_point.load()(app)
    app()
