"""From a frame and a setting to a model and its report."""

from dataclasses import replace

import torch
from torch import Tensor

from .bases.fitted import Base
from .kernels.forms import Form
from .kernels.published import fit_published
from .kernels.radial import make_kernel
from .kernels.solvers import solve, whiten
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
    return model, Report(base=base.name, shrinkage=frame.shrinkage)


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
        self.whitening = whiten(self.form.penalty())
        self.basis = narrow_basis(self.form, self.whitening)

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
        scores = [self.frame.bases[setting.base].full]
        if losses is None:
            total = quadratic_loss(rows, form, scores, basis=self.basis)
        else:
            total = total_loss(losses, scores)
        coefficients = self._coefficients(total, setting)
        model, report = base_alone(self.frame, setting.base)
        model = replace(
            model,
            form=form,
            coefficients=coefficients,
            longest=greatest_length(rows, form, coefficients),
        )
        return model, _with_setting(report, self.frame, setting)

    def _coefficients(self, total: QuadraticLoss, setting: Setting) -> Tensor:
        """Return the coefficients of a setting that minimise the loss of all rows."""
        method, strength, bound = setting.method, setting.strength, self.form.trace()
        gram, linear, whitening = total.gram, total.linear[0], self.whitening
        found = solve(method, gram, whitening, linear, strength, bound)
        if found is not None:
            return found
        # To whiten a Gram matrix enlarges its rounding errors a millionfold. That of
        # whitened fields has none of these, at the cost of another pass.
        basis = whitening.basis
        exact = quadratic_loss(self.frame.rows, self.form, total.scores, basis=basis)
        gram, linear = exact.gram, basis.T @ exact.linear[0]
        whitening = whiten(torch.eye(len(gram)).to(gram))
        found = solve(method, gram, whitening, linear, strength, bound)
        if found is None:
            enough = len(gram) * torch.finfo(gram.dtype).eps * bound
            raise ValueError(
                f"regularization={strength:.3g} is lost to rounding beside the kernels "
                f"at {len(basis)} landmarks; choose at least {enough:.1g}, or 'auto'"
            )
        return basis @ found


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
    if not improves(
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


def greatest_length(rows: Rows, form: Form, coefficients: Tensor) -> float:
    """Return the length of a kernel part where it is longest over the sample."""
    some = rows.lowest_ranks(min(len(rows), MOST_ROWS_MEASURED))
    lengths = [
        torch.linalg.vector_norm(form.field(U, coefficients[None]), dim=-1).max()
        for _, U in rows.chunks(len(form.landmarks), some)
    ]
    return SLACK * float(torch.stack(lengths).max())


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
