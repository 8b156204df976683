// has_fault_masks for benches: the same ports, all faults in registers that a bench writes at run
// time, so that one compiled array meets many fault profiles. Masks of every site; WORDS faulty words
// of the weight bank by address; DRAWS transient faults. Neutral until written. Simulation only.
// PE is not read: the bench writes each instance by its path. The site of a draw: 0 wmem, 1 weight,
// 2 act, 3 product, 4 psum, 5 acc; its place is the multiplier.
`default_nettype none

module has_fault_masks #(
  /* verilator lint_off UNUSEDPARAM */  // the bench tells PEs apart by path
  parameter PE = 0,
  /* verilator lint_on UNUSEDPARAM */
  parameter SIMD = 8,         // multipliers
  parameter WEIGHT_BITS = 4,  // bits
  parameter ACT_BITS = 8,     // bits
  parameter ACC_BITS = 24,    // bits
  parameter PSUMS = 1,        // partial sums: 1, or SIMD where weights are stationary
  parameter WORDS = 8,
  parameter DRAWS = 4
) (
  input  wire [159:0]                             coordinates,
  output reg  [SIMD*WEIGHT_BITS-1:0]              wmem_and,
  output reg  [SIMD*WEIGHT_BITS-1:0]              wmem_or,
  output reg  [SIMD*WEIGHT_BITS-1:0]              wmem_xor,
  output wire [SIMD*WEIGHT_BITS-1:0]              weight_and,
  output wire [SIMD*WEIGHT_BITS-1:0]              weight_or,
  output reg  [SIMD*WEIGHT_BITS-1:0]              weight_xor,
  output wire [SIMD*ACT_BITS-1:0]                 act_and,
  output wire [SIMD*ACT_BITS-1:0]                 act_or,
  output reg  [SIMD*ACT_BITS-1:0]                 act_xor,
  output wire [SIMD*(WEIGHT_BITS+ACT_BITS+1)-1:0] product_and,
  output wire [SIMD*(WEIGHT_BITS+ACT_BITS+1)-1:0] product_or,
  output reg  [SIMD*(WEIGHT_BITS+ACT_BITS+1)-1:0] product_xor,
  output wire [PSUMS*ACC_BITS-1:0]                psum_and,
  output wire [PSUMS*ACC_BITS-1:0]                psum_or,
  output reg  [PSUMS*ACC_BITS-1:0]                psum_xor,
  output wire [ACC_BITS-1:0]                      acc_and,
  output wire [ACC_BITS-1:0]                      acc_or,
  output reg  [ACC_BITS-1:0]                      acc_xor
);

  localparam PRODUCT_BITS = WEIGHT_BITS + ACT_BITS + 1;
  localparam WORD_BITS = SIMD * WEIGHT_BITS;
  localparam WIDE = 32 * (SIMD + 1);  // holds a flip at any place of any site

  reg [SIMD*WEIGHT_BITS-1:0] set_weight_and, set_weight_or, set_weight_xor;
  reg [SIMD*ACT_BITS-1:0] set_act_and, set_act_or, set_act_xor;
  reg [SIMD*PRODUCT_BITS-1:0] set_product_and, set_product_or, set_product_xor;
  reg [PSUMS*ACC_BITS-1:0] set_psum_and, set_psum_or, set_psum_xor;
  reg [ACC_BITS-1:0] set_acc_and, set_acc_or, set_acc_xor;
  reg [WORDS*WORD_BITS-1:0] set_wmem_and, set_wmem_or, set_wmem_xor;
  reg [WORDS*33-1:0] set_wmem_address;  // 2^32: none
  reg [31:0] set_seed;
  reg [DRAWS*32-1:0] set_draw_entry;
  reg [DRAWS*33-1:0] set_draw_threshold;  // 0: never
  reg [DRAWS*6-1:0] set_draw_lowest, set_draw_span;
  reg [DRAWS*3-1:0] set_draw_site;
  reg [DRAWS*8-1:0] set_draw_place;
  reg [DRAWS*33-1:0] set_draw_address;  // 2^32: any

  assign weight_and = set_weight_and;
  assign weight_or = set_weight_or;
  assign act_and = set_act_and;
  assign act_or = set_act_or;
  assign product_and = set_product_and;
  assign product_or = set_product_or;
  assign psum_and = set_psum_and;
  assign psum_or = set_psum_or;
  assign acc_and = set_acc_and;
  assign acc_or = set_acc_or;

  wire [32:0] address = {1'b0, coordinates[127:96]};
  wire [DRAWS*32-1:0] flips;

  genvar d;
  generate
    for (d = 0; d < DRAWS; d = d + 1) begin : g_draw
      has_transient #(.WIDTH(32)) draw (
        .seed(set_seed), .layer(coordinates[159:128]), .entry(set_draw_entry[d*32 +: 32]),
        .pass(coordinates[95:64]), .column(coordinates[63:32]), .step(coordinates[31:0]),
        .threshold(set_draw_threshold[d*33 +: 33]), .lowest(set_draw_lowest[d*6 +: 6]),
        .span(set_draw_span[d*6 +: 6]), .flip(flips[d*32 +: 32])
      );
    end
  endgenerate

  integer i;
  reg [WIDE-1:0] flip;
  reg [31:0] bits;

  always @* begin
    wmem_and = {WORD_BITS{1'b1}};
    wmem_or = {WORD_BITS{1'b0}};
    wmem_xor = {WORD_BITS{1'b0}};
    for (i = 0; i < WORDS; i = i + 1) begin
      if (set_wmem_address[i*33 +: 33] == address) begin
        wmem_and = set_wmem_and[i*WORD_BITS +: WORD_BITS];
        wmem_or = set_wmem_or[i*WORD_BITS +: WORD_BITS];
        wmem_xor = set_wmem_xor[i*WORD_BITS +: WORD_BITS];
      end
    end
    weight_xor = set_weight_xor;
    act_xor = set_act_xor;
    product_xor = set_product_xor;
    psum_xor = set_psum_xor;
    acc_xor = set_acc_xor;
    for (i = 0; i < DRAWS; i = i + 1) begin
      case (set_draw_site[i*3 +: 3])
        3'd2: bits = ACT_BITS;
        3'd3: bits = PRODUCT_BITS;
        3'd4: bits = ACC_BITS;
        3'd5: bits = 0;
        default: bits = WEIGHT_BITS;
      endcase
      flip = {{(WIDE-32){1'b0}}, flips[i*32 +: 32]} << (set_draw_place[i*8 +: 8] * bits);
      if (set_draw_address[i*33 + 32] || set_draw_address[i*33 +: 33] == address) begin
        case (set_draw_site[i*3 +: 3])
          3'd0: wmem_xor = wmem_xor ^ flip[WORD_BITS-1:0];
          3'd1: weight_xor = weight_xor ^ flip[WORD_BITS-1:0];
          3'd2: act_xor = act_xor ^ flip[SIMD*ACT_BITS-1:0];
          3'd3: product_xor = product_xor ^ flip[SIMD*PRODUCT_BITS-1:0];
          3'd4: psum_xor = psum_xor ^ flip[PSUMS*ACC_BITS-1:0];
          default: acc_xor = acc_xor ^ flip[ACC_BITS-1:0];
        endcase
      end
    end
  end

  initial begin
    set_weight_and = {SIMD*WEIGHT_BITS{1'b1}};
    set_weight_or = 0;
    set_weight_xor = 0;
    set_act_and = {SIMD*ACT_BITS{1'b1}};
    set_act_or = 0;
    set_act_xor = 0;
    set_product_and = {SIMD*PRODUCT_BITS{1'b1}};
    set_product_or = 0;
    set_product_xor = 0;
    set_psum_and = {PSUMS*ACC_BITS{1'b1}};
    set_psum_or = 0;
    set_psum_xor = 0;
    set_acc_and = {ACC_BITS{1'b1}};
    set_acc_or = 0;
    set_acc_xor = 0;
    set_wmem_and = {WORDS*WORD_BITS{1'b1}};
    set_wmem_or = 0;
    set_wmem_xor = 0;
    set_wmem_address = {WORDS{1'b1, 32'd0}};
    set_seed = 0;
    set_draw_entry = 0;
    set_draw_threshold = 0;
    set_draw_lowest = 0;
    set_draw_span = 0;
    set_draw_site = 0;
    set_draw_place = 0;
    set_draw_address = {DRAWS{1'b1, 32'd0}};
  end

endmodule

`default_nettype wire
