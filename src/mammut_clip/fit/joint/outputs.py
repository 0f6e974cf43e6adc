"""A report of joint laws as what is printed and written."""

from functools import partial

import pandas as pd

from mammut_clip.fit.joint.figure import joint_figure
from mammut_clip.fit.joint.run import JointGroup, JointReport
from mammut_clip.fit.joint.tables import exponent_table, joint_held_out_table, joint_law_table
from mammut_clip.fit.output import Outputs


def joint_outputs(report: JointReport) -> Outputs:
    """Everything that a report of joint laws is shown as."""
    tables = {"laws": joint_law_table(report), "exponents": exponent_table(report)}
    if report.held_out:
        tables["held_out"] = joint_held_out_table(report)
    return Outputs(
        title=report.spec.title,
        json=report.to_json_dict(),
        tables=tables,
        figures={"joint": partial(joint_figure, report)},
        sentences=tuple(sentence for group in report.groups for sentence in _warnings(group)),
        frames={"points": pd.concat([_frame(group) for group in report.groups])},
    )


def _warnings(group: JointGroup) -> list[str]:
    law, said = group.law, []
    if not law.fit.converged:
        said.append(f"{group.name}: the search did not end at an optimum (gradient {law.fit.gradient:.1e}).")
    if law.at_bound:
        said.append(f"{group.name}: {', '.join(law.at_bound)} ended at a bound; the points do not determine it.")
    if group.held_out:
        inside = sum(r.covered for r in group.held_out)
        said.append(f"{group.name}: {inside} of {len(group.held_out)} held-out runs lie within their interval.")
    return said


def _frame(group: JointGroup) -> pd.DataFrame:
    grid = group.grid
    columns = {"group": group.name, "label": list(grid.labels), "size": grid.size, "samples_seen": grid.samples}
    columns |= {"compute": grid.compute, "error": grid.error, "fitted": group.fitted}
    return pd.DataFrame(columns | {"law": group.law.predict(grid.size, grid.samples)})
