"""The published parametric fit of Chinchilla's runs, from the spec to the last digit that is known."""

from pathlib import Path

import pytest

from mammut_clip.config.files import find_file
from mammut_clip.config.fit_joint import JointSpec
from mammut_clip.config.load import load_config
from mammut_clip.fit.joint.run import JointReport, run_joint


@pytest.fixture(scope="module")
def report(shared_dir: Path) -> JointReport:
    return run_joint(load_config(JointSpec, find_file("fit", "chinchilla")), shared_dir / "data")


def test_the_objective_is_the_optimum(report: JointReport) -> None:
    (group,) = report.groups
    assert group.law.n == 240 and [c.removed for c in report.counts] == [0, 5]
    assert group.law.fit.objective <= 1.01828e-3
    known = {"A": 477.8, "B": 2143, "E": 1.8172, "alpha": 0.3473, "beta": 0.3672}
    assert group.law.params == pytest.approx(known, rel=3e-4)
    assert group.law.fit.converged and group.law.fit.starts_agreeing == group.law.fit.starts


def test_intervals_hold_what_replications_report(report: JointReport) -> None:
    """Besiroglu et al. 2024, and the exponents of their table; Hoffmann et al.'s own E and beta lie outside."""
    ends = report.groups[0].law.interval()
    replicated = {"A": 482.01, "B": 2085.43, "E": 1.8172, "alpha": 0.3478, "beta": 0.3658, "size_exponent": 0.512}
    for name, value in replicated.items():
        assert ends[name][0] < value < ends[name][1], name
    assert ends["E"][0] > 1.69 and ends["beta"][0] > 0.28


def test_interaction_describes_these_runs_better(shared_dir: Path) -> None:
    """Chinchilla's sum is p = 1; the data want the larger term to hide more of the smaller one."""
    spec = load_config(JointSpec, find_file("fit", "chinchilla"), ["surface.form=interaction", "bootstrap.count=400"])
    law = run_joint(spec, shared_dir / "data").groups[0].law
    assert law.fit.objective < 0.96e-3 and law.fit.converged
    assert law.interval()["p"][0] > 1.05
