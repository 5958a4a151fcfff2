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
from typing import Annotated

import typer

from ledger import __version__

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

Data = Annotated[Path | None, typer.Option(help="Folder of the ledger. [FORKLEDGER_DATA, else ./forkledger-data]")]
Keys = Annotated[Path | None, typer.Option(help="Folder of the operator's keys, outside the data folder. "
                                                "[FORKLEDGER_KEYS, else ./forkledger-keys]")]  # fmt: skip
DatabaseUrl = Annotated[
    str,
    typer.Option(help="postgresql://… of the ledger; else it is a file in the data folder. [FORKLEDGER_DATABASE_URL]"),
]
Origin = Annotated[str, typer.Option(help="The log's name, when its keys are made.")]
WitnessData = Annotated[
    Path, typer.Option(help="Folder of what the witness must never forget: leave it out of backups.")
]
WitnessKeys = Annotated[Path, typer.Option(help="Folder of the witness's keys, outside the data folder.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, for machines.")]


@contextmanager
def _refusals() -> Iterator[None]:
    """What could not be done is one line on standard error and exit code 3."""
    from ledger.errors import LedgerError

    try:
        yield
    except (LedgerError, OSError) as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(3) from None


def _places(data: Path | None, keys: Path | None, origin: str = "") -> tuple[Path, Path, str]:
    from ledger.settings import Settings

    settings = Settings()
    return data or settings.data, keys or settings.keys, origin or settings.origin


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
        typer.Option("--state", metavar="FILE", help="Where the last checkpoint is kept. [a file for this target]"),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Check a whole log: every entry, signature, hash and checkpoint, and that it only grew.

    A public log is read by its URL (http, https) or from a folder of its tiles; of a database (a file, or
    postgresql://...) also payloads, columns and heads are checked. Nothing is changed. Witnesses are asked for of a
    public log only.

    Ends with 0 when all holds, 1 when something does not (the last line names the first fault), 2 on wrong usage,
    3 when the log is not there, is none, or cannot be read on; the same command then goes on from where it ended. A
    clean audit keeps the newest checkpoint, so that the next one also notices a history that was rewritten
    consistently and signed again.
    """
    from ledger import note
    from ledger.commands import audit as command
    from ledger.commands import trust
    from ledger.errors import LedgerError
    from ledger.settings import Settings

    try:
        pinned = note.Ed25519Verifier.from_vkey(log_key) if log_key else None
    except LedgerError as error:
        raise typer.BadParameter(str(error), param_hint="--log-key") from None
    with _refusals():
        try:
            accepts = trust.read_policy(policy) if policy else None
        except LedgerError as error:
            raise typer.BadParameter(str(error), param_hint="--policy") from None
        clean = command.audit(target, pinned, accepts, state, Settings().state.expanduser() / "audit", as_json)
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
        str, typer.Option(metavar="HEX", help="The owner's public key, or its key id. [as the fork's first entry says]")
    ] = "",
    every: Annotated[
        float, typer.Option(min=0, metavar="SECONDS", help="Look again and again, so long apart. [once]")
    ] = 0,
    state: Annotated[
        Path | None,
        typer.Option("--state", metavar="FILE", help="What was seen last. [a file for this fork and log]"),
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
        Path, typer.Argument(help="Evidence of one entry, as `forkledger evidence` writes it; with --log, a receipt.")
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
    as_json: AsJson = False,
) -> None:
    """Check evidence offline, step by step: that an entry is in the log at its place, signed by who had the right.

    With --log FILE is a receipt (the signed note alone), and the log is read: whether it kept that promise. A log that
    has another entry there, or none once a checkpoint was due, is told of; receipt and checkpoint together are then
    evidence against it. Witnesses are asked for of a public log only.

    Ends with 0 when all holds, 1 when a step fails (the last line says which, where and why), 2 on wrong usage, 3 when
    a file or the log cannot be read, or a receipt is not due yet. It does not show that nothing follows the entry.
    """
    from ledger import note
    from ledger.commands import receipt as receipts
    from ledger.commands import trust
    from ledger.commands import verify as command
    from ledger.errors import LedgerError
    from ledger.main import microseconds

    if (policy is None) == (not log_key):
        raise typer.BadParameter("expected one of the two", param_hint="--policy or --log-key")
    if bool(log) != bool(receipt_key):
        raise typer.BadParameter("expected both for a receipt, neither for evidence", param_hint="--log, --receipt-key")
    try:
        pinned = note.Ed25519Verifier.from_vkey(receipt_key) if receipt_key else None
    except LedgerError as error:
        raise typer.BadParameter(str(error), param_hint="--receipt-key") from None
    with _refusals():
        try:
            believed = command.policy_of_log(log_key) if policy is None else trust.read_policy(policy)
        except LedgerError as error:
            raise typer.BadParameter(str(error), param_hint="--policy" if policy else "--log-key") from None
        if pinned is None:
            holds: bool | None = command.verify(file, believed, as_json)
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
            found = command.of_service(data, fork_id, entry)
        else:
            folder, _, _ = _places(Path(data) if data else None, None)
            found = command.of_ledger(folder, database_url or Settings().database_url, fork_id, entry)
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
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port to listen on.")] = 8000,
) -> None:
    """Serve the ledger over HTTP, with forks and chat where the extra `forks` is installed."""
    from ledger import policy as policies
    from ledger.commands import serve as command
    from ledger.settings import Settings

    settings = Settings()
    with _refusals():
        file = policy or settings.policy
        rules = policies.parse(file.read_bytes()) if file else None
        command.serve(*_places(data, keys, origin), database_url or settings.database_url, rules, host, port)


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
