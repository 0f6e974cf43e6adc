"""The frontier of arXiv:2506.04598, point for point, so that the published laws can be repeated. Take another for
laws of your own.

1.  With n = int(log2(C_max / 1500)), C in GFLOPs of the `paper` convention, n edges from C_min to C_max, geometrically
    spaced. Of each of the n - 1 bins, the upper edge excluded, the run of the lowest error.
2.  Of these, from left to right, those below all before; then the best run of the largest compute, if it is below them.
3.  A row is on the frontier if its compute is one of theirs and its error is one of theirs. That they are of one run is
    not asked. So a worse run of a chosen one's compute comes on, if its error is another chosen one's: in figure 1 a
    ViT-S-16 with 0.98696 beside one with 0.98, because the ViT-S-32 before it has 0.98696 too.
"""

from itertools import pairwise

import numpy as np

from mammut_clip.config.errors import InputError
from mammut_clip.fit.forms import Array

SMALLEST = 1500.0
"""GFLOPs; with the largest run's compute it gives the number of edges."""


def paper_frontier(compute: Array, error: Array) -> np.ndarray:
    """Mask [n] of the published frontier's rows. compute: [n] GFLOPs, of the runs that the law is fitted to, since the
    largest decides on the bins. Raises InputError for compute too small for a bin."""
    largest = float(compute.max())
    edges = int(np.log2(largest / SMALLEST))
    if edges < 2:
        raise InputError(
            f"frontier: paper is made for runs of more than {4 * SMALLEST:g} GFLOPs, the largest has {largest:g}"
        )
    chosen = _chosen(compute, error, np.geomspace(compute.min(), largest, edges))
    return np.isin(compute, compute[chosen]) & np.isin(error, error[chosen])


def _chosen(compute: Array, error: Array, edges: Array) -> list[int]:
    """Rows of rules 1 and 2."""
    order = np.lexsort((np.arange(len(error)), error, compute))
    lowest, chosen = np.inf, []
    last = order[compute[order] == compute.max()]
    bins = [order[(compute[order] >= low) & (compute[order] < high)] for low, high in pairwise(edges)]
    for rows in (*bins, last):
        if len(rows) and error[best := rows[np.argmin(error[rows])]] < lowest:
            lowest = error[best]
            chosen.append(int(best))
    return chosen
