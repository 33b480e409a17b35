"""Checkpoints: exact, atomic, and the previous one where the last is damaged."""

from __future__ import annotations

from pathlib import Path

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("safetensors")

from vl4pose._atomic_file import write_atomically  # noqa: E402
from vl4pose.training import checkpoints as module  # noqa: E402
from vl4pose.training.checkpoints import Checkpoints  # noqa: E402


def state(number: int) -> dict:
    generator = torch.Generator().manual_seed(number)
    return {
        "number": number,
        "loss": 0.1 + number,
        "nothing": None,
        "nested": [{"name": "(tensor)", "flag": True}, [1, 2]],
        "tensors": {
            "single": torch.rand(3, 4, generator=generator),
            "double": torch.rand(2, dtype=torch.float64, generator=generator),
            "half": torch.rand(5, generator=generator).bfloat16(),
            "count": torch.tensor(number),
            "flags": torch.tensor([True, False]),
            "empty": torch.zeros(0, 3),
            "channels last": torch.rand(2, 3, 4, 5).to(memory_format=torch.channels_last),
        },
    }


def assert_same(found, expected) -> None:
    if isinstance(expected, torch.Tensor):
        assert found.dtype == expected.dtype
        assert torch.equal(found, expected)
    elif isinstance(expected, dict):
        assert found.keys() == expected.keys()
        for key in expected:
            assert_same(found[key], expected[key])
    else:
        assert found == expected


def test_a_state_comes_back_exactly(tmp_path: Path) -> None:
    first = state(1)
    Checkpoints(tmp_path / "run").save(first)
    found, problems = Checkpoints(tmp_path / "run").load()
    assert problems == []
    assert_same(found, first)


def test_without_a_checkpoint_there_is_none(tmp_path: Path) -> None:
    assert Checkpoints(tmp_path / "nowhere").load() == (None, [])


def test_shared_memory_is_no_obstacle(tmp_path: Path) -> None:
    whole = torch.arange(6.0)
    Checkpoints(tmp_path).save({"whole": whole, "again": whole, "part": whole[2:4]})
    found, _ = Checkpoints(tmp_path).load()
    assert found is not None
    assert found["part"].tolist() == [2, 3]
    assert torch.equal(found["whole"], found["again"])


def test_the_last_of_many_counts_and_two_are_kept(tmp_path: Path) -> None:
    for number in range(5):
        Checkpoints(tmp_path).save(state(number))
    found, _ = Checkpoints(tmp_path).load()
    assert found is not None
    assert found["number"] == 4
    assert len(list(tmp_path.iterdir())) == 2


@pytest.mark.parametrize("share", [0.0, 0.01, 0.5, 0.999])
def test_a_cut_file_is_noticed_and_the_previous_used(tmp_path: Path, share: float) -> None:
    checkpoints = Checkpoints(tmp_path)
    checkpoints.save(state(1))
    checkpoints.save(state(2))
    path = tmp_path / "checkpoint.safetensors"
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    found, (problem,) = Checkpoints(tmp_path).load()
    assert_same(found, state(1) | {"tensors": found["tensors"]})
    assert str(path) in problem
    # The damaged one must not push the good one out.
    checkpoints.save(state(3))
    path.write_bytes(b"torn again")
    found, _ = Checkpoints(tmp_path).load()
    assert found["number"] == 1


@pytest.mark.parametrize("position", [9, -200, -1])
def test_one_wrong_byte_is_noticed(tmp_path: Path, position: int) -> None:
    Checkpoints(tmp_path).save(state(1))
    path = tmp_path / "checkpoint.safetensors"
    content = bytearray(path.read_bytes())
    content[position] ^= 1
    path.write_bytes(content)
    found, problems = Checkpoints(tmp_path).load()
    assert found is None
    assert len(problems) == 1


def test_a_kill_before_the_file_is_in_place_costs_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    checkpoints = Checkpoints(tmp_path)
    checkpoints.save(state(1))
    checkpoints.save(state(2))

    def killed(path: Path, data: bytes) -> None:
        path.with_name(f".{path.name}.99.tmp").write_bytes(data[:100])
        raise KeyboardInterrupt

    monkeypatch.setattr(module, "write_atomically", killed)
    with pytest.raises(KeyboardInterrupt):
        checkpoints.save(state(3))
    monkeypatch.undo()
    found, problems = checkpoints.load()
    assert found is not None
    assert (found["number"], problems) == (2, [])
    assert not list(tmp_path.glob(".*"))


def test_reading_runs_no_code(tmp_path: Path) -> None:
    Checkpoints(tmp_path).save(state(1))
    content = (tmp_path / "checkpoint.safetensors").read_bytes()
    length = int.from_bytes(content[:8], "little")
    assert content[8:9] == b"{"  # a JSON header, and then bare numbers
    assert b"pickle" not in content[: 8 + length]


def test_only_its_own_files_are_removed(tmp_path: Path) -> None:
    run = tmp_path / "run"
    Checkpoints(run).save(state(1))
    (run / "note.txt").write_text("mine")
    Checkpoints(run).remove()
    assert [path.name for path in run.iterdir()] == ["note.txt"]
    (run / "note.txt").unlink()
    Checkpoints(run).save(state(1))
    Checkpoints(run).save(state(2))
    Checkpoints(run).remove()
    assert not run.exists()


def test_a_failed_write_leaves_the_old_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "file"
    write_atomically(path, b"old")

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match="No space"):
        write_atomically(path, b"new")
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]
