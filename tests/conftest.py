"""Fixtures that every part of the suite uses."""

import random
import signal
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

ROOT = Path(__file__).resolve().parents[1]

# Timings never decide a test, and the first example of a property often loads a library. Examples are the same each
# time; others come with --hypothesis-profile=explore.
for profile, same in (("house", True), ("explore", False)):
    settings.register_profile(profile, deadline=None, derandomize=same, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("house")

# A shell starts background jobs with SIGINT ignored, and children inherit that: tests that press Ctrl-C in a child
# would then wait for ever.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup() -> None:
    """Whatever ran before in this process, a test draws the same numbers, with its fixtures."""
    random.seed(0)
    if "numpy" in sys.modules:
        sys.modules["numpy"].random.seed(0)
    if "torch" in sys.modules:
        sys.modules["torch"].manual_seed(0)


@pytest.fixture(scope="session")
def shared_dir() -> Path:
    """The folder of reference material beside the checkout; tests that need it skip where it is absent."""
    folder = ROOT.parent / "shared"
    if not folder.is_dir():
        pytest.skip("the reference folder ../shared is not beside this checkout")
    return folder
