"""
The bare network
================

``fastnn.MLP`` is a network on NumPy arrays and nothing more: fit, predict, loss, gradient, and one
flat vector of parameters.
"""

# %%
# Two spirals. No line tells them apart.

import matplotlib.pyplot as plt
import numpy as np

import fastnn

rng = np.random.default_rng(0)
angle = np.sqrt(rng.uniform(size=600)) * 3 * np.pi
y = rng.integers(0, 2, 600)
X = (angle * np.array([np.cos(angle + np.pi * y), np.sin(angle + np.pi * y)])).T / 9
X += rng.normal(scale=0.03, size=X.shape)

# %%
# A network of two inputs, two hidden layers of 32 units and an output for each class.

net = fastnn.MLP((2, 32, 32, 2), activation="tanh", output="softmax", random_state=0)
history = net.fit(X, y, optimizer=fastnn.Adam(0.01), epochs=300, batch_size=50)
print(history)

# %%
# ``predict`` gives what the output layer puts out, here a probability for each class, in an array
# of shape (rows, outputs).

probabilities = net.predict(X)
print(probabilities.shape, "accuracy", (probabilities.argmax(axis=1) == y).mean())

# %%
# The boundary is where both classes are as likely.

axis = np.linspace(-1.2, 1.2, 200)
grid = np.stack(np.meshgrid(axis, axis), axis=-1)
chance = net.predict(grid.reshape(-1, 2))[:, 1].reshape(200, 200)

figure, (left, right) = plt.subplots(1, 2, figsize=(8, 3.6), layout="constrained")
left.contourf(axis, axis, chance, 20, cmap="RdBu_r", alpha=0.8)
left.scatter(*X.T, c=y, cmap="RdBu_r", s=8, edgecolors="black", linewidths=0.3)
left.set(xticks=[], yticks=[], aspect="equal")
right.plot(history.loss)
right.set(xlabel="epoch", ylabel="loss")
plt.show()

# %%
# All parameters are one vector. ``weights`` and ``biases`` are views of it.

print(net.n_parameters, [w.shape for w in net.weights], [b.shape for b in net.biases])

# %%
# ``loss_and_grad`` gives the gradient as such a vector: enough to write an optimizer of your own.

for _ in range(3):
    loss, grad = net.loss_and_grad(X, y)
    net.parameters[:] -= 0.01 * grad
    print(f"{loss:.6f}")

# %%
# Go on with :doc:`/training_control`: early stopping, schedules, metrics, progress.
