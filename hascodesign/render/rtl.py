"""The Verilog of one build: fixed modules, and the few whose contents vary, from templates."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from hascodesign.board.capacity import PAIRED_WS
from hascodesign.common.shipped import share
from hascodesign.contract.errors import ConfigError
from hascodesign.contract.memories import (
    bank_depths,
    bias_bits,
    row_bits,
    threshold_stages,
    value_bits,
    weight_bits,
)
from hascodesign.contract.types import (
    MULTIPLIERS,
    ArraySpec,
    FaultProfile,
    IntegerNetwork,
    Multipliers,
    MultiplyLayer,
    Schedule,
    Shift,
    Thresholds,
)
from hascodesign.render import rtl_faults

COLUMN_BITS = 24  # of the column counter: 16.7 million columns a run
MAX_PIPELINE = 5  # register stages in a PE
_THRESHOLDS, _SHIFT, _LOGITS = 0, 1, 2  # kinds of output, as has_layer_table names them


@dataclass(frozen=True, slots=True)
class RtlOptions:
    """How the array is built."""

    pipeline: int = 4  # register stages in each PE, 0..5
    multipliers: Multipliers = "dsp"
    on_chip: tuple[bool, ...] = ()  # per layer: weights in ROM, else streamed; () = all on chip


def render_rtl(
    network: IntegerNetwork, schedule: Schedule, profile: FaultProfile, options: RtlOptions
) -> dict[str, bytes]:
    """Every Verilog file of the array for one network, schedule and profile.

    Parameters
    ----------
    network : the integer network.
    schedule : one row map per multiply layer; its array gives every width.
    profile : a checked profile of the same array; its faults are rendered as masks and draws.
    options : how the array is built.

    Returns
    -------
    Path below the output folder -> content, e.g. ``rtl/has_array.v``, the top module.

    Raises
    ------
    ConfigError : an option that the Verilog does not have, or a profile of another array.
    """
    spec = schedule.array
    on_chip = options.on_chip or (True,) * len(network.layers)
    _check(network, spec, profile, options, on_chip)
    faults = rtl_faults.mask_context(profile)
    context = array_context(network, schedule, options, on_chip) | faults
    files = render_folder(share("rtl_templates"), context)
    for name in rtl_faults.unused_files(profile):
        del files[name]
    if not network.preloaded:
        del files["has_preload.v"]
    if options.multipliers != "dsp2":
        del files["has_multiplier_pair.v"]
    return {f"rtl/{name}": text.encode("ascii") for name, text in files.items()}


def environment(folder: Path) -> Environment:
    """Jinja for Verilog: brackets in place of braces, and an unknown name is an error."""
    found = Environment(  # Verilog, not HTML: nothing to escape
        loader=FileSystemLoader(folder),
        undefined=StrictUndefined,
        block_start_string="[%",
        block_end_string="%]",
        variable_start_string="[[",
        variable_end_string="]]",
        comment_start_string="[#",
        comment_end_string="#]",
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        autoescape=False,
    )
    found.globals["bus"] = lambda bits: f"[{bits - 1}:0]"
    return found


def render_folder(folder: Path, context: Mapping[str, Any]) -> dict[str, str]:
    """Every Verilog file of a folder of templates, plain ones as they are."""
    templates = environment(folder)
    files = {path.name: path.read_text("ascii") for path in sorted(folder.glob("*.v"))}
    for path in sorted(folder.glob("*.v.j2")):
        files[path.name.removesuffix(".j2")] = templates.get_template(path.name).render(context)
    return files


# ---------------------------------------------------------------------------------------- checks


def _check(
    network: IntegerNetwork,
    spec: ArraySpec,
    profile: FaultProfile,
    options: RtlOptions,
    on_chip: Sequence[bool],
) -> None:
    if profile.array != spec:
        raise ConfigError(
            f"the fault profile must be of the schedule's array {spec}, not {profile.array}"
        )
    if not 0 <= options.pipeline <= MAX_PIPELINE:
        raise ConfigError(f"pipeline must be 0 to {MAX_PIPELINE}, not {options.pipeline}")
    if options.multipliers not in MULTIPLIERS:
        raise ConfigError(f"multipliers must be dsp, dsp2 or lut, not {options.multipliers!r}")
    if options.multipliers == "dsp2" and spec.dataflow == "ws":
        raise ConfigError(PAIRED_WS)
    if len(on_chip) != len(network.layers):
        raise ConfigError(f"on_chip must have {len(network.layers)} entries, not {len(on_chip)}")
    for layer in network.layers:
        if layer.out_bits > spec.act_bits:
            raise ConfigError(
                f"output codes of layer {layer.name} must be at most {spec.act_bits} bits, "
                f"not {layer.out_bits}"
            )


# --------------------------------------------------------------------------------------- context


def array_context(
    network: IntegerNetwork,
    schedule: Schedule,
    options: RtlOptions,
    on_chip: Sequence[bool],
) -> dict[str, Any]:
    """Sizes of the array and of its counters and memories, all integers."""
    spec, layers, maps = schedule.array, network.layers, schedule.layers
    rom_depth, ext_depth = bank_depths(network, schedule, on_chip)
    table = _layer_table(network, schedule, on_chip, rom_depth)
    stages = threshold_stages(network)
    all_rows = sum(layer.rows for layer in layers)
    passes = sum(row_map.passes for row_map in maps)
    map_depth = passes * spec.pe
    pass_bits = count_bits(max(row_map.passes for row_map in maps))
    preload_bits = max(count_bits(passes), pass_bits)
    preloaded = network.preloaded
    width = max(
        spec.pe * weight_bits(spec),
        value_bits(network, spec) + 1,
        row_bits(network),
        spec.pe * spec.acc_bits if preloaded else 0,
    )
    one_layer, all_layers = row_bits(network), max(count_bits(all_rows), row_bits(network))
    return {
        "row_bits": one_layer,
        "all_row_bits": all_layers,
        "wide_row": widened("named_row", one_layer, all_layers),
        "systolic": int(spec.dataflow == "ws"),
        "pe": spec.pe,
        "simd": spec.simd,
        "weight_bits": spec.weight_bits,
        "act_bits": spec.act_bits,
        "acc_bits": spec.acc_bits,
        "pipeline": options.pipeline,
        "use_dsp": "no" if options.multipliers == "lut" else "yes",
        "paired": int(options.multipliers == "dsp2"),
        "bias_bits": bias_bits(network, spec),
        "v_bits": value_bits(network, spec),
        "column_bits": COLUMN_BITS,
        "layer_bits": count_bits(len(layers)),
        "step_bits": max(2, count_bits(max(spec.steps(layer.depth) for layer in layers))),
        "pass_bits": pass_bits,
        "preload": preloaded,
        "preload_bits": preload_bits,
        "preload_depth": passes,
        "wide_pass": widened("pass_in", pass_bits, preload_bits),
        "memories": stages + 4 + preloaded,
        "select_bits": count_bits(stages + 4 + preloaded),
        "lane_word_bits": 1 << max(value_bits(network, spec) + 1, one_layer).bit_length(),
        "pe_bits": count_bits(spec.pe),
        "wmem_bits": count_bits(rom_depth + ext_depth),
        "slot_bits": max(count_bits(map_depth), count_bits(spec.pe)),
        "row_number_bits": count_bits(max(layer.rows for layer in layers)),
        "shift_bits": max(1, *(row["shift"].bit_length() for row in table)),
        "stages": stages,
        "memory_bits": max(
            count_bits(rom_depth + ext_depth),
            count_bits(map_depth),
            count_bits(spec.pe),
            all_layers + max(stages - 1, 0),
            preload_bits if preloaded else 0,
        ),
        "memory_width": width,
        "value_words": -(-width // 32),
        "place_bits": count_bits(-(-width // 32)),
        "wide_passed": widened("passed", max(stages, 1), spec.act_bits),
        "rom_depth": rom_depth,
        "ext_depth": ext_depth,
        "map_depth": map_depth,
        "all_rows": all_rows,
        "name_digits": max(2, len(str(spec.pe - 1))),
        "has_shift": any(isinstance(layer.output, Shift) for layer in layers),
        "layers": table,
    }


def _layer_table(
    network: IntegerNetwork, schedule: Schedule, on_chip: Sequence[bool], rom_depth: int
) -> list[dict[str, Any]]:
    """One row of constants per layer."""
    spec = schedule.array
    table: list[dict[str, Any]] = []
    wmem = words = slot = row = 0
    for layer, row_map, inside in zip(network.layers, schedule.layers, on_chip, strict=True):
        steps = spec.steps(layer.depth)
        table.append(
            {
                "index": layer.index,
                "name": comment_text(layer.name),
                "rows": layer.rows,
                "passes": row_map.passes,
                "steps": steps,
                "wmem_base": wmem if inside else rom_depth,
                "word_base": words,
                "map_base": slot,
                "row_base": row,
                "pass_base": slot // spec.pe,
                "act_signed": int(layer.in_signed),
                "external": int(not inside),
            }
            | _output(layer, spec, value_bits(network, spec))
        )
        wmem += row_map.passes * steps if inside else 0
        words += row_map.passes * steps
        slot += row_map.passes * spec.pe
        row += layer.rows
    return table


def _output(layer: MultiplyLayer, spec: ArraySpec, v_bits: int) -> dict[str, int]:
    """What turns v into a code; limits as two's complement of act_bits + 1 bits."""
    mask = (1 << (spec.act_bits + 1)) - 1
    out = {"kind": _LOGITS, "code_signed": 0, "lowest": 0, "shift": 0, "low": 0, "high": 0}
    if isinstance(layer.output, Thresholds):
        out |= {"kind": _THRESHOLDS, "lowest": layer.output.lowest & (mask >> 1)}
    elif isinstance(layer.output, Shift):
        out |= {
            "kind": _SHIFT,
            # from v_bits on every v rounds to 0
            "shift": min(layer.output.shift, v_bits),
            "low": layer.output.low & mask,
            "high": layer.output.high & mask,
        }
    if layer.output is not None:
        out["code_signed"] = int(layer.out_signed)
    return out


def count_bits(count: int) -> int:
    """Bits of a counter 0..count-1, at least 1."""
    return max(1, (count - 1).bit_length())


def widened(signal: str, bits: int, target: int) -> str:
    """Verilog of a signal with zeros above it."""
    return signal if bits == target else f"{{{{{target - bits}{{1'b0}}}}, {signal}}}"


def comment_text(name: str) -> str:
    """A name as it may stand in a Verilog comment."""
    return "".join(c if c.isascii() and (c.isalnum() or c == "_") else "_" for c in name)[:64]
