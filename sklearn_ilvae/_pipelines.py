"""What displays and measures take for an estimator: the last step of a pipeline too."""

from typing import Any

from sklearn.pipeline import Pipeline


def last_step(estimator: Any, X: Any = None) -> tuple[Any, Any]:
    """Return the estimator at the end of a pipeline, and rows as it sees them.

    Parameters
    ----------
    estimator : object
        A fitted pipeline; anything else is returned as it is, and X with it.
    X : array-like of shape (n_samples, n_features), default=None
        Rows as the pipeline takes them.

    Returns
    -------
    estimator : object
        The last step.
    X : array-like of shape (n_samples, n_features_in_of_last_step) or None
        Rows after the steps before it.
    """
    if not isinstance(estimator, Pipeline):
        return estimator, X
    if X is not None and len(estimator) > 1:
        X = estimator[:-1].transform(X)
    return last_step(estimator[-1], X)
