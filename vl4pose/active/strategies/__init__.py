"""Strategies of active learning: which images of a pool should be annotated next.

One small class each, with one interface:

- ``rank(pool, labelled, rng)`` returns a number for each image, higher is sooner;
- ``select(pool, labelled, budget, rng)`` returns the images to annotate.

`Pool` holds what is known of N images by the names of ``ARRAYS``, or has networks look at them when
a strategy asks. `make_strategy` makes a strategy by its name:

>>> import numpy as np
>>> pool = Pool(3, {"score_expected": [-40.0, -90.0, -55.0]})
>>> make_strategy("vl4pose").select(pool, Pool(0), budget=2, rng=np.random.default_rng(0))
array([1, 2])

What each needs is an attribute of its class: arrays of the pool (``needs``) and of the M labelled
images (``needs_labelled``), a small network that is trained beside the pose network (``head``). All
but "random" need a pass of the pose network for each of the N images; the table says what comes on
top, in distances of two embeddings and for a budget of b. The docstrings of the classes say it in
full, and where ours depart from the papers.

===================  ==================================  ==================  =====================
name                 source                              needs               cost on top
===================  ==================================  ==================  =====================
random               chance                              nothing             no pass at all
confidence           Lewis and Gale, SIGIR 1994, of      heights of peaks    nothing
                     heatmaps
kaplan-lensu         Kaplan, Juvonen and Lensu, S+SSPR   heights, embedding  M passes; 0.2 N
                     2020                                                    look-ups and more in
                                                                             an index of M + b
multi-peak-entropy   Liu and Ferrari, ICCV 2017          peaks               nothing
core-set             Sener and Savarese, ICLR 2018       embedding           M passes; at most
                                                                             (M + b) N distances
learning-loss        Yoo and Kweon, CVPR 2019            network of the      its training
                                                         loss
learning-loss++      Shukla and Ahmed, CVPR workshops    network of the      its training
                     2021                                loss
aleatoric            Kendall and Gal, NeurIPS 2017       network of          its training
                                                         log-variances
mc-dropout           Gal and Ghahramani, ICML 2016;      the same; dropout   its training; the
                     Kendall and Gal, NeurIPS 2017                           last layer 30 times
mcd-cke              Caramalau et al., WACV 2021         the same;           the same, N + M more
                                                         embedding           passes, (M + b) N
                                                                             distances
egl++                Shukla, WACV 2022                   gradients towards   M + N passes, N M
                                                         30 poses            distances, 5 N passes
                                                                             back
core-gcn             Caramalau et al., CVPR 2021         embedding           M passes; 200 steps
                                                                             on N + M rows,
                                                                             (M + b) N distances
uncertain-gcn        the same                            embedding           M passes; 200 steps
                                                                             on N + M rows
vl4pose              Shukla et al., BMVC 2022            peaks; auxiliary    its training
                                                         network
vl4pose+entropy      the same and Multi-Peak Entropy     the same            its training
vl4pose-prefiltered  the same, of a part of the pool     the same;           its training; by
                     that is random or from Core-Set     embedding           Core-Set (M + N/2) N
                                                                             distances
===================  ==================================  ==================  =====================

MATAL (Gong et al., "Meta Agent Teaming Active Learning for Pose Estimation", CVPR 2022) is left
out for now. Its agents choose together, by a policy that has to be learned first: by reinforcement,
on annotation that is simulated. That is a training of its own, not a ranking of a pool by what a
network says of it.

Tables of scores are ranked by these classes too. There :func:`vl4pose.select` calls "vl4pose"
"likelihood", "multi-peak-entropy" "entropy" and "vl4pose+entropy" "likelihood+entropy", after the
columns that they read, and spreads over embeddings as "core-set" does.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from vl4pose.active.strategies.pool import ARRAYS, Pool
from vl4pose.active.strategies.registry import (
    CLASS_NAMES,
    STRATEGIES,
    class_named,
    make_strategy,
)
from vl4pose.active.strategies.strategy import StepwiseStrategy, Strategy

if TYPE_CHECKING:
    from vl4pose.active.strategies.aleatoric import Aleatoric as Aleatoric
    from vl4pose.active.strategies.chance import Random as Random
    from vl4pose.active.strategies.confidence import Confidence as Confidence
    from vl4pose.active.strategies.core_set import CoreSet as CoreSet
    from vl4pose.active.strategies.gradient_length import EGLPlusPlus as EGLPlusPlus
    from vl4pose.active.strategies.graph import CoreGCN as CoreGCN
    from vl4pose.active.strategies.graph import UncertainGCN as UncertainGCN
    from vl4pose.active.strategies.kaplan_lensu import KaplanLensu as KaplanLensu
    from vl4pose.active.strategies.learned_loss import LearningLoss as LearningLoss
    from vl4pose.active.strategies.learned_loss import LearningLossPlusPlus as LearningLossPlusPlus
    from vl4pose.active.strategies.likelihood import VL4Pose as VL4Pose
    from vl4pose.active.strategies.likelihood_entropy import VL4PoseEntropy as VL4PoseEntropy
    from vl4pose.active.strategies.mc_dropout import MCDCKE as MCDCKE
    from vl4pose.active.strategies.mc_dropout import MCDropout as MCDropout
    from vl4pose.active.strategies.multi_peak_entropy import MultiPeakEntropy as MultiPeakEntropy
    from vl4pose.active.strategies.prefiltered import VL4PosePrefiltered as VL4PosePrefiltered

__all__ = ["ARRAYS", "STRATEGIES", "Pool", "StepwiseStrategy", "Strategy", "make_strategy"]


def __getattr__(name: str) -> Any:
    if name not in CLASS_NAMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return class_named(name)


def __dir__() -> list[str]:
    return sorted({*__all__, *CLASS_NAMES})
