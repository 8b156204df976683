// has_delay: a word, DEPTH enabled clock cycles later; DEPTH = 0 is a wire.
// Datapath: no reset, unknown until DEPTH words have passed.
// enable = 0 holds every stage, so that a stalled pipeline loses nothing.
// WIDTH: bits. DEPTH: cycles.
// Infers shift-register LUTs where the family has them.
`default_nettype none

module has_delay #(
  parameter WIDTH = 1,  // bits
  parameter DEPTH = 1   // cycles, 0 or more
) (
  /* verilator lint_off UNUSEDSIGNAL */  // a wire (DEPTH = 0) needs no clock
  input  wire             clk,
  input  wire             enable,
  /* verilator lint_on UNUSEDSIGNAL */
  input  wire [WIDTH-1:0] in,
  output wire [WIDTH-1:0] out
);

  generate
    if (DEPTH == 0) begin : g_wire
      assign out = in;
    end else if (DEPTH == 1) begin : g_register
      reg [WIDTH-1:0] stage;
      always @(posedge clk) if (enable) stage <= in;
      assign out = stage;
    end else begin : g_line
      reg [WIDTH*DEPTH-1:0] line;
      always @(posedge clk) if (enable) line <= {line[WIDTH*(DEPTH-1)-1:0], in};
      assign out = line[WIDTH*DEPTH-1 -: WIDTH];
    end
  endgenerate

endmodule

`default_nettype wire
