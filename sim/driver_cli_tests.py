"""The driver's command line and its timing on the simulated core.

Environment: as driver_steps.py says.
"""

from __future__ import annotations

import contextlib
import io
import json
from typing import Any
from unittest.mock import patch

import cocotb
import numpy as np
from driver_steps import BITSTREAM, FOLDER, OTHER, SCHEDULE, blocking, board, images, opened
from has_driver import Accelerator
from has_driver.__main__ import main


def call(*arguments: Any) -> tuple[int, str, str]:
    """Exit code, output and errors of one call."""
    out, error = io.StringIO(), io.StringIO()
    given = ["--bitstream", BITSTREAM, "--schedule", SCHEDULE, "--batch", 3, *arguments]
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(error):
        try:
            code = main([str(one) for one in given])
        except SystemExit as exit_:
            code = int(exit_.code or 0)
    return code, out.getvalue(), error.getvalue()


@cocotb.test()
async def every_command(dut: Any) -> None:
    """With its exit code, 0, 1, 2 or 3, and one line where it fails."""
    made = await board(dut)
    job = images()
    classes = np.argmax(job["logits"], axis=1)
    right = int(np.count_nonzero(classes == job["labels"]))

    def run() -> None:
        said = f"{right} of {len(classes)} held-out images are right\n"
        assert call("classify") == (0, said, "")
        np.save(FOLDER / "real.npy", np.moveaxis(job["codes"], -1, 1).astype(float))
        lines = "".join(f"{one}\n" for one in classes)
        assert call("classify", FOLDER / "real.npy") == (0, lines, "")
        code, out, _ = call("verify", "--images", 1)
        assert code == 0 and out.startswith(f"1 images, {job['logits'].shape[1]} logits compared")
        code, out, _ = call("throughput", "--images", 5)
        assert code == 0 and out.startswith("5 images in "), out
        loaded = len(made.overlays)
        code, out, _ = call("status")
        assert code == 0 and out.startswith("enabled, 5 images answered"), out
        assert out.count(" cycles\n") == len(opened(made).built.stages) + 1
        assert made.overlays[loaded] == (str(BITSTREAM), False)

        for code, words, *arguments in (
            (2, "must be .npy", "classify", FOLDER / "none.npy"),
            (2, "--load changes", "--load", OTHER, "status"),
            (2, "images to verify must be from 0 to", "verify", "--images", 1000),
            (2, "images to time must be at least 1", "throughput", "--images", -1),
            (2, "must be there, as the flow renders it", "--schedule", FOLDER, "status"),
            (2, "batch must be from 1", "--batch", "0", "status"),
            (2, "invalid choice", "frobnicate"),
        ):
            got, out, error = call(*arguments)
            assert got == code and not out and words in error, (arguments, got, error)
            assert words == "invalid choice" or error.count("\n") == 1, error
        made.results.stuck = True
        code, out, error = call("--timeout", 0.01, "classify")
        assert code == 1 and "must end within 0.01 s: CONTROL" in error, error
        assert error.count("\n") == 1
        made.results.stuck = False
        made.uninstall()
        code, out, error = call("status")
        assert code == 3 and "needs pynq" in error and error.count("\n") == 1

    await blocking(run)


@cocotb.test()
async def a_difference_is_exit_code_1(dut: Any) -> None:
    """The schedule's files say other than the core holds."""
    await board(dut)

    def run() -> None:
        code, out, _ = call("--schedule", OTHER, "verify", "--images", 1)
        assert code == 1 and "must be" in out, out

    await blocking(run)


@cocotb.test()
async def every_cell_of_the_notebook(dut: Any) -> None:
    """As it was delivered, in the folder where it lies."""
    await board(dut)
    job = images()
    right = int(np.count_nonzero(np.argmax(job["logits"], axis=1) == job["labels"]))
    cells = json.loads((FOLDER / "driver" / "accelerator.ipynb").read_text())["cells"]

    def run() -> None:
        out, names = io.StringIO(), dict[str, Any]()
        with (
            contextlib.redirect_stdout(out),
            contextlib.chdir(FOLDER / "driver"),
            patch.object(Accelerator.throughput, "__defaults__", (4,)),
        ):
            for cell in cells:
                if cell["cell_type"] == "code":
                    exec("".join(cell["source"]), names)
        said = out.getvalue()
        for words in ("on this board", "by the engine"):
            assert f"{right} of {len(job['labels'])} right {words}\n" in said, said
        assert said.count(f"{job['logits'].size} logits compared, 0 differ") == 2, said
        assert "4 images in " in said and "error" not in said, said

    await blocking(run)
