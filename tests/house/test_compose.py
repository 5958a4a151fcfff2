"""docker-compose.yml: one service, its key apart from its data, a health check, no privilege, no secret."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.main import get_command

from ledger.cli import app

ROOT = Path(__file__).resolve().parents[2]
TEXT = (ROOT / "docker-compose.yml").read_text(encoding="utf-8")


@pytest.fixture
def compose() -> dict[str, Any]:
    parsed: dict[str, Any] = yaml.safe_load(TEXT)
    return parsed


@pytest.fixture
def service(compose: dict[str, Any]) -> dict[str, Any]:
    assert list(compose["services"]) == ["forkledger"]
    only: dict[str, Any] = compose["services"]["forkledger"]
    return only


def test_the_keys_live_outside_the_data_volume(compose: dict[str, Any], service: dict[str, Any]) -> None:
    mounts = dict(volume.split(":")[:2] for volume in service["volumes"])
    assert mounts == {"data": "/data", "keys": "/keys"}
    assert set(compose["volumes"]) == {"data", "keys"}
    command = service["command"]
    assert command[command.index("--data") + 1] == "/data"
    assert command[command.index("--keys") + 1] == "/keys"


def test_its_command_is_one_that_the_command_line_takes(service: dict[str, Any]) -> None:
    program, *words = service["command"]
    assert program == "forkledger"
    taken = get_command(app).commands[words[0]]  # type: ignore[attr-defined]
    context = taken.make_context(words[0], words[1:])
    assert context.params == {
        "data": Path("/data"), "keys": Path("/keys"), "origin": "", "host": "0.0.0.0", "port": 8000,
    }  # fmt: skip
    assert {f"FORKLEDGER_{name.upper()}" for name in ("data", "keys")} <= set(
        re.findall(r"FORKLEDGER_\w+", service["build"]["dockerfile_inline"])
    )


def test_it_is_healthy_when_healthz_answers(service: dict[str, Any]) -> None:
    assert "http://127.0.0.1:8000/healthz" in " ".join(service["healthcheck"]["test"])


def test_it_runs_as_an_ordinary_user_with_no_privileges(service: dict[str, Any]) -> None:
    dockerfile = service["build"]["dockerfile_inline"]
    user = re.findall(r"^USER (.+)$", dockerfile, flags=re.MULTILINE)[-1]
    assert user not in ("root", "0")
    assert service["cap_drop"] == ["ALL"]
    assert service["read_only"] is True


def test_what_the_image_copies_exists(service: dict[str, Any]) -> None:
    for sources in re.findall(r"^COPY (.+) \S+$", service["build"]["dockerfile_inline"], flags=re.MULTILINE):
        for source in sources.split():
            assert (ROOT / source).exists(), source


def test_no_secret_is_inside(service: dict[str, Any]) -> None:
    assert "environment" not in service
    assert "env_file" not in service
    assert not re.search(r"(?i)(password|secret|token)\s*[:=]|[0-9a-f]{32}|BEGIN [A-Z ]*KEY", TEXT)
