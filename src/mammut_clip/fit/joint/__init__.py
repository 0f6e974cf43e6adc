"""Joint laws: error as a function of model size and samples seen."""

from mammut_clip.fit.joint.law import JointLaw, fit_joint

__all__ = ["JointLaw", "fit_joint"]
