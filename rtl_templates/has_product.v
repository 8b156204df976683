// has_product: one multiplier of a PE with the pipeline around it and the faults of its product.
//   product = F(weight * act), DELAY + min(PIPELINE, 1) + (PIPELINE > 3) enabled cycles later
// The operands wait DELAY cycles before the multiplier; act_signed holds still for a whole layer.
// Masks come with the operands; the xor mask, which may change from step to step, travels down the
// pipeline with them. OUTSIDE = 1: what is multiplied leaves as factor_*, and its product comes in
// as multiplied, where PIPELINE > 3 a cycle later.
`default_nettype none

module has_product #(
  parameter WEIGHT_BITS = 4,  // bits, two's complement
  parameter ACT_BITS = 8,     // bits, signedness at run time
  parameter DELAY = 1,        // enabled cycles
  parameter PIPELINE = 4,     // register stages of the PE, 0 to 5
  parameter USE_DSP = "yes",  // "no" = multipliers in logic
  parameter FAULT_SITES = 0,  // 1 = the masks act; 0 = they are not read
  parameter OUTSIDE = 0       // 1 = the multiplier is outside, shared with another PE
) (
  input  wire                            clk,
  input  wire                            enable,
  input  wire [WEIGHT_BITS-1:0]          weight,
  input  wire [ACT_BITS-1:0]             act,
  input  wire                            act_signed,
  /* verilator lint_off UNUSEDSIGNAL */  // FAULT_SITES = 0 leaves the masks unread
  input  wire [WEIGHT_BITS+ACT_BITS:0]   mask_and,
  input  wire [WEIGHT_BITS+ACT_BITS:0]   mask_or,
  input  wire [WEIGHT_BITS+ACT_BITS:0]   mask_xor,
  input  wire [WEIGHT_BITS+ACT_BITS:0]   multiplied,  // OUTSIDE = 0 leaves it unread
  /* verilator lint_on UNUSEDSIGNAL */
  output wire [WEIGHT_BITS-1:0]          factor_weight,
  output wire [ACT_BITS:0]               factor_act,
  output wire [WEIGHT_BITS+ACT_BITS:0]   product
);

  localparam BITS = WEIGHT_BITS + ACT_BITS + 1;
  localparam REGISTER = PIPELINE > 3 ? 1 : 0;  // in the multiplier

  wire [WEIGHT_BITS-1:0] weight_held;
  wire [ACT_BITS-1:0] act_held;
  wire signed [WEIGHT_BITS-1:0] w = weight_held;
  wire signed [ACT_BITS:0] a = {act_signed & act_held[ACT_BITS-1], act_held};
  wire signed [BITS-1:0] m;
  wire [BITS-1:0] met;

  has_delay #(.WIDTH(WEIGHT_BITS), .DEPTH(DELAY)) weight_delay (
    .clk(clk), .enable(enable), .in(weight), .out(weight_held)
  );
  has_delay #(.WIDTH(ACT_BITS), .DEPTH(DELAY)) act_delay (
    .clk(clk), .enable(enable), .in(act), .out(act_held)
  );
  assign factor_weight = w;
  assign factor_act = a;
  has_delay #(.WIDTH(BITS), .DEPTH(PIPELINE > 0 ? 1 : 0)) product_register (
    .clk(clk), .enable(enable), .in(met), .out(product)
  );

  generate
    if (OUTSIDE != 0) begin : g_outside
      assign m = multiplied;
    end else begin : g_inside
      has_multiplier #(
        .WEIGHT_BITS(WEIGHT_BITS), .ACT_BITS(ACT_BITS), .REGISTER(REGISTER), .USE_DSP(USE_DSP)
      ) multiplier (
        .clk(clk), .enable(enable), .weight(w), .act(a), .product(m)
      );
    end
    if (FAULT_SITES != 0) begin : g_faulty
      wire [BITS-1:0] xor_held;
      has_delay #(.WIDTH(BITS), .DEPTH(DELAY + REGISTER)) xor_delay (
        .clk(clk), .enable(enable), .in(mask_xor), .out(xor_held)
      );
      has_fault #(.WIDTH(BITS)) fault (
        .value(m), .mask_and(mask_and), .mask_or(mask_or), .mask_xor(xor_held), .faulty(met)
      );
    end else begin : g_healthy
      assign met = m;
    end
  endgenerate

endmodule

`default_nettype wire
