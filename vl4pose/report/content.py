"""What the page shows: rows of the table, the distribution, pictures and what is said of them."""

from __future__ import annotations

import base64
import math
import os
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from vl4pose import bone_drawing as drawing
from vl4pose.active.percentiles import check_scored_alike
from vl4pose.active.reasons import LEAST_PEAK_WEIGHT
from vl4pose.bone_scores import expected_lengths, link_lengths, link_z_scores
from vl4pose.image_transform import ImageTransform
from vl4pose.pool.storage import Folder, open_folder
from vl4pose.report.pictures import NoPictureError, Picture, make_picture, shown_part
from vl4pose.results import Status
from vl4pose.score_histogram import score_histogram
from vl4pose.score_table import ScoreTable
from vl4pose.skeleton import readable

if TYPE_CHECKING:
    from vl4pose.scorer import Scorer

__all__ = ["PageContent", "gather"]

FloatArray = npt.NDArray[np.float64]

_STATUS_WORDS = {
    Status.PEAK_FALLBACK: "a map without a peak",
    Status.CLAMPED_PARAMS: "link parameters clamped",
    Status.NONFINITE_PARAMS: "link parameters not finite",
    Status.NONFINITE_HEATMAP: "heatmaps not finite",
}
# What `vl4pose select` adds to the columns of a score table.
_SELECTION_COLUMNS = (
    "rank", "priority", "chosen_by", "percentile", "worst_links", "ambiguous_joints",
    "swap_suspects", "reasons",
)  # fmt: skip
_LEAST_GAIN = math.log(10)  # nats by which an exchange of left and right is worth telling
_DECODERS = 4


@dataclass
class PageContent:
    """What the page is made from, and what there is to say about its making.

    Attributes
    ----------
    data : dict
        Numbers and strings that JSON can hold.
    num_rows, num_pictures, num_heatmaps : int
        How many rows, pictures and people with heatmaps the page has.
    missing : list of (str, str)
        People without the picture that they should have, and why.
    changed : list of str
        People whose heatmaps are not those that were scored.
    """

    data: dict[str, Any]
    num_rows: int
    num_pictures: int = 0
    num_heatmaps: int = 0
    missing: list[tuple[str, str]] = field(default_factory=list)
    changed: list[str] = field(default_factory=list)


def gather(
    scores: ScoreTable,
    selection: ScoreTable | None,
    *,
    name: str,
    images: str | os.PathLike[str] | None,
    scorer: Scorer | None,
    num_pictures: int,
    num_selected: int,
    max_image_size: int,
    num_rows: int,
) -> PageContent:
    """Return what the page shows; the parameters are those of `write_report`."""
    picks = _picks(scores, selection)
    values = scores.numbers("score")
    chosen = sorted(picks, key=lambda row: picks[row].get("rank") or math.inf)
    selected = np.zeros(len(scores), bool)
    selected[chosen] = True
    least, most = _extremes(np.where(selected, np.nan, values), num_pictures)
    pictured = [*chosen[:num_selected], *least, *most]
    shown = _shown_rows(values, chosen, pictured, num_rows)
    place = {row: i for i, row in enumerate(shown.tolist())}
    rows = _Rows(scores.take(shown))
    data = {
        "name": name,
        "about": _about(scores, selection),
        "counts": _counts(scores, chosen),
        "skeleton": {
            "joints": list(scores.skeleton.joints),
            "links": [list(link) for link in scores.skeleton.links],
            "linkNames": list(scores.skeleton.link_names),
        },
        "drawing": {
            "classes": drawing.Z_CLASSES,
            "colours": drawing.Z_COLOURS,
            "labels": drawing.Z_LABELS,
            "noZ": drawing.NO_Z_COLOUR,
            "halo": drawing.HALO,
            "unusual": drawing.UNUSUAL_Z,
        },
        "leastPeakWeight": LEAST_PEAK_WEIGHT,
        "leastGain": _LEAST_GAIN,
        "status": {str(int(bit)): words for bit, words in _STATUS_WORDS.items()},
        "histogram": _histogram(values, selected),
        "rows": rows.columns() | _pick_columns(picks, shown),
        "galleries": {
            "selected": [place[row] for row in chosen[:num_selected]],
            "least": [place[row] for row in least],
            "most": [place[row] for row in most],
        },
    }
    content = PageContent(data, len(shown))
    try:
        folder: Folder | str = open_folder(scores.root if images is None else images)
    except (ModuleNotFoundError, ValueError) as error:
        folder = str(error)  # why there are no pictures, which must not stop the report
    _add_pictures(
        content, rows, {place[row]: picks.get(row, {}) for row in pictured},
        folder=folder, scorer=scorer, max_image_size=max_image_size,
    )  # fmt: skip
    return content


def _people(table: ScoreTable) -> list[tuple[str | None, str | None, int]]:
    """Return what identifies each row: image, person, and which of several such rows it is."""
    seen: dict[tuple[str | None, str | None], int] = {}
    people = []
    names = table.rows.select(["image", "person_id"]).to_pydict()
    for person in zip(names["image"], names["person_id"], strict=True):
        seen[person] = seen.get(person, -1) + 1
        people.append((*person, seen[person]))
    return people


def _picks(scores: ScoreTable, selection: ScoreTable | None) -> dict[int, dict[str, Any]]:
    """Return the rows that are selected, with what the selection says of them."""
    table = scores if selection is None else selection
    columns = [name for name in _SELECTION_COLUMNS if name in table.rows.column_names]
    if selection is None:
        if "rank" not in columns:
            return {}
        index = list(range(len(scores)))
    else:
        if "rank" not in columns:
            raise ValueError("selection must be a table of vl4pose select, got one without ranks")
        check_scored_alike(selection.metadata, scores.metadata, "selection", "table of scores")
        where = {person: row for row, person in enumerate(_people(scores))}
        people = _people(selection)
        unknown = next((person for person in people if person not in where), None)
        if unknown is not None:
            raise ValueError(
                "selection must hold rows of the table of scores, got "
                f"{_title(*unknown[:2])!r}, which is not in it"
            )
        index = [where[person] for person in people]
    said = table.rows.select(columns).to_pylist() if columns else [{} for _ in index]
    return dict(zip(index, said, strict=True))


def _extremes(values: FloatArray, count: int) -> tuple[list[int], list[int]]:
    """Return the rows of the lowest and of the highest scores; no row is among both."""
    order = np.argsort(values, kind="stable")
    order = order[np.isfinite(values[order])]
    half = len(order) // 2
    least = order[: min(count, len(order) - half)]
    most = order[::-1][: min(count, half)]
    return least.tolist(), most.tolist()


def _shown_rows(
    values: FloatArray, chosen: list[int], pictured: list[int], most: int
) -> npt.NDArray[np.int64]:
    """Return the rows in the page, in the table's order: all, or what a reader needs most."""
    if len(values) <= most:
        return np.arange(len(values))
    lowest = np.argsort(values, kind="stable").tolist()
    wanted = dict.fromkeys([*pictured, *chosen, *lowest])
    keep = max(most, len(pictured))
    return np.array(sorted(list(wanted)[:keep]), np.int64)


def _title(image: str | None, person: str | None) -> str:
    return (image or "?") + ("" if person is None else f" #{person}")


def _packed(values: npt.NDArray[Any], dtype: str) -> str:
    return base64.b64encode(np.ascontiguousarray(values, dtype).tobytes()).decode("ascii")


def _json_numbers(values: Iterable[float | None]) -> list[float | None]:
    """Return numbers of six digits, and null for what is none or not finite."""
    return [
        None if value is None or not math.isfinite(value) else float(f"{value:.6g}")
        for value in values
    ]


class _Rows:
    """The rows that the page shows, as arrays."""

    def __init__(self, table: ScoreTable) -> None:
        self.table = table
        self.skeleton = table.skeleton
        num_joints, num_links = self.skeleton.num_joints, self.skeleton.num_links
        self.keypoints = self._array("keypoints", num_joints, 2)
        self.refined = self._array("refined_keypoints", num_joints, 2)
        self.params = self._array("link_params", num_links, 2)
        self.scale = self._array("heatmap_scale", 2)
        self.confidence = self._array("confidence", num_joints)
        self.z = self._z(self.keypoints)
        self.refined_z = self._z(self.refined)
        self.titles = [_title(*person[:2]) for person in _people(table)]

    def _array(self, column: str, *shape: int) -> FloatArray:
        values = self.table.arrays(column)
        if values.size == 0:  # no row has it
            return np.full((len(self.table), *shape), np.nan)
        return values.reshape(len(self.table), *shape)

    def _z(self, keypoints: FloatArray) -> FloatArray:
        return link_z_scores(keypoints, self.params, self.skeleton, self.scale)

    def columns(self) -> dict[str, Any]:
        """Return what the page holds of every row; arrays as the base64 of their numbers."""
        num_joints, num_links = self.skeleton.num_joints, self.skeleton.num_links
        table = self.table.rows
        changed = self._array("peak_index", num_joints)
        pixels = np.iinfo(np.int16)
        gone = pixels.min  # stands for a coordinate that does not exist

        def coordinates(keypoints: FloatArray) -> str:
            rounded = np.clip(np.nan_to_num(keypoints.round(), nan=gone), gone, pixels.max)
            return _packed(rounded, "<i2")

        return {
            "image": table["image"].to_pylist(),
            "person": table["person_id"].to_pylist(),
            "error": table["error"].to_pylist(),
            "status": table["status"].to_pylist(),
            "width": table["width"].to_pylist(),
            "height": table["height"].to_pylist(),
            "score": _json_numbers(table["score"].to_pylist()),
            "logProb": _json_numbers(table["log_prob"].to_pylist()),
            "totalEntropy": _json_numbers(table["multi_peak_entropy"].to_pylist()),
            "z": _packed(self.z, "<f4"),
            "refinedZ": _packed(self.refined_z, "<f4"),
            "logLikelihood": _packed(self._array("per_link", num_links), "<f4"),
            "entropy": _packed(self._array("entropy", num_joints), "<f4"),
            "confidence": _packed(self.confidence, "<f4"),
            "keypoints": coordinates(self.keypoints),
            "refined": coordinates(self.refined),
            "peakIndex": _packed(np.nan_to_num(changed), "<u2"),
        }


def _pick_columns(picks: dict[int, dict[str, Any]], shown: npt.NDArray[Any]) -> dict[str, Any]:
    """Return what a selection says, null for rows that are not selected; nothing without one."""
    if not picks:
        return {}
    rows = [picks.get(row) for row in shown.tolist()]
    known = {name for said in picks.values() for name in said}
    columns: dict[str, Any] = {"selected": [int(said is not None) for said in rows]}
    for name in _SELECTION_COLUMNS:
        if name in known:
            values = [None if said is None else said.get(name) for said in rows]
            columns[name] = (
                _json_numbers(values) if name in ("priority", "percentile") else _plain(values)
            )
    return columns


def _plain(value: Any) -> Any:
    """Return values of a table without NaN, which JSON does not know."""
    if isinstance(value, float):
        return _json_numbers([value])[0]
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_plain(item) for item in value]
    return value


def _counts(scores: ScoreTable, chosen: list[int]) -> dict[str, int]:
    errors = scores.rows["error"].is_valid().to_numpy()
    flagged = (scores.numbers("status") > 0) & ~errors
    return {
        "rows": len(scores),
        "scored": int((~errors & ~flagged).sum()),
        "flagged": int(flagged.sum()),
        "failed": int(errors.sum()),
        "selected": len(chosen),
    }


def _about(scores: ScoreTable, selection: ScoreTable | None) -> list[tuple[str, str]]:
    """Return what the table says of how it was made, as pairs of a heading and a text."""
    metadata = scores.metadata
    skeleton = scores.skeleton
    about = [
        ("images", str(scores.root)),
        ("skeleton", f"{skeleton.name}: {skeleton.num_joints} joints"),
    ]
    for role, model in metadata.get("models", {}).items():
        about.append((role, f"{model['file']} (SHA-256 {model['sha256'][:12]}…)"))
    for title in ("scoring", "input"):
        settings = metadata.get("settings", {}).get(title, {})
        text = ", ".join(f"{key} {_shown(value)}" for key, value in settings.items())
        about.append((title, text))
    chosen = (scores if selection is None else selection).metadata.get("selection")
    if isinstance(chosen, dict):
        text = ", ".join(f"{key} {_shown(value)}" for key, value in chosen.items())
        about.append(("selection", text))
    about.append(("vl4pose", str(metadata.get("version", "?"))))
    return about


def _shown(value: Any) -> str:
    if isinstance(value, list):
        return "(" + ", ".join(map(_shown, value)) + ")"
    if isinstance(value, dict):
        return "(" + ", ".join(f"{key} {_shown(item)}" for key, item in value.items()) + ")"
    return "none" if value is None else str(value)


def _histogram(values: FloatArray, selected: npt.NDArray[np.bool_]) -> dict[str, Any] | None:
    if not np.isfinite(values).any():
        return None
    histogram = score_histogram(values, selected)
    return {
        "edges": _json_numbers(histogram.edges.tolist()),
        "counts": histogram.counts.tolist(),
        "selected": histogram.selected.tolist(),
        "ticks": [[float(f"{score:.6g}"), round(where, 5)] for score, where in histogram.ticks],
        "compressed": histogram.compressed,
    }


def _add_pictures(
    content: PageContent,
    rows: _Rows,
    people: dict[int, dict[str, Any]],
    *,
    folder: Folder | str,
    scorer: Scorer | None,
    max_image_size: int,
) -> None:
    """Add pictures, heatmaps, marks, peaks and words of the rows ``people`` to the content."""
    details = rows.table.rows.select(["image", "box", "width", "height", "error", "peaks"])
    of_row = dict(zip(people, details.take(pa.array(people, pa.int64())).to_pylist(), strict=True))

    def picture(row: int) -> Picture | str:
        try:
            return _picture(rows, row, of_row[row], folder, max_image_size)
        except NoPictureError as error:
            return str(error)

    with ThreadPoolExecutor(_DECODERS, thread_name_prefix="vl4pose-decode") as pool:
        pictures = dict(zip(people, pool.map(picture, people), strict=True))
    shown: dict[str, Any] = {}
    for row, said in people.items():
        made, detail = pictures[row], of_row[row]
        entry: dict[str, Any] = {
            "alt": _alt_text(rows, row, detail, said),
            "peaks": [[_json_numbers(peak) for peak in joint] for joint in detail["peaks"] or []],
        }
        if np.isfinite(rows.keypoints[row]).all():
            entry["points"] = rows.keypoints[row].round(1).tolist()
        if np.isfinite(rows.refined[row]).all():
            entry["refinedPoints"] = rows.refined[row].round(1).tolist()
        if np.isfinite(rows.params[row]).all() and np.isfinite(rows.keypoints[row]).all():
            entry["marks"] = _marks(rows, row, rows.keypoints[row])
            entry["lengths"] = _lengths(rows, row, rows.keypoints[row])
            if np.isfinite(rows.refined[row]).all():
                entry["refinedMarks"] = _marks(rows, row, rows.refined[row])
        if isinstance(made, Picture):
            entry |= {"src": made.uri, "part": made.part}
            content.num_pictures += 1
        else:
            entry["missing"] = made
            content.missing.append((rows.titles[row], made))
        shown[str(row)] = entry
    if scorer is not None and not isinstance(folder, str):
        _add_heatmaps(content, shown, rows, of_row, pictures, folder, scorer)
    content.data["pictures"] = shown


def _picture(
    rows: _Rows, row: int, detail: dict[str, Any], folder: Folder | str, max_size: int
) -> Picture:
    if detail["error"] is not None:
        raise NoPictureError(detail["error"])
    if isinstance(folder, str):
        raise NoPictureError(folder)
    size = (detail["width"], detail["height"])
    part = shown_part(size, detail["box"], [rows.keypoints[row], rows.refined[row]])
    return make_picture(detail["image"], folder, size, part, max_size)


def _marks(rows: _Rows, row: int, keypoints: FloatArray) -> list[list[list[float]]]:
    """Return for each link the arc of its expected length and the ends of its deviation."""
    marks = drawing.expected_marks(keypoints, rows.params[row], rows.skeleton, rows.scale[row])
    return [[arc.round(1).tolist(), ends.round(1).tolist()] for arc, ends in marks]


def _lengths(rows: _Rows, row: int, keypoints: FloatArray) -> list[list[float]]:
    """Return for each link its length, the expected one and its deviation, in heatmap pixels."""
    length = link_lengths(keypoints, rows.skeleton, rows.scale[row])
    table = np.stack([length, *expected_lengths(rows.params[row])], -1)
    return [[float(f"{value:.4g}") for value in link] for link in table.tolist()]


def _alt_text(rows: _Rows, row: int, detail: dict[str, Any], said: dict[str, Any]) -> str:
    """Return what is unusual about a pose, in sentences."""
    if detail["error"] is not None:
        return "It could not be scored."
    sentences = []
    reasons = said.get("reasons")
    if isinstance(reasons, str) and reasons:
        sentences.append(reasons if reasons.endswith((".", "!", "?")) else f"{reasons}.")
    else:
        sentences.append(drawing.describe_bones(rows.z[row], rows.skeleton.link_names))
        sentences.extend(_about_peaks(rows.skeleton.joints, detail["peaks"] or []))
    moved = int((rows.keypoints[row] != rows.refined[row]).any(axis=1).sum())
    if moved and np.isfinite(rows.refined[row]).all():
        joints = "1 joint" if moved == 1 else f"{moved} joints"
        sentences.append(f"Refinement moves {joints}.")
    return " ".join(sentences)


def _about_peaks(joints: Sequence[str], peaks: list[list[list[float]]]) -> list[str]:
    counts = {
        joint: sum(peak[2] >= LEAST_PEAK_WEIGHT for peak in of_joint)
        for joint, of_joint in zip(joints, peaks, strict=False)
    }
    several = sorted((j for j in counts if counts[j] > 1), key=lambda j: -counts[j])
    if not several:
        return []
    said = ", ".join(f"{readable(joint)} {counts[joint]}" for joint in several[:3])
    more = f" and {len(several) - 3} more joints" if len(several) > 3 else ""
    return [f"Several peaks of weight: {said}{more}."]


def _add_heatmaps(
    content: PageContent,
    shown: dict[str, Any],
    rows: _Rows,
    of_row: dict[int, dict[str, Any]],
    pictures: dict[int, Picture | str],
    folder: Folder,
    scorer: Scorer,
) -> None:
    from vl4pose.report.heatmap_sheets import Pictured, heatmap_sheets

    people = [
        Pictured(row, of_row[row]["image"], of_row[row]["box"], rows.confidence[row])
        for row, picture in pictures.items()
        if isinstance(picture, Picture)
    ]
    transform = ImageTransform.from_json(rows.table.metadata["settings"]["input"])
    sheets = heatmap_sheets(people, folder, scorer, transform)
    for row, sheet in sheets.items():
        shown[str(row)] |= {"heatmaps": sheet.uri, "heatmapPlace": sheet.place}
        if not sheet.same:
            shown[str(row)]["changed"] = True
            content.changed.append(rows.titles[row])
    content.num_heatmaps = len(sheets)
