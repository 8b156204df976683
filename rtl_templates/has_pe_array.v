// has_pe_array: PE output-stationary PEs with their weight banks; activations are broadcast.
// act and act_valid steps follow read_address by one enabled cycle; accumulate and first by
// 1 + PIPELINE. capture copies all accumulators to shadow registers, shift moves them on by one PE,
// head is PE 0's. Weights of external layers are written one step of all PEs at a time.
// FAULT_SITES: 0 no faults; 1 the FAULTY_PES take masks from has_fault_masks; 2 all PEs do.
// coordinates of act and weight: layer, bank address, pass, column, step; 32 bits, step lowest.
// Read where COORDINATES is 1, for faults of bank words and transient ones.
`default_nettype none

module has_pe_array #(
  parameter PE = 16,            // processing elements
  parameter SIMD = 8,           // multipliers of each PE
  parameter WEIGHT_BITS = 4,    // bits
  parameter ACT_BITS = 8,       // bits
  parameter ACC_BITS = 24,      // bits
  parameter PIPELINE = 4,       // register stages, 0 to 5
  parameter USE_DSP = "yes",
  parameter FAULT_SITES = 0,
  parameter [PE-1:0] FAULTY_PES = 0,  // PEs that FAULT_SITES = 1 gives masks
  parameter COORDINATES = 0,    // 1 = masks may depend on the coordinates
  parameter ROM_DEPTH = 16,     // words of each bank with fixed contents
  parameter EXT_DEPTH = 0,      // words of each bank filled by the weight stream
  parameter WMEM_BITS = 4,      // bits of a bank address
  parameter WRITABLE = 0,       // 1 = the fixed contents are written too
  parameter LANES = 1,          // parts of the shadow chain, each with a head; divides PE
  parameter NAME_DIGITS = 2     // digits of the PE in weights_pe<PE>.mem, 2 to 4
) (
  input  wire                           clk,
  input  wire                           enable,
  input  wire [WMEM_BITS-1:0]           read_address,
  input  wire [SIMD*ACT_BITS-1:0]       act,
  input  wire                           act_signed,
  /* verilator lint_off UNUSEDSIGNAL */  // FAULT_SITES = 0 has no use for them
  input  wire [159:0]                   coordinates,
  /* verilator lint_on UNUSEDSIGNAL */
  input  wire                           accumulate,
  input  wire                           first,
  input  wire                           capture,
  input  wire                           shift,
  output wire [LANES*ACC_BITS-1:0]      head,
  input  wire                           write_enable,
  input  wire [WMEM_BITS-1:0]           write_address,
  input  wire [PE*SIMD*WEIGHT_BITS-1:0] write_weights
);

  localparam WORD_BITS = SIMD * WEIGHT_BITS;
  localparam ACT_WORD_BITS = SIMD * ACT_BITS;
  localparam PRODUCT_WORD_BITS = SIMD * (WEIGHT_BITS + ACT_BITS + 1);

  genvar p;
  generate
    for (p = 0; p < PE; p = p + 1) begin : g_pe
      localparam [31:0] ONES = 48 + p % 10;  // ASCII digits of p
      localparam [31:0] TENS = 48 + (p / 10) % 10;
      localparam [31:0] HUNDREDS = 48 + (p / 100) % 10;
      localparam FAULTS = (FAULT_SITES == 2 || (FAULT_SITES == 1 && FAULTY_PES[p])) ? 1 : 0;
      localparam [31:0] THOUSANDS = 48 + (p / 1000) % 10;

      wire [WORD_BITS-1:0] word, weight;
      wire [WORD_BITS-1:0] weight_and, weight_or, weight_xor;
      wire [ACT_WORD_BITS-1:0] act_and, act_or, act_xor;
      wire [PRODUCT_WORD_BITS-1:0] product_and, product_or, product_xor;
      wire [ACC_BITS-1:0] psum_and, psum_or, psum_xor;
      wire [ACC_BITS-1:0] acc;
      wire [ACC_BITS-1:0] behind;
      reg  [ACC_BITS-1:0] shadow;

      has_weight_bank #(
        .WIDTH(WORD_BITS), .ROM_DEPTH(ROM_DEPTH), .EXT_DEPTH(EXT_DEPTH), .ADDRESS_BITS(WMEM_BITS),
        .WRITABLE(WRITABLE),
        .INIT_FILE({
          "weights_pe", {(NAME_DIGITS > 3 ? 1 : 0){THOUSANDS[7:0]}},
          {(NAME_DIGITS > 2 ? 1 : 0){HUNDREDS[7:0]}}, TENS[7:0], ONES[7:0], ".mem"
        })
      ) bank (
        .clk(clk), .read_enable(enable), .read_address(read_address), .weight(word),
        .write_enable(write_enable), .write_address(write_address),
        .write_weight(write_weights[p*WORD_BITS +: WORD_BITS])
      );

      if (FAULTS != 0) begin : g_masks
        /* verilator lint_off UNUSEDSIGNAL */  // COORDINATES = 0: no word of the bank has any
        wire [WORD_BITS-1:0] wmem_and, wmem_or, wmem_xor;
        /* verilator lint_on UNUSEDSIGNAL */
        has_fault_masks #(
          .PE(p), .SIMD(SIMD), .WEIGHT_BITS(WEIGHT_BITS), .ACT_BITS(ACT_BITS), .ACC_BITS(ACC_BITS),
          .PSUMS(1)
        ) masks (
          .coordinates(coordinates),
          .wmem_and(wmem_and), .wmem_or(wmem_or), .wmem_xor(wmem_xor),
          .weight_and(weight_and), .weight_or(weight_or), .weight_xor(weight_xor),
          .act_and(act_and), .act_or(act_or), .act_xor(act_xor),
          .product_and(product_and), .product_or(product_or), .product_xor(product_xor),
          .psum_and(psum_and), .psum_or(psum_or), .psum_xor(psum_xor)
        );
        if (COORDINATES != 0) begin : g_word
          has_fault #(.WIDTH(WORD_BITS)) fault (
            .value(word), .mask_and(wmem_and), .mask_or(wmem_or), .mask_xor(wmem_xor),
            .faulty(weight)
          );
        end else begin : g_wire
          assign weight = word;
        end
      end else begin : g_neutral
        assign weight = word;
        assign {weight_and, act_and, product_and, psum_and} =
          {(WORD_BITS + ACT_WORD_BITS + PRODUCT_WORD_BITS + ACC_BITS){1'b1}};
        assign {weight_or, act_or, product_or, psum_or} =
          {(WORD_BITS + ACT_WORD_BITS + PRODUCT_WORD_BITS + ACC_BITS){1'b0}};
        assign {weight_xor, act_xor, product_xor, psum_xor} =
          {(WORD_BITS + ACT_WORD_BITS + PRODUCT_WORD_BITS + ACC_BITS){1'b0}};
      end

      has_pe #(
        .SIMD(SIMD), .WEIGHT_BITS(WEIGHT_BITS), .ACT_BITS(ACT_BITS), .ACC_BITS(ACC_BITS),
        .PIPELINE(PIPELINE), .USE_DSP(USE_DSP), .FAULT_SITES(FAULTS)
      ) pe (
        .clk(clk), .enable(enable), .weight(weight), .act(act), .act_signed(act_signed),
        .accumulate(accumulate), .first(first),
        .weight_and(weight_and), .weight_or(weight_or), .weight_xor(weight_xor),
        .act_and(act_and), .act_or(act_or), .act_xor(act_xor),
        .product_and(product_and), .product_or(product_or), .product_xor(product_xor),
        .psum_and(psum_and), .psum_or(psum_or), .psum_xor(psum_xor),
        .acc(acc)
      );

      if ((p + 1) % (PE / LANES) != 0) begin : g_chain
        assign behind = g_pe[p+1].shadow;
      end else begin : g_end
        assign behind = {ACC_BITS{1'b0}};
      end
      always @(posedge clk) begin
        if (capture) shadow <= acc;
        else if (shift) shadow <= behind;
      end
    end
    for (p = 0; p < LANES; p = p + 1) begin : g_head
      assign head[p*ACC_BITS +: ACC_BITS] = g_pe[p*(PE/LANES)].shadow;
    end
  endgenerate

endmodule

`default_nettype wire
