"""
The drop-in
===========

Code that uses scikit-learn's ``MLPClassifier`` needs one other import. Parameters, attributes and
random numbers are the same; the time is not.
"""

# %%
# The data: images of handwritten digits, 8 x 8 pixels.

import time

from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

X, y = load_digits(return_X_y=True)
X_train, X_test, y_train, y_test = train_test_split(X, y, random_state=0)

# %%
# The same model twice. Only the import differs. (Sixty epochs are few: both would say so.)

import warnings

import sklearn.neural_network
from sklearn.exceptions import ConvergenceWarning

import fastnn

warnings.simplefilter("ignore", ConvergenceWarning)
settings = dict(hidden_layer_sizes=(100,), max_iter=60, tol=0, n_iter_no_change=100, random_state=0)
times, scores, models = {}, {}, {}
for name, package in (("scikit-learn", sklearn.neural_network), ("fastnn", fastnn)):
    model = package.MLPClassifier(**settings)
    start = time.perf_counter()
    models[name] = model.fit(X_train, y_train)
    times[name] = time.perf_counter() - start
    scores[name] = model.score(X_test, y_test)
    print(f"{name:13} {times[name]:6.2f} s   accuracy {scores[name]:.3f}")

# %%
# With the same ``random_state`` both start with the same weights, and take the rows in the same
# order. So the curves of the loss lie on each other.

import matplotlib.pyplot as plt

figure, (left, right) = plt.subplots(1, 2, figsize=(8, 3), layout="constrained")
left.plot(models["scikit-learn"].loss_curve_, lw=5, alpha=0.4, label="scikit-learn")
left.plot(models["fastnn"].loss_curve_, lw=1.5, color="black", label="fastnn")
left.set(xlabel="epoch", ylabel="loss", yscale="log")
left.legend()
right.barh(list(times), list(times.values()), color=["tab:blue", "black"])
right.set(xlabel="seconds of training")
plt.show()

# %%
# All that scikit-learn offers around an estimator works: pipelines, searches, ``clone``, pickles.

from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

pipe = make_pipeline(StandardScaler(), fastnn.MLPClassifier((64,), max_iter=30, random_state=0,
                                                            early_stopping=True))
print(round(pipe.fit(X_train, y_train).score(X_test, y_test), 3))

# %%
# What the estimators have beyond scikit-learn's is in :doc:`/estimators`: validation rows, more
# optimizers, schedules, callbacks, other losses.
