"""Clients of a service: one that calls its application directly, and a server for all others."""

import asyncio
import threading
import time
from contextlib import contextmanager

import httpx
import uvicorn

from distopt.service.app import create_app
from distopt.service.serving import KEEP_SECONDS


class Browser:
    """Calls the application of a service that need not have begun to work; keeps cookies."""

    def __init__(self, service, host="127.0.0.1:8080", **headers):
        self.app, self.url, self.headers = create_app(service), f"http://{host}", headers
        self.cookies = httpx.Cookies()

    def ask(self, method, path, **how):
        async def once():
            transport = httpx.ASGITransport(self.app)
            own = {"transport": transport, "base_url": self.url, "cookies": self.cookies}
            async with httpx.AsyncClient(**own, headers=self.headers) as client:
                return await client.request(method, path, **how), client.cookies

        answer, self.cookies = asyncio.run(once())
        return answer

    def get(self, path, **how):
        return self.ask("GET", path, **how)

    def post(self, path, **how):
        return self.ask("POST", path, **how)


@contextmanager
def serving(service):
    """Serve on a free port; gives an `httpx.Client`."""
    config = uvicorn.Config(
        create_app(service), port=0, log_config=None, access_log=False, server_header=False,
        timeout_graceful_shutdown=1, timeout_keep_alive=KEEP_SECONDS,
    )  # fmt: skip
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        while not server.started:
            assert thread.is_alive()
            time.sleep(0.01)
        port = server.servers[0].sockets[0].getsockname()[1]
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=300) as client:
            yield client
    finally:
        server.should_exit = True
        thread.join()
