"""
House prices with intervals
===========================

A price alone says nothing about how sure it is. Here a network predicts quantiles, and calibration
makes intervals that hold as often as they promise.
"""

# %%
# Houses, made up: the price depends on size and distance, and large houses differ more among
# themselves.

import matplotlib.pyplot as plt
import numpy as np

rng = np.random.default_rng(0)
n = 6000
size, distance, age = rng.gamma(9, 14, n), rng.gamma(2, 6, n), rng.uniform(0, 90, n)
middle = 3.1 * size * np.exp(-0.02 * distance) * (1 + 0.15 * np.cos(age / 15)) + 40
price = middle * np.exp(rng.normal(scale=0.06 + 0.0012 * size, size=n))
X = np.column_stack([size, distance, age])
train, test = slice(0, 4500), slice(4500, None)
print(X[:2].round(1), price[:2].round(1))

# %%
# One number for each house
# -------------------------
#
# Inputs and targets are scaled: see :doc:`/how_to/scale`. The logarithm of a price is better to
# learn than the price.

import warnings

from sklearn.compose import TransformedTargetRegressor
from sklearn.exceptions import ConvergenceWarning
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import fastnn

warnings.simplefilter("ignore", ConvergenceWarning)  # all 60 epochs are wanted
point = TransformedTargetRegressor(
    make_pipeline(StandardScaler(), fastnn.MLPRegressor(
        hidden_layer_sizes=(64, 64), solver="adamw", schedule="cosine", learning_rate_init=3e-3,
        max_iter=60, tol=0, random_state=0)),
    func=np.log, inverse_func=np.exp)
point.fit(X[train], price[train])
error = np.abs(point.predict(X[test]) / price[test] - 1)
print(f"median error {np.median(error):.1%}; "
      f"always the mean {np.median(np.abs(price[train].mean() / price[test] - 1)):.1%}")

# %%
# Quantiles and intervals
# -----------------------
#
# The same network with three outputs, one for each quantile. A fifth of the rows is held out to
# calibrate.

scaler = StandardScaler().fit(X[train])
model = fastnn.MLPRegressor(
    hidden_layer_sizes=(64, 64), loss="quantile", quantile=[0.05, 0.5, 0.95],
    calibration_fraction=0.2, solver="adamw", schedule="cosine", learning_rate_init=3e-3,
    max_iter=60, tol=0, random_state=0)
model.fit(scaler.transform(X[train]), np.log(price[train]))
low, high = np.exp(model.predict_interval(scaler.transform(X[test]), coverage=0.9)).T
inside = (low <= price[test]) & (price[test] <= high)
print(f"{inside.mean():.1%} of the new prices lie in their interval; 90 % were asked for")

# %%
# Each vertical line is the interval of a house. They are wider where prices differ more.

some = np.argsort(size[test])[::25]
figure, axes = plt.subplots(figsize=(7, 3.4), layout="constrained")
axes.vlines(size[test][some], low[some], high[some], color="tab:blue", alpha=0.5)
axes.scatter(size[test][some], price[test][some], s=12, zorder=2,
             color=np.where(inside[some], "black", "tab:red"))
axes.set(xlabel="size", ylabel="price", yscale="log")
plt.show()

# %%
# Does it hold for small and large houses alike? The promise is one on average. Intervals that
# follow the quantiles come near it in each part.

for part in np.array_split(np.argsort(size[test]), 4):
    print(f"size {size[test][part].min():5.0f} to {size[test][part].max():5.0f}: "
          f"{inside[part].mean():.1%} inside, width {np.mean(high[part] / low[part]):.2f}")

# %%
# For a data frame with text and gaps ``TabularRegressor`` has intervals without a word: its
# networks learn on folds, so each row has been held out once.

import pandas as pd

frame = pd.DataFrame(X, columns=["size", "distance", "age"])
table = fastnn.TabularRegressor(preset="fast", random_state=0).fit(frame[train], price[train])
low, high = table.predict_interval(frame[test], coverage=0.9).T
print(f"{((low <= price[test]) & (price[test] <= high)).mean():.1%} inside")

# %%
# The method is split-conformal (Romano, Patterson & Candes 2019); :doc:`/losses` says what it
# promises, and what it does not.
