"""Settings from the environment (prefix FORKLEDGER_). The only place of the package that reads it."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from modelfork.errors import Malformed

DEMO_BASE = Path(__file__).parent / "demo" / "base"


class ForkSettings(BaseSettings):
    """How forks are kept live, and on which base."""

    model_config = SettingsConfigDict(env_prefix="FORKLEDGER_", extra="ignore")

    data: Path = Field(default=Path("forkledger-data"), description="folder of the ledger, as `ledger` has it")
    database_url: str = Field(default="", description="postgresql://… of the ledger; empty: a file in `data`")
    base: Path = Field(default=DEMO_BASE, description="folder of the base model, prepared with basis and anchor rows")
    base_numbers: Literal["float32", "bfloat16", "nf4"] = Field(
        default="float32", description="what the model computes in, nf4 with weights of four bits; cores are float32"
    )
    base_device: str = Field(default="cpu", pattern=r"^(cpu|cuda(:\d+)?)$", description="where the model is")
    live_forks: int = Field(default=64, ge=1, description="forks kept in memory")
    torch_threads: int = Field(default=2, ge=1, description="threads of a model step")
    turns: int = Field(default=64, ge=1, description="turns under way before a request is told to come back")


def read_settings() -> ForkSettings:
    """Raises Malformed, which names the variable and what it should have been, and not what it was."""
    try:
        return ForkSettings()
    except ValidationError as error:
        first = error.errors(include_input=False)[0]
        raise Malformed(f"FORKLEDGER_{'_'.join(map(str, first['loc'])).upper()}: {first['msg']}") from None
