"""
Learning row by row
===================

A stream has no epochs: each row comes once, is predicted, then learned from. ``net.steps`` does one
step of training in some microseconds, and keeps what the optimizer knows.
"""

# %%
# A relation that changes. From row 6,000 on the second input takes the place of the first.

import matplotlib.pyplot as plt
import numpy as np

import fastnn

rng = np.random.default_rng(0)
n = 12_000
X = rng.normal(size=(n, 3)).astype("float32")
before = np.arange(n) < 6000
y = np.where(before, np.sin(2 * X[:, 0]), np.sin(2 * X[:, 1])).astype("float32")[:, None]
y += rng.normal(scale=0.1, size=y.shape).astype("float32")

# %%
# Predict, then learn. So each error is one on a row that the network has not seen.

net = fastnn.MLP((3, 32, 32, 1), activation="tanh", random_state=0)
steps = net.steps(fastnn.Adam(3e-3))
errors = np.empty(n)
for row in range(n):
    x = X[row:row + 1]
    errors[row] = (net.predict(x)[0, 0] - y[row, 0]) ** 2
    steps(x, y[row:row + 1])

# %%
# The error falls, jumps where the relation changes, and falls again. A network that learns from the
# first half and then stays as it is has no chance.

fixed = fastnn.MLP((3, 32, 32, 1), activation="tanh", random_state=0)
fixed.fit(X[:6000], y[:6000], epochs=30, optimizer=fastnn.Adam(3e-3))
stays = ((fixed.predict(X) - y) ** 2)[:, 0]

window = np.ones(200) / 200
figure, axes = plt.subplots(figsize=(7, 3), layout="constrained")
axes.plot(np.convolve(errors, window, "valid"), label="learning on")
axes.axhline(0.01, ls=":", color="gray", label="the noise")
axes.plot(np.convolve(stays, window, "valid"), color="tab:orange", label="trained once")
axes.set(xlabel="row", ylabel="mean squared error of 200 rows", yscale="log")
axes.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=3, frameon=False)
plt.show()

# %%
# How long does it take?

import time

start = time.perf_counter()
for row in range(2000):
    steps(X[row:row + 1], y[row:row + 1])
print(f"{(time.perf_counter() - start) / 2000 * 1e6:.1f} microseconds for a step of one row")

# %%
# A new column, a new output: the network grows, and goes on. Its answers do not change by that.

old = net.predict(X[:5])
net.grow(n_in=4)
wider = np.column_stack([X, np.ones(n, "float32")])
print(np.abs(net.predict(wider[:5]) - old).max())

# %%
# More about it: :doc:`/single_steps`.
