// has_preload: what the accumulator of one PE starts from, a word for each pass of each layer.
// value = word at address, one enabled clock cycle later. Contents from a $readmemh file; with
// WRITABLE = 1 the write port acts, too. Synthesis chooses between block RAM and logic by size.
`default_nettype none

module has_preload #(
  parameter WIDTH = 24,        // bits
  parameter DEPTH = 16,        // words
  parameter ADDRESS_BITS = 4,  // bits that count DEPTH words, at least 1
  parameter WRITABLE = 0,      // 1 = the write port acts
  parameter INIT_FILE = ""
) (
  input  wire                    clk,
  input  wire                    enable,
  input  wire [ADDRESS_BITS-1:0] address,
  output reg  [WIDTH-1:0]        value,
  /* verilator lint_off UNUSEDSIGNAL */  // WRITABLE = 0 leaves the write port unread
  input  wire                    write_enable,
  input  wire [ADDRESS_BITS-1:0] write_address,
  input  wire [WIDTH-1:0]        write_value
  /* verilator lint_on UNUSEDSIGNAL */
);

  reg [WIDTH-1:0] words [0:DEPTH-1];

  generate
    if (INIT_FILE != "") begin : g_contents
      initial $readmemh(INIT_FILE, words);
    end
    if (WRITABLE != 0) begin : g_write
      always @(posedge clk) if (write_enable) words[write_address] <= write_value;
    end
  endgenerate

  always @(posedge clk) if (enable) value <= words[address];

endmodule

`default_nettype wire
