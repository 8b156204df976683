// has_gather: turns runs of neighbouring elements into whole words of SIMD codes.
// Three register stages after the run: read, align, merge. Runs of one step are laid side by side
// (lanes that no run names are code 0); with pooling, they meet in the maximum of each lane.
// out_valid comes with a step's or window's last run. All stages move together: move = 0 holds.
// The banks, SIMD or more, are outside: read_address goes to them, read_data comes one move later. A second
// run of the step (*_b, RUNS = 2) has a read port of its own.
`default_nettype none

module has_gather #(
  parameter RUNS = 1,           // 1 or 2
  parameter SIMD = 8,           // lanes
  parameter LANE_BITS = 3,      // bits of SIMD - 1, at least 1
  parameter BANKS = 8,          // of the buffer, SIMD or more
  parameter BANK_BITS = 3,      // bits of BANKS - 1, at least 1
  parameter CODE_BITS = 8,      // bits
  parameter ELEMENT_BITS = 16,  // bits, two's complement
  parameter WORD_BITS = 7       // bits of a bank address
) (
  input  wire                      clk,
  input  wire                      rst,
  input  wire                      move,
  input  wire                      pooling,      // stands still while a stage runs
  input  wire                      code_signed,  // so does this
  input  wire [ELEMENT_BITS-1:0]   map_row,      // and this: elements in a row of the map
  input  wire                      run_valid,
  input  wire [ELEMENT_BITS-1:0]   run_element,
  input  wire [ELEMENT_BITS-1:0]   run_x_place,
  input  wire                      run_y_inside,
  input  wire [LANE_BITS:0]        run_lane_first,
  input  wire [LANE_BITS:0]        run_lane_end,
  input  wire                      run_first,
  input  wire                      run_last,
  input  wire                      run_ending,
  /* verilator lint_off UNUSEDSIGNAL */  // RUNS = 1 has no second run
  input  wire [ELEMENT_BITS-1:0]   run_element_b,
  input  wire [ELEMENT_BITS-1:0]   run_x_place_b,
  input  wire                      run_y_inside_b,
  input  wire [LANE_BITS:0]        run_lane_first_b,
  input  wire [LANE_BITS:0]        run_lane_end_b,
  output wire [BANKS*WORD_BITS-1:0] read_address_b,
  input  wire [BANKS*CODE_BITS-1:0] read_data_b,
  /* verilator lint_on UNUSEDSIGNAL */
  output wire [BANKS*WORD_BITS-1:0] read_address,
  input  wire [BANKS*CODE_BITS-1:0] read_data,
  output reg                       out_valid,
  output reg  [SIMD*CODE_BITS-1:0] out_codes,
  output reg  [LANE_BITS:0]        out_lanes,
  output reg                       out_ending
);

  wire [BANK_BITS-1:0] run_offset;
  has_bank_address #(
    .BANKS(BANKS), .BANK_BITS(BANK_BITS), .ELEMENT_BITS(ELEMENT_BITS), .WORD_BITS(WORD_BITS)
  ) banks (
    .element(run_element), .offset(run_offset), .address(read_address)
  );

  reg valid_2, first_2, last_2, ending_2, y_inside_2;
  reg [BANK_BITS-1:0] offset_2;
  reg [LANE_BITS:0] lane_first_2, lane_end_2;
  reg [ELEMENT_BITS-1:0] x_place_2;
  /* verilator lint_off UNUSEDSIGNAL */  // of more banks than lanes, the first are read
  wire [BANKS*CODE_BITS-1:0] aligned, aligned_b;
  /* verilator lint_on UNUSEDSIGNAL */
  wire [SIMD-1:0] meant_2, inside_2;

  reg valid_3, first_3, last_3, ending_3;
  reg [LANE_BITS:0] lane_end_3;
  reg [SIMD-1:0] meant_3;
  reg [SIMD*CODE_BITS-1:0] codes_3;

  has_rotate #(.LANES(BANKS), .WIDTH(CODE_BITS), .BY_BITS(BANK_BITS)) align (
    .in(read_data), .by(offset_2), .out(aligned)
  );

  wire [SIMD-1:0] meant_b, inside_b;

  generate
    if (RUNS == 2) begin : g_second
      wire [BANK_BITS-1:0] offset;
      reg [BANK_BITS-1:0] offset_held;
      reg [LANE_BITS:0] lane_first, lane_end;
      reg [ELEMENT_BITS-1:0] x_place;
      reg y_inside;

      has_bank_address #(
        .BANKS(BANKS), .BANK_BITS(BANK_BITS), .ELEMENT_BITS(ELEMENT_BITS), .WORD_BITS(WORD_BITS)
      ) banks_b (
        .element(run_element_b), .offset(offset), .address(read_address_b)
      );
      has_rotate #(.LANES(BANKS), .WIDTH(CODE_BITS), .BY_BITS(BANK_BITS)) align_b (
        .in(read_data_b), .by(offset_held), .out(aligned_b)
      );
      has_lane_range #(
        .SIMD(SIMD), .LANE_BITS(LANE_BITS), .ELEMENT_BITS(ELEMENT_BITS)
      ) range_b (
        .lane_first(lane_first), .lane_end(lane_end), .x_place(x_place), .y_inside(y_inside),
        .map_row(map_row), .meant(meant_b), .in_map(inside_b)
      );
      always @(posedge clk) begin
        if (move) begin
          offset_held <= offset;
          {lane_first, lane_end} <= {run_lane_first_b, run_lane_end_b};
          x_place <= run_x_place_b;
          y_inside <= run_y_inside_b;
        end
      end
    end else begin : g_one
      assign read_address_b = {BANKS*WORD_BITS{1'b0}};
      assign aligned_b = {BANKS*CODE_BITS{1'b0}};
      assign meant_b = {SIMD{1'b0}};
      assign inside_b = {SIMD{1'b0}};
    end
  endgenerate

  wire [SIMD-1:0] in_map;
  assign inside_2 = in_map | {SIMD{pooling}};
  has_lane_range #(
    .SIMD(SIMD), .LANE_BITS(LANE_BITS), .ELEMENT_BITS(ELEMENT_BITS)
  ) range_a (
    .lane_first(lane_first_2), .lane_end(lane_end_2), .x_place(x_place_2), .y_inside(y_inside_2),
    .map_row(map_row), .meant(meant_2), .in_map(in_map)
  );

  always @(posedge clk) begin
    if (move) begin
      {first_2, last_2, ending_2} <= {run_first, run_last, run_ending};
      y_inside_2 <= run_y_inside;
      offset_2 <= run_offset;
      {lane_first_2, lane_end_2} <= {run_lane_first, run_lane_end};
      x_place_2 <= run_x_place;
      {first_3, last_3, ending_3} <= {first_2, last_2, ending_2};
      lane_end_3 <= lane_end_2;
      meant_3 <= meant_2 | meant_b;
      out_lanes <= lane_end_3;
      out_ending <= ending_3;
    end
  end

  always @(posedge clk) begin
    if (rst) begin
      {valid_2, valid_3, out_valid} <= 3'b000;
    end else if (move) begin
      valid_2 <= run_valid;
      valid_3 <= valid_2;
      out_valid <= valid_3 && last_3;
    end
  end

  genvar i;
  generate
    for (i = 0; i < SIMD; i = i + 1) begin : g_lane
      wire [CODE_BITS-1:0] code = codes_3[i*CODE_BITS +: CODE_BITS];
      wire [CODE_BITS-1:0] held = out_codes[i*CODE_BITS +: CODE_BITS];
      // with the sign bit turned over, two's complement compares as unsigned
      wire [CODE_BITS-1:0] turn = {code_signed, {(CODE_BITS-1){1'b0}}};
      wire greater = (code ^ turn) > (held ^ turn);

      always @(posedge clk) begin
        if (move) begin
          codes_3[i*CODE_BITS +: CODE_BITS] <=
            (meant_2[i] && inside_2[i]) ? aligned[i*CODE_BITS +: CODE_BITS] :
            (meant_b[i] && inside_b[i]) ? aligned_b[i*CODE_BITS +: CODE_BITS] : {CODE_BITS{1'b0}};
          if (valid_3) begin
            if (first_3 || (pooling ? greater : meant_3[i])) begin
              out_codes[i*CODE_BITS +: CODE_BITS] <= code;
            end
          end
        end
      end
    end
  endgenerate

endmodule

`default_nettype wire
