"""The training: what it learns, what it leaves alone, and that it repeats itself bit for bit."""

from __future__ import annotations

import copy
import math
import os
import subprocess
import sys
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("kornia")
pytest.importorskip("safetensors")

from torch import nn  # noqa: E402
from torch.utils.data import TensorDataset  # noqa: E402
from training_figures import (  # noqa: E402
    SKELETON,
    TRANSFORM,
    Own,
    figures,
    one_thread,  # noqa: F401
    pictures,
    poses,
    tiny_pose,
)

import vl4pose  # noqa: E402
from vl4pose.nn import AuxiliaryNet  # noqa: E402
from vl4pose.training import (  # noqa: E402
    Epoch,
    FitSettings,
    OtherRunError,
    Reporter,
    fit,
)
from vl4pose.training.dataset import annotations_of, batches_of  # noqa: E402
from vl4pose.training.positions import epoch_batches  # noqa: E402


def trained(pose=None, train=None, validation=None, **options):
    settings = {"epochs": 3, "batch_size": 8} | options.pop("settings", {})
    return fit(
        figures(20) if train is None else train,
        figures(6, seed=1) if validation is None else validation,
        tiny_pose() if pose is None else pose,
        skeleton=SKELETON,
        transform=TRANSFORM,
        settings=FitSettings(**settings),
        **options,
    )


def weights(result) -> dict:
    networks = {"aux": result.aux}
    if isinstance(result.pose, nn.Module):
        networks["pose"] = result.pose
    return {
        f"{name}.{key}": tensor
        for name, network in networks.items()
        for key, tensor in network.state_dict().items()
    }


def assert_same(result, expected) -> None:
    assert result.epochs == expected.epochs
    assert result.best_epoch == expected.best_epoch
    found, wanted = weights(result), weights(expected)
    assert found.keys() == wanted.keys()
    for name, tensor in found.items():
        assert torch.equal(tensor, wanted[name]), name


class Recorder(Reporter):
    """Keeps what it is told, and raises at a step."""

    def __init__(self, stop_after: int | None = None) -> None:
        self.stop_after = stop_after
        self.steps = 0
        self.notes: list[str] = []
        self.epochs: list[Epoch] = []

    def training_nll(self, nll: float) -> None:
        self.steps += 1

    def advance(self, count: int) -> None:
        if self.steps == self.stop_after:
            raise KeyboardInterrupt

    def note(self, text: str) -> None:
        self.notes.append(text)

    def epoch(self, epoch: Epoch) -> None:
        self.epochs.append(epoch)


# --- what is learnt ---------------------------------------------------------------------------


@pytest.mark.parametrize("train_pose", [False, True])
def test_bones_are_learnt_from_pictures(train_pose: bool) -> None:
    settings = {"epochs": 25, "learning_rate": 5e-3, "augment": False}
    result = trained(
        train=figures(80), train_pose=train_pose, settings=settings | {"pose_learning_rate": 1e-2}
    )
    last = result.epochs[result.best_epoch - 1]
    assert last.validation_nll < last.baseline_nll - 0.5
    assert last.train_nll < result.epochs[0].train_nll
    assert result.calibration.predicted().nll == pytest.approx(last.validation_nll)
    if train_pose:
        assert last.validation_heatmap_loss < 0.7 * result.epochs[0].validation_heatmap_loss
    else:
        assert last.train_heatmap_loss is None
        assert last.validation_heatmap_loss is None
    assert not result.aux.training


def test_the_baseline_is_constant_bones_of_the_training_set() -> None:
    result = trained()
    params = vl4pose.fit_params(poses(20, 0), None, SKELETON)
    assert torch.equal(result.params, params)
    nll = vl4pose.losses.nll_loss(params, poses(6, 1), skeleton=SKELETON)
    assert result.epochs[0].baseline_nll == pytest.approx(nll.item(), rel=1e-5)
    assert result.calibration.baseline().nll == pytest.approx(nll.item(), rel=1e-5)


def test_training_starts_at_the_baseline() -> None:
    result = trained(settings={"epochs": 1, "learning_rate": 1e-12})
    (epoch,) = result.epochs
    assert epoch.validation_nll == pytest.approx(epoch.baseline_nll, abs=1e-4)


def test_invisible_joints_are_never_read() -> None:
    def with_unseen(number: int, seed: int, value: float) -> TensorDataset:
        keypoints = poses(number, seed)
        images = pictures(keypoints)
        visible = torch.ones(number, 3, dtype=torch.bool)
        visible[::3, 1] = False
        visible[1::4] = False
        keypoints[~visible] = value
        return TensorDataset(images, keypoints, visible)

    results = [
        trained(train=with_unseen(20, 0, value), validation=with_unseen(6, 1, value), train_pose=p)
        for p in (False, True)
        for value in (math.nan, 1e30)
    ]
    assert_same(results[0], results[1])
    assert_same(results[2], results[3])


# --- what is left alone -----------------------------------------------------------------------


def test_a_frozen_network_is_not_changed() -> None:
    pose = tiny_pose().train()
    pose.stem.eval()  # a mode of its own
    before = copy.deepcopy(pose.state_dict())
    for cache_limit in (10**9, 0):
        trained(pose, cache_limit=cache_limit)
        assert all(torch.equal(tensor, before[name]) for name, tensor in pose.state_dict().items())
        assert pose.training
        assert not pose.stem.training
        assert all(weight.grad is None for weight in pose.parameters())


def test_the_loss_of_the_bones_never_reaches_the_pose_network() -> None:
    results = [
        trained(train_pose=True, settings={"learning_rate": rate, "patience": 3})
        for rate in (1e-12, 1e-1)
    ]
    # The best epochs differ; both are trained for all three, so compare in the same.
    losses = [[epoch.train_heatmap_loss for epoch in result.epochs] for result in results]
    assert losses[0] == losses[1]
    assert results[0].epochs[2].train_nll != results[1].epochs[2].train_nll


def test_the_callers_generators_and_data_are_not_touched() -> None:
    data = figures(20)
    before = [tensor.clone() for tensor in data.tensors]
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    trained(train=data)
    assert torch.equal(torch.rand(3), expected)
    assert all(map(torch.equal, data.tensors, before))


# --- repetition -------------------------------------------------------------------------------


@pytest.mark.parametrize("train_pose", [False, True])
def test_the_seed_decides_everything(train_pose: bool) -> None:
    first, again, other = (
        trained(train_pose=train_pose, settings={"seed": seed}) for seed in (3, 3, 4)
    )
    assert_same(first, again)
    assert first.epochs != other.epochs


def test_reading_ahead_changes_nothing() -> None:
    results = [trained(train_pose=True, workers=workers) for workers in (0, 3)]
    assert_same(*results)


@pytest.mark.parametrize("train_pose", [False, True])
@pytest.mark.parametrize("stop_after", [1, 3, 4, 9])
def test_a_run_that_was_stopped_ends_as_one_that_was_not(
    tmp_path: Path, train_pose: bool, stop_after: int
) -> None:
    expected = trained(train_pose=train_pose)
    options = {"train_pose": train_pose, "checkpoints": tmp_path, "checkpoint_seconds": 0}
    with pytest.raises(KeyboardInterrupt):
        trained(reporter=Recorder(stop_after), **options)
    recorder = Recorder()
    result = trained(reporter=recorder, **options)
    # Each epoch has 3 steps; the checkpoint of a step comes after what stops it here.
    assert recorder.steps == 9 - (stop_after - 1)
    if stop_after > 1:
        done, step = divmod(stop_after - 1, 3)
        where = f"in epoch {done + 1}, after step {step}" if step else f"after epoch {done}"
        assert recorder.notes == [f"Resumed {where}."]
    assert recorder.epochs == result.epochs
    assert_same(result, expected)


def test_a_finished_run_is_not_run_again(tmp_path: Path) -> None:
    expected = trained(checkpoints=tmp_path)
    recorder = Recorder()
    assert_same(trained(checkpoints=tmp_path, reporter=recorder), expected)
    assert recorder.steps == 0


def test_a_damaged_checkpoint_costs_the_steps_since_the_one_before(tmp_path: Path) -> None:
    expected = trained()
    options = {"checkpoints": tmp_path, "checkpoint_seconds": 0}
    with pytest.raises(KeyboardInterrupt):
        trained(reporter=Recorder(6), **options)
    path = tmp_path / "checkpoint.safetensors"
    path.write_bytes(path.read_bytes()[:-7])
    recorder = Recorder()
    assert_same(trained(reporter=recorder, **options), expected)
    assert recorder.steps == 9 - 4
    assert str(path) in recorder.notes[0]


@pytest.mark.parametrize(
    ("options", "difference"),
    [
        ({"settings": {"seed": 1}}, "seed"),
        ({"settings": {"epochs": 4}}, "epochs"),
        ({"train": figures(20, seed=9)}, "training set"),
        ({"validation": figures(6, seed=9)}, "validation set"),
        ({"pose": tiny_pose(seed=9)}, "pose network"),
        ({"train_pose": True}, "train_pose"),
    ],
)
def test_a_checkpoint_of_another_run_is_refused(tmp_path: Path, options, difference) -> None:
    trained(checkpoints=tmp_path)
    with pytest.raises(OtherRunError, match=f"of the same run, got .* another {difference}$"):
        trained(checkpoints=tmp_path, **options)


# --- several processes ------------------------------------------------------------------------

SHARE = """
import sys
from pathlib import Path
import torch
from torch import distributed
from training_figures import Own, SKELETON, figures, tiny_pose
from vl4pose.training import FitSettings, fit

rank, folder, train_pose = int(sys.argv[1]), Path(sys.argv[2]), sys.argv[3] == "True"
torch.set_num_threads(1)
distributed.init_process_group("gloo", f"file://{folder}/meeting", rank=rank, world_size=2)
pose = tiny_pose().eval()
pose.train = lambda mode=True: pose  # batch normalisation would see a share of the batch only
torch.manual_seed(0)
result = fit(
    figures(21), figures(7, seed=1), pose, skeleton=SKELETON, aux=Own(), train_pose=train_pose,
    settings=FitSettings(epochs=3, batch_size=8, augment=False, learning_rate=1e-2),
    checkpoints=folder / "run", checkpoint_seconds=0,
)
networks = [result.aux.state_dict(), pose.state_dict(), result.epochs[-1].train_nll]
torch.save(networks, folder / f"{rank}.pt")
distributed.destroy_process_group()
"""


@pytest.mark.parametrize("train_pose", [False, True])
def test_two_processes_take_the_steps_of_one(tmp_path: Path, train_pose: bool) -> None:
    search = [*sys.path, str(Path(__file__).parent)]
    processes = [
        subprocess.Popen(
            [
                sys.executable,
                "-W",
                "ignore",
                "-c",
                SHARE,
                str(rank),
                str(tmp_path),
                str(train_pose),
            ],
            env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, search))},
        )
        for rank in range(2)
    ]
    assert [process.wait() for process in processes] == [0, 0]
    first, second = (torch.load(tmp_path / f"{rank}.pt", weights_only=True) for rank in range(2))
    pose = tiny_pose().eval()
    pose.train = lambda mode=True: pose
    torch.manual_seed(0)
    result = trained(
        pose,
        figures(21),
        figures(7, seed=1),
        aux=Own(),
        train_pose=train_pose,
        settings={"augment": False, "learning_rate": 1e-2},
    )
    expected = [result.aux.state_dict(), pose.state_dict(), result.epochs[-1].train_nll]
    for network in range(2):
        for name, tensor in first[network].items():
            assert torch.equal(tensor, second[network][name]), name
            torch.testing.assert_close(tensor, expected[network][name], rtol=1e-3, atol=1e-5)
    assert first[2] == second[2] == pytest.approx(expected[2], rel=1e-4)


# --- the features on disk ---------------------------------------------------------------------


def test_cached_features_train_as_computed_ones(tmp_path: Path) -> None:
    settings = {"augment": False}
    cached = trained(cache=tmp_path, settings=settings)
    computed = trained(cache_limit=0, settings=settings)
    assert len(list(tmp_path.iterdir())) == 26
    for first, second in zip(cached.epochs, computed.epochs, strict=True):
        assert first.train_nll == pytest.approx(second.train_nll, abs=1e-3)
        assert first.validation_nll == pytest.approx(second.validation_nll, abs=1e-3)


def test_views_are_cached_beside_the_images(tmp_path: Path) -> None:
    trained(cache=tmp_path, settings={"views": 2})
    assert len(list(tmp_path.iterdir())) == 3 * 20 + 6
    calls = []

    def counted(images):
        calls.append(len(images))
        return tiny_pose().eval()(images)

    trained(counted, cache=tmp_path, settings={"views": 2})
    assert calls == [1, 3, 3]  # an image of noise, and the validation set for its peaks


def test_features_beyond_the_limit_are_computed_anew() -> None:
    recorder = Recorder()
    trained(cache_limit=1000, reporter=recorder)
    (note,) = recorder.notes
    assert note.startswith("The features would take 0.0 GB")


# --- settings ---------------------------------------------------------------------------------


def test_training_stops_when_nothing_improves() -> None:
    result = trained(settings={"epochs": 50, "patience": 2, "learning_rate": 1.0})
    assert len(result.epochs) == result.best_epoch + 2 < 50
    best = min(result.epochs, key=lambda epoch: epoch.validation_nll)
    assert best.number == result.best_epoch
    assert best.is_best


@pytest.mark.parametrize("train_pose", [False, True])
def test_half_precision_trains(train_pose: bool) -> None:
    result = trained(train_pose=train_pose, settings={"amp": True})
    assert all(math.isfinite(epoch.train_nll) for epoch in result.epochs)
    assert all(weight.dtype == torch.float32 for weight in result.aux.parameters())


def test_an_auxiliary_network_of_ones_own() -> None:
    own = Own()
    result = trained(aux=own)
    assert result.aux is own
    assert result.calibration.params.shape == (6, 2, 2)


def test_a_mapping_of_outputs_and_stacks_is_understood() -> None:
    class Stacked(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.pose = tiny_pose()

        def forward(self, images):
            heatmaps, features = self.pose(images)
            return {"heatmaps": torch.stack([heatmaps, heatmaps], 1), "features": list(features)}

    for train_pose in (False, True):
        result = trained(Stacked(), train_pose=train_pose)
        assert isinstance(result.features, list)
        assert isinstance(result.aux, AuxiliaryNet)


def test_a_loss_that_is_not_finite_is_an_error() -> None:
    with pytest.raises(RuntimeError, match=r"loss must stay finite, got .* lower learning rate"):
        trained(
            pose=lambda images: (images[:, :, ::4, ::4], (images * math.nan,)),
        )


@pytest.mark.parametrize(
    ("name", "value", "error", "message"),
    [
        ("epochs", 0, ValueError, "epochs must be at least 1, got 0"),
        ("batch_size", 2.5, TypeError, "batch_size must be a whole number, got 2.5"),
        ("seed", -1, ValueError, "seed must be at least 0, got -1"),
        ("patience", True, TypeError, "patience must be a whole number, got True"),
        ("learning_rate", 0.0, ValueError, "learning_rate must be positive and finite, got 0.0"),
        ("weight_decay", math.nan, ValueError, "weight_decay must be at least 0 and finite"),
        ("warmup", "1", TypeError, "warmup must be a number, got '1'"),
        ("amp", 1, TypeError, "amp must be True or False, got 1"),
    ],
)
def test_settings_that_are_none(name, value, error, message) -> None:
    with pytest.raises(error, match=message):
        FitSettings(**{name: value})


def empty() -> TensorDataset:
    return TensorDataset(torch.zeros(0, 3, 64, 64), torch.zeros(0, 3, 2), torch.zeros(0, 3) > 0)


def unseen(joint: int) -> TensorDataset:
    images, keypoints, visible = figures(20).tensors
    visible = visible.clone()
    visible[:, joint] = False
    return TensorDataset(images, keypoints, visible)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"train": empty()}, "train must hold at least one sample, got none"),
        ({"validation": empty()}, "validation must hold at least one sample, got none"),
        (
            {"train": unseen(2)},
            "train must hold at least one pose with both joints of each link, got none with those "
            "of head>right_hand$",
        ),
        ({"validation": unseen(0)}, "validation must hold at least one visible link, got none"),
        (
            {"pose": lambda images: images[:, :, ::4, ::4]},
            r"pose must return \(heatmaps, features\), got heatmaps alone",
        ),
        (
            {"pose": lambda images: (images[0, 0], (images,))},
            r"pose must return heatmaps \(B, J, H, W\) or .*, got \(64, 64\)",
        ),
    ],
)
def test_data_and_networks_that_are_none(options, message) -> None:
    with pytest.raises(ValueError, match=message):
        trained(**options)


def test_kinds_that_do_not_go() -> None:
    with pytest.raises(TypeError, match="pose must be a module for train_pose=True, got function"):
        trained(lambda images: images, train_pose=True)
    with pytest.raises(TypeError, match="features as a sequence of Tensors, got Tensor"):
        trained(lambda images: (images[:, :, ::4, ::4], images))
    data = TensorDataset(torch.zeros(2, 3, 64, 64), torch.zeros(2, 4, 2), torch.ones(2, 4) > 0)
    with pytest.raises(ValueError, match=r"as many joints as skeleton 'arms' \(3\), got 4"):
        trained(train=data)


# --- the data's way ---------------------------------------------------------------------------


def test_every_sample_is_in_an_epoch_once() -> None:
    for number, size in ((20, 8), (1, 8), (17, 16), (16, 16), (5, 1)):
        for epoch in range(3):
            batches = epoch_batches(number, size, 0, epoch, num_views=4)
            assert max(map(len, batches)) <= size
            assert max(map(len, batches)) - min(map(len, batches)) <= 1
            assert sorted(index % number for batch in batches for index in batch) == list(
                range(number)
            )
    orders = [epoch_batches(20, 8, seed, epoch) for seed in (0, 1) for epoch in (0, 1)]
    assert all(orders[i] != orders[j] for i in range(4) for j in range(i))


def test_batches_are_the_same_with_and_without_threads() -> None:
    data = figures(7)
    order = [[0, 3], [6, 1, 2], [5], [4]]
    for workers in (0, 1, 4):
        batches = list(batches_of(data, order, workers))
        assert len(batches) == 4
        for batch, indices in zip(batches, order, strict=True):
            for found, whole in zip(batch, data.tensors, strict=True):
                assert torch.equal(found, whole[indices])


def test_an_error_in_reading_arrives() -> None:
    class Broken:
        def __len__(self) -> int:
            return 3

        def __getitem__(self, index: int):
            raise OSError("gone")

    for workers in (0, 2):
        with pytest.raises(OSError, match="gone"):
            next(batches_of(Broken(), [[0, 1]], workers))


def test_annotations_are_asked_for_where_they_are_known() -> None:
    class Known:
        def __len__(self) -> int:
            return 2

        def __getitem__(self, index: int):
            raise AssertionError("an image was read")

        def annotations(self):
            return poses(2, 0).double(), torch.ones(2, 3) > 0

    keypoints, visible = annotations_of(Known())
    assert keypoints.dtype == torch.float32
    assert torch.equal(keypoints, annotations_of(figures(2)).keypoints)
    assert visible.all()
