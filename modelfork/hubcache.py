"""A model that this machine downloaded before, out of its Hugging Face cache. Nothing is fetched.

What is prepared goes into a folder of its own: the cache may be emptied at any time, and forks stand on their basis.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from huggingface_hub import snapshot_download
from huggingface_hub.errors import HFValidationError, LocalEntryNotFoundError

from modelfork.manifest import present


def taken_out(name: str, into: Path) -> Path | None:
    """The folder in `into` that holds the files of the model `owner/name`, made if it is not there; None where the
    cache has no such model. It is called what the model is called, and made whole or not at all."""
    try:
        cached = Path(snapshot_download(name, local_files_only=True))
    except (HFValidationError, LocalEntryNotFoundError):
        return None
    folder = into / name.rpartition("/")[2]
    if folder.is_dir():
        return folder
    part = folder.with_name(folder.name + ".part")
    shutil.rmtree(part, ignore_errors=True)
    for file in present(cached):
        (part / file).parent.mkdir(parents=True, exist_ok=True)
        _link(cached / file, part / file)
    part.mkdir(exist_ok=True)
    return part.rename(folder)


def _link(cached: Path, made: Path) -> None:
    """A second name for the bytes, so that weights are held once; a copy where another disk is meant."""
    try:
        os.link(cached.resolve(), made)
    except OSError:
        shutil.copyfile(cached, made)
