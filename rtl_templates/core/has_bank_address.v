// has_bank_address: where SIMD neighbouring elements lie in the banks of has_act_buffer.
// Bank b holds lane (b - element) mod SIMD, at word (element + lane) / SIMD.
// element: the element of lane 0, any integer modulo 2^ELEMENT_BITS. offset: its bank.
// Combinational. SIMD: a power of two.
`default_nettype none

module has_bank_address #(
  parameter SIMD = 8,           // banks
  parameter LANE_BITS = 3,      // bits of SIMD - 1, at least 1
  parameter ELEMENT_BITS = 16,  // bits of an element's number
  parameter WORD_BITS = 7       // bits of a bank address
) (
  /* verilator lint_off UNUSEDSIGNAL */  // bits above the buffer name no word of it
  input  wire [ELEMENT_BITS-1:0]   element,
  /* verilator lint_on UNUSEDSIGNAL */
  output wire [LANE_BITS-1:0]      offset,
  output wire [SIMD*WORD_BITS-1:0] address
);

  generate
    if (SIMD == 1) begin : g_one
      assign offset = {LANE_BITS{1'b0}};
      assign address = element[WORD_BITS-1:0];
    end else begin : g_banks
      wire [WORD_BITS-1:0] word = element[LANE_BITS +: WORD_BITS];
      wire [WORD_BITS-1:0] next = word + 1'b1;
      assign offset = element[LANE_BITS-1:0];
      genvar b;
      for (b = 0; b < SIMD; b = b + 1) begin : g_bank
        if (b == SIMD - 1) begin : g_last
          assign address[b*WORD_BITS +: WORD_BITS] = word;
        end else begin : g_other
          localparam [31:0] BANK = b;
          assign address[b*WORD_BITS +: WORD_BITS] = (offset > BANK[LANE_BITS-1:0]) ? next : word;
        end
      end
    end
  endgenerate

endmodule

`default_nettype wire
