"""What the docstrings of classifier and regressor share."""

_PARAMETERS = """\
    hidden_layer_sizes : int or sequence of int, default=(100,)
        Units of each hidden layer; ``()`` for a linear model.
    activation : str or sequence of str, default="relu"
        Activation of the hidden layers, or one name per hidden layer: "identity", "logistic"
        (or "sigmoid"), "tanh", "relu", "leaky_relu", "elu", "gelu", "silu", "softplus", ...
    solver : str or optimizer, default="adam"
        "adam", "sgd": minibatches with Adam or with momentum; "lbfgs": L-BFGS over all data (good
        for small data); "es": an evolution strategy, which needs no derivatives
        (`fastnn.EvolutionStrategy`, 50 members, its Adam by `beta_1`, `beta_2`, `epsilon`), each
        minibatch a generation. It wants a larger `learning_rate_init`, about 0.02 to 0.2, and is
        for small networks. "adamw", "adamax", "nadam" (with `beta_1`, `beta_2`, `epsilon`),
        "rmsprop", "adagrad", "adadelta", "rprop", "lion", "muon": of the estimator's settings
        `learning_rate_init` alone acts, whose default suits few of them (about 1 for adadelta, 0.02
        for muon, 1e-4 for lion). An object such as ``fastnn.AdamW(3e-3)`` or
        ``fastnn.EMA(fastnn.Adam())`` has all its settings itself, the learning rate too.
    alpha : float, default=1e-4
        L2 penalty ``alpha / 2 * |W|**2``, divided by the rows (or sum of weights) of the batch.
    batch_size : int or "auto", default="auto"
        Rows per minibatch; "auto" is ``min(200, n_samples)``.
    learning_rate : {"constant", "invscaling", "adaptive"}, default="constant"
        sgd only. "invscaling": ``learning_rate_init / (t_ + 1) ** power_t``, renewed after each
        epoch. "adaptive": divided by 5 whenever patience runs out, until 1e-6.
    learning_rate_init : float, default=1e-3
        Step size of all solvers given by name but lbfgs, and of `schedule`.
    power_t : float, default=0.5
        Exponent of "invscaling".
    max_iter : int, default=200
        Most epochs, or iterations of lbfgs.
    shuffle : bool, default=True
        Whether to draw a new order of the rows for each epoch.
    random_state : int, RandomState or None, default=None
        Seeds initial weights, early-stopping split, order of rows and dropout.
    tol : float, default=1e-4
        Least improvement of the loss or score that counts; gradient tolerance of lbfgs.
    verbose : bool, default=False
        Whether to print the progress.
    warm_start : bool, default=False
        Whether `fit` goes on from the weights of the last one.
    momentum : float, default=0.9
        Momentum of sgd, in [0, 1].
    nesterovs_momentum : bool, default=True
        Whether sgd uses Nesterov's form.
    early_stopping : bool, default=False
        Whether to stop when the score of held-out rows stops to improve, and to keep the weights of
        the best epoch; see `scoring`. Not by lbfgs.
    validation_fraction : float, default=0.1
        Share of the rows held out by `early_stopping`.
    beta_1, beta_2 : float, default=0.9, 0.999
        Decay of adam's moments, in [0, 1).
    epsilon : float, default=1e-8
        Added to adam's denominator, before the bias correction.
    n_iter_no_change : int or inf, default=10
        Patience: epochs without improvement by `tol`.
    max_fun : int, default=15000
        Most evaluations of the loss by lbfgs.
    n_threads : int or None, default=None
        Threads of the compiled loops; None for the least of CPU affinity, container quota and
        ``OMP_NUM_THREADS``. The result does not depend on it.
    dtype : {"float32", "float64"} or None, default=None
        Precision; None for that of X (float64 for anything but float32).
    dropout : float or sequence of float, default=0.0
        Share of hidden activations set to zero in training (inverted dropout), for all hidden
        layers or one per hidden layer. Not used by lbfgs and es.
"""

_MORE = """\
    scoring : str, callable or None, default=None
        What early stopping looks at: name of a scorer of scikit-learn's, a function
        ``(estimator, X, y)`` that returns a number, more being better, or "loss" for the negative
        loss. None is scikit-learn's choice: accuracy, R^2, with quantiles the share of the pinball
        loss that they explain. Where a class is rare, accuracy is best while the network says "no"
        to all rows: take "loss", "average_precision" or "balanced_accuracy" there; a warning tells.
    schedule : str, schedule, callable or None, default=None
        Of the learning rate, by step: "cosine", "one_cycle", "coslog4", "flat_then_cosine",
        "polynomial", "exponential", "step", "inverse_scaling", "constant", or an object of
        `fastnn.schedules`, whose rate is `learning_rate_init` (or that of a solver that is an
        object) where it has none; or a function from the epoch, from 0, to the rate. Those that
        look ahead count on `max_iter` epochs. Not for lbfgs and `partial_fit`.
    clip_norm : float or None, default=None
        Longest gradient of a step: a longer one is scaled down to this norm. The gradient of the
        estimators is that of the sum over the outputs.
    clip_value : float or None, default=None
        Each element of the gradient is cut off at this size, before `clip_norm`.
    max_norm : float or None, default=None
        Longest vector of the incoming weights of a unit: after each step a longer one is scaled
        down to this norm (Srebro, Rennie & Jaakkola 2004).
    l1 : float, default=0.0
        L1 penalty ``l1 * |W|``, divided as that of `alpha`.
    norm : {None, "layer", "batch"}, default=None
        "layer" and "batch" normalise the weighted inputs of each hidden layer, see
        `fastnn.LayerNorm` and `fastnn.BatchNorm`. "batch" is not for lbfgs.
    residual : bool, default=False
        Whether to add the input of a hidden layer to its output where both are as wide.
    members : int or None, default=None
        Networks of an ensemble that shares its hidden layers, such as 16, see `fastnn.MLP`: the
        loss is the mean over the members, predictions are the mean of theirs. None: one network.
    input_dropout : float, default=0.0
        Share of the inputs set to zero in training, in [0, 1).
    input_noise : float, default=0.0
        Standard deviation of the Gaussian noise added to the inputs in training.
    mixup : float, default=0.0
        Alpha of mixup (Zhang et al. 2018): rows are trained on in mixtures, whose shares are drawn
        from Beta(alpha, alpha). 0: none. As `clip_norm`, `clip_value`, `max_norm`, `l1`,
        `input_dropout` and `input_noise` not for lbfgs and es.
    callbacks : list of fastnn.Callback or None, default=None
        Called by `fit` after each epoch or iteration; ``state.net`` is the estimator as it is then,
        the curves of ``state.history`` are "loss", "val_loss" and, with early stopping,
        "val_score". For scikit-learn's own callbacks use `set_callbacks` (version 1.9). Neither is
        called by `partial_fit`.
    max_time : float or None, default=None
        Seconds: `fit` ends after the epoch in which they are over.
    progress : bool or None, default=False
        Whether `fit` shows its progress on standard error; None: where that is a terminal or a
        notebook, after two seconds.
"""

_ATTRIBUTES = """\
    Attributes
    ----------
    coefs_, intercepts_ : lists of ndarray
        Weights (n_in, n_out) and biases (n_out,) of each layer; may be changed or replaced.
    loss_, best_loss_ : float
        Training loss of the last epoch, L2 term included, and the least one (None with early
        stopping).
    loss_curve_ : list of float
        Training loss of each epoch.
    norm_parameters_ : list of ndarray
        With ``norm="layer"`` gain and bias of each hidden layer, one after the other; with "batch"
        gain, bias, and the running mean and variance. With ``members`` their scales of the inputs
        (members, n_in) come first; the last of `coefs_` is then (members n_in, n_out), the last of
        `intercepts_` (members, n_out).
    validation_scores_, best_validation_score_ : list of float, float
        Score of the held-out rows after each epoch; None without early stopping.
    best_epoch_ : int
        With early stopping: the epoch, from 1, whose parameters have been kept.
    validation_loss_curve_ : list of float
        Loss of the held-out rows after each epoch, without L2 term; None without such rows.
    n_iter_, t_ : int
        Epochs (iterations of lbfgs) of the last fit; rows seen by all fits.
    n_features_in_, n_layers_, n_outputs_ : int
        Inputs, layers including the input, outputs.
    feature_names_in_ : ndarray of str
        Names of the inputs, where X has names.
    out_activation_ : {"softmax", "logistic", "identity", "exp"}
        Activation of the output.
"""


def documented(cls):
    """Put the shared parts into the docstring of an estimator."""
    if cls.__doc__:  # None under python -OO
        doc = cls.__doc__.replace("    {parameters}\n", _PARAMETERS)
        doc = doc.replace("    {more parameters}\n", _MORE)
        cls.__doc__ = doc.replace("    {attributes}\n", _ATTRIBUTES)
    return cls
