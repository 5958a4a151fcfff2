"""An EVM node over JSON-RPC: the only module that knows web3.

Nothing is retried here: a lost answer is found again by what the chain says (`ledger.anchor.outbox`). Messages hold
neither the key nor the node's URL, which may carry a token.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import resources
from typing import Any, TypeVar

from eth_account import Account
from eth_account.typed_transactions import TypedTransaction
from eth_utils.abi import abi_to_signature, event_abi_to_log_topic, get_abi_input_types, get_abi_output_types
from hexbytes import HexBytes
from web3 import Web3

from ledger.anchor.chain import Block, Fees, Held, Identity, Receipt, Sender, Signed
from ledger.anchor.exchange import Exchange
from ledger.errors import ChainRefused, LedgerError, Malformed, NoFunds, Refused, Unavailable

# py_ecc, which comes with web3, lifts Python's bound on recursion for the whole process. Set back to Python's own: else
# anybody who sends a service JSON that is nested deeply enough ends it.
sys.setrecursionlimit(min(sys.getrecursionlimit(), 1000))


@dataclass(frozen=True, slots=True)
class Artifact:
    """A contract as it ships with this package."""

    name: str
    address: str  # where the CREATE2 factory puts it, on every chain
    code_hash: bytes  # 32
    creation: bytes
    abi: Sequence[dict[str, Any]] = field(repr=False)


def _shipped(name: str) -> Artifact:
    told = json.loads(resources.files("ledger.anchor").joinpath(f"{name}.json").read_text())
    raw = {field: bytes.fromhex(told[field][2:]) for field in ("codeHash", "bytecode")}
    return Artifact(name, told["address"], raw["codeHash"], raw["bytecode"], told["abi"])


LEDGER_ANCHOR, FORK_REGISTRY = _shipped("LedgerAnchor"), _shipped("ForkRegistry")
CODE_HASH, ADDRESS = LEDGER_ANCHOR.code_hash, LEDGER_ANCHOR.address

_ABI = {(each["type"], each["name"]): each for each in LEDGER_ANCHOR.abi if "name" in each}
_ERRORS = {
    Web3.keccak(text=abi_to_signature(abi))[:4]: abi
    for abi in (*LEDGER_ANCHOR.abi, *FORK_REGISTRY.abi)
    if abi["type"] == "error"
}
_ANCHORED = event_abi_to_log_topic(_ABI["event", "Anchored"])
_CONTRACTS = {each.name: Web3().eth.contract(abi=each.abi) for each in (LEDGER_ANCHOR, FORK_REGISTRY)}
_CODEC = Web3().codec
_MAY = 1  # contracts/src/LedgerAnchor.sol, anchorers

# Nodes say the same in different words; an error's code is no help. geth, anvil, Erigon, Nethermind, Besu, Reth.
_KNOWN = ("already known", "already imported", "alreadyknown", "known transaction", "already in pool", "already exists")
_PASSED = ("nonce too low", "oldnonce", "nonce is too low")
_NO_FUNDS = ("insufficient funds", "insufficientfunds", "insufficient balance", "upfront cost exceeds")

_CURVE_ORDER = 0xFFFFFFFF_FFFFFFFF_FFFFFFFF_FFFFFFFE_BAAEDCE6_AF48A03B_BFD25E8C_D0364141
_LONGEST_SAYING = 200  # of a node's own words in a message of ours
_LONGEST_ANSWER = 4 << 20  # bytes: a block with the hashes of its transactions, or a contract's code

_T = TypeVar("_T")


class EvmNode:
    """A node, and the key of an account there. `timeout` in seconds, for each whole answer."""

    def __init__(self, url: str, key: bytes, timeout: float) -> None:
        # The library's own errors about a key may show it.
        if len(key) != 32 or not 0 < int.from_bytes(key) < _CURVE_ORDER:
            raise Malformed("chain key: expected the 32 bytes of a secp256k1 private key")
        if not url.startswith(("http://", "https://")):
            raise Refused("chain node: expected the http(s) URL of its JSON-RPC (--chain-rpc)")
        self._account = Account.from_key(key)
        self._exchange = Exchange(url, {"content-type": "application/json"}, timeout, _LONGEST_ANSWER)

    def close(self) -> None:
        """From any thread: what is being asked, and all that is asked later, is Unavailable."""
        self._exchange.close()

    @property
    def sender(self) -> str:
        return str(self._account.address)

    def ask(self, method: str, parameters: Sequence[Any], read: Callable[[Any], _T]) -> _T:
        """One call. Raises Unavailable; ChainRefused where a contract reverted; _Said for what else the node says."""
        try:
            status, told = self._exchange.post(_question(method, parameters))
        except (Unavailable, Malformed) as error:
            raise Unavailable(f"chain node: no answer to {method} ({error})") from None
        if status >= 400:
            raise Unavailable(f"chain node: no answer to {method} (status {status})")
        try:
            told = json.loads(told)
        except (ValueError, RecursionError):
            raise Unavailable(f"chain node: expected JSON in answer to {method}") from None
        try:
            refused = told.get("error")
            if refused is None:
                return read(told["result"])
            message, data = self._exchange.without_secrets(str(refused.get("message", ""))), refused.get("data")
        except LedgerError:
            raise
        except Exception:  # it may have answered anything
            raise Unavailable(f"chain node: what it answered to {method} cannot be read") from None
        raise _refusal(method, message, data)

    def chain_id(self) -> int:
        return self.ask("eth_chainId", (), _count)

    def block(self, which: int | str) -> Block | None:
        """By number or name. None where there is none (yet)."""
        name = hex(which) if isinstance(which, int) else which
        try:
            return self.ask("eth_getBlockByNumber", (name, False), _block)
        except _Said as said:
            if "not found" in str(said).lower():  # geth, of "safe" and "finalized" before there is one
                return None
            raise

    def code(self, of: str, at: Block) -> bytes:
        return self.ask("eth_getCode", (of, _at(at)), _bytes)

    def nonce(self, at: Block) -> int:
        """Of the account's next transaction, by what is in blocks alone."""
        return self.ask("eth_getTransactionCount", (self.sender, _at(at)), _count)

    def tip(self) -> int:
        return self.ask("eth_maxPriorityFeePerGas", (), _number)

    def gas(self, to: str | None, data: bytes, at: Block) -> int:
        """What it would take on top of this block. Raises ChainRefused where it would revert."""
        asked = {"from": self.sender, "data": _hex(data)} | ({} if to is None else {"to": to})
        return self.ask("eth_estimateGas", (asked, _at(at)), _count)

    def sign(self, **transaction: Any) -> bytes:
        """A transaction of its fields, EIP-1559."""
        return bytes(self._account.sign_transaction({"type": 2, **transaction}).raw_transaction)

    def sign_typed(self, typed: Mapping[str, Any]) -> bytes:
        """EIP-712 typed data: 65 bytes, r || s || v."""
        return bytes(self._account.sign_typed_data(full_message=dict(typed)).signature)

    def send(self, data: bytes) -> None:
        """Hand over signed bytes. The same again is nothing, in a block or not. Raises NoFunds."""
        try:
            self.ask("eth_sendRawTransaction", (_hex(data),), _bytes)
        except _Said as said:
            words = str(said).lower()
            if any(known in words for known in (*_KNOWN, *_PASSED)):
                return
            if any(known in words for known in _NO_FUNDS):
                raise NoFunds(f"{self.sender} holds too little for a transaction") from None
            raise


class EvmChain:
    """A `ledger.anchor.chain.Chain`: one log in one contract."""

    def __init__(self, node: EvmNode, chain: int, contract: str, log_id: bytes) -> None:
        self._node = node
        self._chain = chain
        self._contract = address(contract)
        self._log_id = log_id

    @property
    def contract(self) -> str:
        return self._contract

    @property
    def log_id(self) -> bytes:
        return self._log_id

    @property
    def sender(self) -> str:
        return self._node.sender

    def close(self) -> None:
        self._node.close()

    # --- what stands there ---

    def block(self, which: int | str) -> Block | None:
        return self._node.block(which)

    def identity(self, at: Block) -> Identity:
        chain = self._node.chain_id()
        genesis = self.block(0)
        if genesis is None:
            raise Unavailable("chain node: expected block 0, it has none")
        code = self._node.code(self._contract, at)
        return Identity(chain, genesis.hash, keccak(code))

    def held(self, at: Block) -> Held | None:
        root, size, _, _, _, _, admin, _ = self._view("logs", at, self._log_id)
        return None if int(admin, 16) == 0 else Held(size, root)

    def account(self, at: Block) -> Sender:
        (may,) = self._view("anchorers", at, self._log_id, self.sender)
        nonce = self._node.nonce(at)
        balance = self._node.ask("eth_getBalance", (self.sender, _at(at)), _number)
        return Sender(may == _MAY, nonce, balance)

    def receipt(self, transaction: bytes) -> Receipt | None:
        return self._node.ask("eth_getTransactionReceipt", (_hex(transaction),), self._receipt)

    def tip(self) -> int:
        return self._node.tip()

    # --- what is sent ---

    def call(self, size: int, root: bytes, proof: Sequence[bytes]) -> bytes:
        return encode_call("anchor", self._log_id, size, root, list(proof))

    def gas(self, call: bytes, at: Block) -> int:
        return self._node.gas(self._contract, call, at)

    def sign(self, nonce: int, call: bytes, gas: int, fees: Fees) -> bytes:
        return self._node.sign(
            chainId=self._chain,
            nonce=nonce,
            to=self._contract,
            value=0,
            data=call,
            gas=gas,
            maxFeePerGas=fees.most,
            maxPriorityFeePerGas=fees.tip,
        )

    def opened(self, data: bytes) -> Signed:
        try:
            fields = TypedTransaction.from_bytes(HexBytes(data)).as_dict()
            fees = Fees(fields["maxFeePerGas"], fields["maxPriorityFeePerGas"])
            return Signed(keccak(data), fields["nonce"], bytes(fields["data"]), fields["gas"], fees)
        except Exception:  # the decoder's own errors are of many kinds
            raise Malformed(
                f"kept transaction: expected an EIP-1559 transaction, {len(data)} other bytes came"
            ) from None

    def send(self, data: bytes) -> None:
        self._node.send(data)

    def _view(self, name: str, at: Block, *arguments: Any) -> tuple[Any, ...]:
        asked = {"to": self._contract, "data": _hex(encode_call(name, *arguments))}
        types = get_abi_output_types(_ABI["function", name])
        return self._node.ask("eth_call", (asked, _at(at)), lambda told: _CODEC.decode(types, _bytes(told)))

    def _receipt(self, told: Any) -> Receipt | None:
        if told is None:
            return None
        held = None
        if _number(told["status"]) == 1:
            for line in told["logs"]:
                topics = [_bytes(topic) for topic in line["topics"]]
                if line["address"].lower() == self._contract.lower() and topics[:2] == [_ANCHORED, self._log_id]:
                    held = Held(int.from_bytes(topics[2]), _bytes(line["data"])[:32])
        cost = _number(told["gasUsed"]) * _number(told["effectiveGasPrice"])
        cost += _number(told.get("l1Fee", "0x0"))  # what a rollup takes for the data beside the gas (OP Stack)
        return Receipt(_count(told["blockNumber"]), _hash(told["blockHash"]), held, cost)


class _Said(Unavailable):
    """The node's own words, where it could not do what it was asked."""


def _refusal(method: str, message: str, data: Any) -> LedgerError:
    """The error to raise for what a node answered."""
    words = "".join(sign if sign.isprintable() else "?" for sign in message)[:_LONGEST_SAYING]
    if isinstance(data, dict):  # some wrap it once more
        data = data.get("data")
    try:
        raw = _bytes(data)
        abi = _ERRORS[raw[:4]]
        values = _CODEC.decode(get_abi_input_types(abi), raw[4:])
    except Exception:  # it may have answered anything
        if "revert" in words.lower():
            return ChainRefused(f"contract: {words}", "")
        return _Said(f"chain node: {method}: {words}")
    names = [each["name"] for each in abi["inputs"]]
    figures = tuple((name, _shown(value)) for name, value in zip(names, values, strict=True))
    told = ", ".join(f"{name} {value}" for name, value in figures)
    return ChainRefused(f"contract: {abi['name']}({told})", str(abi["name"]), figures)


# --- bytes on the wire ---


def _question(method: str, parameters: Sequence[Any]) -> bytes:
    return json.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": list(parameters)}).encode()


def address(text: str) -> str:
    """An address as it is printed (EIP-55). Raises Malformed."""
    if not text.startswith("0x") or not Web3.is_address(text):
        raise Malformed(f"chain address: expected 0x and 40 hexadecimal digits, {text!r} came")
    return str(Web3.to_checksum_address(text))


def keccak(data: bytes) -> bytes:
    return bytes(Web3.keccak(data))


def encode_call(name: str, *arguments: Any, of: Artifact = LEDGER_ANCHOR) -> bytes:
    """A call of a contract's function."""
    return bytes(HexBytes(_CONTRACTS[of.name].encode_abi(name, arguments)))


def _at(block: Block) -> dict[str, Any]:
    return {"blockHash": _hex(block.hash), "requireCanonical": True}  # EIP-1898


def _hex(data: bytes) -> str:
    return "0x" + data.hex()


def _number(told: Any) -> int:
    """An amount: as much as a chain's word holds."""
    number = int(told, 16)
    if not 0 <= number < 1 << 256:
        raise ValueError
    return number


def _count(told: Any) -> int:
    """A number of things, or seconds: as much as our own store holds."""
    number = _number(told)
    if number >= 1 << 63:
        raise ValueError
    return number


def _bytes(told: Any) -> bytes:
    return bytes.fromhex(told.removeprefix("0x"))


def _hash(told: Any) -> bytes:
    found = _bytes(told)
    if len(found) != 32:
        raise ValueError
    return found


def _shown(value: Any) -> str:
    return _hex(value) if isinstance(value, bytes) else str(value)


def _block(told: Any) -> Block | None:
    if told is None:
        return None
    base_fee = _number(told.get("baseFeePerGas", "0x0"))
    return Block(_count(told["number"]), _hash(told["hash"]), _count(told["timestamp"]), base_fee)
