"""Fixtures that every part of the suite uses."""

import signal
from pathlib import Path

import pytest
from hypothesis import settings

ROOT = Path(__file__).resolve().parents[1]

# Timings never decide a test, and the first example of a property often loads a library.
settings.register_profile("house", deadline=None)
settings.load_profile("house")

# A shell starts background jobs with SIGINT ignored, and children inherit that: tests that press Ctrl-C in a child
# would then wait for ever.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def shared_dir() -> Path:
    """The folder of reference material beside the checkout; tests that need it skip where it is absent."""
    folder = ROOT.parent / "shared"
    if not folder.is_dir():
        pytest.skip("the reference folder ../shared is not beside this checkout")
    return folder
