"""A PE that does not answer the same each time: permanent faults and a transient one."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from hascodesign.contract.types import Fault, IntArray
from hascodesign.diagnose.answers import Answers
from hascodesign.diagnose.evidence import Evidence, Shared
from hascodesign.diagnose.logic import LogicSearch
from hascodesign.diagnose.transients import Played, Transient, TransientSearch, tally
from hascodesign.diagnose.vectors import CODE_SETTINGS, OPEN_WORDS, TestSet

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
                if found is None or self._one_word(search, answers):
                    continue
                if not self._odd_words(search, found, answers):
                    return faults, found
        return None

    def _one_word(self, search: TransientSearch, answers: Answers) -> bool:
        """Whether every straying answer met one and the same word of the banks."""
        met = np.zeros(self.array.wmem_depth or OPEN_WORDS, dtype=np.int64)
        total = 0
        for first, steps, strays in self._strays(search, answers):
            for step in range(steps):
                np.add.at(met, first + step, strays)
            total += int(strays.sum())
        return int(met.max()) == total

    def _strays(
        self, search: TransientSearch, answers: Answers
    ) -> Iterator[tuple[IntArray, int, IntArray]]:
        """Address of step 0 [n] of vectors, their steps, and straying answers [n] of each."""
        steady = [group.steady for group in search.groups]
        for group, usual in zip(self.shared.groups, steady, strict=False):
            strays = (answers.logic[:, group.answers] != usual).sum(axis=0)
            yield group.first, group.steps, strays
        at, (words, place) = 0, self._operands()
        settings = steady[len(self.shared.groups)].reshape(len(words), CODE_SETTINGS)[place]
        for block in self.test_set.exposures:
            held = answers.exposed[:, at * len(block.codes) :][:, : block.answers]
            held = held.reshape(len(held), len(block.words), -1, CODE_SETTINGS)
            strays = held != settings[at : at + len(block.words), None, :]
            passes = np.arange(len(block.words))
            yield block.base + passes * block.steps, block.steps, strays.sum(axis=(0, 2, 3))
            at += len(block.words)
        held = answers.memory.reshape(len(answers.memory), *self.test_set.march_shape)
        for which, usual in enumerate(steady[len(self.shared.groups) + 1 :]):
            strays = (held[:, which] != usual).sum(axis=(0, 2))
            yield np.arange(len(strays)), 1, strays

    def _odd_words(self, search: TransientSearch, found: Transient, answers: Answers) -> bool:
        """Whether a word of the banks is faulty, too, or might be without being told."""
        marched = search.groups[len(search.groups) - len(self.test_set.memory) :]
        for which, group in enumerate(marched):
            held = answers.memory.reshape(len(answers.memory), *self.test_set.march_shape)[:, which]
            strays = (held != group.steady).sum(axis=0)  # [addresses, columns]
            if search.faulty_word(found, group, strays, len(held)):
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
        words, place = self._operands()
        block = self.test_set.exposures[0]
        column = np.arange(len(block.codes)) % CODE_SETTINGS
        which = (place[:, None] * CODE_SETTINGS + column).ravel()
        told = tally(np.tile(which, len(answers.exposed)), answers.exposed.ravel())
        codes = np.tile(block.codes[:CODE_SETTINGS], (len(words), 1, 1))
        return [Played(False, words.repeat(CODE_SETTINGS, axis=0), codes, *told)]

    def _operands(self) -> tuple[IntArray, IntArray]:
        """Different words of the exposing vectors, and which of them each pass has."""
        words = np.concatenate([block.words for block in self.test_set.exposures])
        _, first, place = np.unique(words, axis=0, return_index=True, return_inverse=True)
        return words[first], place.ravel()
