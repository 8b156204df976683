"""What an expert would try before a search, each within a number of evaluations."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from typing import Any

import numpy as np
from pymoo.algorithms.soo.nonconvex.ga import GA
from pymoo.core.crossover import Crossover
from pymoo.core.mutation import Mutation
from pymoo.core.termination import NoTermination
from pymoo.operators.crossover.ox import ox, random_sequence

from hascodesign.contract.array import generator
from hascodesign.contract.types import (
    ArraySpec,
    Fault,
    FaultProfile,
    FloatArray,
    IntArray,
    IntegerNetwork,
    MultiplyLayer,
    Schedule,
)
from hascodesign.engine.network import Evaluator
from hascodesign.schedule.fitness import Fitness, SearchStopped, by_network
from hascodesign.schedule.operators import GivenSampling, ScheduleProblem
from hascodesign.schedule.problem import Progress, silent
from hascodesign.schedule.space import make_space

STUDY_POPULATION = 20
STUDY_GENERATIONS = 100
STUDY_CROSSOVER = 0.6
STUDY_MUTATION = 0.2


def random_best(
    evaluator: Evaluator,
    evaluations: int,
    seed: int,
    progress: Progress = silent,
) -> tuple[Schedule, Fitness]:
    """Best of as many distinct random maps as there are evaluations."""

    def draw(fitness: Fitness) -> None:
        rng = generator(seed, "schedule random best")
        space = fitness.space
        # maps that compute the same are not evaluated twice: a small space ends the draw
        for _ in range(4 * evaluations):
            fitness.losses([space.random(rng)])

    return _best_of(evaluator, evaluations, draw, progress)


def genetic_alone(
    evaluator: Evaluator,
    evaluations: int,
    seed: int,
    generations: int = STUDY_GENERATIONS,
    progress: Progress = silent,
) -> tuple[Schedule, Fitness]:
    """Genetic algorithm from random maps with the operators and sizes of the HAS study.

    Order crossover 0.6 and swap mutation 0.2 on each layer's permutation, population 20, 100
    generations unless the evaluations end first.

    References
    ----------
    S. Shresthamali, Y. He, M. Kondo, "Fault-aware hardware scheduling of computations in deep
    neural networks", IPSJ SIG Technical Report 2022-ARC-249 no. 19.
    """

    def run(fitness: Fitness) -> None:
        algorithm = GA(
            pop_size=STUDY_POPULATION,
            sampling=GivenSampling([]),
            crossover=_OrderCrossover(),
            mutation=_AnySwap(),
            eliminate_duplicates=False,
        )
        rng = generator(seed, "schedule genetic alone")
        problem = ScheduleProblem(fitness)
        algorithm.setup(problem, termination=NoTermination(), seed=int(rng.integers(2**31)))
        for _ in range(generations + 1):
            algorithm.next()

    return _best_of(evaluator, evaluations, run, progress)


def _best_of(
    evaluator: Evaluator,
    evaluations: int,
    part: Callable[[Fitness], None],
    progress: Progress,
) -> tuple[Schedule, Fitness]:
    space = make_space(evaluator.network, evaluator.profile)
    fitness = Fitness(space, by_network(space, evaluator), evaluations, progress=progress)
    with suppress(SearchStopped):  # its evaluations are used: the normal end
        part(fitness)
    return space.decode(fitness.top(1)[0].chromosome), fitness


class _OrderCrossover(Crossover):
    """Order crossover of each layer's permutation."""

    def __init__(self) -> None:
        super().__init__(2, 2, prob=STUDY_CROSSOVER)

    def _do(
        self,
        problem: ScheduleProblem,
        x: IntArray,
        *_args: Any,
        random_state: np.random.Generator,
        **_kwargs: Any,
    ) -> IntArray:
        children = x.copy()
        for mating in range(x.shape[1]):
            for layer in problem.space.layers:
                if layer.slots < 2:
                    continue
                one, two = layer.genes(x[0, mating]), layer.genes(x[1, mating])
                cut = random_sequence(layer.slots, random_state=random_state)
                layer.genes(children[0, mating])[:] = ox(one, two, seq=cut)
                layer.genes(children[1, mating])[:] = ox(two, one, seq=cut)
        return children


class _AnySwap(Mutation):
    """With the study's probability one swap of any two slots in each layer."""

    def __init__(self) -> None:
        super().__init__(prob=1.0)

    def _do(
        self,
        problem: ScheduleProblem,
        x: IntArray,
        *_args: Any,
        random_state: np.random.Generator,
        **_kwargs: Any,
    ) -> IntArray:
        mutated = x.copy()
        for chromosome in mutated:
            for layer in problem.space.layers:
                if layer.slots > 1 and random_state.random() < STUDY_MUTATION:
                    genes = layer.genes(chromosome)
                    pair = random_state.choice(layer.slots, 2, replace=False)
                    genes[pair] = genes[pair[::-1]]
        return mutated


# ------------------------------------------------------------------------------------- by rule


def greedy(network: IntegerNetwork, profile: FaultProfile) -> Schedule:
    """Least salient rows on the most severe PEs, by rule, without one evaluation.

    Saliency of a row is the sum of its weights' magnitudes, severity of a PE the size of its
    faults in units of the accumulator (`severity`). Idle slots count as the least salient rows.

    References
    ----------
    M. A. Hanif, M. Shafique, "SalvageDNN: salvaging deep neural network accelerators with permanent
    faults through saliency-driven fault-aware mapping", Phil. Trans. R. Soc. A 378 (2020),
    doi:10.1098/rsta.2019.0164.
    """
    space = make_space(network, profile)
    chromosome = np.empty(space.genes, dtype=np.int64)
    for layer, slots in zip(network.layers, space.layers, strict=True):
        steps = profile.array.steps(layer.depth)
        severe = np.tile(severity(profile, steps), slots.passes)
        order = np.argsort(-severe, kind="stable")
        genes = slots.genes(chromosome)
        genes[order] = np.argsort(_saliency(layer, slots.slots), kind="stable")
    return space.decode(space.canonical(chromosome))


def _saliency(layer: MultiplyLayer, slots: int) -> FloatArray:
    saliency = np.full(slots, -1.0)
    saliency[: layer.rows] = np.abs(layer.weights).sum(axis=1)
    return saliency


def severity(profile: FaultProfile, steps: int) -> FloatArray:
    """Size of each PE's faults, [P], in units of the accumulator.

    A bit of a product or sum weighs 2^bit, one of a weight or activation that times half the other
    operand's range; what acts at every step counts ``steps`` times, a drawn fault by its
    probability.
    """
    spec = profile.array
    out = np.zeros(spec.pe)
    for fault in profile.faults:
        out[fault.pe] += _size(fault, spec, steps)
    return out


def _size(fault: Fault, spec: ArraySpec, steps: int) -> float:
    if fault.kind == "dead":
        return float(steps * spec.simd * 2 ** (spec.weight_bits + spec.act_bits - 2))
    low, high = fault.bits if fault.bits is not None else (fault.bit or 0, fault.bit or 0)
    size = sum(2.0**bit for bit in range(low, high + 1)) / (high - low + 1)
    other = {"weight": spec.act_bits, "wmem": spec.act_bits, "act": spec.weight_bits}
    size *= 2.0 ** (other.get(str(fault.site), 1) - 1)
    uses = 1 if fault.site == "wmem" else steps
    return size * uses * (1.0 if fault.p is None else fault.p)


def fap_profile(profile: FaultProfile) -> FaultProfile:
    """Profile of an array that bypasses whatever is faulty, as fault-aware pruning does.

    Each multiplier with a fault gives product 0; a PE with a fault in its sum gives 0 throughout.
    The hardware for the bypass is what scheduling does without.

    References
    ----------
    J. Zhang, T. Gu, K. Basu, S. Garg, "Analyzing and mitigating the impact of permanent faults on a
    systolic array based neural network accelerator", VTS 2018, doi:10.1109/VTS.2018.8368656.
    """
    whole = {f.pe for f in profile.faults if f.kind == "dead" or f.simd is None}
    cells = sorted({(f.pe, f.simd) for f in profile.faults if f.simd is not None})
    dead = [Fault(pe=pe, kind="dead") for pe in sorted(whole)]
    zeroed = [
        Fault(pe=pe, kind="sa0", site="product", simd=simd, bit=bit)
        for pe, simd in cells
        if pe not in whole
        for bit in range(profile.array.product_bits)
    ]
    return replace(profile, faults=(*dead, *zeroed), source=f"bypassed (FAP): {profile.source}")
