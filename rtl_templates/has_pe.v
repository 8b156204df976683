// has_pe: one output-stationary processing element: SIMD multipliers, adder tree, accumulator.
//   acc = F_psum((first ? 0 : acc) + sum over s of F_product(F_weight(w_s) * F_act(a_s)))
// accumulate and first belong to the operands PIPELINE enabled cycles earlier; enable = 0 holds all.
// PIPELINE: 0 none, 1 registers after the multipliers, 2 also after the adder tree (the accumulator
// loop then holds one addition), 3 also before the multipliers. Registers never change a value.
`default_nettype none

module has_pe #(
  parameter SIMD = 8,         // multipliers
  parameter WEIGHT_BITS = 4,  // bits, two's complement
  parameter ACT_BITS = 8,     // bits, signedness at run time
  parameter ACC_BITS = 24,    // bits, two's complement, wraps
  parameter PIPELINE = 2,     // register stages, 0 to 3
  parameter USE_DSP = 1,
  parameter FAULT_SITES = 0   // 1 = the masks act; 0 = they are not read
) (
  input  wire                                     clk,
  input  wire                                     enable,
  input  wire [SIMD*WEIGHT_BITS-1:0]              weight,
  input  wire [SIMD*ACT_BITS-1:0]                 act,
  input  wire                                     act_signed,
  input  wire                                     accumulate,
  input  wire                                     first,
  /* verilator lint_off UNUSEDSIGNAL */  // FAULT_SITES = 0 leaves the masks unread
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
  /* verilator lint_on UNUSEDSIGNAL */
  output reg  [ACC_BITS-1:0]                      acc
);

  localparam PRODUCT_BITS = WEIGHT_BITS + ACT_BITS + 1;
  localparam OPERAND_REGISTERS = (PIPELINE > 2) ? 1 : 0;
  localparam PRODUCT_REGISTERS = (PIPELINE > 0) ? 1 : 0;
  localparam SUM_REGISTERS = (PIPELINE > 1) ? 1 : 0;

  wire [SIMD*WEIGHT_BITS-1:0]  w, w_met;
  wire [SIMD*ACT_BITS-1:0]     a, a_met;
  wire [SIMD*PRODUCT_BITS-1:0] m, m_met, m_held;
  wire [ACC_BITS-1:0]          sum, sum_held, next, next_met;

  has_delay #(.WIDTH(SIMD*WEIGHT_BITS), .DEPTH(OPERAND_REGISTERS)) weight_register (
    .clk(clk), .enable(enable), .in(w_met), .out(w)
  );
  has_delay #(.WIDTH(SIMD*ACT_BITS), .DEPTH(OPERAND_REGISTERS)) act_register (
    .clk(clk), .enable(enable), .in(a_met), .out(a)
  );

  genvar s;
  generate
    for (s = 0; s < SIMD; s = s + 1) begin : g_simd
      has_multiplier #(
        .WEIGHT_BITS(WEIGHT_BITS), .ACT_BITS(ACT_BITS), .USE_DSP(USE_DSP)
      ) multiplier (
        .weight(w[s*WEIGHT_BITS +: WEIGHT_BITS]), .act(a[s*ACT_BITS +: ACT_BITS]),
        .act_signed(act_signed), .product(m[s*PRODUCT_BITS +: PRODUCT_BITS])
      );
    end
  endgenerate

  has_delay #(.WIDTH(SIMD*PRODUCT_BITS), .DEPTH(PRODUCT_REGISTERS)) product_register (
    .clk(clk), .enable(enable), .in(m_met), .out(m_held)
  );
  has_adder_tree #(.COUNT(SIMD), .WIDTH(PRODUCT_BITS), .SUM_BITS(ACC_BITS)) tree (
    .words(m_held), .sum(sum)
  );
  has_delay #(.WIDTH(ACC_BITS), .DEPTH(SUM_REGISTERS)) sum_register (
    .clk(clk), .enable(enable), .in(sum), .out(sum_held)
  );

  assign next = (first ? {ACC_BITS{1'b0}} : acc) + sum_held;
  always @(posedge clk) if (enable && accumulate) acc <= next_met;

  generate
    if (FAULT_SITES != 0) begin : g_faults
      has_fault #(.WIDTH(SIMD*WEIGHT_BITS)) weight_fault (
        .value(weight), .mask_and(weight_and), .mask_or(weight_or), .mask_xor(weight_xor),
        .faulty(w_met)
      );
      has_fault #(.WIDTH(SIMD*ACT_BITS)) act_fault (
        .value(act), .mask_and(act_and), .mask_or(act_or), .mask_xor(act_xor), .faulty(a_met)
      );
      has_fault #(.WIDTH(SIMD*PRODUCT_BITS)) product_fault (
        .value(m), .mask_and(product_and), .mask_or(product_or), .mask_xor(product_xor),
        .faulty(m_met)
      );
      has_fault #(.WIDTH(ACC_BITS)) psum_fault (
        .value(next), .mask_and(psum_and), .mask_or(psum_or), .mask_xor(psum_xor),
        .faulty(next_met)
      );
    end else begin : g_healthy
      assign w_met = weight;
      assign a_met = act;
      assign m_met = m;
      assign next_met = next;
    end
  endgenerate

endmodule

`default_nettype wire
