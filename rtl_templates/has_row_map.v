// has_row_map: which natural row a slot of the schedule computes, from the row-map ROM.
// Slots stand in order (layer, pass, PE). row and used come two enabled cycles after the address.
// used = 0: the slot is idle (its word is all ones) and its result is to be dropped.
// ROW_BITS: bits of a row number and of the ROM's words. DEPTH: slots. ADDRESS_BITS: at least 1.
// INIT_FILE: $readmemh file.
`default_nettype none

module has_row_map #(
  parameter ROW_BITS = 5,      // bits
  parameter DEPTH = 16,        // slots
  parameter ADDRESS_BITS = 4,  // bits
  parameter WRITABLE = 0,      // 1 = the write port acts
  parameter INIT_FILE = "row_map.mem"
) (
  input  wire                    clk,
  input  wire                    enable,
  input  wire [ADDRESS_BITS-1:0] slot,
  output wire [ROW_BITS-1:0]     row,
  output wire                    used,
  input  wire                    write_enable,
  input  wire [ADDRESS_BITS-1:0] write_address,
  input  wire [ROW_BITS-1:0]     write_value
);

  has_rom #(
    .WIDTH(ROW_BITS), .DEPTH(DEPTH), .ADDRESS_BITS(ADDRESS_BITS), .INIT_FILE(INIT_FILE),
    .WRITABLE(WRITABLE)
  ) rom (
    .clk(clk), .enable(enable), .address(slot), .value(row),
    .write_enable(write_enable), .write_address(write_address), .write_value(write_value)
  );

  assign used = ~&row;

endmodule

`default_nettype wire
