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
# Two parts: to learn from, and to judge by.

train, test = np.split(rng.permutation(n), [6000])

# %%
# A model
# -------
#
# The frame goes in as it is. Inside, networks learn on folds of the rows, each stops by the rows of
# its fold, and a column that is text becomes categories.

import fastnn

model = fastnn.TabularClassifier(random_state=0)
model.fit(frame.iloc[train], leaves[train])

# %%
# How good is it?
# ---------------
#
# Accuracy says little here: "nobody leaves" is right for eleven of twelve. The area under the ROC
# curve tells how well those who leave are ranked before the others; average precision looks at the
# front of the list alone. Beside it: a logistic regression on encoded columns, and chance.

from sklearn.compose import make_column_transformer
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import average_precision_score, roc_auc_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

linear = make_pipeline(
    make_column_transformer(
        (OneHotEncoder(handle_unknown="ignore"), ["contract", "payment"]),
        (make_pipeline(SimpleImputer(), StandardScaler()), ["months", "bill", "calls"])),
    LogisticRegression(max_iter=1000))
linear.fit(frame.iloc[train], leaves[train])
chances = {"networks": model.predict_proba(frame.iloc[test])[:, 1],
           "logistic regression": linear.predict_proba(frame.iloc[test])[:, 1],
           "at random": np.full(len(test), leaves[train].mean())}
for name, chance in chances.items():
    print(f"{name:20} ROC {roc_auc_score(leaves[test], chance):.3f}   average precision "
          f"{average_precision_score(leaves[test], chance):.3f}")

# %%
# Are the probabilities right? Of those with a chance of 30 % about 30 % should leave.

from sklearn.calibration import CalibrationDisplay

figure, (left, right) = plt.subplots(1, 2, figsize=(8, 3.2), layout="constrained")
CalibrationDisplay.from_predictions(leaves[test], chances["networks"], n_bins=8,
                                    strategy="quantile", ax=left, name="networks")
order = np.argsort(model.feature_importances_)
right.barh(frame.columns[order], model.feature_importances_[order],
           xerr=model.feature_importances_error_[order])
right.set(xlabel="by how much the loss grows without it")
plt.show()

# %%
# Why this customer? What each column adds to the chance, or takes from it.

first = test[np.argmax(chances["networks"])]
told = model.explain(frame.iloc[[first]])
for name, part in zip(told.feature_names, told.values[0][:, 1], strict=True):
    print(f"{name:12}{frame.iloc[first][name]!s:>22}  {part:+.3f}")

# %%
# Whom to call
# ------------
#
# A call costs 5, a customer who stays is worth 60, and a call keeps one of three. How many calls
# pay?

ranking = np.argsort(-chances["networks"])
gain = np.cumsum(leaves[test][ranking]) / 3 * 60 - 5 * np.arange(1, len(test) + 1)
at_random = leaves[test].mean() / 3 * 60 * np.arange(1, len(test) + 1) - 5 * np.arange(
    1, len(test) + 1)

figure, axes = plt.subplots(figsize=(6, 3.2), layout="constrained")
axes.plot(gain, label="the networks' order")
axes.plot(at_random, ":", color="gray", label="at random")
axes.axvline(gain.argmax(), color="tab:orange", lw=1)
axes.set(xlabel="calls", ylabel="gain")
axes.legend()
plt.show()
print(f"{gain.argmax() + 1} calls of {len(test)} gain {gain.max():.0f}")

# %%
# The threshold that belongs to it. Where probabilities are right it is 5 / (60 / 3), a quarter.

threshold = chances["networks"][ranking[gain.argmax()]]
print(round(float(threshold), 3))

# %%
# Into a file
# -----------
#
# What the columns are, categories, networks and labels together; :doc:`fastapi_service` puts it
# behind HTTP.

model.save("churn.safetensors")
loaded = fastnn.load("churn.safetensors")
print(loaded.predict_proba([{"months": 2, "contract": "monthly", "payment": "card", "bill": None,
                             "calls": 4, "last_visit": "2024-05-05"}]).round(3))
