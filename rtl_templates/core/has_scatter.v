// has_scatter: writes up to SIMD neighbouring codes, lane 0 at element, into a buffer's banks.
// Two cycles after in_valid the codes stand in the buffer; one run a cycle.
// SIMD: a power of two.
// in_lanes: how many lanes are written, 1 to SIMD.
// Datapath without reset; in_valid is control.
`default_nettype none

module has_scatter #(
  parameter SIMD = 8,           // lanes
  parameter LANE_BITS = 3,      // bits of SIMD - 1, at least 1
  parameter CODE_BITS = 8,      // bits
  parameter ELEMENT_BITS = 16,  // bits
  parameter WORD_BITS = 7       // bits of a bank address
) (
  input  wire                      clk,
  input  wire                      in_valid,
  input  wire [ELEMENT_BITS-1:0]   in_element,
  input  wire [LANE_BITS:0]        in_lanes,
  input  wire [SIMD*CODE_BITS-1:0] in_codes,
  output reg  [SIMD-1:0]           write_enable,
  output reg  [SIMD*WORD_BITS-1:0] write_address,
  output reg  [SIMD*CODE_BITS-1:0] write_data
);

  wire [LANE_BITS-1:0] offset;
  wire [SIMD*WORD_BITS-1:0] address;
  wire [SIMD*CODE_BITS-1:0] turned;
  wire [SIMD-1:0] lanes, banks;
  // bank b takes lane b - offset
  wire [LANE_BITS-1:0] back = {LANE_BITS{1'b0}} - offset;

  has_bank_address #(
    .SIMD(SIMD), .LANE_BITS(LANE_BITS), .ELEMENT_BITS(ELEMENT_BITS), .WORD_BITS(WORD_BITS)
  ) place (
    .element(in_element), .offset(offset), .address(address)
  );
  has_rotate #(.LANES(SIMD), .WIDTH(CODE_BITS), .BY_BITS(LANE_BITS)) turn_codes (
    .in(in_codes), .by(back), .out(turned)
  );
  has_rotate #(.LANES(SIMD), .WIDTH(1), .BY_BITS(LANE_BITS)) turn_lanes (
    .in(lanes), .by(back), .out(banks)
  );

  genvar i;
  generate
    for (i = 0; i < SIMD; i = i + 1) begin : g_lane
      localparam [LANE_BITS:0] LANE = i;
      assign lanes[i] = LANE < in_lanes;
    end
  endgenerate

  always @(posedge clk) begin
    write_enable <= in_valid ? banks : {SIMD{1'b0}};
    write_address <= address;
    write_data <= turned;
  end

endmodule

`default_nettype wire
