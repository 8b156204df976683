"""What a user can set about the search."""

from __future__ import annotations

from dataclasses import dataclass, replace

from hascodesign.contract.errors import ConfigError
from hascodesign.contract.results import MOVES, OBJECTIVES, Move, Objective

ACCURACY: Objective = "accuracy"


@dataclass(frozen=True, slots=True)
class SearchOptions:
    """Size and limits of one search; the defaults suit seconds on two cores.

    Raises
    ------
    ConfigError
        Where a number is out of its range.
    """

    population: int = 24
    generations: int = 40  # at most; a plateau ends the run sooner
    plateau: int = 12  # generations without a better schedule that end the genetic part
    evaluations: int | None = None  # of maps, baselines apart; None = by the work
    extra_passes: int = 0  # spare passes of every layer beyond the least
    spare_passes: float = 0.0  # and in all, share of the least; the layers that they help most
    polish: bool = True  # swaps on the best after the genetic part
    random_maps: int = 20  # of the random baseline
    seconds: float | None = None  # wall clock that only stops sooner, and is said in the notes
    crossover: float = 0.9  # probability that two parents mix
    swaps: float = 1.5  # mean number of swaps in a mutated child
    objectives: tuple[Objective, ...] = (ACCURACY,)  # more than one: a front
    allowed_points: float = 0.5  # calibration accuracy that a front's pick may give up, points
    moves: tuple[Move, ...] = ()  # of rows written for their slots; none: rows as trained
    times: int = 1  # of the evaluations that suit the work, where no number is set

    def __post_init__(self) -> None:
        """Check the ranges."""
        least = {"times": 1, "population": 4, "generations": 0, "plateau": 1, "evaluations": 1}
        least |= {"extra_passes": 0, "random_maps": 0}
        for name, low in least.items():
            value = getattr(self, name)
            if value is not None and value < low:
                raise ConfigError(f"search option {name} must be {low} or more, not {value}")
        if self.seconds is not None and not self.seconds > 0:
            raise ConfigError(f"search option seconds must be above 0, not {self.seconds}")
        if not self.spare_passes >= 0:
            raise ConfigError(
                f"search option spare_passes must be 0 or more, not {self.spare_passes}"
            )
        if not 0.0 <= self.crossover <= 1.0:
            raise ConfigError(f"search option crossover must be in [0, 1], not {self.crossover}")
        if not self.swaps > 0:
            raise ConfigError(f"search option swaps must be above 0, not {self.swaps}")
        for move in self.moves:
            if move not in MOVES:
                raise ConfigError(f"a move must be one of {', '.join(MOVES)}, not {move}")
        self._check_objectives()

    def _check_objectives(self) -> None:
        for name in self.objectives:
            if name not in OBJECTIVES:
                raise ConfigError(f"an objective must be accuracy, passes or power, not {name}")
        if ACCURACY not in self.objectives:
            raise ConfigError(f"objectives must name accuracy, not {', '.join(self.objectives)}")
        if len(set(self.objectives)) < len(self.objectives):
            raise ConfigError(f"objectives must differ, not {', '.join(self.objectives)}")
        if not 0.0 <= self.allowed_points <= 100.0:
            raise ConfigError(
                f"search option allowed_points must be in [0, 100], not {self.allowed_points}"
            )

    def longer(self, times: int) -> SearchOptions:
        """Options of a search of so many times the evaluations, generations and seconds."""
        return replace(
            self,
            times=times * self.times,
            evaluations=None if self.evaluations is None else times * self.evaluations,
            generations=times * self.generations,
            plateau=times * self.plateau,
            seconds=None if self.seconds is None else times * self.seconds,
        )
