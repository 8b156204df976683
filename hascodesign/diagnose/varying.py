"""A PE that does not answer the same each time: permanent faults and a transient one."""

from __future__ import annotations

import numpy as np

from hascodesign.contract.types import Fault
from hascodesign.diagnose.answers import Answers
from hascodesign.diagnose.evidence import Evidence, Shared
from hascodesign.diagnose.logic import LogicSearch
from hascodesign.diagnose.transients import Played, Transient, TransientSearch, tally
from hascodesign.diagnose.vectors import CODE_SETTINGS, TestSet

#: Shares of the plays that an answer must have to be taken for what the PE does: of one step, and
#: of more, where inversions add up. What is left out has its say in the likelihood.
SHARES = ((0.5, 0.85), (0.5, 0.5), (0.67, 0.67))


class VaryingSearch:
    """The search for the faults of PEs whose answers vary.

    Parameters
    ----------
    test_set : what was played, with a part for transients.
    shared : of its array.
    """

    def __init__(self, test_set: TestSet, shared: Shared) -> None:
        self.test_set, self.shared, self.array = test_set, shared, test_set.array
        self.single = np.zeros(test_set.logic_answers, dtype=np.bool_)  # of one step
        for group in shared.groups:
            self.single[group.answers] = group.steps == 1

    def find(self, answers: Answers) -> tuple[tuple[Fault, ...], Transient] | None:
        """Permanent faults and the transient one; None where nothing explains every answer."""
        usual, count = answers.usual()
        share = count / len(answers.logic)
        played = self._played(answers)
        for single, longer in SHARES:
            clean = share > np.where(self.single, single, longer)
            logic = LogicSearch(Evidence(self.shared, usual, clean)).solve()
            if logic.residual or logic.faults == (Fault(0, "dead"),):
                continue
            for faults in (logic.faults, *logic.equivalents):
                search = TransientSearch(self.array, faults, played)
                found = search.find()
                if found is not None and not self._odd_words(search, found, answers):
                    return faults, found
        return None

    def _odd_words(self, search: TransientSearch, found: Transient, answers: Answers) -> bool:
        """Whether an address strays more often than the transient fault makes it."""
        marched = search.groups[len(search.groups) - len(self.test_set.memory) :]
        for which, group in enumerate(marched):
            held = answers.memory.reshape(len(answers.memory), *self.test_set.march_shape)[:, which]
            strays = (held != group.steady).sum(axis=0)  # [addresses, columns]
            if search.too_many(found, group, strays, len(held)):
                return True
        return False

    def _played(self, answers: Answers) -> list[Played]:
        """Everything that one PE was asked, vectors with the same operands as one."""
        found = []
        for group in self.shared.groups:
            held = answers.logic[:, group.answers]
            which = np.broadcast_to(np.arange(held.shape[1]), held.shape)
            found.append(
                Played(group.signed, group.words, group.codes, *tally(which.ravel(), held.ravel()))
            )
        return found + self._exposing(answers) + self._marching(answers)

    def _marching(self, answers: Answers) -> list[Played]:
        """The march, all addresses as one: its words are the same at each."""
        held = answers.memory.reshape(len(answers.memory), *self.test_set.march_shape)
        found = []
        for number, block in enumerate(self.test_set.memory):
            words = block.words[:1].repeat(len(block.codes), axis=0)
            column = np.broadcast_to(np.arange(len(words)), held[:, number].shape)
            told = tally(column.ravel(), held[:, number].ravel())
            found.append(Played(False, words, block.codes, *told))
        return found

    def _exposing(self, answers: Answers) -> list[Played]:
        """The exposing vectors, those with the same operands as one."""
        blocks = self.test_set.exposures
        words = np.concatenate([block.words for block in blocks])
        _, first, place = np.unique(words, axis=0, return_index=True, return_inverse=True)
        column = np.arange(len(blocks[0].codes)) % CODE_SETTINGS
        which = (place.reshape(-1, 1) * CODE_SETTINGS + column).ravel()
        told = tally(np.tile(which, len(answers.exposed)), answers.exposed.ravel())
        known = words[first].repeat(CODE_SETTINGS, axis=0)
        codes = np.tile(blocks[0].codes[:CODE_SETTINGS], (len(first), 1, 1))
        return [Played(False, known, codes, *told)]
