"""The score of a distribution from a sample: tensors in, a `ScoreModel` out."""

from __future__ import annotations

import math
from dataclasses import replace

import torch
from torch import Tensor

from .bases import BASE_NAMES
from .comparison import Setting, choose, evidence_against, improves
from .forms import Form
from .frames import Candidate, Frame
from .kernels import make_kernel
from .model import AveragedScore, Score, ScoreModel
from .published import fit_published
from .rows import N_FOLDS, Rows, read_rows, split_rows
from .search import Found, Search, frames_of, median_of, sees_all
from .selection import (
    Sums,
    cross_validate,
    distinct_scores,
    narrow_basis,
    sums_of_parts,
)
from .settings import Report, Settings
from .solvers import Whitening, solve, whiten

# Tikhonov's filter is safer; the cut-off does not shrink what it keeps, and so follows
# scores that are as smooth as the kernel. In searches of a subset it gained nothing.
_COMPARED = ("tikhonov", "spectral_cutoff")
# Fewer are not split into folds.
_FEWEST_ROWS_FOR_A_KERNEL = 2 * N_FOLDS
# To find where a kernel part is longest must not take as long as to fit it.
_MOST_ROWS_MEASURED = 20_000
_SLACK = 1.0 + 1e-9
# Squares of more, summed over rows and columns, overflow, and of the reciprocal vanish.
_MOST_BANDWIDTHS = 1e140


def fit_score(
    X: Tensor,
    settings: Settings | None = None,
    *,
    weights: Tensor | None = None,
    seed: int = 0,
    device: str | torch.device = "cpu",
) -> tuple[Score, Report]:
    """Estimate the score ``∇ₓ log q(x)`` of the distribution of a sample.

    Parameters
    ----------
    X : Tensor of shape (n, d)
        The sample, finite, in any floating type and on any device. It is read in chunks
        and never copied whole.
    settings : Settings, default=None
        What to fit; by default everything is chosen from the sample.
    weights : Tensor of shape (n,), default=None
        How often each row counts: a weight of 2 is that of a row that occurs twice, and
        rows of weight 0 take no part. By default once. But for ``method="stein"`` only
        their ratios matter.
    seed : int, default=0
        Seed of the random folds, subsets and landmarks.
    device : str or torch.device, default="cpu"
        Where to compute, in float64.

    Returns
    -------
    model : ScoreModel or AveragedScore
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
        rows = read_rows(X, weights, generator=generator, device=torch.device(device))
        size = float(len(X) if weights is None else weights.double().sum())
        return _Fit(rows, size, settings, seed).run()


class _Fit:
    """One run of `fit_score`: the sample, its base score, the steps of the choice.

    The `size` is the number of rows, repeated ones included.
    """

    def __init__(self, rows: Rows, size: float, settings: Settings, seed: int) -> None:
        self.size, self.settings, self.seed = size, settings, seed
        self.published = settings.method == "stein"
        self.rows = self._scaled(rows)
        self.split = split_rows(self.rows)
        fixed = settings.regularization
        self.strength = None if isinstance(fixed, str) else float(fixed)
        self.methods: tuple[str, ...] = (settings.method,)
        if self.published:
            self.methods = ("tikhonov",)
        elif settings.method == "auto":
            free = self.strength is None and sees_all(self.rows)
            self.methods = _COMPARED if free else _COMPARED[:1]

    def run(self) -> tuple[Score, Report]:
        names = self._base_names()
        if bool((self.rows.inverse_scale == 0).all()):
            return self._alone(self._frame(names[:1]), names[0])
        candidate = self._only_candidate()
        searched = candidate is None or len(names) > 1
        few = len(self.rows) < _FEWEST_ROWS_FOR_A_KERNEL
        if few and (self.strength is None or searched):
            if names[0] == "none":
                raise ValueError(
                    f"X has {len(self.rows)} distinct rows, but choosing the kernel or "
                    f"the regularization needs {_FEWEST_ROWS_FOR_A_KERNEL}; give "
                    "kernel, form, bandwidth and regularization, or take the Gaussian "
                    "base"
                )
            return self._alone(self._frame(names[:1]), names[0])
        if searched:
            search = self._search(names)
            found = search.run()
            if self._settled(search):
                if found.leaders:
                    return self._average(search, found)
                return self._best_alone(search.frames[False].only(set(found.names)))
            candidate, frame = self._decided(search, found)
        else:
            frame = self._frame(names[:1])
        if candidate is None:
            return self._best_alone(frame)
        if self.strength is None:
            return self._with_chosen_strength(frame, candidate)
        if self.published:
            return self._publish(frame, candidate, self.strength)
        name, (method,) = next(iter(frame.bases)), self.methods
        return self._with_setting(
            frame, Setting(candidate, name, method, self.strength)
        )

    def _search(self, names: tuple[str, ...]) -> Search:
        strength = self.strength
        if self.published and strength is not None:
            # The ridge of the published estimator is η = n λ.
            strength /= self.size
        return Search(
            self.rows, self.settings, names, strength, self.methods, self.seed
        )

    def _settled(self, search: Search) -> bool:
        """Whether a search saw all that the fit will, but for more landmarks."""
        enough = len(self._landmarks()) >= len(search.landmarks)
        free = search.searched and self.strength is None and not self.published
        return search.whole and free and enough

    def _average(self, search: Search, found: Found) -> tuple[Score, Report]:
        """Return the mean of the leaders of a search, each at its strength."""
        best = found.leaders[0]
        fits = [
            self._with_setting(search.frames[leader.candidate.isotropic], leader)
            for leader in found.leaders
        ]
        models = tuple(model for model, _ in fits)
        frame = search.frames[False].only(set(found.names))
        report = replace(
            fits[0][1],
            loss=best.loss,
            base_loss=self._best_alone(frame)[1].base_loss,
            degrees_of_freedom=best.degrees_of_freedom,
            n_averaged=len(models),
        )
        return models[0] if len(models) == 1 else AveragedScore(models), report

    def _decided(self, search: Search, found: Found) -> tuple[Candidate | None, Frame]:
        """Return a candidate, None for no kernel part, and its frame.

        The frame has the base of the candidate and the best base to stand alone.
        """
        candidate, names = found.candidate, found.names
        if search.whole:
            return candidate, search.frames[candidate.isotropic].only(set(names))
        refined, names = search.refine(candidate, names, len(self._landmarks()))
        isotropic = refined is not None and refined.isotropic
        return refined, self._frame(tuple(names), isotropic)

    def _base_names(self) -> tuple[str, ...]:
        """Return the bases to compare."""
        if self.settings.base is None or self.published:
            return ("none",)
        if self.settings.base != "auto":
            return (self.settings.base,)
        # With a given strength nothing else needs a comparison.
        given = self.strength is not None and self._only_candidate() is not None
        return BASE_NAMES[:1] if given else BASE_NAMES

    def _only_candidate(self) -> Candidate | None:
        """Return the kernel, form and bandwidth when all are given."""
        form = "diagonal" if self.published else self.settings.form
        kernel = self.settings.kernel
        if "auto" in (kernel, form) or self.settings.bandwidth == "auto":
            return None
        return Candidate(kernel, form, 1.0)

    def _frame(self, names: tuple[str, ...], isotropic: bool = False) -> Frame:
        frames = frames_of(self.rows, self.split, self.settings, names, self.seed)
        return frames[isotropic]

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
            return rows.rescaled(equal.inverse_scale / median_of(equal))
        lengths = torch.as_tensor(bandwidth, dtype=torch.float64, device=rows.device)
        if lengths.numel() not in (1, rows.n_features):
            raise ValueError(
                f"bandwidth has {lengths.numel()} numbers; pass one for each of the "
                f"{rows.n_features} columns of X, or one for all"
            )
        scaled = rows.rescaled((1.0 / lengths).expand_as(rows.inverse_scale))
        widths = scaled.inverse_scale / rows.inverse_scale
        too_far = (widths > _MOST_BANDWIDTHS) | (1.0 / widths > _MOST_BANDWIDTHS)
        if too_far.any():
            column = int(torch.nonzero(too_far)[0])
            small = bool(widths[column] < 1.0)
            what, size = ("vanish", "smaller") if small else ("overflow", "larger")
            raise ValueError(
                f"the standard deviation of column {column} of X is "
                f"{float(widths[column]):.3g} times its bandwidth, and the squares of "
                f"distances would {what}; pass a {size} bandwidth, or 'auto'"
            )
        return scaled

    def _landmarks(self) -> Tensor:
        n, wanted = len(self.rows), self.settings.n_landmarks
        if wanted == "auto":
            wanted = min(1000, max(500, math.ceil(5 * math.sqrt(n))))
        elif wanted == "all":
            wanted = n
        # A part held out of a large sample gives no landmarks.
        most = n if self.split.in_folds else self.split.n_kept
        return self.rows.lowest_ranks(min(most, int(wanted)))

    def _with_chosen_strength(
        self, frame: Frame, candidate: Candidate
    ) -> tuple[ScoreModel, Report]:
        """Choose the strength by cross-validation with all rows and landmarks."""
        landmarks, weights = self._landmarks(), frame.weights
        form = candidate.build(frame.rows.read(landmarks))
        scores = distinct_scores(frame.bases)
        whitening = whiten(form.penalty())
        basis = narrow_basis(form, whitening)
        parts = None
        if basis is None or not frame.split.in_folds:
            parts = sums_of_parts(frame.rows, form, scores, frame.split, basis)
        choices = cross_validate(
            frame, [candidate], landmarks, methods=self.methods, sums=parts
        )
        choice = choose(choices)
        if self.published:
            return self._publish(frame, candidate, choice.strength * self.size)
        alone, described = self._best_alone(frame)
        rival = frame.bases[described.base or "none"].losses
        evidence = evidence_against(described.base or "none")
        if not improves(choice.losses, rival, weights, standard_errors=evidence):
            return alone, described
        score = frame.bases[choice.base].full
        if parts is None:
            scores = [score]
            parts = sums_of_parts(frame.rows, form, scores, None, basis)
        place = next(i for i, s in enumerate(scores) if s is score)
        total = Sums(
            torch.stack([part.gram for part in parts]).sum(0),
            torch.stack([part.linear[place] for part in parts]).sum(0),
        )
        model, report = self._solve(frame, choice, form, total, whitening)
        return model, replace(
            report,
            loss=choice.loss,
            base_loss=described.base_loss,
            degrees_of_freedom=choice.degrees_of_freedom,
        )

    def _best_alone(self, frame: Frame) -> tuple[ScoreModel, Report]:
        """Return the base of least held-out loss without a kernel part."""
        share = frame.weights / frame.weights.sum()
        losses = {
            name: float(share @ base.losses) for name, base in frame.bases.items()
        }
        best = min(losses, key=lambda name: losses[name])
        model, report = self._alone(frame, best)
        return model, replace(report, loss=losses[best], base_loss=losses[best])

    def _with_setting(
        self, frame: Frame, setting: Setting
    ) -> tuple[ScoreModel, Report]:
        candidate, base = setting.candidate, frame.bases[setting.base]
        form = candidate.build(frame.rows.read(self._landmarks()))
        whitening = whiten(form.penalty())
        basis = narrow_basis(form, whitening)
        (total,) = sums_of_parts(frame.rows, form, [base.full], None, basis)
        total = Sums(total.gram, total.linear[0])
        return self._solve(frame, setting, form, total, whitening)

    def _solve(
        self,
        frame: Frame,
        setting: Setting,
        form: Form,
        total: Sums,
        whitening: Whitening,
    ) -> tuple[ScoreModel, Report]:
        coefficients = solve(
            setting.method,
            total.gram,
            whitening,
            total.linear,
            setting.strength,
            form.trace(),
        )
        model, report = self._alone(frame, setting.base)
        longest = _longest(frame.rows, form, coefficients)
        model = replace(model, form=form, coefficients=coefficients, longest=longest)
        return model, _describe(report, frame, setting)

    def _alone(self, frame: Frame, name: str) -> tuple[ScoreModel, Report]:
        """Return a base score alone."""
        # A family asked for by name may have turned out to be the Gaussian.
        base = frame.bases.get(name) or next(iter(frame.bases.values()))
        rows = frame.rows
        model = ScoreModel(rows.center, rows.inverse_scale, base.full, rows.axes)
        silent = base.name == "none"
        report = Report(
            base=None if silent else base.name,
            shrinkage=None if silent else frame.shrinkage,
        )
        return model, report

    def _publish(
        self, frame: Frame, candidate: Candidate, ridge: float
    ) -> tuple[ScoreModel, Report]:
        """Fit the published estimator on all rows."""
        rows = frame.rows
        kernel = make_kernel(candidate.kernel, candidate.bandwidth)
        counts = self.size * rows.weights
        published = fit_published(kernel, rows.read(slice(None)), ridge, counts)
        model, report = self._alone(frame, "none")
        model = replace(model, published=published)
        setting = Setting(candidate, "none", "stein", ridge)
        return model, _describe(report, frame, setting)


def _longest(rows: Rows, form: Form, coefficients: Tensor) -> float:
    """Return the length of a kernel part where it is longest over the sample."""
    some = rows.lowest_ranks(min(len(rows), _MOST_ROWS_MEASURED))
    lengths = [
        torch.linalg.vector_norm(form.field(U, coefficients[None]), dim=-1).max()
        for _, U in rows.chunks(len(form.landmarks), some)
    ]
    # Rounding must not shorten it at the row where it is longest.
    return _SLACK * float(torch.stack(lengths).max())


def _describe(report: Report, frame: Frame, setting: Setting) -> Report:
    candidate, scale = setting.candidate, frame.rows.inverse_scale
    lengths = candidate.bandwidth / scale.masked_fill(scale == 0, 1.0)
    return replace(
        report,
        kernel=candidate.kernel,
        form=candidate.form,
        bandwidth=lengths,
        regularization=setting.strength,
        method=setting.method,
    )
