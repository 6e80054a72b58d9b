"""
Optimizers beside each other
============================

The same network, the same start, the same order of rows: only the optimizer differs.
"""

import time

import matplotlib.pyplot as plt
from sklearn.datasets import load_digits

import fastnn

X, y = load_digits(return_X_y=True)
X = (X / 16).astype("float32")
train, test = slice(0, 1200), slice(1200, None)

optimizers = {
    "SGD": fastnn.SGD(0.1, momentum=0.0),
    "SGD, momentum 0.9": fastnn.SGD(0.1, momentum=0.9),
    "RMSprop": fastnn.RMSprop(0.001),
    "Adam": fastnn.Adam(0.003),
    "AdamW": fastnn.AdamW(0.003),
    "Lion": fastnn.Lion(0.0005),
    "Muon": fastnn.Muon(0.02),
}

ax = None
for name, optimizer in optimizers.items():
    net = fastnn.MLP((64, 64, 32, 10), output="softmax", random_state=0)
    start = time.perf_counter()
    history = net.fit(X[train], y[train], optimizer=optimizer, epochs=30, batch_size=64)
    seconds = time.perf_counter() - start
    right = (net.predict(X[test]).argmax(axis=1) == y[test]).mean()
    print(f"{name:18} loss {history.loss[-1]:.4f}, {right:.1%} of new digits, "
          f"{seconds * 1000:.0f} ms")
    ax = history.plot(ax, log=True)
    ax.lines[-1].set_label(name)
ax.legend()
ax.set_title("training loss, 1,200 digits, 64-64-32-10")

plt.show()
