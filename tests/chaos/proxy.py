"""A small TCP proxy on loopback: passes on, slows down, or cuts off as a broken network does."""

import asyncio
import contextlib
import socket

HOST = "127.0.0.1"
_CHUNK_BYTES = 64 * 1024


class Link:
    """The state of a network between one client and what it talks to.

    A cut drops nothing and refuses nothing: what is sent just does not arrive, and arrives after
    the cut if whoever sent it still waits, as with TCP over a network that comes back.
    """

    def __init__(self) -> None:
        self._passes = asyncio.Event()
        self._passes.set()
        self.delay_s = 0.0

    def cut(self) -> None:
        """Let nothing through."""
        self._passes.clear()

    def mend(self) -> None:
        """Let everything through again, at full speed."""
        self.delay_s = 0.0
        self._passes.set()

    async def pass_through(self) -> None:
        """Return when a chunk may go on."""
        if self.delay_s:
            await asyncio.sleep(self.delay_s)
        await self._passes.wait()


class Proxy:
    """One listening port before one server. The port is taken at once, to be told beforehand."""

    def __init__(self, link: Link) -> None:
        self._link = link
        self._listener = socket.create_server((HOST, 0))
        self.port = int(self._listener.getsockname()[1])
        self._target = 0
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    async def serve(self, target_port: int) -> None:
        """Begin to pass connections on to a port of this machine."""
        self._target = target_port
        self._server = await asyncio.start_server(self._accept, sock=self._listener)

    async def close(self) -> None:
        """End all connections and give the port back."""
        if self._server is not None:
            self._server.close()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._listener.close()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        if task is not None:
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        with contextlib.suppress(OSError, asyncio.CancelledError):
            await self._link.pass_through()
            there_reader, there_writer = await asyncio.open_connection(HOST, self._target)
            try:
                await self._both_ways(reader, writer, there_reader, there_writer)
            finally:
                there_writer.close()
        writer.close()

    async def _both_ways(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        there_reader: asyncio.StreamReader,
        there_writer: asyncio.StreamWriter,
    ) -> None:
        """Pass on until one side ends; a client and a broker have no half-closed connections."""
        ways = [
            asyncio.create_task(self._pass_on(reader, there_writer)),
            asyncio.create_task(self._pass_on(there_reader, writer)),
        ]
        try:
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for way in ways:
                way.cancel()
            await asyncio.gather(*ways, return_exceptions=True)

    async def _pass_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while chunk := await reader.read(_CHUNK_BYTES):
                await self._link.pass_through()
                writer.write(chunk)
                await writer.drain()
