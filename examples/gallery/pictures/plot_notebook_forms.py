"""
Networks, histories and plans in a notebook
===========================================

As the last line of a notebook's cell, these objects show themselves: a drawing of the
layers, a table of their parameters, curves. They are plain HTML without scripts, so a
saved notebook keeps them.
"""

import numpy as np

import fastnn
from fastnn import Dense, Dropout, LayerNorm, Residual

rng = np.random.default_rng(0)
X = rng.normal(size=(500, 8)).astype("float32")
y = (X[:, 0] * X[:, 1] > X[:, 2]).astype("int32")

# %%
# A network.

net = fastnn.MLP((8, 32, 16, 2), activation="tanh", output="softmax", random_state=0)
net

# %%
# The curves of its training.

history = net.fit(X, y, optimizer=fastnn.Adam(0.005), epochs=60, batch_size=32,
                  validation_data=(X[:100], y[:100]), metrics=["accuracy"])
history

# %%
# How its batches are worked on.

net.plan(batch_size=256)

# %%
# Layers in another order; ``summary()`` prints as text, too.

deep = fastnn.MLP.of(
    [Dense(32, "gelu"), LayerNorm(), Residual([Dense(32, "gelu"), Dropout(0.1)]), Dense(3)],
    n_in=8, output="softmax", random_state=0)
print(deep.summary())
deep.summary()
