// has_feature_maps: the two activation buffers; one is read while the other is written.
// read_data = words at read_address of map read_map, one enabled clock cycle later; read_map stands
// still while a stage runs. With RUNS = 2 read_address_b reads the same map: a second copy of both.
// With MERGE = 1 the map that is not read gives merge_data at merge_address, a cycle later.
// BANKS: banks of each buffer. DEPTH_0, DEPTH_1: words of a bank of each.
`default_nettype none

module has_feature_maps #(
  parameter RUNS = 1,       // 1 or 2
  parameter MERGE = 0,      // 1 = what is written is read before
  parameter BANKS = 8,      // banks
  parameter CODE_BITS = 8,  // bits
  parameter DEPTH_0 = 128,  // words
  parameter DEPTH_1 = 128,  // words
  parameter WORD_BITS = 7   // bits that count the deeper one's words, at least 1
) (
  input  wire                       clk,
  input  wire                       read_enable,
  input  wire                       read_map,
  input  wire [BANKS*WORD_BITS-1:0] read_address,
  /* verilator lint_off UNUSEDSIGNAL */  // RUNS = 1 reads once
  input  wire [BANKS*WORD_BITS-1:0] read_address_b,
  /* verilator lint_on UNUSEDSIGNAL */
  output wire [BANKS*CODE_BITS-1:0] read_data,
  output wire [BANKS*CODE_BITS-1:0] read_data_b,
  /* verilator lint_off UNUSEDSIGNAL */  // MERGE = 0 has none
  input  wire [BANKS*WORD_BITS-1:0] merge_address,
  /* verilator lint_on UNUSEDSIGNAL */
  output wire [BANKS*CODE_BITS-1:0] merge_data,
  input  wire                       write_map,
  input  wire [BANKS-1:0]           write_enable,
  input  wire [BANKS*WORD_BITS-1:0] write_address,
  input  wire [BANKS*CODE_BITS-1:0] write_data
);

  wire [2*RUNS*BANKS*CODE_BITS-1:0] data;  // map 0, map 1; then those of the copies
  wire [RUNS*BANKS*WORD_BITS-1:0] addresses;
  wire merge_0 = MERGE != 0 && read_map;
  wire merge_1 = MERGE != 0 && !read_map;
  wire [BANKS-1:0] write_0 = write_map ? {BANKS{1'b0}} : write_enable;
  wire [BANKS-1:0] write_1 = write_map ? write_enable : {BANKS{1'b0}};

  genvar n;
  generate
    for (n = 0; n < RUNS; n = n + 1) begin : g_copy
      has_act_buffer #(
        .BANKS(BANKS), .CODE_BITS(CODE_BITS), .DEPTH(DEPTH_0), .WORD_BITS(WORD_BITS)
      ) map_0 (
        .clk(clk), .read_enable(read_enable || merge_0),
        .read_address(merge_0 ? merge_address
          : addresses[n*BANKS*WORD_BITS +: BANKS*WORD_BITS]),
        .read_data(data[2*n*BANKS*CODE_BITS +: BANKS*CODE_BITS]),
        .write_enable(write_0), .write_address(write_address), .write_data(write_data)
      );
      has_act_buffer #(
        .BANKS(BANKS), .CODE_BITS(CODE_BITS), .DEPTH(DEPTH_1), .WORD_BITS(WORD_BITS)
      ) map_1 (
        .clk(clk), .read_enable(read_enable || merge_1),
        .read_address(merge_1 ? merge_address
          : addresses[n*BANKS*WORD_BITS +: BANKS*WORD_BITS]),
        .read_data(data[(2*n+1)*BANKS*CODE_BITS +: BANKS*CODE_BITS]),
        .write_enable(write_1), .write_address(write_address), .write_data(write_data)
      );
    end
    assign addresses[0 +: BANKS*WORD_BITS] = read_address;
    assign read_data = read_map ? data[BANKS*CODE_BITS +: BANKS*CODE_BITS]
                                : data[0 +: BANKS*CODE_BITS];
    assign merge_data = read_map ? data[0 +: BANKS*CODE_BITS]
                                 : data[BANKS*CODE_BITS +: BANKS*CODE_BITS];
    if (RUNS == 2) begin : g_second
      assign addresses[BANKS*WORD_BITS +: BANKS*WORD_BITS] = read_address_b;
      assign read_data_b = read_map ? data[3*BANKS*CODE_BITS +: BANKS*CODE_BITS]
                                    : data[2*BANKS*CODE_BITS +: BANKS*CODE_BITS];
    end else begin : g_once
      assign read_data_b = {BANKS*CODE_BITS{1'b0}};
    end
  endgenerate

endmodule

`default_nettype wire
