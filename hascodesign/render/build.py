"""The whole build, every file of it as bytes, and whether the accelerator is part of it."""

from __future__ import annotations

from collections.abc import Sequence

from hascodesign.contract.build import BuildPlan, Rom
from hascodesign.contract.errors import ConfigError
from hascodesign.contract.types import Board, FaultProfile, IntegerNetwork, Schedule
from hascodesign.render import (
    core,
    driver,
    hls,
    hls_network,
    overlay,
    project,
    rom,
    rtl,
    ulx3s,
)
from hascodesign.render.core_sizes import CoreOptions


def build_files(
    network: IntegerNetwork,
    schedule: Schedule,
    profile: FaultProfile,
    board: Board,
    options: CoreOptions,
    *,
    clock_mhz: float | None,
    with_core: bool,
) -> BuildPlan:
    """RTL, ROMs, HLS, the tools' scripts and, for the accelerator, overlay and driver of one build.

    On a board with a serial line, what stands around the accelerator comes in the overlay's place.

    Parameters
    ----------
    network : with its rows as written.
    options : of the array, and how the accelerator is fitted to the board.
    clock_mhz : the board's where None.
    with_core : whether the accelerator around the array is built.
    """
    on_chip = options.array.on_chip or (True,) * len(network.layers)
    roms = rom.build_roms(network, schedule, on_chip)
    sources = BuildPlan.merge(
        [
            BuildPlan(verilog(network, schedule, profile, options, with_core=with_core)),
            BuildPlan(rom.rom_files(roms)),
            BuildPlan(hls_files(network, schedule, roms, on_chip, profile)),
        ]
    )
    clock = clock_mhz or board.clock_mhz
    serial = with_core and board.family == "ecp5"
    around: dict[str, bytes] = {}
    if serial:
        around = ulx3s.render_ulx3s(network, schedule, board, on_chip, clock_mhz=clock)
        clock = ulx3s.clock_made(clock)
    scripts = project.render_project(
        board,
        sources.files,
        clock_mhz=clock,
        multipliers=options.array.multipliers,
        top=ulx3s.TOP if serial else "has_core" if with_core else "has_array",
        around=[path for path in around if path.endswith(".v")],
    )
    host = around
    if with_core:
        baud = ulx3s.BAUD if serial else None
        fit = (options.lanes, options.runs, options.batch)
        host |= driver.render_driver(
            network, schedule, profile, sources.files, on_chip, clock, baud, fit, options.watch
        )
    if with_core and not serial:
        host |= overlay.render_overlay(
            network, schedule, board, sources.files, on_chip,
            clock_mhz=clock, multipliers=options.array.multipliers,
        )  # fmt: skip
    return BuildPlan.merge([sources, BuildPlan(scripts), BuildPlan(host)])


def hls_files(
    network: IntegerNetwork,
    schedule: Schedule,
    roms: Sequence[Rom],
    on_chip: Sequence[bool],
    profile: FaultProfile,
) -> dict[str, bytes]:
    """Every file of hls/: a layer, and where the network can be run by itself all of it."""
    files = hls.render_hls(network, schedule, roms, on_chip, profile)
    if hls_network.network_refusal(network, schedule.array, on_chip) is None:
        files |= hls_network.render_network(network, schedule, on_chip)
    return files


def verilog(
    network: IntegerNetwork,
    schedule: Schedule,
    profile: FaultProfile,
    options: CoreOptions,
    *,
    with_core: bool,
) -> dict[str, bytes]:
    """Every file of rtl/: the array, and where wanted the accelerator around it."""
    if with_core:
        return core.render_core(network, schedule, profile, options)
    return rtl.render_rtl(network, schedule, profile, options.array)


def core_refusal(network: IntegerNetwork, schedule: Schedule, profile: FaultProfile) -> str | None:
    """Why the accelerator cannot run this network; None where it can."""
    try:
        core.render_core(network, schedule, profile, CoreOptions())
    except ConfigError as error:
        return str(error)
    return None
