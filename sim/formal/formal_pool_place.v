// formal_pool_place: has_pool_place names the window of every column, by division.
// The surroundings are has_core's: columns in order, line by line, each shown as often as it likes,
// from 0 in every pass; another stage, with other constants, begins with column 0. Windows stand
// side by side and are no larger than the map; sizes are small.
`default_nettype none

module formal_pool_place (
  input wire       clk,
  input wire       take,
  input wire       go,      // the next column, not the same again
  input wire       anew,    // a stage begins
  input wire [4:0] column,
  input wire [2:0] width_less_1,
  input wire [2:0] height_less_1,
  input wire [2:0] window_width_less_1,
  input wire [2:0] window_height_less_1,
  input wire [2:0] windows_wide,
  input wire [2:0] windows_high,
  input wire [7:0] channels,
  input wire [7:0] window_row
);

  wire [7:0] base;
  wire begins, whole;

  has_pool_place #(.COLUMN_BITS(5), .ELEMENT_BITS(8), .SIDE_BITS(3)) dut (
    .clk(clk), .take(take), .column(column), .width_less_1(width_less_1),
    .window_width_less_1(window_width_less_1), .window_height_less_1(window_height_less_1),
    .windows_wide(windows_wide), .windows_high(windows_high), .channels(channels),
    .window_row(window_row), .base(base), .begins(begins), .whole(whole)
  );

  (* keep *) wire [4:0] peek_held;      // dut.held
  (* keep *) wire [2:0] peek_x;         // dut.x
  (* keep *) wire [2:0] peek_in_x;      // dut.in_x
  (* keep *) wire [2:0] peek_in_y;      // dut.in_y
  (* keep *) wire [2:0] peek_window_x;  // dut.window_x
  (* keep *) wire [2:0] peek_window_y;  // dut.window_y
  (* keep *) wire [7:0] peek_place;     // dut.place
  (* keep *) wire [7:0] peek_line;      // dut.line

  wire [2:0] width = width_less_1 + 3'd1, height = height_less_1 + 3'd1;
  wire [2:0] across = window_width_less_1 + 3'd1, down = window_height_less_1 + 3'd1;

  // ---------------------------------------------------------------- the surroundings
  reg began = 1'b0;
  reg [2:0] x, y;  // of the column last taken
  wire first = !began || anew;
  wire line_end = x == width_less_1;
  wire map_end = line_end && y == height_less_1;
  wire [2:0] now_x = first ? 3'd0 : !go ? x : line_end ? 3'd0 : x + 3'd1;
  wire [2:0] now_y = first ? 3'd0 : !go ? y : map_end ? 3'd0 : line_end ? y + 3'd1 : y;
  wire [4:0] shown = now_y * {2'd0, width} + {2'd0, now_x};
  always @(posedge clk) if (take) begin
    began <= 1'b1;
    {x, y} <= {now_x, now_y};
  end
  always @* begin
    assume (width_less_1 < 3'd4 && height_less_1 < 3'd4 && channels > 0 && channels < 8'd4);
    assume (window_width_less_1 <= width_less_1 && window_height_less_1 <= height_less_1);
    assume (windows_wide == width / across && windows_high == height / down);
    assume (window_row == windows_wide * channels);
    if (take) assume (column == shown);
    if (anew) assume (take);
  end
  reg past = 1'b0;
  always @(posedge clk) past <= 1'b1;
  always @(posedge clk) if (past && !anew) begin
    assume ($stable({width_less_1, height_less_1, window_width_less_1, window_height_less_1,
                     channels}));
  end

  // ---------------------------------------------------------------- the column's window
  wire [2:0] window_x = now_x / across, window_y = now_y / down;
  wire [7:0] place = (window_y * windows_wide + {5'd0, window_x}) * channels;
  always @* if (take) begin
    in_map: assert (whole == (window_x < windows_wide && window_y < windows_high));
    if (whole) begin
      where: assert (base == place);
      first_of_window: assert (begins == (now_x % across == 3'd0 && now_y % down == 3'd0));
    end
  end

`ifndef OUTSIDE_ALONE
  // what ties the inside to the above
  wire [7:0] line = (y / down) * window_row;
  always @* if (began && !anew) begin
    assert (x <= width_less_1 && y <= height_less_1);
    assert (peek_held == y * {2'd0, width} + {2'd0, x} && peek_x == x);
    assert (peek_in_x == x % across && peek_window_x == x / across);
    assert (peek_in_y == y % down && peek_window_y == y / down);
    assert (peek_line == line && peek_place == line + (x / across) * channels);
  end
`endif

  always @(posedge clk) if (take && !first) begin
    cut_off: cover (!whole && windows_wide == 3'd1 && across == 3'd2);
    second_row: cover (whole && begins && window_y == 3'd1 && window_x == 3'd1);
    next_pass: cover (go && map_end && height_less_1 != 3'd0);
  end

endmodule

`default_nettype wire
