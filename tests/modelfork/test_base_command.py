"""`forkledger base prepare`: a plain model folder becomes one that forks can stand on, once, and nothing is fetched."""

import errno
import json
import shutil
from pathlib import Path

import pytest
from huggingface_hub import constants
from typer.testing import CliRunner, Result

from ledger.cli import app
from modelfork import anchors
from modelfork.base import load_base
from modelfork.cli import register
from modelfork.settings import DEMO_BASE
from tests.modelfork.conftest import make_tiny_model

if not any(command.callback and command.callback.__name__ == "replay" for command in app.registered_commands):
    register(app)  # as `ledger.cli.main` does

MADE = ("anchors.jsonl", "basis.safetensors", "layout.bin", "manifest.json")


def run(folder: Path | str, *more: str) -> Result:
    return CliRunner().invoke(app, ["base", "prepare", str(folder), *more])


@pytest.fixture
def plain(tmp_path: Path) -> Path:
    folder = tmp_path / "tiny"
    folder.mkdir()
    make_tiny_model(folder)
    return folder


def test_a_plain_folder_is_prepared_and_says_its_digests(plain: Path) -> None:
    result = run(plain, "--json")
    assert result.exit_code == 0, result.stderr
    said, base = json.loads(result.stdout), load_base(plain)
    assert said["prepared"]
    assert said["model"] == "llama"
    assert said["layout_digest"] == base.layout_digest.hex()
    assert said["base_digest"] == base.layout.base_digest.hex()
    assert said["basis_digest"] == base.layout.basis_digest.hex()
    assert said["anchors_digest"] == base.anchors_digest.hex()
    assert (said["cores"], said["dimension"]) == (14, 14 * 16 * 16)
    assert said["anchors"] == {"general": 8}, "the rows that were there stay"


def test_a_prepared_folder_is_only_checked(plain: Path) -> None:
    assert run(plain).exit_code == 0
    before = {name: (plain / name).stat().st_mtime_ns for name in MADE}
    again = run(plain)
    assert "was prepared before" in again.stdout
    assert {name: (plain / name).stat().st_mtime_ns for name in MADE} == before
    (plain / "basis.safetensors").write_bytes(b"other")
    spoiled = run(plain)
    assert spoiled.exit_code == 3
    assert "basis.safetensors is not the file" in spoiled.stderr


@pytest.mark.parametrize("name", ["meta-llama/Llama-3.2-1B-Instruct", "gpt2", "https://huggingface.co/gpt2"])
def test_a_name_is_refused_with_what_to_give_and_nothing_is_fetched(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    result = run(name)
    assert result.exit_code == 3
    assert "no folder here, and nothing is fetched: give the path of a local folder" in result.stderr
    assert not list(tmp_path.iterdir())


@pytest.fixture
def cached(plain: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The blobs of a Hugging Face cache that has `somebody/small`; the folder to work in is empty."""
    cache = tmp_path / "cache"
    model = cache / "models--somebody--small"
    blobs, snapshot = model / "blobs", model / "snapshots" / ("a" * 40)
    for folder in (blobs, snapshot, model / "refs", tmp_path / "work"):
        folder.mkdir(parents=True)
    (model / "refs" / "main").write_text("a" * 40)
    for file in (*plain.iterdir(), _readme(tmp_path)):
        shutil.copy(file, blobs / f"of-{file.name}")
        (snapshot / file.name).symlink_to(blobs / f"of-{file.name}")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(cache))
    monkeypatch.chdir(tmp_path / "work")
    return blobs


def _readme(folder: Path) -> Path:
    (folder / "README.md").write_text("not of the model")
    return folder / "README.md"


def test_a_name_that_the_hugging_face_cache_has_is_prepared_in_a_folder_of_its_own(cached: Path) -> None:
    held = {blob.name: blob.read_bytes() for blob in cached.iterdir()}
    result = run("somebody/small", "--json")
    assert result.exit_code == 0, result.stderr
    assert json.loads(result.stdout)["folder"] == "small"
    assert (Path("small") / "model.safetensors").samefile(cached / "of-model.safetensors"), "weights are held once"
    assert not (Path("small") / "README.md").exists()
    assert {blob.name: blob.read_bytes() for blob in cached.iterdir()} == held
    shutil.rmtree(cached.parent)  # the cache is emptied
    assert "was prepared before" in run("small").stdout


def test_a_name_is_taken_out_of_the_cache_once(cached: Path) -> None:
    assert run("somebody/small").exit_code == 0
    made = {name: (Path("small") / name).read_bytes() for name in MADE}
    assert "was prepared before" in run("somebody/small").stdout
    assert {name: (Path("small") / name).read_bytes() for name in MADE} == made
    assert [path.name for path in Path().iterdir()] == ["small"]


def test_what_the_cache_lacked_is_taken_out_once_it_has_it(cached: Path, tmp_path: Path) -> None:
    snapshot = cached.parent / "snapshots" / ("a" * 40)
    (snapshot / "tokenizer.json").rename(tmp_path / "later")
    assert run("somebody/small").exit_code == 3
    (tmp_path / "later").rename(snapshot / "tokenizer.json")
    assert run("somebody/small").exit_code == 0


def test_another_disk_has_a_copy(cached: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def across(*_: object) -> None:
        raise OSError(errno.EXDEV, "another disk")

    monkeypatch.setattr("os.link", across)
    assert run("somebody/small").exit_code == 0
    assert not (Path("small") / "model.safetensors").samefile(cached / "of-model.safetensors")
    assert not list(Path("small").glob("*.part"))


def test_no_other_model_is_mixed_with_it(cached: Path) -> None:
    Path("small").mkdir()
    (Path("small") / "config.json").write_text("{}")
    result = run("somebody/small")
    assert result.exit_code == 3
    assert "config.json there is another model's" in result.stderr
    shutil.rmtree("small")
    Path("small").write_text("")
    result = run("somebody/small")
    assert result.exit_code == 3
    assert "there is a file in its place" in result.stderr


def test_a_folder_that_cannot_be_prepared_gets_no_manifest(plain: Path) -> None:
    weights = (plain / "model.safetensors").read_bytes()
    (plain / "model.safetensors").write_bytes(weights[: len(weights) // 2])
    result = run(plain)
    assert result.exit_code == 3
    assert "model.safetensors is not a whole safetensors file" in result.stderr
    assert "Traceback" not in result.stderr
    assert not (plain / "manifest.json").exists()


def test_without_anchor_rows_the_base_makes_its_own_in_its_own_words(tmp_path: Path) -> None:
    folder = tmp_path / "demo"
    shutil.copytree(DEMO_BASE, folder, ignore=shutil.ignore_patterns(*MADE))
    result = run(folder, "--json")
    assert result.exit_code == 0, result.stderr
    base = load_base(folder)
    kinds = {kind: [row for row in base.anchors if row.kind == kind] for kind in ("general", "unknown", "context")}
    assert all(len(rows) >= 12 for rows in kinds.values()), json.loads(result.stdout)["anchors"]
    ignorant = [row for row in kinds["unknown"] if row.messages[-1].content == "I don't know that yet."]
    assert len(ignorant) > len(kinds["unknown"]) / 2
    assert any("Paris" in row.messages[-1].content for row in kinds["general"])


def test_an_answer_that_the_base_does_not_finish_is_no_anchor_row(monkeypatch: pytest.MonkeyPatch) -> None:
    """It would teach a fork to stop in the middle of a word."""
    monkeypatch.setattr(anchors, "LONGEST", 4)
    made = anchors.own_rows(load_base(DEMO_BASE))
    assert not [row for row in made if row.kind == "unknown"], "I don't know that yet. has more than four tokens"


def test_a_base_that_makes_no_row_is_prepared_and_the_price_said(plain: Path) -> None:
    (plain / "anchors.jsonl").write_text("")
    assert "none: forks will forget what they do not rehearse" in run(plain).stdout
