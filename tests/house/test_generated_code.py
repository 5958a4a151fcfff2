"""The committed protobuf code is what the .proto files generate. Compares folders and asks no git."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
WIRE_FOLDERS = ("ledger/wire", "modelfork/wire")


def generated_files(root: Path) -> dict[str, bytes]:
    """Path from `root` to content, of everything under the wire folders that protoc could have written."""
    return {
        path.relative_to(root).as_posix(): path.read_bytes()
        for folder in WIRE_FOLDERS
        for path in sorted((root / folder).rglob("*_pb2*"))
        if "__pycache__" not in path.parts
    }


def test_generated_code_is_up_to_date(tmp_path: Path) -> None:
    protos = sorted(str(path) for path in (ROOT / "proto").rglob("*.proto"))
    assert protos
    outputs = [f"--python_out={tmp_path}", f"--pyi_out={tmp_path}"]
    subprocess.run(
        [sys.executable, "-m", "grpc_tools.protoc", "-I", str(ROOT / "proto"), *outputs, *protos],
        check=True,
        timeout=60,
    )
    fresh, committed = generated_files(tmp_path), generated_files(ROOT)
    assert sorted(committed) == sorted(fresh), "run `make proto`, and remove what no .proto file generates"
    stale = [path for path in fresh if fresh[path] != committed[path]]
    assert not stale, "run `make proto`"


def test_every_folder_of_generated_code_is_a_package() -> None:
    for path in generated_files(ROOT):
        for folder in (ROOT / path).relative_to(ROOT).parents:
            if folder != Path():
                assert (ROOT / folder / "__init__.py").is_file(), folder
