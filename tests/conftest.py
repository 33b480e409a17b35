"""Fixtures that every test file may use."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

sys.path.insert(0, str(Path(__file__).parent))  # for strategies.py, which the tests share

# A plain run draws the same cases every time; `pytest --hypothesis-profile=long` draws many others.
settings.register_profile(
    "ci",
    max_examples=100,
    derandomize=True,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],  # a busy machine is no fault of the strategy
)
settings.register_profile(
    "long",
    parent=settings.get_profile("ci"),
    max_examples=2000,
    derandomize=False,
    print_blob=True,
)
settings.load_profile("ci")


@pytest.fixture(scope="session")
def test_data() -> Path:
    """The directory of real images, annotations and frozen outputs, or a skip that says why."""
    value = os.environ.get("VL4POSE_TEST_DATA")
    if not value:
        pytest.skip("needs real data: set VL4POSE_TEST_DATA to its directory")
    path = Path(value)
    assert path.is_dir(), f"VL4POSE_TEST_DATA must be a directory, got {value}"
    return path
