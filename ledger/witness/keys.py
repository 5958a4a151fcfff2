"""A witness's secret keys: two small files in a folder of their own, never inside the data folder.

witness.key            Ed25519 cosignatures (signer key, type 0x04)
witness-ml-dsa.key     ML-DSA-44 cosignatures (signer key, type 0x06); where it is missing, Ed25519 alone cosigns
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from ledger.cosign import Clock, Ed25519Cosigner, MlDsa44Signer
from ledger.errors import Malformed
from ledger.keyfolder import read_secret, write_secret_once

ED25519, ML_DSA_44 = "witness.key", "witness-ml-dsa.key"


@dataclass(frozen=True, slots=True)
class WitnessKeys:
    """The keys of one witness, which share its name."""

    ed25519: Ed25519Cosigner
    ml_dsa_44: MlDsa44Signer | None

    def __post_init__(self) -> None:
        if self.ml_dsa_44 and self.ml_dsa_44.name != self.ed25519.name:
            raise Malformed(f"witness keys: expected one name, {self.ed25519.name!r} and {self.ml_dsa_44.name!r} came")

    @property
    def name(self) -> str:
        return self.ed25519.name

    @property
    def signers(self) -> tuple[Ed25519Cosigner | MlDsa44Signer, ...]:
        return (self.ed25519, self.ml_dsa_44) if self.ml_dsa_44 else (self.ed25519,)

    @property
    def vkeys(self) -> list[str]:
        """What logs and people who check cosignatures pin."""
        return [signer.vkey for signer in self.signers]


def exist(folder: Path) -> bool:
    return (folder / ED25519).exists()


def open_keys(folder: Path, now: Clock) -> WitnessKeys:
    """Read the keys. Raises NotFound, Malformed, or Refused when others may read them."""
    quantum_safe = folder / ML_DSA_44
    return WitnessKeys(
        Ed25519Cosigner.from_skey(read_secret(folder / ED25519), now),
        MlDsa44Signer.from_skey(read_secret(quantum_safe), now) if quantum_safe.exists() else None,
    )


def make_keys(folder: Path, name: str, now: Clock, random: Callable[[int], bytes]) -> None:
    """Make what is missing, for a witness of this name. Existing files stay, and name the other."""
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    if not exist(folder):
        write_secret_once(folder / ED25519, Ed25519Cosigner(name, random(32), now).skey(), random)
    named = Ed25519Cosigner.from_skey(read_secret(folder / ED25519), now).name
    if not (folder / ML_DSA_44).exists():
        write_secret_once(folder / ML_DSA_44, MlDsa44Signer(named, random(32), now).skey(), random)
