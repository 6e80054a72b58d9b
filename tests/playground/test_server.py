"""The playground's answers and refusals, asked as a server would ask: without a socket."""

import asyncio
import json
import re
import struct
import time

import pytest

pytest.importorskip("starlette")
pytest.importorskip("uvicorn")

from fastnn.playground import server  # noqa: E402

TOKEN, PORT = "right-token", 8123
HOST, ORIGIN = f"127.0.0.1:{PORT}", f"http://127.0.0.1:{PORT}"
CSV = b"a,b,kind\n" + b"".join(b"%d,%d,%d\n" % (i, i * i % 7, i % 2) for i in range(40))


class Client:
    """Asks an application."""

    def __init__(self, **settings):
        self.app = server.make_app(TOKEN, PORT, **settings)

    def ask(self, method, path, body=b"", *, headers=None, pieces=None, query=b""):
        """(status, headers, body) of an answer; ``pieces``: of a body without a length."""
        given = {"host": HOST, "origin": None if method == "GET" else ORIGIN,
                 **(headers or {})}
        if pieces is None:
            given.setdefault("content-length", str(len(body)))
        scope = {"type": "http", "method": method, "path": path, "query_string": query,
                 "http_version": "1.1", "scheme": "http", "root_path": "", "server": ("", PORT),
                 "client": ("127.0.0.1", 1), "raw_path": path.encode(),
                 "headers": [(name.encode(), value.encode()) for name, value in given.items()
                             if value is not None]}
        bodies = [body] if pieces is None else list(pieces)
        answer, read = [], []

        async def receive():
            if not bodies:
                return {"type": "http.disconnect"}
            read.append(len(bodies[0]))
            return {"type": "http.request", "body": bodies.pop(0), "more_body": bool(bodies)}

        async def send(message):
            answer.append(message)

        asyncio.run(self.app(scope, receive, send))
        self.read = sum(read)
        start, *parts = answer
        return (start["status"], [(name.decode(), value.decode()) for name, value
                                  in start["headers"]],
                b"".join(part.get("body", b"") for part in parts))

    def post(self, path, body=b"", **settings):
        """(status, JSON or bytes) of a request below the token."""
        status, headers, found = self.ask("POST", f"/{TOKEN}/{path}", body, **settings)
        return status, json.loads(found) if dict(headers)["content-type"].startswith(
            "application/json") else found

    def open(self, query=b""):
        status, found = self.post("open", query)
        assert status == 200, found
        return found["session"], found["setup"]


@pytest.fixture
def client():
    return Client()


def epoch_of(frame):
    length, = struct.unpack("<I", frame[:4])
    return json.loads(frame[4:4 + length])["epoch"]


# ---- what it answers ----

def test_the_page_and_its_files(client):
    status, headers, page = client.ask("GET", f"/{TOKEN}/")
    assert status == 200 and dict(headers)["content-type"].startswith("text/html")
    names = re.findall(r'(?:src|href)="([^"]+)"', page.decode())
    assert set(names) <= server.FILES.keys() and len(names) == 3
    for name, (_, kind) in server.FILES.items():
        status, headers, body = client.ask("GET", f"/{TOKEN}/{name}")
        assert status == 200 and dict(headers)["content-type"].startswith(kind) and body
        for imported in re.findall(rb'from "\./([^"]+)"', body):
            assert imported.decode() in server.FILES
        # nothing comes from elsewhere, nothing goes there
        outside = set(re.findall(rb"https?://[\w./]+", body)) - {b"http://www.w3.org/2000/svg"}
        assert not outside, name


def test_headers_of_all_answers(client):
    for method, path in (("GET", f"/{TOKEN}/"), ("GET", f"/{TOKEN}/no"), ("GET", "/"),
                         ("POST", f"/{TOKEN}/open"), ("GET", f"/{TOKEN}/style.css")):
        found = dict(client.ask(method, path)[1])
        assert "default-src 'none'" in found["content-security-policy"]
        assert "unsafe" not in found["content-security-policy"]
        assert "frame-ancestors 'none'" in found["content-security-policy"]
        assert found["referrer-policy"] == "no-referrer"
        assert found["x-content-type-options"] == "nosniff"
        assert found["cache-control"] == "no-store"
        assert not any(name.startswith("access-control") for name in found)


def test_a_session(client):
    status, _, body = client.ask("GET", f"/{TOKEN}/choices")
    choices = json.loads(body)
    assert status == 200 and choices["defaults"]["data"] == "circles"
    name, setup = client.open(b"data=xor&layers=3")
    assert setup["sizes"] == [2, 3, 1]
    assert epoch_of(client.post(f"{name}/advance", b'{"epochs": 7}')[1]) == 7
    assert epoch_of(client.post(f"{name}/advance", b'{"seconds": 0.01}')[1]) > 7
    status, setup = client.post(f"{name}/change", b"data=xor&layers=4,2")
    assert status == 200 and setup["sizes"] == [2, 4, 2, 1]
    assert epoch_of(client.post(f"{name}/advance", b"{}")[1]) == 0
    client.post(f"{name}/advance", b'{"epochs": 3}')
    status, _, script = client.ask("GET", f"/{TOKEN}/{name}/script")
    assert status == 200 and b"epochs=3," in script and b"fastnn.MLP((2, 4, 2, 1)" in script
    assert client.post(f"{name}/reset")[0] == 200
    assert epoch_of(client.post(f"{name}/advance", b"{}")[1]) == 0
    assert client.post(f"{name}/close") == (200, {})
    assert client.post(f"{name}/advance", b"{}")[0] == 410


def test_a_file(client):
    name, _ = client.open()
    status, setup = client.post(f"{name}/csv", CSV, query=b"data=csv&x=b&y=a")
    assert status == 200 and setup["names"] == ["b", "a"]
    assert setup["table"] == {"inputs": ["a", "b", "kind"], "targets": ["a", "b", "kind"],
                              "rows": 40}
    status, setup = client.post(f"{name}/change", b"data=csv&x=a&y=b&target=kind")
    assert status == 200 and setup["classes"] == ["0", "1"]
    assert epoch_of(client.post(f"{name}/advance", b'{"epochs": 2}')[1]) == 2


def test_an_address_with_a_file_that_is_not_there(client):
    status, found = client.post("open", b"data=csv&layers=3")
    assert status == 200 and found["setup"]["settings"]["data"] == "circles"
    assert found["setup"]["sizes"] == [2, 3, 1] and "load it again" in found["note"]


# ---- who is let in ----

def refused(client, method="POST", path=f"/{TOKEN}/open", **headers):
    status, _, body = client.ask(method, path, headers=headers)
    assert status == 403
    return json.loads(body)["error"]


@pytest.mark.parametrize("path", ["/", "", "/wrong/", f"/{TOKEN}", f"/{TOKEN}x/", "/right/open",
                                  f"/x/{TOKEN}/", f"/{TOKEN.upper()}/", "/ö/", "//", "/../"])
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_wrong_tokens(client, path, method):
    assert "no token, or a wrong one" in refused(client, method, path)


@pytest.mark.parametrize("origin", [
    "http://evil.example", "null", "http://127.0.0.1:8124", "https://127.0.0.1:8123", "",
    "http://127.0.0.1:8123.evil.example", "http://127.0.0.1", "http://localhost:81230",
    "file://", "http://[::1]:8123",
])
def test_foreign_origins(client, origin):
    assert "from the playground's own page" in refused(client, origin=origin)
    assert "from the playground's own page" in refused(client, "GET", f"/{TOKEN}/", origin=origin)


def test_no_origin(client):
    assert "without an origin" in refused(client, origin=None)
    for method in ("PUT", "DELETE", "OPTIONS"):
        assert refused(client, method, origin=None)
    assert client.ask("GET", f"/{TOKEN}/")[0] == 200  # who types an address has none


@pytest.mark.parametrize("host", ["evil.example", "evil.example:8123", "127.0.0.1", "127.0.0.1:80",
                                  "localhost", "0.0.0.0:8123", "[::1]:8123", "", None])
def test_other_names_of_this_machine(client, host):
    """A page of a stranger's, whose name leads to 127.0.0.1 by the stranger's DNS."""
    assert "127.0.0.1 and localhost alone" in refused(client, "GET", f"/{TOKEN}/", host=host)


def test_both_names_are_let_in(client):
    for name in ("127.0.0.1", "localhost"):
        headers = {"host": f"{name}:{PORT}", "origin": f"http://{name}:{PORT}"}
        assert client.ask("POST", f"/{TOKEN}/open", headers=headers)[0] == 200


def test_two_origins_in_one_request(client):
    scope_headers = [(b"host", HOST.encode()), (b"origin", b"http://evil.example"),
                     (b"origin", ORIGIN.encode())]
    assert client.app.refusal({"headers": scope_headers, "method": "POST",
                               "path": f"/{TOKEN}/open"}) is not None


def test_nothing_but_http(client):
    async def none():
        raise AssertionError

    asyncio.run(client.app({"type": "websocket", "path": f"/{TOKEN}/", "headers": []}, none, none))


def test_tokens_are_random():
    tokens = {server.secrets.token_urlsafe(16) for _ in range(100)}
    assert len(tokens) == 100 and min(map(len, tokens)) >= 22


# ---- what it refuses ----

@pytest.mark.parametrize("path, limit", [("open", server.MAX_MESSAGE),
                                         ("NAME/change", server.MAX_MESSAGE),
                                         ("NAME/advance", server.MAX_MESSAGE),
                                         ("NAME/reset", server.MAX_MESSAGE),
                                         ("NAME/close", server.MAX_MESSAGE),
                                         ("NAME/csv", server.MAX_CSV)])
def test_giant_messages(client, path, limit):
    name, _ = client.open()
    path = path.replace("NAME", name)
    # said to be large: it is not read
    status, found = client.post(path, b"x", headers={"content-length": str(10**12)})
    assert status == 413 and f"larger than {limit:,} bytes" in found["error"]
    assert client.read == 0
    # not said: it is read up to the limit
    pieces = [b"x" * 2**14] * (limit // 2**14 + 50)
    status, _ = client.post(path, pieces=pieces)
    assert status == 413 and client.read <= limit + 2**14
    # said to be small
    status, _ = client.post(path, pieces=pieces, headers={"content-length": "10"})
    assert status == 413
    for wrong in ("-1", "1e3", "x", ""):
        assert client.post(path, b"", headers={"content-length": wrong})[0] == 413
    assert client.post(f"{name}/advance", b"{}")[0] == (410 if path.endswith("close") else 200) or (
        path.endswith("close"))


def test_bodies_without_an_end(client, monkeypatch):
    monkeypatch.setattr(server, "BODY_SECONDS", 0.05)
    name, _ = client.open()

    async def ask():
        answer = []

        async def receive():
            await asyncio.sleep(30)

        async def send(message):
            answer.append(message)

        await client.app({"type": "http", "method": "POST", "path": f"/{TOKEN}/{name}/csv",
                          "query_string": b"", "http_version": "1.1", "scheme": "http",
                          "headers": [(b"host", HOST.encode()), (b"origin", ORIGIN.encode())]},
                         receive, send)
        return answer[0]["status"]

    assert asyncio.run(ask()) == 408


@pytest.mark.parametrize("body, message", [
    (b"", "must be"), (b"{", "must be"), (b"[1]", "must be"), (b'{"epoch": 1}', "must be"),
    (b"[" * 10_000, "must be"), (b"\xff", "must be"),
    (b'{"epochs": -1}', "epochs must be a whole number from 0 to 100"),
    (b'{"epochs": 1.5}', "epochs must be"), (b'{"epochs": true}', "epochs must be"),
    (b'{"epochs": 101}', "epochs must be"), (b'{"epochs": "1"}', "epochs must be"),
    (b'{"epochs": ' + b"9" * 5000 + b"}", "must be"),
    (b'{"seconds": 1}', "seconds must be a number from 0 to 0.1"),
    (b'{"seconds": -1}', "seconds must be"), (b'{"seconds": NaN}', "seconds must be"),
    (b'{"seconds": Infinity}', "seconds must be"), (b'{"seconds": null}', "seconds must be"),
])
def test_wrong_amounts(client, body, message):
    name, _ = client.open()
    status, found = client.post(f"{name}/advance", body)
    assert status == 400 and message in found["error"]
    assert epoch_of(client.post(f"{name}/advance", b"{}")[1]) == 0


def test_wrong_settings(client):
    assert client.post("open", b"\xff")[0] == 400
    status, found = client.post("open", b"dat=xor")
    assert status == 422 and "did you mean data" in found["error"]
    name, _ = client.open()
    assert client.post(f"{name}/change", b"layers=99")[0] == 422
    assert client.post(f"{name}/change", b"data=csv")[0] == 422
    assert client.post(f"{name}/change", b"x" * 5000)[0] == 422


def test_malformed_files(client):
    name, _ = client.open()
    client.post(f"{name}/advance", b'{"epochs": 5}')
    for body, message in ((b"", "the file is empty"), (b"\xff\xd8", "not text in UTF-8"),
                          (b"a,b\n1\n2\n3\n4\n", "row 2"), (CSV + b"1,2\n", "row 42")):
        status, found = client.post(f"{name}/csv", body, query=b"data=csv")
        assert status == 422 and message in found["error"]
    assert client.post(f"{name}/csv", CSV, query=b"data=csv&target=no")[0] == 422
    assert epoch_of(client.post(f"{name}/advance", b"{}")[1]) == 5  # it goes on as it was


@pytest.mark.parametrize("method, path, status", [
    ("GET", "no", 404), ("GET", "page/main.js", 404), ("GET", "../server.py", 404),
    ("GET", "%2e%2e/server.py", 404), ("GET", "open", 404), ("POST", "choices", 405),
    ("POST", "nobody/advance", 410), ("POST", "nobody/change", 410), ("POST", "nobody/csv", 410),
    ("GET", "nobody/script", 410), ("POST", "nobody/close", 200), ("POST", "style.css", 405),
])
def test_other_requests(client, method, path, status):
    assert client.ask(method, f"/{TOKEN}/{path}")[0] == status


def test_a_fault_of_the_program_is_told(client, monkeypatch):
    name, _ = client.open()

    def fail(*args):
        raise MemoryError

    monkeypatch.setattr(server.Session, "advance", fail)
    answer = []

    async def ask():
        async def receive():
            return {"type": "http.request", "body": b"{}", "more_body": False}

        async def send(message):
            answer.append(message)

        await client.app({"type": "http", "method": "POST", "path": f"/{TOKEN}/{name}/advance",
                          "query_string": b"", "http_version": "1.1", "scheme": "http",
                          "headers": [(b"host", HOST.encode()), (b"origin", ORIGIN.encode())]},
                         receive, send)

    with pytest.raises(MemoryError):  # which uvicorn prints
        asyncio.run(ask())
    start, body = answer
    assert start["status"] == 500
    assert "a fault of the program (MemoryError)" in json.loads(body["body"])["error"]


def test_requests_under_way_when_the_program_ends(client):
    answer = []

    async def ask():
        async def receive():
            await asyncio.sleep(30)

        async def send(message):
            answer.append(message)

        task = asyncio.ensure_future(client.app(
            {"type": "http", "method": "POST", "path": f"/{TOKEN}/open", "query_string": b"",
             "http_version": "1.1", "scheme": "http",
             "headers": [(b"host", HOST.encode()), (b"origin", ORIGIN.encode())]}, receive, send))
        await asyncio.sleep(0.05)
        task.cancel()  # as uvicorn does
        await task

    asyncio.run(ask())
    assert answer[0]["status"] == 503


# ---- several pages ----

def test_pages_do_not_meet(client):
    (first, _), (second, _) = client.open(), client.open(b"layers=8,8")
    assert first != second and len(first) >= 22
    client.post(f"{first}/advance", b'{"epochs": 4}')
    client.post(f"{second}/advance", b'{"epochs": 2}')
    client.post(f"{second}/reset")
    client.post(f"{second}/close")
    assert epoch_of(client.post(f"{first}/advance", b"{}")[1]) == 4


def test_more_pages_than_there_is_room_for(monkeypatch):
    client = Client(max_sessions=3)
    names = [client.open()[0] for _ in range(3)]
    status, found = client.post("open")
    assert status == 503 and "3 pages are open" in found["error"]
    assert client.post(f"{names[0]}/advance", b"{}")[0] == 200  # no page ends another's
    now = time.monotonic()
    monkeypatch.setattr(server.time, "monotonic", lambda: now + server.IDLE_SECONDS - 5)
    client.post(f"{names[0]}/advance", b"{}")
    monkeypatch.setattr(server.time, "monotonic", lambda: now + server.IDLE_SECONDS + 5)
    client.open()  # in place of the one that nobody has asked for longest
    assert [client.post(f"{name}/advance", b"{}")[0] for name in names] == [200, 410, 200]
