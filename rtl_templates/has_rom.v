// has_rom: a read-only memory with a registered output, contents from a $readmemh file.
// value = word at address, one enabled clock cycle later. An address beyond DEPTH reads anything.
// WIDTH: bits. DEPTH: words. ADDRESS_BITS: bits that count DEPTH words, at least 1.
// INIT_FILE: plain name, found where the simulator or the synthesiser runs; "" = unknown contents.
// Synthesis chooses between block RAM and logic by size.
`default_nettype none

module has_rom #(
  parameter WIDTH = 8,         // bits
  parameter DEPTH = 16,        // words
  parameter ADDRESS_BITS = 4,  // bits
  parameter INIT_FILE = ""
) (
  input  wire                    clk,
  input  wire                    enable,
  input  wire [ADDRESS_BITS-1:0] address,
  output reg  [WIDTH-1:0]        value
);

  reg [WIDTH-1:0] words [0:DEPTH-1];

  generate
    if (INIT_FILE != "") begin : g_contents
      initial $readmemh(INIT_FILE, words);
    end
  endgenerate

  always @(posedge clk) if (enable) value <= words[address];

endmodule

`default_nettype wire
