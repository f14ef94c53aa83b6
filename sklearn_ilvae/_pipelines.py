"""The estimator that a display or a measure is about, inside a pipeline or detector."""

from typing import Any

from sklearn.pipeline import Pipeline
from sklearn.utils.validation import check_is_fitted


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


def check_gives(estimator: Any, attribute: str, lack: str, example: str) -> None:
    """Raise where an estimator lacks what a display draws.

    Parameters
    ----------
    estimator : object
        Fitted or not.
    attribute : str
        What it should have.
    lack : str
        What it does not do without it, for the error.
    example : str
        An estimator that does, for the error.

    Raises
    ------
    TypeError
        For an estimator without the attribute.
    """
    if not hasattr(estimator, attribute):
        raise TypeError(
            f"estimator is a {type(estimator).__name__}, which {lack}; pass one with "
            f"{attribute}, for example a fitted {example}."
        )


def autoencoder(estimator: Any, X: Any = None) -> tuple[Any, Any]:
    """Return the fitted autoencoder that an estimator is or holds, and rows for it.

    Parameters
    ----------
    estimator : ILVAETransformer, ILVAEOutlierDetector or Pipeline
        A detector stands for its ``transformer_``, a pipeline for its last step.
    X : array-like of shape (n_samples, n_features), default=None
        Rows as the estimator takes them.

    Returns
    -------
    estimator : ILVAETransformer
        The autoencoder.
    X : array-like of shape (n_samples, n_features_in_) or None
        Rows after the steps of a pipeline before it.

    Raises
    ------
    TypeError
        For any other estimator.
    NotFittedError
        For an estimator without a network.
    """
    estimator, X = last_step(estimator, X)
    # Both classes live on a higher floor: they are known by what only they have.
    if not hasattr(estimator, "_autoencoder"):
        raise TypeError(
            f"estimator is a {type(estimator).__name__}, which has no autoencoder; "
            "pass a fitted ILVAETransformer or ILVAEOutlierDetector, or a pipeline "
            "that ends in one."
        )
    check_is_fitted(estimator)
    return estimator._autoencoder(), X
