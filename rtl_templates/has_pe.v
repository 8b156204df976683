// has_pe: one output-stationary processing element: SIMD multipliers, adder tree, accumulator.
//   acc = F_psum((first ? preload : acc) + sum over s of F_product(F_weight(w_s) * F_act(a_s)))
// accumulate and first belong to the operands PIPELINE enabled cycles earlier; enable = 0 holds it.
// PIPELINE: 0 none, 1 registers after the multipliers, 2 also after the adder tree (the accumulator
// loop then holds one addition), 3 also before the multipliers, 4 also in them, 5 also in the tree.
// Registers never change a value. Masks come with the operands they act on; xor masks, which may
// change from step to step, travel down the pipeline with them. OUTSIDE = 1: the multipliers are
// outside, as has_product has it.
`default_nettype none

module has_pe #(
  parameter SIMD = 8,         // multipliers
  parameter WEIGHT_BITS = 4,  // bits, two's complement
  parameter ACT_BITS = 8,     // bits, signedness at run time
  parameter ACC_BITS = 24,    // bits, two's complement, wraps
  parameter PIPELINE = 4,     // register stages, 0 to 5
  parameter USE_DSP = "yes",  // "no" = multipliers in logic
  parameter FAULT_SITES = 0,  // 1 = the masks act; 0 = they are not read
  parameter PRELOAD = 0,      // 1 = the accumulator starts from preload; 0 = from 0
  parameter OUTSIDE = 0       // 1 = the multipliers are outside
) (
  input  wire                                     clk,
  input  wire                                     enable,
  input  wire [SIMD*WEIGHT_BITS-1:0]              weight,
  input  wire [SIMD*ACT_BITS-1:0]                 act,
  input  wire                                     act_signed,
  input  wire                                     accumulate,
  input  wire                                     first,
  /* verilator lint_off UNUSEDSIGNAL */  // PRELOAD = 0 leaves it unread
  input  wire [ACC_BITS-1:0]                      preload,  // comes with first
  // FAULT_SITES = 0 leaves the masks unread
  input  wire [SIMD*WEIGHT_BITS-1:0]              weight_and,
  input  wire [SIMD*WEIGHT_BITS-1:0]              weight_or,
  input  wire [SIMD*WEIGHT_BITS-1:0]              weight_xor,
  input  wire [SIMD*ACT_BITS-1:0]                 act_and,
  input  wire [SIMD*ACT_BITS-1:0]                 act_or,
  input  wire [SIMD*ACT_BITS-1:0]                 act_xor,
  input  wire [SIMD*(WEIGHT_BITS+ACT_BITS+1)-1:0] product_and,
  input  wire [SIMD*(WEIGHT_BITS+ACT_BITS+1)-1:0] product_or,
  input  wire [SIMD*(WEIGHT_BITS+ACT_BITS+1)-1:0] product_xor,
  input  wire [ACC_BITS-1:0]                      psum_and,
  input  wire [ACC_BITS-1:0]                      psum_or,
  input  wire [ACC_BITS-1:0]                      psum_xor,
  input  wire [SIMD*(WEIGHT_BITS+ACT_BITS+1)-1:0] multiplied,  // OUTSIDE = 0 leaves it unread
  /* verilator lint_on UNUSEDSIGNAL */
  output wire [SIMD*WEIGHT_BITS-1:0]              factor_weight,
  output wire [SIMD*(ACT_BITS+1)-1:0]             factor_act,
  output reg  [ACC_BITS-1:0]                      acc
);

  localparam PRODUCT_BITS = WEIGHT_BITS + ACT_BITS + 1;
  localparam LEVELS = $clog2(SIMD + 1) - 1;    // of the adder tree that all products pass
  localparam CUT = (1 << (LEVELS / 2)) - 1;    // first node of the level that stage 5 registers

  wire [SIMD*WEIGHT_BITS-1:0] weight_met;
  wire [SIMD*ACT_BITS-1:0]    act_met;
  wire [ACC_BITS-1:0]         sum, sum_held, next, next_met;

  genvar s;
  generate
    for (s = 0; s < SIMD; s = s + 1) begin : g_simd
      /* verilator lint_off UNUSEDSIGNAL */  // a narrow accumulator never sees the top bit
      wire signed [PRODUCT_BITS-1:0] product;
      /* verilator lint_on UNUSEDSIGNAL */

      has_product #(
        .WEIGHT_BITS(WEIGHT_BITS), .ACT_BITS(ACT_BITS), .DELAY(PIPELINE > 2 ? 1 : 0),
        .PIPELINE(PIPELINE), .USE_DSP(USE_DSP), .FAULT_SITES(FAULT_SITES), .OUTSIDE(OUTSIDE)
      ) multiply (
        .clk(clk), .enable(enable), .weight(weight_met[s*WEIGHT_BITS +: WEIGHT_BITS]),
        .act(act_met[s*ACT_BITS +: ACT_BITS]), .act_signed(act_signed),
        .mask_and(product_and[s*PRODUCT_BITS +: PRODUCT_BITS]),
        .mask_or(product_or[s*PRODUCT_BITS +: PRODUCT_BITS]),
        .mask_xor(product_xor[s*PRODUCT_BITS +: PRODUCT_BITS]),
        .multiplied(multiplied[s*PRODUCT_BITS +: PRODUCT_BITS]),
        .factor_weight(factor_weight[s*WEIGHT_BITS +: WEIGHT_BITS]),
        .factor_act(factor_act[s*(ACT_BITS+1) +: ACT_BITS+1]), .product(product)
      );
    end

    /* verilator lint_off WIDTHEXPAND */  // products are sign-extended to ACC_BITS, or cut to it
    /* verilator lint_off WIDTHTRUNC */
    // a heap: node i adds nodes 2i + 1 and 2i + 2; from SIMD - 1 on the nodes are the products
    for (s = 0; s < SIMD - 1; s = s + 1) begin : g_node
      wire signed [ACC_BITS-1:0] left, right, both;
      has_delay #(
        .WIDTH(ACC_BITS), .DEPTH(PIPELINE > 4 && s >= CUT && s <= 2 * CUT ? 1 : 0)
      ) node_register (
        .clk(clk), .enable(enable), .in(left + right), .out(both)
      );
      if (2 * s + 1 < SIMD - 1) begin : g_left
        assign left = g_node[2*s+1].both;
      end else begin : g_left_product
        assign left = g_simd[2*s+2-SIMD].product;
      end
      if (2 * s + 2 < SIMD - 1) begin : g_right
        assign right = g_node[2*s+2].both;
      end else begin : g_right_product
        assign right = g_simd[2*s+3-SIMD].product;
      end
    end
    if (SIMD > 1) begin : g_sum
      assign sum = g_node[0].both;
    end else begin : g_one
      wire signed [ACC_BITS-1:0] wide = g_simd[0].product;
      has_delay #(.WIDTH(ACC_BITS), .DEPTH(PIPELINE > 4 ? 1 : 0)) one_register (
        .clk(clk), .enable(enable), .in(wide), .out(sum)
      );
    end
    /* verilator lint_on WIDTHTRUNC */
    /* verilator lint_on WIDTHEXPAND */
  endgenerate

  has_delay #(.WIDTH(ACC_BITS), .DEPTH(PIPELINE > 1 ? 1 : 0)) sum_register (
    .clk(clk), .enable(enable), .in(sum), .out(sum_held)
  );

  wire [ACC_BITS-1:0] begins = PRELOAD != 0 ? preload : {ACC_BITS{1'b0}};

  assign next = (first ? begins : acc) + sum_held;
  always @(posedge clk) if (enable && accumulate) acc <= next_met;

  generate
    if (FAULT_SITES != 0) begin : g_faults
      wire [ACC_BITS-1:0] xor_held;
      has_delay #(.WIDTH(ACC_BITS), .DEPTH(PIPELINE)) xor_register (
        .clk(clk), .enable(enable), .in(psum_xor), .out(xor_held)
      );
      has_fault #(.WIDTH(SIMD*WEIGHT_BITS)) weight_fault (
        .value(weight), .mask_and(weight_and), .mask_or(weight_or), .mask_xor(weight_xor),
        .faulty(weight_met)
      );
      has_fault #(.WIDTH(SIMD*ACT_BITS)) act_fault (
        .value(act), .mask_and(act_and), .mask_or(act_or), .mask_xor(act_xor), .faulty(act_met)
      );
      has_fault #(.WIDTH(ACC_BITS)) psum_fault (
        .value(next), .mask_and(psum_and), .mask_or(psum_or), .mask_xor(xor_held),
        .faulty(next_met)
      );
    end else begin : g_healthy
      assign weight_met = weight;
      assign act_met = act;
      assign next_met = next;
    end
  endgenerate

endmodule

`default_nettype wire
