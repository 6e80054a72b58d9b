"""
What hidden units answer
========================

Each unit of a network answers somewhere and is silent elsewhere. Drawn over the plane
of two inputs, the first layer shows straight edges, and later ones shapes that are put
together from them.
"""

import matplotlib.pyplot as plt
import numpy as np

import fastnn

# %%
# Two spirals, a task that a straight line cannot solve.

rng = np.random.default_rng(0)
n = 400
label = np.arange(n) % 2
angle = np.sqrt(rng.uniform(0.02, 1, n)) * 3 * np.pi
X = np.stack([np.cos(angle + np.pi * label), np.sin(angle + np.pi * label)], axis=1)
X = X * angle[:, None] / 5 + rng.normal(size=(n, 2)) * 0.04

net = fastnn.MLP((2, 10, 10, 6, 1), activation="tanh", output="sigmoid", random_state=3)
history = net.fit(X, label, optimizer=fastnn.Adam(0.01), epochs=1000, batch_size=50)
print(f"{((net.predict(X)[:, 0] > 0.5) == label).mean():.1%} of the points are right")

fastnn.display.hidden_units(net, X)

# %%
# The output, with the points
# ---------------------------

fastnn.display.decision_boundary(net, X, label)

# %%
# Units that never answer
# -----------------------
#
# A relu unit whose weighted input is below 0 for all rows gives 0 for each of them, and
# its gradient is 0, too: it does not learn any more. With a learning rate that is far
# too high it happens to many. They are plain stripes here.

figure, axes = plt.subplots(1, 2, figsize=(9, 3.6), layout="constrained")
for ax, rate in zip(axes, [0.003, 0.3], strict=True):
    relu = fastnn.MLP((2, 40, 40, 1), output="sigmoid", random_state=0)
    relu.fit(X, label, optimizer=fastnn.Adam(rate), epochs=100, batch_size=50)
    fastnn.display.activations(relu, X, layer=1, ax=ax)
    ax.set_title(f"learning rate {rate}\n{ax.get_title()}")

plt.show()
