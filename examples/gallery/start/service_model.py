"""
A model in a service
====================

A model file is loaded with NumPy alone, and predicts a row in about a microsecond. Any number of
threads may call it.
"""

# %%
# Some process trains and saves. The scaler goes into the file, so a service cannot forget it.

import numpy as np

import fastnn

rng = np.random.default_rng(0)
X = rng.normal(loc=50, scale=10, size=(500, 3))
y = np.where(X[:, 0] > X[:, 1], "left", "right")
classes, labels = np.unique(y, return_inverse=True)

mean, scale = X.mean(axis=0), X.std(axis=0)
net = fastnn.MLP((3, 16, 2), output="softmax", random_state=0)
net.fit((X - mean) / scale, labels, optimizer=fastnn.Adam(0.01), epochs=30, batch_size=50)
net.save("model.safetensors", scaler=(mean, scale), classes=classes,
         feature_names=["width", "height", "depth"])

# %%
# Another process loads it. Neither SciPy nor scikit-learn is imported.

model = fastnn.load("model.safetensors")
print(model.predict([[61.0, 40.0, 50.0]]), model.predict_proba([[61.0, 40.0, 50.0]]))

# %%
# How long does a row take? A call that lasts a microsecond is short beside all that a service does
# around it.

import time

import matplotlib.pyplot as plt

times = {}
for n_rows in (1, 10, 100, 1000, 10_000):
    rows = rng.normal(size=(n_rows, 3)).astype("float32")
    calls = max(3, 20_000 // n_rows)
    start = time.perf_counter()
    for _ in range(calls):
        net.predict(rows)
    times[n_rows] = (time.perf_counter() - start) / calls * 1e6

figure, axes = plt.subplots(figsize=(5, 3), layout="constrained")
axes.loglog(list(times), list(times.values()), "o-")
axes.set(xlabel="rows of a call", ylabel="microseconds of the call")
axes.grid(alpha=0.3)
plt.show()

# %%
# What is wrong with a request is said, and nothing else happens.

for rows in ([[61.0, 40.0]], [[61.0, float("nan"), 50.0]]):
    try:
        model.predict(rows)
    except ValueError as error:
        print(error)

# %%
# Behind HTTP: :doc:`/service`, and a whole service with FastAPI in
# :doc:`/gallery/tutorials/fastapi_service`.
