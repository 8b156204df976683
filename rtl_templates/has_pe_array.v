// has_pe_array: PE processing elements with their weight banks. act and act_valid steps follow
// read_address by one enabled cycle; accumulate and first by 1 + PIPELINE. capture copies all
// accumulators to shadow registers, shift moves them on by one PE, head is PE 0's. Weights of
// external layers are written one step of all PEs at a time.
// words, started: what banks and preloads give, PE 0 lowest: of read_address and start_address,
// where these stand still, some cycles later (SYSTOLIC = 1: PE - 1 more).
// PRELOAD_DEPTH > 0: the accumulators start from words of their own; start_address, the pass among
// those of all layers, leads accumulate and first by one enabled cycle; preload_* writes a pass of
// all PEs.
// SYSTOLIC = 0: output-stationary PEs (has_pe), activations are broadcast. 1: weight-stationary
// ones (has_pe_ws): activations move from PE p-1 to PE p in a cycle, and all that goes with them,
// so PE p works p enabled cycles after PE 0, and weights are written along the same line; the
// accumulators meet again behind PE - 1 - p registers, so capture copies all of one column at once.
// FAULT_SITES: 0 no faults; 1 the FAULTY_PES take masks from has_fault_masks; 2 all PEs do.
// coordinates of act and weight: layer, bank address, pass, column, step; 32 bits, step lowest.
// Read where COORDINATES is 1, for faults of bank words and transient ones.
// PAIRED = 1, SYSTOLIC = 0 alone: PEs 2i and 2i+1 have one multiplier for their two products with
// each activation, PE 2i's the low one; of an odd number the last PE has its own.
`default_nettype none

module has_pe_array #(
  parameter PE = 16,            // processing elements
  parameter SIMD = 8,           // multipliers of each PE
  parameter WEIGHT_BITS = 4,    // bits
  parameter ACT_BITS = 8,       // bits
  parameter ACC_BITS = 24,      // bits
  parameter SYSTOLIC = 0,       // 1 = weight-stationary
  parameter PIPELINE = 4,       // register stages, 0 to 5
  parameter USE_DSP = "yes",
  parameter PAIRED = 0,         // 1 = two PEs share their multipliers
  parameter FAULT_SITES = 0,
  parameter [PE-1:0] FAULTY_PES = 0,  // PEs that FAULT_SITES = 1 gives masks
  parameter COORDINATES = 0,    // 1 = masks may depend on the coordinates
  parameter ROM_DEPTH = 16,     // words of each bank with fixed contents
  parameter EXT_DEPTH = 0,      // words of each bank filled by the weight stream
  parameter WMEM_BITS = 4,      // bits of a bank address
  parameter WRITABLE = 0,       // 1 = the fixed contents are written too
  parameter LANES = 1,          // heads of the shadow chain, PE / LANES apart; divides PE
  parameter NAME_DIGITS = 2,    // digits of the PE in weights_pe<PE>.mem, 2 to 4
  parameter PRELOAD_DEPTH = 0,  // words of each preload_pe<PE>.mem; 0 = accumulators start from 0
  parameter PRELOAD_BITS = 1    // bits of their addresses
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
  output wire [PE*SIMD*WEIGHT_BITS-1:0] words,
  output wire [PE*ACC_BITS-1:0]         started,
  /* verilator lint_off UNUSEDSIGNAL */  // without external layers nothing is written
  input  wire                           write_enable,
  input  wire [WMEM_BITS-1:0]           write_address,
  input  wire [PE*SIMD*WEIGHT_BITS-1:0] write_weights,
  // PRELOAD_DEPTH = 0 has no use for these
  input  wire [PRELOAD_BITS-1:0]        start_address,
  input  wire                           preload_write,
  input  wire [PRELOAD_BITS-1:0]        preload_address,
  input  wire [PE*ACC_BITS-1:0]         preload_words
  /* verilator lint_on UNUSEDSIGNAL */
);

  localparam WORD_BITS = SIMD * WEIGHT_BITS;
  localparam ACT_WORD_BITS = SIMD * ACT_BITS;
  localparam FACTOR_WORD_BITS = SIMD * (ACT_BITS + 1);
  localparam PRODUCT_WORD_BITS = SIMD * (WEIGHT_BITS + ACT_BITS + 1);
  localparam PSUMS = SYSTOLIC != 0 ? SIMD : 1;  // partial sums of a PE that have faults
  localparam PSUM_WORD_BITS = PSUMS * ACC_BITS;

  genvar p, s;
  generate
    for (p = 0; p < PE; p = p + 1) begin : g_pe
      localparam [31:0] ONES = 48 + p % 10;  // ASCII digits of p
      localparam [31:0] TENS = 48 + (p / 10) % 10;
      localparam [31:0] HUNDREDS = 48 + (p / 100) % 10;
      localparam [31:0] THOUSANDS = 48 + (p / 1000) % 10;
      localparam FAULTS = (FAULT_SITES == 2 || (FAULT_SITES == 1 && FAULTY_PES[p])) ? 1 : 0;

      wire [WMEM_BITS-1:0] address;
      wire [ACT_WORD_BITS-1:0] act_in;
      /* verilator lint_off UNUSEDSIGNAL */  // the last PE hands nothing on, nor do broadcasts
      wire [ACT_WORD_BITS-1:0] act_met;
      wire [159:0] at;
      /* verilator lint_on UNUSEDSIGNAL */
      wire adds, starts;
      wire [WORD_BITS-1:0] word, weight;
      wire [WORD_BITS-1:0] weight_and, weight_or, weight_xor;
      wire [ACT_WORD_BITS-1:0] act_and, act_or, act_xor;
      wire [PRODUCT_WORD_BITS-1:0] product_and, product_or, product_xor;
      wire [PSUM_WORD_BITS-1:0] psum_and, psum_or, psum_xor;
      /* verilator lint_off UNUSEDSIGNAL */  // SYSTOLIC = 0: psum is the accumulator
      wire [ACC_BITS-1:0] acc_and, acc_or, acc_xor;
      /* verilator lint_on UNUSEDSIGNAL */
      wire [ACC_BITS-1:0] acc, aligned, begins;
      wire [ACC_BITS-1:0] behind;
      reg  [ACC_BITS-1:0] shadow;
      localparam OUTSIDE = (PAIRED != 0 && SYSTOLIC == 0 && (p % 2 == 1 || p + 1 < PE)) ? 1 : 0;
      /* verilator lint_off UNUSEDSIGNAL */  // OUTSIDE = 0 leaves them unread
      wire [WORD_BITS-1:0] factor_weight;
      wire [FACTOR_WORD_BITS-1:0] factor_act;
      wire [PRODUCT_WORD_BITS-1:0] multiplied;
      /* verilator lint_on UNUSEDSIGNAL */

      if (p == 0 || SYSTOLIC == 0) begin : g_first
        assign address = read_address;
        assign act_in = act;
        assign at = coordinates;
        assign adds = accumulate;
        assign starts = first;
      end else begin : g_moved
        has_delay #(.WIDTH(WMEM_BITS + ACT_WORD_BITS + 2)) moved (
          .clk(clk), .enable(enable),
          .in({g_pe[p-1].address, g_pe[p-1].act_met, g_pe[p-1].adds, g_pe[p-1].starts}),
          .out({address, act_in, adds, starts})
        );
        if (COORDINATES != 0) begin : g_at
          has_delay #(.WIDTH(160)) at_line (
            .clk(clk), .enable(enable), .in(g_pe[p-1].at), .out(at)
          );
        end else begin : g_nowhere
          assign at = coordinates;
        end
      end

      if (PRELOAD_DEPTH != 0) begin : g_preload
        wire [PRELOAD_BITS-1:0] pass;
        if (p == 0 || SYSTOLIC == 0) begin : g_at
          assign pass = start_address;
        end else begin : g_moved_on
          has_delay #(.WIDTH(PRELOAD_BITS)) pass_line (
            .clk(clk), .enable(enable), .in(g_pe[p-1].g_preload.pass), .out(pass)
          );
        end
        has_preload #(
          .WIDTH(ACC_BITS), .DEPTH(PRELOAD_DEPTH), .ADDRESS_BITS(PRELOAD_BITS),
          .WRITABLE(WRITABLE),
          .INIT_FILE({
            "preload_pe", {(NAME_DIGITS > 3 ? 1 : 0){THOUSANDS[7:0]}},
            {(NAME_DIGITS > 2 ? 1 : 0){HUNDREDS[7:0]}}, TENS[7:0], ONES[7:0], ".mem"
          })
        ) memory (
          .clk(clk), .enable(enable), .address(pass), .value(begins),
          .write_enable(preload_write), .write_address(preload_address),
          .write_value(preload_words[p*ACC_BITS +: ACC_BITS])
        );
      end else begin : g_from_0
        assign begins = {ACC_BITS{1'b0}};
      end

      assign words[p*WORD_BITS +: WORD_BITS] = word;
      assign started[p*ACC_BITS +: ACC_BITS] = begins;

      wire put;
      wire [WMEM_BITS-1:0] put_address;
      wire [WORD_BITS-1:0] put_weight;
      if (p == 0 || SYSTOLIC == 0 || (EXT_DEPTH == 0 && WRITABLE == 0)) begin : g_put
        assign put = write_enable;
        assign put_address = write_address;
        assign put_weight = write_weights[p*WORD_BITS +: WORD_BITS];
      end else begin : g_put_later
        reg waiting;
        initial waiting = 1'b0;  // no word is written before the first that is sent
        always @(posedge clk) if (enable) waiting <= g_pe[p-1].put;
        assign put = waiting;
        has_delay #(.WIDTH(WMEM_BITS)) put_line (
          .clk(clk), .enable(enable), .in(g_pe[p-1].put_address), .out(put_address)
        );
        has_delay #(.WIDTH(WORD_BITS), .DEPTH(p)) put_word (
          .clk(clk), .enable(enable), .in(write_weights[p*WORD_BITS +: WORD_BITS]), .out(put_weight)
        );
      end

      has_weight_bank #(
        .WIDTH(WORD_BITS), .ROM_DEPTH(ROM_DEPTH), .EXT_DEPTH(EXT_DEPTH), .ADDRESS_BITS(WMEM_BITS),
        .WRITABLE(WRITABLE),
        .INIT_FILE({
          "weights_pe", {(NAME_DIGITS > 3 ? 1 : 0){THOUSANDS[7:0]}},
          {(NAME_DIGITS > 2 ? 1 : 0){HUNDREDS[7:0]}}, TENS[7:0], ONES[7:0], ".mem"
        })
      ) bank (
        .clk(clk), .read_enable(enable), .read_address(address), .weight(word),
        .write_enable(put && (enable || SYSTOLIC == 0)), .write_address(put_address),
        .write_weight(put_weight)
      );

      if (FAULTS != 0) begin : g_masks
        /* verilator lint_off UNUSEDSIGNAL */  // COORDINATES = 0: no word of the bank has any
        wire [WORD_BITS-1:0] wmem_and, wmem_or, wmem_xor;
        /* verilator lint_on UNUSEDSIGNAL */
        has_fault_masks #(
          .PE(p), .SIMD(SIMD), .WEIGHT_BITS(WEIGHT_BITS), .ACT_BITS(ACT_BITS), .ACC_BITS(ACC_BITS),
          .PSUMS(PSUMS)
        ) masks (
          .coordinates(at),
          .wmem_and(wmem_and), .wmem_or(wmem_or), .wmem_xor(wmem_xor),
          .weight_and(weight_and), .weight_or(weight_or), .weight_xor(weight_xor),
          .act_and(act_and), .act_or(act_or), .act_xor(act_xor),
          .product_and(product_and), .product_or(product_or), .product_xor(product_xor),
          .psum_and(psum_and), .psum_or(psum_or), .psum_xor(psum_xor),
          .acc_and(acc_and), .acc_or(acc_or), .acc_xor(acc_xor)
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
        assign {weight_and, act_and, product_and, psum_and, acc_and} =
          {(WORD_BITS + ACT_WORD_BITS + PRODUCT_WORD_BITS + PSUM_WORD_BITS + ACC_BITS){1'b1}};
        assign {weight_or, act_or, product_or, psum_or, acc_or} =
          {(WORD_BITS + ACT_WORD_BITS + PRODUCT_WORD_BITS + PSUM_WORD_BITS + ACC_BITS){1'b0}};
        assign {weight_xor, act_xor, product_xor, psum_xor, acc_xor} =
          {(WORD_BITS + ACT_WORD_BITS + PRODUCT_WORD_BITS + PSUM_WORD_BITS + ACC_BITS){1'b0}};
      end

      if (SYSTOLIC == 0) begin : g_os
        has_pe #(
          .SIMD(SIMD), .WEIGHT_BITS(WEIGHT_BITS), .ACT_BITS(ACT_BITS), .ACC_BITS(ACC_BITS),
          .PIPELINE(PIPELINE), .USE_DSP(USE_DSP), .FAULT_SITES(FAULTS),
          .PRELOAD(PRELOAD_DEPTH != 0 ? 1 : 0), .OUTSIDE(OUTSIDE)
        ) pe (
          .clk(clk), .enable(enable), .weight(weight), .act(act_in),
          .act_signed(act_signed), .accumulate(adds), .first(starts), .preload(begins),
          .weight_and(weight_and), .weight_or(weight_or), .weight_xor(weight_xor),
          .act_and(act_and), .act_or(act_or), .act_xor(act_xor),
          .product_and(product_and), .product_or(product_or), .product_xor(product_xor),
          .psum_and(psum_and), .psum_or(psum_or), .psum_xor(psum_xor), .multiplied(multiplied),
          .factor_weight(factor_weight), .factor_act(factor_act), .acc(acc)
        );
        assign act_met = act_in;
        assign aligned = acc;
      end else begin : g_ws
        has_pe_ws #(
          .SIMD(SIMD), .WEIGHT_BITS(WEIGHT_BITS), .ACT_BITS(ACT_BITS), .ACC_BITS(ACC_BITS),
          .PIPELINE(PIPELINE), .USE_DSP(USE_DSP), .FAULT_SITES(FAULTS),
          .PRELOAD(PRELOAD_DEPTH != 0 ? 1 : 0)
        ) pe (
          .clk(clk), .enable(enable), .weight(weight), .act(act_in), .act_met(act_met),
          .act_signed(act_signed), .accumulate(adds), .first(starts), .preload(begins),
          .weight_and(weight_and), .weight_or(weight_or), .weight_xor(weight_xor),
          .act_and(act_and), .act_or(act_or), .act_xor(act_xor),
          .product_and(product_and), .product_or(product_or), .product_xor(product_xor),
          .psum_and(psum_and), .psum_or(psum_or), .psum_xor(psum_xor),
          .acc_and(acc_and), .acc_or(acc_or), .acc_xor(acc_xor), .acc(acc)
        );
        assign factor_weight = {WORD_BITS{1'b0}};
        assign factor_act = {FACTOR_WORD_BITS{1'b0}};
        has_delay #(.WIDTH(ACC_BITS), .DEPTH(PE - 1 - p)) align (
          .clk(clk), .enable(enable), .in(acc), .out(aligned)
        );
      end

      if (OUTSIDE == 0) begin : g_unpaired
        assign multiplied = {PRODUCT_WORD_BITS{1'b0}};
      end

      if (p + 1 < PE) begin : g_chain  // on into the next lane: only a walk of all reads that far
        assign behind = g_pe[p+1].shadow;
      end else begin : g_end
        assign behind = {ACC_BITS{1'b0}};
      end
      always @(posedge clk) begin
        if (capture) shadow <= aligned;
        else if (shift) shadow <= behind;
      end
    end
    for (p = 0; p + 1 < PE && PAIRED != 0 && SYSTOLIC == 0; p = p + 2) begin : g_pair
      localparam PRODUCT_BITS = WEIGHT_BITS + ACT_BITS + 1;
      for (s = 0; s < SIMD; s = s + 1) begin : g_simd
        has_multiplier_pair #(
          .WEIGHT_BITS(WEIGHT_BITS), .ACT_BITS(ACT_BITS), .REGISTER(PIPELINE > 3 ? 1 : 0),
          .SHARED(
            FAULT_SITES == 0 || (FAULT_SITES == 1 && !FAULTY_PES[p] && !FAULTY_PES[p+1]) ? 1 : 0
          )
        ) multiplier (
          .clk(clk), .enable(enable),
          .weight_low(g_pe[p].factor_weight[s*WEIGHT_BITS +: WEIGHT_BITS]),
          .weight_high(g_pe[p+1].factor_weight[s*WEIGHT_BITS +: WEIGHT_BITS]),
          .act_low(g_pe[p].factor_act[s*(ACT_BITS+1) +: ACT_BITS+1]),
          .act_high(g_pe[p+1].factor_act[s*(ACT_BITS+1) +: ACT_BITS+1]),
          .low(g_pe[p].multiplied[s*PRODUCT_BITS +: PRODUCT_BITS]),
          .high(g_pe[p+1].multiplied[s*PRODUCT_BITS +: PRODUCT_BITS])
        );
      end
    end
    for (p = 0; p < LANES; p = p + 1) begin : g_head
      assign head[p*ACC_BITS +: ACC_BITS] = g_pe[p*(PE/LANES)].shadow;
    end
  endgenerate

endmodule

`default_nettype wire
