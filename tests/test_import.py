"""Importing vl4pose: what it needs, what it leaves alone, and what it offers."""

from __future__ import annotations

import ast
import doctest
import importlib
import importlib.metadata
import inspect
import json
import re
from pathlib import Path
from typing import Any

import pytest
from new_process import run_python

import vl4pose
from vl4pose import _core

OPTIONAL = {"torch", "matplotlib", "PIL", "pyarrow", "typer", "rich", "scipy", "skimage", "cv2"}
# Makes every package but NumPy look as if it were not installed.
NUMPY_ALONE = """
import importlib.abc, sys

class NothingElse(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {*sys.stdlib_module_names, "numpy", "vl4pose"}:
            return None
        raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, NothingElse())
import numpy as np
import vl4pose
"""
EVERY_OPERATION = """
import numpy as np

heatmaps = np.random.default_rng(0).random((3, 14, 8, 8), dtype=np.float32)
params = np.tile(np.float32([3.0, 1.0]), (13, 1))
scale_tril = np.tile(np.eye(2, dtype=np.float32), (13, 1, 1))

result = vl4pose.analyze(heatmaps, params, subpixel="dark")
peaks = vl4pose.local_maxima(heatmaps)
poses = vl4pose.decode(heatmaps).keypoints
assert (vl4pose.score(heatmaps, params) == result.score).all()
assert vl4pose.score(heatmaps[1], params) == result.score[1]
assert (vl4pose.refine(heatmaps, params).log_prob == result.refined.log_prob).all()
assert vl4pose.peak_weights(peaks.values, count=peaks.count).shape == (3, 14, 5)
assert vl4pose.multi_peak_entropy(heatmaps).shape == (3,)
assert vl4pose.pose_log_likelihood(poses, params).shape == (3,)
vl4pose.get_skeleton("lsp").to_file("lsp.json")
skeleton = vl4pose.Skeleton.from_file("lsp.json")
offsets = np.zeros((13, 2), np.float32)
assert vl4pose.offset_log_likelihood(poses, offsets, scale_tril, skeleton=skeleton).shape == (3,)
vl4pose.save_params("bones.json", vl4pose.fit_params(poses, None, "lsp"), "lsp")
assert vl4pose.load_params("bones.json", "lsp").shape == (13, 2)
"""


@pytest.mark.parametrize("then", ["", EVERY_OPERATION], ids=["import", "every operation"])
def test_no_optional_package_is_loaded(then: str, tmp_path: Path) -> None:
    code = f"import vl4pose\n{then}\nimport json, sys\nprint(json.dumps(sorted(sys.modules)))"
    process = run_python(code, tmp_path)
    assert process.stderr == ""
    modules = json.loads(process.stdout)
    assert "numpy" in modules
    assert OPTIONAL.isdisjoint(name.partition(".")[0] for name in modules)
    assert {"vl4pose.scorer", "vl4pose.cli", "vl4pose.nn", "vl4pose.reference"}.isdisjoint(modules)


def test_numpy_alone_is_enough(tmp_path: Path) -> None:
    process = run_python(f"{NUMPY_ALONE}\n{EVERY_OPERATION}\nprint('done')", tmp_path)
    assert (process.stdout, process.stderr) == ("done\n", "")


def imported_by(file: Path) -> set[str]:
    """The modules that a file imports anywhere in it."""
    names = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file} imports relatively"
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def test_only_the_command_line_imports_the_command_line() -> None:
    package = Path(vl4pose.__file__).parent
    importing = {
        file.relative_to(package)
        for file in package.rglob("*.py")
        if any(f"{name}.".startswith("vl4pose.cli.") for name in imported_by(file))
    }
    assert Path("cli/app.py") in importing
    above = {file for file in importing if file.parts[0] not in ("cli", "__main__.py")}
    assert not above


@pytest.mark.parametrize("how", ["vl4pose.Scorer", "from vl4pose import Scorer"])
def test_scorer_without_torch_says_what_to_install(how: str, tmp_path: Path) -> None:
    process = run_python(f"{NUMPY_ALONE}\n{how}", tmp_path, status=1)
    message = "ImportError: vl4pose.Scorer needs torch: pip install 'vl4pose[torch]'"
    assert process.stderr.splitlines()[-1] == message


def test_nothing_public_needs_torch(tmp_path: Path) -> None:
    code = "from vl4pose import *\nimport inspect; inspect.getmembers(vl4pose)"
    listed = run_python(f"{NUMPY_ALONE}\n{code}\nprint(*dir(vl4pose))", tmp_path).stdout.split()
    assert {"score", "reference"} <= set(listed)
    assert {"Scorer", "nn"}.isdisjoint(listed)


def test_bad_input_without_torch_is_the_same_error(tmp_path: Path) -> None:
    process = run_python(f"{NUMPY_ALONE}\nvl4pose.decode([1.0])", tmp_path, status=1)
    assert process.stderr.splitlines()[-1] == (
        "TypeError: heatmaps must be a NumPy array, a torch tensor or an array with __dlpack__, "
        "got list"
    )


def test_dir_lists_the_public_names(tmp_path: Path) -> None:
    """Before anything lazy has been looked up, so in a new process."""
    code = "import json, vl4pose; print(json.dumps([dir(vl4pose), vl4pose.__all__]))"
    listed, public = json.loads(run_python(code, tmp_path).stdout)
    lazy = ["NLLLoss", "OffsetNLLLoss", "Scorer", "losses", "nll_loss", "nn", "offset_nll_loss"]
    lazy += ["Selection", "active", "metrics", "plot", "select"]
    assert listed == sorted([*public, *lazy, "__version__", "reference"])


def test_lazy_names_are_found() -> None:
    for name in ("Scorer", "active", "metrics", "nn", "plot", "reference", "select"):
        assert getattr(vl4pose, name).__name__.endswith(name)


@pytest.mark.parametrize("name", vl4pose.__all__)
def test_public_names_exist(name: str) -> None:
    assert getattr(vl4pose, name).__name__ == name


def test_unknown_attribute() -> None:
    with pytest.raises(AttributeError) as caught:
        vl4pose.scorr  # type: ignore[attr-defined]  # noqa: B018
    assert str(caught.value) == "module 'vl4pose' has no attribute 'scorr'"
    assert not hasattr(vl4pose, "Scorers")


def section(docstring: str, title: str) -> str:
    """The text of one section of a numpydoc docstring, empty where there is none."""
    found = re.search(rf"^{title}\n-+\n(.*?)(?=^\w[\w ]*\n-{{3,}}$|\Z)", docstring, re.M | re.S)
    return found[1] if found else ""


@pytest.mark.parametrize("name", vl4pose.__all__)
def test_public_names_are_documented(name: str) -> None:
    public: Any = getattr(vl4pose, name)
    docstring = inspect.getdoc(public) or ""
    assert docstring
    if hasattr(public, "_fields"):
        described, names = section(docstring, "Attributes"), public._fields
    elif name == "Status":
        described, names = docstring, ()
    else:
        described, names = section(docstring, "Parameters"), inspect.signature(public).parameters
    for parameter in names:
        assert re.search(rf"(^|, ){parameter}\b", described, re.M), f"{parameter} of {name}"
    if inspect.isfunction(public):
        returns = inspect.signature(public).return_annotation != "None"
        assert bool(section(docstring, "Returns")) == returns
        assert section(docstring, "Raises") or not names


@pytest.mark.parametrize("name", ["joint_index", "from_file", "to_file", "num_joints", "num_links"])
def test_what_a_skeleton_offers_is_documented(name: str) -> None:
    assert inspect.getdoc(getattr(vl4pose.Skeleton, name))


@pytest.mark.parametrize("name", ["scoring", "link_params", "scorer"])
def test_examples_of_the_documentation_run(name: str) -> None:
    result = doctest.testmod(importlib.import_module(f"vl4pose.{name}"))
    assert result.attempted > 0
    assert result.failed == 0


def test_version_is_one() -> None:
    assert vl4pose.__version__ == importlib.metadata.version("vl4pose")
    assert vl4pose.__version__ == _core.build_info()["version"]
