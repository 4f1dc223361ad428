"""Who may do what: tokens, hosts and origins, sizes and rates, and the headers of every answer."""

import hmac
import json
import logging
import secrets
import time
from hashlib import sha256
from http.cookies import CookieError, SimpleCookie
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from distopt.service.settings import Settings
from distopt.service.store import Store

SCOPES = ("read", "run")  # each may do what those before it may
SAFE = {"GET", "HEAD", "OPTIONS"}
OPEN_PATHS = ("/health", "/login", "/static/")  # for those without a token
HEADERS = {
    "Content-Security-Policy": "default-src 'self'; frame-ancestors 'none'; base-uri 'none'; "
    "form-action 'self'; object-src 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cache-Control": "no-store",
}
MINUTE = 60.0

log = logging.getLogger("distopt.service.access")


def digest(token: str) -> str:
    """Return what is kept of a token: 256 random bits need no salt and no slow hash."""
    return sha256(token.encode()).hexdigest()


class Keys:
    """The tokens of a service."""

    def __init__(self, store: Store, required: bool) -> None:
        self.store, self.required = store, required

    def make(self, scope: str) -> str:
        """Make a token; nobody can find out later what it was."""
        token = secrets.token_urlsafe(32)
        self.store.add_token(digest(token), scope)
        return token

    def first(self) -> str | None:
        """Make the first token if one is needed and there is none."""
        return self.make("run") if self.required and not self.store.tokens() else None

    def scope(self, token: str) -> str | None:
        """Return what a token allows; None for an unknown one. Takes as long for any."""
        given, found = digest(token), None
        for known in self.store.tokens():
            if hmac.compare_digest(known.digest, given):
                found = known.scope
        return found

    def allows(self, token: str | None, method: str) -> bool:
        """Whether a token may be used for a method; without need for tokens everybody may do all."""
        if not self.required:
            return True
        scope = self.scope(token) if token else None
        return scope == "run" or (scope == "read" and method in SAFE)


class Rates:
    """Counts the changes of each client within a minute."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.counts: dict[str, int] = {}
        self.until = 0.0

    def admits(self, client: str) -> bool:
        """Count one more; return whether it is within the limit."""
        if time.monotonic() > self.until:
            self.counts, self.until = {}, time.monotonic() + MINUTE
        self.counts[client] = self.counts.get(client, 0) + 1
        return self.counts[client] <= self.limit


class Guard:
    """Stands before the whole application: refuses, and adds the headers to every answer."""

    def __init__(self, app: ASGIApp, settings: Settings, keys: Keys) -> None:
        self.app, self.settings, self.keys = app, settings, keys
        self.rates = Rates(settings.limits.changes_per_minute)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or answer it."""
        if scope["type"] != "http":
            if scope["type"] == "lifespan":
                await self.app(scope, receive, send)
            return
        began, status = time.monotonic(), 0
        body = Body(receive, self.settings.limits.body)

        async def answer(message: Message) -> None:
            nonlocal status
            if body.too_large and not status and not refused:
                return
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        refused = False
        try:
            refusal = self.refusal(scope)
            if refusal is None:
                await self.app(scope, body.receive, answer)
            if body.too_large:
                refusal = 413, self.too_large
            if refusal is not None and not status:
                refused = True
                page = "text/html" in Headers(scope=scope).get("accept", "")
                await refuse(answer, *refusal, to_login=page and scope["method"] == "GET")
        finally:
            told = {"method": scope["method"], "path": scope["path"], "status": status}
            log.info("request", extra=told | {"ms": round(1000 * (time.monotonic() - began))})

    @property
    def too_large(self) -> str:
        """The sentence about a large body."""
        return f"The request is larger than {self.settings.limits.body} bytes."

    def refusal(self, scope: Scope) -> tuple[int, str] | None:
        """Return status and sentence for a request that must not reach the application."""
        headers, method, path = Headers(scope=scope), scope["method"], scope["path"]
        host = headers.get("host", "")
        if not self.settings.knows(urlsplit(f"//{host}").hostname or "" if plain(host) else ""):
            return 421, (
                f"This server is not called {host[:100]!r}. Use its address, or tell it its name: "
                "distopt serve --name NAME."
            )
        if not same_origin(headers, host, method):
            return 403, "This request comes from another site, and is refused."
        client = scope.get("client") or ("", 0)
        if method not in SAFE and not self.rates.admits(str(client[0])):
            return 429, "There are too many requests from this client; wait a minute."
        length = headers.get("content-length", "0")
        if not length.isdecimal() or int(length[:20]) > self.settings.limits.body:
            return 413, self.too_large
        public = path in OPEN_PATHS or path.startswith("/static/")
        if not public and not self.keys.allows(token_of(headers, self.settings), method):
            return 401, (
                "A token is needed that allows this: give it as 'Authorization: Bearer TOKEN', or log in "
                "at /login."
            )
        return None


def plain(host: str) -> bool:
    """Whether the header Host is a name or address and perhaps a port, and nothing else."""
    return 0 < len(host) < 260 and not set(host) & set("/@?#\\ ,")


def same_origin(headers: Headers, host: str, method: str) -> bool:
    """Whether a request comes from a page of this server, or from no page at all."""
    origin = headers.get("origin")
    if origin is not None and urlsplit(origin).netloc != host:
        return False
    site = headers.get("sec-fetch-site", "none")
    return method in SAFE or site in {"same-origin", "none"}


def cookie_name(settings: Settings) -> str:
    """Name the cookie; browsers send it to every port of a host."""
    return f"distopt_{settings.port}"


def token_of(headers: Headers, settings: Settings) -> str | None:
    """Return the token of a request."""
    kind, _, token = headers.get("authorization", "").partition(" ")
    if kind.lower() == "bearer" and token:
        return token.strip()
    try:
        cookie = SimpleCookie(headers.get("cookie", "")).get(cookie_name(settings))
    except CookieError:
        return None
    return cookie.value if cookie else None


class Body:
    """The body of a request, cut off where it becomes too large."""

    def __init__(self, receive: Receive, most: int) -> None:
        self.source, self.left = receive, most
        self.too_large = False

    async def receive(self) -> Message:
        """Give the next part."""
        message = await self.source()
        self.left -= len(message.get("body", b""))
        if self.left < 0:
            self.too_large = True
            return {"type": "http.disconnect"}
        return message


async def refuse(send: Send, status: int, sentence: str, to_login: bool = False) -> None:
    """Answer with a sentence; lead a browser without a token to where it can give one."""
    body = json.dumps({"error": {"sentence": sentence, "key": None, "kind": "Refused"}}).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
    if status == 401 and to_login:
        status = 303
        headers.append((b"location", b"/login"))
    elif status == 401:
        headers.append((b"www-authenticate", b"Bearer"))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
