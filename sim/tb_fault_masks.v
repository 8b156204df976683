// has_fault_masks for benches: the same ports, masks in registers that a bench writes at run time.
// Takes the place of the rendered module, so that one compiled array meets many fault profiles.
// PE is not read: the bench writes each instance by its path. Neutral until written.
// Simulation only.
// Parameters as has_array gives them to the rendered module.
`default_nettype none

module has_fault_masks #(
  /* verilator lint_off UNUSEDPARAM */  // the bench tells PEs apart by path
  parameter PE = 0,
  /* verilator lint_on UNUSEDPARAM */
  parameter SIMD = 8,         // multipliers
  parameter WEIGHT_BITS = 4,  // bits
  parameter ACT_BITS = 8,     // bits
  parameter ACC_BITS = 24     // bits
) (
  output reg [SIMD*WEIGHT_BITS-1:0]              weight_and,
  output reg [SIMD*WEIGHT_BITS-1:0]              weight_or,
  output reg [SIMD*WEIGHT_BITS-1:0]              weight_xor,
  output reg [SIMD*ACT_BITS-1:0]                 act_and,
  output reg [SIMD*ACT_BITS-1:0]                 act_or,
  output reg [SIMD*ACT_BITS-1:0]                 act_xor,
  output reg [SIMD*(WEIGHT_BITS+ACT_BITS+1)-1:0] product_and,
  output reg [SIMD*(WEIGHT_BITS+ACT_BITS+1)-1:0] product_or,
  output reg [SIMD*(WEIGHT_BITS+ACT_BITS+1)-1:0] product_xor,
  output reg [ACC_BITS-1:0]                      psum_and,
  output reg [ACC_BITS-1:0]                      psum_or,
  output reg [ACC_BITS-1:0]                      psum_xor
);

  initial begin
    weight_and = {SIMD*WEIGHT_BITS{1'b1}};
    weight_or = 0;
    weight_xor = 0;
    act_and = {SIMD*ACT_BITS{1'b1}};
    act_or = 0;
    act_xor = 0;
    product_and = {SIMD*(WEIGHT_BITS+ACT_BITS+1){1'b1}};
    product_or = 0;
    product_xor = 0;
    psum_and = {ACC_BITS{1'b1}};
    psum_or = 0;
    psum_xor = 0;
  end

endmodule

`default_nettype wire
