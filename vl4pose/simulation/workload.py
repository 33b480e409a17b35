"""How much work a simulation is, in cycles and steps of training, and how much of it is done."""

from __future__ import annotations

from vl4pose.simulation.config import ChosenStrategy, SimulationConfig
from vl4pose.simulation.folder import SimulationFolder

__all__ = ["head_steps", "num_cycles", "num_steps", "run_steps", "steps_done", "training_steps"]


def num_cycles(config: SimulationConfig) -> int:
    """Return how many cycles all runs have together."""
    options = config.simulation
    return len(config.strategies) * len(options.seed_list) * options.cycles


def num_steps(config: SimulationConfig) -> int:
    """Return all steps of training."""
    cycles = range(config.simulation.cycles)
    of_a_seed = training_steps(config, 0) + sum(
        run_steps(config, chosen, cycle) for chosen in config.strategies for cycle in cycles
    )
    return of_a_seed * len(config.simulation.seed_list)


def steps_done(config: SimulationConfig, folder: SimulationFolder) -> int:
    """Return those of cycles that are done."""
    done = folder.done()
    shared = [seed for seed in config.simulation.seed_list if folder.is_start_shared(seed)]
    return len(shared) * training_steps(config, 0) + sum(
        run_steps(config, chosen, cycle)
        for chosen in config.strategies
        for label, _, cycle in done
        if label == chosen.label
    )


def run_steps(config: SimulationConfig, chosen: ChosenStrategy, cycle: int) -> int:
    """Return the steps of a run's cycle; those of the network of cycle 0 are nobody's own."""
    own = training_steps(config, cycle) if cycle else 0
    return own + head_steps(config, chosen, cycle)


def training_steps(config: SimulationConfig, cycle: int) -> int:
    """Return the steps of a cycle's pose network."""
    return config.training.num_steps(config.num_labels(cycle))


def head_steps(config: SimulationConfig, chosen: ChosenStrategy, cycle: int) -> int:
    """Return the steps of the small network that a strategy needs after a cycle."""
    if chosen.make().head is None or cycle == config.simulation.cycles - 1:
        return 0
    return config.heads.num_steps(config.num_labels(cycle), config.training)
