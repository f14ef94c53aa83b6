"""
==================================================
Hamiltonian Monte Carlo where there is no gradient
==================================================

Hamiltonian Monte Carlo crosses a distribution in long strides, but needs the gradient
of its log-density. Where the density comes from a simulator there is none. We learn the
gradient from the samples of a slow chain, and let the fast one use it: an experiment in
the manner of Li & Turner (2018).

Nothing is lost in exactness. The estimated gradient only proposes moves; whether to
accept them is decided with the density itself.
"""

# sphinx_gallery_thumbnail_number = 2
import matplotlib.pyplot as plt
import numpy as np

from sklearn_ilvae import SteinScoreEstimator
from sklearn_ilvae.inspection import ScoreFieldDisplay


def log_density(rows):
    """A banana, up to a constant: pretend that it is a black box."""
    first, second = rows[:, 0], rows[:, 1]
    return -0.5 * (first**2 / 4 + (second - first**2 / 2 + 2) ** 2)


# %%
# A random walk, in 150 chains at once. It needs densities only, and stays close to
# where it was: neighbours in a chain are nearly the same.


def random_walk(start, n_steps, rng, width=0.8):
    states, here, density = [], start, log_density(start)
    for _ in range(n_steps):
        proposal = here + width * rng.standard_normal(here.shape)
        new_density = log_density(proposal)
        accept = np.log(rng.random(len(here))) < new_density - density
        here = np.where(accept[:, None], proposal, here)
        density = np.where(accept, new_density, density)
        states.append(here)
    return np.stack(states)


rng = np.random.default_rng(0)
start = rng.standard_normal((150, 2))
pilot = random_walk(start, 500, rng)

# %%
# The score is learned from the later part of every chain, thinned.

sample = pilot[300::30].reshape(-1, 2)
estimator = SteinScoreEstimator(random_state=0).fit(sample)
print(f"learned from {len(sample)} states:", estimator.kernel_, estimator.form_)
ScoreFieldDisplay.from_estimator(estimator, sample)

# %%
# Hamiltonian Monte Carlo with leapfrog steps. A leapfrog step preserves volume and can
# be reversed whatever field drives it, so accepting by the true energy keeps the true
# distribution invariant. The length of the steps is drawn anew each time: the ends of
# the banana are narrow, and long steps alone would neither get in nor out.


def hamiltonian(start, n_steps, rng, longest=0.3, n_leaps=12):
    states, accepted, here = [], [], start
    for _ in range(n_steps):
        step = longest * rng.uniform(0.2, 1.0)
        momentum = rng.standard_normal(here.shape)
        before = log_density(here) - 0.5 * np.square(momentum).sum(1)
        place = here
        momentum = momentum + 0.5 * step * estimator.score_gradient(place)
        for leap in range(n_leaps):
            place = place + step * momentum
            half = 0.5 if leap == n_leaps - 1 else 1.0
            momentum = momentum + half * step * estimator.score_gradient(place)
        after = log_density(place) - 0.5 * np.square(momentum).sum(1)
        accept = np.log(rng.random(len(here))) < after - before
        here = np.where(accept[:, None], place, here)
        states.append(here)
        accepted.append(accept.mean())
    return np.stack(states), np.mean(accepted)


chains, acceptance = hamiltonian(pilot[-1], 250, rng)
walks = random_walk(pilot[-1], 250, rng)
print(f"accepted: {acceptance:.0%}")

# %%
# Each of these steps costs one density, in both chains. How long do they remember? The
# autocorrelation of the first coordinate, over all chains:


def autocorrelation(states, lags):
    first = states[:, :, 0] - states[:, :, 0].mean()
    return [(first[: len(first) - lag] * first[lag:]).mean() for lag in lags] / (
        np.square(first).mean()
    )


lags = np.arange(60)
figure, (left, right) = plt.subplots(1, 2, figsize=(10, 4), layout="constrained")
left.plot(
    lags, autocorrelation(walks, lags), "--", color="#ee6677", label="random walk"
)
left.plot(
    lags,
    autocorrelation(chains, lags),
    color="#4477aa",
    label="Hamiltonian, estimated score",
)
left.axhline(0, color="black", linewidth=0.8)
left.set(
    title="Memory of the chains",
    xlabel="lag (steps, each one density)",
    ylabel="autocorrelation of x0",
)
left.legend()
right.plot(*walks[:60, 0].T, ".--", color="#ee6677", label="random walk")
right.plot(*chains[:60, 0].T, ".-", color="#4477aa", label="Hamiltonian")
right.set(title="Sixty steps of one chain", xlabel="x0", ylabel="x1")
right.legend()
plt.show()

# %%
# The moments of the target are known: the first coordinate has variance 4 and the
# second mean 0, which is what a sampler that is exact must find, up to the noise of its
# chains.

for name, states in [("random walk", walks), ("Hamiltonian", chains)]:
    flat = states.reshape(-1, 2)
    variance, mean = flat[:, 0].var(), flat[:, 1].mean()
    print(f"{name:<12} variance of x0 {variance:.2f}, mean of x1 {mean:.2f}")
