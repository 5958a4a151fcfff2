"""A model that this machine downloaded before, out of its Hugging Face cache. Nothing is fetched.

What is prepared goes into a folder of its own: the cache may be emptied at any time, and forks stand on their basis.
"""

from __future__ import annotations

import filecmp
import os
import shutil
from pathlib import Path

from huggingface_hub import snapshot_download
from huggingface_hub.errors import HFValidationError, LocalEntryNotFoundError

from modelfork.errors import Unsuited
from modelfork.manifest import MANIFEST, present


def taken_out(name: str, into: Path) -> Path | None:
    """The folder in `into` that holds the files of the model `owner/name` and is called what the model is called; None
    where the cache has no such model. Until it is prepared, what the cache got since is put in too.

    Raises Unsuited where that folder is another model's, or none.
    """
    try:
        cached = Path(snapshot_download(name, local_files_only=True))
    except (HFValidationError, LocalEntryNotFoundError):
        return None
    folder = into / name.rpartition("/")[2]
    if (folder / MANIFEST).is_file():
        return folder
    for file in present(cached):
        made = folder / file
        try:
            made.parent.mkdir(parents=True, exist_ok=True)
        except (FileExistsError, NotADirectoryError):
            raise Unsuited(f"base: {name} goes into the folder {folder}, and there is a file in its place") from None
        if not made.exists():
            _link((cached / file).resolve(), made)
        elif not (made.samefile(cached / file) or filecmp.cmp(made, cached / file, shallow=False)):
            raise Unsuited(f"base: {name} goes into the folder {folder}, and {file} there is another model's")
    return folder


def _link(cached: Path, made: Path) -> None:
    """A second name for the bytes, so that weights are held once; a whole copy where another disk is meant."""
    try:
        os.link(cached, made)
    except OSError:
        part = made.with_name(made.name + ".part")
        shutil.copyfile(cached, part)
        part.rename(made)
