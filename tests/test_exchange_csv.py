"""CSV: what is exported, and read back."""

from __future__ import annotations

import csv
import io

import numpy as np
import pytest

pytest.importorskip("pyarrow")

from exchange_cases import ROWS, SKELETON, poses_of, row, table
from returned_annotations import POSES

from vl4pose.annotations import read_csv
from vl4pose.exchange import csv_file
from vl4pose.exchange.poses_to_annotate import poses_to_annotate


def test_csv_is_what_score_and_fit_read(tmp_path) -> None:
    csv_file.write(POSES, SKELETON, tmp_path / "a.csv")
    people, _ = read_csv(tmp_path / "a.csv", SKELETON)
    assert [person.image for person in people[:-1]] == [item["image"] for item in ROWS[:-1]]
    assert people[-1].image == "./=cmd|' /C calc'!A0.png"  # the same file, and no formula
    assert [person.person_id for person in people[:3]] == [None, "17", "3"]
    assert people[1].box == (60.5, 30.0, 80.25, 120.0)
    assert people[0].box == (0, 0, 640, 480)
    np.testing.assert_allclose(people[1].keypoints, poses_of()[people[1].image, 0], atol=1e-4)


def test_cells_of_a_csv_are_no_formulas(tmp_path) -> None:
    rows = [
        row(name, [[-1, 2], [3, 4], [5, 6], [7, 8]], person_id=person, reasons=reasons)
        for name, person, reasons in [
            ("=1+1.png", "@SUM(A1)", "+2"),
            ("-dash.png", "-5", "=HYPERLINK(1)"),
            ("@a.png", "=x", "fine"),
            ("\ta.png", "\r1", "\t=1"),
        ]
    ]
    csv_file.write(poses_to_annotate(table(rows)), SKELETON, tmp_path / "a.csv")
    text = (tmp_path / "a.csv").read_bytes().decode()
    for line in list(csv.DictReader(io.StringIO(text, newline="")))[:4]:
        for cell in line.values():
            assert not cell.startswith(("=", "+", "@", "\t", "\r"))
            assert not cell.startswith("-") or float(cell) < 0
    back = csv_file.read(tmp_path / "a.csv", SKELETON)
    assert [pose.image for pose in back.poses] == ["=1+1.png", "-dash.png", "@a.png", "\ta.png"]
    assert [pose.person_id for pose in back.poses] == ["@SUM(A1)", "-5", "=x", "1"]
