"""What is proven of the Verilog, how deep, and the broken designs on which each proof must fail."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Broken:
    """A design with a fault: one text of one file in place of another."""

    what: str
    file: str
    text: str
    instead: str


@dataclass(frozen=True, slots=True)
class Proof:
    """One wrapper module ``formal_<name>`` with its sources.

    ``k``: cycles of the induction; the base case is as long and one more. ``reach``: cycles in
    which every cover statement is reached, and every broken design is found out.
    """

    name: str
    sources: tuple[str, ...]
    k: int
    reach: int
    broken: tuple[Broken, ...]
    parameters: Mapping[str, int] = field(default_factory=dict)
    wrapper: str = ""
    batch: int = 1  # images of a batch that the sources are rendered for

    @property
    def top(self) -> str:
        """The wrapper's module."""
        return f"formal_{self.wrapper or self.name}"


REGISTERS, LOGITS, RESULTS, SEQUENCER, PACKET = (
    f"core/has_{name}.v" for name in ("registers", "logits", "results", "sequencer", "packet")
)
DRAIN, STEPS, GATHER = "has_drain.v", "has_steps.v", "core/has_gather.v"
WALKS = ("conv_walk", "pool_walk", "gather", "lane_range", "rotate", "bank_address")
ACTIVATIONS = "core/has_activations.v"
PAIR = "has_multiplier_pair.v"
POOL_MERGE, POOL_PLACE = "core/has_pool_merge.v", "core/has_pool_place.v"

OF_REGISTERS = (
    Broken(
        "an answer is withdrawn",
        REGISTERS,
        "|| reading[2]\n        || (s_axil_rvalid && !s_axil_rready);",
        "|| reading[2];",
    ),
    Broken(
        "a response changes while it waits",
        REGISTERS,
        "if (write) s_axil_bresp <=",
        "s_axil_bresp <=",
    ),
    Broken(
        "data are lost",
        REGISTERS,
        "data_held <= data_taken || (data_held && !write);",
        "data_held <= data_taken;",
    ),
    Broken(
        "a write is done twice",
        REGISTERS,
        "address_held <= address_taken || (address_held && !write);",
        "address_held <= address_taken || address_held;",
    ),
    Broken(
        "ready waits for valid",
        REGISTERS,
        "s_axil_arready <= !read &&",
        "s_axil_arready <= !read && s_axil_arvalid &&",
    ),
    Broken(
        "a narrow write acts",
        REGISTERS,
        "else if (write_whole && write_page_0) begin",
        "else if (write_page_0) begin",
    ),
    Broken(
        "a memory is written while busy",
        REGISTERS,
        "wire at_rest = !enable && !busy;",
        "wire at_rest = !enable;",
    ),
    Broken(
        "a memory is written beyond its end",
        REGISTERS,
        "address < depth;",
        "address <= depth;",
    ),
    Broken(
        "an illegal access always errs",
        REGISTERS,
        "s_axil_bresp <= (legal || !strict)",
        "s_axil_bresp <= legal",
    ),
    Broken("an illegal read is not told", REGISTERS, "{bad_write || bad_read,", "{bad_write,"),
    Broken(
        "the last illegal access, not the first",
        REGISTERS,
        "if (events[4] && !kept[4]) begin",
        "if (events[4]) begin",
    ),
    Broken(
        "cleared with an event",
        REGISTERS,
        "error <= kept | events;",
        "error <= set_status ? kept : kept | events;",
    ),
    Broken(
        "a fetch is answered too soon",
        REGISTERS,
        "|| waiting == {{(WAIT_BITS-1){1'b0}}, 1'b1})",
        "|| waiting == TO_WAIT[WAIT_BITS-1:0])",
    ),
    Broken(
        "a write is taken while a word is on its way",
        REGISTERS,
        "!s_axil_bvalid && waiting == {WAIT_BITS{1'b0}};",
        "!s_axil_bvalid;",
    ),
    Broken(
        "the word before",
        REGISTERS,
        "reading <= {reading[1:0], read && known && read_value};",
        "reading <= {reading[1], read && known && read_value, 1'b0};",
    ),
    Broken(
        "a fetch of a lane that is not",
        REGISTERS,
        "may_access && write_data < COUNT_OF_LANES",
        "may_access && write_data <= COUNT_OF_LANES",
    ),
    Broken("the fetch stays", REGISTERS, "if (commit || fetch) address", "if (commit) address"),
    Broken(
        "a packet's size acts at once",
        REGISTERS,
        "packet_set <= set_packet && !rst;",
        "packet_set <= 1'b0;",
    ),
    Broken(
        "an interrupt is lost",
        REGISTERS,
        "irq <= (irq & ~(set_irq ? write_data[1:0] : 2'd0)) |",
        "irq <= set_irq ? irq & ~write_data[1:0] : irq |",
    ),
    Broken("an interrupt is not masked", REGISTERS, "|(irq & irq_enable)", "|irq"),
    Broken(
        "test mode under an image",
        REGISTERS,
        "may_test = TEST != 0 && at_rest;",
        "may_test = TEST != 0 && !enable;",
    ),
)
OF_LOGITS = (
    Broken(
        "tvalid drops",
        LOGITS,
        "else if (beat) m_axis_tvalid <= 1'b0;",
        "else m_axis_tvalid <= 1'b0;",
    ),
    Broken(
        "a beat is overwritten",
        LOGITS,
        "wire load = sending && (!m_axis_tvalid || m_axis_tready);",
        "wire load = sending;",
    ),
    Broken("a beat comes twice", LOGITS, "next <= next + 1'b1;", "next <= next;"),
    Broken("the higher of equals", LOGITS, "take_class < best_class", "take_class > best_class"),
    Broken("it never begins", LOGITS, "sending <= 1'b1;", "sending <= 1'b0;"),
    Broken(
        "every answer a packet",
        LOGITS,
        "m_axis_tlast = answer_end && closing",
        "m_axis_tlast = answer_end",
    ),
    Broken("tlast moves", LOGITS, "answer_end && closing", "answer_end && close"),
)
OF_PACKET = (
    Broken(
        "one too many",
        PACKET,
        "others = images == 16'd0 ? 16'd0 : images - 16'd1;",
        "others = images;",
    ),
    Broken("none is none", PACKET, "images == 16'd0 ? 16'd0 : images - 16'd1;", "images - 16'd1;"),
    Broken("a restart is not heard", PACKET, "if (clear || set)", "if (set)"),
    Broken("a new size is not heard", PACKET, "if (clear || set)", "if (clear)"),
)
OF_DRAIN = (
    Broken("an accumulator is lost", DRAIN, "else if (take && pe_end)", "else if (pe_end)"),
    Broken("taken while held back", DRAIN, "take = full && enable;", "take = full;"),
    Broken("captured over", DRAIN, "assign free = !full ||", "assign free = 1'b1 ||"),
    Broken("the wrong end", DRAIN, "pe_end && column_end && pass ==", "pe_end && pass =="),
)
OF_DRAIN_WHOLE = (
    Broken("other lanes are left out", DRAIN, "whole ? ALL_LESS_1", "whole && 1'b0 ? ALL_LESS_1"),
    Broken("captured over, walked as a whole", DRAIN, "&& take && !whole", "&& take"),
)
OF_RESULTS = (
    Broken("a queue runs over", RESULTS, "(1 << DEPTH_BITS) - 3;", "(1 << DEPTH_BITS);"),
    Broken("a result is lost", RESULTS, "if (go[n]) get <=", "if (held[n]) get <="),
    Broken(
        "two lanes have one bank",
        RESULTS,
        "blocked[(n-1)*BANKS +: BANKS] | banks[(n-1)*BANKS +: BANKS];",
        "blocked[(n-1)*BANKS +: BANKS];",
    ),
    Broken(
        "it never is ready again", RESULTS, "ready <= !(|near_full);", "ready <= !(|held) && ready;"
    ),
    Broken("empty too early", RESULTS, "held[n] || in_valid[n];", "held[n];"),
)
OF_STEPS = (
    Broken(
        "beats without weights",
        STEPS,
        "act_ready = running && !loading && ready;",
        "act_ready = running && ready;",
    ),
    Broken(
        "a layer ends early",
        STEPS,
        "else if (pass_done && pass_end) running",
        "else if (pass_done) running",
    ),
    Broken(
        "it never loads again", STEPS, "        loading <= external;\n      end\n", "      end\n"
    ),
)
OF_ACTIVATIONS = (
    Broken("words do not wait", ACTIVATIONS, "wire move = !valid || ready;", "wire move = 1'b1;"),
    Broken("it waits for ready", ACTIVATIONS, "wire move = !valid || ready;", "wire move = ready;"),
    Broken("a word is withdrawn", GATHER, "end else if (move) begin", "end else begin"),
    Broken("a word too many", GATHER, "valid_3 && last_3;", "valid_3;"),
)
OF_POOL_MERGE = (
    Broken("the write before is not seen", POOL_MERGE, "again ? written :", "1'b0 ? written :"),
    Broken("a code that begins is merged", POOL_MERGE, "(begins || (code", "((code"),
    Broken("all codes are unsigned", POOL_MERGE, "{code_signed, {", "{1'b0, {"),
    Broken(
        "again, whatever was written",
        POOL_MERGE,
        "again <= write_enable[b]\n          &&",
        "again <=",
    ),
)
OF_POOL_PLACE = (
    Broken("a line does not end", POOL_PLACE, "line_end || across ? NONE", "across ? NONE"),
    Broken("a window for each line", POOL_PLACE, "line_end && down ? line +", "line_end ? line +"),
    Broken(
        "cut windows are written",
        POOL_PLACE,
        "< windows_wide && window_y_now",
        "<= windows_wide && window_y_now",
    ),
    Broken(
        "passes go on", POOL_PLACE, "base = origin ? {ELEMENT_BITS{1'b0}} : !step", "base = !step"
    ),
)
OF_PAIR = (
    Broken(
        "what the low product borrowed is not given back",
        PAIR,
        "assign high = both[2*SPACING-1:SPACING] + {{(SPACING-1){1'b0}}, both[SPACING-1]};",
        "assign high = both[2*SPACING-1:SPACING];",
    ),
    Broken(
        "a negative low weight is not taken off",
        PAIR,
        "- {{WEIGHT_BITS{1'b0}}, below};",
        "- {(WEIGHT_BITS+1){1'b0}};",
    ),
    Broken(
        "no sign between", PAIR, "{(SPACING-WEIGHT_BITS){below}}", "{(SPACING-WEIGHT_BITS){1'b0}}"
    ),
    Broken(
        "it moves while it stands", PAIR, ".enable(enable), .in(now)", ".enable(1'b1), .in(now)"
    ),
)
OF_PAIR_APART = (
    Broken(
        "one activation for both", PAIR, "packed_weights * act_high", "packed_weights * act_low"
    ),
    Broken("given back by the other", PAIR, "own[SPACING-1]};", "both[SPACING-1]};"),
)
OF_RESTART = (
    Broken(
        "a restart cuts an answer",
        SEQUENCER,
        "((restart || restarting) && !answering);",
        "(restart || restarting);",
    ),
    Broken(
        "a restart is forgotten",
        SEQUENCER,
        "restarting <= (restart || restarting) && answering;",
        "restarting <= 1'b0;",
    ),
    Broken("an answer is sent after all", SEQUENCER, "state == SEND && !clear;", "state == SEND;"),
    Broken("a beat is lost", SEQUENCER, "image_ready = !clear\n    && (", "image_ready = ("),
    Broken(
        "a restart cuts the answers of a test",
        SEQUENCER,
        "send || (single && start && !clear) ||",
        "send ||",
    ),
    Broken("a test ends before all is out", SEQUENCER, "single ? drained &&", "single ? 1'b1 &&"),
)
OF_RESTART_BATCH = (
    Broken(
        "an image begins in the middle of a batch alone",
        SEQUENCER,
        "beat_first && own == NO_IMAGE);",
        "beat_first);",
    ),
    Broken(
        "a restart goes on in the batch",
        SEQUENCER,
        "if (clear || (passed && batch_end)) begin",
        "if (passed && batch_end) begin",
    ),
)

PROOFS = (
    Proof("registers", (REGISTERS,), 2, 10, OF_REGISTERS),
    Proof("logits", (LOGITS,), 2, 14, OF_LOGITS),
    Proof("packet", (PACKET,), 1, 8, OF_PACKET),
    Proof("drain", (DRAIN,), 2, 20, OF_DRAIN),
    Proof("drain_lanes", (DRAIN,), 2, 14, (), {"PE": 1, "OTHERS": 3}, "drain"),
    Proof(
        "drain_whole",
        (DRAIN,),
        2,
        26,
        OF_DRAIN_WHOLE,
        {"PE": 1, "OTHERS": 3, "WHOLE": 1},
        "drain",
    ),
    Proof("results", (RESULTS,), 9, 14, OF_RESULTS),
    Proof("steps", (STEPS,), 1, 20, OF_STEPS),
    Proof("steps_held", (STEPS,), 1, 20, (), {"HOLD_WEIGHTS": 1}, "steps"),
    Proof(
        "activations",
        (ACTIVATIONS, *(f"core/has_{name}.v" for name in WALKS)),
        2,
        16,
        OF_ACTIVATIONS,
    ),
    Proof("pool_merge", (POOL_MERGE,), 2, 8, OF_POOL_MERGE),
    Proof("pool_place", (POOL_PLACE,), 2, 18, OF_POOL_PLACE),
    Proof("multiplier_pair", (PAIR, "has_delay.v"), 1, 4, OF_PAIR),
    Proof(
        "multiplier_pair_apart",
        (PAIR, "has_delay.v"),
        1,
        4,
        OF_PAIR_APART,
        {"APART": 1},
        "multiplier_pair",
    ),
    Proof("restart", (SEQUENCER, LOGITS), 8, 22, OF_RESTART),
    Proof(
        "restart_batch", (SEQUENCER, LOGITS), 8, 34, OF_RESTART_BATCH, wrapper="restart", batch=2
    ),
)
