"""The twin that is fitted in the place of an estimator: all of a fit, or nothing."""

__all__ = ["take_over"]


def take_over(est, twin, before):
    """Give an estimator what the fit of its twin has changed. What was set meanwhile, such as a
    parameter, stays.

    Parameters
    ----------
    est, twin : estimator
    before : dict
        The attributes of the estimator when the fit began.
    """
    vars(est).update({name: value for name, value in vars(twin).items()
                      if name not in before or before[name] is not value})
