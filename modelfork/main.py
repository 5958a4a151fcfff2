"""What modelfork adds to the service. Imports no torch: only a service that is put together does."""

from __future__ import annotations

import importlib.util
import logging
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ledger.errors import Refused
from modelfork.errors import ForkError
from modelfork.settings import read_settings

if TYPE_CHECKING:
    import ledger
    from ledger import service
    from modelfork.base import Base
    from modelfork.forks import ForkManager
    from modelfork.pretrained import Numbers
    from modelfork.recipe import Recipe
    from modelfork.settings import ForkSettings
    from modelfork.snapshots import Snapshots

_LOG = logging.getLogger("forkledger")


def attach(app: Any, served: service.Service) -> None:
    """Add the fork routes to `app`. Found through the entry points `forkledger.services`.

    Raises ledger's Refused where base or settings are none. Without the extra `forks` the service is a ledger alone: it
    takes finished records and learns nothing.
    """
    if importlib.util.find_spec("torch") is None:
        _LOG.warning("no torch here: serving the ledger alone; install forkledger[forks] for forks and chat")
        return
    from modelfork.api.app import attach_forks

    try:
        settings = read_settings()
        manager = open_manager(served.ledger, served.keystore, settings, served.now, served.random, served.data)
    except ForkError as error:  # `ledger` knows its own errors only, and serves nothing after one
        raise Refused(str(error)) from error
    attach_forks(app, manager, served.now, settings.turns)


def open_manager(
    log: ledger.Ledger,
    keystore: ledger.KeyStore,
    settings: ForkSettings,
    now: Callable[[], int],
    random: Callable[[int], bytes],
    data: Path | None,
) -> ForkManager:
    """The forks of a house on the base of the settings; where the house has a folder `data`, with snapshots in it."""
    from modelfork.forks import ForkManager

    base, recipe = open_base(settings.base, settings.torch_threads, settings.base_numbers, settings.base_device)
    snapshots = open_snapshots(data, random) if data else None
    return ForkManager(log, keystore, base, recipe, now, random, settings.live_forks, snapshots)


def open_snapshots(data: Path, random: Callable[[int], bytes]) -> Snapshots:
    """Where the forks of the house whose folder is `data` are kept, so that they open sooner."""
    from modelfork.snapshots import Snapshots

    return Snapshots(data / "snapshots", random)


def open_base(folder: Path, threads: int, numbers: Numbers = "float32", device: str = "cpu") -> tuple[Base, Recipe]:
    """The base, checked, and the recipe that goes with its anchor rows."""
    from modelfork.base import load_base, use_threads
    from modelfork.recipe import default_recipe

    use_threads(threads)
    base = load_base(folder, numbers, device)
    return base, default_recipe(base.anchors_digest)
