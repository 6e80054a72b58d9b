"""
Tables
======

A data frame with numbers, text, dates and gaps, and no wish to encode it by hand.
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
left = rng.random(n) < 1 / (1 + np.exp(-(risk - risk.mean())))
frame.loc[rng.random(n) < 0.05, "bill"] = np.nan
frame.loc[rng.random(n) < 0.03, "plan"] = None
print(frame.head())

# %%
# ``TableEncoder`` finds out what each column holds, and remembers categories, medians and scales of
# the training rows.

import fastnn

train, test = slice(0, 2400), slice(2400, None)
table = fastnn.TableEncoder().fit(frame[train])
print(*table.feature_names, sep=", ")

# %%
# The network sees scaled inputs.

Z = table.scaler.apply(table.transform(frame[train]), "float32")
net = fastnn.MLP((table.n_inputs, 32, 2), output="softmax", random_state=0)
history = net.fit(Z, left[train].astype(int), optimizer=fastnn.AdamW(3e-3), epochs=30,
                  batch_size=64)

# %%
# A ``Predictor`` puts table, scaler, network and labels together. Its file is all that a service
# needs.

model = fastnn.Predictor(net, "classification", classes=["stays", "leaves"], table=table,
                         scaler=table.scaler, feature_names=table.feature_names)
model.save("churn.safetensors")
loaded = fastnn.load("churn.safetensors")
print(loaded.predict(frame[:5]))

# %%
# How well are those ranked that leave? A perfect order has an area of 1, chance one of 0.5.

import matplotlib.pyplot as plt
from sklearn.metrics import RocCurveDisplay

chance = loaded.predict_proba(frame[test])[:, 1]
figure, axes = plt.subplots(figsize=(4, 3.6))
RocCurveDisplay.from_predictions(left[test], chance, ax=axes, name="network")
axes.plot([0, 1], [0, 1], ":", color="gray")
plt.show()
