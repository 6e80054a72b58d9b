"""
What hidden units see
=====================

The incoming weights of a unit of the first layer are an image: bright where it wants ink, dark
where it wants none.
"""

# %%
# A small network on handwritten digits. A penalty on the weights keeps the images calm.

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits

import fastnn

digits = load_digits()
X = digits.data.astype("float32") / 16
net = fastnn.MLP((64, 24, 10), activation="tanh", output="softmax", random_state=0)
net.fit(X[:1400], digits.target[:1400], optimizer=fastnn.Adam(3e-3), epochs=60, batch_size=50,
        alpha=0.3)
print(f"accuracy {(net.predict(X[1400:]).argmax(axis=1) == digits.target[1400:]).mean():.3f}")

# %%
# Columns of the first W, one for each unit.

W = net.weights[0]
limit = np.abs(W).max()
figure, panels = plt.subplots(3, 8, figsize=(8, 3.2), layout="constrained")
for unit, panel in enumerate(panels.flat):
    panel.imshow(W[:, unit].reshape(8, 8), cmap="RdBu_r", vmin=-limit, vmax=limit)
    panel.set(xticks=[], yticks=[])
plt.show()

# %%
# What do they answer? Each column is a unit, each row a digit: the mean of the unit over all images
# of that digit.

hidden, output = net.activations_of(X)
means = np.array([hidden[digits.target == digit].mean(axis=0) for digit in range(10)])
figure, axes = plt.subplots(figsize=(7, 3), layout="constrained")
axes.imshow(means, cmap="RdBu_r", vmin=-1, vmax=1, aspect="auto")
axes.set(xlabel="hidden unit", ylabel="digit", yticks=range(10))
plt.show()

# %%
# Which pixels speak for a class? The gradient of one output with respect to the inputs tells, for
# each image anew.

some = [int(np.flatnonzero(digits.target == digit)[3]) for digit in range(10)]
slopes = net.jacobian(X[some], logits=True)        # (10 images, 10 outputs, 64 pixels)
figure, panels = plt.subplots(2, 10, figsize=(10, 2.3), layout="constrained")
for digit in range(10):
    panels[0, digit].imshow(X[some[digit]].reshape(8, 8), cmap="gray_r")
    panels[1, digit].imshow(slopes[digit, digit].reshape(8, 8), cmap="RdBu_r")
    for panel in panels[:, digit]:
        panel.set(xticks=[], yticks=[])
plt.show()

# %%
# How far down can the hidden layer go? Two units are enough to see all rows in a plane.

narrow = fastnn.MLP((64, 32, 2, 10), activation="tanh", output="softmax", random_state=3)
narrow.fit(X, digits.target, optimizer=fastnn.Adam(3e-3), epochs=150, batch_size=50, alpha=0.02)
plane = narrow.activations_of(X)[1]
figure, axes = plt.subplots(figsize=(5, 4.2), layout="constrained")
points = axes.scatter(*plane.T, c=digits.target, cmap="tab10", s=6)
figure.colorbar(points, ticks=range(10), label="digit")
axes.set(xlabel="first unit", ylabel="second unit")
plt.show()
