"""Where along x a group's law was fitted, where points were held out, and where nothing was measured."""

from dataclasses import dataclass

from mammut_clip.fit.run import FitReport, GroupFit


@dataclass(frozen=True)
class Regions:
    """Ends of the stretches of one group, each no less than the one before."""

    start: float
    """Least x that was fitted."""
    fitted: float
    """Largest x that was fitted."""
    measured: float
    """Largest x of all its points, held-out ones included."""
    reach: float
    """Largest x that is shown."""

    @classmethod
    def of(cls, group: GroupFit, reach: float) -> "Regions":
        """The stretches of a group in a figure that ends at `reach`."""
        start, fitted = group.estimate.x_range
        held = group.points.loc[group.points["held_out"], "x"]
        return cls(start, fitted, max(float(held.max()), fitted) if len(held) else fitted, max(reach, fitted))

    def stretches(self) -> tuple[tuple[float, float], tuple[float, float], tuple[float, float]]:
        """Fitted, held out, beyond all points; the last two may be empty."""
        return (self.start, self.fitted), (self.fitted, self.measured), (self.measured, self.reach)


def figure_end(report: FitReport) -> float:
    """How far to the right a figure of all groups shows the laws: past every point and every x asked for."""
    return 1.5 * max([float(g.points["x"].max()) for g in report.groups] + list(report.spec.ask))


def has_interval(group: GroupFit) -> bool:
    """A law through as many points as parameters says nothing of its own error."""
    return group.law.fit.degrees_of_freedom >= 1
