"""The chip on a board that ssh reaches, where deploy.sh has put the driver.

No board was at hand: what was seen is this against programs that stand for ssh, scp and the board.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from hascodesign.common import files, processes
from hascodesign.contract.errors import ConfigError, StepFailed, ToolNotFound

FOLDER = "hascodesign"  # in the home directory, as deploy.sh has it
HEAL = f"{FOLDER}/heal"
LIMIT_S = 600.0  # of each command
_HOST = re.compile(r"(?!-)[A-Za-z0-9@._-]+")  # they mean nothing to a shell, here or there
_HELD = re.compile(r"^\d+ of \d+ words written$", re.MULTILINE)  # how the driver's result begins
#: As root, in PYNQ's environment where there is one; without a password being asked for.
_RUN = (
    f"cd {FOLDER}/driver && sudo -n /bin/sh -c '[ ! -f /etc/profile.d/pynq_venv.sh ] ||"
    " . /etc/profile.d/pynq_venv.sh; exec python3 -m has_driver {arguments}'"
)


@dataclass(frozen=True, slots=True)
class Board:
    """One board.

    Parameters
    ----------
    host : user@host, as ssh takes it.
    """

    host: str

    def __post_init__(self) -> None:
        if not _HOST.fullmatch(self.host):
            raise ConfigError(
                "--host must be letters, digits, @ . _ and -, not starting with -: not"
                f" {self.host!r}"
            )
        for program in ("ssh", "scp"):
            if shutil.which(program) is None:
                raise ToolNotFound(f"--host needs {program}: apt-get install openssh-client")

    def play(self, tests: Mapping[str, bytes], in_use: Path | None, work: Path) -> Path:
        """Have the driver play vectors; the file of answers.

        Parameters
        ----------
        tests : files of the vectors, by name.
        in_use : ``schedule/`` of what runs on the build; that of the build where None.
        work : folder for what is copied.
        """
        files.write_tree(work / "tests", tests)
        self._done(["ssh", "--", self.host, f"rm -rf {HEAL} && mkdir -p {HEAL}"], "be written")
        self._copy(work / "tests", "tests")
        if in_use is not None:
            self._copy(in_use, "in-use")
        load = "--load ../heal/in-use " if in_use is not None else ""
        found = self._driver(f"{load}diagnose ../heal/tests --out ../heal/acc.npz")
        if found.status:
            raise StepFailed(f"{self.host} must play the vectors, and did not: {_said(found)}")
        answers = work / "acc.npz"
        self._done(["scp", "-q", "--", f"{self.host}:{HEAL}/acc.npz", str(answers)], "be read")
        return answers

    def heal(self, board: Path, *, in_use: bool) -> tuple[bool, str]:
        """Have the driver change over to a folder; whether all is as predicted, and its words."""
        self._copy(board, "board")
        load = "--load ../heal/in-use " if in_use else ""
        found = self._driver(f"{load}heal ../heal/board")
        said = found.output.decode("utf-8", "replace")
        # 1 is a prediction that does not hold, and anything that stopped the driver before one
        if found.status not in (0, 1) or not _HELD.search(said):
            raise StepFailed(f"{self.host} must be healed, and was not: {_said(found)}")
        return found.status == 0, said

    def _copy(self, folder: Path, name: str) -> None:
        command = ["scp", "-q", "-r", "--", str(folder.resolve()), f"{self.host}:{HEAL}/{name}"]
        self._done(command, "be written")

    def _driver(self, arguments: str) -> processes.Finished:
        command = ["ssh", "--", self.host, _RUN.format(arguments=arguments)]
        return processes.run(command, limit_s=LIMIT_S)

    def _done(self, command: list[str], what: str) -> None:
        found = processes.run(command, limit_s=LIMIT_S)
        if found.status:
            raise StepFailed(f"{self.host} must {what}, and was not: {_said(found)}")


def _said(found: processes.Finished) -> str:
    """How a command ended, and its last line."""
    lines = found.output.decode("utf-8", "replace").splitlines()
    return ": ".join([found.words, *lines[-1:]])
