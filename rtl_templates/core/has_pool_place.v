// has_pool_place: where a column's codes stand in the map that is written: the column itself, or,
// of a layer whose maxima are kept (windows side by side), its window.
// take with a new column moves on; base, begins and whole are those of the column shown, within
// the cycle. Columns come in the order (y, x), from 0 in every pass, none left out.
// begins: the window's first column. whole: all of the window is in the map, else its codes are not written.
// Registers without reset: column 0 begins anew.
`default_nettype none

module has_pool_place #(
  parameter COLUMN_BITS = 24,   // bits of a column
  parameter ELEMENT_BITS = 16,  // bits of an element's number
  parameter SIDE_BITS = 8       // bits of a row or position
) (
  input  wire                    clk,
  input  wire                    take,
  input  wire [COLUMN_BITS-1:0]  column,
  input  wire [SIDE_BITS-1:0]    width_less_1,         // columns in a line, less 1
  input  wire [SIDE_BITS-1:0]    window_width_less_1,  // columns and lines of a window, less 1
  input  wire [SIDE_BITS-1:0]    window_height_less_1,
  input  wire [SIDE_BITS-1:0]    windows_wide,         // whole windows in a line
  input  wire [SIDE_BITS-1:0]    windows_high,
  input  wire [ELEMENT_BITS-1:0] channels,
  input  wire [ELEMENT_BITS-1:0] window_row,           // elements in a row of the map written
  output wire [ELEMENT_BITS-1:0] base,                 // of channel 0
  output wire                    begins,
  output wire                    whole
);

  localparam [SIDE_BITS-1:0] NONE = 0;

  // of the column last taken
  reg [COLUMN_BITS-1:0] held;
  reg [SIDE_BITS-1:0] x, in_x, in_y, window_x, window_y;
  reg [ELEMENT_BITS-1:0] place, line;

  // of the one after it
  wire line_end = x == width_less_1;
  wire across = in_x == window_width_less_1;
  wire down = in_y == window_height_less_1;
  wire [ELEMENT_BITS-1:0] next_line = line_end && down ? line + window_row : line;

  wire origin = column == {COLUMN_BITS{1'b0}};
  wire step = column != held;
  wire [SIDE_BITS-1:0] x_now = origin ? NONE : !step ? x : line_end ? NONE : x + 1'b1;
  wire [SIDE_BITS-1:0] in_x_now =
    origin ? NONE : !step ? in_x : line_end || across ? NONE : in_x + 1'b1;
  wire [SIDE_BITS-1:0] in_y_now =
    origin ? NONE : !(step && line_end) ? in_y : down ? NONE : in_y + 1'b1;
  wire [SIDE_BITS-1:0] window_x_now =
    origin ? NONE : !step ? window_x : line_end ? NONE : across ? window_x + 1'b1 : window_x;
  wire [SIDE_BITS-1:0] window_y_now =
    origin ? NONE : step && line_end && down ? window_y + 1'b1 : window_y;
  wire [ELEMENT_BITS-1:0] line_now =
    origin ? {ELEMENT_BITS{1'b0}} : step ? next_line : line;

  assign base = origin ? {ELEMENT_BITS{1'b0}} : !step ? place : line_end ? next_line :
    across ? place + channels : place;
  assign begins = in_x_now == NONE && in_y_now == NONE;
  assign whole = window_x_now < windows_wide && window_y_now < windows_high;

  always @(posedge clk) begin
    if (take) begin
      held <= column;
      x <= x_now;
      {in_x, in_y} <= {in_x_now, in_y_now};
      {window_x, window_y} <= {window_x_now, window_y_now};
      {place, line} <= {base, line_now};
    end
  end

endmodule

`default_nettype wire
