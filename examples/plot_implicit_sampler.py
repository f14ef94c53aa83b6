"""
===========================================
Training a sampler whose density is unknown
===========================================

A network that turns noise into rows is a sampler, but its density is not known, nor
therefore its entropy. So it cannot be trained by maximising ``E log p(x) + H``, and
without the entropy it puts all rows at the mode. The Stein estimate of the score gives
the gradient of the entropy from the samples of each step (Li & Turner 2018), through
`sklearn_ilvae.stein.entropy_surrogate`.
"""

import matplotlib.pyplot as plt
import numpy as np
import torch

from sklearn_ilvae.metrics import kernel_stein_discrepancy
from sklearn_ilvae.stein import entropy_surrogate

torch.manual_seed(0)

# %%
# The target is known up to a constant: a ring of four clusters.

centres = torch.tensor([[2.0, 0.0], [0.0, 2.0], [-2.0, 0.0], [0.0, -2.0]])


def log_target(rows):
    squares = (rows[:, None] - centres).square().sum(-1)
    return torch.logsumexp(-0.5 * squares / 0.5**2, dim=1)


# %%
# The sampler is any torch module: here a small network on four-dimensional noise. Its
# loss is the expected energy, less the surrogate, whose gradient estimates that of the
# entropy. Its value means nothing.


def train(weight_of_entropy, n_steps=1200):
    torch.manual_seed(0)
    sampler = torch.nn.Sequential(
        torch.nn.Linear(4, 64),
        torch.nn.ELU(),
        torch.nn.Linear(64, 64),
        torch.nn.ELU(),
        torch.nn.Linear(64, 2),
    )
    optimiser = torch.optim.Adam(sampler.parameters(), lr=2e-3)
    for _ in range(n_steps):
        rows = sampler(torch.randn(100, 4))
        entropy = entropy_surrogate(rows, regularization=0.05)
        loss = -log_target(rows).mean() - weight_of_entropy * entropy
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    with torch.no_grad():
        return sampler(torch.randn(1000, 4))


with_entropy, without = train(1.0), train(0.0)

# %%
# With the entropy the sampler covers the target; without it, all rows are alike.

figure, axes = plt.subplots(
    1, 2, figsize=(9, 4.2), sharex=True, sharey=True, layout="constrained"
)
grid = torch.linspace(-4, 4, 100)
plane = torch.cartesian_prod(grid, grid)
density = log_target(plane).exp().reshape(100, 100).T
for ax, rows, title in [
    (axes[0], with_entropy, "with the Stein gradient of the entropy"),
    (axes[1], without, "energy alone"),
]:
    ax.contour(grid, grid, density, colors="black", linewidths=0.7, linestyles="--")
    ax.scatter(*rows.T, s=8, linewidths=0, alpha=0.6, color="#4477aa")
    ax.set(title=title, xlabel="x0", ylabel="x1", aspect="equal")
plt.show()

# %%
# How good is it? The kernel Stein discrepancy compares a sample with a density through
# the score of the density alone: 0 for a perfect sample.


def score_of_target(rows):
    rows = rows.clone().requires_grad_()
    return torch.autograd.grad(log_target(rows).sum(), rows)[0]


exact = centres[torch.randint(4, (1000,))] + 0.5 * torch.randn(1000, 2)
for name, rows in [
    ("exact draws", exact),
    ("with entropy", with_entropy),
    ("energy alone", without),
]:
    # Rows that are all alike have no median distance: one bandwidth for all.
    discrepancy = kernel_stein_discrepancy(
        rows.numpy(), score_of_target(rows).numpy(), bandwidth=1.0
    )
    shares = np.bincount(torch.cdist(rows, centres).argmin(1), minlength=4) / len(rows)
    print(f"{name:<13} discrepancy {discrepancy:7.3f}   share of clusters {shares}")
