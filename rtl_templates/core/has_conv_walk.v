// has_conv_walk: names the activations of a multiply layer, RUNS runs of neighbours a cycle, in the
// order pass, column (y, x), step. A run ends with its step or with its row of the kernel; a second
// one (*_b) goes on with the step in the kernel's next row.
// A dense layer is a kernel of one row and one position. Outputs are registered and hold while
// move = 0. element and x_place are those of lane 0, lanes lane_first..lane_end-1 are meant; a
// lane whose x_place is outside the map's row, or any with y_inside = 0, is padding.
`default_nettype none

module has_conv_walk #(
  parameter RUNS = 1,           // 1 or 2
  parameter SIMD = 8,           // lanes
  parameter LANE_BITS = 3,      // bits of SIMD - 1, at least 1
  parameter ELEMENT_BITS = 16,  // bits of an element's number, two's complement
  parameter SIDE_BITS = 8,      // bits of a row or position, two's complement
  parameter PASS_BITS = 4       // bits of passes - 1
) (
  input  wire                    clk,
  input  wire                    rst,
  input  wire                    start,
  input  wire                    move,
  input  wire [PASS_BITS-1:0]    passes_less_1,
  input  wire [SIDE_BITS-1:0]    out_width_less_1,
  input  wire [SIDE_BITS-1:0]    out_height_less_1,
  input  wire [SIDE_BITS-1:0]    kernel_height_less_1,
  input  wire [SIDE_BITS-1:0]    map_height,
  input  wire [SIDE_BITS-1:0]    y_first,     // map row of the first kernel row: - padding
  input  wire [SIDE_BITS-1:0]    y_step,      // stride
  input  wire [ELEMENT_BITS-1:0] map_row,     // elements in a row of the map
  input  wire [ELEMENT_BITS-1:0] kernel_row,  // elements in a row of the kernel
  input  wire [ELEMENT_BITS-1:0] x_first,     // place in the row of the first: - padding * channels
  input  wire [ELEMENT_BITS-1:0] x_step,      // stride * channels
  input  wire [ELEMENT_BITS-1:0] base_first,  // first element of map row y_first
  input  wire [ELEMENT_BITS-1:0] base_step,   // stride * map_row
  output reg                     valid,
  output reg  [ELEMENT_BITS-1:0] element,
  output reg  [ELEMENT_BITS-1:0] x_place,
  output reg                     y_inside,
  output reg  [LANE_BITS:0]      lane_first,
  output reg  [LANE_BITS:0]      lane_end,
  output reg  [ELEMENT_BITS-1:0] element_b,
  output reg  [ELEMENT_BITS-1:0] x_place_b,
  output reg                     y_inside_b,
  output reg  [LANE_BITS:0]      lane_first_b,
  output reg  [LANE_BITS:0]      lane_end_b,
  output reg                     first,  // of the step
  output reg                     last    // of the step
);

  localparam [LANE_BITS:0] LANES = SIMD;
  localparam [LANE_BITS:0] NO_LANE = 0;
  localparam [ELEMENT_BITS-1:0] ORIGIN = 0;

  reg running, begins;
  reg [PASS_BITS-1:0] pass;
  reg [SIDE_BITS-1:0] out_y, out_x, kernel_y, y, y_column;
  reg [ELEMENT_BITS-1:0] base, base_column, x, place;
  reg [LANE_BITS:0] lane;

  wire [LANE_BITS:0] room = LANES - lane;
  wire [ELEMENT_BITS-1:0] wide_lane = {{(ELEMENT_BITS-LANE_BITS-1){1'b0}}, lane};
  wire [ELEMENT_BITS-1:0] wide_room = {{(ELEMENT_BITS-LANE_BITS-1){1'b0}}, room};
  wire [ELEMENT_BITS-1:0] left = kernel_row - place;
  wire row_end = left <= wide_room;
  wire full = left >= wide_room;
  wire [LANE_BITS:0] lanes = row_end ? left[LANE_BITS:0] : room;
  wire [ELEMENT_BITS-1:0] wide_lanes = {{(ELEMENT_BITS-LANE_BITS-1){1'b0}}, lanes};
  wire column_end_a = row_end && kernel_y == kernel_height_less_1;

  // the second run, in the kernel's next row
  wire more = RUNS == 2 && row_end && !full && !column_end_a;
  wire [LANE_BITS:0] lane_b = lane + lanes;
  wire [LANE_BITS:0] room_b = LANES - lane_b;
  wire [ELEMENT_BITS-1:0] wide_lane_b = {{(ELEMENT_BITS-LANE_BITS-1){1'b0}}, lane_b};
  wire [ELEMENT_BITS-1:0] wide_room_b = {{(ELEMENT_BITS-LANE_BITS-1){1'b0}}, room_b};
  wire row_end_b = kernel_row <= wide_room_b;
  wire full_b = kernel_row >= wide_room_b;
  wire [LANE_BITS:0] lanes_b = row_end_b ? kernel_row[LANE_BITS:0] : room_b;
  wire [ELEMENT_BITS-1:0] wide_lanes_b = {{(ELEMENT_BITS-LANE_BITS-1){1'b0}}, lanes_b};
  wire two_rows = more && row_end_b;
  wire [SIDE_BITS-1:0] next_kernel_y = kernel_y + 1'b1;
  wire column_end_b = two_rows && next_kernel_y == kernel_height_less_1;

  wire column_end = column_end_a || column_end_b;
  wire step_end = full || column_end || (more && full_b);
  wire line_end = out_x == out_width_less_1;
  wire map_end = line_end && out_y == out_height_less_1;
  wire [ELEMENT_BITS-1:0] x_here = x + place - wide_lane;
  wire [ELEMENT_BITS-1:0] x_here_b = x - wide_lane_b;
  wire [SIDE_BITS-1:0] y_b = y + 1'b1;

  // where the next column stands
  wire [ELEMENT_BITS-1:0] next_base =
    map_end ? base_first : line_end ? base_column + base_step : base_column;
  wire [SIDE_BITS-1:0] next_y = map_end ? y_first : line_end ? y_column + y_step : y_column;

  always @(posedge clk) begin
    if (move) begin
      element <= base + x_here;
      x_place <= x_here;
      y_inside <= !y[SIDE_BITS-1] && y < map_height;
      lane_first <= lane;
      lane_end <= lane + lanes;
      element_b <= base + map_row + x_here_b;
      x_place_b <= x_here_b;
      y_inside_b <= !y_b[SIDE_BITS-1] && y_b < map_height;
      lane_first_b <= lane_b;
      lane_end_b <= more ? lane_b + lanes_b : lane_b;
      first <= begins;
      last <= step_end;
    end
    if (start) begin
      pass <= {PASS_BITS{1'b0}};
      {out_y, out_x, kernel_y} <= {3*SIDE_BITS{1'b0}};
      {y, y_column} <= {y_first, y_first};
      {base, base_column} <= {base_first, base_first};
      x <= x_first;
      place <= ORIGIN;
      lane <= NO_LANE;
      begins <= 1'b1;
    end else if (running && move) begin
      begins <= step_end;
      lane <= step_end ? NO_LANE : more ? lane_b + lanes_b : lane_b;
      place <= (column_end || two_rows) ? ORIGIN : more ? wide_lanes_b :
        row_end ? ORIGIN : place + wide_lanes;
      if (row_end) begin
        kernel_y <= column_end ? {SIDE_BITS{1'b0}} : two_rows ? next_kernel_y + 1'b1 : next_kernel_y;
        y <= column_end ? next_y : two_rows ? y_b + 1'b1 : y_b;
        base <= column_end ? next_base : two_rows ? base + map_row + map_row : base + map_row;
      end
      if (column_end) begin
        out_x <= line_end ? {SIDE_BITS{1'b0}} : out_x + 1'b1;
        x <= line_end ? x_first : x + x_step;
        if (line_end) out_y <= map_end ? {SIDE_BITS{1'b0}} : out_y + 1'b1;
        y_column <= next_y;
        base_column <= next_base;
        if (map_end) pass <= pass + 1'b1;
      end
    end
  end

  always @(posedge clk) begin
    if (rst) begin
      running <= 1'b0;
      valid <= 1'b0;
    end else begin
      if (move) valid <= running;
      if (start) running <= 1'b1;
      else if (move && column_end && map_end && pass == passes_less_1) running <= 1'b0;
    end
  end

endmodule

`default_nettype wire
