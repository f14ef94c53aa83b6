"""
===========================================
The score of a distribution from its sample
===========================================

The score of a distribution is the gradient of its log-density: it points to where rows
become more probable. Many methods need it, and often there is only a sample. Here we
know the truth, so that the estimate can be judged.
"""

import matplotlib.pyplot as plt
import numpy as np

from sklearn_ilvae import SteinScoreEstimator
from sklearn_ilvae.inspection import ScoreFieldDisplay


def draw_banana(n_rows, seed):
    """A Gaussian, bent along a parabola."""
    rng = np.random.default_rng(seed)
    first, second = rng.standard_normal((2, n_rows))
    return np.column_stack([2 * first, second + first**2 - 1])


def true_score(rows):
    first, second = rows[:, 0] / 2, rows[:, 1]
    residual = second - first**2 + 1
    return np.column_stack([(-first + 2 * residual * first) / 2, -residual])


sample, fresh = draw_banana(1000, seed=0), draw_banana(2000, seed=1)

# %%
# Kernel, bandwidth and strength of the regularisation are chosen by a cross-validated
# loss that needs no density (Hyvärinen's), and so is whether a kernel is worth it at
# all: the best of three parametric families, a Gaussian, a Student t and a mixture of
# Gaussians, stands alone until it is beaten.

estimator = SteinScoreEstimator(random_state=0).fit(sample)
print("base:", estimator.base_)
print("kernel:", estimator.kernel_, estimator.form_, "bandwidth", estimator.bandwidth_)
print(f"held-out loss: {estimator.loss_:.3f}, base alone: {estimator.base_loss_:.3f}")

# %%
# Arrows show the estimate. Their colour is the size of the gradient.

ScoreFieldDisplay.from_estimator(estimator, sample)

# %%
# The error relative to the size of the true score, on fresh rows: 0 is perfect, and 1
# as bad as predicting zero everywhere. It falls as the sample grows.


def error(estimate):
    truth = true_score(fresh)
    return np.square(estimate - truth).sum() / np.square(truth).sum()


for n_rows in [100, 300, 1000]:
    part = SteinScoreEstimator(random_state=0).fit(sample[:n_rows])
    print(f"{n_rows:>5} rows: error {error(part.score_gradient(fresh)):.3f}")

# %%
# The estimator of Li & Turner (2018) as published, with its median bandwidth, is
# ``method="stein"``. It uses all rows as kernel centres, and leaves the ridge to you:
# one of these is clearly better than the estimate above, the others are about as good,
# and without the true score nothing says which.

for ridge in [0.01, 0.1, 1.0]:
    published = SteinScoreEstimator(
        "rbf", method="stein", bandwidth="median", regularization=ridge
    ).fit(sample)
    print(
        f"as published, ridge {ridge:<4}: "
        f"error {error(published.score_gradient(fresh)):.3f}"
    )

# %%
# A curl-free estimate is the gradient of a function, so it has a log-density, up to a
# constant. Along the middle of the banana it can be laid over the true one.

curl_free = SteinScoreEstimator(form="curl_free", random_state=0).fit(sample)
height = np.linspace(-4, 3, 100)
line = np.column_stack([np.zeros(100), height])
estimate = curl_free.log_density(line)
truth = -0.5 * (height + 1) ** 2
figure, ax = plt.subplots(layout="constrained")
ax.plot(height, truth - truth.max(), "k--", label="true")
ax.plot(height, estimate - estimate.max(), color="#4477aa", label="estimated")
ax.set(
    title="Log-density through the middle of the banana",
    xlabel="x1, at x0 = 0",
    ylabel="log-density, less its maximum (nats)",
)
ax.legend()
plt.show()
