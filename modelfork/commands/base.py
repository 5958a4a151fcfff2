"""`forkledger base prepare`: make a model one that forks can stand on. Nothing is fetched."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import typer

from modelfork.anchors import own_rows
from modelfork.base import load_base, prepare_base, use_threads
from modelfork.hubcache import taken_out
from modelfork.kfac import kfac_basis
from modelfork.manifest import MANIFEST

RANK = 16  # of the cores: smaller ones lose general questions, larger ones make larger records


def prepare(named: str, threads: int, device: str, as_json: bool) -> None:
    """Prepare a folder, or what the Hugging Face cache has under a name, once; a folder that has a manifest is only
    checked, for its forks stand on that basis."""
    use_threads(threads)
    folder = Path(named)
    if not folder.is_dir():
        folder = taken_out(named, Path()) or folder
    done_before = (folder / MANIFEST).is_file()
    if not done_before:
        prepare_base(folder, RANK, own_rows, kfac_basis, device)
    base = load_base(folder, device=device)
    kinds = Counter(anchor.kind for anchor in base.anchors)
    if as_json:
        found = {
            "folder": str(folder),
            "prepared": not done_before,
            "model": base.model.config.model_type,
            "base_digest": base.layout.base_digest.hex(),
            "basis_digest": base.layout.basis_digest.hex(),
            "layout_digest": base.layout_digest.hex(),
            "anchors_digest": base.anchors_digest.hex(),
            "cores": len(base.layout.segments),
            "dimension": base.layout.dimension,
            "anchors": dict(kinds),
        }
        typer.echo(json.dumps(found, indent=2))
        return
    typer.echo(f"{folder} {'was prepared before, and is as it was then' if done_before else 'is prepared'}")
    typer.echo(f"  model    {base.model.config.model_type}, base {base.layout.base_digest.hex()}")
    typer.echo(f"  basis    {base.layout.basis_digest.hex()}")
    typer.echo(
        f"  layout   {len(base.layout.segments)} cores, {base.layout.dimension} numbers, {base.layout_digest.hex()}"
    )
    said = (
        ", ".join(f"{count} {kind}" for kind, count in kinds.items())
        or "none: forks will forget what they do not rehearse"
    )
    typer.echo(f"  anchors  {said}")
    typer.echo(f"FORKLEDGER_BASE={folder} forkledger serve")
