"""From a frame and a setting to a model and its report."""

from dataclasses import replace

import torch
from torch import Tensor

from .bases.fitted import Base, BaseScore
from .kernels.forms import Form
from .kernels.published import fit_published
from .kernels.radial import make_kernel
from .kernels.solvers import ROUNDING, ROUNDING_OF_SUMS, solve, whiten
from .model import ScoreModel
from .sample.rows import Rows
from .selection.candidates import Candidate
from .selection.comparison import Choice, Setting, choose, evidence_against, improves
from .selection.cross_validation import cross_validate
from .selection.folds import distinct, scores_without
from .selection.frames import Frame
from .selection.quadratic import (
    QuadraticLoss,
    losses_of_parts,
    narrow_basis,
    quadratic_loss,
    total_loss,
)
from .settings import Report

MOST_ROWS_MEASURED = 20_000
"""Rows at most among which a kernel part is measured.

To find where it is longest must not take as long as to fit it.
"""

MOST_PRODUCTS = 2**34
"""Most products for a Gram matrix of whitened fields that a fit can do without.

They take about a second.
"""

NEGLIGIBLE = 1e-4
"""Share of the strength below which rounding errors of a Gram matrix do not matter."""

SLACK = 1.0 + 1e-9
"""Rounding must not shorten a kernel part at the row where it is longest."""


def base_alone(frame: Frame, name: str) -> tuple[ScoreModel, Report]:
    """Return a base score without a kernel part."""
    # A family asked for by name may have turned out to be the Gaussian.
    base = frame.bases.get(name) or next(iter(frame.bases.values()))
    rows = frame.rows
    model = ScoreModel(rows.center, rows.inverse_scale, base.full, rows.axes)
    if base.name == "none":
        return model, Report()
    return model, Report(base=base.name, shrinkage=base.shrinkage)


def best_base_alone(frame: Frame) -> tuple[ScoreModel, Report]:
    """Return the base of least held-out loss without a kernel part."""
    best = _best_base(frame)
    loss = _mean_loss(frame, best)
    model, report = base_alone(frame, best.name)
    return model, replace(report, loss=loss, base_loss=loss)


def _best_base(frame: Frame) -> Base:
    return min(frame.bases.values(), key=lambda base: _mean_loss(frame, base))


def _mean_loss(frame: Frame, base: Base) -> float:
    return float(frame.weights / frame.weights.sum() @ base.losses)


class KernelFit:
    """A kernel part of one kernel, form and bandwidth, with all landmarks.

    Parameters
    ----------
    frame : Frame
    candidate : Candidate
    landmarks : Tensor of shape (m,)
        Their positions among the rows.
    """

    def __init__(self, frame: Frame, candidate: Candidate, landmarks: Tensor) -> None:
        self.frame, self.candidate, self.landmarks = frame, candidate, landmarks
        self.form = candidate.build(frame.rows.read(landmarks))
        self.whitening = whiten(self.form.penalty(), ROUNDING)
        self.rough = self.whitening.leading(ROUNDING_OF_SUMS)
        self.basis = narrow_basis(self.form, self.rough)

    def losses_of_parts(self) -> list[QuadraticLoss] | None:
        """Return the loss of each part for all scores of the bases.

        None where folds have a narrow basis each, and no sums in common with this fit,
        or where sums have more numbers than all rows.
        """
        frame = self.frame
        if frame.rows.few or (self.basis is not None and frame.split.in_folds):
            return None
        full = [base.full for base in frame.bases.values()]
        scores = distinct([*scores_without(frame), *full])
        return losses_of_parts(frame.rows, self.form, scores, frame.split, self.basis)

    def choose_strength(
        self, methods: tuple[str, ...], losses: list[QuadraticLoss] | None
    ) -> Choice:
        """Return the best strength, base and filter by cross-validation."""
        return choose(
            cross_validate(
                self.frame,
                [self.candidate],
                self.landmarks,
                methods=methods,
                losses=losses,
            )
        )

    def at(
        self, setting: Setting, losses: list[QuadraticLoss] | None = None
    ) -> tuple[ScoreModel, Report]:
        """Return the fit to all rows.

        Parameters
        ----------
        setting : Setting
        losses : list of QuadraticLoss, default=None
            The `losses_of_parts`, which save a pass over the rows.

        Returns
        -------
        model : ScoreModel
        report : Report
            Without losses.
        """
        rows, form = self.frame.rows, self.form
        coefficients = self._coefficients(self._loss(setting, losses), setting)
        model, report = base_alone(self.frame, setting.base)
        longest, reach = greatest_lengths(rows, form, coefficients)
        model = replace(
            model, form=form, coefficients=coefficients, longest=longest, reach=reach
        )
        return model, _with_setting(report, self.frame, setting)

    def _loss(
        self, setting: Setting, losses: list[QuadraticLoss] | None
    ) -> QuadraticLoss:
        """Return the loss of all rows, its Gram matrix as exact as a setting needs."""
        scores = [self.frame.bases[setting.base].full]
        narrow = self.basis is not None
        exact = self._rounds(setting.strength) and self._affordable()
        if losses is not None and (narrow or not exact):
            return total_loss(losses, scores)
        return self._loss_in_one_pass(scores, whitened=narrow or exact)

    def _loss_in_one_pass(
        self, scores: list[BaseScore], *, whitened: bool
    ) -> QuadraticLoss:
        basis = self.whitening.basis if whitened else None
        return quadratic_loss(self.frame.rows, self.form, scores, basis=basis)

    def _rounds(self, strength: float) -> bool:
        """Tell whether a Gram matrix whitened afterwards is too inexact.

        That of whitened fields is not: see `narrow_basis`.
        """
        return self.whitening.rounding(self.form.trace()) > NEGLIGIBLE * strength

    def _affordable(self) -> bool:
        """Tell whether the Gram matrix of whitened fields takes little time."""
        r = len(self.whitening.pivots)
        return len(self.frame.rows) * r**2 * self.form.field_width() <= MOST_PRODUCTS

    def _coefficients(self, total: QuadraticLoss, setting: Setting) -> Tensor:
        """Return the coefficients of a setting that minimise the loss of all rows."""
        found = self._solve(total, setting)
        if found is None and total.basis is None:
            whitened = self._loss_in_one_pass(total.scores, whitened=True)
            found = self._solve(whitened, setting)
        if found is None:
            m, bound = len(self.landmarks), self.form.trace()
            enough = m * torch.finfo(total.gram.dtype).eps * bound
            raise ValueError(
                f"regularization={setting.strength:.3g} is lost to rounding beside the "
                f"kernels, n_landmarks={m}; choose at least {enough:.1g}, or 'auto'"
            )
        return found

    def _solve(self, total: QuadraticLoss, setting: Setting) -> Tensor | None:
        """Return the same, or None where rounding exceeds the strength."""
        method, strength, bound = setting.method, setting.strength, self.form.trace()
        gram, basis, linear = total.gram, total.basis, total.linear[0]
        if basis is None:
            return solve(method, gram, self.rough, linear, strength, bound)
        identity = whiten(torch.ones_like(gram[0]).diag())
        found = solve(method, gram, identity, basis.T @ linear, strength, bound)
        return None if found is None else basis @ found


def fit_cross_validated(
    frame: Frame, candidate: Candidate, landmarks: Tensor, methods: tuple[str, ...]
) -> tuple[ScoreModel, Report]:
    """Return the fit of the best strength, or a base alone where that is no worse.

    Parameters
    ----------
    frame : Frame
    candidate : Candidate
    landmarks : Tensor of shape (m,)
    methods : tuple of str
        Filters to compare.

    Returns
    -------
    model : ScoreModel
    report : Report
    """
    fit = KernelFit(frame, candidate, landmarks)
    losses = fit.losses_of_parts()
    choice = fit.choose_strength(methods, losses)
    rival = _best_base(frame)
    evidence = evidence_against(rival.name)
    # Without a base there is nothing that could stand alone.
    if rival.name != "none" and not improves(
        choice.losses, rival.losses, frame.weights, standard_errors=evidence
    ):
        return best_base_alone(frame)
    model, report = fit.at(choice, losses)
    return model, replace(
        report,
        loss=choice.loss,
        base_loss=_mean_loss(frame, rival),
        degrees_of_freedom=choice.degrees_of_freedom,
    )


def fit_published_estimator(
    frame: Frame, candidate: Candidate, ridge: float, n_rows: float
) -> tuple[ScoreModel, Report]:
    """Return the estimator of Li & Turner on all rows.

    Parameters
    ----------
    frame : Frame
    candidate : Candidate
    ridge : float
        The ``η``.
    n_rows : float
        Number of rows, repeated ones included.

    Returns
    -------
    model : ScoreModel
    report : Report
    """
    rows = frame.rows
    kernel = make_kernel(candidate.kernel, candidate.bandwidth)
    counts = n_rows * rows.weights
    published = fit_published(kernel, rows.read(slice(None)), ridge, counts)
    model, report = base_alone(frame, "none")
    setting = Setting(candidate, "none", "stein", ridge)
    return replace(model, published=published), _with_setting(report, frame, setting)


def greatest_lengths(
    rows: Rows, form: Form, coefficients: Tensor
) -> tuple[float, float]:
    """Return the greatest lengths of a kernel part and of the rows of a sample."""
    some = rows.lowest_ranks(MOST_ROWS_MEASURED)
    lengths = [
        torch.stack(
            [
                torch.linalg.vector_norm(vectors, dim=-1).max()
                for vectors in (form.field(U, coefficients[None]), U)
            ]
        )
        for _, U in rows.chunks(len(form.landmarks), some)
    ]
    longest, reach = (SLACK * torch.stack(lengths).amax(0)).tolist()
    return longest, reach


def _with_setting(report: Report, frame: Frame, setting: Setting) -> Report:
    """Return a report that tells the setting of the kernel part too."""
    candidate, scale = setting.candidate, frame.rows.inverse_scale
    return replace(
        report,
        kernel=candidate.kernel,
        form=candidate.form,
        bandwidth=candidate.bandwidth / scale.masked_fill(scale == 0, 1.0),
        regularization=setting.strength,
        method=setting.method,
    )
