"""Skeletons: named joints and the links that make them a rooted tree."""

from __future__ import annotations

import difflib
import json
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from vl4pose import _core

_SHORT_PARTS = {
    "sho": "shoulder",
    "elb": "elbow",
    "wri": "wrist",
    "hip": "hip",
    "knee": "knee",
    "ankl": "ankle",
    "eye": "eye",
    "ear": "ear",
}
_ALIASES = {
    f"{side[0]}{short}": f"{side}_{full}"
    for side in ("left", "right")
    for short, full in _SHORT_PARTS.items()
}


def nearest(name: str, valid: Iterable[str]) -> str:
    """Return ``valid`` as a sentence for an error message, with the nearest name to ``name``."""
    names = list(valid)
    close = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
    guess = f" (did you mean {close[0]!r}?)" if close else ""
    return f"one of {', '.join(names)}{guess}"


class Skeleton:
    """Named joints and directed links parent -> child, a rooted tree over all joints.

    Parameters
    ----------
    name : str
        What the skeleton is called in messages and files.
    joints : sequence of str
        The J joint names, in the order of the heatmaps.
    links : sequence of (str, str) or (int, int)
        The L = J - 1 links (parent, child), by name or index, in the order of ``params``. Every
        joint but one (the root) is the child of exactly one link, and there is no cycle.
    pairs : sequence of (str, str) or (int, int), optional
        Left/right pairs. By default those whose names differ by ``left_`` and ``right_``.
    sigmas : sequence of float, optional
        One positive keypoint sigma per joint, for object keypoint similarity (OKS).

    Attributes
    ----------
    joints : tuple of str
    links : tuple of (int, int)
        (parent, child) joint indices, in the order of ``params``.
    link_names : tuple of str
        ``"parent>child"`` for each link.
    root : int
        Index of the joint that is no link's child.
    pairs : tuple of (int, int)
    sigmas : tuple of float, or None

    Raises
    ------
    TypeError
        If a name is not a string or a joint is given by neither name nor index.
    ValueError
        If names repeat, a link or pair names an unknown joint, or the links are not a rooted tree
        over all joints: two parents, two roots, a cycle or a joint without a link.

    Notes
    -----
    A skeleton is immutable and hashable. Short names such as ``lelb`` (for ``left_elbow``) are
    accepted wherever a joint is named.
    """

    __slots__ = ("_tree", "joints", "link_names", "links", "name", "pairs", "root", "sigmas")

    name: str
    joints: tuple[str, ...]
    links: tuple[tuple[int, int], ...]
    link_names: tuple[str, ...]
    root: int
    pairs: tuple[tuple[int, int], ...]
    sigmas: tuple[float, ...] | None
    _tree: _core.Tree

    def __init__(
        self,
        name: str,
        joints: Sequence[str],
        links: Sequence[tuple[str | int, str | int]],
        *,
        pairs: Sequence[tuple[str | int, str | int]] | None = None,
        sigmas: Sequence[float] | None = None,
    ) -> None:
        if not isinstance(name, str):
            raise TypeError(f"name must be a string, got {type(name).__name__}")
        set_ = object.__setattr__
        set_(self, "name", name)
        set_(self, "joints", _checked_joints(joints))
        set_(self, "links", tuple(self._pair(link, "links") for link in links))
        set_(self, "link_names", tuple(self._link_name(*link) for link in self.links))
        set_(self, "root", self._checked_root())
        set_(self, "pairs", self._default_pairs() if pairs is None else self._checked_pairs(pairs))
        set_(self, "sigmas", None if sigmas is None else self._checked_sigmas(sigmas))
        parents = [-1] * self.num_joints
        for parent, child in self.links:
            parents[child] = parent
        set_(self, "_tree", _core.Tree(parents, [child for _, child in self.links]))

    @property
    def num_joints(self) -> int:
        """Number of joints J."""
        return len(self.joints)

    @property
    def num_links(self) -> int:
        """Number of links L = J - 1."""
        return len(self.links)

    def joint_index(self, joint: str) -> int:
        """Return the index of a joint from its name or a short alias such as ``lelb``.

        Raises
        ------
        ValueError
            If there is no such joint; the message lists the names and the nearest one.
        """
        full = joint if joint in self.joints else _ALIASES.get(joint, joint)
        try:
            return self.joints.index(full)
        except ValueError:
            raise ValueError(f"joint must be {nearest(full, self.joints)}, got {joint!r}") from None

    @classmethod
    def from_file(cls, path: str | os.PathLike[str]) -> Skeleton:
        """Read a skeleton from a JSON file written by :meth:`to_file`.

        Raises
        ------
        ValueError
            If the file is not JSON or does not describe a skeleton; the message names the file.
        """
        path = Path(path)
        try:
            return cls._from_json(json.loads(path.read_text(encoding="utf-8")))
        except (ValueError, TypeError) as error:
            raise ValueError(f"{path} must hold a skeleton as JSON: {error}") from error

    def to_file(self, path: str | os.PathLike[str]) -> None:
        """Write the skeleton to a JSON file, joints by name."""
        Path(path).write_text(json.dumps(self.to_json(), indent=2) + "\n", encoding="utf-8")

    def to_json(self) -> dict[str, Any]:
        """Return the skeleton as the object that :meth:`to_file` writes."""

        def named(pairs: Sequence[tuple[int, int]]) -> list[list[str]]:
            return [[self.joints[a], self.joints[b]] for a, b in pairs]

        return {
            "name": self.name,
            "joints": list(self.joints),
            "links": named(self.links),
            "pairs": named(self.pairs),
            "sigmas": None if self.sigmas is None else list(self.sigmas),
        }

    @classmethod
    def _from_json(cls, data: object) -> Skeleton:
        if not isinstance(data, Mapping):
            raise TypeError(f"expected an object, got {type(data).__name__}")
        keys = ("name", "joints", "links", "pairs", "sigmas")
        for key in data:
            if key not in keys:
                raise ValueError(f"key must be {nearest(str(key), keys)}, got {key!r}")
        for key in keys[:3]:
            if key not in data:
                raise ValueError(f"key {key!r} is missing")
        return cls(
            data["name"],
            data["joints"],
            data["links"],
            pairs=data.get("pairs"),
            sigmas=data.get("sigmas"),
        )

    def _joint(self, joint: object, argument: str) -> int:
        if isinstance(joint, str):
            try:
                return self.joint_index(joint)
            except ValueError as error:
                raise ValueError(f"{argument}: {error}") from None
        if isinstance(joint, int) and not isinstance(joint, bool):
            if not 0 <= joint < self.num_joints:
                raise ValueError(
                    f"{argument} must index joints 0 to {self.num_joints - 1}, got {joint}"
                )
            return joint
        raise TypeError(
            f"{argument} must name joints by string or index, got {type(joint).__name__}"
        )

    def _pair(self, pair: object, argument: str) -> tuple[int, int]:
        if isinstance(pair, str) or not isinstance(pair, Sequence) or len(pair) != 2:
            raise TypeError(f"{argument} must hold pairs of joints, got {pair!r}")
        return self._joint(pair[0], argument), self._joint(pair[1], argument)

    def _link_name(self, parent: int, child: int) -> str:
        return f"{self.joints[parent]}>{self.joints[child]}"

    def _checked_root(self) -> int:
        parents: dict[int, int] = {}
        for parent, child in self.links:
            if child in parents:
                raise ValueError(
                    f"links must give each joint one parent, got two for {self.joints[child]!r}: "
                    f"{self.joints[parents[child]]!r} and {self.joints[parent]!r}"
                )
            parents[child] = parent
        roots = [j for j in range(self.num_joints) if j not in parents]
        reached = set(roots[:1])
        for _ in self.links:
            reached |= {child for child, parent in parents.items() if parent in reached}
        touched = {j for link in self.links for j in link}
        for j in range(self.num_joints):
            if self.num_joints > 1 and j not in touched:
                raise ValueError(f"links must reach every joint, got none for {self.joints[j]!r}")
        if len(roots) > 1:
            names = ", ".join(repr(self.joints[j]) for j in roots)
            raise ValueError(f"links must leave one root, got {len(roots)}: {names}")
        for j in range(self.num_joints):
            if j not in reached:
                raise ValueError(
                    f"links must have no cycle, got one that holds {self._cycle(j, parents)}"
                )
        return roots[0]

    def _cycle(self, joint: int, parents: Mapping[int, int]) -> str:
        seen: list[int] = []
        while joint not in seen:
            seen.append(joint)
            joint = parents[joint]
        loop = [*seen[seen.index(joint) :], joint]
        return " > ".join(repr(self.joints[j]) for j in reversed(loop))

    def _default_pairs(self) -> tuple[tuple[int, int], ...]:
        index = {name: j for j, name in enumerate(self.joints)}
        return tuple(
            (j, index[right])
            for name, j in index.items()
            if (right := name.replace("left_", "right_", 1)) != name and right in index
        )

    def _checked_pairs(self, pairs: Sequence[object]) -> tuple[tuple[int, int], ...]:
        checked = tuple(self._pair(pair, "pairs") for pair in pairs)
        seen: set[int] = set()
        for j in (j for pair in checked for j in pair):
            if j in seen:
                raise ValueError(
                    f"pairs must name each joint once at most, got {self.joints[j]!r} twice"
                )
            seen.add(j)
        return checked

    def _checked_sigmas(self, sigmas: Sequence[float]) -> tuple[float, ...]:
        checked = tuple(float(sigma) for sigma in sigmas)
        if len(checked) != self.num_joints:
            raise ValueError(
                f"sigmas must hold one number per joint ({self.num_joints}), got {len(checked)}"
            )
        for sigma in checked:
            if not 0 < sigma < float("inf"):
                raise ValueError(f"sigmas must be positive and finite, got {sigma}")
        return checked

    def _key(self) -> tuple[object, ...]:
        return self.name, self.joints, self.links, self.pairs, self.sigmas

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"Skeleton is immutable: cannot set {name!r}")

    def __delattr__(self, name: str) -> None:
        raise AttributeError(f"Skeleton is immutable: cannot delete {name!r}")

    def __eq__(self, other: object) -> bool:
        return self._key() == other._key() if isinstance(other, Skeleton) else NotImplemented

    def __hash__(self) -> int:
        return hash(self._key())

    def __repr__(self) -> str:
        return (
            f"<Skeleton {self.name!r}: {self.num_joints} joints, root {self.joints[self.root]!r}>"
        )

    def __reduce__(self) -> tuple[Any, ...]:
        return Skeleton._from_json, (self.to_json(),)


def _checked_joints(joints: Sequence[str]) -> tuple[str, ...]:
    if isinstance(joints, str) or not isinstance(joints, Sequence):
        raise TypeError(f"joints must be a sequence of names, got {type(joints).__name__}")
    for joint in joints:
        if not isinstance(joint, str):
            raise TypeError(f"joints must hold strings, got {type(joint).__name__}")
    checked = tuple(_ALIASES.get(joint, joint) for joint in joints)
    if not checked:
        raise ValueError("joints must hold at least one name, got none")
    for joint in checked:
        if checked.count(joint) > 1:
            raise ValueError(f"joints must have distinct names, got {joint!r} twice")
    return checked


def _tree_links(links: str) -> list[tuple[str, str]]:
    return [(parent, child) for parent, child in (link.split(">") for link in links.split())]


_RELEASED_JOINTS = "head neck lsho lelb lwri rsho relb rwri lhip lknee lankl rhip rknee rankl"
_FINGERS = ("thumb", "index", "middle", "ring", "little")
_HAND_JOINTS = ["wrist"] + [
    f"{finger}_{part}"
    for finger in _FINGERS
    for part in (("cmc", "mcp", "ip", "tip") if finger == "thumb" else ("mcp", "pip", "dip", "tip"))
]
_ICVL_JOINTS = ["palm"] + [
    f"{finger}_{part}" for finger in _FINGERS for part in ("root", "middle", "tip")
]


def _finger_links(joints: Sequence[str], per_finger: int) -> list[tuple[int, int]]:
    return [(0 if (j - 1) % per_finger == 0 else j - 1, j) for j in range(1, len(joints))]


_COCO_JOINTS = (
    "nose leye reye lear rear lsho rsho lelb relb lwri rwri lhip rhip lknee rknee lankl rankl"
)
# The per-joint standard deviations published with COCO's keypoint evaluation.
_COCO_SIGMAS = (
    "0.026 0.025 0.025 0.035 0.035 0.079 0.079 0.072 0.072 0.062 0.062 0.107 0.107 0.087 0.087 "
    "0.089 0.089"
)

_PRESETS = {
    skeleton.name: skeleton
    for skeleton in (
        Skeleton(
            "lsp",
            _RELEASED_JOINTS.split(),
            _tree_links(
                "head>neck neck>lsho lsho>lelb lelb>lwri neck>rsho rsho>relb relb>rwri "
                "lsho>lhip lhip>lknee lknee>lankl rsho>rhip rhip>rknee rknee>rankl"
            ),
        ),
        Skeleton(
            "mpii",
            [*_RELEASED_JOINTS.split(), "pelvis", "thorax"],
            _tree_links(
                "head>neck neck>thorax thorax>pelvis thorax>lsho lsho>lelb lelb>lwri thorax>rsho "
                "rsho>relb relb>rwri pelvis>lhip lhip>lknee lknee>lankl pelvis>rhip rhip>rknee "
                "rknee>rankl"
            ),
        ),
        Skeleton(
            "coco",
            _COCO_JOINTS.split(),
            _tree_links(
                "nose>leye nose>reye leye>lear reye>rear nose>lsho nose>rsho lsho>lelb lelb>lwri "
                "rsho>relb relb>rwri lsho>lhip lhip>lknee lknee>lankl rsho>rhip rhip>rknee "
                "rknee>rankl"
            ),
            sigmas=[float(sigma) for sigma in _COCO_SIGMAS.split()],
        ),
        Skeleton("hand", _HAND_JOINTS, _finger_links(_HAND_JOINTS, 4)),
        Skeleton("icvl", _ICVL_JOINTS, _finger_links(_ICVL_JOINTS, 3)),
    )
}
_PRESET_OF_NUM_JOINTS = {14: "lsp", 16: "mpii", 17: "coco", 21: "hand"}


def get_skeleton(name: str) -> Skeleton:
    """Return a preset skeleton: ``"mpii"``, ``"lsp"``, ``"coco"``, ``"hand"`` or ``"icvl"``.

    Raises
    ------
    ValueError
        If there is no such preset; the message lists them and the nearest one.
    """
    if not isinstance(name, str):
        raise TypeError(f"skeleton name must be a string, got {type(name).__name__}")
    try:
        return _PRESETS[name]
    except KeyError:
        raise ValueError(f"skeleton must be {nearest(name, _PRESETS)}, got {name!r}") from None


def resolve_skeleton(skeleton: Skeleton | str | None, num_joints: int) -> Skeleton:
    """Return the skeleton that a ``skeleton=`` argument means for ``num_joints`` joints.

    Raises
    ------
    TypeError
        If ``skeleton`` is neither a Skeleton, a name nor None.
    ValueError
        If the name is unknown, no preset goes by that many joints, or the numbers differ.
    """
    if skeleton is None:
        try:
            return _PRESETS[_PRESET_OF_NUM_JOINTS[num_joints]]
        except KeyError:
            presets = ", ".join(f"{name} ({len(s.joints)})" for name, s in _PRESETS.items())
            raise ValueError(
                f"skeleton must be given for {num_joints} joints: only 14, 16, 17 and 21 have a "
                f"default among the presets {presets}"
            ) from None
    if isinstance(skeleton, str):
        skeleton = get_skeleton(skeleton)
    elif not isinstance(skeleton, Skeleton):
        raise TypeError(
            f"skeleton must be a Skeleton, a preset's name or None, got {type(skeleton).__name__}"
        )
    if skeleton.num_joints != num_joints:
        raise ValueError(
            f"skeleton must have as many joints as there are heatmaps ({num_joints}), got "
            f"{skeleton.name!r} with {skeleton.num_joints}"
        )
    return skeleton
