"""ForkRegistry on a real node: nobody is registered unasked, nobody takes another's fork, a signature counts once."""

from collections.abc import Iterator
from hashlib import sha256
from typing import Any

import pytest
from eth_abi import encode as abi_encode
from eth_account import Account
from web3 import Web3

from contracts.compile import HERE, compile_all
from contracts.tests.chain import Chain, event
from contracts.tests.world import (
    ANCHORER,
    ATTEST,
    BUYER,
    OWNER,
    REGISTER,
    STRANGER,
    TRANSFER,
    World,
    fork_hash,
    world,
)
from ledger.keys import Signature, check_signature
from tests.ledger.written import ORIGIN, Writer

NOBODY = "0x" + "00" * 20
HONEST, MUTE, SHORT, LONG, OTHER, REFUSING, WRITING = range(7)


@pytest.fixture(scope="module")
def there(chain: Chain) -> World:
    return world(chain)


@pytest.fixture(scope="module")
def wallet(chain: Chain) -> Any:
    return chain.deploy(compile_all(HERE / "tests" / "Wallet.sol")["Wallet"])


@pytest.fixture
def again(chain: Chain) -> Iterator[None]:
    """Puts the chain back after the test."""
    before = chain.node.call("evm_snapshot")
    yield
    chain.node.call("evm_revert", before)


pytestmark = pytest.mark.usefixtures("again")
FORK = Writer(7)


def registered(there: World, owner: Any = OWNER) -> bytes:
    there.chain.send(there.register(there.registration(FORK, owner.address), owner))
    return there.id_of(FORK)


def transfer(there: World, to: str, key: Any, transfers: int = 0, **changes: Any) -> Any:
    """transferSigned as `key` signed it."""
    deadline = changes.pop("deadline", there.chain.now() + 60)
    fork = changes.pop("fork", there.id_of(FORK))
    message = {"chainForkId": fork, "to": to, "transfers": transfers, "deadline": deadline}
    signature = there.signed(TRANSFER, message, key, **changes)
    return there.registry.functions.transferSigned(there.id_of(FORK), to, deadline, signature)


# --- registering ---


def test_a_fork_is_registered_by_anybody_who_brings_the_three_signatures(there: World) -> None:
    given = there.registration(FORK, OWNER.address)
    receipt = there.chain.send(there.register(given), by=there.chain.people[9])
    fork = there.id_of(FORK)
    assert fork == Web3.keccak(
        abi_encode(["address", "bytes32", "bytes32"], [there.anchor.address, there.log, fork_hash(FORK)])
    )
    told = event(there.registry, receipt, "Registered")
    assert told == {
        "chainForkId": fork,
        "owner": OWNER.address,
        "logId": there.log,
        "ledgerAnchor": there.anchor.address,
        "forkIdHash": sha256(FORK.fork_id.encode()).digest(),
        "ledgerKey": FORK.key.public.raw,
        "ledgerSignature": given["ledgerSignature"],
        "attester": ANCHORER.address,
    }
    assert there.registry.functions.ownerOf(fork).call() == OWNER.address
    assert there.registry.functions.forkOf(fork).call() == [
        there.anchor.address, there.log, fork_hash(FORK), FORK.key.public.raw, OWNER.address, 0,
    ]  # fmt: skip
    # Whoever reads the event checks off chain what the chain cannot: the fork's key named this owner.
    addresses = [bytes.fromhex(each[2:]) for each in (there.registry.address, there.anchor.address, OWNER.address)]
    message = b"".join((
        b"forkledger/chain-owner/v1\x00", there.chain.id.to_bytes(32, "big"), *addresses[:2], there.log,
        told["forkIdHash"], addresses[2],
    ))  # fmt: skip
    key = FORK.key.public
    check_signature(key, Signature(key.key_id, key.algorithm, told["ledgerSignature"]), message)


def test_a_fork_is_registered_once(there: World) -> None:
    given = there.registration(FORK, OWNER.address)
    there.chain.send(there.register(given))
    for owner in (OWNER, STRANGER):
        refused = there.register(there.registration(FORK, owner.address), owner)
        assert there.chain.refusal(refused) == ("ForkExists", there.id_of(FORK))
    assert there.chain.refusal(there.register(given)) == ("ForkExists", there.id_of(FORK))


def test_a_public_fork_id_cannot_be_squatted(there: World) -> None:
    """Fork ids stand in the log. Who reads one can consent and sign with any key, not attest for the operator."""
    for squatter in (OWNER, STRANGER):
        given = there.registration(FORK, squatter.address, ledgerKey=bytes(32), ledgerSignature=bytes(64))
        for attester in (STRANGER, OWNER):
            refusal = ("NotAnchorer", there.log, attester.address.lower())
            assert there.chain.refusal(there.register(given, squatter, attester)) == refusal
    # An attestation for one owner says nothing for another.
    honest = there.registration(FORK, OWNER.address)
    attestation = there.signed(ATTEST, honest, ANCHORER)
    stolen = {**honest, "owner": STRANGER.address}
    verb = there.registry.functions.register(
        tuple(stolen.values()), there.signed(REGISTER, stolen, STRANGER), attestation
    )
    assert there.chain.refusal(verb)[0] == "NotAnchorer"


def test_an_anchorer_that_was_revoked_attests_no_more(there: World) -> None:
    there.chain.send(there.anchor.functions.setAnchorer(there.log, ANCHORER.address, False))
    refusal = ("NotAnchorer", there.log, ANCHORER.address.lower())
    assert there.chain.refusal(there.register(there.registration(FORK, OWNER.address))) == refusal


def test_nobody_becomes_an_owner_without_consent(there: World) -> None:
    given = there.registration(FORK, OWNER.address)
    assert there.chain.refusal(there.register(given, owner=STRANGER)) == ("BadSignature",)
    # The anchorer's own signature of the same fields is an attestation, and no consent.
    mine = there.registration(FORK, ANCHORER.address)
    attestation = there.signed(ATTEST, mine, ANCHORER)
    verb = there.registry.functions.register(tuple(mine.values()), attestation, attestation)
    assert there.chain.refusal(verb) == ("BadSignature",)
    nobody = there.registration(FORK, NOBODY)
    assert there.chain.refusal(there.register(nobody)) == ("BadSignature",)
    empty = there.registry.functions.register(tuple(nobody.values()), bytes(65), there.signed(ATTEST, nobody, ANCHORER))
    assert there.chain.refusal(empty) == ("BadSignature",)


@pytest.mark.parametrize("what", ["logId", "forkIdHash", "owner", "ledgerKey", "ledgerSignature", "deadline"])
def test_both_signatures_name_every_field(there: World, what: str) -> None:
    given = there.registration(FORK, OWNER.address)
    other: Any = {
        "logId": b"\x01" * 32, "forkIdHash": b"\x02" * 32, "owner": STRANGER.address, "ledgerKey": b"\x03" * 32,
        "ledgerSignature": b"\x04" * 64, "deadline": given["deadline"] + 1,
    }[what]  # fmt: skip
    changed = {**given, what: other}
    for first, second, error in ((given, changed, "BadSignature"), (changed, given, "NotAnchorer")):
        consent, attestation = there.signed(REGISTER, first, OWNER), there.signed(ATTEST, second, ANCHORER)
        verb = there.registry.functions.register(tuple(changed.values()), consent, attestation)
        assert there.chain.refusal(verb)[0] == ("NotAnchorer" if what == "logId" else error)


@pytest.mark.parametrize("domain", [{"chainId": 1}, {"verifyingContract": STRANGER.address}, {"name": "LedgerAnchor"}])
def test_a_signature_for_another_chain_or_contract_is_none(there: World, domain: dict[str, Any]) -> None:
    given = there.registration(FORK, OWNER.address)
    consent, attestation = there.signed(REGISTER, given, OWNER), there.signed(ATTEST, given, ANCHORER)
    register = there.registry.functions.register
    elsewhere = there.signed(REGISTER, given, OWNER, **domain)
    assert there.chain.refusal(register(tuple(given.values()), elsewhere, attestation)) == ("BadSignature",)
    elsewhere = there.signed(ATTEST, given, ANCHORER, **domain)
    assert there.chain.refusal(register(tuple(given.values()), consent, elsewhere))[0] == "NotAnchorer"


def test_what_was_signed_expires(there: World) -> None:
    late = there.chain.now() - 1
    assert there.chain.refusal(there.register(there.registration(FORK, OWNER.address, deadline=late))) == (
        "Expired",
        late,
    )


def test_an_ed25519_signature_has_64_bytes(there: World) -> None:
    for length in (0, 63, 65):
        given = there.registration(FORK, OWNER.address, ledgerSignature=bytes(length))
        assert there.chain.refusal(there.register(given)) == ("BadLedgerSignature", length)


def test_another_ledger_anchor_is_another_fork(there: World) -> None:
    """Anybody can deploy what calls anybody an anchorer. What it vouches for stands under its own address."""
    fake = there.chain.people[9]
    yes = "60015f5260205ff3"  # returns the word 1, whatever is asked
    there.chain.node.call("anvil_setCode", fake, "0x" + yes)
    given = there.registration(FORK, STRANGER.address, ledgerAnchor=fake)
    there.chain.send(there.register(given, STRANGER, STRANGER))
    registered(there)
    assert there.registry.functions.ownerOf(there.id_of(FORK)).call() == OWNER.address


# --- transfer ---


def test_the_owner_transfers_by_transaction(there: World) -> None:
    fork = registered(there)
    verb = there.registry.functions.transfer(fork, BUYER.address)
    for other in (BUYER.address, STRANGER.address, ANCHORER.address):
        assert there.chain.refusal(verb, by=other) == ("NotOwner", fork, other.lower())
    refused = there.registry.functions.transfer(fork, NOBODY)
    assert there.chain.refusal(refused, by=OWNER.address) == ("Missing",)
    receipt = there.chain.send(verb, by=OWNER.address)
    assert event(there.registry, receipt, "Transferred") == {
        "chainForkId": fork, "from": OWNER.address, "to": BUYER.address, "transfers": 1,
    }  # fmt: skip
    assert there.registry.functions.forkOf(fork).call()[4:] == [BUYER.address, 1]
    assert there.chain.refusal(verb, by=OWNER.address)[0] == "NotOwner"


def test_the_owner_transfers_by_signature_once(there: World) -> None:
    fork = registered(there)
    verb = transfer(there, BUYER.address, OWNER)
    there.chain.send(verb, by=STRANGER.address)
    assert there.chain.refusal(verb) == ("BadSignature",)
    # Back with the old owner, the old signature is still spent: it names how many transfers there were.
    there.chain.send(there.registry.functions.transfer(fork, OWNER.address), by=BUYER.address)
    assert there.chain.refusal(verb) == ("BadSignature",)
    there.chain.send(transfer(there, BUYER.address, OWNER, transfers=2))
    assert there.registry.functions.forkOf(fork).call()[4:] == [BUYER.address, 3]


def test_a_transfer_counts_for_what_it_names(there: World) -> None:
    registered(there)
    for verb in (
        transfer(there, BUYER.address, STRANGER),
        transfer(there, BUYER.address, BUYER),
        transfer(there, BUYER.address, OWNER, transfers=1),
        transfer(there, BUYER.address, OWNER, fork=b"\x05" * 32),
        transfer(there, BUYER.address, OWNER, chainId=1),
        transfer(there, BUYER.address, OWNER, verifyingContract=there.claims.address),
    ):
        assert there.chain.refusal(verb) == ("BadSignature",)
    late = there.chain.now() - 1
    assert there.chain.refusal(transfer(there, BUYER.address, OWNER, deadline=late)) == ("Expired", late)
    assert there.chain.refusal(transfer(there, NOBODY, OWNER)) == ("Missing",)


def test_what_is_no_fork_has_no_owner(there: World) -> None:
    absent, verbs = there.id_of(FORK), there.registry.functions
    for verb in (verbs.ownerOf(absent), verbs.transfer(absent, BUYER.address), transfer(there, BUYER.address, OWNER)):
        assert there.chain.refusal(verb) == ("NoFork", absent)


# --- owners that are contracts ---


def test_a_wallet_owns_and_transfers_as_its_own_rule_says(there: World, wallet: Any) -> None:
    there.chain.send(wallet.functions.become(OWNER.address, HONEST))
    given = there.registration(FORK, wallet.address)
    assert there.chain.refusal(there.register(given, STRANGER)) == ("BadSignature",)
    there.chain.send(there.register(given, OWNER))
    fork = there.id_of(FORK)
    assert there.registry.functions.ownerOf(fork).call() == wallet.address
    # Its key is not the owner: it signs for the wallet, and sends nothing in its own name.
    assert (
        there.chain.refusal(there.registry.functions.transfer(fork, BUYER.address), by=OWNER.address)[0] == "NotOwner"
    )
    assert there.chain.refusal(transfer(there, BUYER.address, STRANGER)) == ("BadSignature",)
    there.chain.send(transfer(there, BUYER.address, OWNER))
    there.chain.send(there.registry.functions.transfer(fork, wallet.address), by=BUYER.address)
    data = there.registry.encode_abi("transfer", [fork, BUYER.address])
    there.chain.send(wallet.functions.send(there.registry.address, data))
    assert there.registry.functions.forkOf(fork).call()[4:] == [BUYER.address, 3]


@pytest.mark.parametrize("way", [MUTE, SHORT, LONG, OTHER, REFUSING])
def test_a_wallet_says_yes_in_one_way(there: World, wallet: Any, way: int) -> None:
    there.chain.send(wallet.functions.become(OWNER.address, way))
    assert there.chain.refusal(there.register(there.registration(FORK, wallet.address))) == ("BadSignature",)


def test_a_wallet_that_is_asked_can_change_nothing(there: World, wallet: Any) -> None:
    there.chain.send(wallet.functions.become(OWNER.address, HONEST))
    there.chain.send(there.register(there.registration(FORK, wallet.address)))
    fork = there.id_of(FORK)
    data = there.registry.encode_abi("transfer", [fork, STRANGER.address])
    there.chain.send(wallet.functions.callWhenAsked(there.registry.address, bytes.fromhex(data[2:])))
    there.chain.send(wallet.functions.become(OWNER.address, WRITING))
    assert there.chain.refusal(transfer(there, BUYER.address, OWNER)) == ("BadSignature",)
    assert there.registry.functions.ownerOf(fork).call() == wallet.address


def test_an_account_that_lent_itself_code_still_signs_with_its_key(there: World, wallet: Any) -> None:
    """EIP-7702: an account with a key may have code as well, and code that knows nothing of ERC-1271."""
    lent = Account.from_key(sha256(b"lent").digest())
    there.chain.node.call("anvil_setCode", lent.address, "0xef0100" + there.anchor.address[2:])
    there.chain.send(there.register(there.registration(FORK, lent.address), lent))
    assert there.registry.functions.ownerOf(there.id_of(FORK)).call() == lent.address


def test_one_world_is_enough(there: World) -> None:
    """The fixtures put the chain back: no registration of one test is there for the next."""
    assert there.registry.functions.forkOf(there.id_of(FORK)).call()[4] == NOBODY
    assert there.anchor.functions.logs(there.log).call()[4] == Web3.keccak(text=ORIGIN)
