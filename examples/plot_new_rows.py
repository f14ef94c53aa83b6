"""
==================
New rows like mine
==================

A fitted model draws rows. Do they look like the table? We compare columns one by one,
then pairs, and finally ask a classifier to tell drawn rows from real ones.
"""

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_wine
from sklearn.ensemble import RandomForestClassifier
from sklearn.model_selection import StratifiedKFold, cross_val_score

from sklearn_ilvae import ILVAETransformer

wine = load_wine(as_frame=True).data
model = ILVAETransformer(n_components=6, random_state=0, max_iter=200).fit(wine)
drawn = model.sample(len(wine), random_state=0)

# %%
# Codes are drawn from the learned prior, decoded, and given the noise of each column.
# All that is in the units and in the form of the table: a data frame like the first.

print(f"{'column':<30}{'mean':>10}{'drawn':>10}{'spread':>10}{'drawn':>10}")
for name in wine:
    real, new = wine[name], drawn[name]
    print(
        f"{name:<30}{real.mean():>10.2f}{new.mean():>10.2f}"
        f"{real.std():>10.2f}{new.std():>10.2f}"
    )

# %%
# Pairs of columns show what the table of means cannot: whether columns move together as
# they should.

figure, axes = plt.subplots(1, 3, figsize=(11, 3.6), layout="constrained")
pairs = [("alcohol", "proline"), ("flavanoids", "color_intensity"), ("hue", "ash")]
for ax, (first, second) in zip(axes, pairs, strict=True):
    ax.scatter(wine[first], wine[second], s=12, color="#4477aa", label="table")
    ax.scatter(
        drawn[first], drawn[second], s=12, marker="^", color="#ee6677", label="drawn"
    )
    ax.set(title=f"{second} against {first}", xlabel=first, ylabel=second)
axes[0].legend()
plt.show()

# %%
# The hard test: a forest that learns to tell drawn rows from real ones. An accuracy of
# a half means that it cannot; with so few rows it may fall below that by chance.

rows = np.concatenate([wine, drawn])
is_drawn = np.repeat([0, 1], len(wine))
folds = StratifiedKFold(5, shuffle=True, random_state=0)
forest = RandomForestClassifier(random_state=0)
accuracy = cross_val_score(forest, rows, is_drawn, cv=folds).mean()
print(f"accuracy of telling drawn from real: {accuracy:.2f}")
