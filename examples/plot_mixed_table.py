"""
=====================================
A table of categories, dates and gaps
=====================================

A data frame as people have it goes in as it is. We look at what became of its columns,
fill its gaps, draw new rows, and find the most unusual real one.
"""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

from sklearn_ilvae import ILVAEOutlierDetector, ILVAETransformer
from sklearn_ilvae.inspection import ColumnSummaryDisplay, MissingnessDisplay

rng = np.random.default_rng(0)
n_people = 300
age = rng.uniform(18, 90, n_people)
fitness = rng.standard_normal(n_people) - (age - 54) / 40
levels = np.array(["poor", "fair", "good"])
people = pd.DataFrame(
    {
        "age": age.round(1),
        "joined": pd.Timestamp("2024-06-01")
        - pd.to_timedelta((age - 17) * 60 * rng.uniform(0.8, 1.2, n_people), unit="D"),
        "sport": np.where(
            fitness > 0.5, "running", np.where(fitness > -0.7, "cycling", "none")
        ),
        "health": pd.Categorical.from_codes(
            np.digitize(fitness + 0.4 * rng.standard_normal(n_people), [-0.8, 0.5]),
            levels,
            ordered=True,
        ),
        "visits": pd.array(rng.poisson(np.exp(0.8 - 0.6 * fitness)), dtype="Int64"),
    }
)
truth = people.copy()
for column in people:
    people.loc[rng.random(n_people) < 0.15, column] = None
people.head()

# %%
# One call. Counts are asked for by name; all else follows from the dtypes. Few epochs
# keep this page quick.

model = ILVAETransformer(
    n_components=3, likelihood={"visits": "poisson"}, max_iter=200, random_state=0
).fit(people)
model.column_summary_

# %%
# Where are the gaps? Every column lacks about the same share, and no columns go missing
# together more often than chance would have it.

MissingnessDisplay.from_estimator(model, people)

# %%
# Gaps are filled with what the rest of the row suggests.

filled = model.impute(people)
gone = people["health"].isna()
right = (filled["health"] == truth["health"])[gone].mean()
common = (truth["health"].mode()[0] == truth["health"])[gone].mean()
print(f"health filled in correctly: {right:.0%}; by the commonest level: {common:.0%}")

# %%
# New rows have the form of the old ones. Bars are the table and steps the drawn rows: a
# likelihood that does not suit its column would show.

drawn = model.sample(300, random_state=0)
print(drawn.head())
ColumnSummaryDisplay.from_estimator(model, people)

# %%
# Do columns belong together as they should? Here two of them, by the third.

figure, axes = plt.subplots(1, 2, sharey=True, figsize=(8, 3.5), layout="constrained")
for axis, table, title in zip(
    axes, (truth, drawn), ("real people", "drawn rows"), strict=True
):
    for level, marker, colour in zip(
        levels, "ov^", ["#4477aa", "#ee6677", "#228833"], strict=True
    ):
        part = table[table["health"] == level]
        axis.scatter(
            part["age"], part["joined"], s=8, marker=marker, color=colour, label=level
        )
    axis.set(title=title, xlabel="age (years)")
axes[0].set_ylabel("joined")
axes[1].legend(title="health")
plt.show()

# %%
# The detector takes the same table, gaps included, and says why.

people.loc[7, ["age", "joined"]] = [20.0, pd.Timestamp("2012-01-01")]
detector = ILVAEOutlierDetector(n_components=3, max_iter=200, random_state=0)
detector.fit(people)
detector.explain(people.loc[[7]])
