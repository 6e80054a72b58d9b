"""
Can probabilities be trusted?
=============================

Of all cases to which a model gives 80 %, about 80 % should come true. A calibration
curve shows whether they do; scikit-learn draws it from any probabilities.
"""

import matplotlib.pyplot as plt
import numpy as np
from sklearn.calibration import CalibrationDisplay

import fastnn

rng = np.random.default_rng(0)
X = rng.normal(size=(6000, 8)).astype("float32")
chance = 1 / (1 + np.exp(-2 * X[:, 0] * X[:, 1] - X[:, 2]))
y = (rng.uniform(size=6000) < chance).astype("int32")
train, test = slice(0, 1000), slice(1000, None)

# %%
# Trained too long, a network becomes too sure of itself: it says 99 % where 75 % come
# true. Weight decay, or ending in time, brings the curve back to the diagonal.

settings = {
    "200 epochs": dict(epochs=200),
    "200 epochs, weight decay": dict(epochs=200, alpha=1.0),
    "early stopping": dict(epochs=200, callbacks=[fastnn.EarlyStopping(patience=10)],
                           validation_data=(X[1000:2000], y[1000:2000])),
}
figure, (left, right) = plt.subplots(1, 2, figsize=(10.5, 4.4), layout="constrained")
for name, options in settings.items():
    net = fastnn.MLP((8, 64, 64, 1), output="sigmoid", random_state=0)
    net.fit(X[train], y[train], optimizer=fastnn.Adam(0.003), batch_size=64, **options)
    p = net.predict(X[2000:])[:, 0]
    CalibrationDisplay.from_predictions(y[2000:], p, n_bins=10, ax=left, name=name)
    right.hist(p, bins=20, range=(0, 1), histtype="step", linewidth=1.5, label=name)
    loss = net.loss(X[2000:], y[2000:])
    print(f"{name:26} log loss {loss:.3f}, {((p > 0.5) == y[2000:]).mean():.1%} right")
right.set(xlabel="probability that the network gives", ylabel="rows")
right.legend()

plt.show()
