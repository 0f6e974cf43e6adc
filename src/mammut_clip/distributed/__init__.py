"""How this process was started, its rank and device, and the few collectives the losses and evaluations need."""

from mammut_clip.distributed.process import Process, start_process, stop_process

__all__ = ["Process", "start_process", "stop_process"]
