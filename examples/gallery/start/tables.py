"""
Tables
======

A data frame with numbers, text, dates and gaps, and no wish to encode it by hand:
``TabularClassifier`` and ``TabularRegressor`` take it as it is.
"""

# %%
# Some customers. A few values are missing.

import numpy as np
import pandas as pd

rng = np.random.default_rng(0)
n = 3000
frame = pd.DataFrame({
    "months": rng.integers(1, 72, n),
    "plan": rng.choice(["basic", "family", "business"], n, p=[0.5, 0.35, 0.15]),
    "bill": rng.gamma(6, 8, n).round(2),
    "since": pd.Timestamp("2024-06-30") - pd.to_timedelta(rng.integers(30, 2000, n), unit="D"),
    "autopay": rng.random(n) < 0.6,
})
risk = -0.05 * frame.months + 0.04 * frame.bill + 1.5 * (frame.plan == "basic") - frame.autopay
left = np.where(rng.random(n) < 1 / (1 + np.exp(-(risk - risk.mean()))), "leaves", "stays")
frame.loc[rng.random(n) < 0.05, "bill"] = np.nan
frame.loc[rng.random(n) < 0.03, "plan"] = None
print(frame.head())

# %%
# No pipeline, no encoder, no scaler. Several small networks learn on folds of the rows; their mean
# predicts.

import fastnn

train, test = slice(0, 2400), slice(2400, None)
model = fastnn.TabularClassifier(random_state=0).fit(frame[train], left[train])
print(model.predict(frame[test])[:5], "accuracy", model.score(frame[test], left[test]))

# %%
# What counts? By how much the loss grows where a column is shuffled.

import matplotlib.pyplot as plt
from sklearn.metrics import RocCurveDisplay

figure, (left_panel, right_panel) = plt.subplots(
    1, 2, figsize=(8, 3.4), layout="constrained")
order = np.argsort(model.feature_importances_)
left_panel.barh(frame.columns[order], model.feature_importances_[order],
                xerr=model.feature_importances_error_[order])
left_panel.set(xlabel="importance")
chance = model.predict_proba(frame[test])[:, 0]
RocCurveDisplay.from_predictions(left[test], chance, pos_label="leaves", ax=right_panel,
                                 name="found")
right_panel.plot([0, 1], [0, 1], ":", color="gray")
right_panel.set(xlabel="share of those who stay", ylabel="share of those who leave")
plt.show()

# %%
# One file holds all of it: what each column is, categories, networks, labels. Who loads it needs
# NumPy alone, and may ask with a frame, or with rows as JSON has them.

model.save("churn.safetensors")
loaded = fastnn.load("churn.safetensors")
print(loaded.predict([
    {"months": 3, "plan": "basic", "bill": 80.0, "since": "2024-04-01", "autopay": False},
    {"months": 60, "plan": None, "bill": None, "since": "2019-06-01", "autopay": True}]))

# %%
# Whoever forgets a column is told its name. From here: :doc:`/gallery/tutorials/churn`,
# :doc:`/gallery/tutorials/fastapi_service`. The command line does the same with files:
# :doc:`/start_command_line`.
