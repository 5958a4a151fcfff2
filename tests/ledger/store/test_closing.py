"""A store may be closed while other threads still read: they are let end, and the process lives."""

import subprocess
import sys
from pathlib import Path

READ_WHILE_CLOSING = """
import sys, threading, time
from pathlib import Path
from ledger.store.sqlite import open_store

for round in range(20):
    store = open_store(Path(sys.argv[1]) / f"{round}.db")
    begun = threading.Barrier(5)

    def read():
        begun.wait()
        try:
            while True:
                store.entries(0, 10)
        except Exception:
            return  # closed under us

    threads = [threading.Thread(target=read) for _ in range(4)]
    for thread in threads:
        thread.start()
    begun.wait()
    time.sleep(0.005)
    store.close()
    for thread in threads:
        thread.join(10)
        assert not thread.is_alive()
"""


def test_closing_a_store_that_others_read_kills_no_process(tmp_path: Path) -> None:
    command = [sys.executable, "-c", READ_WHILE_CLOSING, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
