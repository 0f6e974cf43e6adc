"""Choosing and averaging: by the record inside the points, with the choice in the interval."""

import numpy as np
import pytest

from mammut_clip.config.errors import InputError
from mammut_clip.config.fit import Choice, LawSpec
from mammut_clip.fit import FORMS, Bootstrap, Procedure
from mammut_clip.fit.several import SeveralForms

X = np.geomspace(1e7, 1e11, 18)
FEW = Bootstrap(count=200)


def noisy(floor: float, seed: int = 0) -> np.ndarray:
    truth = FORMS["bounded"].evaluate({"b": 3e7, "c": -0.3, "d": floor}, X)
    return truth * np.exp(np.random.default_rng(seed).normal(0, 0.01, len(X)))


@pytest.mark.parametrize(("floor", "form"), [(0.4, "bounded"), (0.0, "bounded_no_floor")])
def test_auto_finds_the_form_that_extrapolates(floor: float, form: str) -> None:
    choice = Choice(forms=("power", "bounded_no_floor", "bounded"))
    fitted = Procedure("auto", choice=choice).fit(X, noisy(floor, seed=3), bootstrap=FEW)
    assert fitted.law.form == form
    rolling = {m.law.form: m.rolling for m in fitted.members}
    assert rolling[form] == min(r for r in rolling.values() if r is not None)
    assert fitted.estimate.predict(1e12) == fitted.law.predict(1e12)


def test_weights_are_inverse_to_the_rolling_error() -> None:
    fitted = Procedure("average").fit(X, noisy(0.2), bootstrap=FEW)
    products = [m.weight * (m.rolling or np.nan) for m in fitted.members]
    assert products == pytest.approx([products[0]] * len(products))
    assert sum(m.weight for m in fitted.members) == pytest.approx(1.0)
    squares = {
        form: np.mean([s.rms_miss**2 for s in fitted.scores if s.form == form])
        for form in ("bounded_no_floor", "bounded")
    }
    assert {m.law.form: m.rolling**2 for m in fitted.members if m.rolling} == pytest.approx(squares)


def test_an_average_lies_between_its_laws_in_the_space_of_the_residuals() -> None:
    fitted = Procedure("average").fit(X, noisy(0.2), bootstrap=FEW)
    at = np.geomspace(1e6, 1e14, 9)
    logs = np.log([m.law.predict(at) for m in fitted.members])
    weights = np.array([m.weight for m in fitted.members])
    np.testing.assert_allclose(np.log(fitted.estimate.predict(at)), weights @ logs, rtol=1e-12)


def test_intervals_of_auto_and_average_contain_the_choice_of_form() -> None:
    fitted = Procedure("auto").fit(X, noisy(0.2), bootstrap=FEW)
    assert isinstance(fitted.estimate, SeveralForms)
    low, high = fitted.estimate.law_interval([1e14])
    alone = [Procedure(form).fit(X, noisy(0.2), bootstrap=FEW) for form in ("bounded_no_floor", "bounded")]
    ends = np.array([[end[0] for end in f.estimate.law_interval([1e14])] for f in alone])
    assert high - low > (ends[:, 1] - ends[:, 0]).max()
    wide_low, wide_high = fitted.estimate.predict_interval([1e14])
    assert wide_low <= low and high <= wide_high
    draws = fitted.estimate.draws([1e14, 1e9])
    assert draws.shape == (200, 2) and len(np.unique(draws[:, 0])) == 200


def test_shapes_and_seeds() -> None:
    fitted = Procedure("average").fit(X, noisy(0.1), bootstrap=FEW)
    at = np.array([[1e9, 1e10, 1e12]])
    assert fitted.estimate.predict(at).shape == (1, 3)
    again = Procedure("average").fit(X, noisy(0.1), bootstrap=Bootstrap(count=200))
    np.testing.assert_array_equal(fitted.estimate.predict_interval(at), again.estimate.predict_interval(at))
    assert fitted.estimate.x_range == pytest.approx((1e7, 1e11))


def test_a_single_form_has_its_record_too() -> None:
    fitted = Procedure("saturation").fit(X, noisy(0.1), bootstrap=FEW)
    assert [m.weight for m in fitted.members] == [1.0]
    assert {s.form for s in fitted.scores} == {"saturation"} and len(fitted.scores) == len(Choice().cuts)
    assert fitted.law.fit.residuals == "raw" and fitted.law.fit.prior_weight == 0


def test_forms_with_too_many_parameters_are_left_out_and_said() -> None:
    fitted = Procedure("average").fit(X[:3], noisy(0.1)[:3], bootstrap=FEW)
    assert [m.law.form for m in fitted.members] == ["bounded_no_floor"] and fitted.members[0].rolling is None
    assert fitted.left_out == ("bounded left out: 3 parameters, points at 3 different x",)
    with pytest.raises(InputError, match="points at 3 different x at least, got 2"):
        Procedure("average").fit(X[:2], noisy(0.1)[:2])


def test_errors_above_chance_are_refused() -> None:
    y = noisy(0.1)
    y[2] = 1.2
    with pytest.raises(InputError, match=r"bounded_no_floor starts at error_at_zero = 1 .*: row 2 \(1\.2\)"):
        Procedure("average").fit(X, y)
    assert Procedure("average", error_at_zero=1.3).fit(X, y).law.form


def test_a_spec_says_it_all() -> None:
    spec = LawSpec(unit="error", form="auto", error_at_zero=0.9, huber_delta=0.1, residuals="logit")
    procedure = Procedure.of(spec)
    assert procedure.objective.residuals == "logit" and procedure.objective.huber_delta == 0.1
    assert procedure.objective.prior is not None  # the default one, for auto
    assert [f.ceiling for f in procedure.forms] == [0.9, 0.9]
    assert Procedure.of(LawSpec(unit="error", form="bounded")).objective.residuals == "raw"


def test_intervals_of_errors_end_at_one() -> None:
    fitted = Procedure("average").fit(X[:4], [0.97, 0.9, 0.93, 0.8], bootstrap=FEW)
    _, high = fitted.estimate.predict_interval([1e6, 1e7, 1e9])
    assert high.max() == 1.0
    # Where chance is above 1, so may a measurement be.
    _, free = (
        Procedure("average", error_at_zero=1.5)
        .fit(X[:4], [0.97, 0.9, 0.93, 0.8], bootstrap=FEW)
        .estimate.predict_interval([1e6])
    )
    assert free[0] > 1.0
