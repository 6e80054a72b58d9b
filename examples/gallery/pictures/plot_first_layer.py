"""
What the first layer looks at
=============================

The weights into a hidden unit have as many values as a picture has pixels, so they are
a picture themselves: where a unit wants ink (red) and where it wants none (blue).
"""

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits

import fastnn

X, y = load_digits(return_X_y=True)
X = (X / 16).astype("float32")

# %%
# Without a penalty on large weights the pictures are noisy: pixels that are nearly always
# empty keep the weights that they started with. With one, they show strokes, and units
# that are not needed have no weights at all.

figure = plt.figure(figsize=(10, 4.2), layout="constrained")
for part, alpha in zip(figure.subfigures(1, 2), (0.0, 1.0), strict=True):
    net = fastnn.MLP((64, 16, 10), output="softmax", random_state=0)
    net.fit(X[:1200], y[:1200], optimizer=fastnn.Adam(0.01), epochs=60, alpha=alpha)
    right = (net.predict(X[1200:]).argmax(axis=1) == y[1200:]).mean()
    part.suptitle(f"alpha={alpha}: {right:.1%} of new digits")
    for ax, weights in zip(part.subplots(4, 4).flat, net.weights[0].T, strict=True):
        ax.imshow(weights.reshape(8, 8), cmap="coolwarm", vmin=-1, vmax=1)
        ax.set_axis_off()

# %%
# Which pixels move the answer? The derivative of an output by its inputs says it for one
# picture: here of the score of the class that the network chose.

figure, axes = plt.subplots(2, 8, figsize=(10, 2.8), layout="constrained")
some = X[1200:1208]
answers = net.predict(some).argmax(axis=1)
derivatives = net.jacobian(some, logits=True)[np.arange(8), answers]
for column, picture, answer, slope in zip(axes.T, some, answers, derivatives, strict=True):
    column[0].imshow(picture.reshape(8, 8), cmap="gray_r")
    column[0].set_title(str(answer), fontsize=10)
    limit = np.abs(slope).max()
    column[1].imshow(slope.reshape(8, 8), cmap="coolwarm", vmin=-limit, vmax=limit)
for ax in axes.flat:
    ax.set_axis_off()

plt.show()
