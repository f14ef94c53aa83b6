"""What a notebook shows: a link to our page, and what came of the fit."""

import re

import numpy as np
import pytest
from mixed import people, short
from sklearn.base import clone
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sklearn_ilvae import (
    ILVAEOutlierDetector,
    ILVAETransformer,
    SteinScoreEstimator,
    _html,
)


def captions(estimator):
    return re.findall(r'class="caption">(.*?)</div>', estimator._repr_html_())


def test_the_caption_says_what_came_of_the_fit(fitted):
    (caption,) = captions(fitted)
    assert caption.startswith("2 of 2 units alive")
    assert f"certified L {fitted.inverse_lipschitz_:.3g}" in caption
    assert f"{fitted.n_iter_} epochs" in caption
    assert f"bound {max(fitted.validation_scores_):.2f} nats a validation" in caption


def test_without_validation_the_caption_gives_the_training_bound(table):
    model = ILVAETransformer(n_components=2, max_iter=2, early_stopping=False)
    (caption,) = captions(model.fit(table))
    assert f"{-model.loss_curve_[-1]:.2f} nats a training row" in caption


def test_after_partial_fit_the_caption_gives_no_bound_of_an_earlier_network(table):
    model = ILVAETransformer(n_components=2, max_iter=2, random_state=0)
    (caption,) = captions(model.fit(table).partial_fit(table))
    assert f"{-model.loss_curve_[-1]:.2f} nats a training row" in caption
    model.set_params(warm_start=True).fit(table)
    model.validation_scores_[:3] = [9.0, 9.0, np.nan]
    (caption,) = captions(model)
    assert f"{max(model.validation_scores_[3:]):.2f} nats a validation row" in caption


def test_one_unit_and_one_epoch_are_counted_in_the_singular(table):
    model = ILVAETransformer(n_components=1, max_iter=1, random_state=0)
    (caption,) = captions(model.fit(table))
    assert caption.startswith("1 of 1 unit alive")
    assert "· 1 epoch ·" in caption


def test_batches_are_not_slowed_down_by_counting(table):
    model = ILVAETransformer(n_components=2, random_state=0).partial_fit(table)
    assert captions(model)[0].startswith("2 units · certified L")


def test_a_step_of_a_pipeline_has_its_caption(table):
    model = ILVAETransformer(n_components=2, max_iter=1, random_state=0)
    pipeline = make_pipeline(StandardScaler(), model).fit(table)
    assert any("units alive" in caption for caption in captions(pipeline))


def test_before_the_fit_there_is_no_caption(fitted):
    assert captions(clone(fitted)) == []


def test_the_caption_counts_the_units_measured_in_fit(fitted):
    model = clone(fitted)
    vars(model).update(vars(fitted) | {"_unit_divergences": [1.0, 0.001]})
    assert captions(model)[0].startswith("1 of 2 units alive")


def test_rows_that_begin_a_table_do_not_decide_which_units_live(table):
    """As where the oldest rows come first, and little was measured then."""
    rows = np.vstack([np.full((200, 5), np.nan), table])
    model = ILVAETransformer(n_components=2, max_iter=2, random_state=0).fit(rows)
    assert captions(model)[0].startswith("2 of 2 units alive")


def test_the_score_says_what_it_chose():
    X = np.random.default_rng(0).normal(size=(60, 2))
    (caption,) = captions(SteinScoreEstimator(random_state=0).fit(X))
    assert caption.startswith("Gaussian base alone · held-out Hyvärinen loss")
    fixed = SteinScoreEstimator("rbf", bandwidth=1.0, regularization=0.1).fit(X)
    assert "rbf kernel" in captions(fixed)[0]
    ring = X / np.linalg.norm(X, axis=1, keepdims=True) + 0.1 * X[::-1]
    averaged = SteinScoreEstimator(base="gaussian", random_state=0).fit(ring)
    assert averaged.n_averaged_ > 1
    start = f"mean of {averaged.n_averaged_}, the best: Gaussian base"
    assert captions(averaged)[0].startswith(start)


def test_the_detector_counts_the_training_rows_that_it_flags(table):
    detector = ILVAEOutlierDetector(n_components=2, max_iter=2, random_state=0)
    flagged = (detector.fit_predict(table) == -1).sum()
    (caption,) = captions(detector)
    assert caption.startswith(f"{flagged} of {len(table)} training rows below")


def test_a_row_on_the_threshold_is_not_below_it(table):
    detector = ILVAEOutlierDetector(n_components=2, max_iter=1, random_state=0)
    detector.fit(table)
    detector.offset_ = np.sort(detector.training_scores_)[30]
    (caption,) = captions(detector)
    assert caption.startswith("30 of 300 training rows below")


@pytest.mark.parametrize(
    "kind", [ILVAETransformer, ILVAEOutlierDetector, SteinScoreEstimator]
)
def test_the_link_goes_to_our_page(monkeypatch, kind):
    monkeypatch.setattr(_html, "SITE", "https://docs.example")
    page = f"https://docs.example/api/generated/sklearn_ilvae.{kind.__name__}.html"
    assert kind()._get_doc_link() == page
    assert f'href="{page}"' in kind()._repr_html_()


def test_without_an_address_there_is_no_link(monkeypatch):
    monkeypatch.setattr(_html, "SITE", "")
    assert ILVAETransformer()._get_doc_link() == ""
    assert 'target="_blank"' not in ILVAETransformer()._repr_html_()


@pytest.mark.parametrize(
    ("entries", "site"),
    [
        (
            ["Source, https://a.example", "Documentation, https://b.example/"],
            "https://b.example",
        ),
        (None, ""),
    ],
)
def test_the_address_comes_from_the_metadata(monkeypatch, entries, site):
    class Metadata:
        def get_all(self, name):
            return entries

    monkeypatch.setattr(_html, "metadata", lambda name: Metadata())
    assert _html.published_site.__wrapped__() == site


def test_showing_costs_no_inference(fitted, monkeypatch):
    def forbidden(*arguments):
        raise AssertionError("the diagram must not run the network")

    monkeypatch.setattr(type(fitted.module_.encoder), "forward", forbidden)
    assert captions(fitted)


def test_the_diagram_unfolds_the_columns_of_the_table(table):
    X = people(gaps=0.1)
    model = short().fit(X)
    detector = ILVAEOutlierDetector(2, max_iter=2, random_state=0).fit(X)
    for shown in (model, detector, make_pipeline(model)):
        diagram = shown._repr_html_()
        assert "8 columns of the table" in diagram
        assert "<td>3 levels: low, mid, high</td>" in diagram
    score = SteinScoreEstimator("rbf", bandwidth=1.0, regularization=0.1).fit(table)
    assert "columns of the table" not in score._repr_html_()


def test_a_wide_table_is_cut(monkeypatch):
    monkeypatch.setattr(_html, "MOST_COLUMNS", 3)
    diagram = short().fit(people())._repr_html_()
    assert "8 columns of the table" in diagram
    assert "5 more in column_summary_" in diagram
    assert "<td>smoker</td>" in diagram
    assert "<td>city</td>" not in diagram
