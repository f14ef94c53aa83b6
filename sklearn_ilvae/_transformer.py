"""`ILVAETransformer`: latent codes of a table that cannot collapse."""

from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from math import nan
from numbers import Integral, Real
from typing import Any, ClassVar, Self

import numpy as np
import torch
from sklearn.base import (
    BaseEstimator,
    ClassNamePrefixFeaturesOutMixin,
    TransformerMixin,
)
from sklearn.callback import CallbackSupportMixin
from sklearn.utils import check_array, check_scalar
from sklearn.utils.validation import check_is_fitted
from torch import Tensor

from ._checks import check_parameters
from ._columns import (
    check_support,
    float_dtypes,
    from_tensor,
    to_tensor,
)
from ._device import in_chunks_on, inference_device, torch_defaults, training_device
from ._html import DiagramMixin, divergences_of_units, summary_of_autoencoder
from ._random import draw_held_out, draw_seed
from ._sklearn import Interval, StrOptions, fit_context
from ._state import module_from_arrays, module_to_arrays, unchanged_on_error
from ._tables import (
    LAYER_CHUNK,
    TableMixin,
    TrainingTable,
    read_training_table,
    rows_at_once,
)
from ._training import (
    OptimizerState,
    TrainingResult,
    TrainingSettings,
    check_same_columns,
    check_same_network,
    choose_batch_size,
    choose_patience,
    divergence_explained,
    epoch_hooks,
    split_validation,
    start_model,
    train,
)
from .vae import (
    DECODERS,
    VariationalAutoencoder,
    importance_weighted_bound,
    shared_noise,
)
from .vae.likelihoods import FAMILIES
from .vae.networks import ACTIVATIONS, converted
from .vae.posterior import are_far_out

_AUTO = StrOptions({"auto"})

TRANSFORM_CHUNK = 4096
"""Rows encoded at once: few enough to stay in the processor's cache."""

VALIDATION_DRAWS = 8


class ILVAETransformer(
    ClassNamePrefixFeaturesOutMixin,
    TransformerMixin,
    CallbackSupportMixin,
    TableMixin,
    DiagramMixin,
    BaseEstimator,
):
    """Latent codes of a table from a variational autoencoder that cannot collapse.

    The decoder f satisfies ``‖f(a) − f(b)‖ ≥ L‖a − b‖`` for all codes a, b, whatever
    its parameters [1]_. Two codes therefore cannot mean the same row: the decoder
    cannot ignore a latent unit, and the posterior of the codes cannot equal their
    prior. Training maximises the ordinary evidence lower bound.

    Columns are scaled inside, and categories, counts, dates and missing values are
    taken as they are: raw tables need no pipeline. Data frames may come from pandas,
    polars or pyarrow, and rows are given back in the same form.

    Parameters
    ----------
    n_components : int or "auto", default="auto"
        Number of latent units. It must not exceed the number of natural parameters,
        which is one for each column and K − 1 for a category of K levels. ``"auto"``
        takes the number of principal components that explain 99% of the variance of the
        standardised table, but at most 32, and at most one for every twenty rows.
    inverse_lipschitz : float or "auto", default="auto"
        The constant L ≥ 0, in natural parameters for each unit of a code, whose prior
        has unit variance. Natural parameters are standard deviations of columns of
        numbers, logits of binary and ordered ones, logits that sum to zero of
        categories and log-rates of counts.
        ``"auto"`` is 0.3 times the standard deviation of the table along the last
        principal component kept. With binary columns, categories or counts it is no
        more than 0.3 times the smallest slope of the linear model that training starts
        at. Useful values lie between 0 and 1; a larger L keeps more information in
        every unit and, past the spread of the data, costs likelihood.
    decoder : {"anchored", "anchored_warped", "gradient_network", "brenier", "mlp"}, \
default="anchored"
        Family of the decoder. ``"anchored"`` is monotone along as many learned
        directions of the table as there are units and free across them;
        ``"anchored_warped"`` follows it by a monotone map of the data space;
        ``"brenier"`` is the construction of [1]_, ``g₂(Bg₁(z))`` with gradients of
        input-convex networks, and ``"gradient_network"`` the same with one-layer
        gradient maps. These four guarantee L exactly. ``"mlp"`` is unconstrained and
        guarantees nothing.
    hidden_layer_sizes : int or sequence of int, default=(64,)
        Widths of the hidden layers of encoder and decoder.
    activation : {"elu", "tanh", "relu", "softplus", "logistic"}, default="elu"
        Activation function. All of them are non-decreasing, which the guarantee needs.
        In ridge gradient maps half of the units are tanh, whatever is chosen here.
    likelihood : str, dict or sequence of str, default="auto"
        Distribution of a column given the code: one for all columns of numbers, a
        dict from names (or positions) to some, or one a column.

        - ``"auto"``: Bernoulli for columns of zeros and ones, both; Student t for other
          numbers, dates and durations; categorical for text and categories; ordinal
          for categories whose dtype orders them. `column_summary_` shows the outcome.
          Dates and durations can be Gaussian or Student t alone.
        - ``"student_t"``: learned scale, whose square is at least 0.01 in standardised
          units, and degrees of freedom: few for a column with rare values far out,
          many for one that is close to Gaussian.
        - ``"gaussian"``: a learned noise variance, of at least 0.01 in standardised
          units.
        - ``"bernoulli"``: zeros and ones.
        - ``"categorical"``: unordered levels; the logits sum to zero.
        - ``"ordinal"``: ordered levels, by the cumulative logit model; at most 256.
          Their order is that of the categories of pandas, of an Enum of polars or of an
          ordered dictionary of pyarrow; other text is in alphabetical order, and
          numbers ascend.
        - ``"poisson"``, ``"negative_binomial"``: counts, whose variance is their mean,
          or more.
    categorical_features : "from_dtype", array-like of {bool, int, str} or None, \
default="from_dtype"
        Columns of numbers to take as categories: a mask, positions or names. Columns
        of text and of categorical dtypes are categories in any case.
    max_categories : int, default=50
        Levels of a category that the network tells apart. The most frequent keep a
        level each; the others share one, and are told apart by their frequencies.
    handle_unknown : {"error", "missing"}, default="error"
        What to do with a category that was not seen in `fit`: raise an error, or treat
        it as a missing value.
    power_transform : bool, default=False
        Whether to transform skewed columns of numbers as
        `sklearn.preprocessing.PowerTransformer` does by default [4]_, with λ between 0,
        a logarithm, and 2: those that gain a Gaussian at least 0.1 nats a value by it.
        Densities and rows stay in the units of the table. The natural parameters of
        these columns, and so L, are in standard deviations of the transformed column.
    prior : {"mixture", "standard_normal"}, default="mixture"
        Distribution of the codes. The mixture of Gaussians is learned; its units
        keep mean zero and unit variance by construction.
    n_mixture_components : int, default=16
        Number of Gaussians of the mixture prior.
    kl_weight : float, default=1.0
        Weight of the divergence from the prior in the training objective.
    learning_rate_init : float, default=1e-2
        Learning rate of Adam. What is kept is a running average of the weights over
        about a tenth of the steps so far, which bears a higher rate than the weights
        themselves.
    batch_size : int or "auto", default="auto"
        Most rows in a batch; batches are as few and as equal as they can be. ``"auto"``
        is a hundredth of the training rows, at least 256 and at most 1024. Fewer than
        1024 rows make four batches, or less where they would be under 32 rows.
    max_iter : int, default=2000
        Largest number of epochs, that is of passes over the training rows. Reaching it
        gives no warning; `n_iter_` is the number of epochs run.
    early_stopping : bool, default=True
        Whether to hold out validation rows, stop when their bound stalls and keep
        the weights, averaged, of the best epoch. Otherwise training stops when the
        training loss stalls, and the last average stays.
    validation_fraction : float, default=0.1
        Share of the rows held out. Copies of a row may fall on both sides, and with
        copies of all rows training stops too late: where some are to count more, use
        `sample_weight` instead.
    n_iter_no_change : int or "auto", default="auto"
        Epochs without an improvement by `tol` after which training stops. ``"auto"``
        is as many as make 500 steps of the optimiser, at least 10: the loss of
        few validation rows with rare values may rise for hundreds of steps before it
        falls.
    tol : float, default=1e-3
        Least improvement that counts, in nats a row.
    warm_start : bool, default=False
        Whether `fit` continues from the present network and scaling. What shapes the
        network (`n_components`, `inverse_lipschitz`, `decoder`, `hidden_layer_sizes`,
        `activation`, `prior`, `n_mixture_components`) and its columns (`likelihood`,
        `categorical_features`, `max_categories`, `power_transform`) must then be as
        before.
    n_importance_samples : int, default=100
        Draws of the code of each row in `score_samples` and `impute`. More draws raise
        the bound towards the log-likelihood.
    device : str, default="auto"
        Where to compute: ``"cpu"``, ``"cuda"``, ``"cuda:1"``, ``"mps"``…
        ``"auto"`` is CUDA where there is any. A fitted model falls back to the CPU
        on a machine that lacks the device.
    random_state : int, RandomState instance or None, default=None
        Source of initial weights, validation rows, batch order and noise.
    verbose : int, default=0
        1 prints one line an epoch.

    Attributes
    ----------
    module_ : VariationalAutoencoder
        The torch module, on the CPU: ``module_.encoder``, ``.decoder``,
        ``.likelihood`` and ``.prior`` work on standardised rows.
    inverse_lipschitz_ : float
        Constant certified by the parameters of the fitted decoder, at least the one
        asked for, in the unit of `inverse_lipschitz`. 0 for ``decoder="mlp"``.
    n_components_ : int
        Number of latent units.
    likelihood_ : list of str, length n_features
        Distribution of every column; ``"none"`` for a column that was all missing,
        whose values are ignored.
    column_summary_ : ColumnSummary
        A readable table: dtype, likelihood, values and gaps of every column. Rows count
        by their weights.
    mean_, scale_ : ndarray of shape (n_features,)
        Centre and spread of every column in training; 0 and 1 for categories and
        counts, days since 1970 for dates. The spread of a constant column is 0. They
        are mean and standard deviation, but for columns with few values far out (see
        Notes).
    lambdas_ : ndarray of shape (n_features,)
        λ of the power transform of every column, in tenths, of values standardised by
        `mean_` and `scale_`. 1 where there is none.
    n_iter_ : int
        Epochs run.
    loss_curve_ : list of float
        Negative bound on the training rows at every epoch, in nats a row, of
        standardised columns.
    validation_scores_ : list of float
        Bound on the validation rows after every epoch, in the same unit. Empty
        without early stopping; NaN at epochs without it where others had it, after
        `partial_fit` or a warm start.
    n_features_in_ : int
        Number of columns seen in fit.
    feature_names_in_ : ndarray of str, shape (n_features_in_,)
        Names of the columns, when all are strings.

    See Also
    --------
    sklearn.decomposition.FactorAnalysis : The linear model that training starts near.

    Notes
    -----
    What L does: at every row, the relative Fisher information of the posterior with
    respect to the prior is at least ``L²`` times the squared part of the scaled
    residual in the range of the decoder's Jacobian
    (`sklearn_ilvae.metrics.fisher_divergence_lower_bound`); averaged over the model's
    own rows and for Gaussian columns of noise variance at most σ², at least
    ``n_components L²/σ²`` (`sklearn_ilvae.metrics.average_fisher_lower_bound`, also for
    Student t).
    What L does not do: the bound is on the posterior of the model, not on the encoder
    that approximates it. It is on the Fisher divergence from the prior. That divergence
    bounds the Kullback–Leibler divergence from above for the standard normal prior, and
    never from below. And L does not make codes meaningful.

    A missing value adds no term: the bound is on the likelihood of the observed values
    [2]_. The encoder is told which values are missing. `score_samples` of a row with
    gaps is the log-likelihood of its observed values, so a row with more gaps has fewer
    terms.

    Numbers are read in float64, and dates to the microsecond. Finer differences are
    lost, except in `impute`, which returns observed values exactly as they were.

    Values more than three standard deviations from the mean are scaled
    logarithmically, a one-to-one map, so heavy tails neither dominate training nor
    spoil the likelihood.
    A few values may be so far out that the standard deviation says nothing of the
    others. Centre and spread are then the median, and the deviation from it of values
    clipped to three times that spread [3]_, where it is less than a tenth of the
    standard deviation: the least noise would hide all else.

    References
    ----------
    .. [1] Kinoshita, Oono, Fukumizu, Yoshida & Maeda (2023). "Controlling posterior
       collapse by an inverse Lipschitz constraint on the decoder network." ICML.
       arXiv:2304.12770.
    .. [2] Mattei & Frellsen (2019). "MIWAE: deep generative modelling and imputation
       of incomplete data sets." ICML. arXiv:1812.02633.
    .. [3] Huber (1964). "Robust estimation of a location parameter." Annals of
       Mathematical Statistics 35, 73-101.
    .. [4] Yeo & Johnson (2000). "A new family of power transformations to improve
       normality or symmetry." Biometrika 87, 954-959. Equation 2.1.

    Examples
    --------
    >>> from sklearn.datasets import load_wine
    >>> from sklearn_ilvae import ILVAETransformer
    >>> X = load_wine().data
    >>> model = ILVAETransformer(n_components=2, random_state=0).fit(X)
    >>> model.transform(X).shape
    (178, 2)
    >>> model.sample(3, random_state=0).shape
    (3, 13)
    """

    module_: VariationalAutoencoder
    loss_curve_: list[float]
    validation_scores_: list[float]
    _optimizer_state: OptimizerState | None = None

    _family_of_numbers = "student_t"

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        "n_components": [Interval(Integral, 1, None, closed="left"), _AUTO],
        "inverse_lipschitz": [Interval(Real, 0, None, closed="left"), _AUTO],
        "decoder": [StrOptions(set(DECODERS))],
        "hidden_layer_sizes": [
            "array-like",
            Interval(Integral, 1, None, closed="left"),
        ],
        "activation": [StrOptions(set(ACTIVATIONS))],
        "likelihood": [StrOptions({"auto", *FAMILIES}), dict, "array-like"],
        "categorical_features": [StrOptions({"from_dtype"}), "array-like", None],
        "max_categories": [Interval(Integral, 2, None, closed="left")],
        "handle_unknown": [StrOptions({"error", "missing"})],
        "power_transform": ["boolean"],
        "prior": [StrOptions({"mixture", "standard_normal"})],
        "n_mixture_components": [Interval(Integral, 1, None, closed="left")],
        "kl_weight": [Interval(Real, 0, None, closed="left")],
        "learning_rate_init": [Interval(Real, 0, None, closed="neither")],
        "batch_size": [Interval(Integral, 1, None, closed="left"), _AUTO],
        "max_iter": [Interval(Integral, 1, None, closed="left")],
        "early_stopping": ["boolean"],
        "validation_fraction": [Interval(Real, 0, 1, closed="neither")],
        "n_iter_no_change": [Interval(Integral, 1, None, closed="left"), _AUTO],
        "tol": [Interval(Real, 0, None, closed="left")],
        "warm_start": ["boolean"],
        "n_importance_samples": [Interval(Integral, 1, None, closed="left")],
        "device": [str],
        "random_state": ["random_state"],
        "verbose": ["verbose"],
    }

    def __init__(
        self,
        n_components: int | str = "auto",
        *,
        inverse_lipschitz: float | str = "auto",
        decoder: str = "anchored",
        hidden_layer_sizes: int | Sequence[int] = (64,),
        activation: str = "elu",
        likelihood: str | Sequence[str] | Mapping[Any, str] = "auto",
        categorical_features: Any = "from_dtype",
        max_categories: int = 50,
        handle_unknown: str = "error",
        power_transform: bool = False,
        prior: str = "mixture",
        n_mixture_components: int = 16,
        kl_weight: float = 1.0,
        learning_rate_init: float = 1e-2,
        batch_size: int | str = "auto",
        max_iter: int = 2000,
        early_stopping: bool = True,
        validation_fraction: float = 0.1,
        n_iter_no_change: int | str = "auto",
        tol: float = 1e-3,
        warm_start: bool = False,
        n_importance_samples: int = 100,
        device: str = "auto",
        random_state: int | np.random.RandomState | None = None,
        verbose: int = 0,
    ) -> None:
        self.n_components = n_components
        self.inverse_lipschitz = inverse_lipschitz
        self.decoder = decoder
        self.hidden_layer_sizes = hidden_layer_sizes
        self.activation = activation
        self.likelihood = likelihood
        self.categorical_features = categorical_features
        self.max_categories = max_categories
        self.handle_unknown = handle_unknown
        self.power_transform = power_transform
        self.prior = prior
        self.n_mixture_components = n_mixture_components
        self.kl_weight = kl_weight
        self.learning_rate_init = learning_rate_init
        self.batch_size = batch_size
        self.max_iter = max_iter
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.n_iter_no_change = n_iter_no_change
        self.tol = tol
        self.warm_start = warm_start
        self.n_importance_samples = n_importance_samples
        self.device = device
        self.random_state = random_state
        self.verbose = verbose

    @fit_context(prefer_skip_nested_validation=True)
    def fit(self, X: Any, y: Any = None, sample_weight: Any = None) -> Self:
        """Fit scaling and network to a table.

        Parameters
        ----------
        X : DataFrame or array-like of shape (n_samples, n_features)
            Finite numbers, text, categories or dates; missing values are NaN, None
            or what the library has for them.
        y : ignored
            Present for compatibility.
        sample_weight : array-like of shape (n_samples,), default=None
            Non-negative weights. A row of weight 0 has no effect.

        Returns
        -------
        self
            The fitted estimator. After Ctrl-C, with a warning, it holds the best state
            so far.

        Raises
        ------
        TypeError, ValueError
            For input or parameters that cannot be fitted, and for a training loss
            that stops being a number. The estimator is left as it was.
        """
        return self._fit(
            X,
            sample_weight,
            "fit",
            resume=self.warm_start and hasattr(self, "module_"),
            max_iter=self.max_iter,
            validation_fraction=self.validation_fraction if self.early_stopping else 0,
        )

    @fit_context(prefer_skip_nested_validation=False)
    def partial_fit(self, X: Any, y: Any = None, sample_weight: Any = None) -> Self:
        """Train for one pass over a batch of rows.

        The first call fixes the scaling, the size of the network and what
        `column_summary_` shows, so its rows, at least two, should represent the table.
        Later calls take one row or more. There is no validation and no early stopping.
        The state of the optimiser is kept between calls, in a pickle or copy too.

        Parameters
        ----------
        X : DataFrame or array-like of shape (n_samples, n_features)
            Finite numbers, text, categories or dates; missing values are NaN, None
            or what the library has for them.
        y : ignored
            Present for compatibility.
        sample_weight : array-like of shape (n_samples,), default=None
            Non-negative weights. Only their ratios within the batch matter.

        Returns
        -------
        self
            The updated estimator.

        Raises
        ------
        TypeError, ValueError
            As `fit`, and for rows with other columns than those of the first call.
        """
        check_parameters(self)
        return self._fit(
            X,
            sample_weight,
            "partial_fit",
            resume=hasattr(self, "module_"),
            max_iter=1,
            validation_fraction=0,
        )

    def transform(self, X: Any, return_std: bool = False) -> Any:
        """Encode rows: the mean of the posterior of their codes.

        Parameters
        ----------
        X : DataFrame or array-like of shape (n_samples, n_features)
            Rows.
        return_std : bool, default=False
            Whether to return the standard deviations of the posterior as well.

        Returns
        -------
        codes : ndarray of shape (n_samples, n_components_)
            In the dtype of X.
        standard_deviations : ndarray of shape (n_samples, n_components_)
            Only if `return_std` is true.

        Raises
        ------
        TypeError, ValueError
            For rows with other columns than those of the fit, infinite numbers, counts
            that are negative or fractional, and a category that it never saw, unless
            `handle_unknown` says otherwise.
        """
        table = self._checked(X, "transform")
        encoder = self._inference_module(table.dtype).encoder
        scaling = self._scaling()

        def posterior(rows: Tensor) -> Tensor:
            scaled = scaling.transform(rows)
            if not return_std:
                return encoder.mean(scaled)
            mean, log_variance = encoder(scaled)
            return torch.cat([mean, (0.5 * log_variance).exp()], dim=1)

        encoded = self._in_chunks(posterior, table)
        if not return_std:
            return from_tensor(encoded, X)
        codes, standard_deviations = encoded.chunk(2, dim=1)
        return from_tensor(codes, X), from_tensor(standard_deviations, X)

    def inverse_transform(self, X: Any) -> Any:
        """Decode codes: the expected row of each, in the units of the table.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_components_)
            Codes.

        Returns
        -------
        ndarray or DataFrame of shape (n_samples, n_features_in_)
            Means of columns of numbers (medians, where the scale is logarithmic),
            probabilities of Bernoulli columns, most probable categories and expected
            counts. For a model fitted to a data frame, one of the same library, names
            and dtypes: numbers are rounded to what the dtype holds, probabilities to
            0 and 1.

        Raises
        ------
        ValueError
            For codes of another shape, or that are not finite.
        """
        check_is_fitted(self)
        codes = to_tensor(check_array(X, dtype=float_dtypes(X)))
        if codes.shape[1] != self.n_components_:
            raise ValueError(
                f"Codes must have shape (n_samples, {self.n_components_}), got "
                f"{tuple(codes.shape)}. Pass what transform returned."
            )
        module = self._inference_module(codes.dtype)
        scaling = self._scaling()

        def decode(chunk: Tensor) -> Tensor:
            parameters = module.decoder(chunk)
            return module.likelihood.mean(parameters, scaling.largest_shares)

        rows = self._in_chunks(decode, codes)
        if self._table_schema().library != "array":
            # Codes of float32 are exact enough, but not dates and large whole numbers.
            rows = rows.cpu().double()
        table = self._in_chunks(scaling.inverse_transform, rows)
        return self._user_table(table, X)

    def score_samples(self, X: Any) -> Any:
        """Return the log-likelihood of every row.

        It is the importance-weighted bound [1]_ with `n_importance_samples` draws from
        a Gaussian that two Gauss-Newton steps fit to the posterior of the row, or six
        where counts are far above their rates. Where Student t values lie far out, a
        second start and more steps look for a better one. A fifth of the draws are from
        the prior for a row with gaps, and where the two starts do not end alike. All
        rows share the noise: a row scores the same alone and in any batch.

        Parameters
        ----------
        X : DataFrame or array-like of shape (n_samples, n_features)
            Rows.

        Returns
        -------
        ndarray of shape (n_samples,), float64
            In nats, of the units of the table (days for dates): the Jacobian of the
            scaling is included. For a row with missing values, the log-likelihood of
            the observed ones.

        Raises
        ------
        TypeError, ValueError
            As `transform`, and for other values than 0 and 1 in a Bernoulli column.

        References
        ----------
        .. [1] Burda, Grosse & Salakhutdinov (2016). "Importance weighted
           autoencoders." ICLR. Eq. 8.
        """
        table = self._checked_exactly(X, "score_samples")
        scaling = self._scaling()
        module = self._inference_module(table.dtype)
        noise = self._importance_noise()

        def log_likelihood(rows: Tensor) -> Tensor:
            scaled = scaling.transform(rows)
            bound = importance_weighted_bound(module, scaled, noise.to(rows))
            return bound + scaling.log_slope(rows, scaled)

        def are_far(rows: Tensor) -> Tensor:
            return are_far_out(module, scaling.transform(rows)).int()

        # Rows that need a second look share what a decoder does once a call.
        order = self._in_chunks(are_far, table).argsort(stable=True)
        chunk = rows_at_once(module, len(noise), module.widest_layer)
        ordered = self._in_chunks(log_likelihood, table[order], chunk)
        return from_tensor(ordered[order.argsort()], X)

    def score(self, X: Any, y: Any = None) -> float:
        """Return the mean log-likelihood of rows, in nats.

        Parameters
        ----------
        X : DataFrame or array-like of shape (n_samples, n_features)
            Rows.
        y : ignored
            Present for compatibility.

        Returns
        -------
        float
            Mean of `score_samples`.

        Raises
        ------
        TypeError, ValueError
            As `score_samples`.
        """
        return float(to_tensor(self.score_samples(X)).mean())

    def sample(
        self,
        n_samples: int = 1,
        random_state: int | np.random.RandomState | None = None,
    ) -> Any:
        """Draw rows from the model.

        Parameters
        ----------
        n_samples : int, default=1
            Number of rows.
        random_state : int, RandomState instance or None, default=None
            Source of the draws.

        Returns
        -------
        ndarray of float64, or DataFrame, of shape (n_samples, n_features_in_)
            Rows in the units of the table, in its form, without missing values.
            Numbers and ordered levels are in the range of those of the fit, with no
            more decimals than they have. Dates without a time of day in UTC get none.
        """
        check_is_fitted(self)
        check_scalar(n_samples, "n_samples", Integral, min_val=1)
        generator = torch.Generator().manual_seed(draw_seed(random_state))
        module = deepcopy(self.module_).double()
        chunk = max(1, LAYER_CHUNK // module.widest_layer)
        with torch.no_grad():
            codes = module.prior.sample(int(n_samples), generator)
            parts = (module.decoder(each) for each in codes.split(chunk))
            rows = [module.likelihood.sample(each, generator) for each in parts]
            table = self._scaling().inverse_transform(torch.cat(rows), generator)
        return self._user_table(self._as_seen(table), None)

    @property
    def n_components_(self) -> int:
        """Number of latent units."""
        return self.module_.architecture.n_components

    @property
    def inverse_lipschitz_(self) -> float:
        """Constant certified by the parameters of the fitted decoder."""
        return self.module_.decoder.inverse_lipschitz()

    def _fit(
        self,
        X: Any,
        sample_weight: Any,
        method: str,
        *,
        resume: bool,
        max_iter: int,
        validation_fraction: float,
    ) -> Self:
        context = self._init_callback_context(max_subtasks=max_iter)
        # Training needs gradients and precision, also where the user's own code does
        # without.
        with unchanged_on_error(self), torch.inference_mode(False), torch_defaults():
            context.call_on_fit_task_begin(estimator=self)
            table = read_training_table(
                self, X, sample_weight, method, self if resume else None
            )
            device = training_device(self.device, torch.float32)
            seed = draw_seed(self.random_state)
            # A warm start validates on the same rows, also where no seed is given: the
            # network knows the others.
            validated = draw_held_out(
                len(table.rows),
                validation_fraction,
                self._noise_seed if resume else seed,
                least_kept=1,
            ).to(table.weights.device)
            if resume:
                self._resume(table)
            else:
                self._start(table, validated, seed)
            rows = self._scaling().transform(table.rows).float().to(device)
            training, validation = split_validation(rows, table.weights, validated)
            # A warm start goes on with other noise than before.
            generator = torch.Generator(device).manual_seed(seed + self.n_iter_)
            noise = shared_noise(VALIDATION_DRAWS, self.n_components_, self._noise_seed)
            module = deepcopy(self.module_).to(device)
            parameters, names = vars(self), self._column_names()
            with divergence_explained(rows, self.likelihood_, parameters, names):
                result = train(
                    module,
                    training,
                    validation,
                    noise[:, None].to(rows),
                    self._training_settings(len(training), max_iter),
                    generator,
                    epoch_hooks(self, context),
                    deepcopy(self._optimizer_state),
                )
            self._unit_divergences = (
                divergences_of_units(module, training.rows) if method == "fit" else None
            )
            self.module_ = module.cpu().eval()
            self._continue_curves(result)
            self._optimizer_state = result.optimizer_state
            context.call_on_fit_task_end(estimator=self)
        return self

    def _start(self, table: TrainingTable, validated: Tensor, seed: int) -> None:
        """Begin anew, with a network at the linear model of the table."""
        scaling = table.scaling(
            self.max_categories, self._family_of_numbers, self.power_transform
        )
        self._keep_columns(table, scaling)
        self.module_ = start_model(
            scaling.transform(table.rows),
            # To start from rows to validate on would favour the start over all epochs.
            table.weights.masked_fill(validated, 0),
            scaling.likelihood,
            scaling.n_levels,
            **self._network(),
            seed=seed,
        )
        self.n_iter_ = 0
        self.loss_curve_ = []
        self.validation_scores_ = []
        self._noise_seed = seed
        self._optimizer_state = None

    def _resume(self, table: TrainingTable) -> None:
        """Make ready to go on with the present network, on a table that fits it."""
        known = self._scaling()
        check_same_network(self.module_.architecture, **self._network())
        check_same_columns(self._table_schema(), known, self)
        check_support(table.rows, known.likelihood, self._column_names())
        self.scale_ = from_tensor(known.thawed(table.rows).scale, table.source)
        self._keep_seen(table, before=to_tensor(self._seen))

    def _continue_curves(self, result: TrainingResult) -> None:
        """Add the epochs of a training to those of earlier calls."""
        before, added = self.validation_scores_, result.validation_scores
        if before or added:
            before = before or [nan] * self.n_iter_
            added = added or [nan] * len(result.loss_curve)
        self.validation_scores_ = before + added
        self.n_iter_ += len(result.loss_curve)
        self.loss_curve_ = self.loss_curve_ + result.loss_curve

    def _network(self) -> dict[str, Any]:
        return {
            "decoder": self.decoder,
            "n_components": self.n_components,
            "inverse_lipschitz": self.inverse_lipschitz,
            "hidden_layer_sizes": self.hidden_layer_sizes,
            "activation": self.activation,
            "n_mixture_components": self.n_mixture_components
            if self.prior == "mixture"
            else 0,
        }

    def _training_settings(self, n_rows: int, max_iter: int) -> TrainingSettings:
        batch_size = choose_batch_size(self.batch_size, n_rows)
        return TrainingSettings(
            learning_rate_init=self.learning_rate_init,
            batch_size=batch_size,
            max_iter=max_iter,
            n_iter_no_change=choose_patience(self.n_iter_no_change, n_rows, batch_size),
            tol=self.tol,
            kl_weight=self.kl_weight,
            verbose=int(self.verbose),
        )

    def _inference_module(self, dtype: torch.dtype) -> VariationalAutoencoder:
        device = inference_device(self.device, dtype)
        return converted(self.module_, device, dtype)

    def _in_chunks(
        self,
        function: Callable[[Tensor], Tensor],
        rows: Tensor,
        size: int = TRANSFORM_CHUNK,
    ) -> Tensor:
        return in_chunks_on(
            inference_device(self.device, rows.dtype), function, rows, size
        )

    def _autoencoder(self) -> Self:
        return self

    def _fit_summary(self) -> str:
        return summary_of_autoencoder(self)

    @property
    def _n_features_out(self) -> int:
        return self.n_components_

    def __sklearn_is_fitted__(self) -> bool:
        """Return whether there is a network."""
        return hasattr(self, "module_")

    def __sklearn_tags__(self) -> Any:
        """Declare that floats keep their dtype and that array-API input is welcome."""
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        tags.array_api_support = True
        tags.input_tags.allow_nan = True
        tags.input_tags.categorical = True
        return tags

    def __getstate__(self) -> dict[str, Any]:
        """Return parameters and fitted values, all of torch's as arrays by name."""
        state = dict(super().__getstate__())
        if "module_" in state:
            state["module_"] = module_to_arrays(state["module_"])
        if state.get("_optimizer_state") is not None:
            state["_optimizer_state"] = state["_optimizer_state"].to_arrays()
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Rebuild the network and the state of its optimiser from their arrays."""
        state = dict(state)
        if "module_" in state:
            state["module_"] = module_from_arrays(state["module_"])
        if state.get("_optimizer_state") is not None:
            moments = OptimizerState.from_arrays(state["_optimizer_state"])
            state["_optimizer_state"] = moments
        super().__setstate__(state)
