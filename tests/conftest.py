"""Fixtures that every test file may use."""

from __future__ import annotations

import os
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def test_data() -> Path:
    """The directory of real images, annotations and frozen outputs, or a skip that says why."""
    value = os.environ.get("VL4POSE_TEST_DATA")
    if not value:
        pytest.skip("needs real data: set VL4POSE_TEST_DATA to its directory")
    path = Path(value)
    assert path.is_dir(), f"VL4POSE_TEST_DATA must be a directory, got {value}"
    return path
