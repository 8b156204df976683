// has_multiplier_pair: two products with one activation by one multiplication, exact.
//   low = weight_low * act, high = weight_high * act; REGISTER = 1: one enabled clock cycle later
// The weights are packed SPACING bits apart, so wide that low fits below high: high comes one short
// where low is negative, and gets it back. A DSP48 multiplies 25 x 18 bits or more.
// SHARED = 0: each product has an activation of its own, and the packed multiplication is built
// twice: for simulated faults that part the activations of two PEs.
`default_nettype none

module has_multiplier_pair #(
  parameter WEIGHT_BITS = 4,  // bits, two's complement
  parameter ACT_BITS = 8,     // bits; act has one more, two's complement whatever its signedness
  parameter REGISTER = 0,     // 0 = combinational
  parameter SHARED = 1        // 0 = act_high may differ from act_low
) (
  input  wire                                 clk,
  input  wire                                 enable,
  input  wire signed [WEIGHT_BITS-1:0]        weight_low,
  input  wire signed [WEIGHT_BITS-1:0]        weight_high,
  input  wire signed [ACT_BITS:0]             act_low,
  /* verilator lint_off UNUSEDSIGNAL */       // SHARED = 1 leaves it unread
  input  wire signed [ACT_BITS:0]             act_high,
  /* verilator lint_on UNUSEDSIGNAL */
  output wire signed [WEIGHT_BITS+ACT_BITS:0] low,
  output wire signed [WEIGHT_BITS+ACT_BITS:0] high
);

  localparam SPACING = WEIGHT_BITS + ACT_BITS + 1;  // bits of a product

  // weight_high * 2^SPACING + weight_low
  wire below = weight_low[WEIGHT_BITS-1];
  wire signed [WEIGHT_BITS:0] upper =
    {weight_high[WEIGHT_BITS-1], weight_high} - {{WEIGHT_BITS{1'b0}}, below};
  wire signed [SPACING+WEIGHT_BITS:0] packed_weights =
    {upper, {(SPACING-WEIGHT_BITS){below}}, weight_low};

  (* use_dsp = "yes" *) wire signed [2*SPACING-1:0] now;
  /* verilator lint_off UNUSEDSIGNAL */  // SHARED = 0: the low product alone
  wire [2*SPACING-1:0] both;
  /* verilator lint_on UNUSEDSIGNAL */
  assign now = packed_weights * act_low;
  has_delay #(.WIDTH(2*SPACING), .DEPTH(REGISTER)) register (
    .clk(clk), .enable(enable), .in(now), .out(both)
  );
  assign low = both[SPACING-1:0];

  generate
    if (SHARED != 0) begin : g_shared
      assign high = both[2*SPACING-1:SPACING] + {{(SPACING-1){1'b0}}, both[SPACING-1]};
    end else begin : g_own
      (* use_dsp = "yes" *) wire signed [2*SPACING-1:0] own_now;
      /* verilator lint_off UNUSEDSIGNAL */  // of its low product the sign alone
      wire [2*SPACING-1:0] own;
      /* verilator lint_on UNUSEDSIGNAL */
      assign own_now = packed_weights * act_high;
      has_delay #(.WIDTH(2*SPACING), .DEPTH(REGISTER)) own_register (
        .clk(clk), .enable(enable), .in(own_now), .out(own)
      );
      assign high = own[2*SPACING-1:SPACING] + {{(SPACING-1){1'b0}}, own[SPACING-1]};
    end
  endgenerate

endmodule

`default_nettype wire
