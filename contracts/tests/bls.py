"""BLS witnesses as py_ecc makes them, and their points as EIP-2537 has them.

py_ecc writes a point compressed, 48 or 96 bytes; the precompiles take coordinates of 64 bytes, 128 or 256 in all.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import cached_property

from eth_abi import encode
from eth_utils import keccak
from py_ecc.bls import G2ProofOfPossession as Bls
from py_ecc.bls.g2_primitives import pubkey_to_G1, signature_to_G2
from py_ecc.optimized_bls12_381 import is_inf, normalize

SIGNATURE_TAG, POSSESSION_TAG = Bls.DST, Bls.POP_TAG


class Witness:
    """One signer, whose key is a number."""

    def __init__(self, secret: int) -> None:
        self.secret = secret
        self.public: bytes = Bls.SkToPk(secret)  # 48
        self.key = g1(pubkey_to_G1(self.public))  # 128
        self.key_hash = keccak(self.key)

    @cached_property
    def possession(self) -> bytes:  # 256
        return uncompressed(Bls.PopProve(self.secret))

    def sign(self, message: bytes) -> bytes:  # 96
        return bytes(Bls.Sign(self.secret, message))


def cosignature(log_id: bytes, size: int, root: bytes) -> bytes:
    """What a BLS witness signs of a checkpoint."""
    return b"forkledger/cosignature/v1\0" + bytes(encode(["bytes32", "uint64", "bytes32"], [log_id, size, root]))


def quorum_id(kind: str, threshold: int, members: Iterable[str | bytes]) -> bytes:
    """Of an "ecdsa" quorum of addresses, or a "bls" one of key hashes."""
    of = {"ecdsa": "address[]", "bls": "bytes32[]"}[kind]
    return bytes(keccak(encode(["string", "uint8", of], [kind, threshold, list(members)])))


def together(signatures: Iterable[bytes]) -> bytes:  # 256
    """The aggregate of compressed signatures."""
    return uncompressed(Bls.Aggregate(list(signatures)))


def uncompressed(signature: bytes) -> bytes:  # 256
    return g2(signature_to_G2(signature))


def g1(point: object) -> bytes:  # 128
    if is_inf(point):
        return bytes(128)
    return b"".join(_number(int(part)) for part in normalize(point))


def g2(point: object) -> bytes:  # 256
    if is_inf(point):
        return bytes(256)
    return b"".join(_number(int(part)) for axis in normalize(point) for part in axis.coeffs)


def _number(value: int) -> bytes:
    return value.to_bytes(64, "big")
