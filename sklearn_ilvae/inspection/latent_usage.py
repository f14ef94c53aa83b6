"""`LatentUsageDisplay`: what every latent unit says, with the bound drawn in."""

from copy import deepcopy
from typing import Any, Self

import numpy as np
from sklearn.utils import check_random_state

from .. import metrics
from .._pipelines import autoencoder
from .._text import counted, share_of
from ..vae.diagnostics import ALIVE
from ._style import ABOVE, BLUE, RED, check_drawn_number, grid_of_axes, write_log_scale


class LatentUsageDisplay:
    """Divergence of every latent unit from its prior: the picture of collapse.

    The upper panel shows the Kullback–Leibler divergence of the encoder's posterior, of
    which nothing is guaranteed; a unit at zero has collapsed. The lower panel shows the
    relative Fisher divergence of the model's posterior, whose mean over units the
    constant L of the decoder keeps above the dashed line [1]_.

    Parameters
    ----------
    kl : array-like of shape (n_components,)
        As `sklearn_ilvae.metrics.kl_per_unit` gives it, in nats.
    fisher : array-like of shape (n_components,), default=None
        As `sklearn_ilvae.metrics.fisher_divergence_per_unit` gives it. Without it there
        is only the upper panel.
    fisher_bound : float, default=None
        Lower bound on the sum of `fisher`: the mean over rows of
        `sklearn_ilvae.metrics.fisher_divergence_lower_bound`. 0 for a decoder that
        guarantees nothing.

    Attributes
    ----------
    ax_ : ndarray of matplotlib Axes, shape (1,) or (2,)
        The panels.
    figure_ : matplotlib Figure
        The figure that holds them.

    References
    ----------
    .. [1] Kinoshita, Oono, Fukumizu, Yoshida & Maeda (2023). "Controlling posterior
       collapse by an inverse Lipschitz constraint on the decoder network." ICML.
       arXiv:2304.12770.

    Examples
    --------
    >>> import matplotlib.pyplot as plt
    >>> from sklearn.datasets import load_wine
    >>> from sklearn_ilvae import ILVAETransformer
    >>> from sklearn_ilvae.inspection import LatentUsageDisplay
    >>> X = load_wine().data
    >>> model = ILVAETransformer(n_components=3, max_iter=5, random_state=0).fit(X)
    >>> display = LatentUsageDisplay.from_estimator(model, X)
    >>> display.ax_[0].get_title()
    '3 of 3 units are alive'
    >>> plt.close("all")
    """

    def __init__(
        self, *, kl: Any, fisher: Any = None, fisher_bound: float | None = None
    ) -> None:
        self.kl = kl
        self.fisher = fisher
        self.fisher_bound = fisher_bound

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        X: Any,
        *,
        n_draws: int = 100,
        random_state: int | np.random.RandomState | None = 0,
        ax: Any = None,
    ) -> Self:
        """Measure a fitted estimator on rows, and draw.

        Parameters
        ----------
        estimator : ILVAETransformer or ILVAEOutlierDetector
            A fitted estimator, or a pipeline that ends in one.
        X : array-like of shape (n_samples, n_features)
            Rows, best unseen in training. A thousand are plenty: the time grows with
            rows, draws and columns.
        n_draws : int, default=100
            Draws from the posterior of each row, for the Fisher divergence.
        random_state : int, RandomState instance or None, default=0
            Source of the draws.
        ax : matplotlib Axes or array-like of 2 Axes, default=None
            Where to draw; None makes a new figure, one Axes is divided.

        Returns
        -------
        LatentUsageDisplay
        """
        estimator, X = autoencoder(estimator, X)
        source = check_random_state(random_state)
        # With the same draws the bound holds, whatever the Monte Carlo error.
        again = deepcopy(source)
        bound = metrics.fisher_divergence_lower_bound(estimator, X, n_draws, again)
        return cls.from_predictions(
            metrics.kl_per_unit(estimator, X),
            metrics.fisher_divergence_per_unit(estimator, X, n_draws, source),
            float(bound.mean()),
            ax=ax,
        )

    @classmethod
    def from_predictions(
        cls,
        kl: Any,
        fisher: Any = None,
        fisher_bound: float | None = None,
        *,
        ax: Any = None,
    ) -> Self:
        """Draw given divergences.

        Parameters
        ----------
        kl, fisher, fisher_bound
            As in the class.
        ax : matplotlib Axes or array-like of Axes, default=None
            Where to draw; None makes a new figure, one Axes is divided.

        Returns
        -------
        LatentUsageDisplay
        """
        return cls(kl=kl, fisher=fisher, fisher_bound=fisher_bound).plot(ax=ax)

    def plot(self, ax: Any = None) -> Self:
        """Draw one panel, or two where there is a Fisher divergence.

        Parameters
        ----------
        ax : matplotlib Axes or array-like of Axes, default=None
            Where to draw; None makes a new figure, one Axes is divided.

        Returns
        -------
        LatentUsageDisplay
            The display itself.

        Raises
        ------
        TypeError, ValueError
            For divergences that are not one finite number for each unit, and a bound
            that is no finite number from 0 on.
        """
        kl = _one_a_unit("kl", self.kl)
        fisher = None if self.fisher is None else _one_a_unit("fisher", self.fisher)
        if fisher is not None and len(fisher) != len(kl):
            raise ValueError(
                f"fisher has {counted(len(fisher), 'value')} and kl has {len(kl)}; "
                "pass both of the same estimator"
            )
        check_drawn_number(self.fisher_bound, "fisher_bound", min_val=0)
        n_panels = 1 if fisher is None else 2
        panels = grid_of_axes(ax, (n_panels, 1), (6.4, 3.0), type(self).__name__)
        self.ax_ = panels[:, 0]
        self.figure_ = self.ax_[0].figure
        self._draw_kl(self.ax_[0], kl)
        if fisher is not None:
            self._draw_fisher(self.ax_[1], fisher)
        for panel in self.ax_:
            panel.set_xlim(-0.6, len(kl) - 0.4)
            panel.xaxis.get_major_locator().set_params(integer=True)
        self.ax_[-1].set_xlabel("latent unit")
        return self

    def _draw_kl(self, panel: Any, kl: np.ndarray) -> None:
        alive = kl >= ALIVE
        units = np.arange(len(kl))
        panel.bar(units, kl, color=BLUE)
        if not alive.all():
            panel.plot(
                units[~alive],
                np.zeros((~alive).sum()),
                color=RED,
                marker="X",
                markersize=9,
                linestyle="none",
                clip_on=False,
                label=f"collapsed: less than {ALIVE} nats",
            )
            panel.legend()
        panel.set_ylim(0, max(1.05 * kl.max(), 10 * ALIVE))
        living = share_of(int(alive.sum()), len(kl), "unit", "is", "are")
        panel.set_title(f"{living} alive")
        panel.set_ylabel("KL from the prior\n(nats)")

    def _draw_fisher(self, panel: Any, fisher: np.ndarray) -> None:
        # On the logarithmic scale an exact 0 sits a decade below what is visible.
        positive = fisher[fisher > 0]
        floor = float(positive.min()) / 10 if len(positive) else 1e-3
        shown = np.maximum(fisher, floor)
        panel.plot(shown, "o", color=BLUE, markersize=8, label="a unit")
        mean = fisher.mean()
        panel.axhline(mean or floor, color=BLUE, linewidth=1, label="mean of the units")
        if self.fisher_bound:
            panel.axhline(
                self.fisher_bound / len(fisher),
                color=RED,
                linestyle="--",
                label="guaranteed mean",
            )
        elif self.fisher_bound is not None:
            panel.plot([], [], " ", label="L = 0: nothing is guaranteed")
        panel.set_yscale("log")
        write_log_scale(panel.yaxis, shown.max() / (self.fisher_bound or shown.min()))
        panel.set_ylabel("Fisher divergence\n(1 / unit of code²)")
        low, high = panel.get_ylim()
        panel.set_ylim(low / 1.3, high * 1.3)
        panel.legend(ncols=3, columnspacing=1.0, **ABOVE)


def _one_a_unit(name: str, values: Any) -> np.ndarray:
    found = np.asarray(values, dtype=float)
    if found.ndim != 1 or not len(found) or not np.isfinite(found).all():
        raise ValueError(
            f"{name} must be one finite number for each latent unit, got {values!r}"
        )
    return found
