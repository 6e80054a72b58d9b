"""
XOR by hand
===========

The smallest task that needs a hidden layer: tell whether exactly one of two bits is set. First by
weights from paper, then by training, then by the rule of backpropagation, step by step.
"""

# %%
# The four rows.

import matplotlib.pyplot as plt
import numpy as np

import fastnn

X = np.array([[0, 0], [0, 1], [1, 0], [1, 1]], dtype=float)
y = np.array([[0], [1], [1], [0]], dtype=float)

# %%
# By hand
# -------
#
# Units that fire at a threshold. The first hidden unit says "or", the second "and"; the output
# fires for "or, and not and".

paper = fastnn.MLP((2, 2, 1), activation="step", output="step", dtype="float64")
paper.set_weights([[[1, 1], [1, 1]], [-1, -2],   # x1 + x2 >= 1, x1 + x2 >= 2
                   [[1], [-1]], [-1]])           # or - and >= 1
hidden, output = paper.activations_of(X)
for row, units, value in zip(X, hidden, output, strict=True):
    print(row, "hidden", units, "output", value)

# %%
# By training
# -----------
#
# A threshold has no slope, so a smooth unit takes its place. Each row is an epoch's batch.

net = fastnn.MLP((2, 2, 1), activation="tanh", output="sigmoid", dtype="float64", random_state=3)
history = net.fit(X, y, optimizer=fastnn.Adam(0.1), epochs=300, batch_size=4)
print(net.predict(X).round(3).ravel())

# %%
# Each hidden unit draws a line; the output combines them.

axis = np.linspace(-0.5, 1.5, 150)
grid = np.stack(np.meshgrid(axis, axis), axis=-1).reshape(-1, 2)
maps = [*net.activations_of(grid)[0].T, net.predict(grid)[:, 0]]
figure, panels = plt.subplots(1, 4, figsize=(10, 2.6), layout="constrained")
for panel, values, title in zip(panels, maps, ("hidden 1", "hidden 2", "output"), strict=False):
    panel.contourf(axis, axis, values.reshape(150, 150), 20, cmap="RdBu_r")
    panel.scatter(*X.T, c=y.ravel(), cmap="RdBu_r", edgecolors="black", s=60)
    panel.set(title=title, xticks=[0, 1], yticks=[0, 1], aspect="equal")
panels[3].plot(history.loss)
panels[3].set(title="loss", xlabel="epoch")
plt.show()

# %%
# Two hidden units are the fewest. From many starts they end in a valley where two rows get one
# half; with more units there is nearly always a way on.

for units in (2, 3, 4, 8):
    nets = [fastnn.MLP((2, units, 1), activation="tanh", output="sigmoid", dtype="float64",
                       random_state=seed) for seed in range(20)]
    fastnn.fit_many(nets, X, y, optimizer=fastnn.Adam(0.1), epochs=300, batch_size=4)
    solved = sum(bool((np.abs(net.predict(X) - y) < 0.1).all()) for net in nets)
    print(f"{units} hidden units: solved from {solved} of 20 starts")

# %%
# By the rule
# -----------
#
# Backpropagation for one step, on paper. δ is how the loss changes with the weighted input of a
# unit.

net = fastnn.MLP((2, 2, 1), activation="tanh", output="sigmoid", dtype="float64", random_state=1)
(W1, W2), (b1, b2) = net.weights, net.biases
a1 = np.tanh(X @ W1 + b1)
a2 = 1 / (1 + np.exp(-(a1 @ W2 + b2)))
delta2 = (a2 - y) / 4                        # sigmoid with its own loss, the mean of four rows
delta1 = delta2 @ W2.T * (1 - a1 ** 2)       # tanh' = 1 - tanh²
print("dW2 by hand", (a1.T @ delta2).ravel().round(6))
print("dW1 by hand", (X.T @ delta1).ravel().round(6))

# %%
# The library says the same: of the error terms, and of the gradient.

for by_hand, found in zip((delta1, delta2), net.deltas(X, y), strict=True):
    print(np.abs(by_hand - found).max())
loss, grad = net.loss_and_grad(X, y)
print("largest difference", np.abs(grad[:4] - (X.T @ delta1).ravel()).max())
