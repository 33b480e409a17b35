"""Skeletons: named joints and the links that make them a rooted tree."""

from __future__ import annotations

import json
import numbers
import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from vl4pose import _core
from vl4pose._arrays import is_compiling
from vl4pose._sentences import did_you_mean

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


def _full_name(joint: str) -> str:
    return _ALIASES.get(joint, joint)


def nearest(name: str, valid: Iterable[str]) -> str:
    """Return ``valid`` as a sentence for an error message, with the nearest name to ``name``."""
    names = list(valid)
    if is_compiling():  # torch cannot trace a comparison of strings
        return f"one of {', '.join(names)}"
    return f"one of {', '.join(names)}{did_you_mean(name, names)}"


def shown(value: object) -> str:
    """Return a number, a string or None as error messages show it, and of others the type."""
    if isinstance(value, int) and value.bit_length() > 256:
        return f"an integer of {value.bit_length()} bits"
    if value is None or isinstance(value, str | numbers.Number):
        return repr(value)
    return type(value).__name__


def readable(name: str) -> str:
    """Return the name of a joint or a link in words: "left_hip>left_knee" is "left hip to ..."."""
    return name.replace("_", " ").replace(">", " to ")


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
        If a name is not a string, a joint is given by neither name nor index, a sigma is no number,
        or something is no sequence.
    ValueError
        If names repeat, are empty or hold a ``>``, a link or pair names an unknown joint, or the
        links are not a rooted tree over all joints: two parents, two roots, a cycle or a joint
        without a link. If pairs share a joint, or sigmas are not one positive number per joint.

    Notes
    -----
    A skeleton is immutable and hashable. Short names such as ``lelb`` (for ``left_elbow``) are
    accepted wherever a joint is named.
    """

    __slots__ = (
        "_flat_links",
        "_tree",
        "joints",
        "link_names",
        "links",
        "name",
        "pairs",
        "root",
        "sigmas",
    )

    name: str
    joints: tuple[str, ...]
    links: tuple[tuple[int, int], ...]
    link_names: tuple[str, ...]
    root: int
    pairs: tuple[tuple[int, int], ...]
    sigmas: tuple[float, ...] | None
    _tree: _core.Tree
    _flat_links: tuple[int, ...]  # parent and child of each link, one after another

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
            raise TypeError(f"name must be a string, got {shown(name)}")
        set_ = object.__setattr__
        set_(self, "name", name)
        set_(self, "joints", _checked_joints(joints))
        set_(self, "links", self._checked_pairs(links, "links"))
        set_(self, "link_names", tuple(self._link_name(*link) for link in self.links))
        set_(self, "root", self._checked_root())
        set_(self, "pairs", self._default_pairs() if pairs is None else self._checked_sides(pairs))
        set_(self, "sigmas", None if sigmas is None else self._checked_sigmas(sigmas))
        parents = [-1] * self.num_joints
        for parent, child in self.links:
            parents[child] = parent
        set_(self, "_tree", _core.Tree(parents, [child for _, child in self.links]))
        set_(self, "_flat_links", tuple(joint for link in self.links for joint in link))

    @property
    def num_joints(self) -> int:
        """Number of joints J."""
        return len(self.joints)

    @property
    def num_links(self) -> int:
        """Number of links L = J - 1."""
        return len(self.links)

    @property
    def flip_index(self) -> tuple[int, ...]:
        """Which joint each one becomes in a mirror image: ``keypoints[:, skeleton.flip_index]``."""
        order = list(range(self.num_joints))
        for left, right in self.pairs:
            order[left], order[right] = right, left
        return tuple(order)

    def joint_index(self, joint: str) -> int:
        """Return the index of a joint from its name or a short alias such as ``lelb``.

        Raises
        ------
        TypeError
            If ``joint`` is not a string.
        ValueError
            If there is no such joint; the message lists the names and the nearest one.
        """
        if not isinstance(joint, str):
            raise TypeError(f"joint must be a string, got {shown(joint)}")
        return self._index_of(joint, "joint must be")

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
            raise TypeError(f"expected an object, got {shown(data)}")
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

    def _index_of(self, joint: str, rule: str) -> int:
        if joint in self.joints:
            return self.joints.index(joint)
        full = _full_name(joint)
        for index, name in enumerate(self.joints):
            if _full_name(name) == full:
                return index
        raise ValueError(f"{rule} {nearest(full, self.joints)}, got {joint!r}")

    def _joint(self, joint: object, argument: str) -> int:
        if isinstance(joint, str):
            return self._index_of(joint, f"{argument} must name joints, each")
        if isinstance(joint, numbers.Integral) and not isinstance(joint, bool):
            index = int(joint)
            if not 0 <= index < self.num_joints:
                raise ValueError(
                    f"{argument} must index joints 0 to {self.num_joints - 1}, got {shown(index)}"
                )
            return index
        raise TypeError(f"{argument} must name joints by string or index, got {shown(joint)}")

    def _checked_pairs(self, pairs: object, argument: str) -> tuple[tuple[int, int], ...]:
        checked = []
        for pair in _items(pairs, argument, "pairs of joints"):
            if isinstance(pair, str) or not isinstance(pair, Sequence) or len(pair) != 2:
                raise TypeError(f"{argument} must hold pairs of joints as tuples, got {pair!r}")
            checked.append((self._joint(pair[0], argument), self._joint(pair[1], argument)))
        return tuple(checked)

    def _link_name(self, parent: int, child: int) -> str:
        return f"{self.joints[parent]}>{self.joints[child]}"

    def _checked_root(self) -> int:
        parents: dict[int, int] = {}
        children: dict[int, list[int]] = {j: [] for j in range(self.num_joints)}
        for parent, child in self.links:
            if parents.get(child) == parent:
                raise ValueError(
                    f"links must be distinct, got {self._link_name(parent, child)!r} twice"
                )
            if child in parents:
                raise ValueError(
                    f"links must give each joint one parent, got two for {self.joints[child]!r}: "
                    f"{self.joints[parents[child]]!r} and {self.joints[parent]!r}"
                )
            parents[child] = parent
            children[parent].append(child)
        roots = [j for j in range(self.num_joints) if j not in parents]
        for j in roots:
            if self.num_joints > 1 and not children[j]:
                raise ValueError(f"links must reach every joint, got none for {self.joints[j]!r}")
        if len(roots) > 1:
            names = ", ".join(repr(self.joints[j]) for j in roots)
            raise ValueError(f"links must leave one root, got {len(roots)}: {names}")
        reached = roots[:]
        for j in reached:  # which grows meanwhile
            reached += children[j]
        unreached = parents.keys() - reached
        if unreached:
            raise ValueError(
                f"links must have no cycle, got {self._cycle(min(unreached), parents)}"
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
        index = {_full_name(name): j for j, name in enumerate(self.joints)}
        return tuple(
            (j, index[right])
            for name, j in index.items()
            if (right := name.replace("left_", "right_", 1)) != name and right in index
        )

    def _checked_sides(self, pairs: object) -> tuple[tuple[int, int], ...]:
        checked = self._checked_pairs(pairs, "pairs")
        seen: set[int] = set()
        for j in (j for pair in checked for j in pair):
            if j in seen:
                raise ValueError(
                    f"pairs must name each joint once at most, got {self.joints[j]!r} twice"
                )
            seen.add(j)
        return checked

    def _checked_sigmas(self, sigmas: object) -> tuple[float, ...]:
        items = _items(sigmas, "sigmas", "numbers")
        if len(items) != self.num_joints:
            raise ValueError(
                f"sigmas must hold one number per joint ({self.num_joints}), got {len(items)}"
            )
        for sigma in items:
            if isinstance(sigma, bool) or not isinstance(sigma, numbers.Real):
                raise TypeError(f"sigmas must hold real numbers, got {shown(sigma)}")
            if not 0 < sigma <= sys.float_info.max:  # type: ignore[operator]
                raise ValueError(f"sigmas must be positive and finite, got {shown(sigma)}")
        return tuple(float(sigma) for sigma in items)

    def _key(self) -> tuple[object, ...]:
        return self.name, self.joints, self.links, self.pairs, self.sigmas

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"Skeleton is immutable: cannot set {name!r}")

    def __delattr__(self, name: str) -> None:
        raise AttributeError(f"Skeleton is immutable: cannot delete {name!r}")

    def __eq__(self, other: object) -> bool:
        return self._key() == other._key() if isinstance(other, Skeleton) else NotImplemented

    def __hash__(self) -> int:
        return hash(self.name)  # that of all of _key would take longer than to score an image

    def __repr__(self) -> str:
        return (
            f"<Skeleton {self.name!r}: {self.num_joints} joints, root {self.joints[self.root]!r}>"
        )

    def __reduce__(self) -> tuple[Any, ...]:
        return Skeleton._from_json, (self.to_json(),)


def _items(values: object, argument: str, what: str) -> Sequence[Any]:
    """Return a sequence or the rows of an array."""
    items = values.tolist() if hasattr(values, "tolist") else values
    if isinstance(items, str) or not isinstance(items, Sequence):
        raise TypeError(f"{argument} must be a sequence of {what}, got {shown(values)}")
    return items


def _checked_joints(joints: object) -> tuple[str, ...]:
    checked: dict[str, str] = {}
    for joint in _items(joints, "joints", "names"):
        if not isinstance(joint, str):
            raise TypeError(f"joints must hold strings, got {shown(joint)}")
        if not joint or ">" in joint:  # which would make names of links ambiguous
            raise ValueError(f"joints must have names, not empty and without '>', got {joint!r}")
        full = _full_name(joint)
        if full in checked:
            raise ValueError(f"joints must have distinct names, got {full!r} twice")
        checked[full] = joint
    if not checked:
        raise ValueError("joints must hold at least one name, got none")
    return tuple(checked.values())


def _tree_links(links: str) -> list[tuple[str, str]]:
    return [(parent, child) for parent, child in (link.split(">") for link in links.split())]


def _full_names(joints: str) -> list[str]:
    return [_full_name(joint) for joint in joints.split()]


_RELEASED_JOINTS = _full_names(
    "head neck lsho lelb lwri rsho relb rwri lhip lknee lankl rhip rknee rankl"
)
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


_COCO_JOINTS = _full_names(
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
            _RELEASED_JOINTS,
            _tree_links(
                "head>neck neck>lsho lsho>lelb lelb>lwri neck>rsho rsho>relb relb>rwri "
                "lsho>lhip lhip>lknee lknee>lankl rsho>rhip rhip>rknee rknee>rankl"
            ),
        ),
        Skeleton(
            "mpii",
            [*_RELEASED_JOINTS, "pelvis", "thorax"],
            _tree_links(
                "head>neck neck>thorax thorax>pelvis thorax>lsho lsho>lelb lelb>lwri thorax>rsho "
                "rsho>relb relb>rwri pelvis>lhip lhip>lknee lknee>lankl pelvis>rhip rhip>rknee "
                "rknee>rankl"
            ),
        ),
        Skeleton(
            "coco",
            _COCO_JOINTS,
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
    """Return a preset skeleton.

    Parameters
    ----------
    name : {"lsp", "mpii", "coco", "hand", "icvl"}
        Of 14, 16, 17, 21 and 16 joints.

    Returns
    -------
    Skeleton

    Raises
    ------
    TypeError
        If ``name`` is not a string.
    ValueError
        If there is no such preset; the message lists them and the nearest one.
    """
    if not isinstance(name, str):
        raise TypeError(f"skeleton must be a preset's name, got {shown(name)}")
    try:
        return _PRESETS[name]
    except KeyError:
        raise ValueError(f"skeleton must be {nearest(name, _PRESETS)}, got {name!r}") from None


def check_skeleton(skeleton: object) -> None:
    """Raise a TypeError unless ``skeleton`` is a Skeleton or a string."""
    if not isinstance(skeleton, (str, Skeleton)):
        raise TypeError(
            f"skeleton must be a Skeleton, a preset's name or None, got {shown(skeleton)}"
        )


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
    check_skeleton(skeleton)
    if isinstance(skeleton, str):
        skeleton = get_skeleton(skeleton)
    if skeleton.num_joints != num_joints:
        raise ValueError(
            f"skeleton must have as many joints as the arrays ({num_joints}), got "
            f"{skeleton.name!r} with {skeleton.num_joints}"
        )
    return skeleton
