"""One question over HTTP and its whole answer, both bounded: who is asked may be slow, or hostile.

A bound on each read is none: an answer that comes byte by byte, its headers too, would never end.
"""

from __future__ import annotations

import asyncio
import re
import threading
from collections.abc import Mapping
from concurrent.futures import CancelledError, Future
from typing import TypeAlias
from urllib.parse import urlsplit

import httpx

from ledger.errors import Malformed, Refused, Unavailable

_SHORTEST_SECRET = 6  # characters; "v2" and "rpc" are none

Answer: TypeAlias = tuple[int, bytes]
"""Status and body."""


class Exchange:
    """A server that takes questions by POST. `timeout` seconds are for a whole answer, from the connection on, and
    `longest` bytes for its body. No redirect is followed and nothing unpacked. Messages hold no part of the URL.
    `proxied`: through the proxy that the environment names, if any. Raises Refused for what is no URL."""

    def __init__(
        self, url: str, headers: Mapping[str, str], timeout: float, longest: int, proxied: bool = False
    ) -> None:
        self._url = url
        try:
            parts = urlsplit(url)
        except ValueError:
            raise Refused("expected an http(s) URL, with an IPv6 address in [ ]") from None
        # What may be a token: user, password, and each part of path and query.
        said = re.split(r"[/&=@:]", f"{parts.netloc.rpartition('@')[0]}/{parts.path}/{parts.query}")
        self._secrets = sorted({each for each in said if len(each) >= _SHORTEST_SECRET}, key=len, reverse=True)
        self._timeout = timeout
        self._longest = longest
        self._lock = threading.Lock()
        self._closed = False
        self._loop: asyncio.AbstractEventLoop | None = None
        self._asked: set[Future[Answer]] = set()
        self._client = httpx.AsyncClient(
            timeout=timeout, trust_env=proxied, headers={"accept-encoding": "identity", **headers}
        )

    def post(self, content: bytes) -> Answer:
        """Raises Unavailable where no whole answer comes in time or `close` was called, Malformed for a longer one."""
        with self._lock:
            if self._closed:
                raise Unavailable("closed")
            asked = asyncio.run_coroutine_threadsafe(self._bounded(content), self._running())
            self._asked.add(asked)
        try:
            return asked.result()
        except CancelledError:
            raise Unavailable("closed") from None
        except TimeoutError:
            raise Unavailable(f"no whole answer within {self._timeout:g} s") from None
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise Unavailable(type(error).__name__) from None
        finally:
            asked.cancel()  # where this thread was told to end
            self._asked.discard(asked)

    def without_secrets(self, text: str) -> str:
        """Words of who was asked, who may repeat the question's URL."""
        for each in self._secrets:
            text = text.replace(each, "...")
        return text

    def close(self) -> None:
        """From any thread, at any time, and more than once: a question under way ends."""
        with self._lock:
            loop, self._loop, self._closed = self._loop, None, True
            for asked in tuple(self._asked):
                asked.cancel()
        if loop is not None:
            asyncio.run_coroutine_threadsafe(self._client.aclose(), loop).result()
            loop.call_soon_threadsafe(loop.stop)

    def _running(self) -> asyncio.AbstractEventLoop:
        if self._loop is None:
            self._loop = asyncio.new_event_loop()
            threading.Thread(target=_run, args=(self._loop,), name="exchange", daemon=True).start()
        return self._loop

    async def _bounded(self, content: bytes) -> Answer:
        async with asyncio.timeout(self._timeout):
            async with self._client.stream("POST", self._url, content=content) as answer:
                body = bytearray()
                async for part in answer.aiter_raw():
                    body += part
                    if len(body) > self._longest:
                        raise Malformed(f"expected an answer of at most {self._longest} bytes")
                return answer.status_code, bytes(body)


def _run(loop: asyncio.AbstractEventLoop) -> None:
    try:
        loop.run_forever()
    finally:
        loop.close()
