// has_act_buffer: one feature map of activation codes, element e in bank e mod BANKS, word e / BANKS.
// Every bank has its own addresses, so that any BANKS neighbours move in one cycle.
// read_data = words at read_address, one enabled clock cycle later. Contents survive reset.
// BANKS: banks. CODE_BITS: bits of a code. DEPTH: words of a bank.
`default_nettype none

module has_act_buffer #(
  parameter BANKS = 8,      // banks
  parameter CODE_BITS = 8,  // bits
  parameter DEPTH = 128,    // words
  parameter WORD_BITS = 7   // bits that count DEPTH words, at least 1
) (
  input  wire                      clk,
  input  wire                      read_enable,
  /* verilator lint_off UNUSEDSIGNAL */  // the smaller of two buffers reads fewer address bits
  input  wire [BANKS*WORD_BITS-1:0] read_address,
  /* verilator lint_on UNUSEDSIGNAL */
  output wire [BANKS*CODE_BITS-1:0] read_data,
  input  wire [BANKS-1:0]           write_enable,
  /* verilator lint_off UNUSEDSIGNAL */  // as above
  input  wire [BANKS*WORD_BITS-1:0] write_address,
  /* verilator lint_on UNUSEDSIGNAL */
  input  wire [BANKS*CODE_BITS-1:0] write_data
);

  localparam INDEX_BITS = DEPTH > 1 ? $clog2(DEPTH) : 1;

  genvar b;
  generate
    for (b = 0; b < BANKS; b = b + 1) begin : g_bank
      reg [CODE_BITS-1:0] words [0:DEPTH-1];
      reg [CODE_BITS-1:0] value;
      always @(posedge clk) begin
        if (write_enable[b]) begin
          words[write_address[b*WORD_BITS +: INDEX_BITS]] <= write_data[b*CODE_BITS +: CODE_BITS];
        end
        if (read_enable) value <= words[read_address[b*WORD_BITS +: INDEX_BITS]];
      end
      assign read_data[b*CODE_BITS +: CODE_BITS] = value;
    end
  endgenerate

endmodule

`default_nettype wire
