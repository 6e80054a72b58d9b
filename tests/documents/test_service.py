"""examples/service.py as its users meet it: processes, requests on loopback, a signal to end it."""

import http.client
import importlib.util
import json
import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

import fastnn

pytest.importorskip("starlette")
pytest.importorskip("uvicorn")
if sys.platform == "win32":
    pytest.skip("signals and sessions of POSIX", allow_module_level=True)

ROOT = Path(__file__).resolve().parents[2]
# by its file: with the folder among the places of modules, benchmarks/sparse.py is what others get
# who look whether there is a package of that name
_spec = importlib.util.spec_from_file_location("service_load", ROOT / "benchmarks/service_load.py")
service_load = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(service_load)

N_IN = 8
WIDE = 3000  # so wide a network that few rows of it are worth a thread


def write_classifier(path, n_hidden=32):
    rng = np.random.default_rng(0)
    scaler = rng.standard_normal(N_IN), rng.uniform(0.5, 2, N_IN)
    net = fastnn.MLP((N_IN, n_hidden, 3), output="softmax", random_state=0)
    net.save(path, scaler=scaler, classes=["low", "middle", "high"],
             feature_names=[f"x{i}" for i in range(N_IN)])
    return path


@pytest.fixture(scope="module")
def environment():
    """The service finds the fastnn that is tested."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(Path(fastnn.__file__).parents[1]))
        yield


@pytest.fixture(scope="module")
def served(environment, tmp_path_factory):
    """(model of the file, port) of a service with two workers."""
    path = write_classifier(tmp_path_factory.mktemp("service") / "model.safetensors")
    with service_load.service(path, workers=2) as (_, port):
        yield fastnn.load(path, predictor=True), port


@pytest.fixture
def client(served):
    client = service_load.Client(served[1])
    yield client
    client.close()


def some_rows(n_rows, seed=0):
    return np.random.default_rng(seed).standard_normal((n_rows, N_IN)) * 3


def pids_of(port, number, seconds=20):
    """Process ids behind new connections, until there are so many."""
    found, deadline = set(), time.monotonic() + seconds
    while len(found) < number and time.monotonic() < deadline:
        clients = [service_load.Client(port) for _ in range(8)]
        for each in clients:
            each.connection.connect()
        found |= {each.get("/health")[1]["pid"] for each in clients}
        for each in clients:
            each.close()
    return found


def exists(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


# ---- answers ----

@pytest.mark.parametrize("n_rows", [1, 3, 500])
def test_answers_are_those_of_the_model(served, client, n_rows):
    model, X = served[0], some_rows(n_rows)
    status, answer = client.post("/predict", json.dumps({"rows": X.tolist()}))
    assert status == 200
    assert answer == {"labels": model.predict(X).tolist(),
                      "probabilities": model.predict_proba(X).tolist()}


def test_integers_are_rows_too(served, client):
    status, answer = client.post("/predict", json.dumps({"rows": [list(range(N_IN))]}))
    assert status == 200
    assert answer["labels"] == served[0].predict([list(range(N_IN))]).tolist()
    row = [10**20, *range(N_IN - 1)]  # as JavaScript writes 1e20
    status, answer = client.post("/predict", json.dumps({"rows": [row]}))
    assert status == 200
    assert answer["labels"] == served[0].predict([list(map(float, row))]).tolist()


def test_rows_of_tables_by_name(environment, tmp_path, monkeypatch):
    """Numbers and words as they are, missing ones null; unknown ones where they may be, and then
    without a warning, whose text Python would keep for ever."""
    pytest.importorskip("sklearn")
    monkeypatch.setenv("PYTHONWARNINGS", "error::UserWarning")
    import quick_recipe

    quick_recipe.use(monkeypatch)
    rng = np.random.default_rng(0)
    table = {"age": rng.normal(40, 10, 80), "city": rng.choice(np.array(["Rome", "Oslo"]), 80)}
    said = np.where(table["age"] > 40, "old", "young")
    model = fastnn.TabularClassifier(random_state=0).fit(table, said)
    model.save(tmp_path / "model.safetensors")
    rows = [{"age": 31.5, "city": "Rome"}, {"age": None, "city": "Oslo"}]
    with service_load.service(tmp_path / "model.safetensors", workers=1) as (_, port):
        client = service_load.Client(port)
        status, answer = client.post("/predict", json.dumps({"rows": rows}))
        assert status == 200
        assert answer == {"labels": model.predict(rows).tolist(),
                          "probabilities": model.predict_proba(rows).tolist()}
        status, found = client.get("/model")
        assert status == 200 and found["feature_names"] == ["age", "city"]
        odd = [{"age": 1, "city": "Atlantis"}]
        assert client.post("/predict", json.dumps({"rows": odd}))[0] == 200
        status, answer = client.post("/predict", json.dumps({"rows": odd, "strict": True}))
        assert status == 422 and "Atlantis" in answer["error"]
        for strict in ("true", 1, None):  # which is not to be taken for false
            body = json.dumps({"rows": odd, "strict": strict})
            assert client.post("/predict", body) == (422, {"error": "strict must be true or false"})
        twice = '{"rows": [{"age": 31, "city": "Rome", "age": 13}]}'
        assert client.post("/predict", twice) == (400, {"error": 'an object has "age" twice'})
        for wrong in ([{"city": "Rome"}], [[31.5, "Rome"]], [{"age": [1], "city": "Rome"}]):
            assert client.post("/predict", json.dumps({"rows": wrong}))[0] == 422
        client.close()


def test_model_and_health(client):
    status, model = client.get("/model")
    assert status == 200
    assert model["task"] == "classification" and model["sizes"] == [N_IN, 32, 3]
    assert model["n_features"] == N_IN and model["feature_names"] == [f"x{i}" for i in range(N_IN)]
    assert model["classes"] == ["low", "middle", "high"]
    status, health = client.get("/health")
    assert status == 200 and health["status"] == "ok" and exists(health["pid"])


def test_two_workers_serve(served):
    assert len(pids_of(served[1], 2)) == 2


ROW = [0.0] * N_IN


@pytest.mark.parametrize("body, status, message", [
    ("", 400, "the body is not JSON"),
    ('{"rows": [[1, 2', 400, "the body is not JSON"),
    (b"\xff\xfe\xff", 400, "the body is not JSON"),
    ("[" * 100_000, 400, "the body is not JSON"),
    ('{"rows": [], "rows": [[1, 2]]}', 400, 'an object has "rows" twice'),
    ("[[1, 2]]", 400, 'the body must be {"rows": [[...], ...]}'),
    ('{"data": [[1, 2]]}', 400, 'the body must be {"rows": [[...], ...]}'),
    ('{"rows": 1}', 422, "rows must be a list of 1 to 10000 rows"),
    ('{"rows": []}', 422, "rows must be a list of 1 to 10000 rows"),
    (json.dumps({"rows": [[0]] * 10_001}), 422, "rows must be a list of 1 to 10000 rows"),
    (json.dumps({"rows": ROW}), 422, "rows must be lists of numbers"),
    (json.dumps({"rows": [ROW, ROW[1:]]}), 422, "rows must be of one length"),
    (json.dumps({"rows": [[str(x) for x in ROW]]}), 422, "rows must be lists of numbers"),
    (json.dumps({"rows": [[None, *ROW[1:]]]}), 422, "rows must be lists of numbers"),
    (json.dumps({"rows": [[10**400, *ROW[1:]]]}), 422, "rows must be lists of numbers"),
    (json.dumps({"rows": [[*ROW, 0.0]]}), 422, f"X has {N_IN + 1} columns"),
    (json.dumps({"rows": [[float("nan"), *ROW[1:]]]}), 422, "NaN"),
    (json.dumps({"rows": [[float("inf"), *ROW[1:]]]}), 422, "infinit"),
])
def test_bad_requests_are_explained(client, body, status, message):
    found, answer = client.post("/predict", body)
    assert found == status
    assert message in answer["error"], answer
    assert client.get("/health")[0] == 200  # by the same connection


def test_a_large_body_is_refused_before_it_is_read(client):
    client.connection.putrequest("POST", "/predict")
    client.connection.putheader("Content-Length", str(10**9))
    client.connection.endheaders()
    answer = client.connection.getresponse()
    assert answer.status == 413
    assert "larger than 1048576 bytes" in json.loads(answer.read())["error"]


def test_a_large_body_without_a_length_is_refused(client):
    chunks = (b" " * 2**16 for _ in range(17))
    client.connection.request("POST", "/predict", chunks, encode_chunked=True,
                              headers={"Transfer-Encoding": "chunked"})
    assert client.connection.getresponse().status == 413


@pytest.mark.slow
def test_bodies_without_an_end(environment, tmp_path, monkeypatch):
    """Clients that go away are no error; those that stay get an answer when the time is over."""
    monkeypatch.setenv("FASTNN_SERVICE_BODY_SECONDS", "1")
    path = write_classifier(tmp_path / "model.safetensors")
    head = b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n{"
    log = tmp_path / "log"
    with service_load.service(path, workers=1, log=log) as (_, port):
        for _ in range(20):
            with socket.create_connection(("127.0.0.1", port)) as client:
                client.sendall(head)
        with socket.create_connection(("127.0.0.1", port), timeout=20) as client:
            client.sendall(head)
            started, answer = time.monotonic(), b""
            while piece := client.recv(4096):  # until the service closes the connection
                answer += piece
        assert answer.startswith(b"HTTP/1.1 408 ")
        assert 0.5 < time.monotonic() - started < 10
        client = service_load.Client(port)
        assert client.get("/health")[0] == 200
        client.close()
    assert "Traceback" not in log.read_text()


@pytest.mark.parametrize("method, path, status", [("GET", "/predict", 405), ("GET", "/no", 404)])
def test_other_requests(client, method, path, status):
    found, answer = client.ask(method, path)
    assert found == status and answer["error"]


# ---- load, and the end ----

def test_load_without_errors(served):
    model, port = served
    rows = [some_rows(1 + i % 3, seed=i) for i in range(32)]
    bodies = [json.dumps({"rows": X.tolist()}).encode() for X in rows]
    expected = [{"labels": model.predict(X).tolist(),
                 "probabilities": model.predict_proba(X).tolist()} for X in rows]
    load = service_load.Load(port, bodies, connections=8, seconds=15, requests=2000,
                             check=lambda i, answer: answer == expected[i])
    assert load.errors == []
    print(f"{load.rate:.0f} requests/s, {len(load.times)} of them")
    # the rest is for a machine that is busy otherwise
    assert len(load.times) > 200


@pytest.mark.slow
def test_large_and_small_inputs_at_once(environment, tmp_path):
    """The large ones are worth a thread."""
    path = write_classifier(tmp_path / "wide.safetensors", WIDE)
    model = fastnn.load(path, predictor=True)
    many, one = some_rows(2000), some_rows(1)
    bodies = [json.dumps({"rows": X.round(2).tolist()}).encode() for X in (many, one)]
    expected = [model.predict(X.round(2)).tolist() for X in (many, one)]

    def check(i, answer):
        return answer["labels"] == expected[i]

    with service_load.service(path, workers=1) as (_, port):
        load = service_load.Load(port, bodies, connections=6, seconds=2, check=check)
    assert load.errors == [] and len(load.times) >= 6


def test_sigterm_ends_all_workers(environment, tmp_path):
    path = write_classifier(tmp_path / "model.safetensors")
    with service_load.service(path, workers=2) as (process, port):
        pids = pids_of(port, 2)
        assert len(pids) == 2
        idle = service_load.Client(port)
        idle.get("/health")
        start = time.monotonic()
        process.terminate()
        process.wait(15)
        assert time.monotonic() - start < 15
        assert process.returncode == 0
        assert not any(map(exists, pids))
        with pytest.raises((OSError, http.client.HTTPException)):
            idle.get("/health")
        idle.close()


def test_a_file_that_is_no_model(environment, tmp_path):
    (tmp_path / "model.safetensors").write_bytes(b"no model")
    for name, message in (("model.safetensors", "not a safetensors file"),
                          ("missing.safetensors", "no model file")):
        done = subprocess.run(
            [sys.executable, ROOT / "examples" / "service.py", tmp_path / name, "--port", "0"],
            capture_output=True, text=True, timeout=60)
        assert done.returncode == 2
        assert message in done.stderr and "Traceback" not in done.stderr


def test_neither_scipy_nor_scikit_learn_is_imported(environment, tmp_path):
    code = """
import os, sys
sys.path.insert(0, sys.argv[1])
import service
os.environ[service.MODEL] = sys.argv[2]
service.make_app()
assert service.Service(sys.argv[2]).answer([[0.0] * 8])["labels"]
assert not {"scipy", "sklearn"} & set(sys.modules)
"""
    path = write_classifier(tmp_path / "model.safetensors")
    subprocess.run([sys.executable, "-c", code, ROOT / "examples", path], check=True, timeout=60)
