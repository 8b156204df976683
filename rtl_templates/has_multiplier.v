// has_multiplier: weight * act, exact. REGISTER = 1: one enabled clock cycle later, with a register
// inside. USE_DSP "yes": the register follows the product, where a DSP block has its own; "no": the
// weight's halves are multiplied apart and added after the register, half the depth of logic.
// WEIGHT_BITS: bits of weight, two's complement. ACT_BITS: bits of an activation; act has one more,
// so that it is two's complement whatever the activation's signedness.
`default_nettype none

module has_multiplier #(
  parameter WEIGHT_BITS = 4,  // bits
  parameter ACT_BITS = 8,     // bits
  parameter REGISTER = 0,     // 0 = combinational
  parameter USE_DSP = "yes"   // also Vivado's attribute: "no" = multipliers in logic
) (
  input  wire                                 clk,
  input  wire                                 enable,
  input  wire signed [WEIGHT_BITS-1:0]        weight,
  input  wire signed [ACT_BITS:0]             act,
  output wire signed [WEIGHT_BITS+ACT_BITS:0] product
);

  localparam PRODUCT_BITS = WEIGHT_BITS + ACT_BITS + 1;
  localparam LOW = WEIGHT_BITS / 2;  // bits of the weight's lower half, which has no sign
  localparam HIGH = WEIGHT_BITS - LOW;

  generate
    if (REGISTER == 0 || USE_DSP != "no" || LOW == 0) begin : g_whole
      (* use_dsp = USE_DSP *) wire signed [PRODUCT_BITS-1:0] now;
      assign now = weight * act;
      has_delay #(.WIDTH(PRODUCT_BITS), .DEPTH(REGISTER)) register (
        .clk(clk), .enable(enable), .in(now), .out(product)
      );
    end else begin : g_halves
      wire signed [LOW:0] weight_low = {1'b0, weight[LOW-1:0]};
      wire signed [HIGH-1:0] weight_high = weight[WEIGHT_BITS-1:LOW];
      (* use_dsp = "no" *) wire signed [LOW+ACT_BITS:0] low;
      (* use_dsp = "no" *) wire signed [HIGH+ACT_BITS:0] high;
      assign low = weight_low * act;
      assign high = weight_high * act;
      wire signed [LOW+ACT_BITS:0] low_held;
      wire signed [HIGH+ACT_BITS:0] high_held;
      has_delay #(.WIDTH(LOW+ACT_BITS+1)) low_register (
        .clk(clk), .enable(enable), .in(low), .out(low_held)
      );
      has_delay #(.WIDTH(HIGH+ACT_BITS+1)) high_register (
        .clk(clk), .enable(enable), .in(high), .out(high_held)
      );
      // the lowest bits have nothing to be added to
      wire signed [HIGH+ACT_BITS:0] carried =
        {{HIGH{low_held[LOW+ACT_BITS]}}, low_held[LOW+ACT_BITS:LOW]};
      assign product = {high_held + carried, low_held[LOW-1:0]};
    end
  endgenerate

endmodule

`default_nettype wire
