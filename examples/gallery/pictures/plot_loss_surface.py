"""
The surface of the loss
=======================

A network's loss is a function of all of its weights. Over two directions it can be
drawn: those in which a fit has gone furthest, with the path of the descent, or random
ones (Li et al. 2018, "Visualizing the Loss Landscape of Neural Nets").
"""

import matplotlib.pyplot as plt
from sklearn.datasets import make_moons

import fastnn

X, y = make_moons(300, noise=0.15, random_state=0)

# %%
# The path of the descent
# -----------------------
#
# ``RecordPath`` keeps the weights after each epoch. One start, three ways down: the steps
# of plain SGD are as long as the slope is steep, so it creeps where that is small. Momentum
# and Adam go further in as many epochs. Each picture has directions of its own.

optimizers = {
    "SGD": fastnn.SGD(0.3, momentum=0.0),
    "SGD with momentum": fastnn.SGD(0.3, momentum=0.9),
    "Adam": fastnn.Adam(0.02),
}
figure, axes = plt.subplots(1, 3, figsize=(14, 4), layout="constrained")
for ax, (name, optimizer) in zip(axes, optimizers.items(), strict=True):
    net = fastnn.MLP((2, 8, 8, 1), activation="tanh", output="sigmoid", random_state=1)
    record = fastnn.RecordPath()
    net.fit(X, y, optimizer=optimizer, epochs=60, batch_size=50, callbacks=[record])
    surface = fastnn.display.loss_surface(net, X, y, path=record)
    surface.plot(ax)
    ax.set_title(f"{name}: {net.loss(X, y):.3f}")

# %%
# Two random directions
# ---------------------
#
# Scaled to the weights of each unit, surfaces of different networks can be compared: the
# loss rises less around the minimum of a wide network. Look at the numbers of the bars.

figure, axes = plt.subplots(1, 2, figsize=(10, 4), layout="constrained")
for ax, width in zip(axes, (4, 64), strict=True):
    net = fastnn.MLP((2, width, width, 1), output="sigmoid", random_state=0)
    net.fit(X, y, optimizer=fastnn.Adam(0.01), epochs=100, batch_size=50)
    fastnn.display.loss_surface(net, X, y).plot(ax)
    ax.set_title(f"2-{width}-{width}-1")

plt.show()
