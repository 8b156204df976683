// has_rotate: lane i of the result is lane (i + by) mod LANES of the input.
// A barrel of BY_BITS stages of multiplexers; combinational.
// LANES: a power of two. WIDTH: bits of a lane.
// BY_BITS: bits of LANES - 1, at least 1.
`default_nettype none

module has_rotate #(
  parameter LANES = 8,   // lanes
  parameter WIDTH = 8,   // bits of a lane
  parameter BY_BITS = 3  // bits
) (
  input  wire [LANES*WIDTH-1:0] in,
  /* verilator lint_off UNUSEDSIGNAL */  // one lane has nowhere to go
  input  wire [BY_BITS-1:0]     by,
  /* verilator lint_on UNUSEDSIGNAL */
  output wire [LANES*WIDTH-1:0] out
);

  generate
    if (LANES == 1) begin : g_wire
      assign out = in;
    end else begin : g_barrel
      genvar i;
      for (i = 0; i < BY_BITS; i = i + 1) begin : g_stage
        wire [LANES*WIDTH-1:0] stage_in, stage_out;
        if (i == 0) begin : g_first
          assign stage_in = in;
        end else begin : g_next
          assign stage_in = g_stage[i-1].stage_out;
        end
        assign stage_out = by[i]
          ? {stage_in[(1<<i)*WIDTH-1:0], stage_in[LANES*WIDTH-1:(1<<i)*WIDTH]} : stage_in;
      end
      assign out = g_stage[BY_BITS-1].stage_out;
    end
  endgenerate

endmodule

`default_nettype wire
