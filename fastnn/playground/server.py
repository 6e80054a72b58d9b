"""The playground behind HTTP, on this machine alone.

Everything lies below a random token in the path. The page asks for each frame when it has drawn the
one before: a network learns only while somebody looks, at the speed of the screen, and a page that
is closed or hidden leaves nothing running. Each page has a session of its own, whose name only it
knows.

    GET  /TOKEN/                 the page; its files below it
    GET  /TOKEN/choices          what can be set
    POST /TOKEN/open             settings -> session
    POST /TOKEN/SESSION/change   settings: go on with others
    POST /TOKEN/SESSION/reset    begin anew
    POST /TOKEN/SESSION/csv      settings in the query, a CSV file in the body
    POST /TOKEN/SESSION/advance  {"epochs": n} or {"seconds": s} -> a frame, see `Session.frame`
    GET  /TOKEN/SESSION/script   the same network in Python
    POST /TOKEN/SESSION/close

Errors are {"error": "..."}: 400, 403 (no token, another origin), 404, 410 (no such session), 413,
422 (settings, CSV), 500 (a fault of the program), 503 (too many sessions, the program ends).
"""

import asyncio
import json
import os
import secrets
import socket
import time
from collections import OrderedDict
from dataclasses import replace
from importlib import resources

import uvicorn
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from fastnn.playground.data import Table
from fastnn.playground.session import Session
from fastnn.playground.settings import CHOICES, Settings, SettingsError

__all__ = ["Guard", "make_app", "serve"]

HOST = "127.0.0.1"
MAX_MESSAGE, MAX_CSV = 16 << 10, 2 << 20  # bytes
BODY_SECONDS = 10.0  # so long a body may take
MAX_SECONDS, MAX_EPOCHS = 0.1, 100  # of one request
MAX_SESSIONS, IDLE_SECONDS = 64, 600.0
FILES = {"": ("index.html", "text/html"), "style.css": ("style.css", "text/css")}
SCRIPTS = ("main.js", "api.js", "controls.js", "draw.js", "network.js")
FILES |= {name: (name, "text/javascript") for name in SCRIPTS}
FILES["icon.svg"] = ("icon.svg", "image/svg+xml")
HEADERS = [(name.encode(), value.encode()) for name, value in {
    "content-security-policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src "
    "'self'; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-resource-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "cache-control": "no-store",
}.items()]


class Guard:
    """ASGI: lets in who came to this machine by its name, knows the token, and comes from the page.

    Parameters
    ----------
    app : ASGI application
        Sees paths without the token.
    token : str
    port : int
    """

    def __init__(self, app, token, port):
        self.app, self.token = app, token.encode()
        names = [f"{host}:{port}" for host in (HOST, "localhost")]
        self.hosts = {name.encode() for name in names}
        self.origins = {f"http://{name}".encode() for name in names}

    async def __call__(self, scope, receive, send):
        if scope["type"] != "http":
            return

        has_begun = False

        async def guarded_send(message):
            nonlocal has_begun
            if message["type"] == "http.response.start":
                has_begun = True
                message = {**message, "headers": [*message.get("headers", ()), *HEADERS]}
            await send(message)

        refused = self.refusal(scope)
        if refused is not None:
            await JSONResponse({"error": refused}, 403)(scope, receive, guarded_send)
            return
        path = scope["path"].lstrip("/").partition("/")[2]
        try:
            await self.app({**scope, "path": f"/{path}", "raw_path": None}, receive, guarded_send)
        except asyncio.CancelledError:  # the program ends; uvicorn would print where we are
            if not has_begun:
                ended = JSONResponse({"error": "the playground's program ends"}, 503)
                await ended(scope, receive, guarded_send)

    def refusal(self, scope):
        """Return why a request is refused; None: it is not."""
        headers = {}
        for name, value in scope["headers"]:
            if name in headers and name in (b"host", b"origin"):
                return "two headers of one name"
            headers[name] = value
        # a name that leads here by somebody else's DNS would make the page's origin theirs
        if headers.get(b"host") not in self.hosts:
            return "the playground answers at 127.0.0.1 and localhost alone"
        origin = headers.get(b"origin")
        if origin is not None and origin not in self.origins:
            return "requests come from the playground's own page"
        if origin is None and scope["method"] not in ("GET", "HEAD"):
            return "a request without an origin: browsers send one"
        token, slash, _ = scope["path"].lstrip("/").partition("/")
        if not slash or not secrets.compare_digest(token.encode(), self.token):
            return "no token, or a wrong one: take the address that the program has printed"
        return None


class Playground:
    """The sessions, and the answers to requests."""

    def __init__(self, max_sessions=MAX_SESSIONS):
        self.max_sessions = max_sessions
        self.sessions = OrderedDict()  # name -> (session, time of the last request)

    def routes(self):
        """Return the routes."""
        return [
            Route("/choices", self.choices),
            Route("/open", self.open, methods=["POST"]),
            Route("/{session}/change", self.change, methods=["POST"]),
            Route("/{session}/reset", self.reset, methods=["POST"]),
            Route("/{session}/csv", self.csv, methods=["POST"]),
            Route("/{session}/advance", self.advance, methods=["POST"]),
            Route("/{session}/script", self.script),
            Route("/{session}/close", self.close, methods=["POST"]),
            Route("/{name:path}", self.file),
        ]

    # ---- sessions ----

    def add(self, session):
        """Keep a session; return its name. One that nobody has asked for long makes room."""
        now = time.monotonic()
        while len(self.sessions) >= self.max_sessions:
            name, (_, last) = next(iter(self.sessions.items()))
            if now - last < IDLE_SECONDS:
                raise HTTPException(503, f"{self.max_sessions} pages are open: close one of them")
            del self.sessions[name]
        name = secrets.token_urlsafe(16)
        self.sessions[name] = session, now
        return name

    def session(self, request):
        """Return the session of a request."""
        name = request.path_params["session"]
        if name not in self.sessions:
            raise HTTPException(410, "the session has ended: load the page again")
        session, _ = self.sessions[name]
        self.sessions[name] = session, time.monotonic()
        self.sessions.move_to_end(name)
        return session

    # ---- requests ----

    async def file(self, request):
        """Answer with a file of the page."""
        found = FILES.get(request.path_params["name"])
        if found is None:
            raise HTTPException(404, "there is no such file")
        body = resources.files("fastnn.playground").joinpath("page", found[0]).read_bytes()
        return Response(body, media_type=found[1])

    async def choices(self, request):
        """Answer what can be set, and the defaults."""
        return JSONResponse({**CHOICES, "defaults": Settings().plain()})

    async def open(self, request):
        """Begin a session."""
        settings, note = _settings(await _body(request, MAX_MESSAGE)), None
        if settings.data == "csv":
            settings = replace(settings, data="circles", loss="").checked()
            note = "the address names a CSV file, which the server does not have: load it again"
        session = await asyncio.to_thread(Session, settings)
        name = self.add(session)
        maps = await asyncio.to_thread(session.feature_maps)
        return JSONResponse({"session": name, "note": note, "setup": session.setup(),
                             "feature_maps": maps.tolist()})

    async def change(self, request):
        """Go on with other settings."""
        session = self.session(request)
        settings = _settings(await _body(request, MAX_MESSAGE))
        await asyncio.to_thread(session.change, settings)
        return JSONResponse(await asyncio.to_thread(session.setup))

    async def reset(self, request):
        """Begin anew."""
        session = self.session(request)
        await _body(request, MAX_MESSAGE)
        await asyncio.to_thread(session.restart)
        return JSONResponse(await asyncio.to_thread(session.setup))

    async def csv(self, request):
        """Take a CSV file."""
        session = self.session(request)
        settings = _settings(request.url.query.encode())
        body = await _body(request, MAX_CSV)
        table = await asyncio.to_thread(Table, body)
        await asyncio.to_thread(session.restart, settings, table)
        return JSONResponse(await asyncio.to_thread(session.setup))

    async def advance(self, request):
        """Train, and answer with a frame."""
        session = self.session(request)
        epochs, seconds = _amount(await _body(request, MAX_MESSAGE))

        def work():
            session.advance(epochs, seconds)
            return session.frame()

        frame = await asyncio.to_thread(work)
        return Response(frame, media_type="application/octet-stream")

    async def script(self, request):
        """Answer with the same network in Python."""
        session = self.session(request)
        return PlainTextResponse(await asyncio.to_thread(session.script))

    async def close(self, request):
        """End a session."""
        await _body(request, MAX_MESSAGE)
        self.sessions.pop(request.path_params["session"], None)
        return JSONResponse({})


def _settings(body):
    try:
        return Settings.parse(body.decode("utf-8"))
    except UnicodeDecodeError:
        raise HTTPException(400, "the settings are not text in UTF-8") from None


def _amount(body):
    """Return the epochs, or None, and the seconds that a page asks for."""
    try:
        asked = json.loads(body)
    except (ValueError, RecursionError):
        asked = None
    if not isinstance(asked, dict) or not set(asked) <= {"epochs", "seconds"}:
        raise HTTPException(400, 'the body must be {"epochs": n} or {"seconds": s}')
    epochs, seconds = asked.get("epochs"), asked.get("seconds", 0.0)
    if epochs is not None and (type(epochs) is not int or not 0 <= epochs <= MAX_EPOCHS):
        raise HTTPException(400, f"epochs must be a whole number from 0 to {MAX_EPOCHS}")
    if type(seconds) not in (int, float) or not 0 <= seconds <= MAX_SECONDS:
        raise HTTPException(400, f"seconds must be a number from 0 to {MAX_SECONDS}")
    return epochs, seconds


async def _body(request, limit):
    """Return the body of a request, as long as it is no larger than it may be."""
    try:
        return await asyncio.wait_for(_whole_body(request, limit), BODY_SECONDS)
    except asyncio.TimeoutError:
        raise HTTPException(408, f"the body did not come to its end within {BODY_SECONDS:g} s",
                            {"connection": "close"}) from None
    except ClientDisconnect:
        raise HTTPException(400, "the page went away in the midst of the body") from None


async def _whole_body(request, limit):
    length = request.headers.get("content-length", "0")
    body, size = bytearray(), int(length) if length.isdecimal() else limit + 1
    if size <= limit:
        async for piece in request.stream():  # which may be longer than it said
            body += piece
            size = len(body)
            if size > limit:
                break
    if size > limit:
        raise HTTPException(413, f"the message is larger than {limit:,} bytes",
                            {"connection": "close"})
    return bytes(body)


async def _explain(request, error):
    return JSONResponse({"error": error.detail}, error.status_code, error.headers)


async def _explain_settings(request, error):
    return JSONResponse({"error": str(error)}, 422)


async def _explain_fault(request, error):
    return JSONResponse({"error": f"a fault of the program ({type(error).__name__}); its terminal "
                                  "says more"}, 500)


def make_app(token, port, **settings):
    """Return the ASGI application of a playground."""
    app = Starlette(routes=Playground(**settings).routes(), exception_handlers={
        HTTPException: _explain, SettingsError: _explain_settings, Exception: _explain_fault})
    return Guard(app, token, port)


def serve(port=0, opened=None):
    """Serve until Ctrl-C or a signal ends it.

    Parameters
    ----------
    port : int, default=0
        Of 127.0.0.1; 0: any that is free.
    opened : callable or None, default=None
        Called with the address, the token in it, once it can be asked.

    Raises
    ------
    OSError
        When the port is taken.
    """
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    try:
        if os.name == "posix":  # else a port is taken for a minute after the last playground's end
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((HOST, port))
        port = listener.getsockname()[1]
        token = secrets.token_urlsafe(16)
        config = uvicorn.Config(make_app(token, port), log_level="warning", access_log=False,
                                ws="none", lifespan="off", timeout_keep_alive=60,
                                timeout_graceful_shutdown=2, server_header=False)
        listener.listen(128)  # from here on a browser may come
        # head and body of an answer are two packets: the second must not wait for the first
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if opened is not None:
            opened(f"http://{HOST}:{port}/{token}/")
        uvicorn.Server(config).run(sockets=[listener])
    finally:
        listener.close()
