"""Detectors to compare: ours, its ablations, scikit-learn's and PyOD's.

Every entry is a function of a seed and the number of columns, returning a detector with
``fit(training)`` and ``abnormality(rows)``, where larger is more abnormal. Ours takes a
table as it is, and its functions also parameters by name. Peers get standardised rows
and settings that their authors or the literature recommend.
"""

from collections.abc import Callable
from functools import partial
from importlib import import_module
from typing import Any

import numpy as np
from sklearn.covariance import EllipticEnvelope
from sklearn.ensemble import IsolationForest
from sklearn.mixture import GaussianMixture
from sklearn.neighbors import LocalOutlierFactor, NearestNeighbors
from sklearn.preprocessing import StandardScaler
from sklearn.svm import OneClassSVM

from sklearn_ilvae import ILVAEOutlierDetector

N_NEIGHBORS = 5


class Standardised:
    """A detector of rows in standard deviations of the training rows."""

    def __init__(self, detector: Any) -> None:
        self.detector = detector

    def fit(self, training: np.ndarray) -> None:
        """Fit to the training rows."""
        self.training, self.scaler = training, StandardScaler().fit(training)
        self.scaled = self.scaler.transform(training)
        self.detector.fit(self.scaled)

    def abnormality(self, rows: np.ndarray) -> np.ndarray:
        """Return what the detector does; it knows the training rows again."""
        same = rows is self.training
        return self.detector.abnormality(
            self.scaled if same else self.scaler.transform(rows)
        )


class Scored:
    """A detector of scikit-learn, whose scores are larger for normal rows."""

    def __init__(self, model: Any) -> None:
        self.model = model

    def fit(self, training: np.ndarray) -> None:
        """Fit to the training rows."""
        self.model.fit(training)

    def abnormality(self, rows: np.ndarray) -> np.ndarray:
        """Return scores of rows."""
        return -self.model.score_samples(rows)


class Pyod(Scored):
    """A detector of PyOD, whose scores are larger for abnormal rows."""

    def abnormality(self, rows: np.ndarray) -> np.ndarray:
        """Return scores of rows."""
        return self.model.decision_function(rows)


class Neighbours:
    """Distances to the nearest training rows; a row is not its own neighbour."""

    def __init__(self, squared: bool) -> None:
        self.squared = squared

    def fit(self, training: np.ndarray) -> None:
        """Keep the rows."""
        self.training = training
        self.index = NearestNeighbors(n_neighbors=N_NEIGHBORS).fit(training)

    def abnormality(self, rows: np.ndarray) -> np.ndarray:
        """Return the mean squared distance, or that to the last neighbour."""
        same = rows is self.training
        distances, _ = self.index.kneighbors(None if same else rows)
        return (distances**2).mean(1) if self.squared else distances[:, -1]


class LocalFactor:
    """Local outlier factor, of its own rows or of new ones."""

    def fit(self, training: np.ndarray) -> None:
        """Keep the rows."""
        self.training = training
        self.model = LocalOutlierFactor(n_neighbors=20, novelty=True).fit(training)

    def abnormality(self, rows: np.ndarray) -> np.ndarray:
        """Return the factor."""
        if rows is self.training:
            return -self.model.negative_outlier_factor_
        return -self.model.score_samples(rows)


class Mixture:
    """Gaussian mixture whose number of components the BIC chooses."""

    def __init__(self, seed: int) -> None:
        self.seed = seed

    def fit(self, training: np.ndarray) -> None:
        """Fit 1, 2, 4, 8 and 16 components."""
        models = [
            GaussianMixture(k, reg_covar=1e-3, random_state=self.seed).fit(training)
            for k in (1, 2, 4, 8, 16)
            if k * N_NEIGHBORS < len(training)
        ]
        self.model = min(models, key=lambda model: model.bic(training))

    def abnormality(self, rows: np.ndarray) -> np.ndarray:
        """Return the negative log-density."""
        return -self.model.score_samples(rows)


def ours(seed: int, n_features: int, **changes: Any) -> Scored:
    if changes.get("inverse_lipschitz") == "none":
        changes = {"decoder": "mlp"}
    return Scored(ILVAEOutlierDetector(random_state=seed, device="cpu", **changes))


def pyod(module: str, name: str, seeded: bool = False, **settings: Any) -> Callable:
    """Return a maker of a PyOD detector; PyOD is imported when it is called."""

    def make(seed: int, n_features: int) -> Pyod:
        kind = getattr(import_module(f"pyod.models.{module}"), name)
        chosen = {
            key: value(n_features) if callable(value) else value
            for key, value in settings.items()
        }
        if seeded:
            chosen["random_state"] = seed
        return Pyod(kind(**chosen))

    return make


def half(n_features: int, share: float = 0.5) -> int:
    return max(2, min(64, round(share * n_features)))


DEFAULT = "ILVAE"
ABLATIONS = {
    "without inverse-Lipschitz decoder": {"inverse_lipschitz": "none"},
    "standard normal prior": {"prior": "standard_normal"},
    "without trimming": {"support_fraction": 1.0},
    "without neighbours": {"n_neighbors": 0},
    "zeros and ones as numbers": {"likelihood": "gaussian"},
    "support_fraction=0.75": {"support_fraction": 0.75},
    **{f"L={L}": {"inverse_lipschitz": L} for L in (0.0, 0.1, 0.25, 0.5, 1.0)},
}

CLASSICAL: dict[str, Callable] = {
    "IsolationForest": lambda seed, _: Scored(IsolationForest(random_state=seed)),
    "LOF": lambda *_: LocalFactor(),
    "kNN 5th": lambda *_: Neighbours(squared=False),
    "kNN mean squared": lambda *_: Neighbours(squared=True),
    "OneClassSVM": lambda *_: Scored(OneClassSVM(nu=0.1, gamma="scale")),
    "EllipticEnvelope": lambda seed, _: Scored(EllipticEnvelope(random_state=seed)),
    "GaussianMixture BIC": lambda seed, _: Mixture(seed),
    "ECOD": pyod("ecod", "ECOD"),
    "COPOD": pyod("copod", "COPOD"),
    "HBOS": pyod("hbos", "HBOS"),
    "INNE": pyod("inne", "INNE", seeded=True),
}

DEEP: dict[str, Callable] = {
    "PyOD VAE": pyod(
        "vae",
        "VAE",
        seeded=True,
        epoch_num=50,
        latent_dim=half,
        encoder_neuron_list=[64, 32],
        decoder_neuron_list=[32, 64],
        verbose=0,
    ),
    "PyOD AutoEncoder": pyod(
        "auto_encoder",
        "AutoEncoder",
        seeded=True,
        epoch_num=50,
        hidden_neuron_list=[64, 32],
        verbose=0,
    ),
    "PyOD DeepSVDD": pyod(
        "deep_svdd",
        "DeepSVDD",
        seeded=True,
        n_features=lambda n_features: n_features,
        epochs=50,
        verbose=0,
    ),
}


def standardised(make: Callable) -> Callable:
    """Return a maker of the same detector for standardised rows."""
    return lambda seed, n_features: Standardised(make(seed, n_features))


OURS = (DEFAULT, *ABLATIONS)
DETECTORS: dict[str, Callable] = {
    DEFAULT: ours,
    **{name: partial(ours, **changes) for name, changes in ABLATIONS.items()},
    **{name: standardised(make) for name, make in (CLASSICAL | DEEP).items()},
}
GROUPS = {
    "default": [DEFAULT],
    "ablations": list(ABLATIONS),
    "classical": list(CLASSICAL),
    "deep": list(DEEP),
}


def chosen_models(names: list[str]) -> list[str]:
    """Return names of detectors, in the place of names of groups."""
    return [model for name in names for model in GROUPS.get(name, [name])]
