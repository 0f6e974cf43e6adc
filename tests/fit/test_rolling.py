"""Rolling scores use no point beyond their cut, and every form is scored at the same cuts."""

import numpy as np

from mammut_clip.fit import FORMS, fit_law
from mammut_clip.fit.optimise import Objective
from mammut_clip.fit.rolling import rolling_scores

X = np.geomspace(1e7, 1e11, 16)
Y = FORMS["bounded"].evaluate({"b": 1e8, "c": -0.3, "d": 0.1}, X) * np.exp(np.random.default_rng(0).normal(0, 0.02, 16))
FORMS_TRIED = [FORMS["power"], FORMS["saturation"]]
CUTS = (1 / 2, 1 / 8, 1 / 64, 1e-9)


def test_a_score_is_that_of_a_law_of_the_points_below() -> None:
    scores = rolling_scores(X, Y, FORMS_TRIED, Objective("log"), CUTS)
    for score in scores:
        seen = score.cut >= X
        law = fit_law(X[seen], Y[seen], score.form, residuals="log")
        misses = law.predict(X[~seen]) - Y[~seen]
        assert np.isclose(score.rmse, np.sqrt(np.mean(misses**2)))
        assert (score.fitted, score.predicted) == (seen.sum(), (~seen).sum())


def test_what_comes_later_does_not_matter_to_the_fit() -> None:
    changed = np.where(X.max() / 8 < X, Y * 0.5, Y)
    at = [s.fit.theta for s in rolling_scores(X, Y, FORMS_TRIED, Objective("log"), (1 / 8,))]
    again = [s.fit.theta for s in rolling_scores(X, changed, FORMS_TRIED, Objective("log"), (1 / 8,))]
    np.testing.assert_array_equal(np.concatenate(at), np.concatenate(again))


def test_cuts_that_one_form_cannot_be_fitted_at_count_for_none() -> None:
    scores = rolling_scores(X, Y, FORMS_TRIED, Objective("log"), CUTS)
    cuts = {form: [s.cut for s in scores if s.form == form] for form in ("power", "saturation")}
    assert cuts["power"] == cuts["saturation"] == [X.max() / 2, X.max() / 8, X.max() / 64]
    assert rolling_scores(X[:5], Y[:5], FORMS_TRIED, Objective("log"), CUTS) == ()


def test_cuts_that_part_the_points_alike_count_once() -> None:
    """With a decade between points, cuts at a half, a fifth and a tenth (less a hair) ask the same question."""
    sparse, forms = 10.0 ** np.arange(6.0, 13.0), [FORMS["power"]]
    errors = 5.0 * sparse**-0.1 * np.exp(np.random.default_rng(1).normal(0, 0.02, len(sparse)))
    once = rolling_scores(sparse, errors, forms, Objective("log"), (1 / 2, 1 / 20))
    again = rolling_scores(sparse, errors, forms, Objective("log"), (1 / 2, 1 / 5, 1 / 9, 1 / 20))
    assert [(s.cut, s.fitted, s.predicted) for s in again] == [(5e11, 6, 1), (5e10, 5, 2)]
    assert [(s.cut, s.rmse) for s in again] == [(s.cut, s.rmse) for s in once]
