"""The score of a distribution from a sample: tensors in, a `ScoreModel` out."""

from __future__ import annotations

import math
from dataclasses import replace

import torch
from torch import Tensor

from .gaussian import fit_gaussian
from .kernels import make_kernel, median_distance
from .model import ScoreModel
from .published import fit_published
from .rows import Rows, read_rows
from .selection import (
    N_FOLDS,
    Candidate,
    Choice,
    Evaluation,
    Frame,
    Sums,
    choose,
    cross_validate,
    fold_sums,
    gaussian_losses,
    improves,
)
from .settings import Report, Settings
from .solvers import decompose, filter_gains, whiten

KERNEL_NAMES = ("rbf", "inverse_multiquadric")
FORM_NAMES = ("diagonal", "curl_free")

_SELECTION_ROWS = 2000
_SELECTION_LANDMARKS = 200
_MEDIAN_ROWS = 1000
# Multiples of the median distance to begin with, and the limits of the search.
_FIRST_FACTORS = (0.25, 1.0)
_NARROWEST_FACTOR, _WIDEST_FACTOR = 0.125, 16.0
# With few rows the held-out loss of a narrow kernel is mostly noise.
_FEW_ROWS = 1000
_NARROWEST_FOR_FEW_ROWS = 0.25
# Columns whose deviations differ by less may share a unit; they are then also tried
# with one scale for all, which suits clusters.
_COMMENSURABLE = 100.0
_ALIKE = 1.2
_FEWEST_ROWS_FOR_A_KERNEL = 2 * N_FOLDS


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
        self.silent = settings.base is None or self.published
        rows = self._scaled(rows)
        self.frames = self._frames(rows)
        self.medians = {k: _median(f.rows) for k, f in self.frames.items()}
        self.frame = self.frames[False]

    def run(self) -> tuple[ScoreModel, Report]:
        fit, rows = self.frame.fit, self.frame.rows
        report = Report(shrinkage=None if self.silent else fit.shrinkage)
        if fit.basis.shape[1] == 0:
            return self._base(), report
        fixed = self.settings.regularization
        candidates = self._candidates()
        several = sum(map(len, candidates)) > 1
        enough = len(rows) >= _FEWEST_ROWS_FOR_A_KERNEL
        if not enough and (isinstance(fixed, str) or several):
            if self.silent:
                raise ValueError(
                    f"X has {len(rows)} distinct rows, but choosing the kernel or the "
                    f"regularization needs {_FEWEST_ROWS_FOR_A_KERNEL}; give kernel, "
                    "form, bandwidth and regularization, or take the Gaussian base"
                )
            return self._base(), report
        candidate = self._compare(candidates) if several else candidates[0][0]
        self.frame = self.frames[candidate.isotropic]
        if isinstance(fixed, str):
            return self._with_chosen_strength(candidate, report)
        return self._with_fixed_strength(candidate, float(fixed), report)

    def _base(self) -> ScoreModel:
        """Return the base score alone."""
        rows, fit = self.frame.rows, self.frame.fit
        projector = fit.basis @ fit.basis.T
        return ScoreModel(rows.center, rows.inverse_scale, fit.full, projector)

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
            return rows.rescaled(equal.inverse_scale / _median(equal))
        lengths = torch.as_tensor(bandwidth, dtype=torch.float64, device=rows.device)
        return rows.rescaled((1.0 / lengths).expand_as(rows.inverse_scale))

    def _frames(self, rows: Rows) -> dict[bool, Frame]:
        """Return the frame of scaled columns and, where sensible, that of one scale."""
        fit = fit_gaussian(rows, rows.rank % N_FOLDS, N_FOLDS)
        if self.silent:
            fit = fit.silent()
        scale = rows.inverse_scale
        frames = {False: Frame(rows, fit, torch.ones_like(scale))}
        varying = scale[scale > 0]
        if self.settings.bandwidth != "auto" or len(varying) == 0:
            return frames
        if _ALIKE < float(varying.max() / varying.min()) < _COMMENSURABLE:
            common = varying.log().mean().exp()
            ratio = torch.where(scale > 0, common / scale, 1.0)
            equal = rows.rescaled(scale * ratio)
            frames[True] = Frame(equal, fit.stretched(ratio), ratio.square())
        return frames

    def _candidates(self) -> list[list[Candidate]]:
        """Return the settings to begin with, grouped by kernel and bandwidth."""
        name = self.settings.kernel
        kernels = KERNEL_NAMES if name == "auto" else (name,)
        factors = _FIRST_FACTORS if self.settings.bandwidth == "auto" else (1.0,)
        return [
            self._group(kernel, factor, isotropic)
            for kernel in kernels
            for isotropic in self.frames
            for factor in factors
        ]

    def _group(self, kernel: str, factor: float, isotropic: bool) -> list[Candidate]:
        """Return the candidates of one kernel and bandwidth."""
        form = self.settings.form
        forms = FORM_NAMES if form == "auto" else (form,)
        if self.published:
            forms = ("diagonal",)
        unit = self.medians[isotropic] if self.settings.bandwidth == "auto" else 1.0
        return [Candidate(kernel, f, unit * factor, isotropic) for f in forms]

    def _compare(self, candidates: list[list[Candidate]]) -> Candidate:
        """Compare candidates on a subset with few landmarks; vary the bandwidth."""
        frames, rows = self.frames, self.frame.rows
        few = len(rows) < _FEW_ROWS
        narrowest = _NARROWEST_FOR_FEW_ROWS if few else _NARROWEST_FACTOR
        if len(rows) > _SELECTION_ROWS:
            rows = rows.take(rows.lowest_ranks(_SELECTION_ROWS))
            frames = self._frames(rows)
        landmarks = rows.lowest_ranks(_SELECTION_LANDMARKS)
        strengths = None
        if not isinstance(self.settings.regularization, str):
            strengths = rows.weights.new_tensor([self._strength_given()])
        evaluations: list[Evaluation] = []
        waiting = candidates
        while waiting:
            for group in waiting:
                frame = frames[group[0].isotropic]
                evaluations += cross_validate(
                    frame, group, landmarks, method=self.method, strengths=strengths
                )
            best = choose(evaluations, rows.weights).candidate
            if self.settings.bandwidth != "auto":
                break
            factor = best.bandwidth / self.medians[best.isotropic]
            near = [
                self._group(best.kernel, f, best.isotropic)
                for f in (factor / 2, factor * 2)
                if narrowest <= f <= _WIDEST_FACTOR
            ]
            known = [evaluation.candidate for evaluation in evaluations]
            waiting = [group for group in near if group[0] not in known]
        return best

    def _strength_given(self) -> float:
        """Return ``λ``; the ridge of the published estimator is ``η = n λ``."""
        given = float(self.settings.regularization)
        return given / len(self.frame.rows.source) if self.published else given

    def _landmarks(self) -> Tensor:
        n, wanted = len(self.frame.rows), self.settings.n_landmarks
        if wanted == "auto":
            wanted = min(1000, max(500, math.ceil(5 * math.sqrt(n))))
        elif wanted == "all":
            wanted = n
        return self.frame.rows.lowest_ranks(min(n, int(wanted)))

    def _with_chosen_strength(
        self, candidate: Candidate, report: Report
    ) -> tuple[ScoreModel, Report]:
        """Choose the strength by cross-validation with all rows and landmarks."""
        rows, landmarks = self.frame.rows, self._landmarks()
        base_losses = gaussian_losses(self.frame)
        weights = rows.weights[rows.lowest_ranks(len(base_losses))]

        fit = self.frame.fit
        form = candidate.build(rows.read(landmarks), fit)
        # One pass for both bases: without one, every fold has the same linear term.
        scores = [*fit.without_fold, fit.full, fit.silent().full]
        parts = fold_sums(rows, form, scores, N_FOLDS)

        def choose_in(frame: Frame, linears: list[Tensor]) -> tuple[Choice, Sums]:
            sums = [Sums(p.gram, x) for p, x in zip(parts, linears, strict=True)]
            evaluations = cross_validate(
                frame,
                [candidate],
                landmarks,
                method=self.method,
                strengths=None,
                sums=sums,
            )
            gram = torch.stack([s.gram for s in sums]).sum(0)
            linear = torch.stack([s.linear[-1] for s in sums]).sum(0)
            return choose(evaluations, weights), Sums(gram, linear)

        share = weights / weights.sum()
        base_loss = float(share @ base_losses)
        report = replace(report, base_loss=base_loss)
        choice, total = choose_in(self.frame, [p.linear[:-1] for p in parts])
        if self.published:
            ridge = choice.strength * len(rows.source)
            return self._publish(candidate, ridge, report)
        accepted = improves(choice.losses, base_losses, weights, standard_errors=3.0)
        if self.settings.base == "auto":
            # The Gaussian score grows without bound; that of heavy tails does not.
            bare = replace(self.frame, fit=fit.silent())
            same = [p.linear[-1:].expand(N_FOLDS, -1, -1) for p in parts]
            other, other_total = choose_in(bare, same)
            rival = choice.losses if accepted else base_losses
            margin = 1.0 if accepted else 3.0
            if improves(other.losses, rival, weights, standard_errors=margin):
                accepted, choice, total, self.frame = True, other, other_total, bare
                report = replace(report, shrinkage=None)
        if not accepted:
            return self._base(), replace(report, loss=base_loss)
        report = replace(
            report,
            loss=float(share @ choice.losses),
            degrees_of_freedom=choice.degrees_of_freedom,
        )
        return self._solve(candidate, total, choice.strength, report)

    def _with_fixed_strength(
        self, candidate: Candidate, strength: float, report: Report
    ) -> tuple[ScoreModel, Report]:
        if self.published:
            return self._publish(candidate, strength, report)
        form = candidate.build(self.frame.rows.read(self._landmarks()), self.frame.fit)
        (total,) = fold_sums(self.frame.rows, form, [self.frame.fit.full], 1)
        total = Sums(total.gram, total.linear[-1])
        return self._solve(candidate, total, strength, report)

    def _solve(
        self,
        candidate: Candidate,
        total: Sums,
        strength: float,
        report: Report,
    ) -> tuple[ScoreModel, Report]:
        form = candidate.build(self.frame.rows.read(self._landmarks()), self.frame.fit)
        spectrum = decompose(total.gram, whiten(form.penalty()))
        strengths = total.gram.new_tensor([strength])
        gains = filter_gains(self.method, spectrum.eigenvalues, strengths, form.trace())
        coefficients = spectrum.coefficients(total.linear, gains)[0]
        report = self._describe(report, candidate, strength)
        return replace(self._base(), form=form, coefficients=coefficients), report

    def _publish(
        self, candidate: Candidate, ridge: float, report: Report
    ) -> tuple[ScoreModel, Report]:
        """Fit the published estimator on all rows, duplicates and all."""
        rows = self.frame.rows
        U = (rows.source.to(rows.center) - rows.center) * rows.inverse_scale
        kernel = make_kernel(candidate.kernel, candidate.bandwidth)
        identity = torch.eye(rows.n_features, dtype=U.dtype, device=U.device)
        published = fit_published(kernel, U, ridge)
        model = replace(self._base(), projector=identity, published=published)
        return model, self._describe(report, candidate, ridge)

    def _describe(
        self, report: Report, candidate: Candidate, regularization: float
    ) -> Report:
        scale = self.frame.rows.inverse_scale
        lengths = candidate.bandwidth / scale.masked_fill(scale == 0, 1.0)
        return replace(
            report,
            kernel=candidate.kernel,
            form=candidate.form,
            bandwidth=lengths,
            regularization=regularization,
        )


def _median(rows: Rows) -> float:
    """Return the median distance of at most a thousand distinct rows; 1 for one row."""
    U = rows.read(rows.lowest_ranks(_MEDIAN_ROWS))
    return 1.0 if len(U) < 2 else median_distance(U)
