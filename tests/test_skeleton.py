"""Skeletons: the presets, names and aliases, files, copies, and trees of any shape."""

from __future__ import annotations

import copy
import json
import pickle
from pathlib import Path

import numpy as np
import pytest

import vl4pose
from vl4pose import Skeleton, get_skeleton

PRESETS = ("lsp", "mpii", "coco", "hand", "icvl")
SHORT = {
    "shoulder": "sho",
    "elbow": "elb",
    "wrist": "wri",
    "hip": "hip",
    "knee": "knee",
    "ankle": "ankl",
    "eye": "eye",
    "ear": "ear",
}
ALIASES = {
    f"{side[0]}{short}": f"{side}_{part}"
    for part, short in SHORT.items()
    for side in ("left", "right")
}

LIMBS = "lsho lelb lwri rsho relb rwri lhip lknee lankl rhip rknee rankl"
FINGERS = ("thumb", "index", "middle", "ring", "little")
THUMB = ("cmc", "mcp", "ip", "tip")
FINGER = ("mcp", "pip", "dip", "tip")
JOINTS = {
    "lsp": f"head neck {LIMBS}",
    "mpii": f"head neck {LIMBS} pelvis thorax",
    "coco": "nose leye reye lear rear lsho rsho lelb relb lwri rwri lhip rhip lknee rknee lankl "
    "rankl",
    "hand": " ".join(
        ["wrist"]
        + [
            f"{finger}_{part}"
            for finger in FINGERS
            for part in (THUMB if finger == "thumb" else FINGER)
        ]
    ),
    "icvl": "palm "
    + " ".join(f"{finger}_{part}" for finger in FINGERS for part in ("root", "middle", "tip")),
}
LINKS = {
    "lsp": "head>neck neck>lsho lsho>lelb lelb>lwri neck>rsho rsho>relb relb>rwri lsho>lhip "
    "lhip>lknee lknee>lankl rsho>rhip rhip>rknee rknee>rankl",
    "mpii": "head>neck neck>thorax thorax>pelvis thorax>lsho lsho>lelb lelb>lwri thorax>rsho "
    "rsho>relb relb>rwri pelvis>lhip lhip>lknee lknee>lankl pelvis>rhip rhip>rknee rknee>rankl",
    "coco": "nose>leye nose>reye leye>lear reye>rear nose>lsho nose>rsho lsho>lelb lelb>lwri "
    "rsho>relb relb>rwri lsho>lhip lhip>lknee lknee>lankl rsho>rhip rhip>rknee rknee>rankl",
    "hand": "wrist>thumb_cmc thumb_cmc>thumb_mcp thumb_mcp>thumb_ip thumb_ip>thumb_tip "
    + " ".join(
        f"wrist>{f}_mcp {f}_mcp>{f}_pip {f}_pip>{f}_dip {f}_dip>{f}_tip" for f in FINGERS[1:]
    ),
    "icvl": " ".join(f"palm>{f}_root {f}_root>{f}_middle {f}_middle>{f}_tip" for f in FINGERS),
}
ROOTS = {"lsp": "head", "mpii": "head", "coco": "nose", "hand": "wrist", "icvl": "palm"}
NUM_JOINTS = {"lsp": 14, "mpii": 16, "coco": 17, "hand": 21, "icvl": 16}
NUM_PAIRS = {"lsp": 6, "mpii": 6, "coco": 8, "hand": 0, "icvl": 0}
CUSTOM = Skeleton(
    "dog é",
    ["left_ear", "right_ear", "nose", "tail"],
    [("nose", "right_ear"), ("nose", "left_ear"), ("tail", "nose")],
    pairs=[("right_ear", "left_ear")],
    sigmas=[0.1, 0.1 + 2**-56, 1 / 3, 2],
)


def full(name: str) -> str:
    return ALIASES.get(name, name)


def chain(num_joints: int) -> Skeleton:
    joints = [f"j{j}" for j in range(num_joints)]
    return Skeleton("chain", joints, [(j, j + 1) for j in range(num_joints - 1)])


def star(num_joints: int) -> Skeleton:
    joints = [f"j{j}" for j in range(num_joints)]
    return Skeleton("star", joints, [(0, j) for j in range(1, num_joints)])


def example(skeleton: Skeleton) -> tuple[np.ndarray, np.ndarray]:
    """Heatmaps and params of two images."""
    rng = np.random.default_rng(0)
    heatmaps = rng.random((2, skeleton.num_joints, 6, 6), dtype=np.float32)
    return heatmaps, rng.normal(1, 0.5, (2, skeleton.num_links, 2)).astype(np.float32)


@pytest.fixture(params=PRESETS)
def name(request: pytest.FixtureRequest) -> str:
    value: str = request.param
    return value


def test_preset_joints(name: str) -> None:
    skeleton = get_skeleton(name)
    assert skeleton.name == name
    assert skeleton.joints == tuple(full(joint) for joint in JOINTS[name].split())
    assert skeleton.num_joints == len(skeleton.joints) == NUM_JOINTS[name]


def test_preset_links(name: str) -> None:
    skeleton = get_skeleton(name)
    links = [tuple(map(full, link.split(">"))) for link in LINKS[name].split()]
    assert skeleton.link_names == tuple(f"{parent}>{child}" for parent, child in links)
    index = skeleton.joints.index
    assert skeleton.links == tuple((index(parent), index(child)) for parent, child in links)
    assert skeleton.num_links == len(skeleton.links) == NUM_JOINTS[name] - 1
    assert skeleton.joints[skeleton.root] == ROOTS[name]


def test_preset_pairs(name: str) -> None:
    skeleton = get_skeleton(name)
    assert len(skeleton.pairs) == NUM_PAIRS[name]
    for left, right in skeleton.pairs:
        assert skeleton.joints[left].startswith("left_")
        assert skeleton.joints[right] == skeleton.joints[left].replace("left_", "right_")
    sided = sorted(j for j, joint in enumerate(skeleton.joints) if joint[:5] in ("left_", "right"))
    assert sorted(j for pair in skeleton.pairs for j in pair) == sided


def test_sigmas_of_coco() -> None:
    sigma = {
        "nose": 0.026, "eye": 0.025, "ear": 0.035, "shoulder": 0.079, "elbow": 0.072,
        "wrist": 0.062, "hip": 0.107, "knee": 0.087, "ankle": 0.089,
    }  # fmt: skip
    coco = get_skeleton("coco")
    assert coco.sigmas == tuple(sigma[joint.split("_")[-1]] for joint in coco.joints)
    for other in set(PRESETS) - {"coco"}:
        assert get_skeleton(other).sigmas is None


@pytest.mark.parametrize("name", ["lsp", "mpii", "coco", "hand"])
def test_number_of_joints_stands_for_a_preset(name: str) -> None:
    heatmaps, params = example(get_skeleton(name))
    expected = vl4pose.analyze(heatmaps, params, skeleton=name)
    found = vl4pose.analyze(heatmaps, params)
    np.testing.assert_array_equal(found.per_link, expected.per_link)
    np.testing.assert_array_equal(
        vl4pose.pose_log_likelihood(found.keypoints, params),
        vl4pose.pose_log_likelihood(found.keypoints, params, skeleton=get_skeleton(name)),
    )


def test_icvl_goes_by_name_only() -> None:
    heatmaps, params = example(get_skeleton("icvl"))
    by_number, mpii, icvl = (
        vl4pose.score(heatmaps, params, skeleton=skeleton) for skeleton in (None, "mpii", "icvl")
    )
    np.testing.assert_array_equal(by_number, mpii)
    assert (by_number != icvl).all()


@pytest.mark.parametrize(("alias", "joint"), ALIASES.items())
def test_aliases(alias: str, joint: str) -> None:
    for name in (alias, joint):  # kept as given, found by either
        skeleton = Skeleton("two", ["middle", name], [(alias, "middle")])
        assert skeleton.joints == ("middle", name)
        assert skeleton.joint_index(alias) == skeleton.joint_index(joint) == 1
        assert skeleton.link_names == (f"{name}>middle",)


def test_joint_index(name: str) -> None:
    skeleton = get_skeleton(name)
    assert [skeleton.joint_index(joint) for joint in skeleton.joints] == [*range(NUM_JOINTS[name])]


def test_links_by_name_and_by_index_are_the_same() -> None:
    joints = ["lsho", "lelb", "lwri"]
    by_name = Skeleton("arm", joints, [("left_shoulder", "lelb"), ("left_elbow", "lwri")])
    assert by_name == Skeleton("arm", joints, [(0, 1), (1, 2)])
    assert by_name == Skeleton("arm", tuple(joints), [["lsho", 1], [np.int64(1), "lwri"]])
    assert by_name == Skeleton("arm", np.array(joints), np.array([[0, 1], [1, 2]]))
    assert all(type(j) is int for link in by_name.links for j in link)


@pytest.mark.parametrize("name", NUM_PAIRS)
def test_a_mirror_image_exchanges_pairs(name: str) -> None:
    skeleton = get_skeleton(name)
    for joint, other in enumerate(skeleton.flip_index):
        assert skeleton.flip_index[other] == joint
        swapped = skeleton.joints[joint].replace("left_", "@").replace("right_", "left_")
        assert skeleton.joints[other] == swapped.replace("@", "right_")


def test_pairs_given_take_the_place_of_those_by_name() -> None:
    joints, links = ["left_a", "right_a", "b"], [(2, 0), (2, 1)]
    assert Skeleton("s", joints, links).pairs == ((0, 1),)
    assert Skeleton("s", joints, links, pairs=[]).pairs == ()
    assert Skeleton("s", joints, links, pairs=[("b", "left_a")]).pairs == ((2, 0),)
    assert Skeleton("s", ["left_a", "b"], [(0, 1)]).pairs == ()


def test_sigmas_may_be_an_array() -> None:
    sigmas = np.array([0.5, 0.25, 1])
    skeleton = Skeleton("s", ["a", "b", "c"], [(0, 1), (1, 2)], sigmas=sigmas)
    assert skeleton.sigmas == (0.5, 0.25, 1.0)
    assert all(type(sigma) is float for sigma in skeleton.sigmas)
    hash(skeleton)


@pytest.mark.parametrize("skeleton", [*map(get_skeleton, PRESETS), CUSTOM], ids=lambda s: s.name)
def test_json_round_trip(skeleton: Skeleton, tmp_path: Path) -> None:
    path = tmp_path / "skeleton.json"
    skeleton.to_file(path)
    assert Skeleton.from_file(str(path)) == skeleton
    written = json.loads(path.read_text(encoding="utf-8"))
    assert list(written) == ["name", "joints", "links", "pairs", "sigmas"]
    assert written["joints"] == list(skeleton.joints)
    assert [">".join(link) for link in written["links"]] == list(skeleton.link_names)


def test_file_may_leave_out_pairs_and_sigmas_and_use_indices(tmp_path: Path) -> None:
    path = tmp_path / "arm.json"
    path.write_text('{"name": "arm", "joints": ["lelb", "relb"], "links": [[0, 1]]}')
    skeleton = Skeleton.from_file(path)
    assert skeleton == Skeleton("arm", ["lelb", "relb"], [(0, 1)])
    assert skeleton.pairs == ((0, 1),)
    assert skeleton.sigmas is None


@pytest.mark.parametrize("skeleton", [get_skeleton("coco"), CUSTOM], ids=lambda s: s.name)
def test_copies_are_equal_and_work(skeleton: Skeleton) -> None:
    heatmaps, params = example(skeleton)
    expected = vl4pose.score(heatmaps, params, skeleton=skeleton)
    copies = [copy.copy(skeleton), copy.deepcopy(skeleton)]
    copies += [
        pickle.loads(pickle.dumps(skeleton, protocol))
        for protocol in range(pickle.HIGHEST_PROTOCOL + 1)
    ]
    for other in copies:
        assert other == skeleton
        assert hash(other) == hash(skeleton)
        assert repr(other) == repr(skeleton)
        assert (other.link_names, other.root) == (skeleton.link_names, skeleton.root)
        np.testing.assert_array_equal(vl4pose.score(heatmaps, params, skeleton=other), expected)


def test_equality_is_of_every_part() -> None:
    def arm(**changed: object) -> Skeleton:
        parts = {"name": "arm", "joints": ["a", "b", "c"], "links": [(0, 1), (1, 2)], **changed}
        return Skeleton(**parts)  # type: ignore[arg-type]

    assert arm() == arm()
    assert {arm(), arm()} == {arm()}
    others = {
        arm(name="leg"),
        arm(joints=["a", "b", "d"]),
        arm(links=[(1, 2), (0, 1)]),
        arm(links=[(0, 1), (0, 2)]),
        arm(pairs=[(0, 1)]),
        arm(sigmas=[1, 1, 1]),
    }
    assert len(others) == 6
    assert arm() not in others
    assert arm() != "arm"


def test_repr_names_the_root() -> None:
    assert repr(get_skeleton("mpii")) == "<Skeleton 'mpii': 16 joints, root 'head'>"


def test_get_skeleton_gives_the_same_object() -> None:
    assert get_skeleton("lsp") is get_skeleton("lsp")


def test_one_joint_without_a_link() -> None:
    point = Skeleton("point", ["it"], [])
    assert (point.root, point.links, point.link_names, point.num_links) == (0, (), (), 0)
    assert copy.copy(point) == point
    heatmaps, params = example(point)
    assert params.shape == (2, 0, 2)
    result = vl4pose.analyze(heatmaps, params, skeleton=point)
    np.testing.assert_array_equal(result.score, [0, 0])
    np.testing.assert_array_equal(result.refined.keypoints, result.keypoints)
    assert vl4pose.score(heatmaps[0], params[0], skeleton=point) == 0


@pytest.mark.parametrize("skeleton", [chain(1000), star(133)], ids=lambda s: s.name)
def test_long_and_wide_trees(skeleton: Skeleton) -> None:
    assert skeleton.root == 0
    heatmaps, params = example(skeleton)
    result = vl4pose.analyze(heatmaps, params, skeleton=skeleton, num_peaks=2, min_distance=1)
    for i in range(2):
        np.testing.assert_allclose(
            vl4pose.pose_log_likelihood(result.keypoints[i], params[i], skeleton=skeleton),
            vl4pose.score(heatmaps[i], params[i], skeleton=skeleton, num_peaks=1, min_distance=1),
            rtol=1e-5,
        )
    np.testing.assert_allclose(result.per_link.sum(axis=1), result.score, rtol=1e-4)
    np.testing.assert_allclose(result.posterior.sum(axis=-1), 1, atol=1e-4)
    copied = pickle.loads(pickle.dumps(skeleton))
    assert copied == skeleton


def test_links_need_no_order() -> None:
    """Shuffled links are the same tree: each link keeps its own params and terms."""
    skeleton = get_skeleton("coco")
    heatmaps, params = example(skeleton)
    expected = vl4pose.analyze(heatmaps, params, skeleton=skeleton)
    for order in (np.arange(16)[::-1], np.random.default_rng(3).permutation(16)):
        shuffled = Skeleton("shuffled", skeleton.joints, [skeleton.links[link] for link in order])
        assert shuffled.root == skeleton.root
        assert shuffled.link_names == tuple(skeleton.link_names[link] for link in order)
        found = vl4pose.analyze(heatmaps, params[:, order], skeleton=shuffled)
        np.testing.assert_array_equal(found.per_link, expected.per_link[:, order])
        np.testing.assert_array_equal(found.refined.keypoints, expected.refined.keypoints)
        np.testing.assert_allclose(found.score, expected.score, rtol=1e-5)
        np.testing.assert_allclose(found.posterior, expected.posterior, atol=1e-6)


def test_root_may_be_any_joint() -> None:
    skeleton = Skeleton("v", ["a", "b", "c"], [(2, 1), (2, 0)])
    assert skeleton.root == 2
    assert skeleton.link_names == ("c>b", "c>a")
