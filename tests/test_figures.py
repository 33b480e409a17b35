"""The rendered people of the demo: bodies, poses, cameras, drawings and kinds of picture."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("PIL")

import vl4pose
from vl4pose.demo.body import ANGLES, FRONT, UP, articulate, random_body
from vl4pose.demo.camera import Camera, random_camera
from vl4pose.demo.figures import draw_figure, keypoints
from vl4pose.demo.head import EYES
from vl4pose.demo.outfits import Outfit, random_outfit
from vl4pose.demo.painting import Canvas, shade
from vl4pose.demo.pictures import KINDS, ORDINARY, SIZE, Picture, draw_picture
from vl4pose.demo.poses import FAMILIAR, UNSEEN, random_pose
from vl4pose.demo.scenery import draw_background

LSP = vl4pose.get_skeleton("lsp")
OUT_OF_DISTRIBUTION = [kind for kind in KINDS if kind != ORDINARY]
NOTHING = (0, 255, 0)  # no cloth, skin or hair is that green
PLAIN = Outfit(
    skin=(200, 150, 0),
    hair=(0, 0, 0),
    shirt=(255, 0, 0),
    shirt_accent=(255, 0, 0),
    trousers=(0, 0, 255),
    shoes=(255, 255, 255),
    hair_style="short",
    sleeves=1.9,
    legs=1.9,
    skirt=False,
    pattern="plain",
    backpack=None,
)


def rng_of(*seed: int) -> np.random.Generator:
    return np.random.default_rng(seed)


def pixels_of(picture: Picture) -> np.ndarray:
    return np.asarray(picture.image, np.int32)


def at(pixels: np.ndarray, xy) -> np.ndarray:
    x, y = np.rint(xy).astype(int)
    return pixels[y, x]


def drawn_on_nothing(figure, outfit, camera, size: int = 256) -> np.ndarray:
    canvas = Canvas(size)
    canvas.gradient(NOTHING, NOTHING)
    draw_figure(canvas, figure, outfit, camera)
    return np.asarray(canvas.finished(), np.int32)


# --- bodies and poses -------------------------------------------------------------------------


@given(seed=st.integers(0, 10**6), angles=st.data())
def test_bones_have_the_lengths_of_the_body_in_any_pose(seed, angles):
    body = random_body(rng_of(seed))
    pose = {name: angles.draw(st.floats(*limits)) for name, limits in ANGLES.items()}
    figure = articulate(body, pose)

    def length(a: str, b: str) -> float:
        return float(np.linalg.norm(figure.points[a] - figure.points[b]))

    assert length("head", "neck") == pytest.approx(body.head)
    assert length("left_hip", "right_hip") == pytest.approx(body.hips)
    for side in ("left", "right"):
        for a, b, bone in (
            ("shoulder", "elbow", body.upper_arm),
            ("elbow", "wrist", body.forearm),
            ("hip", "knee", body.thigh),
            ("knee", "ankle", body.shin),
        ):
            assert length(f"{side}_{a}", f"{side}_{b}") == pytest.approx(bone)
    for frame in figure.frames.values():
        np.testing.assert_allclose(frame @ frame.T, np.eye(3), atol=1e-12)
        assert np.linalg.det(frame) == pytest.approx(1)


def test_angles_turn_limbs_the_way_they_say():
    body = random_body(rng_of(0))
    straight = articulate(body, {}).points

    def moved(joint: str, **pose: float) -> np.ndarray:
        return articulate(body, pose).points[joint] - straight[joint]

    # x to the right of the picture, y down, z away; the body faces the camera.
    assert moved("left_elbow", left_shoulder_flex=40)[2] < -0.05  # forward
    assert moved("left_elbow", left_shoulder_abduct=40)[0] > 0.05  # away from the body
    assert moved("right_elbow", right_shoulder_abduct=40)[0] < -0.05
    assert moved("left_wrist", left_elbow=60)[2] < -0.05
    assert moved("left_ankle", left_knee=60)[2] > 0.05  # backward
    assert moved("right_knee", right_hip_flex=60)[2] < -0.05
    assert moved("head", nod=20)[2] < -0.03
    assert moved("neck", pitch=30)[2] < -0.05
    assert moved("left_shoulder", yaw=60)[2] > 0.05  # turned to its left
    assert straight["left_shoulder"][0] > 0 > straight["right_shoulder"][0]


@given(seed=st.integers(0, 10**6), unseen=st.booleans())
def test_poses_keep_to_the_limits_of_the_joints(seed, unseen):
    pose = random_pose(rng_of(seed), unseen=unseen)
    assert pose.keys() == ANGLES.keys()
    for name, (low, high) in ANGLES.items():
        assert low <= pose[name] <= high, name


def test_poses_name_angles_that_exist():
    joints = {name.partition("_")[2] for name in ANGLES if "_" in name}
    for pose in (*FAMILIAR.values(), *UNSEEN.values()):
        for name in pose:
            assert name in ANGLES or name in joints, name


def test_ordinary_people_are_upright_and_the_others_are_not():
    def lean(seed: int, unseen: bool) -> float:
        figure = articulate(random_body(rng_of(seed)), random_pose(rng_of(seed), unseen=unseen))
        chest = figure.frames["chest"][UP]
        return float(np.degrees(np.arccos(-chest[1])))

    assert max(lean(seed, False) for seed in range(200)) < 45
    assert min(lean(seed, True) for seed in range(200)) > 45


def test_people_are_seen_from_the_front_and_from_behind_and_bend_to_both_sides():
    poses = [random_pose(rng_of(seed)) for seed in range(300)]
    behind = np.mean([abs(pose["yaw"]) > 90 for pose in poses])
    assert 0.2 < behind < 0.4
    for name in ("left_shoulder_abduct", "right_shoulder_abduct"):
        assert np.mean([pose[name] > 70 for pose in poses]) > 0.15


# --- drawing ----------------------------------------------------------------------------------


def test_a_circle_is_where_its_coordinates_say():
    canvas = Canvas(64)
    canvas.hull([(20.0, 35.5, 6.0)], (255, 255, 255))
    weight = np.asarray(canvas.finished(), np.float64)[..., 0] / 255
    assert weight.sum() == pytest.approx(np.pi * 36, rel=0.05)
    y, x = np.mgrid[:64, :64]
    assert (weight * x).sum() / weight.sum() == pytest.approx(20, abs=0.3)
    assert (weight * y).sum() / weight.sum() == pytest.approx(35.5, abs=0.3)


def test_a_hull_holds_what_is_between_its_circles():
    canvas = Canvas(64)
    canvas.hull([(10, 10, 3), (50, 20, 8), (30, 52, 5)], (255, 255, 255))
    inside = np.asarray(canvas.finished())[..., 0] == 255
    for x, y in ((10, 10), (50, 20), (30, 52), (30, 15), (40, 36), (20, 31), (30, 27)):
        assert inside[y, x], (x, y)
    for x, y in ((10, 40), (50, 45), (4, 10), (62, 20), (30, 60)):
        assert not inside[y, x], (x, y)


def test_shades_go_to_black_and_to_white():
    assert shade((100, 50, 0), 0) == (0, 0, 0)
    assert shade((100, 50, 0), 0.5) == (50, 25, 0)
    assert shade((100, 50, 0), 1) == (100, 50, 0)
    assert shade((100, 50, 0), 2) == (255, 255, 255)


@pytest.mark.parametrize("seed", range(40))
def test_every_joint_is_on_the_drawn_body(seed):
    rng = rng_of(seed)
    figure = articulate(random_body(rng), random_pose(rng, unseen=seed % 2 == 1))
    camera = random_camera(rng, figure, 256, ground=0.7)
    pixels = drawn_on_nothing(figure, random_outfit(rng), camera)
    for name, xy in zip(LSP.joints, keypoints(figure, camera), strict=True):
        # The crown is on the edge of the head, half a pixel of which may show what is behind.
        assert np.abs(at(pixels, xy) - NOTHING).max() > 60, name


def test_joints_have_the_colour_of_what_is_over_them():
    pose = {"shoulder_abduct": 40, "hip_abduct": 15}
    spread = {f"{side}_{name}": angle for name, angle in pose.items() for side in ("left", "right")}
    figure = articulate(random_body(rng_of(3)), spread)
    camera = Camera(4.0, 0.0, 200.0, (128.0, 128.0))
    pixels = drawn_on_nothing(figure, PLAIN, camera)
    joints = keypoints(figure, camera)
    colours = {"elbow": PLAIN.shirt, "knee": PLAIN.trousers}
    for side in ("left", "right"):
        for name, colour in colours.items():
            seen = at(pixels, joints[LSP.joint_index(f"{side}_{name}")])
            np.testing.assert_allclose(seen, colour, atol=45)


def test_left_and_right_can_be_told_apart():
    body = random_body(rng_of(3))
    camera = Camera(4.0, 0.0, 200.0, (128.0, 128.0))
    left, right = (LSP.joint_index(f"{side}_shoulder") for side in ("left", "right"))

    def seen(yaw: float) -> tuple[float, bool]:
        figure = articulate(body, {"yaw": yaw})
        joints = keypoints(figure, camera)
        pixels = drawn_on_nothing(figure, replace(PLAIN, hair=(230, 200, 120)), camera)
        x, y = np.rint(camera.project(np.append(figure.points["skull"], 0.0)[None])[0, :2])
        face = pixels[int(y) - 15 : int(y) + 16, int(x) - 15 : int(x) + 16]
        has_eyes = bool((np.abs(face - EYES).max(axis=2) < 30).any())
        return float(joints[left, 0] - joints[right, 0]), has_eyes

    from_front, has_eyes = seen(0)
    assert from_front > 20
    assert has_eyes
    from_behind, has_eyes = seen(180)
    assert from_behind < -20
    assert not has_eyes


def test_what_is_nearer_is_drawn_over_what_is_farther():
    # A forearm before the chest, then the same arm behind the back.
    body = random_body(rng_of(3))
    camera = Camera(4.0, 0.0, 200.0, (128.0, 128.0))
    outfit = replace(PLAIN, sleeves=0.3)
    wrist = LSP.joint_index("left_wrist")
    seen = {}
    for flex in (25, -55):
        pose = {
            "left_shoulder_flex": flex, "left_shoulder_twist": -85, "left_elbow": 85,
            "left_shoulder_abduct": -10,
        }  # fmt: skip
        figure = articulate(body, pose)
        seen[flex] = at(drawn_on_nothing(figure, outfit, camera), keypoints(figure, camera)[wrist])
    np.testing.assert_allclose(seen[25], outfit.skin, atol=50)
    assert seen[-55][1] < 60  # the shirt's red, and no skin


# --- cameras ----------------------------------------------------------------------------------


@given(seed=st.integers(0, 10**6), unseen=st.booleans(), ground=st.floats(0.4, 0.9))
def test_the_whole_person_is_in_the_picture_and_on_the_ground(seed, unseen, ground):
    rng = rng_of(seed)
    figure = articulate(random_body(rng), random_pose(rng, unseen=unseen))
    camera = random_camera(rng, figure, SIZE, ground=ground)
    points = np.stack(list(figure.points.values()))
    seen = camera.project(np.insert(points, 3, 0.03, axis=1))
    assert (seen[:, :2] - seen[:, 2:]).min() >= 0.03 * SIZE
    assert (seen[:, :2] + seen[:, 2:]).max() <= 0.97 * SIZE
    assert seen[:, 1].max() >= (ground - 0.04) * SIZE


def test_perspective_makes_near_things_large():
    camera = Camera(2.0, 0.0, 100.0, (50.0, 60.0))
    far, middle, near = camera.project(
        np.array([(0.1, 0.2, 0.5, 0.1), (0.1, 0.2, 0.0, 0.1), (0.1, 0.2, -0.5, 0.1)])
    )
    np.testing.assert_allclose(middle, (60, 80, 10))
    assert far[2] < middle[2] < near[2]
    assert far[0] < middle[0] < near[0]
    from_above = Camera(2.0, 30.0, 100.0, (50.0, 60.0))
    feet = np.array([(0.0, 0.5, -0.2, 0.0), (0.0, 0.5, 0.2, 0.0)])
    front_foot, back_foot = from_above.project(feet)
    assert front_foot[1] > back_foot[1]


def test_the_ground_of_a_place_is_where_it_says():
    for seed in range(20):
        canvas = Canvas(64)
        ground = draw_background(canvas, rng_of(seed))
        assert 0.4 < ground < 0.9
        assert len(np.unique(np.asarray(canvas.finished()).reshape(-1, 3), axis=0)) > 10


# --- pictures ---------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_a_seed_gives_the_same_picture_again(kind):
    one, again, other = (draw_picture(kind, seed) for seed in ((4, 2), (4, 2), (4, 3)))
    assert one.kind == kind
    assert one.image.size == (SIZE, SIZE)
    assert one.image.mode == "RGB"
    np.testing.assert_array_equal(pixels_of(one), pixels_of(again))
    np.testing.assert_array_equal(one.keypoints, again.keypoints)
    assert (pixels_of(one) != pixels_of(other)).mean() > 0.5
    assert np.abs(one.keypoints - other.keypoints).max() > 5


@pytest.mark.parametrize("kind", KINDS)
def test_all_joints_are_inside(kind):
    for seed in range(30):
        joints = draw_picture(kind, seed).keypoints
        assert joints.shape == (14, 2)
        assert joints.min() >= 0
        assert joints.max() <= SIZE - 1


def differences(kind: str, seed: int) -> tuple[Picture, Picture, np.ndarray]:
    """Return an ordinary picture, that of another kind, and how much each pixel differs."""
    ordinary, other = draw_picture(ORDINARY, seed), draw_picture(kind, seed)
    return ordinary, other, np.abs(pixels_of(ordinary) - pixels_of(other)).max(axis=2)


def test_unseen_poses_are_other_poses():
    for seed in range(10):
        ordinary, other, _ = differences("unseen pose", seed)
        assert np.abs(ordinary.keypoints - other.keypoints).max() > 30


def test_occlusion_hides_joints():
    hidden = []
    for seed in range(20):
        ordinary, other, difference = differences("occlusion", seed)
        np.testing.assert_array_equal(ordinary.keypoints, other.keypoints)
        hidden.append(sum(at(difference, joint) > 25 for joint in other.keypoints))
        assert 0.03 < (difference > 25).mean() < 0.6
    assert min(hidden) >= 2
    assert np.mean(hidden) > 4


def test_blur_takes_the_edges_and_leaves_the_light():
    for seed in range(10):
        ordinary, other, _ = differences("blur", seed)
        np.testing.assert_array_equal(ordinary.keypoints, other.keypoints)
        sharp, soft = (pixels_of(picture).mean(axis=2) for picture in (ordinary, other))
        assert soft.mean() == pytest.approx(sharp.mean(), abs=4)

        def edges(grey: np.ndarray) -> float:
            blocks = grey.reshape(64, 4, 64, 4).mean(axis=(1, 3))  # without the noise
            return float(np.abs(np.diff(blocks, axis=1)).max())

        assert edges(soft) < 0.75 * edges(sharp)


def test_a_second_person_is_there_and_the_first_keeps_their_place():
    changed = []
    for seed in range(10):
        ordinary, other, difference = differences("two people", seed)
        np.testing.assert_array_equal(ordinary.keypoints, other.keypoints)
        changed.append((difference > 25).mean())
    assert min(changed) > 0.01
    assert max(changed) < 0.5


def test_an_unknown_kind_names_the_nearest():
    with pytest.raises(ValueError, match=r"kind must be one of .*did you mean 'blur'.*got 'blurr'"):
        draw_picture("blurr", 0)


def test_bones_vary_and_can_be_told_from_the_size_of_the_person():
    joints = np.stack([draw_picture(ORDINARY, seed).keypoints for seed in range(150)])
    parents, children = (list(ends) for ends in zip(*LSP.links, strict=True))
    lengths = np.linalg.norm(joints[:, children] - joints[:, parents], axis=2)
    spread = lengths.std(axis=0) / lengths.mean(axis=0)
    assert spread.min() > 0.12
    # The height of the person explains a part of every bone; that is what can be learnt at least.
    height = np.ptp(joints[..., 1], axis=1)
    torso = LSP.link_names.index("left_shoulder>left_hip")
    assert np.corrcoef(height, lengths[:, torso])[0, 1] > 0.6
    head = LSP.link_names.index("head>neck")
    assert np.corrcoef(lengths[:, head], lengths[:, torso])[0, 1] > 0.4


def test_faces_look_where_bodies_do():
    figure = articulate(random_body(rng_of(0)), {"yaw": 90})
    assert figure.frames["head"][FRONT][0] == pytest.approx(1)  # to its left: the picture's right
