"""
Decision boundaries
===================

Where does a classifier say what? ``fastnn.display.decision_boundary`` asks a model of
two inputs all over the plane. It takes the bare network, a model from a file and
scikit-learn estimators.
"""

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import make_moons
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import fastnn

# %%
# Two classes: more units bend the border further
# -----------------------------------------------
#
# Two half moons. Without a hidden layer the border is a straight line. Few units leave
# it stiff, and many follow the data.

X, y = make_moons(400, noise=0.2, random_state=0)
X_new, y_new = make_moons(400, noise=0.2, random_state=1)

figure, axes = plt.subplots(1, 3, figsize=(11, 3.6), layout="constrained")
for ax, sizes in zip(axes, [(2, 1), (2, 3, 1), (2, 64, 64, 1)], strict=True):
    net = fastnn.MLP(sizes, output="sigmoid", random_state=0)
    net.fit(X, y, optimizer=fastnn.Adam(0.01), epochs=300, batch_size=32)
    fastnn.display.decision_boundary(net, X, y, ax=ax)
    right = ((net.predict(X_new)[:, 0] > 0.5) == y_new).mean()
    ax.set_title("-".join(map(str, sizes)) + f": {right:.1%} of new points")

# %%
# Several classes, and an estimator in a pipeline
# -----------------------------------------------
#
# The colour is that of the likeliest class, the paler the less likely it is.

rng = np.random.default_rng(0)
centers = np.array([[0, 0], [3, 1], [1, 3], [4, 4]])
names = np.array(["north", "east", "south", "west"])
labels = rng.integers(4, size=600)
points = centers[labels] + rng.normal(size=(600, 2)) * 0.7

model = make_pipeline(
    StandardScaler(),
    fastnn.MLPClassifier((32, 32), alpha=0.1, max_iter=2000, random_state=0),
)
model.fit(points, names[labels])
ax = fastnn.display.decision_boundary(model, points, names[labels])
ax.set_title("four classes")

plt.show()
