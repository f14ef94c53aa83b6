"""
==================
Comparing decoders
==================

Five families of decoder share one interface. Four certify their inverse-Lipschitz
constant, each in its own way; the fifth, an ordinary network, certifies nothing. We fit
all to the same table and compare what they cost and what they give.
"""

from time import perf_counter

import matplotlib.pyplot as plt
from sklearn.datasets import load_breast_cancer
from sklearn.model_selection import train_test_split

from sklearn_ilvae import ILVAETransformer
from sklearn_ilvae.inspection import TrainingCurveDisplay
from sklearn_ilvae.metrics import kl_per_unit

train, test = train_test_split(load_breast_cancer().data, random_state=0)
families = ["anchored", "anchored_warped", "gradient_network", "brenier", "mlp"]

# %%
# The unconstrained decoder takes no L, all others the same. The table shows the
# constant that the fitted weights certify (at least the one asked for), the divergence
# of the weakest unit, the log-likelihood of unseen tumours, and the time of an epoch.
# The first fit of a process takes longer: it goes before the table.

ILVAETransformer(max_iter=10, random_state=0).fit(train)

figure, axes = plt.subplots(
    2, 3, figsize=(10, 6), sharex=True, sharey=True, layout="constrained"
)
axes[1, 2].set_axis_off()
print(
    f"{'decoder':<18}{'certified L':>12}{'weakest KL':>12}{'test':>8}{'ms/epoch':>10}"
)
for family, ax in zip(families, axes.flat, strict=False):
    model = ILVAETransformer(
        n_components=6,
        decoder=family,
        inverse_lipschitz="auto" if family == "mlp" else 0.25,
        max_iter=40,
        random_state=0,
    )
    start = perf_counter()
    model.fit(train)
    milliseconds = 1000 * (perf_counter() - start) / model.n_iter_
    print(
        f"{family:<18}{model.inverse_lipschitz_:>12.2f}"
        f"{kl_per_unit(model, test).min():>12.2f}{model.score(test):>8.1f}"
        f"{milliseconds:>10.1f}"
    )
    TrainingCurveDisplay.from_estimator(model, ax=ax)
    ax.set_title(family)
    ax.label_outer()
plt.show()

# %%
# ``"anchored"``, the default, constrains the map along as many directions of the table
# as there are units and is free across them. ``"gradient_network"`` and ``"brenier"``,
# the construction of the paper, constrain all of it: gradients of convex functions on
# both sides of one linear map, with nothing free. Compare their likelihoods above.
# ``"anchored_warped"`` adds a monotone map of the data space, for a little more time.
# One table and one seed settle nothing: the :doc:`comparison </comparison>` says how to
# run the benchmark over many.
