"""docker-compose.yml: a service and its database, keys apart from data, health checks, no privilege, no secret."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from psycopg.conninfo import conninfo_to_dict
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
    assert set(compose["services"]) == {"forkledger", "postgres"}
    found: dict[str, Any] = compose["services"]["forkledger"]
    return found


@pytest.fixture
def database(compose: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = compose["services"]["postgres"]
    return found


def test_the_keys_live_outside_the_data_volume(compose: dict[str, Any], service: dict[str, Any]) -> None:
    mounts = dict(volume.split(":")[:2] for volume in service["volumes"])
    assert mounts == {"data": "/data", "keys": "/keys"}
    assert set(compose["volumes"]) == {"data", "database", "keys"}
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
        "database_url": "", "policy": None, "chain_rpc": "", "tsa": "",
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


def test_the_service_is_on_the_database_beside_it(service: dict[str, Any], database: dict[str, Any]) -> None:
    url = conninfo_to_dict(service["environment"]["FORKLEDGER_DATABASE_URL"])
    inside = database["environment"]
    assert url == {
        "host": "postgres", "port": "5432", "user": inside["POSTGRES_USER"], "dbname": inside["POSTGRES_DB"],
    }  # fmt: skip
    assert service["environment"]["PGPASSWORD"] == inside["POSTGRES_PASSWORD"]
    assert re.search(r'pip install \S+ \S+ "\.\[[a-z,]*postgres', service["build"]["dockerfile_inline"])


def test_it_waits_until_the_database_answers_by_tcp(service: dict[str, Any], database: dict[str, Any]) -> None:
    assert service["depends_on"] == {"postgres": {"condition": "service_healthy"}}
    _, *words = database["healthcheck"]["test"]
    assert words[0] == "pg_isready"
    assert words[words.index("--host") + 1] == "127.0.0.1"
    assert words[words.index("--username") + 1] == database["environment"]["POSTGRES_USER"]


def test_the_database_outlives_its_container_and_is_not_open_to_others(database: dict[str, Any]) -> None:
    assert database["image"] == "postgres:18"
    assert database["volumes"] == ["database:/var/lib/postgresql"]
    assert "ports" not in database
    assert "network_mode" not in database


def test_the_service_itself_listens_to_this_machine_alone(service: dict[str, Any]) -> None:
    assert service["ports"] == ["127.0.0.1:8000:8000"]


def test_no_secret_is_inside_and_no_password_has_a_default(compose: dict[str, Any]) -> None:
    for each in compose["services"].values():
        assert "env_file" not in each
        for name, value in each.get("environment", {}).items():
            if "PASSWORD" in name:
                assert re.fullmatch(r"\$\{FORKLEDGER_DATABASE_PASSWORD:\?[^}]+\}", value)
            else:
                assert not re.search(r"(?i)password|secret|token|//[^/@]*:[^/@]*@", f"{name}={value}")
    assert not re.search(r"[0-9a-f]{32}|BEGIN [A-Z ]*KEY", TEXT)
