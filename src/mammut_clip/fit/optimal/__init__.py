"""Compute-optimal allocation: how many samples, and how large a model, for a given compute."""

from mammut_clip.fit.optimal.line import AllocationLaw, Optima
from mammut_clip.fit.optimal.run import OptimalReport, run_optimal

__all__ = ["AllocationLaw", "Optima", "OptimalReport", "run_optimal"]
