"""
Tuning with Optuna, and pruning
===============================

A search tries settings. Most are hopeless after a few epochs, and pruning ends them there.
"""

# %%
# Two classes on a ring that is hard to see among ten inputs.

import matplotlib.pyplot as plt
import numpy as np
import optuna

import fastnn

rng = np.random.default_rng(0)
X = rng.normal(size=(1500, 10)).astype("float32")
y = (np.abs(np.hypot(X[:, 0], X[:, 1]) - 1.2) < 0.45).astype(int)
train, watch, test = slice(0, 900), slice(900, 1200), slice(1200, None)

# %%
# What is tried, and how good it is. ``OptunaPruning`` reports each epoch and ends the fit where
# Optuna has seen enough.

EPOCHS = 40


def network(parameters):
    return fastnn.MLP((10, *[parameters["units"]] * parameters["layers"], 2),
                      activation=parameters["activation"], output="softmax", random_state=0)


def objective(trial):
    parameters = {
        "units": trial.suggest_int("units", 8, 128, log=True),
        "layers": trial.suggest_int("layers", 1, 3),
        "activation": trial.suggest_categorical("activation", ["relu", "tanh", "gelu"]),
        "rate": trial.suggest_float("rate", 1e-4, 3e-2, log=True),
        "decay": trial.suggest_float("decay", 1e-4, 1.0, log=True),
    }
    history = network(parameters).fit(
        X[train], y[train], epochs=EPOCHS, batch_size=50,
        optimizer=fastnn.AdamW(parameters["rate"], weight_decay=parameters["decay"]),
        validation_data=(X[watch], y[watch]), callbacks=[fastnn.OptunaPruning(trial)])
    return min(history.val_loss)


# %%
# Thirty trials. The first five run to their end, to have something to compare with.

optuna.logging.set_verbosity(optuna.logging.WARNING)
study = optuna.create_study(
    direction="minimize", sampler=optuna.samplers.TPESampler(seed=0),
    pruner=optuna.pruners.MedianPruner(n_startup_trials=5, n_warmup_steps=3))
study.optimize(objective, n_trials=30)

states = [trial.state.name for trial in study.trials]
epochs = sum(len(trial.intermediate_values) for trial in study.trials)
print(states.count("PRUNED"), "of", len(states), "were ended early;",
      f"{epochs / (len(states) * EPOCHS):.0%} of the epochs were run")
print(study.best_params)

# %%
# Every line is a trial. The ones that end early are gray.

figure, axes = plt.subplots(figsize=(7, 3.2), layout="constrained")
for trial in study.trials:
    values = list(trial.intermediate_values.values())
    best = trial.number == study.best_trial.number
    axes.plot(values, lw=2.5 if best else 0.9, zorder=2 + best,
              color="tab:orange" if best else
              "lightgray" if trial.state.name == "PRUNED" else "tab:blue")
axes.set(xlabel="epoch", ylabel="loss on held-out rows", ylim=(0, 0.9))
plt.show()

# %%
# The best settings once more, on all rows but those of the test, beside the ones one would start
# with.

for name, parameters in (("found", study.best_params),
                         ("first guess", {"units": 64, "layers": 1, "activation": "relu",
                                          "rate": 1e-3, "decay": 0.01})):
    net = network(parameters)
    net.fit(X[:1200], y[:1200], epochs=EPOCHS, batch_size=50,
            optimizer=fastnn.AdamW(parameters["rate"], weight_decay=parameters["decay"]))
    print(f"{name:12} accuracy {(net.predict(X[test]).argmax(axis=1) == y[test]).mean():.3f}")

# %%
# For the estimators, and for scikit-learn's searches: :doc:`/how_to/tune`.
