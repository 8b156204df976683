// has_shift: v / 2^shift rounded half to even, then clamped to low..high: all integer.
// Four enabled cycles, one result a cycle: shift, which way to round, round, clamp.
// V_BITS: bits of v, two's complement. CODE_BITS: bits of code; low and high have one bit more, so
// that they are two's complement whatever the signedness of the code.
// SHIFT_BITS: bits of shift; shift is at most V_BITS.
// shift, low and high stand still while a layer runs.
`default_nettype none

module has_shift #(
  parameter V_BITS = 25,    // bits
  parameter CODE_BITS = 8,  // bits
  parameter SHIFT_BITS = 5  // bits
) (
  input  wire                  clk,
  input  wire                  enable,
  input  wire [V_BITS-1:0]     v,
  input  wire [SHIFT_BITS-1:0] shift,
  input  wire [CODE_BITS:0]    low,
  input  wire [CODE_BITS:0]    high,
  output reg  [CODE_BITS-1:0]  code
);

  localparam WIDTH = (V_BITS > CODE_BITS + 1 ? V_BITS : CODE_BITS + 1) + 1;

  localparam [WIDTH-1:0] ONES = {WIDTH{1'b1}};
  localparam [WIDTH-1:0] ONE = {{(WIDTH-1){1'b0}}, 1'b1};

  wire signed [WIDTH-1:0] value = {{(WIDTH-V_BITS){v[V_BITS-1]}}, v};
  wire [WIDTH-1:0] half = (ONE << shift) >> 1;
  reg signed [WIDTH-1:0] quotient, quotient_held;
  reg [WIDTH-1:0] rest;
  wire odd = quotient[0] && shift != {SHIFT_BITS{1'b0}};
  reg up;

  wire signed [WIDTH-1:0] least = {{(WIDTH-CODE_BITS-1){low[CODE_BITS]}}, low};
  wire signed [WIDTH-1:0] most = {{(WIDTH-CODE_BITS-1){high[CODE_BITS]}}, high};
  reg signed [WIDTH-1:0] rounded;
  /* verilator lint_off UNUSEDSIGNAL */  // the bits above the code's say nothing after the clamp
  wire [WIDTH-1:0] clamped = (rounded < least) ? least : (rounded > most) ? most : rounded;
  /* verilator lint_on UNUSEDSIGNAL */

  always @(posedge clk) begin
    if (enable) begin
      quotient <= value >>> shift;
      rest <= value & ~(ONES << shift);
      up <= (rest > half) || (rest == half && odd);
      quotient_held <= quotient;
      rounded <= up ? quotient_held + ONE : quotient_held;
      code <= clamped[CODE_BITS-1:0];
    end
  end

endmodule

`default_nettype wire
