"""Runs that are planned: what the laws of a spec predict for them, and which of them to make next."""

from mammut_clip.fit.planning.candidates import Candidate, cells, from_axes
from mammut_clip.fit.planning.places import Place, Shape
from mammut_clip.fit.planning.planner import NextRuns, plan_next
from mammut_clip.fit.planning.predict import Prediction, predict_runs, without_held_out
from mammut_clip.fit.planning.targets import Target, crossing_target, difference_target, law_target

__all__ = [
    "Candidate",
    "NextRuns",
    "Place",
    "Prediction",
    "Shape",
    "Target",
    "cells",
    "crossing_target",
    "difference_target",
    "from_axes",
    "law_target",
    "plan_next",
    "predict_runs",
    "without_held_out",
]
