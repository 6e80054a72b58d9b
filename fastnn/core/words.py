"""Words that people type, and what they mean here. Imported where something is wrong already."""

import re

__all__ = ["ALIASES", "close", "did_you_mean", "for_call", "meant", "near", "of_module",
           "of_name"]

# kind of a name -> other names for the same thing, folded as `_folded` does
ALIASES = {
    "activation": {"linear": "identity", "swish": "silu", "exponential": "exp",
                   "heaviside": "step"},
    "loss": {"mse": "squared_error", "meansquarederror": "squared_error",
             "mae": "absolute_error", "meanabsoluteerror": "absolute_error",
             "smoothl1": "huber", "pinball": "quantile",
             "categoricalcrossentropy": "cross_entropy",
             "sparsecategoricalcrossentropy": "cross_entropy", "bce": "binary_cross_entropy",
             "binarycrossentropy": "binary_cross_entropy"},
    "optimizer": {},
    "initializer": {"xavieruniform": "glorot_uniform", "xaviernormal": "glorot_normal",
                    "kaiminguniform": "he_uniform", "kaimingnormal": "he_normal",
                    "zero": "zeros"},
}
# what is said of a name that is not taken, by kind
NAMES = {
    "activation": {"softmax": "softmax is for the output alone: output='softmax'"},
    "initializer": {name: f"did you mean {start}_uniform or {start}_normal?" for name, start in (
        ("he", "he"), ("kaiming", "he"), ("glorot", "glorot"), ("xavier", "glorot"))},
    "loss": {"logloss": "the log loss is 'cross_entropy' of output softmax, 'binary_cross_entropy' "
                        "of sigmoid",
             "nll": "did you mean 'cross_entropy' or 'gaussian_nll'?",
             "logistic": "did you mean 'binary_cross_entropy'?"},
    "optimizer": {"lbfgs": "L-BFGS is an object: optimizer=fastnn.LBFGS()",
                  "es": "an evolution strategy is an object: "
                        "optimizer=fastnn.EvolutionStrategy()",
                  "momentum": "momentum is one of SGD: optimizer=fastnn.SGD(0.01, momentum=0.9)"},
    "metrics": {"mse": "neg_mean_squared_error", "mae": "neg_mean_absolute_error",
                "rmse": "neg_root_mean_squared_error", "acc": "accuracy", "auc": "roc_auc",
                "logloss": "neg_log_loss", "crossentropy": "neg_log_loss", "rsquared": "r2",
                "meansquarederror": "neg_mean_squared_error",
                "meanabsoluteerror": "neg_mean_absolute_error"},
}
# names of parameters elsewhere -> ours, the first that a function has
PARAMETERS = {
    "lr": ("learning_rate_init", "learning_rate"),
    "max_lr": ("learning_rate",), "rate": ("learning_rate",),
    "learning_rate": ("learning_rate_init",),
    "learning_rate_init": ("learning_rate",),
    "step_size": ("learning_rate_init", "learning_rate"),
    "betas": ("beta1", "beta_1"), "beta_1": ("beta1",), "beta_2": ("beta2",),
    "beta1": ("beta_1",), "beta2": ("beta_2",), "b1": ("beta1",), "b2": ("beta2",),
    "epsilon": ("eps",), "eps": ("epsilon",),
    "wd": ("weight_decay", "alpha"), "decay": ("weight_decay", "alpha"),
    "weight_decay": ("alpha",), "l2": ("alpha",), "reg": ("alpha",),
    "seed": ("random_state",), "random_seed": ("random_state",),
    "n_jobs": ("n_threads",), "num_threads": ("n_threads",), "threads": ("n_threads",),
    "n_epochs": ("epochs", "max_iter"), "num_epochs": ("epochs", "max_iter"),
    "nb_epoch": ("epochs", "max_iter"), "epochs": ("max_iter",), "max_iter": ("epochs",),
    "n_iter": ("epochs", "max_iter"), "max_epochs": ("epochs", "max_iter"),
    "verbose": ("progress",), "progress": ("verbose",), "progress_bar": ("progress",),
    "callbacks": ("callback",), "callback": ("callbacks",),
    "validation_split": ("validation_fraction", "validation_data"),
    "validation_fraction": ("validation_data",),
    "eval_set": ("validation_data",), "X_val": ("validation_data",),
    "sample_weights": ("sample_weight",), "weights": ("sample_weight",),
    "batchsize": ("batch_size",), "bs": ("batch_size",), "minibatch_size": ("batch_size",),
    "hidden_layer_sizes": ("sizes",), "layer_sizes": ("sizes",), "layers": ("sizes",),
    "hidden_sizes": ("hidden_layer_sizes", "sizes"), "hidden_layers": ("hidden_layer_sizes",),
    "sizes": ("hidden_layer_sizes",), "hidden": ("hidden_layer_sizes", "sizes"),
    "activations": ("activation",), "nonlinearity": ("activation",),
    "output_activation": ("output",), "out_activation": ("output",), "final": ("output",),
    "init": ("initializer",), "kernel_initializer": ("initializer",),
    "dropout_rate": ("dropout", "rate"), "drop": ("dropout", "rate"), "p": ("rate", "dropout"),
    "optimizer": ("solver",), "solver": ("optimizer",),
    "criterion": ("loss",), "loss_function": ("loss",), "loss_fn": ("loss",),
    "objective": ("loss",), "n_units": ("units",), "out_features": ("units",),
    "gradient_clip": ("clip_norm",), "max_grad_norm": ("clip_norm",), "clipnorm": ("clip_norm",),
    "tau": ("level",), "quantiles": ("level",), "q": ("level",), "beta": ("delta",),
    "path_or_file": ("path",), "file": ("path",), "filename": ("path",), "fname": ("path",),
    "min_delta": ("tol",), "tol": ("min_delta",), "patience": ("n_iter_no_change",),
    "n_iter_no_change": ("patience",), "restore_best_weights": ("restore_best",),
    "scheduler": ("schedule",), "T_max": ("epochs",),
    "sep": ("separator",), "delimiter": ("separator",), "na_values": ("na",),
    "header": ("header_row",), "dayfirst": ("day_first",),
}
_IN_OPTIMIZER = "the optimizer has it: optimizer=fastnn.{}"
_OF_TRAINING = {
    "lr": _IN_OPTIMIZER.format("Adam(learning_rate=0.01)"),
    "learning_rate": _IN_OPTIMIZER.format("Adam(learning_rate=0.01)"),
    "learning_rate_init": _IN_OPTIMIZER.format("Adam(learning_rate=0.01)"),
    "schedule": "the optimizer has it: optimizer=fastnn.Adam(fastnn.schedules.Cosine(0.01))",
    "scheduler": "the optimizer has it: optimizer=fastnn.Adam(fastnn.schedules.Cosine(0.01))",
    "momentum": _IN_OPTIMIZER.format("SGD(0.01, momentum=0.9)"),
    "nesterov": _IN_OPTIMIZER.format("SGD(0.01, nesterov=True)"),
    "weight_decay": "alpha= is the L2 penalty; decay apart from the gradient is of the "
                    "optimizer: optimizer=fastnn.AdamW(weight_decay=0.01)",
    "early_stopping": "give callbacks=[fastnn.EarlyStopping(patience=10)]",
    "patience": "give callbacks=[fastnn.EarlyStopping(patience=10)]",
    "verbose": "progress=True shows how far the fit is",
    "validation_split": "split the rows yourself: validation_data=(X_val, y_val)",
    "validation_fraction": "split the rows yourself: validation_data=(X_val, y_val)",
    "class_weight": "give each row its weight: sample_weight=class_weights[y]",
    "dropout": "the network has it: fastnn.MLP(sizes, dropout=0.2)",
    "random_state": "the network has it: fastnn.MLP(sizes, random_state=0)",
    "seed": "the network has it: fastnn.MLP(sizes, random_state=0)",
    "n_threads": "the network has it: net.n_threads = 2",
    "n_jobs": "the network has it: net.n_threads = 2",
}
# wherever such a parameter is given that a function does not have
EVERYWHERE = dict.fromkeys(("device", "gpu", "use_gpu", "cuda"),
                           "fastnn computes on the CPU alone; n_threads= says on how many cores")
_OF_NETWORK = {
    "loss": "training has it: net.fit(X, y, loss='huber')",
    "optimizer": "training has it: net.fit(X, y, optimizer=fastnn.Adam(0.01))",
    "solver": "training has it: net.fit(X, y, optimizer=fastnn.Adam(0.01))",
    "lr": "training has it: net.fit(X, y, optimizer=fastnn.Adam(learning_rate=0.01))",
    "learning_rate": "training has it: net.fit(X, y, optimizer=fastnn.Adam(learning_rate=0.01))",
    "epochs": "training has it: net.fit(X, y, epochs=10)",
    "max_iter": "training has it: net.fit(X, y, epochs=10)",
    "batch_size": "training has it: net.fit(X, y, batch_size=128)",
    "alpha": "training has it: net.fit(X, y, alpha=1e-4)",
    "hidden_layer_sizes": "sizes has all layers, those of input and output too: "
                          "fastnn.MLP((n_in, 64, 64, n_out))",
    "layers": "sizes has all layers: fastnn.MLP((n_in, 64, n_out)); for layer objects "
              "fastnn.MLP.of(layers, n_in=...)",
}
_OF_ESTIMATOR_FIT = {
    "epochs": "the estimator has it: {}(max_iter=...)",
    "max_iter": "the estimator has it: {}(max_iter=...)",
    "batch_size": "the estimator has it: {}(batch_size=...)",
    "callback": "the estimator has it: {}(callbacks=[...])",
    "callbacks": "the estimator has it: {}(callbacks=[...])",
    "verbose": "the estimator has it: {}(verbose=True)",
    "learning_rate": "the estimator has it: {}(learning_rate_init=...)",
    "lr": "the estimator has it: {}(learning_rate_init=...)",
    "class_weight": "the estimator has it: {}(class_weight=...)",
    "early_stopping": "the estimator has it: {}(early_stopping=True)",
    "eval_set": "give X_val= and y_val=", "validation_split":
        "the estimator has it: {}(early_stopping=True, validation_fraction=0.1)",
}
_OF_ESTIMATOR = dict.fromkeys(
    ("checkpoint", "checkpoint_seconds", "X_val", "y_val", "validation_data", "sample_weight"),
    "fit has it: {}(...).fit(X, y, {name}=...)")
_PRESET = "the preset decides: {0}('best'), or {0}(time_limit=60)"
_OF_TABULAR = {
    **_OF_ESTIMATOR,
    **dict.fromkeys(("epochs", "max_iter", "n_estimators", "hidden_layer_sizes", "learning_rate",
                     "learning_rate_init", "batch_size", "solver", "activation", "dropout"),
                    f"{_PRESET}; fastnn.MLPClassifier and MLPRegressor have such settings"),
}
_OF_TABLES = {
    **dict.fromkeys(("eval_set", "validation_data", "eval_data", "X_valid"),
                    "give X_val= and y_val="),
    **dict.fromkeys(("validation_split", "validation_fraction", "early_stopping"),
                    "folds of the rows are held out in turn; to choose rows give X_val= and "
                    "y_val="),
    **dict.fromkeys(("epochs", "max_iter", "n_estimators"),
                    _PRESET),
    **dict.fromkeys(("categorical_features", "categorical_feature", "cat_features"),
                    "the estimator has it: {}(categorical_features=[...])"),
    "class_weight": "the estimator has it: {}(class_weight=...)",
    "eval_metric": "the estimator has it: {}(eval_metric=...)",
    "verbose": "the estimator has it: {}(progress=True)",
}
_OF_PREDICTIONS = {
    "strict": "a saved model has it, fastnn.load(path).predict(X, strict=True), and so has "
              "est.model_.predict(X, strict=True)",
    "n_threads": "the estimator has it: {}(n_threads=...)",
    "proba": "predict_proba(X) gives probabilities",
}
# end of the qualified name of a function -> what is said of a parameter that it does not have
CALLS = {
    **dict.fromkeys(("Learning.fit", "Learning.fit_batches", "Learning.steps",
                     "fit_many", "fit"), _OF_TRAINING),
    **dict.fromkeys(("MLP.__init__", "MLP.of"), _OF_NETWORK),
    "BaseMLP.fit": _OF_ESTIMATOR_FIT, "BaseTabular.fit": _OF_TABLES,
    **dict.fromkeys((f"{kind}.{name}" for kind in ("TabularClassifier", "TabularRegressor",
                                                   "BaseTabular")
                     for name in ("predict", "predict_proba", "predict_interval", "explain")),
                    _OF_PREDICTIONS),
    **dict.fromkeys(("MLPClassifier.__init__", "MLPRegressor.__init__"), _OF_ESTIMATOR),
    **dict.fromkeys(("TabularClassifier.__init__", "TabularRegressor.__init__"), _OF_TABULAR),
}
# what is looked for in the package under its name elsewhere
MODULE = {
    "sequential": "fastnn.MLP((n_in, 64, n_out)), or fastnn.MLP.of(layers, n_in=...)",
    "linear": "fastnn.Dense(units)", "model": "fastnn.MLP((n_in, 64, n_out))",
    "relu": "fastnn.Activation('relu')", "save": "net.save(path)", "loadmodel": "fastnn.load(path)",
    "train": "net.fit(X, y); of a file `python -m fastnn train`", "fit": "net.fit(X, y)",
    "dataset": "arrays as they are, or fastnn.sources", "dataloader": "arrays as they are, or "
    "fastnn.sources", "modelcheckpoint": "fastnn.Snapshots(folder)", "nn": "fastnn.Dense, "
    "fastnn.Activation, ...", "optim": "fastnn.optimizers", "layers": "fastnn.Dense, "
    "fastnn.Activation, ...", "callbacks": "fastnn.EarlyStopping, fastnn.Callback, ...",
    "reducelronplateau": "fastnn.ReduceOnPlateau()", "readcsv": "fastnn.tables.read(path)",
    "toonnx": "fastnn.export.onnx(model, path)",
}
_UNEXPECTED = re.compile(r"^(.*)\(\) got an unexpected keyword argument '(\w+)'")
_TOO_MANY = re.compile(r"^.*\(\) takes .* positional arguments? but .* given$")
# end of the qualified name -> what is said where more values than it takes stand without a name
TOO_MANY = {"Learning.fit_batches": "a source gives pairs (X, y); fit(X, y) takes arrays"}
_OWN = re.compile(r"^(\w*Base(MLP|Tabular)|Learning)(?=\.)")


def _folded(name):
    return re.sub(r"[\s_\-]", "", name).lower()


def meant(name, known, kind):
    """Return the known name that was meant beyond doubt: it differs in capitals and underscores
    alone, or is another name for it; None where there is none.

    Parameters
    ----------
    name : str
    known : sequence of str
    kind : str
        Key of `ALIASES`.
    """
    folded = _folded(name)
    same = [one for one in known if _folded(one) == folded]
    if len(same) == 1:
        return same[0]
    found = ALIASES[kind].get(folded)
    return found if found in known else None


def close(name, known, n=2):
    """Return the known names that look like a name, the best first."""
    import difflib

    by_fold = {}
    for one in known:
        by_fold.setdefault(_folded(one), one)
    return [by_fold[match] for match in
            difflib.get_close_matches(_folded(name), by_fold, n, 0.6)]


def did_you_mean(name, known):
    """Return "; did you mean 'relu'?", or nothing."""
    found = close(name, known)
    return f"; did you mean {' or '.join(map(repr, found))}?" if found else ""


def near(name, known, most=12):
    """Return the same, or else what there is."""
    known = list(known)
    shown = ", ".join(map(repr, known[:most])) + (", ..." if len(known) > most else "")
    return did_you_mean(name, known) or f"; there are: {shown}"


def of_column(name, have, wanted):
    """Return the end of a message on a column that a table lacks: which other one may be meant, or
    what there is that nobody has asked for."""
    if isinstance(name, int) and list(wanted) == list(range(len(wanted))):
        return ("; the fit was on columns without names: give them in its order, as an array, or "
                "fit on a data frame")
    wanted = set(wanted)
    others = [str(one) for one in have if one not in wanted]
    return near(str(name), others, 5) if others else "; there are no others than are asked for"


def of_name(name, known, kind=None):
    """Return the end of a message on a name that is not taken; empty where nothing helps."""
    said = NAMES.get(kind, {}).get(_folded(name))
    if said in known:
        return f"; did you mean {said!r}?"
    return f"; {said}" if said else did_you_mean(name, known)


def of_module(name, known):
    """Return the end of a message on a name that the package does not have."""
    said = MODULE.get(_folded(name))
    return f"; there is {said}" if said else did_you_mean(name, known)


def for_call(error, function, owner=None):
    """Return the message of a `TypeError` that a call has raised, with what was meant.

    Parameters
    ----------
    error : TypeError
        Of Python itself, such as "f() got an unexpected keyword argument 'lr'".
    function : callable
        What was called.
    owner : str or None, default=None
        Name of the class whose object it was called on.
    """
    from inspect import signature

    text = str(error).replace(".__init__()", "()")
    if owner is not None:
        text = _OWN.sub(owner, text)
    found = _UNEXPECTED.match(text)
    if found is None:
        return text + (_by_name(function) if _TOO_MANY.match(text) else "")
    text, name = found[0], found[2]
    special = CALLS.get(function.__qualname__, {}).get(name, EVERYWHERE.get(name))
    if special is not None:
        return f"{text}: {special.format(owner, name=name)}"
    known = [one.name for one in signature(function).parameters.values()
             if one.kind in (one.POSITIONAL_OR_KEYWORD, one.KEYWORD_ONLY) and one.name != "self"]
    ours = [one for one in PARAMETERS.get(name, ()) if one in known][:1] or close(name, known)
    if ours:
        return f"{text}; did you mean {' or '.join(map(repr, ours))}?"
    return f"{text}; there are: {', '.join(known)}" if known else text


def _by_name(function):
    """Return the end of a message on too many values without a name."""
    from inspect import signature

    own = TOO_MANY.get(function.__qualname__)
    if own is not None:
        return f": {own}"
    names = [one.name for one in signature(function).parameters.values()
             if one.kind is one.POSITIONAL_OR_KEYWORD and one.name not in ("self", "cls")]
    first = f"{', '.join(names)} may stand without a name, all others need it" if names else (
        "all need their names")
    return f": {first}"
