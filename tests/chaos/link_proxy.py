"""A hospital's line: TCP forwarded to the exchange, slowly, and cut now and then."""

import asyncio
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass

PIECE = 4096


@dataclass(frozen=True)
class Link:
    """How bad a line is.

    Attributes:
        rate: bytes per second in each direction.
        cut_up: bytes sent upwards, all connections together, after which every connection is cut.
        cut_down: the same for bytes received.
        dark: seconds after a cut in which nothing connects.
    """

    rate: float
    cut_up: Sequence[float] = ()
    cut_down: Sequence[float] = ()
    dark: float = 1.0


class LinkProxy:
    """Forwards one port of loopback to another in a thread of its own, which ends with the process."""

    def __init__(self, link: Link) -> None:
        self._link = link
        self._left = {"up": list(link.cut_up), "down": list(link.cut_down)}
        self._dark_until = 0.0
        self._writers: set[asyncio.StreamWriter] = set()
        self._due = {"up": 0.0, "down": 0.0}
        self._target = 0
        self._port = 0
        self._ready = threading.Event()
        self.passed = {"up": 0, "down": 0}
        """Bytes that went each way."""
        self.cuts = 0

    def open(self, target: int) -> int:
        """Forward to ``target`` from now on; returns the port to connect to, the same at each call."""
        self._target = target
        if not self._port:
            threading.Thread(target=lambda: asyncio.run(self._serve()), daemon=True).start()
            if not self._ready.wait(10.0):
                raise RuntimeError("the proxy does not listen")
        return self._port

    async def _serve(self) -> None:
        server = await asyncio.start_server(self._connection, "127.0.0.1", 0, limit=4 * PIECE)
        self._port = server.sockets[0].getsockname()[1]
        self._ready.set()
        async with server:
            await server.serve_forever()

    async def _connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if time.monotonic() < self._dark_until:
            writer.transport.abort()
            return
        try:
            up_reader, up_writer = await asyncio.open_connection("127.0.0.1", self._target, limit=4 * PIECE)
        except OSError:
            writer.transport.abort()
            return
        both = {writer, up_writer}
        self._writers |= both
        for side in both:  # what lies in buffers is neither sent nor lost: keep little there
            side.transport.set_write_buffer_limits(high=PIECE)
        try:
            tasks = [
                asyncio.create_task(self._pump(reader, up_writer, "up")),
                asyncio.create_task(self._pump(up_reader, writer, "down")),
            ]
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        finally:
            self._writers -= both
            for side in both:
                side.transport.abort()

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, way: str) -> None:
        while data := await reader.read(PIECE):
            # One token bucket per direction, shared by all connections of the line.
            now = time.monotonic()
            self._due[way] = max(self._due[way], now) + len(data) / self._link.rate
            await asyncio.sleep(max(0.0, self._due[way] - now))
            writer.write(data)
            await writer.drain()
            self.passed[way] += len(data)
            if self._left[way] and self.passed[way] >= self._left[way][0]:
                self._left[way].pop(0)
                self._cut()

    def _cut(self) -> None:
        self.cuts += 1
        self._dark_until = time.monotonic() + self._link.dark
        for writer in list(self._writers):
            writer.transport.abort()
