"""`TrainingCurveDisplay`: the bound, epoch by epoch."""

from typing import Any, Self

import numpy as np

from .._pipelines import autoencoder
from .._text import counted
from ._style import BLUE, RED, single_axes


class TrainingCurveDisplay:
    """The evidence lower bound of training and validation rows at every epoch.

    Parameters
    ----------
    loss_curve : array-like of shape (n_epochs,)
        Negative bound on the training rows, in nats a row.
    validation_scores : array-like of shape (n_epochs,), default=None
        Bound on the validation rows after every epoch, in nats a row; NaN at epochs
        without them. One shorter than `loss_curve` is that of the last epochs.

    Attributes
    ----------
    ax_ : matplotlib Axes
        The axes of the picture.
    figure_ : matplotlib Figure
        The figure that holds them.
    lines_ : list of matplotlib Line2D
        The curves: training, then validation.

    Examples
    --------
    >>> import matplotlib.pyplot as plt
    >>> from sklearn.datasets import load_wine
    >>> from sklearn_ilvae import ILVAETransformer
    >>> from sklearn_ilvae.inspection import TrainingCurveDisplay
    >>> model = ILVAETransformer(n_components=2, max_iter=5, random_state=0)
    >>> display = TrainingCurveDisplay.from_estimator(model.fit(load_wine().data))
    >>> display.ax_.get_xlabel()
    'epoch'
    >>> plt.close("all")
    """

    def __init__(self, *, loss_curve: Any, validation_scores: Any = None) -> None:
        self.loss_curve = loss_curve
        self.validation_scores = validation_scores

    @classmethod
    def from_estimator(cls, estimator: Any, *, ax: Any = None) -> Self:
        """Draw the training of a fitted estimator.

        Parameters
        ----------
        estimator : ILVAETransformer or ILVAEOutlierDetector
            A fitted estimator, or a pipeline that ends in one.
        ax : matplotlib Axes, default=None
            Where to draw; None makes a new figure.

        Returns
        -------
        TrainingCurveDisplay
        """
        estimator, _ = autoencoder(estimator)
        return cls.from_predictions(
            estimator.loss_curve_, estimator.validation_scores_, ax=ax
        )

    @classmethod
    def from_predictions(
        cls, loss_curve: Any, validation_scores: Any = None, *, ax: Any = None
    ) -> Self:
        """Draw given curves.

        Parameters
        ----------
        loss_curve : array-like of shape (n_epochs,)
            Negative bound on the training rows, in nats a row.
        validation_scores : array-like of shape (n_epochs,), default=None
            Bound on the validation rows, in nats a row; empty means the same as None.
        ax : matplotlib Axes, default=None
            Where to draw; None makes a new figure.

        Returns
        -------
        TrainingCurveDisplay
        """
        display = cls(loss_curve=loss_curve, validation_scores=validation_scores)
        return display.plot(ax=ax)

    def plot(self, ax: Any = None) -> Self:
        """Draw the curves.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Where to draw; None makes a new figure.

        Returns
        -------
        TrainingCurveDisplay
            The display itself.

        Raises
        ------
        ValueError
            For curves that are not one number an epoch, and more validation scores than
            epochs.
        """
        bound = -_one_an_epoch("loss_curve", self.loss_curve)
        epochs = np.arange(1, len(bound) + 1)
        scores = [] if self.validation_scores is None else self.validation_scores
        validation = _one_an_epoch("validation_scores", scores)
        if len(validation) > len(epochs):
            raise ValueError(
                f"validation_scores has {counted(len(validation), 'epoch')}, and "
                f"loss_curve has {len(epochs)}. Pass one score an epoch, or "
                "those of the last epochs."
            )
        ax = single_axes(ax, type(self).__name__)
        # A curve of one epoch is a point, which a line does not show.
        point = {"marker": "o"} if len(bound) == 1 else {}
        self.lines_ = ax.plot(epochs, bound, color=BLUE, label="training rows", **point)
        if not np.isnan(validation).all():
            last = epochs[len(epochs) - len(validation) :]
            self.lines_ += ax.plot(
                last,
                validation,
                color=RED,
                linestyle="--",
                label="validation rows",
                **point,
            )
            best = int(np.nanargmax(validation))
            ax.plot(
                last[best],
                validation[best],
                color=RED,
                marker="o",
                linestyle="none",
                label=f"best epoch: {last[best]}",
            )
        ax.xaxis.get_major_locator().set_params(integer=True)
        ax.set(
            title="Training",
            xlabel="epoch",
            ylabel="evidence lower bound\n(nats a row of standardised columns)",
        )
        ax.legend()
        self.ax_, self.figure_ = ax, ax.figure
        return self


def _one_an_epoch(name: str, values: Any) -> np.ndarray:
    found = np.asarray(values, dtype=float)
    if found.ndim != 1:
        raise ValueError(
            f"{name} must be one number an epoch, got an array of shape {found.shape}; "
            f"pass for example what a fitted estimator has as {name}_"
        )
    return found
