"""
=================
Calibrated alarms
=================

A threshold says which rows look odd. It does not say how many of the alarms will be
false. Conformal p-values do: they turn the score of any detector, good or bad, into a
promise about false alarms. Here we calibrate a detector of malignant tumours that has
only ever seen benign ones, check the promise, and then break its assumption on purpose.
"""

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_breast_cancer

from sklearn_ilvae import ILVAEOutlierDetector

table, is_benign = load_breast_cancer(return_X_y=True)
benign, malignant = table[is_benign == 1], table[is_benign == 0]
rng = np.random.default_rng(0)
benign = benign[rng.permutation(len(benign))]
train, rest = benign[:100], benign[100:]
print(len(train), "benign tumours to learn from,", len(rest), "others")

# %%
# The detector is fitted to benign tumours that are known to be benign, so all of them
# are trusted. ``calibrate`` takes benign tumours that the training never saw.

detector = ILVAEOutlierDetector(support_fraction=1.0, random_state=0).fit(train)
detector.calibrate(rest[:157])
new_benign, new_malignant = rest[157:], malignant[:30]

# %%
# The p-value of a tumour is its rank among the calibration rows: the share of them that
# look at least as odd. A new benign tumour is as likely to have one rank as another, so
# its p-value is below t with probability t at most. That needs no good model.

benign_p = detector.p_values(new_benign)
malignant_p = detector.p_values(new_malignant)
for level in [0.01, 0.05, 0.1]:
    print(
        f"p-values of at most {level:4}: {(benign_p <= level).mean():4.0%} of benign, "
        f"{(malignant_p <= level).mean():4.0%} of malignant tumours"
    )

# %%
# The shares of benign tumours need not be below their levels here: there are a hundred
# of them, and the promise is for the mean over calibrations, to which we come next.
#
# When many rows are tested at once, a fixed level makes many false alarms. ``select``
# draws the line so that the expected share of false alarms *among the alarms* is at
# most the rate that you can bear (Benjamini and Hochberg's procedure).

new = np.concatenate([new_benign, new_malignant])
is_false = np.arange(len(new)) < len(new_benign)
alarms = detector.select(new, false_discovery_rate=0.1)
print(f"{alarms.sum()} alarms, {alarms[is_false].sum()} of them false")

# %%
# Does it hold? We deal the benign tumours anew a hundred times into calibration and
# test rows, which needs no new fit, and count the false alarms each time.


def share_of_false_alarms(rate, change=lambda rows: rows, n_deals=100):
    shares, found = [], []
    for _ in range(n_deals):
        dealt = rest[rng.permutation(len(rest))]
        detector.calibrate(dealt[:157])
        chosen = malignant[rng.choice(len(malignant), 30, replace=False)]
        tested = change(np.concatenate([dealt[157:], chosen]))
        alarms = detector.select(tested, false_discovery_rate=rate)
        shares.append(alarms[:-30].sum() / max(1, alarms.sum()))
        found.append(alarms[-30:].mean())
    return np.array(shares), np.array(found)


rates = [0.05, 0.1, 0.2, 0.3]
kept = {rate: share_of_false_alarms(rate) for rate in rates}
for rate, (shares, found) in kept.items():
    print(
        f"rate {rate:4}: {shares.mean():6.1%} of the alarms false on average, "
        f"{(shares > rate).mean():4.0%} of deals above the rate; "
        f"{found.mean():4.0%} found"
    )

# %%
# The averages keep the promise. Single deals need not: the rate is a mean over
# calibrations. What a low rate costs is the last number, the share of malignant tumours
# found: with 157 calibration rows no p-value is below 1/158, so at the lowest rate
# there is often nothing to select.
#
# The promise rests on one assumption: new benign tumours come from where the
# calibration rows come from. Another microscope that makes everything a tenth larger is
# enough to break it. Nothing in the p-values warns of that; only fresh calibration rows
# from the new microscope help.

broken = {rate: share_of_false_alarms(rate, lambda rows: 1.1 * rows) for rate in rates}

figure, (left, right) = plt.subplots(1, 2, figsize=(10, 4.2), layout="constrained")
bins = np.linspace(0, 1, 21)
left.hist(
    [benign_p, malignant_p],
    bins,
    stacked=True,
    color=["#4477aa", "#ee6677"],
    label=["benign: spread evenly", "malignant: small"],
)
left.set(title="p-values of new tumours", xlabel="p-value", ylabel="tumours")
left.legend()
right.plot([0, 0.32], [0, 0.32], "k--", linewidth=1, label="what is promised")
for results, label, style in [
    (broken, "another microscope", {"color": "#ee6677", "marker": "s"}),
    (kept, "same source", {"color": "#4477aa", "marker": "o"}),
]:
    low, middle, high = (
        [measure(results[rate][0]) for rate in rates]
        for measure in (
            lambda s: np.quantile(s, 0.1),
            np.mean,
            lambda s: np.quantile(s, 0.9),
        )
    )
    right.plot(rates, middle, label=f"{label}: mean of 100 deals", **style)
    right.fill_between(
        rates,
        low,
        high,
        color=style["color"],
        alpha=0.15,
        linewidth=0,
        label="80% of the deals",
    )
right.set(
    title="False alarms among the alarms",
    xlabel="false_discovery_rate",
    ylabel="share of alarms that were false",
)
right.legend(fontsize="small")
plt.show()
