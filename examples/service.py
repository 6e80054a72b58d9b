"""A model file behind HTTP, with Starlette and uvicorn in some worker processes.

    pip install ".[service]"
    python examples/service.py model.safetensors --port 8000 --workers 2
    curl -d '{"rows": [[5.1, 3.5, 1.4, 0.2]]}' http://127.0.0.1:8000/predict

    POST /predict   {"rows": [[...], ...]} -> {"labels": [...], "probabilities": [[...], ...]},
                    or {"values": [...]} from a model that knows no classes; a model of tables
                    (TabularClassifier, TabularRegressor, one with a pipeline) takes rows by name,
                    {"rows": [{"age": 31, "city": "Rome"}, ...]}, null where a value is missing,
                    and refuses categories that it does not know with "strict": true
    GET  /model     what it expects and what it answers
    GET  /health    {"status": "ok", "pid": ...}

Errors come as {"error": "..."}: 400 for what is not such JSON, 413 for a body that is too large,
408 for one that does not come to its end in time, 422 for rows that the model does not take.
docs/service.md tells how fast it is, and why it is built
like this.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import socket
import warnings
from collections import Counter
from contextlib import suppress
from pathlib import Path

import numpy as np
import uvicorn
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.responses import JSONResponse
from starlette.routing import Route
from uvicorn.supervisors import Multiprocess

import fastnn

MODEL = "FASTNN_SERVICE_MODEL"  # environment variable by which the workers learn of the file
MAX_ROWS = 10_000
# Parsing keeps the interpreter's lock, in a thread too: 1 MiB stops its worker for 10 to 20 ms.
MAX_BYTES = 1 << 20
# so long a body may take; a client that stops in its midst would hold its connection for ever
BODY_SECONDS = float(os.environ.get("FASTNN_SERVICE_BODY_SECONDS", 10))
# So many multiply-adds take 0.06 ms with AVX-512 and 0.3 ms without: below, rows are predicted in
# the event loop, since going to a thread and back costs 0.04 ms, more where others wait for the
# lock. Above, they go to a thread; fastnn computes without the lock, and others are served.
DIRECT_WORK = 5_000_000


class Service:
    """The model of one worker and the answers to its requests."""

    def __init__(self, path):
        self.model = model = fastnn.load(path, predictor=True)
        self.tabular = hasattr(model, "ensemble")  # a TabularModel
        self.by_name = self.tabular or model.table is not None
        nets = model.ensemble.networks if self.tabular else [model.net]
        for net in nets:
            net.n_threads = 1  # the workers share the cores already
        self.work_per_row = sum(net.parameters.size for net in nets)

    async def predict(self, request):
        rows, strict = read_rows(await read_body(request), self.by_name)
        try:
            if len(rows) * self.work_per_row <= DIRECT_WORK:
                answer = self.answer(rows, strict)
            else:
                answer = await asyncio.to_thread(self.answer, rows, strict)
        except (TypeError, ValueError) as error:  # a wrong number of columns, NaN, infinity
            raise HTTPException(422, str(error)) from None
        return JSONResponse(answer)

    def answer(self, X, strict=False):
        """Any number of threads may be in here."""
        model = self.model
        if self.tabular:
            outputs = model.outputs(X, strict=strict, n_threads=1)
            if model.classes_ is None:
                found = {"values": model.decided(outputs)}
            else:
                found = {"labels": model.decided(outputs),
                         "probabilities": model.probabilities(outputs)}
        elif model.classes_ is None:
            found = {"values": model.predict(X)}
        else:
            found = {"labels": model.predict(X), "probabilities": model.predict_proba(X)}
        for array in found.values():
            if array.dtype.kind == "f" and not np.isfinite(array).all():
                raise ValueError("the model's output for these rows is not finite")
        return {name: array.tolist() for name, array in found.items()}

    async def describe(self, request):
        model = self.model
        classes, names = model.classes_, model.feature_names_in_
        if self.tabular:
            what = {"task": model.task.kind, "sizes": [net.sizes for net in
                                                       model.ensemble.networks]}
        else:
            names = model.table.columns if self.by_name else names
            what = {"task": model.task, "sizes": model.net.sizes, "dtype": model.net.dtype.name}
        return JSONResponse({
            **what,
            "n_features": model.n_features_in_ if names is None else len(names),
            "feature_names": None if names is None else [getattr(name, "name", name)
                                                         for name in names],
            "classes": None if classes is None else classes.tolist(),
            "max_rows": MAX_ROWS,
            "fastnn_version": fastnn.__version__,
        })

    async def health(self, request):
        return JSONResponse({"status": "ok", "pid": os.getpid()})


async def read_body(request):
    try:
        return await asyncio.wait_for(whole_body(request), BODY_SECONDS)
    except asyncio.TimeoutError:
        raise HTTPException(408, f"the body did not come to its end within {BODY_SECONDS:g} s",
                            {"connection": "close"}) from None
    except ClientDisconnect:  # nobody reads the answer, but it is no error of ours
        raise HTTPException(400, "the client went away in the midst of the body") from None


async def whole_body(request):
    size = int(request.headers.get("content-length", 0))
    body = bytearray()
    if size <= MAX_BYTES:
        async for chunk in request.stream():  # which may be longer than it said, or say nothing
            body += chunk
            size = len(body)
            if size > MAX_BYTES:
                break
    if size > MAX_BYTES:
        raise HTTPException(413, f"the body is larger than {MAX_BYTES} bytes")
    return body


def unambiguous(pairs):
    """The dict of an object; Python's would have the last one of several values of a name."""
    found = dict(pairs)
    if len(found) < len(pairs):
        twice = Counter(name for name, _ in pairs).most_common(1)[0][0]
        raise HTTPException(400, f"an object has {json.dumps(twice[:80])} twice")
    return found


def read_rows(body, by_name):
    """The rows that a body holds, and whether it is strict; the model checks columns and values."""
    try:
        body = json.loads(body, object_pairs_hook=unambiguous)
        rows, strict = body["rows"], body.get("strict", False)
    except (AttributeError, KeyError, TypeError):
        raise HTTPException(400, 'the body must be {"rows": [[...], ...]}') from None
    except (ValueError, RecursionError) as error:
        raise HTTPException(400, f"the body is not JSON: {error}") from None
    if not isinstance(strict, bool):
        raise HTTPException(422, "strict must be true or false")
    if not isinstance(rows, list) or not 1 <= len(rows) <= MAX_ROWS:
        raise HTTPException(422, f"rows must be a list of 1 to {MAX_ROWS} rows")
    if by_name:
        if not all(isinstance(row, dict) for row in rows):
            raise HTTPException(422, 'rows must be objects, {"name of the column": value, ...}')
        return rows, strict
    try:
        X = np.array(rows)
    except ValueError:
        raise HTTPException(422, "rows must be of one length") from None
    if X.dtype == object and X.ndim == 2 and all(type(x) in {int, float} for x in X.flat):
        with suppress(OverflowError):  # 1e20, which JavaScript writes as 100000000000000000000
            X = X.astype(np.float64)
    if X.ndim != 2 or X.dtype.kind not in "iuf":
        raise HTTPException(422, "rows must be lists of numbers")
    return X, False


async def explain(request, error):
    return JSONResponse({"error": error.detail}, error.status_code, error.headers)


def make_app():
    """The application of one worker.

    uvicorn starts its workers as new interpreters, not as forks, so there is nothing that could
    be loaded once for all: each loads its own model, in a few milliseconds.
    """
    service = Service(os.environ[MODEL])
    # what requests hold would fill the log, and Python keeps the text of each warning for ever
    warnings.simplefilter("ignore", fastnn.tables.TableWarning)
    return Starlette(
        routes=[
            Route("/predict", service.predict, methods=["POST"]),
            Route("/model", service.describe),
            Route("/health", service.health),
        ],
        exception_handlers={HTTPException: explain},
    )


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", type=Path, help="file that fastnn has saved")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8000, help="0 for any that is free")
    parser.add_argument("--workers", type=int, default=2, help="about one for each core")
    arguments = parser.parse_args()
    try:
        fastnn.load(arguments.model, predictor=True)  # now, not in workers that would start anew
    except (OSError, fastnn.ModelFormatError) as error:
        parser.error(str(error))
    os.environ[MODEL] = str(arguments.model.resolve())
    config = uvicorn.Config("service:make_app", factory=True, host=arguments.host,
                            port=arguments.port, workers=arguments.workers, access_log=False,
                            timeout_graceful_shutdown=10)
    listener = config.bind_socket()
    # uvicorn.run leaves this out for several workers (its issue 3149): head and body of an answer
    # are two packets, and the second would wait 40 ms for the client to confirm the first
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    # at SIGTERM: no new connections, requests under way are answered, then the workers end
    Multiprocess(config, sockets=[listener]).run()


if __name__ == "__main__":
    main()
