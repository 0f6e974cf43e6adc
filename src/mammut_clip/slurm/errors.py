"""What can go wrong between us and Slurm."""

from mammut_clip.config.errors import InputError


class SlurmAwayError(InputError):
    """Slurm's controller did not answer. Whether it did what it was asked to is not known."""
