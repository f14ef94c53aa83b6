"""
===========
A first fit
===========

Thirty measurements of 569 breast tumours become a few latent codes. We look at what
every code says about a tumour, at the guarantee behind it, and at how well the model
describes tumours that it has not seen.
"""

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_breast_cancer
from sklearn.decomposition import FactorAnalysis
from sklearn.model_selection import train_test_split

from sklearn_ilvae import ILVAETransformer
from sklearn_ilvae.inspection import LatentMapDisplay, LatentUsageDisplay
from sklearn_ilvae.metrics import kl_per_unit

table, diagnosis = load_breast_cancer(return_X_y=True)
train, test, _, test_diagnosis = train_test_split(table, diagnosis, random_state=0)

model = ILVAETransformer(n_components=6, inverse_lipschitz=0.25, random_state=0)
codes = model.fit(train).transform(test)

print(f"{len(test)} tumours, {table.shape[1]} columns -> {codes.shape[1]} codes each")
print("first tumour:", np.round(codes[0], 2))

# %%
# A unit that has collapsed says nothing: its divergence from the prior is zero. The
# decoder guarantees that two codes a distance d apart decode to rows at least L d
# apart, so no unit can be ignored.

divergence = kl_per_unit(model, test)
print("KL of each unit, in nats:", np.round(divergence, 2))
print(f"certified L: {model.inverse_lipschitz_:.3f} standard deviations per unit")

# %%
# The log-likelihood of unseen tumours, in nats a row, next to that of a linear model.

linear = FactorAnalysis().fit(train)
print(f"test log-likelihood: {model.score(test):.2f}")
print(f"of FactorAnalysis:   {linear.score(test):.2f}")

# %%
# The diagnosis was never shown to the model; it only colours the map of the two codes
# that say most. The dashed line on the left is what L guarantees for the mean of the
# units; a single one may lie below it. Dashed lines on the right hold 50, 90 and 99% of
# the learned prior.

figure = plt.figure(figsize=(10, 4.5), layout="constrained")
left, right = figure.subplots(1, 2)
LatentUsageDisplay.from_estimator(model, test, ax=left)
said_most = np.sort(np.argsort(divergence)[::-1][:2])
names = np.array(["malignant", "benign"])
LatentMapDisplay.from_estimator(
    model, test, names[test_diagnosis], units=said_most, ax=right
)
figure.savefig("first_fit.png", dpi=120)
print("saved first_fit.png")
