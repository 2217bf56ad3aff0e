"""Real servers on loopback, for tests, and pictures to send to them."""

import asyncio
import io
import threading

import pytest

from impasto import images
from impasto.serve.settings import Listening
from tiny import noise


def pixels_of(seed, width=64, height=48):
    return noise(height, width, seed=seed)[0].permute(1, 2, 0).contiguous().numpy()


def png(seed=0, width=64, height=48, *, light=1):
    stream = io.BytesIO()
    images.write(images.read(light * pixels_of(seed, width, height)), stream, format="PNG")
    return stream.getvalue()


class _Running:
    """A server in an event loop and a thread of its own."""

    def __init__(self, service, listening=None):
        self.service = service
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever)
        self._thread.start()
        try:
            self.port = self.call(self.start(listening or Listening(http_port=0, grpc_port=0)))
        except BaseException:
            self._end()
            raise

    def call(self, work):
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(30)

    def close(self):
        if self._thread.is_alive():
            self.call(self.stop())
            self._end()

    def _end(self):
        self.call(self._loop.shutdown_default_executor())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()
        self.service.close(0)


class GrpcRunning(_Running):
    """A gRPC server."""

    async def start(self, listening):
        from impasto.serve.grpc import GrpcServer

        self.server = GrpcServer(self.service, listening)
        return await self.server.start()

    async def stop(self):
        await self.server.stop(0.2)


class HttpRunning(_Running):
    """An HTTP server."""

    async def start(self, listening):
        run = pytest.importorskip("impasto.serve.run")
        self._bound = run.listen(listening.host, listening.http_port)
        self._server = run._Server(run._config(self.service, listening))
        self._serving = asyncio.ensure_future(self._server.serve(sockets=[self._bound]))
        while not self._server.started:
            await asyncio.sleep(0.01)
        return self._bound.getsockname()[1]

    async def stop(self):
        self._server.should_exit = True
        await self._serving
        self._bound.close()
