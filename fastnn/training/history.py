"""What a fit leaves behind: its losses, and the warning of a fit that left the finite numbers; how
a callback ends it."""


class DivergenceWarning(RuntimeWarning):
    """Training left the finite numbers; the last finite weights were kept."""


class StopFit(Exception):
    """Raised by a callback of `MLP.fit`: the fit ends after this epoch and returns its history.

    Examples
    --------
    >>> import fastnn
    >>> def callback(epoch, net, history):
    ...     if history.loss[-1] < 0.01:
    ...         raise fastnn.StopFit
    """


class History:
    """What a fit saw, epoch by epoch.

    Parameters
    ----------
    validates : bool, default=False
        Whether there is validation data.

    Attributes
    ----------
    loss : list of float
        Mean training loss of each epoch, the L2 term included.
    val_loss : list of float or None
        Loss on the validation data after each epoch, without the L2 term; NaN after an epoch that
        diverged.
    """

    def __init__(self, validates=False):
        self.loss = []
        self.val_loss = [] if validates else None

    def __repr__(self):
        last = f", loss={self.loss[-1]:.6g}" if self.loss else ""
        return f"<History of {len(self.loss)} epochs{last}>"
