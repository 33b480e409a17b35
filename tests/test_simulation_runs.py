"""Simulated annotation: what strategies of a seed share, what they see, and how runs go on."""

from __future__ import annotations

import itertools
import json
import re
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("kornia")
pytest.importorskip("matplotlib")

from safetensors.torch import save_file  # noqa: E402
from simulated_figures import (  # noqa: E402
    NUM_TRAINING,
    TinyPose,
    process_as_before,
    results,
    write_config,
)

from vl4pose.active.strategies import STRATEGIES  # noqa: E402
from vl4pose.simulation.claims import claim, read_claims  # noqa: E402
from vl4pose.simulation.config import read_config  # noqa: E402
from vl4pose.simulation.estimate import estimate  # noqa: E402
from vl4pose.simulation.folder import OtherSimulationError, SimulationFolder, start_set  # noqa: E402
from vl4pose.simulation.pace import Pace, SimulationError, TimeUpError, parse_duration  # noqa: E402
from vl4pose.simulation.records import read_records  # noqa: E402
from vl4pose.simulation.simulate import do_work, simulate  # noqa: E402
from vl4pose.simulation.work import make_bench, pieces  # noqa: E402
from vl4pose.simulation.workload import num_steps, steps_done  # noqa: E402

START, BUDGET, CYCLES = 6, 5, 3
CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def module_search_path(monkeypatch):
    monkeypatch.setattr(sys, "path", list(sys.path))


def run(folder: Path, out: str = "out", **tables) -> Path:
    """Simulate, without figures and tables, and return the folder of it."""
    assert go_on(read_config(write_config(folder, **tables)), folder / out)
    return folder / out


def go_on(config, folder: Path, seconds: float | None = None) -> bool:
    """Do as `simulate`, but for the outputs; return whether nothing is left to do."""
    until = None if seconds is None else time.monotonic() + seconds
    try:
        do_work(make_bench(config, folder, CPU, Pace(until, config.run.checkpoint_seconds)))
    except TimeUpError:
        return False
    return True


@pytest.fixture(scope="module")
def finished(tmp_path_factory) -> Path:
    """A simulation in which nothing happens; two of its strategies are the same."""
    strategies = ["random", "confidence", {"name": "confidence", "label": "again"}, "vl4pose"]
    folder = tmp_path_factory.mktemp("finished")
    config = read_config(write_config(folder, simulation={"strategies": strategies}))
    with process_as_before():
        assert simulate(config, folder / "out") is not None
    return folder / "out"


class TestPairs:
    def test_strategies_of_a_seed_share_the_first_network(self, finished):
        first = [record for record in read_records(finished) if record.cycle == 0]
        for seed in (0, 1):
            of_seed = [record for record in first if record.seed == seed]
            assert len(of_seed) == 4
            assert len({json.dumps(record.metrics) for record in of_seed}) == 1
            assert len({json.dumps(record.per_joint) for record in of_seed}) == 1
        assert first[0].metrics != first[1].metrics

    def test_its_seconds_are_told_as_shared(self, finished):
        for record in read_records(finished):
            own = {"score", "select"} if record.cycle < CYCLES - 1 else set()
            if record.cycle == 0:
                measured = finished / "shared" / f"seed-{record.seed}" / "measured.json"
                assert record.shared_seconds == json.loads(measured.read_text())["seconds"]
            else:
                assert record.shared_seconds == {}
                own |= {"train", "evaluate"}
            assert set(record.seconds) == own
            assert all(seconds >= 0 for seconds in record.seconds.values())

    def test_the_same_strategy_finds_out_the_same(self, finished):
        one, other = (
            [{**vars(r), "strategy": "", "seconds": {}} for r in read_records(finished)
             if r.strategy == name]
            for name in ("confidence", "again")
        )  # fmt: skip
        assert one == other

    def test_strategies_differ_once_their_labels_do(self, finished):
        by_place = {(r.strategy, r.seed, r.cycle): r for r in read_records(finished)}
        assert by_place["random", 0, 0].selected != by_place["vl4pose", 0, 0].selected
        assert by_place["random", 0, 1].metrics != by_place["vl4pose", 0, 1].metrics

    def test_labels_are_revealed_once(self, finished):
        records = read_records(finished)
        assert len(records) == 4 * 2 * CYCLES
        for _, of_run in itertools.groupby(records, lambda r: (r.strategy, r.seed)):
            of_run = list(of_run)
            labels = start_set(NUM_TRAINING, START, of_run[0].seed)
            assert len(labels) == START
            for record in of_run:
                assert record.num_labels == len(labels)
                assert len(record.selected) == (BUDGET if record.cycle < CYCLES - 1 else 0)
                labels = labels + record.selected
            assert len(set(labels)) == len(labels) == START + 2 * BUDGET
            assert set(labels) <= set(range(NUM_TRAINING))

    def test_start_sets_differ_between_seeds(self, finished):
        plan = json.loads((finished / "simulation.json").read_text())
        assert plan["start_sets"]["0"] == start_set(NUM_TRAINING, START, 0)
        assert plan["start_sets"]["0"] != plan["start_sets"]["1"]

    def test_what_is_written_beside_the_records(self, finished):
        names = {path.name for path in finished.iterdir()}
        assert {
            "simulation.json", "summary.json", "cycles.csv", "joints.csv", "differences.csv",
            "curves.png", "simulation.html", "picks.png", "picks", "start", "runs",
        } <= names  # fmt: skip
        assert not list(finished.glob("runs/*/seed-*/work"))  # nothing is left of the work


class TestHiddenLabels:
    """Labels that were not revealed have no part in anything."""

    @staticmethod
    def chosen_first(folder: Path, strategies, **options) -> dict[str, list[int]]:
        out = run(
            folder,
            simulation={"strategies": strategies, "seeds": [0], "cycles": 2},
            data={"train_options": options},
        )
        return {r.strategy: r.selected for r in read_records(out) if r.cycle == 0}

    def test_of_all_strategies(self, tmp_path):
        less = {"core-gcn": {"num_steps": 2}, "uncertain-gcn": {"num_steps": 2}}
        less |= {name: {"num_samples": 2} for name in ("mc-dropout", "mcd-cke")}
        names = sorted(STRATEGIES)
        strategies = [{"name": name, "label": name, **less.get(name, {})} for name in names]
        known = start_set(NUM_TRAINING, START, 0)
        truth = self.chosen_first(tmp_path / "truth", strategies)
        hidden = self.chosen_first(tmp_path / "hidden", strategies, shown=known)
        wrong = self.chosen_first(tmp_path / "wrong", strategies, hidden=known)
        assert set(truth) == set(names)
        assert hidden == truth
        assert wrong["random"] == truth["random"]
        # Which shows that labels that are known would have made a difference.
        assert sum(wrong[name] != truth[name] for name in names) > len(names) / 2

    def test_revealed_labels_are_learned_from(self, tmp_path):
        known = start_set(NUM_TRAINING, START, 0)
        found = []
        for name, options in (("truth", {}), ("hidden", {"shown": known})):
            out = run(
                tmp_path / name,
                simulation={"strategies": ["confidence"], "seeds": [0], "cycles": 2},
                data={"train_options": options},
            )
            found.append(read_records(out))
        truth, hidden = found
        assert truth[0].metrics == hidden[0].metrics
        assert truth[1].metrics != hidden[1].metrics


class TestGoingOn:
    def test_pieces_of_no_time_come_to_the_same(self, tmp_path):
        """Every step is a safe point, and each piece gets as far as the next one at least."""
        tables = {"training": {"augment": True}, "simulation": {"seeds": [0], "cycles": 2}}
        expected = results(run(tmp_path, "expected", **tables))
        config = read_config(write_config(tmp_path, **tables))
        folder = SimulationFolder(tmp_path / "pieces")
        done, num_pieces = [0], 0
        while not go_on(config, folder.path, 1e-6):
            num_pieces += 1
            done.append(steps_done(config, folder))
            assert num_pieces < 500
        assert done == sorted(done)
        assert num_pieces > num_steps(config)
        assert results(folder.path) == expected

    def test_a_finished_simulation_is_not_done_again(self, finished):
        before = {path: path.stat().st_mtime_ns for path in finished.glob("runs/*/*/*.json")}
        config = read_config(finished.parent / "figures.toml")
        assert go_on(config, finished, 1e-6)
        assert before == {path: path.stat().st_mtime_ns for path in before}

    @pytest.mark.parametrize(
        ("changes", "difference"),
        [
            ({"training": {"steps": 7}}, "training.steps: 6 there, 7 now"),
            ({"simulation": {"strategies": ["random"]}}, r"simulation.strategies.confidence: \{"),
            ({"data": {"train_options": {"seed": 5}}}, r"data.train_options.seed: null there, 5"),
        ],
    )
    def test_another_simulation_is_told_from_this(self, changes, difference, tmp_path):
        one = {"simulation": {"seeds": 1, "cycles": 1}}
        out = run(tmp_path, **one)
        changes = {**one, **{t: {**one.get(t, {}), **keys} for t, keys in changes.items()}}
        config = read_config(write_config(tmp_path, **changes))
        with pytest.raises(OtherSimulationError, match=difference):
            go_on(config, out)

    def test_other_data_are_told_from_these(self, tmp_path):
        tables = {"simulation": {"seeds": 1, "cycles": 1}}
        out = run(tmp_path, **tables)
        plan = json.loads((out / "simulation.json").read_text())
        plan["data"]["training set"] = "0" * 64
        (out / "simulation.json").write_text(json.dumps(plan))
        with pytest.raises(OtherSimulationError, match=r"data\.training set"):
            run(tmp_path, **tables)

    def test_damaged_weights_are_told(self, tmp_path):
        tables = {"simulation": {"seeds": 1, "strategies": ["confidence"]}}
        config = read_config(write_config(tmp_path, **tables))
        while not list((tmp_path / "out").glob("shared/seed-0/done.json")):
            assert not go_on(config, tmp_path / "out", 1e-6)
        path = tmp_path / "out" / "shared" / "seed-0" / "network.safetensors"
        content = path.read_bytes()
        path.write_bytes(content[: len(content) // 2])
        with pytest.raises(SimulationError, match=r"cycle 1: '.*network.safetensors' is damaged"):
            go_on(config, tmp_path / "out")
        path.write_bytes(content)
        assert go_on(config, tmp_path / "out")

    def test_a_folder_of_something_else(self, tmp_path):
        (tmp_path / "out").mkdir()
        (tmp_path / "out" / "notes.txt").write_text("mine")
        with pytest.raises(ValueError, match=r"folder must be new or of a simulation, got '.*out'"):
            run(tmp_path)


class TestTraining:
    SHORT = {"simulation": {"strategies": ["random"], "seeds": [0], "cycles": 3}}  # noqa: RUF012

    def metrics(self, folder: Path, **tables) -> list[dict[str, float]]:
        return [r.metrics for r in read_records(run(folder, **self.SHORT, **tables))]

    def test_from_scratch_or_from_the_cycle_before(self, tmp_path):
        scratch = self.metrics(tmp_path / "scratch")
        tuned = self.metrics(tmp_path / "tuned", training={"from": "fine-tune"})
        assert scratch[0] == tuned[0]
        assert scratch[1] != tuned[1]
        assert scratch[2] != tuned[2]
        assert not list(tmp_path.glob("tuned/out/runs/*/seed-*/work"))

    def test_fine_tuning_in_pieces(self, tmp_path):
        tables = {**self.SHORT, "training": {"from": "fine-tune"}}
        expected = results(run(tmp_path, "expected", **tables))
        config = read_config(write_config(tmp_path, **tables))
        while not go_on(config, tmp_path / "pieces", 1e-6):
            pass
        assert results(tmp_path / "pieces") == expected

    def test_weights_to_begin_with(self, tmp_path):
        tmp_path.joinpath("given").mkdir()
        torch.manual_seed(5)
        state = TinyPose(3).state_dict()
        save_file(state, tmp_path / "given" / "pose.safetensors")
        torch.save(state, tmp_path / "given" / "pose.pth")
        network = {"weights": "pose.safetensors"}
        given = self.metrics(tmp_path / "given", network=network)
        assert given != self.metrics(tmp_path / "scratch")
        out = run(tmp_path / "given", "pth", **self.SHORT, network={"weights": "pose.pth"})
        assert [record.metrics for record in read_records(out)] == given
        save_file({}, tmp_path / "given" / "pose.safetensors")
        with pytest.raises(ValueError, match=r"network.weights must be those of the network: "):
            self.metrics(tmp_path / "given", network=network)

    def test_in_half_precision_and_with_a_flip_test(self, tmp_path):
        tables = {"training": {"amp": True}, "evaluation": {"flip": True, "subpixel": "quarter"}}
        assert self.metrics(tmp_path / "one", **tables) == self.metrics(tmp_path / "two", **tables)

    def test_a_loss_that_is_not_finite(self, tmp_path):
        with pytest.raises(
            SimulationError,
            match=r"start set, seed 0, cycle 1: the loss must stay finite, got nan by step 6: ",
        ):
            run(tmp_path, network={"factory": "simulated_figures:Diverging"})


class TestNetworks:
    def test_without_features(self, tmp_path):
        network = {"factory": "simulated_figures:HeatmapsAlone"}
        strategies = ["random", "confidence", "multi-peak-entropy"]
        out = run(
            tmp_path,
            network=network,
            simulation={"strategies": strategies, "cycles": 2, "seeds": 1},
        )
        assert len(read_records(out)) == 6
        for name in ("vl4pose", "core-set", "egl++", "mc-dropout"):
            with pytest.raises(
                ValueError,
                match=r"network.factory must make a network that returns \(heatmaps, features\) "
                rf"for the strategy '{re.escape(name)}', got one that returns heatmaps alone",
            ):
                run(tmp_path, name, network=network, simulation={"strategies": [name]})

    @pytest.mark.parametrize("name", ["learning-loss", "learning-loss++"])
    @pytest.mark.parametrize(("table", "key"), [("simulation", "start"), ("heads", "batch_size")])
    def test_without_pairs(self, table, key, name, tmp_path):
        tables = {"simulation": {"strategies": ["aleatoric", name]}, "heads": {}}
        tables[table][key] = 1
        with pytest.raises(
            ValueError,
            match=rf"{table}.{key} must be at least 2 for the strategy '{re.escape(name)}', which "
            "learns from pairs of images, got 1",
        ):
            run(tmp_path, **tables)
        assert not (tmp_path / "out").exists()

    @pytest.mark.parametrize(
        ("table", "changes", "message"),
        [
            ("network", {"factory": "simulated_figures:TinyPoes"}, r".*'TinyPose'\?\)"),
            ("network", {"factory": "nowhere:Net"}, r"network.factory must name a module that is"),
            ("network", {"options": {"width": 3}}, r"network.options must be arguments of"),
            ("network", {"factory": "torch.nn:ReLU"}, r"network.options must be arguments|.*"),
            ("data", {"train": "simulated_figures:CONFIG"}, r"data.train must name a function"),
            ("data", {"train_options": {"sead": 3}}, r"data.train must return a dataset, got Type"),
            ("data", {"train_options": {"number": 15}}, r"simulation.start \+ 2 x budget must be"),
            ("data", {"input_size": 64}, r"data.train must hold images .*\(3, 64, 64\), got"),
            ("data", {"skeleton": "lsp"}, r"network.factory must make|data.train must hold keyp"),
        ],
    )
    def test_mistakes_are_told(self, table, changes, message, tmp_path):
        with pytest.raises((ValueError, SimulationError), match=message):
            run(tmp_path, **{table: changes})
        assert not (tmp_path / "out").exists()


class TestClaims:
    def test_one_at_a_time(self, tmp_path):
        with claim(tmp_path / "work") as mine:
            assert claim(tmp_path / "work") is None
            mine.tell({"title": "training"})
            assert read_claims(tmp_path)["work"]["title"] == "training"
            assert claim(tmp_path / "other").__exit__(None, None, None) is None
        assert read_claims(tmp_path) == {}
        again = claim(tmp_path / "work")
        assert again is not None
        again.__exit__(None, None, None)

    def test_a_claim_ends_with_its_process(self, tmp_path):
        code = (
            "import sys; from pathlib import Path; from vl4pose.simulation.claims import claim\n"
            "mine = claim(Path(sys.argv[1])); mine.tell({}); print(flush=True); sys.stdin.read()"
        )
        command = [sys.executable, "-c", code, tmp_path / "work"]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
            process.stdout.readline()
            assert claim(tmp_path / "work") is None
            assert list(read_claims(tmp_path)) == ["work"]
            process.kill()
            process.wait()
        assert read_claims(tmp_path) == {}
        with claim(tmp_path / "work"):
            pass

    def test_who_waits_for_others_stops_in_time(self, tmp_path):
        config = read_config(write_config(tmp_path))
        folder = SimulationFolder(tmp_path / "out")
        assert not go_on(config, folder.path, 1e-6)
        with claim(folder.claim("shared-seed-0")), claim(folder.claim("shared-seed-1")):
            assert not go_on(config, folder.path, 0.2)
            assert folder.done() == set()


def test_the_order_of_runs(tmp_path):
    orders = {}
    for order in ("seed", "strategy"):
        config = read_config(write_config(tmp_path, run={"order": order}))
        orders[order] = [(piece.strategy.label, piece.seed) for piece in pieces(config)]
    assert orders["seed"][:3] == [("random", 0), ("confidence", 0), ("vl4pose", 0)]
    assert orders["strategy"][:3] == [("random", 0), ("random", 1), ("confidence", 0)]
    assert sorted(orders["seed"]) == sorted(orders["strategy"])


class TestEstimate:
    def test_what_it_counts(self, tmp_path):
        strategies = ["random", "core-set", "vl4pose"]
        config = read_config(write_config(tmp_path, simulation={"strategies": strategies}))
        bench = make_bench(config, tmp_path / "out", CPU, Pace(), begin=False)
        found = estimate(bench, started=time.monotonic())
        assert not (tmp_path / "out").exists()
        # Two seeds; two networks a run, besides that of the start set.
        for label in strategies:
            assert found.strategies[label]["train"] == pytest.approx(2 * 2 * 6 * found.step)
        assert found.shared["train"] == pytest.approx(2 * 6 * found.step)
        assert found.strategies["random"]["score"] == 0.0
        assert 0 < found.strategies["core-set"]["score"] < found.strategies["vl4pose"]["score"]
        assert found.total == pytest.approx(
            sum(found.shared.values()) + sum(sum(s.values()) for s in found.strategies.values())
        )
        assert found.start > 0
        assert found.num_pieces(found.start) is None
        assert found.num_pieces(found.start + found.total) == 1
        assert found.num_pieces(found.start + found.total / 2.5) == 3
        assert found.num_pieces(found.start + found.total / 2.5, processes=3) == 1


def test_durations():
    given = {"8min": 480, "90s": 90, "1h30min": 5400, "1h 30 min": 5400, "0.5h": 1800, "2M": 120}
    assert {text: parse_duration(text) for text in given} == given
    for text in ("", "8", "min", "8 minutes", "-3s", "0s", "8min!"):
        with pytest.raises(ValueError, match="time limit must be like 8min, 90s or 1h30min, got"):
            parse_duration(text)


def test_arrays_do_not_depend_on_the_batches(tmp_path):
    """But for the last bits of what networks compute."""
    found = []
    for size in (3, 40):
        out = run(
            tmp_path / str(size),
            simulation={"strategies": ["vl4pose"], "seeds": [0], "cycles": 2},
            scoring={"batch_size": size},
        )
        found.append([record.selected for record in read_records(out)])
        with np.load(out / "start" / "seed-0.npz") as arrays:
            assert arrays["labelled"].sum() == START
            assert np.isfinite(arrays["embeddings"]).all()
            assert arrays["keypoints"].shape == (NUM_TRAINING, 3, 2)
    assert found[0] == found[1]
