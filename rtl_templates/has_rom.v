// has_rom: a memory with a registered output, contents from a $readmemh file; read-only unless
// WRITABLE is 1: then the file holds the power-up contents.
// value = word at address, two enabled clock cycles later: a block RAM gives its word late in a
// cycle, so a register holds it before any logic. An address beyond DEPTH reads anything.
// INIT_FILE: plain name, found where the simulator or the synthesiser runs; "" = unknown contents.
// Synthesis chooses between block RAM and logic by size.
`default_nettype none

module has_rom #(
  parameter WIDTH = 8,         // bits
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
  reg [WIDTH-1:0] word;

  generate
    if (INIT_FILE != "") begin : g_contents
      initial $readmemh(INIT_FILE, words);
    end
  endgenerate

  generate
    if (WRITABLE != 0) begin : g_write
      always @(posedge clk) if (write_enable) words[write_address] <= write_value;
    end
  endgenerate

  always @(posedge clk) begin
    if (enable) begin
      word <= words[address];
      value <= word;
    end
  end

endmodule

`default_nettype wire
