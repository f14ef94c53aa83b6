"""
=========================================
Choosing L by a grid search in a pipeline
=========================================

``score`` is the log-likelihood of unseen rows, so a search needs no scorer. A second
scorer tells what the weakest latent unit says, and the picture of both is the choice
that L is about: how much likelihood is a livelier code worth?
"""

import matplotlib.pyplot as plt
from sklearn.datasets import load_wine
from sklearn.model_selection import GridSearchCV, KFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import PowerTransformer

from sklearn_ilvae import ILVAETransformer
from sklearn_ilvae.inspection import ParameterPathDisplay
from sklearn_ilvae.metrics import kl_per_unit

wine = load_wine().data

# %%
# The estimator scales columns itself. What goes before it in a pipeline is what changes
# the shape of columns: here a power transform, which makes skewed ones more symmetric.
# The prior is the standard normal. The learned one, the default, follows the codes to
# where L drives them, and what L does is harder to see.

pipeline = make_pipeline(
    PowerTransformer(),
    ILVAETransformer(
        n_components=6, prior="standard_normal", max_iter=60, random_state=0
    ),
)


def log_likelihood(fitted, X, y=None):
    return fitted.score(X)


def weakest_unit(fitted, X, y=None):
    return kl_per_unit(fitted[-1], fitted[:-1].transform(X)).min()


# %%
# Five values of L and three folds.

search = GridSearchCV(
    pipeline,
    {"ilvaetransformer__inverse_lipschitz": [0.0, 0.25, 0.5, 1.0, 2.0]},
    scoring={
        "log_likelihood": log_likelihood,
        "KL of the weakest unit": weakest_unit,
    },
    refit="log_likelihood",
    cv=KFold(3, shuffle=True, random_state=0),
).fit(wine)
print("chosen:", search.best_params_)

# %%
# The shaded bands are the spread over folds. It is mostly the folds that differ, not
# the models: all values of L see the same folds, and the lines may be compared by
# themselves.

ParameterPathDisplay.from_estimator(search)
plt.show()

# %%
# The likelihood alone chooses the L that predicts best. If the codes are what you are
# after, read the two panels together and take the largest L before the left one drops.
# A step of a tenth of the shaded band says little with so few wines.
# ``refit`` takes a function of ``cv_results_`` when that rule should be applied by
# itself.
#
# The fitted pipeline, as a notebook shows it:

search.best_estimator_
