"""
Curves of training
==================

``fit`` returns a history, which draws itself: loss, loss on validation data, metrics.
"""

import matplotlib.pyplot as plt
import numpy as np

import fastnn

# %%
# Too many epochs for too few rows: the training loss goes on falling, the loss on rows
# that the network has not seen turns round. ``EarlyStopping`` keeps the weights of the
# best epoch.

rng = np.random.default_rng(0)
X = rng.normal(size=(600, 10)).astype("float32")
y = (X[:, 0] * X[:, 1] + 0.7 * rng.normal(size=600) > 0).astype("int32")
held_out = X[300:], y[300:]

net = fastnn.MLP((10, 64, 64, 2), output="softmax", random_state=0)
history = net.fit(X[:300], y[:300], optimizer=fastnn.Adam(0.003), epochs=60, batch_size=32,
                  validation_data=held_out, metrics=["accuracy"])

figure, (left, right) = plt.subplots(1, 2, figsize=(10, 3.6), layout="constrained")
history.plot(left)
best = int(np.argmin(history.val_loss))
left.axvline(best + 1, color="gray", linestyle=":")
left.annotate("best epoch", (best + 1, history.val_loss[best]), (12, 20),
              textcoords="offset points")
history.plot(right, names=["val_accuracy"])

# %%
# Learning rates
# --------------
#
# The same network with three learning rates: too low, right, too high.

ax = None
for rate in (0.0003, 0.01, 0.3):
    net = fastnn.MLP((10, 64, 64, 2), output="softmax", random_state=0)
    history = net.fit(X, y, optimizer=fastnn.Adam(rate), epochs=40, batch_size=32)
    ax = history.plot(ax)
    ax.lines[-1].set_label(f"learning rate {rate}")
ax.legend()
ax.set_yscale("log")

plt.show()

# %%
# In a notebook
# -------------
#
# The history itself, as the last line of a cell, shows its curves and values.

history
