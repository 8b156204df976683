// has_pe_ws: one weight-stationary processing element: a column of SIMD multiply-add cells.
//   a_s = F_act(a_s of the PE before), q = F_psum(q + F_product(F_weight(w_s) * a_s)), s = 0, 1, ..
//   acc = F_acc((first ? preload : acc) + q of the last cell)
// accumulate and first belong to the operands LATENCY enabled cycles earlier; enable = 0 holds it.
// PIPELINE: 0 none, 1 registers after the multipliers, 2 also after each cell's addition (each cell
// then works a cycle later than the one above), 3 also before the multipliers, 4 also in them; 5 is
// as 4, for there is no tree. Masks come with the operands they act on; xor masks travel down the
// pipeline with them.
`default_nettype none

module has_pe_ws #(
  parameter SIMD = 8,         // cells
  parameter WEIGHT_BITS = 4,  // bits, two's complement
  parameter ACT_BITS = 8,     // bits, signedness at run time
  parameter ACC_BITS = 24,    // bits, two's complement, wraps
  parameter PIPELINE = 4,     // register stages, 0 to 5
  parameter USE_DSP = "yes",  // "no" = multipliers in logic
  parameter FAULT_SITES = 0,  // 1 = the masks act; 0 = they are not read
  parameter PRELOAD = 0       // 1 = the accumulator starts from preload; 0 = from 0
) (
  input  wire                                     clk,
  input  wire                                     enable,
  input  wire [SIMD*WEIGHT_BITS-1:0]              weight,
  input  wire [SIMD*ACT_BITS-1:0]                 act,
  output wire [SIMD*ACT_BITS-1:0]                 act_met,  // for the next PE, faults included
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
  input  wire [SIMD*ACC_BITS-1:0]                 psum_and,
  input  wire [SIMD*ACC_BITS-1:0]                 psum_or,
  input  wire [SIMD*ACC_BITS-1:0]                 psum_xor,
  input  wire [ACC_BITS-1:0]                      acc_and,
  input  wire [ACC_BITS-1:0]                      acc_or,
  input  wire [ACC_BITS-1:0]                      acc_xor,
  /* verilator lint_on UNUSEDSIGNAL */
  output reg  [ACC_BITS-1:0]                      acc
);

  localparam PRODUCT_BITS = WEIGHT_BITS + ACT_BITS + 1;

  wire [SIMD*WEIGHT_BITS-1:0] weight_met;
  wire [ACC_BITS-1:0]         next, next_met;

  genvar s;
  generate
    for (s = 0; s < SIMD; s = s + 1) begin : g_cell
      localparam SKEW = (PIPELINE > 1 ? s : 0) + (PIPELINE > 2 ? 1 : 0);
      localparam READY = SKEW + (PIPELINE > 3 ? 1 : 0) + (PIPELINE > 0 ? 1 : 0);  // of the product
      /* verilator lint_off UNUSEDSIGNAL */  // a narrow accumulator never sees the top bit
      wire signed [PRODUCT_BITS-1:0] product;
      /* verilator lint_on UNUSEDSIGNAL */
      wire [ACC_BITS-1:0] above, sum, sum_met, q;

      /* verilator lint_off UNUSEDSIGNAL */  // the multiplier is inside
      wire [WEIGHT_BITS-1:0] factor_weight;
      wire [ACT_BITS:0] factor_act;
      /* verilator lint_on UNUSEDSIGNAL */
      has_product #(
        .WEIGHT_BITS(WEIGHT_BITS), .ACT_BITS(ACT_BITS), .DELAY(SKEW), .PIPELINE(PIPELINE),
        .USE_DSP(USE_DSP), .FAULT_SITES(FAULT_SITES)
      ) multiply (
        .clk(clk), .enable(enable), .weight(weight_met[s*WEIGHT_BITS +: WEIGHT_BITS]),
        .act(act_met[s*ACT_BITS +: ACT_BITS]), .act_signed(act_signed),
        .mask_and(product_and[s*PRODUCT_BITS +: PRODUCT_BITS]),
        .mask_or(product_or[s*PRODUCT_BITS +: PRODUCT_BITS]),
        .mask_xor(product_xor[s*PRODUCT_BITS +: PRODUCT_BITS]),
        .multiplied({PRODUCT_BITS{1'b0}}), .factor_weight(factor_weight), .factor_act(factor_act),
        .product(product)
      );

      if (s == 0) begin : g_top
        assign above = {ACC_BITS{1'b0}};
      end else begin : g_below
        assign above = g_cell[s-1].q;
      end

      /* verilator lint_off WIDTHEXPAND */  // products are sign-extended to ACC_BITS, or cut to it
      /* verilator lint_off WIDTHTRUNC */
      wire signed [ACC_BITS-1:0] wide = product;
      /* verilator lint_on WIDTHTRUNC */
      /* verilator lint_on WIDTHEXPAND */
      assign sum = above + wide;

      if (FAULT_SITES != 0) begin : g_faulty
        wire [ACC_BITS-1:0] psum_held;
        has_delay #(.WIDTH(ACC_BITS), .DEPTH(READY)) psum_delay (
          .clk(clk), .enable(enable), .in(psum_xor[s*ACC_BITS +: ACC_BITS]), .out(psum_held)
        );
        has_fault #(.WIDTH(ACC_BITS)) psum_fault (
          .value(sum), .mask_and(psum_and[s*ACC_BITS +: ACC_BITS]),
          .mask_or(psum_or[s*ACC_BITS +: ACC_BITS]), .mask_xor(psum_held), .faulty(sum_met)
        );
      end else begin : g_healthy
        assign sum_met = sum;
      end

      has_delay #(.WIDTH(ACC_BITS), .DEPTH(PIPELINE > 1 ? 1 : 0)) sum_register (
        .clk(clk), .enable(enable), .in(sum_met), .out(q)
      );
    end
  endgenerate

  wire [ACC_BITS-1:0] begins = PRELOAD != 0 ? preload : {ACC_BITS{1'b0}};

  assign next = (first ? begins : acc) + g_cell[SIMD-1].q;
  always @(posedge clk) if (enable && accumulate) acc <= next_met;

  generate
    if (FAULT_SITES != 0) begin : g_faults
      localparam STAGES = PIPELINE > 4 ? 4 : PIPELINE;
      localparam LATENCY = STAGES < 2 ? STAGES : STAGES - 1 + SIMD;
      wire [ACC_BITS-1:0] acc_held;
      has_delay #(.WIDTH(ACC_BITS), .DEPTH(LATENCY)) acc_delay (
        .clk(clk), .enable(enable), .in(acc_xor), .out(acc_held)
      );
      has_fault #(.WIDTH(SIMD*WEIGHT_BITS)) weight_fault (
        .value(weight), .mask_and(weight_and), .mask_or(weight_or), .mask_xor(weight_xor),
        .faulty(weight_met)
      );
      has_fault #(.WIDTH(SIMD*ACT_BITS)) act_fault (
        .value(act), .mask_and(act_and), .mask_or(act_or), .mask_xor(act_xor), .faulty(act_met)
      );
      has_fault #(.WIDTH(ACC_BITS)) acc_fault (
        .value(next), .mask_and(acc_and), .mask_or(acc_or), .mask_xor(acc_held), .faulty(next_met)
      );
    end else begin : g_healthy
      assign weight_met = weight;
      assign act_met = act;
      assign next_met = next;
    end
  endgenerate

endmodule

`default_nettype wire
