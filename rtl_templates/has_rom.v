// has_rom: a read-only memory with a registered output, contents from a $readmemh file.
// value = word at address, one enabled clock cycle later. An address beyond DEPTH reads anything.
// WIDTH: bits. DEPTH: words. ADDRESS_BITS: bits that count DEPTH words, at least 1.
// INIT_FILE: plain name, found where the simulator or the synthesiser runs.
// STYLE: "block", "distributed" or "auto", passed to synthesis.
`default_nettype none

module has_rom #(
  parameter WIDTH = 8,         // bits
  parameter DEPTH = 16,        // words
  parameter ADDRESS_BITS = 4,  // bits
  parameter INIT_FILE = "rom.mem",
  parameter STYLE = "auto"
) (
  input  wire                    clk,
  input  wire                    enable,
  input  wire [ADDRESS_BITS-1:0] address,
  output reg  [WIDTH-1:0]        value
);

  (* rom_style = STYLE, ram_style = STYLE *)
  reg [WIDTH-1:0] words [0:DEPTH-1];

  initial $readmemh(INIT_FILE, words);

  always @(posedge clk) if (enable) value <= words[address];

endmodule

`default_nettype wire
