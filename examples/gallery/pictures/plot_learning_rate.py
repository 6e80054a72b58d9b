"""
Finding a learning rate
=======================

``fastnn.find_learning_rate`` trains a copy of the network while the learning rate
rises step by step (the range test of Smith, 2017). Where the loss falls fastest is a
good rate to begin with; where it rises again, the rate is too high.
"""

import matplotlib.pyplot as plt
from sklearn.datasets import load_digits

import fastnn

X, y = load_digits(return_X_y=True)
X = (X / 16).astype("float32")
net = fastnn.MLP((64, 100, 10), output="softmax", random_state=0)

# %%
# SGD and Adam want quite different rates.

figure, axes = plt.subplots(1, 2, figsize=(10, 3.6), layout="constrained")
curves = {}
for ax, optimizer in zip(axes, (fastnn.SGD(), fastnn.Adam()), strict=True):
    curve = fastnn.find_learning_rate(net, X[:1200], y[:1200], optimizer=optimizer)
    curve.plot(ax)
    name = type(optimizer).__name__
    ax.set_title(name)
    curves[name] = curve.suggestion

# %%
# The rate that was found, a tenth of it and ten times as much
# ------------------------------------------------------------

ax = None
for factor in (0.1, 1, 10):
    net = fastnn.MLP((64, 100, 10), output="softmax", random_state=0)
    rate = curves["Adam"] * factor
    history = net.fit(X[:1200], y[:1200], optimizer=fastnn.Adam(rate), epochs=15)
    right = (net.predict(X[1200:]).argmax(axis=1) == y[1200:]).mean()
    ax = history.plot(ax, log=True)
    ax.lines[-1].set_label(f"rate {rate:.2g}: {right:.1%} of new digits")
ax.legend()

plt.show()
