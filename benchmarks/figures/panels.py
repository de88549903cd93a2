"""Panels of one metric: letter and title, and the metric's values or a word on why there are none."""

from __future__ import annotations

import pandas as pd
from matplotlib.axes import Axes

from benchmarks.figures.style import empty_panel, panel_letter
from benchmarks.figures.values import title, values, why_empty
from benchmarks.report.study import Study


def metric_panel(axes: Axes, letter: str, study: Study, metric: str, per: str = "replicate", **where) -> pd.DataFrame:
    """Give a panel its letter and the metric's title, and return what to draw (:func:`values`).

    Without values the panel says so; the table is empty then.
    """
    panel_letter(axes, letter)
    axes.set_title(title(study, metric))
    table = values(study, metric, per, **where)
    if table.empty:
        empty_panel(axes, why_empty(study, metric))
    return table
