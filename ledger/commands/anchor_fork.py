"""`forkledger anchor register | owner`: a fork's owner on a chain, put there where the person asks for it, and read."""

from __future__ import annotations

import json
import secrets
import time
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import typer

from ledger import main
from ledger.anchor.chainproof import keccak, shipped
from ledger.anchor.evmreader import EvmReader
from ledger.anchor.place import Place
from ledger.anchor.registration import (
    CONSENT,
    PUBLIC,
    Naming,
    Reading,
    Recorded,
    chain_fork_id,
    check_registration,
    fork_id_hash,
    ledger_message,
    read_recorded,
    rights_at_head,
    sign_naming,
    typed,
)
from ledger.errors import Conflict, Refused
from ledger.keyfolder import expect_apart, make_chain_key, read_chain_key
from ledger.keys import SigningKey
from ledger.main import Anchoring
from ledger.rights import Rights

CONTRACT = "ForkRegistry"
CONSENT_HOLDS = 7 * 24 * 3600  # seconds, unless a deadline is named

ELSEWHERE = (
    "the registry is not at the address that follows from its code; whoever put it there may have written into it "
    "first what no anchorer attested"
)


@dataclass(frozen=True, slots=True)
class House:
    """Where a ledger and its keys are."""

    data: Path
    keys: Path
    database_url: str


def deploy_registry(keys: Path, wanted: Anchoring, payer_key: Path | None, plainly: bool, as_json: bool) -> None:
    """Put the contract ForkRegistry on the chain, as far as it is not there."""
    key = read_chain_key(payer_key) if payer_key else make_chain_key(keys, secrets.token_bytes)
    with closing(main.open_node(wanted.rpc, key)) as node:
        from ledger.anchor.deploy import deploy
        from ledger.anchor.evm import FORK_REGISTRY

        typer.echo(f"account that pays: {node.sender}", err=as_json)
        registry = deploy(node, wanted.highest_fee, _second, plainly, FORK_REGISTRY)
        chain_id = node.chain_id()
    if as_json:
        typer.echo(json.dumps({"registry": registry, "chain_id": chain_id}))
    else:
        typer.echo(f"registry: {registry} on chain {chain_id}")


def show_consent(house: House, fork_id: str, owner: bytes, registry: bytes | None, deadline: int | None) -> None:
    """Print what the owner's wallet is to sign. Nothing is sent."""
    place = main.read_anchor_place(house.data)
    naming = _naming(place, fork_id, owner, registry)
    registration = sign_naming(naming, _key_of(house, fork_id), deadline or main.seconds() + CONSENT_HOLDS)
    check_registration(registration, fork_id, _rights(house, fork_id))
    typer.echo(PUBLIC, err=True)
    typer.echo(f"register with --deadline {registration.deadline} and the wallet's signature as --consent", err=True)
    typer.echo(json.dumps(typed(CONSENT, registration), indent=2))


def register(
    house: House,
    wanted: Anchoring,
    fork_id: str,
    owner: bytes,
    registry: bytes | None,
    consent: bytes,
    deadline: int,
    for_good: bool,
    as_json: bool,
) -> None:
    """Sign with the fork's key, attest with the anchoring key, and send both with the owner's consent."""
    typer.echo(PUBLIC, err=True)
    if not for_good:
        raise Refused("chain owner: expected --public-for-good; nothing was sent")
    place = main.read_anchor_place(house.data)
    naming = _naming(place, fork_id, owner, registry)
    registration = sign_naming(naming, _key_of(house, fork_id), deadline)
    with closing(main.open_node(wanted.rpc, read_chain_key(wanted.key))) as node:
        from ledger.anchor import forkregistry

        genesis = node.block(0)
        _expect_chain(place, node.chain_id(), genesis.hash if genesis else b"")
        attestation = forkregistry.attest(node, registration, fork_id, _rights(house, fork_id))
        sent = forkregistry.register(node, registration, consent, attestation, wanted.highest_fee, _second)
    if as_json:
        said = {"chain_fork_id": naming.chain_fork_id, "owner": naming.owner, "transaction": sent.transaction}
        typer.echo(json.dumps({**{name: _hex(value) for name, value in said.items()}, "block": sent.block}))
    else:
        typer.echo(f"owner: {_hex(naming.owner)} of chain fork id {_hex(naming.chain_fork_id)}")
        typer.echo(f"found under: {_hex(sent.transaction)} in block {sent.block}")


def owner(house: House, rpc: str, fork_id: str, registry: bytes | None, as_json: bool) -> bool:
    """Print who owns the fork on the chain, and what that is worth beside the ledger. False where it is false."""
    place = main.read_anchor_place(house.data)
    contract = shipped(CONTRACT)
    with closing(EvmReader(rpc)) as node:
        _expect_chain(place, node.chain_id(), node.block("0x0").block.hash)
        head = node.block("latest")
        at = registry or contract.contract
        if keccak(node.code(at, head)) != contract.code_hash:
            raise Conflict(f"contract at {_hex(at)}: expected the code of {CONTRACT}, other code or none stands there")
        wanted = chain_fork_id(place.contract, place.log_id, fork_id_hash(fork_id))
        recorded = node.recorded(at, place.chain_id, wanted, head)
    reading, why = read_recorded(recorded, _rights(house, fork_id))
    if as_json:
        typer.echo(json.dumps(_json(reading, why, recorded, head.block.number), indent=2))
    else:
        for name, value in _rows(reading, why, recorded, head.block.number):
            typer.echo(f"{name:16} {value}")
        typer.echo(PUBLIC)
    if at != contract.contract:
        typer.echo(ELSEWHERE, err=as_json)
    return reading is not Reading.FALSE


def _naming(place: Place, fork_id: str, owner: bytes, registry: bytes | None) -> Naming:
    to = registry or shipped(CONTRACT).contract
    return Naming(place.chain_id, to, place.contract, place.log_id, fork_id_hash(fork_id), owner)


def _key_of(house: House, fork_id: str) -> SigningKey:
    expect_apart(house.keys, house.data)
    with closing(main.open_keystore(house.data / main.KEYSTORE_FILE, house.keys)) as keystore:
        return keystore.fork_keys(fork_id).owner


def _rights(house: House, fork_id: str) -> Rights:
    ledger = main.open_log_reader(house.data, house.database_url)
    with closing(ledger.store):
        return rights_at_head(ledger.origin, fork_id, (entry for _, entry in ledger.read(fork_id)))


def _expect_chain(place: Place, chain_id: int, genesis: bytes) -> None:
    if (chain_id, genesis) != (place.chain_id, place.genesis):
        raise Conflict(
            f"chain node: expected chain {place.chain_id} with genesis {place.genesis.hex()}, "
            f"it is on {chain_id} with {genesis.hex() or 'none'}"
        )


def _rows(reading: Reading, why: str, recorded: Recorded, block: int) -> list[tuple[str, str]]:
    rows = [
        ("owner", f"{_hex(recorded.owner)}, in block {block}"),
        ("reads as", f"{reading}: {why}"),
        ("registered for", _hex(recorded.naming.owner)),
        ("found under", f"{_hex(recorded.transaction)} in block {recorded.block}"),
        ("attested by", _hex(recorded.attester)),
        ("transfers", str(recorded.transfers)),
        ("chain fork id", _hex(recorded.naming.chain_fork_id)),
    ]
    if reading is Reading.FALSE:
        rows += [
            (
                "evidence",
                "against the operator, whose anchorer attested what does not hold, if another node shows it too:",
            ),
            ("  ledger key", _hex(recorded.ledger_key)),
            ("  signature", _hex(recorded.ledger_signature)),
            ("  message", _hex(ledger_message(recorded.naming))),
        ]
    return rows


def _json(reading: Reading, why: str, recorded: Recorded, block: int) -> dict[str, object]:
    """All that whoever checks it again needs."""
    said = {
        "owner": recorded.owner,
        "first_owner": recorded.naming.owner,
        "registry": recorded.naming.registry,
        "chain_fork_id": recorded.naming.chain_fork_id,
        "attester": recorded.attester,
        "transaction": recorded.transaction,
        "ledger_key": recorded.ledger_key,
        "ledger_signature": recorded.ledger_signature,
        "message": ledger_message(recorded.naming),
    }
    return {
        "reading": reading.value,
        "why": why,
        **{name: _hex(value) for name, value in said.items()},
        "transfers": recorded.transfers,
        "block": recorded.block,
        "as_of_block": block,
    }


def _hex(value: bytes) -> str:
    return f"0x{value.hex()}"


def _second() -> None:
    time.sleep(1)
