"""Selecting from tables of scores: reasons, percentiles, what is labelled, and the file."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pa = pytest.importorskip("pyarrow")
pq = pytest.importorskip("pyarrow.parquet")

from made_scores import made_scores, save_file, save_folder  # noqa: E402
from new_process import run_python  # noqa: E402

import vl4pose  # noqa: E402
from vl4pose import reference  # noqa: E402
from vl4pose.active.left_right import exchange_gains, exchanges  # noqa: E402
from vl4pose.active.percentiles import Reference  # noqa: E402
from vl4pose.active.reasons import (  # noqa: E402
    AmbiguousJoint,
    Choice,
    PoseReasons,
    SwapSuspect,
    WorstLink,
    sentence,
)
from vl4pose.active.selection_table import SELECTION_FIELDS  # noqa: E402
from vl4pose.score_table import SCHEMA, ScoreTable, read_scores  # noqa: E402

LSP = vl4pose.get_skeleton("lsp")
POOL = made_scores(40, failed=(3, 17))


def column(table: ScoreTable, name: str) -> list[Any]:
    return table.rows[name].to_pylist()


def log_likelihood(keypoints: np.ndarray, params: np.ndarray, skeleton: vl4pose.Skeleton) -> float:
    """The sum over links of Eq. 5, one by one."""
    return sum(
        float(reference.link_log_likelihood(keypoints[parent], keypoints[child], d, s))
        for (parent, child), (d, s) in zip(skeleton.links, params, strict=True)
    )


class TestTable:
    def test_columns_are_those_of_the_scores_and_the_selection(self, tmp_path: Path) -> None:
        selection = vl4pose.select(POOL, 7)
        table = selection.to_table()
        added = [field.name for field in SELECTION_FIELDS]
        assert table.rows.schema.names == [*SCHEMA.names, *added]
        assert table.rows.schema.types == [*SCHEMA.types, *(f.type for f in SELECTION_FIELDS)]
        assert table.rows.select(SCHEMA.names).equals(POOL.take(selection.rows).rows)
        assert column(table, "rank") == list(range(1, 8))
        assert column(table, "priority") == [-score for score in column(table, "score")]
        assert column(table, "score") == sorted(s for s in column(POOL, "score") if s)[:7]
        selection.write(tmp_path / "selection.parquet")
        written = read_scores(tmp_path / "selection.parquet")
        assert written.rows.equals(table.rows)
        assert written.metadata == table.metadata
        assert {key: written.metadata[key] for key in POOL.metadata} == POOL.metadata

    def test_metadata_tells_what_was_asked_for(self) -> None:
        table = vl4pose.select(
            POOL, 5, strategy="mpe", order="name", groups="folder", min_gap=2, seed=3
        ).to_table()
        assert table.metadata["selection"] == {
            "strategy": "entropy",
            "lowest_first": False,
            "budget": 5,
            "diversity": "none",
            "shortlist": None,
            "approximate": False,
            "labelled": 0,
            "min_separation": None,
            "groups": "folder",
            "order": "name",
            "min_gap": 2.0,
            "random_share": 0.0,
            "seed": 3,
            "reference": {"kind": "pool", "file": None, "rows": 38},
            "counts": {
                "rows": 40,
                "without_score": 2,
                "without_order": 0,
                "selectable": 38,
                "selected": 5,
                "gap": table.metadata["selection"]["counts"]["gap"],
            },
        }
        json.dumps(table.metadata, allow_nan=False)

    def test_an_empty_selection_has_the_same_columns(self, tmp_path: Path) -> None:
        selection = vl4pose.select(POOL, 0)
        selection.write(tmp_path / "none.parquet")
        table = read_scores(tmp_path / "none.parquet")
        assert len(table) == 0
        assert table.rows.schema == selection.to_table().rows.schema

    @pytest.mark.parametrize("kind", ["table", "file", "folder"])
    def test_of_no_rows_none_are_selected(self, kind: str, tmp_path: Path) -> None:
        pool: Any = POOL.take([])
        if kind == "file":
            pool = save_file(pool, tmp_path / "none.parquet")
        elif kind == "folder":
            pool = save_folder(pool, tmp_path / "none", 5)
        table = vl4pose.select(pool, 0, order="name", groups="name", min_gap=1).to_table()
        assert len(table) == 0
        assert table.rows.schema == vl4pose.select(POOL, 1).to_table().rows.schema

    @pytest.mark.parametrize("strategy", vl4pose.active.RANKINGS)
    def test_where_all_rows_failed_none_is_selectable(self, strategy: str) -> None:
        failed = made_scores(3, failed=(0, 1, 2))
        selection = vl4pose.select(failed, 0, strategy=strategy, random_share=0.5)
        assert selection.counts["without_score"] == 3
        with pytest.raises(ValueError, match=r"the selectable rows \(0\), got 1"):
            vl4pose.select(failed, 1, strategy=strategy)
        with pytest.raises(ValueError, match="embeddings must be given"):
            vl4pose.select(failed, 0, strategy=strategy, diversity="k-centre")

    def test_of_a_selection_one_can_select_again(self) -> None:
        table = vl4pose.select(POOL, 9).to_table()
        again = vl4pose.select(table, 4, strategy="entropy").to_table()
        assert again.rows.schema == table.rows.schema
        assert column(again, "rank") == [1, 2, 3, 4]

    @pytest.mark.parametrize("kind", ["pyarrow", "path", "string", "folder", "mapping"])
    def test_a_pool_comes_in_several_forms(self, kind: str, tmp_path: Path) -> None:
        path = save_file(POOL, tmp_path / "scores.parquet", rows_per_group=9)
        pool = {
            "pyarrow": pq.read_table(path),
            "path": path,
            "string": str(path),
            "folder": save_folder(POOL, tmp_path / "scores", shard_rows=8),
            "mapping": {"score": POOL.numbers("score")},
        }[kind]
        selection = vl4pose.select(pool, 6)
        assert selection.rows.tolist() == vl4pose.select(POOL, 6).rows.tolist()
        if kind != "mapping":
            assert selection.to_table().rows.equals(vl4pose.select(POOL, 6).to_table().rows)
        if kind in ("path", "string", "folder"):
            known = save_file(POOL.take([0, 3, 9]), tmp_path / "known.parquet")
            options = {"diversity": "k-centre", "reference": pool}
            diverse = vl4pose.select(pool, 6, labelled=known, **options).to_table()
            same = vl4pose.select(
                read_scores(pool), 6, labelled=read_scores(known), **options
            ).to_table()
            assert diverse.rows.equals(same.rows)
            assert diverse.metadata == same.metadata
            assert diverse.metadata["selection"]["labelled"] == 3
            assert diverse.metadata["selection"]["reference"]["file"] == str(pool)

    def test_a_file_that_changes_meanwhile_is_refused(self, tmp_path: Path) -> None:
        path = save_file(POOL, tmp_path / "scores.parquet")
        selection = vl4pose.select(path, 6)
        save_file(made_scores(40, seed=1), path)
        with pytest.raises(RuntimeError, match=r"scores.parquet' must stay as it is while rows"):
            selection.to_table()
        path.unlink()
        with pytest.raises(RuntimeError, match=r"scores.parquet' must stay as it is while rows"):
            selection.to_table()

    def test_a_table_of_ones_own_has_no_bones_to_tell_of(self) -> None:
        selection = vl4pose.select(pa.table({"score": [-1.0, None, -3.0], "image": list("abc")}), 2)
        rows = selection.to_table().rows.to_pylist()
        assert [row["image"] for row in rows] == ["c", "a"]
        assert rows[0]["worst_links"] is None
        assert rows[0]["reasons"] == (
            "Number 1 of 2 by likelihood; score -3.00, lower than 50.0 % of the pool."
        )

    def test_confidence_is_the_mean_of_its_joints(self) -> None:
        selection = vl4pose.select(POOL, 38, strategy="confidence")
        expected = 1 - np.mean(POOL.arrays("confidence"), 1)[selection.rows]
        np.testing.assert_array_equal(selection.priority, expected)
        assert (np.diff(selection.priority) <= 0).all()

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"strategy": "column:scor"}, r"scores must have the column 'scor' of .*'score'\?\)"),
            (
                {"strategy": "column:image"},
                r"scores must have the column 'image' of numbers, got width, ",
            ),
            ({"strategy": "column:confidence"}, r"column 'confidence' must hold one number a row"),
            ({"min_gap": 1, "order": "nam"}, r"order must be one of name, .*'name'\?\), got 'nam'"),
            ({"min_gap": 1, "order": "image"}, "order must be a column of numbers, got 'image'"),
            (
                {"min_gap": 1, "order": "name", "groups": "foldr"},
                r"groups must be one of folder, name, image, .*'folder'\?\), got 'foldr'",
            ),
        ],
    )
    def test_errors(self, options: dict[str, Any], message: str) -> None:
        with pytest.raises(ValueError, match=message):
            vl4pose.select(POOL, 1, **options)

    def test_a_column_of_lists_makes_no_groups(self) -> None:
        with pytest.raises(TypeError, match="groups must be a column of strings or numbers"):
            vl4pose.select(POOL, 1, min_gap=1, order="name", groups="keypoints")

    def test_embeddings_must_be_there(self) -> None:
        bare = made_scores(5, embedding_size=None)
        with pytest.raises(ValueError, match=r"embeddings must be given .*--embeddings, got none"):
            vl4pose.select(bare, 1, diversity="k-centre")
        with pytest.raises(ValueError, match="labelled must be a table with embeddings"):
            vl4pose.select(POOL, 1, diversity="k-centre", labelled=bare)


class TestVideos:
    def test_groups_and_order_from_the_names_of_images(self) -> None:
        selection = vl4pose.select(POOL, 12, groups="folder", order="name", min_gap=3)
        assert_gaps(column(selection.to_table(), "image"), 3)
        assert selection.counts["gap"] > 0
        # clip0/frame0000.jpg: as the folders have one clip each, the names have as well.
        by_name = vl4pose.select(POOL, 12, groups="name", order="name", min_gap=3)
        assert by_name.rows.tolist() == selection.rows.tolist()

    def test_groups_and_order_from_columns(self) -> None:
        rows = POOL.rows.append_column("time", pa.array([i % 10 / 25 for i in range(40)]))
        rows = rows.append_column("video", pa.array([f"v{i // 10}" for i in range(40)]))
        timed = ScoreTable(rows, POOL.metadata)
        by_column = vl4pose.select(timed, 12, groups="video", order="time", min_gap=2.5 / 25)
        by_name = vl4pose.select(POOL, 12, groups="folder", order="name", min_gap=3)
        assert by_column.rows.tolist() == by_name.rows.tolist()


def assert_gaps(images: list[str], gap: int) -> None:
    frames: dict[str, list[int]] = {}
    for image in images:
        clip, frame = image.split("/")
        frames.setdefault(clip, []).append(int(frame[5:9]))
    for numbers in frames.values():
        assert (np.diff(sorted(numbers)) >= gap).all()


class TestLabelled:
    def test_what_is_labelled_is_not_chosen_again(self) -> None:
        first = vl4pose.select(POOL, 10)
        second = vl4pose.select(POOL, 10, labelled=first.to_table())
        assert second.rows.tolist() == vl4pose.select(POOL, 20).rows[10:].tolist()
        assert second.counts["labelled"] == second.settings["labelled"] == 10
        assert second.counts["selectable"] == 28

    def test_frames_keep_their_gap_from_what_is_labelled(self) -> None:
        frames = {"groups": "folder", "order": "name", "min_gap": 3}
        first = vl4pose.select(POOL, 5, **frames).to_table()
        second = vl4pose.select(POOL, 5, labelled=first, **frames).to_table()
        assert_gaps(column(first, "image") + column(second, "image"), 3)
        assert not set(column(first, "image")) & set(column(second, "image"))

    def test_another_root_has_other_images(self) -> None:
        elsewhere = made_scores(40, source={"kind": "folder", "root": "/others"})
        assert vl4pose.select(POOL, 1, labelled=elsewhere).counts["labelled"] == 0

    def test_people_of_one_image_are_told_apart(self) -> None:
        rows = made_scores(3, images=["a.jpg"] * 3).rows.drop_columns("person_id")
        pool = ScoreTable(rows.append_column("person_id", pa.array(["1", "2", "3"])), POOL.metadata)
        selection = vl4pose.select(pool, 2, labelled=pool.take([1]))
        assert sorted(selection.rows.tolist()) == [0, 2]

    def test_diversity_keeps_away_from_it(self) -> None:
        known = POOL.take([0, 1, 2])
        selection = vl4pose.select(POOL, 3, diversity="k-centre", labelled=known, shortlist=35)
        points = POOL.arrays("embedding").astype(np.float32).astype(float)
        candidates = [r for r in np.argsort(POOL.numbers("score")) if r not in (0, 1, 2, 3, 17)]
        centres = [0, 1, 2]
        for pick in selection.rows.tolist():
            distances = [min(math.dist(points[r], points[c]) for c in centres) for r in candidates]
            assert pick == candidates[int(np.argmax(distances))]
            centres.append(pick)


class TestReasons:
    table = vl4pose.select(POOL, 38, random_share=0.2).to_table()

    def test_worst_links_are_the_lowest_terms_with_their_z(self) -> None:
        rows = self.table.rows.to_pylist()
        pool_terms = POOL.arrays("per_link")
        for row in rows:
            order = np.argsort(row["per_link"], kind="stable")[:3]
            assert [w["link"] for w in row["worst_links"]] == [LSP.link_names[k] for k in order]
            for link, worst in zip(order, row["worst_links"], strict=True):
                parent, child = LSP.links[link]
                dx, dy = np.subtract(row["keypoints"][child], row["keypoints"][parent])
                length = math.hypot(dx / row["heatmap_scale"][0], dy / row["heatmap_scale"][1])
                d, s = row["link_params"][link]
                assert worst["z"] == pytest.approx((length - d) / math.exp(s / 2), rel=1e-5)
                term = row["per_link"][link]
                assert worst["log_likelihood"] == term
                not_higher = (pool_terms[:, link] <= term).sum()  # NaN is not
                assert worst["percentile"] == pytest.approx(100 * not_higher / 38)

    def test_ambiguous_joints_have_several_peaks_of_weight(self) -> None:
        num_found = 0
        for row in self.table.rows.to_pylist():
            expected = []
            for name, peaks, entropy in zip(LSP.joints, row["peaks"], row["entropy"], strict=True):
                number = sum(weight >= 0.1 for _, _, weight, _ in peaks)
                if number >= 2:
                    expected.append((name, number, entropy))
            expected.sort(key=lambda joint: -joint[2])
            assert [tuple(j.values()) for j in row["ambiguous_joints"]] == expected
            num_found += len(expected)
        assert num_found > 100

    def test_swap_suspects_are_the_exchanges_that_raise_the_likelihood(self) -> None:
        below = {
            "left_elbow/right_elbow": ["elbow", "wrist"],
            "left_hip/right_hip": ["hip", "knee", "ankle"],
            "left_knee/right_knee": ["knee", "ankle"],
        }
        num_found = 0
        for row in self.table.rows.to_pylist():
            pose = np.array(row["keypoints"]) / row["heatmap_scale"]
            params = np.array(row["link_params"])
            before = log_likelihood(pose, params, LSP)
            expected = {}
            for left, right in LSP.pairs:
                name = f"{LSP.joints[left]}/{LSP.joints[right]}"
                whole = [
                    pair
                    for pair in LSP.pairs
                    if LSP.joints[pair[0]].removeprefix("left_") in below.get(name, ())
                ]
                gains = []
                for pairs in ([(left, right)], whole):
                    changed = pose.copy()
                    for a, b in pairs:
                        changed[[a, b]] = pose[[b, a]]
                    gains.append(log_likelihood(changed, params, LSP) - before)
                if max(gains) > 1e-3:
                    expected[name] = (max(gains), gains[1] > gains[0])
            found = {s["pair"]: (s["gain"], s["with_below"]) for s in row["swap_suspects"]}
            assert found.keys() == expected.keys()
            for name, (gain, with_below) in found.items():
                assert gain == pytest.approx(expected[name][0], rel=1e-4, abs=1e-3)
                assert with_below == expected[name][1]
            gains = [s["gain"] for s in row["swap_suspects"]]
            assert gains == sorted(gains, reverse=True)
            num_found += len(found)
        assert num_found > 20

    def test_a_pose_whose_legs_were_exchanged_gets_them_back(self) -> None:
        keypoints = np.zeros((LSP.num_joints, 2))
        parents = {child: parent for parent, child in LSP.links}
        steps = {"left": (4.0, 3.0), "right": (-4.0, 3.0)}
        params = np.zeros((LSP.num_links, 2))
        for link, (_, child) in enumerate(LSP.links):
            side = LSP.joints[child].partition("_")[0]
            keypoints[child] = keypoints[parents[child]] + steps.get(side, (0, 5))
            params[link, 0] = 5
        ways = exchanges(LSP)
        pairs = ["/".join(LSP.joints[j] for j in LSP.pairs[way.pair]) for way in ways]
        legs = pairs.index("left_knee/right_knee") + 1
        assert ways[legs].with_below
        assert (exchange_gains(keypoints[None], params[None], LSP) < 0).all()
        wrong = keypoints[list(ways[legs].order)]
        gains = exchange_gains(wrong[None], params[None], LSP)[0]
        assert int(gains.argmax()) == legs
        right = log_likelihood(keypoints, params, LSP)
        assert gains[legs] == pytest.approx(right - log_likelihood(wrong, params, LSP), rel=1e-12)

    @pytest.mark.parametrize("name", ["lsp", "mpii", "coco", "hand"])
    def test_exchanges_of_every_skeleton(self, name: str) -> None:
        skeleton = vl4pose.get_skeleton(name)
        found = exchanges(skeleton)
        assert {way.pair for way in found} == set(range(len(skeleton.pairs)))
        orders = [way.order for way in found]
        assert len(set(orders)) == len(orders)
        for order in orders:
            assert [order[j] for j in order] == list(range(skeleton.num_joints))
        assert exchange_gains(
            np.zeros((2, skeleton.num_joints, 2)), np.zeros((2, skeleton.num_links, 2)), skeleton
        ).shape == (2, len(found))

    def test_what_is_missing_is_told_apart_from_what_is_fine(self) -> None:
        pool = made_scores(4, failed=(0, 1, 2))
        row = vl4pose.select(pool, 1).to_table().rows.to_pylist()[0]
        assert len(row["worst_links"]) == 3
        for missing in ("link_params", "keypoints", "peaks", "heatmap_scale"):
            position = pool.rows.schema.get_field_index(missing)
            nothing = pa.nulls(4, pool.rows.schema.field(missing).type)
            changed = ScoreTable(
                pool.rows.set_column(position, pool.rows.schema.field(missing), nothing),
                pool.metadata,
            )
            row = vl4pose.select(changed, 1).to_table().rows.to_pylist()[0]
            assert [w["z"] is None for w in row["worst_links"]] == [missing != "peaks"] * 3
            assert (row["ambiguous_joints"] == []) == (missing == "peaks")
            if missing != "peaks":
                assert row["swap_suspects"] == []


POSE = PoseReasons(
    [
        WorstLink("left_knee>left_ankle", -35.25, 8.06, 0.4),
        WorstLink("head>neck", -12.0, -0.5, 3.0),
        WorstLink("neck>left_shoulder", -9.0, 5.0, 1.0),
    ],
    [AmbiguousJoint(name, 2, 0.6) for name in ("neck", "head", "left_hip", "left_knee")],
    [
        SwapSuspect("left_knee/right_knee", 12.34, True),
        SwapSuspect("left_hip/right_hip", 2.2, False),
    ],
)
VALIDATION = Reference(False, "val.parquet", np.zeros(1))


class TestSentence:
    def test_all_of_it(self) -> None:
        told = sentence(Choice("ranking", 3, 1240, "likelihood", -80.0, 0.42, 0), POSE, VALIDATION)
        assert told == (
            "Number 3 of 1,240 by likelihood; score -80.00, lower than 99.6 % of the reference; "
            "left knee to left ankle 8.1 sd too long (-35.2 nats, lower than in 99.6 % of the "
            "reference); head to neck has an unlikely length at its lower peaks (-12.0 nats, lower "
            "than in 97.0 % of the reference); several peaks for neck (2), head (2), left hip (2) "
            "and 1 more; likelier by 12.3 nats with left knee and right knee, and what is below, "
            "exchanged."
        )

    def test_nothing_stands_out(self) -> None:
        calm = PoseReasons([WorstLink("head>neck", -2.0, 0.3, 40.0)], [], [])
        pool = Reference(True, None, np.zeros(1))
        told = sentence(Choice("random", 9, 10, "likelihood", -2.0, 100.0, 0), calm, pool)
        assert told == (
            "Drawn at random, number 9 of 10 by likelihood; score -2.00, lower than 0 % of the "
            "pool; no bone, joint or pair stands out."
        )

    def test_status_and_diversity_are_told(self) -> None:
        status = int(vl4pose.Status.PEAK_FALLBACK | vl4pose.Status.CLAMPED_PARAMS)
        told = sentence(
            Choice("diversity", 2, 9, "chance", -2.0, math.nan, status), None, VALIDATION
        )
        assert told == (
            "Unlike those chosen before it, one of 9; a heatmap without a peak; expected bones "
            "outside their range."
        )


class TestReference:
    def test_percentiles_are_of_the_reference(self) -> None:
        validation = made_scores(60, seed=9, failed=(5,))
        selection = vl4pose.select(POOL, 8, reference=validation)
        scores = validation.numbers("score")
        for row, percentile in zip(selection.rows, selection.percentile, strict=True):
            not_higher = (scores <= POOL.numbers("score")[row]).sum()
            assert percentile == pytest.approx(100 * not_higher / 59)
        assert selection.settings["reference"] == {"kind": "reference", "file": None, "rows": 59}
        terms = validation.arrays("per_link")
        for row in selection.to_table().rows.to_pylist():
            for worst in row["worst_links"]:
                not_higher = (
                    terms[:, LSP.link_names.index(worst["link"])] <= worst["log_likelihood"]
                ).sum()
                assert worst["percentile"] == pytest.approx(100 * not_higher / 59, rel=1e-6)

    @pytest.mark.parametrize(
        ("metadata", "what"),
        [
            ({"settings": {"scoring": {"method": "expected", "temperature": 5.0}}}, "temperature"),
            ({"settings": {"input": {"fit": "crop"}, "scoring": {}}}, "fit"),
            ({"models": {"pose": {"file": "pose.pt", "sha256": "11"}}}, "pose network"),
        ],
    )
    def test_other_settings_do_not_compare(self, metadata: dict[str, Any], what: str) -> None:
        settings = {
            "settings": {"input": {}, "scoring": {"method": "expected", "temperature": 1.0}}
        }
        if "settings" in metadata and what == "fit":
            metadata["settings"]["scoring"] = settings["settings"]["scoring"]
        other = made_scores(5, **metadata)
        message = f"reference must be scored as the pool was, got another {what}: .* in the pool"
        with pytest.raises(ValueError, match=message):
            vl4pose.select(POOL, 1, reference=other)

    def test_another_skeleton_does_not_compare(self) -> None:
        other = made_scores(5, skeleton=vl4pose.get_skeleton("mpii").to_json())
        with pytest.raises(ValueError, match="got another skeleton"):
            vl4pose.select(POOL, 1, reference=other)

    def test_failed_rows_alone_are_no_reference(self) -> None:
        with pytest.raises(ValueError, match="reference must hold scores, got none that is"):
            vl4pose.select(POOL, 1, reference=made_scores(3, failed=(0, 1, 2)))


def test_arrays_need_neither_pyarrow_nor_torch(tmp_path: Path) -> None:
    code = (
        "import sys, vl4pose\n"
        "vl4pose.select([1.0, 2.0, 3.0], 2, embeddings=[[1.0], [2.0], [5.0]], shortlist=3)\n"
        "assert vl4pose.select is vl4pose.active.select\n"
        "assert not {'pyarrow', 'torch'} & set(sys.modules)\n"
    )
    run_python(code, tmp_path)


@pytest.mark.parametrize(
    ("percentile", "told"),
    [
        (0, "100 %"),
        (0.0001, "99.9999 %"),
        (0.04, "99.96 %"),
        (0.06, "99.9 %"),
        (50, "50.0 %"),
        (99.96, "0.04 %"),
        (100, "0 %"),
    ],
)
def test_shares_are_whole_only_where_they_are(percentile: float, told: str) -> None:
    choice = Choice("ranking", 1, 9, "likelihood", -2.0, percentile, 0)
    pool = Reference(True, None, np.zeros(1))
    assert sentence(choice, None, pool).endswith(f"lower than {told} of the pool.")


def test_without_the_columns_of_poses_nothing_is_said_of_them() -> None:
    few = ScoreTable(POOL.rows.select(["score", "image"]), POOL.metadata)
    rows = vl4pose.select(few, 2).to_table().rows.to_pylist()
    assert [row["worst_links"] for row in rows] == [None, None]
    assert rows[0]["reasons"].startswith("Number 1 of ")
    assert rows[0]["reasons"].endswith(" of the pool.")


def test_tables_of_pandas_are_tables() -> None:
    pd = pytest.importorskip("pandas")
    frame = POOL.rows.to_pandas()
    expected = vl4pose.select(POOL, 5, strategy="confidence")
    selection = vl4pose.select(frame, 5, strategy="confidence")
    assert selection.rows.tolist() == expected.rows.tolist()
    frame.index = pd.Index(np.arange(len(frame)) + 100)
    shuffled = frame.iloc[::-1]
    rows = vl4pose.select(shuffled, 5).rows
    assert shuffled["image"].iloc[rows].tolist() == (
        vl4pose.select(POOL, 5).to_table().rows["image"].to_pylist()
    )
    table = vl4pose.select(shuffled, 5, labelled=frame.head(10)).to_table()
    assert "__index_level_0__" not in table.rows.column_names
    assert not set(table.rows["image"].to_pylist()) & set(frame["image"].head(10))
