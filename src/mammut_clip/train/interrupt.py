"""Stopping in good order: a signal asks for a checkpoint after the current step, and is remembered until then.

Who sends which signal, and what ends a process that takes too long (measured with Slurm 22.05 and torch 2.15):

- scancel, preemption and requeue: SIGTERM to every process of every step, SIGKILL after KillWait seconds (often 30).
- sbatch --signal=USR1@300: SIGUSR1, up to 60 s earlier than asked for, to every process of every step. With B:USR1@300
  to the batch script alone, which must pass it on (scancel --signal=USR1 $SLURM_JOB_ID).
- mammut-clip sweep: SIGUSR1 again, which the job's supervisor (slurm.supervisor) has from its batch shell and hands on
  through srun, every few seconds until the processes have ended; it then queues the job again.
- torchrun passes SIGTERM, SIGINT, SIGHUP and SIGQUIT on to its processes and their children, which are no longer the
  terminal's. It kills them 30 s later (where `torchrun --help` knows it: --shutdown-timeout, or the variable
  TORCH_ELASTIC_SHUTDOWN_TIMEOUT) and ends with code 1, whatever theirs are. SIGUSR1 and SIGUSR2 kill torchrun itself:
  its processes train on alone, or in a Slurm step die with it. Against that:
  --signals-to-handle SIGTERM,SIGINT,SIGHUP,SIGQUIT,SIGUSR1,SIGUSR2 (or the variable PET_SIGNALS_TO_HANDLE). A second
  signal then ends torchrun before its processes are done; distributed.torchrun, by which jobs start it, minds that.

The trainer's own exit code is 128 + the signal: 143 for SIGTERM, 138 for SIGUSR1, 140 for SIGUSR2, 130 for SIGINT; srun
hands it on.
"""

import signal
from types import FrameType

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2)


class InterruptWatch:
    """From its construction to the end of its `with` block, the signals above are noted instead of ending the process.

    Only the first counts. A second SIGINT raises KeyboardInterrupt: whoever presses Ctrl-C twice means at once. It is
    made in the main thread, as Python runs handlers there only; ValueError elsewhere.
    """

    def __init__(self) -> None:
        self._received = 0
        self._interrupts = 0
        self._before = {number: signal.signal(number, self._note) for number in _SIGNALS}

    def __enter__(self) -> "InterruptWatch":
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def ignore_more(self) -> None:
        """Until the process ends, with the exit code of the first signal, no other but Ctrl-C does anything.

        `srun --kill-on-bad-exit` sends SIGTERM to all ranks that end a moment after the first; and Python's last steps
        happen without handlers.
        """
        self._before = {signal.SIGINT: self._before[signal.SIGINT]}
        for number in _SIGNALS:
            if number != signal.SIGINT:
                signal.signal(number, signal.SIG_IGN)

    @property
    def received(self) -> int:
        """The signal that this process was sent first; 0 for none."""
        return self._received

    def _note(self, number: int, _frame: FrameType | None) -> None:
        self._received = self._received or number
        if number == signal.SIGINT:
            self._interrupts += 1
            if self._interrupts > 1:
                raise KeyboardInterrupt
