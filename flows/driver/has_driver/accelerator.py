"""The accelerator for a program on the board."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from . import codes as coding
from . import deltas, description, diagnosis, healing, self_test, verification
from .codes import Codes
from .contents import Contents
from .contents import read as read_contents
from .errors import DriverError, InputError
from .link import Link
from .memories import Memories
from .pynq_link import PynqLink
from .registers import Status
from .runner import HALF_WRITTEN, Runner
from .throughput import Throughput
from .verification import Verification

HERE = Path(__file__).resolve().parent.parent  # deploy/driver
SCHEDULE = HERE / "schedule"  # what was built: core.json, memories, images
BITSTREAM = HERE.parent / "has_core.bit"
MOST_IMAGES = 0xFFFF  # of one result packet
MOST_RUNS = 1000


class Accelerator:
    """One core on one board.

    Parameters
    ----------
    bitstream : the overlay's .bit, with the .hwh beside it; deploy/has_core.bit by default.
    folder : what was built with it; deploy/driver/schedule by default.
    batch : images that go in one batch, at most.
    timeout : seconds that any wait takes at most.
    attach : whether to take the core as it runs: no bitstream is loaded, nothing is reset.
    link : another way to the core than PYNQ's; no bitstream is loaded then.
    clock : seconds, rising.

    Raises
    ------
    DriverError
        Pynq or a block is missing, the bitstream is of another build, or a wait did not end.
    """

    def __init__(
        self,
        bitstream: str | Path = BITSTREAM,
        folder: str | Path = SCHEDULE,
        *,
        batch: int = 64,
        timeout: float = 10.0,
        attach: bool = False,
        link: Link | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        if not 0 < batch <= MOST_IMAGES:
            raise InputError(f"batch must be from 1 to {MOST_IMAGES} images, not {batch}")
        if not timeout > 0:
            raise InputError(f"timeout must be more than 0 s, not {timeout}")
        self._as_built = description.read(Path(folder))  # the bitstream's memories at power-up
        self._clock = clock
        if link is None:
            link = PynqLink(Path(bitstream), self._as_built, batch, load=not attach)
        self._runner = Runner(link, self._as_built, batch, timeout, clock)
        self._contents: Contents | None = None  # of the memories; None = not read yet
        self._of_folder = True  # they are those of the schedule's folder
        if self.built.streamed:
            link.stream(self.contents.stream)
        if not attach:
            self.reset()

    @property
    def built(self) -> description.Description:
        """What runs: as built, or as last loaded."""
        return self._runner.built

    # ------------------------------------------------------------------------------- images

    def classify(self, images: Any) -> Codes:
        """Classes [n] of real images.

        Parameters
        ----------
        images : [n, channels, height, width], or [n, features] of a network that takes vectors;
            as the network was trained on them.
        """
        return self.classes_of_codes(coding.quantise(images, self.built))

    def classes_of_codes(self, codes: Any) -> Codes:
        """Classes [n] of input codes [n, height, width, channels]."""
        found = coding.checked(codes, self.built)
        if not isinstance(self.built.logit_scale, float):  # the core knows no factors of classes
            return coding.classes_of(self._runner.run(found, classes=False), self.built)
        return self._runner.run(found, classes=True)[:, 0]

    def logits(self, images: Any) -> Codes:
        """Integer logits [n, classes] of real images; times ``built.logit_scale`` real ones."""
        return self.logits_of_codes(coding.quantise(images, self.built))

    def logits_of_codes(self, codes: Any) -> Codes:
        """Integer logits [n, classes] of input codes [n, height, width, channels]."""
        return self._runner.run(coding.checked(codes, self.built), classes=False)

    def throughput(self, images: int = 1000) -> Throughput:
        """Time so many images: the schedule's, over and over, as codes.

        What is timed is all that they take: packing, copies, transfers, the core.
        """
        if images < 1:
            raise InputError(f"images to time must be at least 1, not {images}")
        codes = self.expected().codes
        order = np.arange(images) % len(codes)
        start = self._clock()
        self.logits_of_codes(codes[order])
        seconds = self._clock() - start
        *_, sent = self._runner.parts(order)
        cycles = -(-self.status().cycles // min(len(sent), self.built.batch))  # of the last batch
        return Throughput(images, seconds, cycles, self.built.clock_mhz)

    # ------------------------------------------------------------------------------ registers

    def status(self) -> Status:
        """What the registers say."""
        return self._runner.registers.status()

    def stage_cycles(self) -> dict[str, int]:
        """Clock cycles of each stage in the last image, from its start to its last result.

        Of a stage that runs once for a batch, of all its images together.
        """
        read, names = self._runner.registers.read, self.built.stage_names
        return {name: read("STAGE_CYCLES", place) for place, name in enumerate(names)}

    def restart(self) -> None:
        """Forget the images under way and every error; the memories stay as they were written."""
        self._runner.restart()

    def reset(self) -> None:
        """Restart, and count images from 0; the memories stay as they were written."""
        self.restart()
        self._runner.registers.write("IMAGES", 0)

    # -------------------------------------------------------------------------------- schedule

    @property
    def contents(self) -> Contents:
        """What the memories must hold: as built, or as last loaded."""
        if self._contents is None:
            self._contents = read_contents(self.built.folder, self.built)
        return self._contents

    def load_schedule(self, folder: str | Path) -> None:
        """Write another schedule's row map, weights, thresholds and the rest, and read them back.

        Parameters
        ----------
        folder : ``schedule/`` of a driver that was delivered for the same array and layers.

        Raises
        ------
        InputError
            It is of another build, or not whole; nothing has been written then.
        DriverError
            A word does not read back as it was written, or a wait did not end. The accelerator
            stays stopped, ENABLE 0, until a schedule has been loaded to its end.
        """
        place = Path(folder)
        other = self._fitting(place)
        self._load(read_contents(place, self.built), self.built.with_schedule_of(other))

    def _fitting(self, folder: Path) -> description.Description:
        """What a schedule's folder says of itself, if the build can take it."""
        other = description.read(folder)
        refusal = self.built.refusal(other)
        if refusal is not None:
            raise InputError(f"{folder} must be a schedule for this build: {refusal}")
        return other

    def load_delta(self, path: str | Path) -> None:
        """Write what a fleet's chip changes in its bitstream, and read all memories back.

        ``verify(0)`` holds the memories to it later; the images of a verification are those of the
        schedule folder, whose logits are of another chip.

        Parameters
        ----------
        path : the chip's delta, of ``hascodesign fleet``; the driver must be that of
            ``hascodesign fleet bitstream``.

        Raises
        ------
        InputError
            No delta, or one of another build; nothing has been written then.
        DriverError
            As for ``load_schedule``.
        """
        built = self._as_built
        base = read_contents(built.folder, built)
        self._load(deltas.read(Path(path), base, built), built)
        self._of_folder = False

    def _load(
        self, wanted: Contents, built: description.Description, held: Contents | None = None
    ) -> int:
        """Words written: those that ``held`` has otherwise, all of them where it is None."""
        self._runner.half_written = True
        self._runner.watch = ()  # it is of the words in use
        try:
            written = self._write(wanted, Memories(self._runner.registers, built), held)
        except DriverError as error:
            self._runner.registers.write("CONTROL", 0)
            raise type(error)(f"{error}; {HALF_WRITTEN}") from None
        self._runner.half_written = False
        self._contents, self._runner.built, self._of_folder = wanted, built, True
        return written

    def _write(self, wanted: Contents, memories: Memories, held: Contents | None) -> int:
        self._runner.stop()
        written = memories.write(wanted, held)
        for difference in memories.differences(wanted):
            raise DriverError(f"what was written must be read back: {difference}")
        self._runner.link.stream(wanted.stream)
        self._runner.enable()
        self._runner.registers.check()
        return written

    # ------------------------------------------------------------------------ diagnose and heal

    def answers(self, folder: str | Path, runs: int = 1) -> diagnosis.Answers:
        """Play the vectors of `hascodesign diagnose vectors` on the array, in the test mode.

        Parameters
        ----------
        folder : with ``tests.json`` and ``vectors.npz``, of the build's array.
        runs : times that everything is played.

        Returns
        -------
        What `hascodesign diagnose infer --responses` takes, once saved. What the vectors took of
        the memories is written again, and all is read back; where that fails ENABLE stays 0.

        Raises
        ------
        InputError
            The vectors are of another array, or take more words than the banks have.
        DriverError
            The build has no test mode, or a wait did not end.
        NotRestored
            All was played, but the schedule's words do not read back: a faulty word of a weight
            bank of which the build does not know. The answers are with it.
        """
        if not 1 <= runs <= MOST_RUNS:
            raise InputError(f"runs must be from 1 to {MOST_RUNS}, not {runs}")
        tests = diagnosis.read(Path(folder), self.built)
        kept = self.contents
        player = self._player(tests)
        found: diagnosis.Answers | None = None
        self._runner.half_written = True
        try:
            self._runner.stop()
            acc = np.stack([player.play(tests) for _ in range(runs)])
            found = diagnosis.Answers(acc, tests.digest)
            player.leave()
            self._write(
                kept, Memories(self._runner.registers, self.built), kept.without(player.spoilt)
            )
        except DriverError as error:
            self._runner.registers.write("CONTROL", 0)
            words = f"{error}; {HALF_WRITTEN}"
            if found is not None:
                raise diagnosis.NotRestored(words, found) from None
            raise type(error)(words) from None
        self._runner.half_written = False
        return found

    def _player(self, tests: diagnosis.Tests) -> diagnosis.Player:
        """What plays vectors, if the build can."""
        player = diagnosis.Player(self._runner)
        player.check(tests.blocks)
        return player

    def heal(self, folder: str | Path, images: int | None = None) -> healing.Healing:
        """Change over to the schedule that a host made of this chip's answers, and hold all to it.

        What `hascodesign heal` makes says how the chip behaves: the words that differ from those in
        use are written, every memory is read back, whole images are classified and the vectors
        played anew, and each integer is held to what was predicted.

        Parameters
        ----------
        folder : ``board/`` of what `hascodesign heal` wrote.
        images : how many are classified; all that it brings where None.

        Raises
        ------
        InputError
            It is of another build, or not whole; nothing has been written then.
        DriverError
            The build has no test mode, and nothing has been written; or as for ``load_schedule``.
        """
        place = Path(folder)
        schedule = place / healing.SCHEDULE
        tests = diagnosis.read(place / healing.TESTS, self.built)
        predicted = healing.read(place, tests, self.built)
        other = self._fitting(schedule)
        wanted = read_contents(schedule, self.built)
        brought = verification.read(schedule, self.built.in_shape, self.built.classes)
        if images is not None and not 1 <= images <= len(brought.codes):
            raise InputError(
                f"images to hold to the prediction must be from 1 to {len(brought.codes)}, not"
                f" {images}"
            )
        self._player(tests)
        self._runner.check_ready()
        written = self._load(wanted, self.built.with_schedule_of(other), self.contents)
        verified = self.verify(images)
        played = self.answers(place / healing.TESTS)
        words = sum(map(len, wanted.words))
        return healing.compare(predicted, played.acc[0], verified, (written, words))

    # ----------------------------------------------------------------------------------- check

    def check(self) -> self_test.Check:
        """Hold the array to what it was, on the words in use, in about an image's time.

        The core's test mode runs on the words that lie in the weight banks; no memory is written,
        and images go on as before. Every sum of every PE is held to what the fault model gives for
        the profile that the schedule was made for. Transient faults are not looked for.

        Raises
        ------
        InputError
            The schedule's folder brings no self-test, or a fleet's delta has been loaded, which
            brings none.
        DriverError
            The build has no test mode, a schedule is half written, or a wait did not end.
        """
        return self_test.play(self._runner, self._self_test())

    def watch(self, images: int) -> self_test.Check:
        """Have the core check itself: before the next image, and after every so many.

        The array is held to the self-test first; where it is not as it was the core does not
        watch. Where it changes later, the call for images that is under way then, or the next,
        ends with an error that says so, and the core's output `interrupt` rises where bit 1 of
        IRQ_ENABLE is set; `check` names the PE. A schedule that is loaded ends it.

        Parameters
        ----------
        images : between two checks, 1 to 65535; 0 ends it.

        Raises
        ------
        InputError
            As for ``check``; or another number.
        DriverError
            The build does not watch, a PE has a transient fault, or as for ``check``.
        """
        if not self.built.watches:
            raise DriverError("the build must watch its array, as `--watch` of the flow builds it")
        if not 0 <= images <= MOST_IMAGES:
            raise InputError(f"images between two checks must be 0 to {MOST_IMAGES}, not {images}")
        return self_test.watch(self._runner, self._self_test(), images)

    def _self_test(self) -> self_test.SelfTest:
        if not self._of_folder:
            raise InputError("a delta brings no self-test: check needs a schedule's folder")
        return self_test.read(self.built.folder, self.built)

    # ---------------------------------------------------------------------------------- verify

    def expected(self) -> verification.Expected:
        """The schedule's held-out images, and the logits that the engine gives for them."""
        built = self.built
        return verification.read(built.folder, built.in_shape, built.classes)

    def verify(self, images: int | None = None) -> Verification:
        """Hold the logits of whole images to the engine's, and every memory to its contents.

        Parameters
        ----------
        images : how many; all that the schedule brings where None.

        Returns
        -------
        What was compared; of what differs, the first by layer, PE, row and bit.
        """
        job = self.expected()
        most = len(job.codes)
        if images is not None and not 0 <= images <= most:
            raise InputError(f"images to verify must be from 0 to {most}, not {images}")
        count = most if images is None else images
        self.reset()  # the draws of transient faults count images from 0
        status = self.status()
        count = 0 if status.halted else count
        got, wanted = self.logits_of_codes(job.codes[:count]), job.logits[:count]
        memories = Memories(self._runner.registers, self.built)
        self._runner.stop()
        differences = [str(one) for one in memories.differences(self.contents)]
        self.restart()
        return Verification(
            halted=", ".join(status.errors) if status.halted else "",
            images=count,
            logits=wanted.size,
            differing=int(np.count_nonzero(wanted != got)),
            first=verification.first_difference(wanted, got),
            as_healthy=bool(np.array_equal(job.healthy[:count], got)),
            bits=memories.bits(self.contents),
            wrong_bits=len(differences),
            places=tuple(differences[: verification.FIRST]),
        )
