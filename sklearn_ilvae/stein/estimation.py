"""The score of a distribution from a sample: tensors in, a `ScoreModel` out."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from .gaussian import GaussianFit, fit_gaussian
from .kernels import make_kernel, squared_distances
from .model import ScoreModel
from .published import fit_published
from .rows import Rows, read_rows
from .selection import (
    N_FOLDS,
    Candidate,
    Evaluation,
    Sums,
    choose,
    cross_validate,
    fold_sums,
    gaussian_losses,
    improves,
)
from .solvers import decompose, filter_gains, whiten

KERNEL_NAMES = ("rbf", "inverse_multiquadric")
FORM_NAMES = ("diagonal", "curl_free")

_SELECTION_ROWS = 2000
_SELECTION_LANDMARKS = 200
_MEDIAN_ROWS = 1000
# Multiples of the median distance: first these, then half and twice the best of them.
_BANDWIDTH_FACTORS = (0.25, 1.0, 4.0)
# With few rows the held-out loss of a narrow kernel is mostly noise.
_FEW_ROWS = 1000
_NARROWEST_FOR_FEW_ROWS = 0.25
_FEWEST_ROWS_FOR_A_KERNEL = 2 * N_FOLDS


@dataclass(frozen=True)
class Settings:
    """What to fit; ``"auto"`` leaves the choice to the sample.

    Attributes
    ----------
    kernel : {"auto", "rbf", "inverse_multiquadric"}
    form : {"auto", "diagonal", "curl_free"}
    bandwidth : {"auto", "median"}, float or Tensor of shape (d,)
        A number or one per feature is in the units of the sample.
    regularization : "auto" or float
        The strength ``λ``; for the published estimator the ridge ``η``.
    base : {"gaussian", None}
    method : {"tikhonov", "stein", "spectral_cutoff", "nu", "landweber"}
    n_landmarks : {"auto", "all"} or int
    """

    kernel: str = "auto"
    form: str = "auto"
    bandwidth: str | float | Tensor = "auto"
    regularization: str | float = "auto"
    base: str | None = "gaussian"
    method: str = "tikhonov"
    n_landmarks: str | int = "auto"


@dataclass(frozen=True)
class Report:
    """What a fit chose.

    Attributes
    ----------
    kernel, form : str or None
        None when the base score stands alone.
    bandwidth : Tensor of shape (d,) or None
        Length scale of the kernel for each feature, in the units of the sample.
    regularization : float or None
    degrees_of_freedom : float or None
        Of the kernel part; None when nothing was cross-validated.
    loss, base_loss : float or None
        Mean cross-validated Hyvärinen loss of the estimate and of the base alone, in
        coordinates of unit scale.
    shrinkage : float or None
        Shrinkage of the covariance of the base; None without a base.
    """

    kernel: str | None = None
    form: str | None = None
    bandwidth: Tensor | None = None
    regularization: float | None = None
    degrees_of_freedom: float | None = None
    loss: float | None = None
    base_loss: float | None = None
    shrinkage: float | None = None


def fit_score(
    X: Tensor,
    settings: Settings | None = None,
    *,
    seed: int = 0,
    device: str | torch.device = "cpu",
) -> tuple[ScoreModel, Report]:
    """Estimate the score ``∇ₓ log q(x)`` of the distribution of a sample.

    Parameters
    ----------
    X : Tensor of shape (n, d)
        The sample, finite, in any floating type and on any device. It is read in chunks
        and never copied whole.
    settings : Settings, default=None
        What to fit; by default everything is chosen from the sample.
    seed : int, default=0
        Seed of the random folds, subsets and landmarks.
    device : str or torch.device, default="cpu"
        Where to compute, in float64.

    Returns
    -------
    model : ScoreModel
    report : Report

    Examples
    --------
    >>> import torch
    >>> from sklearn_ilvae.stein import fit_score
    >>> X = torch.randn(500, 2, generator=torch.Generator().manual_seed(0))
    >>> model, report = fit_score(X)
    >>> model.score(torch.zeros(1, 2)).shape
    torch.Size([1, 2])
    """
    settings = Settings() if settings is None else settings
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        rows = read_rows(X, generator=generator, device=torch.device(device))
        return _Fit(rows, settings).run()


class _Fit:
    """One run of `fit_score`: the sample, its base score, the steps of the choice."""

    def __init__(self, rows: Rows, settings: Settings) -> None:
        self.settings = settings
        self.published = settings.method == "stein"
        self.method = "tikhonov" if self.published else settings.method
        self.rows = self._scaled(rows)
        self.fit = self._gaussian(self.rows)
        self.median = median_distance(self.rows)

    def run(self) -> tuple[ScoreModel, Report]:
        fit, rows = self.fit, self.rows
        silent = self.settings.base is None
        report = Report(shrinkage=None if silent else fit.shrinkage)
        model = ScoreModel(
            rows.center, rows.inverse_scale, fit.full, fit.basis @ fit.basis.T
        )
        if fit.basis.shape[1] == 0:
            return model, report
        fixed = self.settings.regularization
        candidates = self._candidates(self._bandwidths(_BANDWIDTH_FACTORS))
        several = sum(map(len, candidates)) > 1
        enough = len(rows) >= _FEWEST_ROWS_FOR_A_KERNEL
        if not enough and (isinstance(fixed, str) or several):
            if silent:
                raise ValueError(
                    f"X has {len(rows)} distinct rows, but choosing the kernel or the "
                    f"regularization needs {_FEWEST_ROWS_FOR_A_KERNEL}; give kernel, "
                    "form, bandwidth and regularization, or take the Gaussian base"
                )
            return model, report
        candidate = self._compare(candidates) if several else candidates[0][0]
        if isinstance(fixed, str):
            return self._with_chosen_strength(candidate, model, report)
        return self._with_fixed_strength(candidate, float(fixed), model, report)

    def _scaled(self, rows: Rows) -> Rows:
        """Return the rows in the coordinates in which the kernel is isotropic."""
        bandwidth = self.settings.bandwidth
        if bandwidth == "auto":
            return rows
        if bandwidth == "median":
            constant = rows.inverse_scale == 0
            scale = (1.0 / rows.inverse_scale).masked_fill(constant, 0.0)
            unit = scale.max()
            if not unit > 0:
                return rows
            equal = rows.rescaled((1.0 / unit).expand_as(scale))
            return rows.rescaled(equal.inverse_scale / median_distance(equal))
        lengths = torch.as_tensor(bandwidth, dtype=torch.float64, device=rows.device)
        return rows.rescaled((1.0 / lengths).expand_as(rows.inverse_scale))

    def _gaussian(self, rows: Rows) -> GaussianFit:
        fit = fit_gaussian(rows, rows.rank % N_FOLDS, N_FOLDS)
        return fit.silent() if self.settings.base is None else fit

    def _bandwidths(self, factors: tuple[float, ...]) -> list[float]:
        """Return bandwidths to compare, in the coordinates of the rows."""
        if self.settings.bandwidth != "auto":
            return [1.0]
        few = len(self.rows) < _FEW_ROWS
        narrowest = _NARROWEST_FOR_FEW_ROWS if few else 0.0
        return [self.median * factor for factor in factors if factor >= narrowest]

    def _candidates(self, bandwidths: list[float]) -> list[list[Candidate]]:
        """Return the settings to compare, grouped by kernel and bandwidth."""
        settings = self.settings
        kernels = KERNEL_NAMES if settings.kernel == "auto" else (settings.kernel,)
        forms = FORM_NAMES if settings.form == "auto" else (settings.form,)
        if self.published:
            forms = ("diagonal",)
        return [
            [Candidate(k, f, b) for f in forms] for k in kernels for b in bandwidths
        ]

    def _compare(self, candidates: list[list[Candidate]]) -> Candidate:
        """Compare candidates, and their neighbours, on a subset with few landmarks."""
        rows, fit = self.rows, self.fit
        if len(rows) > _SELECTION_ROWS:
            rows = rows.take(rows.lowest_ranks(_SELECTION_ROWS))
            fit = self._gaussian(rows)
        landmarks = rows.lowest_ranks(_SELECTION_LANDMARKS)
        strengths = None
        if not isinstance(self.settings.regularization, str):
            strengths = rows.weights.new_tensor([self._strength_given()])

        def evaluate(candidates: list[list[Candidate]]) -> list[Evaluation]:
            return [
                evaluation
                for alike in candidates
                for evaluation, _ in cross_validate(
                    rows, alike, landmarks, fit, method=self.method, strengths=strengths
                )
            ]

        evaluations = evaluate(candidates)
        best = choose(evaluations, rows.weights).candidate
        if self.settings.bandwidth == "auto":
            factor = best.bandwidth / self.median
            near = self._candidates(self._bandwidths((factor / 2, factor * 2)))
            evaluations += evaluate([c for c in near if c[0].kernel == best.kernel])
        return choose(evaluations, rows.weights).candidate

    def _strength_given(self) -> float:
        """Return ``λ``; the ridge of the published estimator is ``η = n λ``."""
        given = float(self.settings.regularization)
        return given / len(self.rows.source) if self.published else given

    def _landmarks(self) -> Tensor:
        n, wanted = len(self.rows), self.settings.n_landmarks
        if wanted == "auto":
            wanted = min(1000, max(500, math.ceil(5 * math.sqrt(n))))
        elif wanted == "all":
            wanted = n
        return self.rows.lowest_ranks(min(n, int(wanted)))

    def _with_chosen_strength(
        self, candidate: Candidate, model: ScoreModel, report: Report
    ) -> tuple[ScoreModel, Report]:
        """Choose the strength by cross-validation with all rows and landmarks."""
        rows, fit, landmarks = self.rows, self.fit, self._landmarks()
        ((evaluation, sums),) = cross_validate(
            rows, [candidate], landmarks, fit, method=self.method, strengths=None
        )
        weights = rows.weights[rows.lowest_ranks(len(evaluation.losses))]
        choice = choose([evaluation], weights)
        base_losses = gaussian_losses(rows, fit)
        share = weights / weights.sum()
        report = replace(report, base_loss=float(share @ base_losses))
        if self.published:
            ridge = choice.strength * len(rows.source)
            return self._publish(candidate, ridge, model, report)
        if not improves(choice.losses, base_losses, weights):
            return model, replace(report, loss=report.base_loss)
        report = replace(
            report,
            loss=float(share @ choice.losses),
            degrees_of_freedom=choice.degrees_of_freedom,
        )
        gram = torch.stack([s.gram for s in sums]).sum(0)
        linear = torch.stack([s.linear[-1] for s in sums]).sum(0)
        total = Sums(gram, linear)
        return self._solve(candidate, total, choice.strength, model, report)

    def _with_fixed_strength(
        self, candidate: Candidate, strength: float, model: ScoreModel, report: Report
    ) -> tuple[ScoreModel, Report]:
        if self.published:
            return self._publish(candidate, strength, model, report)
        form = candidate.build(self.rows.read(self._landmarks()), self.fit)
        (total,) = fold_sums(self.rows, form, [self.fit.full], 1)
        total = Sums(total.gram, total.linear[-1])
        return self._solve(candidate, total, strength, model, report)

    def _solve(
        self,
        candidate: Candidate,
        total: Sums,
        strength: float,
        model: ScoreModel,
        report: Report,
    ) -> tuple[ScoreModel, Report]:
        form = candidate.build(self.rows.read(self._landmarks()), self.fit)
        spectrum = decompose(total.gram, whiten(form.penalty()))
        strengths = total.gram.new_tensor([strength])
        gains = filter_gains(self.method, spectrum.eigenvalues, strengths, form.trace())
        coefficients = spectrum.coefficients(total.linear, gains)[0]
        report = self._describe(report, candidate, strength)
        return replace(model, form=form, coefficients=coefficients), report

    def _publish(
        self, candidate: Candidate, ridge: float, model: ScoreModel, report: Report
    ) -> tuple[ScoreModel, Report]:
        """Fit the published estimator on all rows, duplicates and all."""
        rows = self.rows
        U = (rows.source.to(rows.center) - rows.center) * rows.inverse_scale
        kernel = make_kernel(candidate.kernel, candidate.bandwidth)
        identity = torch.eye(rows.n_features, dtype=U.dtype, device=U.device)
        model = replace(
            model, projector=identity, published=fit_published(kernel, U, ridge)
        )
        return model, self._describe(report, candidate, ridge)

    def _describe(
        self, report: Report, candidate: Candidate, regularization: float
    ) -> Report:
        constant = self.rows.inverse_scale == 0
        lengths = candidate.bandwidth / self.rows.inverse_scale.masked_fill(constant, 1)
        return replace(
            report,
            kernel=candidate.kernel,
            form=candidate.form,
            bandwidth=lengths,
            regularization=regularization,
        )


def median_distance(rows: Rows) -> float:
    """Return the median distance of at most a thousand distinct rows; 1 for one row."""
    U = rows.read(rows.lowest_ranks(_MEDIAN_ROWS))
    if len(U) < 2:
        return 1.0
    upper = torch.triu_indices(len(U), len(U), 1, device=U.device)
    return float(squared_distances(U, U)[upper[0], upper[1]].median().sqrt())
