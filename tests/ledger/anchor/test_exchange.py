"""Who is asked may drip, pour, send elsewhere or say nothing: the asker is back in time."""

import socket
import threading
import time
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

import pytest

from ledger.anchor.exchange import Exchange
from ledger.errors import Malformed, Refused, Unavailable

OK = b"HTTP/1.1 200 OK\r\n"


@contextmanager
def answering(say: Callable[[socket.socket, threading.Event], None]) -> Iterator[str]:
    """A server that does this with each connection, until it is hung up on or the test ends."""
    listening, end = socket.create_server(("127.0.0.1", 0)), threading.Event()
    threads = []

    def one(connection: socket.socket) -> None:
        with connection, suppress(OSError):
            connection.recv(65536)
            say(connection, end)

    def accept() -> None:
        with suppress(OSError):
            while True:
                threads.append(threading.Thread(target=one, args=(listening.accept()[0],)))
                threads[-1].start()

    accepting = threading.Thread(target=accept)
    accepting.start()
    try:
        yield f"http://127.0.0.1:{listening.getsockname()[1]}/token-secret"
    finally:
        end.set()
        listening.shutdown(socket.SHUT_RDWR)
        listening.close()
        for thread in (accepting, *threads):
            thread.join()


def say_nothing(_: socket.socket, end: threading.Event) -> None:
    end.wait()


def dripping(beginning: bytes) -> Callable[[socket.socket, threading.Event], None]:
    def say(connection: socket.socket, end: threading.Event) -> None:
        connection.sendall(beginning)
        while not end.wait(0.05):
            connection.sendall(b"1")

    return say


@pytest.mark.parametrize("beginning", [b"", OK + b"x: ", OK + b"content-length: 999999\r\n\r\n"])
def test_an_answer_that_comes_byte_by_byte_is_given_up_in_time(beginning: bytes) -> None:
    with answering(dripping(beginning)) as url:
        exchange = Exchange(url, {}, 0.4, 1 << 20)
        for _ in range(2):  # what was given up holds the next one up no longer
            begun = time.monotonic()
            with pytest.raises(Unavailable) as caught:
                exchange.post(b"{}")
            assert time.monotonic() - begun < 3
            assert "secret" not in str(caught.value)
        exchange.close()


def test_an_answer_that_is_too_long_is_not_read_to_its_end() -> None:
    def pour(connection: socket.socket, end: threading.Event) -> None:
        connection.sendall(OK + b"connection: close\r\n\r\n")
        while not end.is_set():
            connection.sendall(b"1" * 65536)

    with answering(pour) as url:
        exchange = Exchange(url, {}, 10, 1 << 20)
        with pytest.raises(Malformed, match="expected an answer of at most 1048576 bytes"):
            exchange.post(b"{}")
        exchange.close()


def test_nothing_is_unpacked_and_no_redirect_followed() -> None:
    packed = zlib.compress(b"0" * (8 << 20))
    answers = [
        OK + b"content-encoding: deflate\r\ncontent-length: %d\r\n\r\n%s" % (len(packed), packed),
        b"HTTP/1.1 307 Elsewhere\r\nlocation: /elsewhere\r\ncontent-length: 0\r\n\r\n",
    ]
    with answering(lambda connection, _: connection.sendall(answers.pop(0))) as url:
        exchange = Exchange(url, {}, 10, 1 << 20)
        assert exchange.post(b"{}") == (200, packed)
        assert exchange.post(b"{}") == (307, b"")
        exchange.close()


def test_closing_ends_a_question_that_is_under_way_and_every_later_one() -> None:
    with answering(say_nothing) as url:
        exchange = Exchange(url, {}, 60, 1 << 20)
        said: list[str] = []

        def ask() -> None:
            with pytest.raises(Unavailable) as caught:
                exchange.post(b"{}")
            said.append(str(caught.value))

        asking = threading.Thread(target=ask)
        begun = time.monotonic()
        asking.start()
        time.sleep(0.2)
        exchange.close()
        asking.join()
        ask()
        exchange.close()
        assert said == ["closed", "closed"]
        assert time.monotonic() - begun < 10


def test_what_is_no_url_is_refused() -> None:
    with pytest.raises(Refused, match="expected an http"):
        Exchange("http://[::1", {}, 1, 1)
