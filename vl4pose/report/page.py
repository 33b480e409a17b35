"""The page as one file: nothing in it is fetched, and nothing in its data can become code."""

from __future__ import annotations

import html
import json
import os
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from string import Template
from typing import TYPE_CHECKING, Any

from vl4pose._atomic_file import write_atomically
from vl4pose._one_file_page import content_policy, shared_style
from vl4pose.bone_drawing import HEAT_COLOURS
from vl4pose.report.content import gather
from vl4pose.score_table import ScoreTable

if TYPE_CHECKING:
    from vl4pose.scorer import Scorer

__all__ = ["ReportSummary", "write_report"]

_SCRIPTS = (
    "rows.js", "pose.js", "distribution.js", "galleries.js", "table.js", "person.js", "start.js",
)  # fmt: skip


@dataclass(frozen=True)
class ReportSummary:
    """What a report holds.

    Attributes
    ----------
    num_bytes : int
        Of the file.
    num_rows : int
        Rows of the table that are in it.
    num_pictures, num_heatmaps : int
        People with a picture, and with heatmaps.
    missing : list of (str, str)
        People without the picture that they should have, and why.
    changed : list of str
        People whose heatmaps are not those that were scored: their image has changed since.
    """

    num_bytes: int
    num_rows: int
    num_pictures: int
    num_heatmaps: int
    missing: list[tuple[str, str]]
    changed: list[str]


def write_report(
    out: str | os.PathLike[str],
    scores: ScoreTable,
    selection: ScoreTable | None = None,
    *,
    name: str = "scores",
    images: str | os.PathLike[str] | None = None,
    scorer: Scorer | None = None,
    num_pictures: int = 24,
    num_selected: int = 100,
    max_image_size: int = 512,
    num_rows: int = 10_000,
) -> ReportSummary:
    """Write a page about scores: one HTML file that needs neither a server nor a network.

    Parameters
    ----------
    out : path
        The file; an existing one is replaced.
    scores : ScoreTable
        What `vl4pose.score_table.read_scores` returns, of scores or of a selection alone.
    selection : ScoreTable, optional
        Rows of ``scores`` that are selected.
    name : str, default "scores"
        What the page calls the table.
    images : path or URL, optional
        The folder that the names of images are relative to; by default where they were scored.
    scorer : Scorer, optional
        With the pose network that the table was scored with. With it, the page shows the heatmaps
        of the people in its pictures, computed anew.
    num_pictures : int, default 24
        How many of the least, and of the most likely poses are pictured, beside selected ones.
    num_selected : int, default 100
        How many of the selected rows are pictured, the first by rank.
    max_image_size : int, default 512
        Longer side of a picture, in pixels.
    num_rows : int, default 10000
        How many rows the page holds at most. Of a larger table these are the ones that are
        pictured, then the selected ones, then those of the lowest scores; the distribution is of
        all rows.

    Returns
    -------
    summary : ReportSummary

    Raises
    ------
    ValueError
        ``selection must be a table of vl4pose select``; ``selection must be scored as the table of
        scores was``, naming what differs; ``selection must hold rows of the table of scores, got
        ..., which is not in it``.
    vl4pose.pool.errors.NetworkError
        ``the pose network fails on the pictured images: ...``.

    Notes
    -----
    A picture that cannot be made has its reason in its place. Names and messages of the table are
    text wherever they are shown, and the page's own policy (Content-Security-Policy) allows its one
    script and its one style sheet only, pictures that are in the file, and no request.
    """
    content = gather(
        scores,
        selection,
        name=name,
        images=images,
        scorer=scorer,
        num_pictures=num_pictures,
        num_selected=num_selected,
        max_image_size=max_image_size,
        num_rows=num_rows,
    )
    page = _page(content.data).encode("utf-8", "backslashreplace")
    write_atomically(Path(out), page)
    return ReportSummary(
        len(page),
        content.num_rows,
        content.num_pictures,
        content.num_heatmaps,
        content.missing,
        content.changed,
    )


def _page(data: dict[str, Any]) -> str:
    folder = files("vl4pose.report") / "assets"

    def read(name: str) -> str:
        return (folder / name).read_text(encoding="utf-8")

    template, style = read("page.html"), f"\n{shared_style()}"
    # In one block, which keeps their names from those of the browser.
    script = "\n".join(['\n"use strict";\n{', *map(read, _SCRIPTS), "}\n"])
    channels = zip(*HEAT_COLOURS, strict=True)
    heat = {
        name: " ".join(f"{value:g}" for value in values)
        for name, values in zip(("red", "green", "blue", "opacity"), channels, strict=True)
    }
    return Template(template).substitute(
        heat,
        policy=content_policy(style, script),
        title=html.escape(data["name"]),
        style=style,
        script=script,
        data=_json(data),
    )


def _json(data: dict[str, Any]) -> str:
    """Return JSON that stays within its element: it holds no <, with which a tag would begin."""
    text = json.dumps(data, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    return text.replace("<", "\\u003c")
