"""`mammut-clip slurm doctor`: does a cluster do what its file in slurm/ says?

Slurm is asked first (site, partition); then a job on two nodes is submitted as training is (job, batch), whose ranks
(the module mammut_clip.slurm_probe, the only part that needs PyTorch) report what they see (reports, node), which is
held against the file (judge).
"""

from mammut_clip.slurm.doctor.examine import examine
from mammut_clip.slurm.doctor.finding import Finding

__all__ = ["Finding", "examine"]
