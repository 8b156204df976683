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
  localparam [ELEMENT_BITS-1:0] NOTHING = 0;
  localparam [SIDE_BITS-1:0] NONE = 0, ONE = 1, TWO = 2;

  // ---------------------------------------------------------------- which lanes a run takes
  // Decided a cycle ahead, from the place in the kernel alone: every column is walked alike.
  // Until the start that is the first run's.
  reg row_begins;                          // the next run begins a row of the kernel
  reg [ELEMENT_BITS-1:0] left_held;        // elements to the row's end, where it does not
  reg [LANE_BITS:0] room_held;             // lanes of the step that are free
  reg [SIDE_BITS-1:0] rows_held;           // rows of the kernel below this one

  reg running;
  wire fresh = !running || row_begins;
  wire [ELEMENT_BITS-1:0] left = fresh ? kernel_row : left_held;
  wire [LANE_BITS:0] room = running ? room_held : LANES;
  wire [SIDE_BITS-1:0] rows = running ? rows_held : kernel_height_less_1;
  wire [ELEMENT_BITS-1:0] wide_room = {{(ELEMENT_BITS-LANE_BITS-1){1'b0}}, room};
  wire ends_row = left <= wide_room;
  wire fills = left >= wide_room;
  wire ends_column_a = ends_row && rows == NONE;

  // the second run, in the kernel's next row
  wire more = RUNS == 2 && ends_row && !fills && !ends_column_a;
  wire [LANE_BITS:0] room_b = room - left[LANE_BITS:0];
  wire [ELEMENT_BITS-1:0] wide_room_b = {{(ELEMENT_BITS-LANE_BITS-1){1'b0}}, room_b};
  wire ends_row_b = kernel_row <= wide_room_b;
  wire fills_b = kernel_row >= wide_room_b;
  wire ends_two = more && ends_row_b;
  wire ends_column = ends_column_a || (ends_two && rows == ONE);
  wire ends_step = fills || ends_column || (more && fills_b);
  wire [LANE_BITS:0] lane = LANES - room;
  wire [LANE_BITS:0] lane_b = ends_row ? lane + left[LANE_BITS:0] : LANES;
  wire [ELEMENT_BITS-1:0] wide_lane = {{(ELEMENT_BITS-LANE_BITS-1){1'b0}}, lane};

  // the run to be named
  reg row_end, two_rows, column_end, step_end;
  reg [LANE_BITS:0] run_lane, run_lane_b, run_end_b;
  reg [ELEMENT_BITS-1:0] shift;            // place in the kernel's row of lane 0

  wire decide = start || (running && move);

  always @(posedge clk) if (decide) begin
    row_begins <= more ? ends_row_b : ends_row;
    left_held <= more ? kernel_row - wide_room_b : left - wide_room;
    room_held <= ends_step ? LANES : more ? room_b - kernel_row[LANE_BITS:0] : room_b;
    // which run ends the row is known late: both differences are made, and one is chosen
    rows_held <= !ends_row ? rows : ends_column ? kernel_height_less_1
      : ends_two ? rows - TWO : rows - ONE;
    {row_end, two_rows, column_end, step_end} <= {ends_row, ends_two, ends_column, ends_step};
    run_lane <= lane;
    run_lane_b <= lane_b;
    run_end_b <= !more ? lane_b : ends_row_b ? lane_b + kernel_row[LANE_BITS:0] : LANES;
    // a run that does not begin its row begins its step
    shift <= fresh ? NOTHING - wide_lane : kernel_row - left_held;
  end

  // ---------------------------------------------------------------- where it stands in the map
  reg begins;
  reg [PASS_BITS-1:0] pass;
  reg [SIDE_BITS-1:0] out_y, out_x, y, y_column;
  reg [ELEMENT_BITS-1:0] base, base_column, x;

  wire line_end = out_x == out_width_less_1;
  wire map_end = line_end && out_y == out_height_less_1;
  wire [ELEMENT_BITS-1:0] wide_lane_b = {{(ELEMENT_BITS-LANE_BITS-1){1'b0}}, run_lane_b};
  wire [ELEMENT_BITS-1:0] x_here = x + shift;
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
      lane_first <= run_lane;
      lane_end <= run_lane_b;
      element_b <= base + map_row + x_here_b;
      x_place_b <= x_here_b;
      y_inside_b <= !y_b[SIDE_BITS-1] && y_b < map_height;
      lane_first_b <= run_lane_b;
      lane_end_b <= run_end_b;
      first <= begins;
      last <= step_end;
    end
    if (start) begin
      pass <= {PASS_BITS{1'b0}};
      {out_y, out_x} <= {2*SIDE_BITS{1'b0}};
      {y, y_column} <= {y_first, y_first};
      {base, base_column} <= {base_first, base_first};
      x <= x_first;
      begins <= 1'b1;
    end else if (running && move) begin
      begins <= step_end;
      if (row_end) begin
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
