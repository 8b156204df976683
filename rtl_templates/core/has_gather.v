// has_gather: turns runs of neighbouring elements into whole words of SIMD codes.
// Three register stages after the run: read, align, merge. Runs of one step are laid side by side
// (lanes that no run names are code 0); with pooling, they meet in the maximum of each lane.
// out_valid comes with a step's or window's last run. All stages move together: move = 0 holds.
// The banks are outside: read_address goes to the buffer, read_data comes one move later.
`default_nettype none

module has_gather #(
  parameter SIMD = 8,           // lanes
  parameter LANE_BITS = 3,      // bits of SIMD - 1, at least 1
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
  output wire [SIMD*WORD_BITS-1:0] read_address,
  input  wire [SIMD*CODE_BITS-1:0] read_data,
  output reg                       out_valid,
  output reg  [SIMD*CODE_BITS-1:0] out_codes,
  output reg  [LANE_BITS:0]        out_lanes,
  output reg                       out_ending
);

  wire [LANE_BITS-1:0] run_offset;
  has_bank_address #(
    .SIMD(SIMD), .LANE_BITS(LANE_BITS), .ELEMENT_BITS(ELEMENT_BITS), .WORD_BITS(WORD_BITS)
  ) banks (
    .element(run_element), .offset(run_offset), .address(read_address)
  );

  reg valid_2, first_2, last_2, ending_2, y_inside_2;
  reg [LANE_BITS-1:0] offset_2;
  reg [LANE_BITS:0] lane_first_2, lane_end_2;
  reg [ELEMENT_BITS-1:0] x_place_2;
  wire [SIMD*CODE_BITS-1:0] aligned;
  wire [SIMD-1:0] meant_2, inside_2;

  reg valid_3, first_3, last_3, ending_3;
  reg [LANE_BITS:0] lane_end_3;
  reg [SIMD-1:0] meant_3;
  reg [SIMD*CODE_BITS-1:0] codes_3;

  has_rotate #(.LANES(SIMD), .WIDTH(CODE_BITS), .BY_BITS(LANE_BITS)) align (
    .in(read_data), .by(offset_2), .out(aligned)
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
      meant_3 <= meant_2;
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
      localparam [LANE_BITS:0] LANE = i;
      localparam [ELEMENT_BITS-1:0] PLACE = i;
      wire [ELEMENT_BITS-1:0] x_place = x_place_2 + PLACE;
      assign meant_2[i] = LANE >= lane_first_2 && LANE < lane_end_2;
      assign inside_2[i] =
        pooling || (y_inside_2 && !x_place[ELEMENT_BITS-1] && x_place < map_row);

      wire [CODE_BITS-1:0] code = codes_3[i*CODE_BITS +: CODE_BITS];
      wire [CODE_BITS-1:0] held = out_codes[i*CODE_BITS +: CODE_BITS];
      // with the sign bit turned over, two's complement compares as unsigned
      wire [CODE_BITS-1:0] turn = {code_signed, {(CODE_BITS-1){1'b0}}};
      wire greater = (code ^ turn) > (held ^ turn);

      always @(posedge clk) begin
        if (move) begin
          codes_3[i*CODE_BITS +: CODE_BITS] <=
            (meant_2[i] && inside_2[i]) ? aligned[i*CODE_BITS +: CODE_BITS] : {CODE_BITS{1'b0}};
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
