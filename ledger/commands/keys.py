"""`forkledger keys`: the operator's keys, and the API keys of apps."""

from __future__ import annotations

import json
from pathlib import Path

import typer

from ledger.main import make_keystore, open_operator_keys


def show(data: Path, keys: Path, origin: str, as_json: bool) -> None:
    """The public keys; they are made when there are none. No secret is ever printed."""
    operator = open_operator_keys(data, keys, origin)
    public = {"origin": operator.log.name, "log": operator.log.vkey, "receipt": operator.receipt.vkey}
    if as_json:
        second = {"log_ml_dsa": operator.log_ml_dsa.vkey} if operator.log_ml_dsa else {}  # 1.8 KB
        typer.echo(json.dumps(public | second))
        return
    for name, value in public.items():
        typer.echo(f"{name:8} {value}")


def add_app(data: Path, keys: Path, origin: str, name: str, as_json: bool) -> None:
    """A new app and its API key, shown this once."""
    keystore = make_keystore(data, open_operator_keys(data, keys, origin))
    try:
        app, api_key = keystore.add_app(name)
    finally:
        keystore.close()
    if as_json:
        typer.echo(json.dumps({"app_id": app.app_id, "name": app.name, "api_key": api_key}))
    else:
        typer.echo(f"{app.app_id}  {app.name}\nAPI key, shown this once: {api_key}")


def list_apps(data: Path, keys: Path, origin: str, as_json: bool) -> None:
    """Apps by name; keys are stored as hashes and cannot be shown."""
    keystore = make_keystore(data, open_operator_keys(data, keys, origin))
    try:
        apps = keystore.apps()
    finally:
        keystore.close()
    if as_json:
        typer.echo(json.dumps([{"app_id": app.app_id, "name": app.name} for app in apps]))
        return
    for app in apps:
        typer.echo(f"{app.app_id}  {app.name}")


def remove_app(data: Path, keys: Path, origin: str, app_id: str) -> None:
    """Its API key opens nothing any more."""
    keystore = make_keystore(data, open_operator_keys(data, keys, origin))
    try:
        keystore.remove_app(app_id)
    finally:
        keystore.close()
