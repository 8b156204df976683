// has_lane_range: which lanes a run of neighbours means, and which of all lanes lie in the map.
// x_place: place in the map's row of lane 0, two's complement; outside 0..map_row-1 is padding.
// Lanes lane_first..lane_end-1 are meant. y_inside = 0: the whole row is padding.
// Combinational.
`default_nettype none

module has_lane_range #(
  parameter SIMD = 8,          // lanes
  parameter LANE_BITS = 3,     // bits of SIMD - 1, at least 1
  parameter ELEMENT_BITS = 16  // bits, two's complement
) (
  input  wire [LANE_BITS:0]      lane_first,
  input  wire [LANE_BITS:0]      lane_end,
  input  wire [ELEMENT_BITS-1:0] x_place,
  input  wire                    y_inside,
  input  wire [ELEMENT_BITS-1:0] map_row,
  output wire [SIMD-1:0]         meant,
  output wire [SIMD-1:0]         in_map
);

  genvar i;
  generate
    for (i = 0; i < SIMD; i = i + 1) begin : g_lane
      localparam [LANE_BITS:0] LANE = i;
      localparam [ELEMENT_BITS-1:0] PLACE = i;
      wire [ELEMENT_BITS-1:0] place = x_place + PLACE;
      assign meant[i] = LANE >= lane_first && LANE < lane_end;
      assign in_map[i] = y_inside && !place[ELEMENT_BITS-1] && place < map_row;
    end
  endgenerate

endmodule

`default_nettype wire
