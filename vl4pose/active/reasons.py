"""Why a row was chosen: worst bones, ambiguous joints, left and right that look exchanged."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt

from vl4pose.active.left_right import exchange_gains, exchanges
from vl4pose.active.percentiles import Reference, percentiles
from vl4pose.bone_scores import link_z_scores
from vl4pose.results import Status
from vl4pose.skeleton import readable

if TYPE_CHECKING:
    from vl4pose.score_table import ScoreTable

__all__ = [
    "POSE_COLUMNS",
    "AmbiguousJoint",
    "Choice",
    "PoseReasons",
    "SwapSuspect",
    "WorstLink",
    "pose_reasons",
    "sentence",
]

# What `pose_reasons` reads of a table.
POSE_COLUMNS = ("per_link", "link_params", "keypoints", "heatmap_scale", "entropy", "peaks")
NUM_WORST_LINKS = 3
LEAST_PEAK_WEIGHT = 0.1  # of a peak that makes a joint ambiguous
LEAST_GAIN = 1e-3  # nats: less is rounding
# What a sentence tells: of everything above, that which a person would look at first.
_TOLD_LINKS, _TOLD_JOINTS, _TOLD_SWAPS = 2, 3, 2
TOLD_Z = 2.0
_TOLD_LINK_PERCENTILE = 5.0
TOLD_GAIN = float(np.log(10))  # ten times as likely


class WorstLink(NamedTuple):
    """A link with its own term of the expected log-likelihood, in nats.

    ``z`` is how many standard deviations the bone of the argmax pose is longer than expected;
    ``percentile`` the share, 0 to 100, of the reference set in which the same link's term is not
    higher. A value that is not known is None.
    """

    link: str
    log_likelihood: float
    z: float | None
    percentile: float | None


class AmbiguousJoint(NamedTuple):
    """A joint with ``num_peaks`` peaks of at least a tenth of its weight each."""

    joint: str
    num_peaks: int
    entropy: float


class SwapSuspect(NamedTuple):
    """A left/right pair whose exchange raises the log-likelihood of the argmax pose by ``gain``."""

    pair: str
    gain: float
    with_below: bool


@dataclass(frozen=True)
class PoseReasons:
    """What stands out in one pose, the most striking of each kind first."""

    worst_links: list[WorstLink]
    ambiguous_joints: list[AmbiguousJoint]
    swap_suspects: list[SwapSuspect]


class Choice(NamedTuple):
    """How a row came to be chosen."""

    chosen_by: str
    position: int  # among all selectable rows
    num_selectable: int
    ranked_by: str
    score: float
    percentile: float
    status: int


def pose_reasons(table: ScoreTable, reference: Reference) -> list[PoseReasons]:
    """Return what stands out in each pose of a table of scores.

    Parameters
    ----------
    table : ScoreTable
    reference : Reference
        For the percentiles of links.

    Notes
    -----
    The worst links are those with the lowest own term of the expected log-likelihood (Eq. 3 of the
    paper), which is what they take away from the score. The z-score is of the highest peaks alone:
    a bone can have a low term and a small z-score, where lower peaks put it elsewhere. Were bones
    and peaks as the model has it, z would be a standard normal number; peaks are not, which is what
    the percentile is for. It compares with the same link, network and settings, on poses that
    may be right or wrong; it is calibrated as far as the reference is like the pool, and where the
    networks did not train on it.

    Of real poses (bench/QUALITY.md), half of the bones that a sentence names have a wrong joint,
    and four in ten of the joints with several peaks are wrong: three times as many as of all. An
    exchange that makes the pose ten times as likely is right in a fifth of the cases, twice as many
    as of all: bone lengths hardly tell left from right.
    """
    skeleton = table.skeleton
    per_link = _shaped(table, "per_link", (skeleton.num_links,))
    params = _shaped(table, "link_params", (skeleton.num_links, 2))
    keypoints = _shaped(table, "keypoints", (skeleton.num_joints, 2))
    scale = _shaped(table, "heatmap_scale", (2,))
    z = link_z_scores(keypoints, params, skeleton, scale)
    entropy = _shaped(table, "entropy", (skeleton.num_joints,))
    gains = exchange_gains(keypoints / scale[:, None], params, skeleton)
    ways = exchanges(skeleton)
    terms = reference.link_terms
    compared = np.full((len(table), skeleton.num_links), np.nan)
    if len(terms) == skeleton.num_links:
        for link, ordered in enumerate(terms):
            compared[:, link] = percentiles(ordered, per_link[:, link])
    peaks = table.rows["peaks"].to_pylist()
    found = []
    for i in range(len(table)):
        links = np.argsort(per_link[i], kind="stable")[:NUM_WORST_LINKS]
        worst = [
            WorstLink(
                skeleton.link_names[link],
                float(per_link[i, link]),
                _known(z[i, link]),
                _known(compared[i, link]),
            )
            for link in links
            if not np.isnan(per_link[i, link])
        ]
        ambiguous = []
        for joint, of_joint in enumerate(peaks[i] or ()):
            number = sum(weight >= LEAST_PEAK_WEIGHT for _, _, weight, _ in of_joint)
            if number > 1:
                ambiguous.append(
                    AmbiguousJoint(skeleton.joints[joint], number, float(entropy[i, joint]))
                )
        swaps: dict[int, SwapSuspect] = {}  # of each pair the better exchange
        for way, gain in zip(ways, gains[i].tolist(), strict=True):
            if gain > max(LEAST_GAIN, swaps[way.pair].gain if way.pair in swaps else 0):
                names = "/".join(skeleton.joints[joint] for joint in skeleton.pairs[way.pair])
                swaps[way.pair] = SwapSuspect(names, gain, way.with_below)
        found.append(
            PoseReasons(
                worst,
                sorted(ambiguous, key=lambda joint: -joint.entropy),
                sorted(swaps.values(), key=lambda swap: -swap.gain),
            )
        )
    return found


def sentence(choice: Choice, pose: PoseReasons | None, reference: Reference) -> str:
    """Return why a row was chosen, for a person, as one sentence."""
    place = f"number {choice.position:,} of {choice.num_selectable:,} by {choice.ranked_by}"
    if choice.ranked_by == "chance":
        place = f"one of {choice.num_selectable:,}"
    parts = [
        {
            "ranking": place[0].upper() + place[1:],
            "diversity": f"Unlike those chosen before it, {place}",
            "random": f"Drawn at random, {place}",
        }[choice.chosen_by]
    ]
    if not np.isnan(choice.percentile):
        share = _percent(100 - choice.percentile)
        parts.append(f"score {choice.score:.2f}, lower than {share} of the {reference.title}")
    if pose is not None:
        parts += _told(pose, reference)
    status = Status(choice.status)
    if Status.PEAK_FALLBACK in status:
        parts.append("a heatmap without a peak")
    if Status.CLAMPED_PARAMS in status:
        parts.append("expected bones outside their range")
    return "; ".join(parts) + "."


def _told(pose: PoseReasons, reference: Reference) -> list[str]:
    parts = []
    for link in pose.worst_links[:_TOLD_LINKS]:
        rare = link.percentile is not None and link.percentile <= _TOLD_LINK_PERCENTILE
        far = link.z is not None and abs(link.z) >= TOLD_Z
        if not (rare or far):
            continue
        what = "has an unlikely length at its lower peaks"
        if far:
            assert link.z is not None
            what = f"{abs(link.z):.1f} sd too {'long' if link.z > 0 else 'short'}"
        nats = f"{link.log_likelihood:.1f} nats"
        if rare and not reference.is_pool:
            assert link.percentile is not None
            nats += f", lower than in {_percent(100 - link.percentile)} of the reference"
        parts.append(f"{readable(link.link)} {what} ({nats})")
    joints = [f"{readable(joint.joint)} ({joint.num_peaks})" for joint in pose.ambiguous_joints]
    if joints:
        more = len(joints) - _TOLD_JOINTS
        named = ", ".join(joints[:_TOLD_JOINTS]) + (f" and {more} more" if more > 0 else "")
        parts.append(f"several peaks for {named}")
    for swap in pose.swap_suspects[:_TOLD_SWAPS]:
        if swap.gain >= TOLD_GAIN:
            pair = readable(swap.pair).replace("/", " and ")
            below = ", and what is below," if swap.with_below else ""
            parts.append(f"likelier by {swap.gain:.1f} nats with {pair}{below} exchanged")
    return parts or ["no bone, joint or pair stands out"]


def _percent(share: float) -> str:
    """Return a percentage that says 100 % or 0 % only where it is."""
    for digits in range(1, 7):
        if not 0 < share < 100 or 0 < float(f"{share:.{digits}f}") < 100:
            break
    return f"{share:.{digits if 0 < share < 100 else 0}f} %"


def _known(value: Any) -> float | None:
    return None if np.isnan(value) else float(value)


def _shaped(table: ScoreTable, column: str, shape: tuple[int, ...]) -> npt.NDArray[np.float64]:
    """Return a column (N, ...) of one shape, also where no row has a value."""
    values = table.arrays(column)
    if values.shape[1:] == shape:
        return values
    return np.full((len(table), *shape), np.nan)
