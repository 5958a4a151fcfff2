"""Settings from the environment (prefix FORKLEDGER_). The only place of the package that reads it."""

from __future__ import annotations

import os
from pathlib import Path

from pydantic import Field, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from ledger.errors import Malformed


def _state_home() -> Path:
    return Path(os.environ.get("XDG_STATE_HOME") or "~/.local/state").expanduser() / "forkledger"


class Settings(BaseSettings):
    """Options of the command line win over these."""

    model_config = SettingsConfigDict(env_prefix="FORKLEDGER_", extra="ignore")

    data: Path = Field(
        default=Path("forkledger-data"), description="folder of the ledger and of the service's own records"
    )
    keys: Path = Field(
        default=Path("forkledger-keys"), description="folder of the operator's secret keys, outside `data`"
    )
    origin: str = Field(
        default="", description="the log's name when its keys are made; empty: forkledger.local/<random>"
    )
    database_url: str = Field(default="", description="postgresql://… of the ledger; empty: a file in `data`")
    policy: Path | None = Field(default=None, description="the tlog-policy that `serve` publishes under")
    state: Path = Field(default_factory=_state_home, description="where `audit` keeps the last checkpoint of each log")
    chain_rpc: str = Field(
        default="", description="JSON-RPC URL of an EVM node; with it, what is published is anchored on its chain"
    )
    chain_max_fee: float = Field(
        default=50, gt=0, allow_inf_nan=False, description="gwei a unit of gas that an anchor pays at most"
    )
    tsa: str = Field(default="", description="URL of an RFC 3161 timestamp authority that stamps checkpoints")
    tsa_roots: Path | None = Field(default=None, description="PEM file with the root certificates of that authority")
    anchor_every: int = Field(default=3600, ge=1, description="seconds from one anchor to the next, at least")


def read_settings() -> Settings:
    """Raises Malformed, which names the variable and what it should have been, and not what it was."""
    try:
        return Settings()
    except ValidationError as error:
        first = error.errors(include_input=False)[0]
        raise Malformed(f"FORKLEDGER_{'_'.join(map(str, first['loc'])).upper()}: {first['msg']}") from None
