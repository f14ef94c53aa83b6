"""
====================
Outliers and reasons
====================

442 patients with diabetes, ten measurements each. We make three of them impossible,
find them without being told, and ask why each was found. How to bound the share of
false alarms is another lesson: :doc:`plot_calibrated_alarms`.
"""

import matplotlib.pyplot as plt
from sklearn.datasets import load_diabetes

from sklearn_ilvae import ILVAEOutlierDetector
from sklearn_ilvae.inspection import (
    FeatureContributionsDisplay,
    ScoreHistogramDisplay,
)

patients = load_diabetes(as_frame=True, scaled=False).data
patients.loc[10, "bmi"] = 70.0  # a slip: 27.0
patients.loc[20, ["s1", "s2"]] = patients.loc[20, ["s2", "s1"]].to_numpy()  # swapped
patients.loc[30, "bp"] = 8.4  # a misplaced point
spoilt = [10, 20, 30]

# %%
# No scaling, no labels, no tuning. Rows far from the bulk count less in training, so
# the mistakes do not teach the model that they are normal.

detector = ILVAEOutlierDetector(random_state=0).fit(patients)
found = patients.index[detector.predict(patients) == -1]
print(f"{len(found)} of {len(patients)} patients are called outliers")
print("spoilt rows among them:", [row for row in spoilt if row in found])

# %%
# The default draws the line like a box plot. If you only have time to look at ten rows,
# move it, without a new fit.

detector.set_threshold(contamination=10 / len(patients))
ranks = detector.score_samples(patients).argsort().argsort()
print("ranks of the spoilt rows:", {row: int(ranks[row]) + 1 for row in spoilt})

# %%
# Why? The score of a row is exactly the sum of one term a column and one for its code.
# ``surprise`` compares each with the typical patient, in nats, the unit of a
# log-density. A large term of the code means that the columns are odd together.

for row in spoilt:
    print(f"\npatient {row}")
    detector.explain(patients.loc[row], n_features=3)

# %%
# All reasons at once, as a frame.

contributions = detector.feature_contributions(patients)
gap = abs(contributions.sum(axis=1) - detector.score_samples(patients)).max()
print(f"\nterms and scores differ by {gap:.1e} at most")

# %%
# The score of every patient, with the threshold for ten rows.

ScoreHistogramDisplay.from_estimator(detector, patients)

# %%
# The reasons for the three mistakes, as pictures. Red bars made the row abnormal.

FeatureContributionsDisplay.from_estimator(
    detector, patients.loc[spoilt], max_features=5
)
plt.show()
