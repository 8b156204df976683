// has_pool_walk: names the codes of a maximum pooling, SIMD neighbouring channels a cycle, in the
// order output position (y, x), group of channels, kernel (ky, kx). No padding.
// Outputs are registered and hold while move = 0. Lanes 0..lane_end-1 are meant, from element on.
// first, last: of the window. ending: the last window's last.
// The maxima leave in the order of the pooled map's elements.
`default_nettype none

module has_pool_walk #(
  parameter SIMD = 8,           // lanes
  parameter LANE_BITS = 3,      // bits of SIMD - 1, at least 1
  parameter ELEMENT_BITS = 16,  // bits of an element's number
  parameter SIDE_BITS = 8       // bits of a row or position
) (
  input  wire                    clk,
  input  wire                    rst,
  input  wire                    start,
  input  wire                    move,
  input  wire [SIDE_BITS-1:0]    out_width_less_1,
  input  wire [SIDE_BITS-1:0]    out_height_less_1,
  input  wire [SIDE_BITS-1:0]    kernel_height_less_1,
  input  wire [SIDE_BITS-1:0]    kernel_width_less_1,
  input  wire [ELEMENT_BITS-1:0] channels,
  input  wire [ELEMENT_BITS-1:0] map_row,    // elements in a row of the map
  input  wire [ELEMENT_BITS-1:0] x_step,     // stride * channels
  input  wire [ELEMENT_BITS-1:0] base_step,  // stride * map_row
  output reg                     valid,
  output reg  [ELEMENT_BITS-1:0] element,
  output reg  [LANE_BITS:0]      lane_end,
  output reg                     first,
  output reg                     last,
  output reg                     ending
);

  localparam [ELEMENT_BITS-1:0] LANES = SIMD;
  localparam [LANE_BITS:0] ALL_LANES = SIMD;
  localparam [ELEMENT_BITS-1:0] ORIGIN = 0;

  reg running;
  reg [SIDE_BITS-1:0] out_y, out_x, kernel_y, kernel_x;
  reg [ELEMENT_BITS-1:0] base, x, channel;  // first element of the window's first row; in the row
  reg [ELEMENT_BITS-1:0] row, place;        // of the kernel's row and place within the window

  wire [ELEMENT_BITS-1:0] left = channels - channel;
  wire group_end = left <= LANES;
  wire row_end = kernel_x == kernel_width_less_1;
  wire window_end = row_end && kernel_y == kernel_height_less_1;
  wire line_end = out_x == out_width_less_1;
  wire map_end = line_end && out_y == out_height_less_1;
  wire all_end = window_end && group_end && map_end;

  always @(posedge clk) begin
    if (move) begin
      element <= base + x + row + place + channel;
      lane_end <= group_end ? left[LANE_BITS:0] : ALL_LANES;
      first <= kernel_x == {SIDE_BITS{1'b0}} && kernel_y == {SIDE_BITS{1'b0}};
      last <= window_end;
      ending <= all_end;
    end
    if (start) begin
      {out_y, out_x, kernel_y, kernel_x} <= {4*SIDE_BITS{1'b0}};
      {base, x, channel, row, place} <= {5*ELEMENT_BITS{1'b0}};
    end else if (running && move) begin
      kernel_x <= row_end ? {SIDE_BITS{1'b0}} : kernel_x + 1'b1;
      place <= row_end ? ORIGIN : place + channels;
      if (row_end) begin
        kernel_y <= window_end ? {SIDE_BITS{1'b0}} : kernel_y + 1'b1;
        row <= window_end ? ORIGIN : row + map_row;
      end
      if (window_end) channel <= group_end ? ORIGIN : channel + LANES;
      if (window_end && group_end) begin
        out_x <= line_end ? {SIDE_BITS{1'b0}} : out_x + 1'b1;
        x <= line_end ? ORIGIN : x + x_step;
        if (line_end) begin
          out_y <= out_y + 1'b1;
          base <= base + base_step;
        end
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
      else if (move && all_end) running <= 1'b0;
    end
  end

endmodule

`default_nettype wire
