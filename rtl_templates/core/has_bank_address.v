// has_bank_address: where BANKS neighbouring elements lie in the banks of has_act_buffer.
// Bank b holds lane (b - element) mod BANKS, at word (element + lane) / BANKS.
// element: the element of lane 0, any integer modulo 2^ELEMENT_BITS. offset: its bank.
// Combinational. BANKS: a power of two.
`default_nettype none

module has_bank_address #(
  parameter BANKS = 8,          // banks
  parameter BANK_BITS = 3,      // bits of BANKS - 1, at least 1
  parameter ELEMENT_BITS = 16,  // bits of an element's number
  parameter WORD_BITS = 7       // bits of a bank address
) (
  /* verilator lint_off UNUSEDSIGNAL */  // bits above the buffer name no word of it
  input  wire [ELEMENT_BITS-1:0]   element,
  /* verilator lint_on UNUSEDSIGNAL */
  output wire [BANK_BITS-1:0]      offset,
  output wire [BANKS*WORD_BITS-1:0] address
);

  generate
    if (BANKS == 1) begin : g_one
      assign offset = {BANK_BITS{1'b0}};
      assign address = element[WORD_BITS-1:0];
    end else begin : g_banks
      wire [WORD_BITS-1:0] word = element[BANK_BITS +: WORD_BITS];
      wire [WORD_BITS-1:0] next = word + 1'b1;
      assign offset = element[BANK_BITS-1:0];
      genvar b;
      for (b = 0; b < BANKS; b = b + 1) begin : g_bank
        if (b == BANKS - 1) begin : g_last
          assign address[b*WORD_BITS +: WORD_BITS] = word;
        end else begin : g_other
          localparam [31:0] BANK = b;
          assign address[b*WORD_BITS +: WORD_BITS] = (offset > BANK[BANK_BITS-1:0]) ? next : word;
        end
      end
    end
  endgenerate

endmodule

`default_nettype wire
