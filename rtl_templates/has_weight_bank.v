// has_weight_bank: the weights of one PE: ROM_DEPTH words of fixed contents in map order, then
// EXT_DEPTH words that a stream fills, one pass of an external layer at a time.
// weight = word at read_address, one enabled clock cycle later (block RAM).
// WIDTH: SIMD * WEIGHT_BITS bits, multiplier 0 lowest. ADDRESS_BITS: counts both parts, at least 1.
// INIT_FILE: $readmemh file of the ROM part. Without EXT_DEPTH only WRITABLE = 1 writes.
`default_nettype none

module has_weight_bank #(
  parameter WIDTH = 32,        // bits
  parameter ROM_DEPTH = 16,    // words, 0 or more
  parameter EXT_DEPTH = 0,     // words, 0 or more; one of the two at least 1
  parameter ADDRESS_BITS = 4,  // bits
  parameter WRITABLE = 0,      // 1 = the ROM part is written too
  parameter INIT_FILE = ""
) (
  input  wire                    clk,
  input  wire                    read_enable,
  input  wire [ADDRESS_BITS-1:0] read_address,
  output reg  [WIDTH-1:0]        weight,
  /* verilator lint_off UNUSEDSIGNAL */  // without external layers nothing is written
  input  wire                    write_enable,
  input  wire [ADDRESS_BITS-1:0] write_address,
  input  wire [WIDTH-1:0]        write_weight
  /* verilator lint_on UNUSEDSIGNAL */
);

  (* rom_style = "block", ram_style = "block" *)
  reg [WIDTH-1:0] words [0:ROM_DEPTH+EXT_DEPTH-1];

  generate
    if (ROM_DEPTH > 0 && INIT_FILE != "") begin : g_rom
      initial $readmemh(INIT_FILE, words, 0, ROM_DEPTH - 1);
    end
    if (EXT_DEPTH > 0 || WRITABLE != 0) begin : g_write
      always @(posedge clk) if (write_enable) words[write_address] <= write_weight;
    end
  endgenerate

  always @(posedge clk) if (read_enable) weight <= words[read_address];

endmodule

`default_nettype wire
