"""
A model behind FastAPI
======================

A model of a table as a service: requests are rows of JSON with the names of the columns, text, gaps
and all. What does not fit is refused by name.
"""

# %%
# A model
# -------
#
# Trained here in a moment; any file of ``TabularClassifier.save`` will do, such as that of
# :doc:`churn`.

import numpy as np
import pandas as pd

import fastnn

rng = np.random.default_rng(0)
n = 2000
frame = pd.DataFrame({"tenure": rng.integers(0, 60, n).astype(float),
                      "contract": rng.choice(["monthly", "yearly"], n),
                      "paperless": rng.random(n) < 0.5})
leaves = ((frame.tenure < 20) & (frame.contract == "monthly")) ^ (rng.random(n) < 0.05)

trained = fastnn.TabularClassifier(preset="fast", random_state=0)
trained.fit(frame, np.where(leaves, "leaves", "stays")).save("model.safetensors")

# %%
# The service
# -----------
#
# From here on it is a file of its own. The fields of a request are made of the columns that the
# model knows, so ``/openapi.json`` describes them, and a wrong name or type is refused before the
# model sees it.

import warnings
from typing import Annotated

from fastapi import FastAPI, HTTPException
from pydantic import BaseModel, ConfigDict, Field, create_model

from fastnn.tables import TableWarning

warnings.simplefilter("ignore", TableWarning)  # what is not known is told in the answer
model = fastnn.load("model.safetensors")       # neither pandas nor scikit-learn is needed
TYPES = {"number": float, "boolean": bool, "date": str, "category": str}

Row = create_model(
    "Row", __config__=ConfigDict(extra="forbid", allow_inf_nan=False),
    **{column.name: (TYPES[column.kind] | None, None) for column in model.schema.columns})


class Request(BaseModel):
    rows: Annotated[list[Row], Field(min_length=1, max_length=1000)]


# pages of documentation load scripts from elsewhere: /openapi.json alone is kept
app = FastAPI(title="churn", docs_url=None, redoc_url=None)


def unknown(rows):
    """Categories that training has not seen: predicted, but worth to be told."""
    known = {column.name: set(column.categories) for column in model.schema.columns
             if column.kind == "category"}
    return sorted({f"{name}={row[name]}" for row in rows for name in known
                   if row[name] is not None and row[name] not in known[name]})


@app.post("/predict")
async def predict(request: Request):           # far less than a millisecond: no thread is needed
    rows = [row.model_dump() for row in request.rows]
    try:
        chances = model.predict_proba(rows, n_threads=1)  # workers share the cores already
    except ValueError as error:
        raise HTTPException(422, str(error)) from None
    labels = model.classes_[chances.argmax(axis=1)]
    return {"predictions": [{"label": str(label), "chance": round(float(chance.max()), 4)}
                            for label, chance in zip(labels, chances, strict=True)],
            "unknown": unknown(rows)}


@app.get("/health")
async def health():
    return {"status": "ok", "model": repr(model)}


# %%
# Try it
# ------
#
# As ``service.py`` it is started by ``uvicorn service:app --workers 2``. Here it runs in a
# thread, on a port that is free, for this machine alone.

import json
import threading
import time
import urllib.error
import urllib.request

import uvicorn

server = uvicorn.Server(uvicorn.Config(app, host="127.0.0.1", port=0, log_level="error"))
thread = threading.Thread(target=server.run, daemon=True)
thread.start()
while not server.started:
    time.sleep(0.01)
port = server.servers[0].sockets[0].getsockname()[1]


def ask(path, body=None):
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(f"http://127.0.0.1:{port}{path}", data,
                                     {"Content-Type": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)


print(*ask("/health"))
print(*ask("/predict", {"rows": [{"tenure": 3, "contract": "monthly", "paperless": True},
                                 {"tenure": 50, "contract": None}]}))

# %%
# A category that nobody has seen is predicted, and named. A column that is not one, text in the
# place of a number: refused.

print(*ask("/predict", {"rows": [{"tenure": 3, "contract": "weekly"}]}))
for row in ({"tenur": 3}, {"tenure": "three"}):
    status, answer = ask("/predict", {"rows": [row]})
    print(status, answer["detail"][0]["loc"], answer["detail"][0]["msg"])

# %%
# How long does a request take? Nearly all of it is HTTP and JSON.

import matplotlib.pyplot as plt

times = []
for _ in range(300):
    start = time.perf_counter()
    ask("/predict", {"rows": [{"tenure": 3, "contract": "monthly"}]})
    times.append((time.perf_counter() - start) * 1e3)
figure, axes = plt.subplots(figsize=(6, 2.6), layout="constrained")
axes.hist(times, bins=60, range=(0, np.quantile(times, 0.99)))
axes.set(xlabel="milliseconds of a request", ylabel="requests")
plt.show()

# %%

server.should_exit = True
thread.join(timeout=10)
print("ended:", not thread.is_alive())

# %%
# What else a service needs, and how much load it bears: :doc:`/service`.
