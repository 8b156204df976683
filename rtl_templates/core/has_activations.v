// has_activations: the words of SIMD codes that a stage of the network reads, in the order in which
// it takes them: steps of a multiply layer, or maxima of a pooling's windows.
// valid/ready: a word stands still until it is taken. start begins a stage; all its constants,
// docs/core.md, stand still from then on. Poolings: lanes codes count, ending marks the last word.
// The feature map is outside: read_data is that of read_address one enabled cycle later.
`default_nettype none

module has_activations #(
  parameter RUNS = 1,           // runs of neighbours read in one cycle, 1 or 2
  parameter SIMD = 8,           // lanes
  parameter LANE_BITS = 3,      // bits of SIMD - 1, at least 1
  parameter BANKS = 8,          // of the feature map, SIMD or more
  parameter BANK_BITS = 3,      // bits of BANKS - 1, at least 1
  parameter CODE_BITS = 8,      // bits
  parameter ELEMENT_BITS = 16,  // bits of an element's number, two's complement
  parameter WORD_BITS = 7,      // bits of a bank address
  parameter SIDE_BITS = 8,      // bits of a row or position, two's complement
  parameter PASS_BITS = 4       // bits of passes - 1
) (
  input  wire                       clk,
  input  wire                       rst,
  input  wire                       start,
  input  wire                       pooling,
  input  wire                       code_signed,
  input  wire [PASS_BITS-1:0]       passes_less_1,
  input  wire [SIDE_BITS-1:0]       out_width_less_1,
  input  wire [SIDE_BITS-1:0]       out_height_less_1,
  input  wire [SIDE_BITS-1:0]       kernel_height_less_1,
  input  wire [SIDE_BITS-1:0]       kernel_width_less_1,
  input  wire [SIDE_BITS-1:0]       map_height,
  input  wire [SIDE_BITS-1:0]       y_first,
  input  wire [SIDE_BITS-1:0]       y_step,
  input  wire [ELEMENT_BITS-1:0]    map_row,
  input  wire [ELEMENT_BITS-1:0]    kernel_row,
  input  wire [ELEMENT_BITS-1:0]    x_first,
  input  wire [ELEMENT_BITS-1:0]    x_step,
  input  wire [ELEMENT_BITS-1:0]    base_first,
  input  wire [ELEMENT_BITS-1:0]    base_step,
  input  wire [ELEMENT_BITS-1:0]    channels,
  output wire                       read_enable,
  output wire [BANKS*WORD_BITS-1:0] read_address,
  output wire [BANKS*WORD_BITS-1:0] read_address_b,
  input  wire [BANKS*CODE_BITS-1:0] read_data,
  input  wire [BANKS*CODE_BITS-1:0] read_data_b,
  input  wire                       ready,
  output wire                       valid,
  output wire [SIMD*CODE_BITS-1:0]  codes,
  output wire [LANE_BITS:0]         lanes,
  output wire                       ending
);

  localparam [LANE_BITS:0] NO_LANE = 0;

  wire move = !valid || ready;
  assign read_enable = move;

  wire conv_valid, conv_y_inside, conv_first, conv_last, conv_y_inside_b;
  wire [ELEMENT_BITS-1:0] conv_element, conv_x_place, conv_element_b, conv_x_place_b;
  wire [LANE_BITS:0] conv_lane_first, conv_lane_end, conv_lane_first_b, conv_lane_end_b;
  wire pool_valid, pool_first, pool_last, pool_ending;
  wire [ELEMENT_BITS-1:0] pool_element;
  wire [LANE_BITS:0] pool_lane_end;

  has_conv_walk #(
    .RUNS(RUNS), .SIMD(SIMD), .LANE_BITS(LANE_BITS), .ELEMENT_BITS(ELEMENT_BITS),
    .SIDE_BITS(SIDE_BITS), .PASS_BITS(PASS_BITS)
  ) conv_walk (
    .clk(clk), .rst(rst), .start(start && !pooling), .move(move),
    .passes_less_1(passes_less_1), .out_width_less_1(out_width_less_1),
    .out_height_less_1(out_height_less_1), .kernel_height_less_1(kernel_height_less_1),
    .map_height(map_height), .y_first(y_first), .y_step(y_step), .map_row(map_row),
    .kernel_row(kernel_row), .x_first(x_first), .x_step(x_step), .base_first(base_first),
    .base_step(base_step), .valid(conv_valid), .element(conv_element), .x_place(conv_x_place),
    .y_inside(conv_y_inside), .lane_first(conv_lane_first), .lane_end(conv_lane_end),
    .element_b(conv_element_b), .x_place_b(conv_x_place_b), .y_inside_b(conv_y_inside_b),
    .lane_first_b(conv_lane_first_b), .lane_end_b(conv_lane_end_b),
    .first(conv_first), .last(conv_last)
  );

  has_pool_walk #(
    .SIMD(SIMD), .LANE_BITS(LANE_BITS), .ELEMENT_BITS(ELEMENT_BITS), .SIDE_BITS(SIDE_BITS)
  ) pool_walk (
    .clk(clk), .rst(rst), .start(start && pooling), .move(move),
    .out_width_less_1(out_width_less_1), .out_height_less_1(out_height_less_1),
    .kernel_height_less_1(kernel_height_less_1), .kernel_width_less_1(kernel_width_less_1),
    .channels(channels), .map_row(map_row), .x_step(x_step), .base_step(base_step),
    .valid(pool_valid), .element(pool_element), .lane_end(pool_lane_end), .first(pool_first),
    .last(pool_last), .ending(pool_ending)
  );

  has_gather #(
    .RUNS(RUNS), .SIMD(SIMD), .LANE_BITS(LANE_BITS), .BANKS(BANKS), .BANK_BITS(BANK_BITS),
    .CODE_BITS(CODE_BITS), .ELEMENT_BITS(ELEMENT_BITS), .WORD_BITS(WORD_BITS)
  ) gather (
    .clk(clk), .rst(rst), .move(move), .pooling(pooling), .code_signed(code_signed),
    .map_row(map_row),
    .run_valid(pooling ? pool_valid : conv_valid),
    .run_element(pooling ? pool_element : conv_element),
    .run_x_place(conv_x_place), .run_y_inside(conv_y_inside),
    .run_lane_first(pooling ? NO_LANE : conv_lane_first),
    .run_lane_end(pooling ? pool_lane_end : conv_lane_end),
    .run_first(pooling ? pool_first : conv_first), .run_last(pooling ? pool_last : conv_last),
    .run_ending(pool_ending),
    .run_element_b(conv_element_b), .run_x_place_b(conv_x_place_b),
    .run_y_inside_b(conv_y_inside_b), .run_lane_first_b(conv_lane_first_b),
    .run_lane_end_b(pooling ? NO_LANE : conv_lane_end_b),
    .read_address_b(read_address_b), .read_data_b(read_data_b), .read_address(read_address),
    .read_data(read_data), .out_valid(valid), .out_codes(codes), .out_lanes(lanes),
    .out_ending(ending)
  );

endmodule

`default_nettype wire
