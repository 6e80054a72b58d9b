"""
Churn: text, gaps, few positives
================================

Which customers will leave? A table as they are: text, dates, gaps, and few who leave. From the data
frame to a list of whom to call.
"""

# %%
# The data
# --------
#
# Eight thousand customers, made up. One of twelve leaves.

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

rng = np.random.default_rng(1)
n = 8000
frame = pd.DataFrame({
    "months": rng.integers(1, 72, n),
    "contract": rng.choice(["monthly", "one year", "two years"], n, p=[0.5, 0.3, 0.2]),
    "payment": rng.choice(["card", "transfer", "cheque"], n, p=[0.5, 0.3, 0.2]),
    "bill": rng.gamma(6, 9, n).round(2),
    "calls": rng.poisson(1.2, n),
    "last_visit": pd.Timestamp("2024-06-30") - pd.to_timedelta(rng.integers(0, 400, n), unit="D"),
})
score = (-0.06 * frame.months + 0.02 * frame.bill + 0.7 * frame.calls
         + 1.5 * (frame.contract == "monthly") + 0.8 * (frame.payment == "cheque")
         + 1.2 * ((frame.calls > 2) & (frame.contract != "two years")))
chance = 1 / (1 + np.exp(-(score - score.mean() - 3.6))).to_numpy()
leaves = (rng.random(n) < chance).astype(int)
for column, share in (("bill", 0.06), ("payment", 0.04), ("contract", 0.02)):
    frame.loc[rng.random(n) < share, column] = None
print(frame.head(3))
print(f"{leaves.mean():.1%} leave; {frame.isna().sum().sum()} values are missing")

# %%
# Three parts: to learn from, to stop by, to judge by.

train, watch, test = np.split(rng.permutation(n), [5000, 6000])

# %%
# From a table to a network
# -------------------------
#
# ``TableEncoder`` sees the training rows alone. It remembers medians, categories and scales.

import fastnn

table = fastnn.TableEncoder().fit(frame.iloc[train])


def inputs(rows):
    return table.scaler.apply(table.transform(frame.iloc[rows]), "float32")


net = fastnn.MLP((table.n_inputs, 32, 32, 2), output="softmax", dropout=0.1, random_state=0)
history = net.fit(
    inputs(train), leaves[train], optimizer=fastnn.AdamW(2e-3), epochs=200, batch_size=100,
    validation_data=(inputs(watch), leaves[watch]), metrics=["roc_auc"],
    callbacks=[fastnn.EarlyStopping(patience=15)])
print(len(history.loss), "epochs:", history.stopped)

# %%
# Accuracy would say little here: "nobody leaves" is right for nine of ten. So early stopping
# watches the loss, and the curve beside it is the area under the ROC curve.

figure, (left, right) = plt.subplots(1, 2, figsize=(8, 3))
left.plot(history.loss, label="training")
left.plot(history.val_loss, label="held out")
left.set(xlabel="epoch", ylabel="loss")
left.legend()
right.plot(history["val_roc_auc"])
right.set(xlabel="epoch", ylabel="area under the ROC curve")
plt.show()

# %%
# How good is it?
# ---------------
#
# On rows that nobody has looked at, beside a logistic regression on the same inputs.

from sklearn.linear_model import LogisticRegression
from sklearn.metrics import average_precision_score, roc_auc_score

chances = {
    "network": net.predict(inputs(test))[:, 1],
    "logistic regression": LogisticRegression(max_iter=1000).fit(
        inputs(train), leaves[train]).predict_proba(inputs(test))[:, 1],
    "at random": np.full(len(test), leaves[train].mean()),
}
for name, chance in chances.items():
    print(f"{name:20} ROC {roc_auc_score(leaves[test], chance):.3f}   average precision "
          f"{average_precision_score(leaves[test], chance):.3f}")

# %%
# Whom to call
# ------------
#
# A call costs 5, a customer who stays is worth 60, and a call keeps one of three. How many calls
# pay?

order = np.argsort(-chances["network"])
gain = np.cumsum(leaves[test][order]) / 3 * 60 - 5 * np.arange(1, len(test) + 1)
at_random = leaves[test].mean() / 3 * 60 * np.arange(1, len(test) + 1) - 5 * np.arange(
    1, len(test) + 1)

figure, axes = plt.subplots(figsize=(6, 3.2))
axes.plot(gain, label="the network's order")
axes.plot(at_random, ":", color="gray", label="at random")
axes.axvline(gain.argmax(), color="tab:orange", lw=1)
axes.set(xlabel="calls", ylabel="gain")
axes.legend()
plt.show()
print(f"{gain.argmax() + 1} calls of {len(test)} gain {gain.max():.0f}")

# %%
# The threshold that belongs to it. Where probabilities are right it is 5 / (60 / 3), a quarter.

threshold = chances["network"][order[gain.argmax()]]
print(round(float(threshold), 3))

# %%
# Into a file
# -----------
#
# Table, scaler, network and labels together; :doc:`fastapi_service` puts it behind HTTP.

model = fastnn.Predictor(net, "classification", classes=["stays", "leaves"], table=table,
                         scaler=table.scaler, feature_names=table.feature_names)
model.save("churn.safetensors")
print(fastnn.load("churn.safetensors").predict_proba(frame.iloc[test[:3]]).round(3))
