"""The command line's `diagnose` group: test vectors, what they tell, and the model as the chip."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from hascodesign.cli.faults import (
    AccBits,
    ActBits,
    Board,
    Depth,
    Flow,
    Lanes,
    Pes,
    WeightBits,
    board_array,
    write_file,
)
from hascodesign.common.display import Display
from hascodesign.contract.errors import ConfigError, HascodesignError

MOST_NAMED = 16

diagnose_app = typer.Typer(
    help="Find an array's fault profile from what it answers to test vectors.",
    no_args_is_help=True,
)


@diagnose_app.command("vectors")
def write_vectors(
    out: Annotated[Path, typer.Option(help="Folder for tests.json and vectors.npz.")],
    board: Board = "pynq-z2",
    pe: Pes = None,
    simd: Lanes = None,
    weight_bits: WeightBits = None,
    act_bits: ActBits = None,
    acc_bits: AccBits = None,
    dataflow: Flow = None,
    wmem_depth: Depth = 0,
    seed: Annotated[int, typer.Option(help="Seed of the vectors, 0 to 4294967295.")] = 0,
    transients: Annotated[
        float | None,
        typer.Option(
            help="Also find transient faults: the least probability to know to 10 %, such as 0.001."
        ),
    ] = None,
) -> None:
    """Write the test vectors of an array; with --wmem-depth for its weight memory, too."""
    from hascodesign.diagnose import files  # noqa: PLC0415  (numpy: start-up time)
    from hascodesign.diagnose.vectors import vectors  # noqa: PLC0415

    sizes = {"pe": pe, "simd": simd, "dataflow": dataflow}
    widths = {"weight_bits": weight_bits, "act_bits": act_bits, "acc_bits": acc_bits}
    test_set = vectors(board_array(board, wmem_depth, **sizes, **widths), seed, transients)
    for name, content in files.write_tests(test_set).items():
        write_file(out / name, content)


@diagnose_app.command("infer")
def infer_profile(
    folder: Annotated[Path, typer.Argument(help="Folder of `diagnose vectors`.")],
    responses: Annotated[Path, typer.Option(help="Answers of the array, .npz.")],
    out: Annotated[Path, typer.Option(help="Profile to write: .json or .csv.")],
    report: Annotated[Path | None, typer.Option(help="Report to write, .json.")] = None,
) -> None:
    """Find the profile: exit 0 where every PE is explained, 1 where some are left idle."""
    from hascodesign.diagnose import files  # noqa: PLC0415  (numpy: start-up time)
    from hascodesign.diagnose.infer import infer  # noqa: PLC0415
    from hascodesign.faults import commands, formats  # noqa: PLC0415

    commands.check_output(out, cells=False)
    if commands.form_of(out) not in ("json", "csv"):
        raise ConfigError(f"--out must end in .json or .csv, not {out.name}")
    if report is not None and report.resolve() == out.resolve():
        raise ConfigError(f"--report must be another file than --out, not {report}")
    test_set = files.read_tests(folder)
    acc = files.read_responses(responses, test_set)
    runs = 1 if acc.ndim == 2 else len(acc)
    with Display() as display:
        found = infer(test_set, acc, display.progress)
    # when the chip answered, as far as the file tells: the same file gives the same bytes
    answered = datetime.fromtimestamp(int(responses.stat().st_mtime), UTC)
    dated = replace(found.profile, conditions={"answered": answered.isoformat()})
    write_file(out, formats.write(dated, commands.form_of(out)))
    if report is not None:
        write_file(report, files.write_report(test_set, found, runs))
    count, left = test_set.array.pe, found.unexplained
    memory = "" if test_set.memory else "; weight memory not tested"
    least = test_set.unseen(runs)
    varying = (
        "transient faults not tested"
        if least is None
        else f"a transient fault of p below {least:.2g} may have passed unseen"
    )
    print(f"{count - len(left)} of {count} PEs explained{memory}; {varying}")
    for pe, one in found.transients.items():
        print(f"PE {pe}: {one}")
    if left:
        named = ", ".join(map(str, left[:MOST_NAMED])) + ", ..." * (len(left) > MOST_NAMED)
        raise HascodesignError(
            f"every PE must be explained, but these are not, and stand as dead in {out}: {named}"
        )


@diagnose_app.command("simulate")
def simulate_chip(
    faults: Annotated[Path, typer.Option(help="Fault profile of the chip, .json or .csv.")],
    out: Annotated[Path, typer.Option(help="Answers to write, .npz.")],
    tests: Annotated[
        Path | None,
        typer.Option(help="Folder of `diagnose vectors`; by default those of the profile's array."),
    ] = None,
    runs: Annotated[int, typer.Option(help="Times that everything is played.")] = 1,
) -> None:
    """Answer the vectors as an array with these faults would: the fault model as the chip."""
    from hascodesign.diagnose import files  # noqa: PLC0415  (numpy: start-up time)
    from hascodesign.diagnose.simulate import simulate  # noqa: PLC0415
    from hascodesign.diagnose.vectors import vectors  # noqa: PLC0415
    from hascodesign.faults import formats  # noqa: PLC0415
    from hascodesign.faults.profile import check  # noqa: PLC0415

    if out.suffix != ".npz":
        raise ConfigError(f"--out must end in .npz, not {out.name}")
    profile = formats.read(faults)
    test_set = vectors(profile.array) if tests is None else files.read_tests(tests)
    if profile.array.wmem_depth == 0:  # open: as deep as the tests take it to be
        array = replace(profile.array, wmem_depth=test_set.array.wmem_depth)
        profile = check(replace(profile, array=array))
    with Display() as display:
        acc = simulate(test_set, profile, runs=runs, progress=display.progress)
    write_file(out, files.write_responses(test_set, acc))
