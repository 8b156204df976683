// has_scatter: writes up to SIMD neighbouring codes, lane 0 at element, into a buffer's banks.
// Two cycles after in_valid the codes stand in the buffer; one run a cycle.
// SIMD, BANKS: powers of two.
// in_lanes: how many lanes are written, 1 to SIMD.
// Datapath without reset; in_valid is control.
`default_nettype none

module has_scatter #(
  parameter SIMD = 8,           // lanes
  parameter LANE_BITS = 3,      // bits of SIMD - 1, at least 1
  parameter BANKS = 8,          // of the buffer, SIMD or more
  parameter BANK_BITS = 3,      // bits of BANKS - 1, at least 1
  parameter CODE_BITS = 8,      // bits
  parameter ELEMENT_BITS = 16,  // bits
  parameter WORD_BITS = 7       // bits of a bank address
) (
  input  wire                       clk,
  input  wire                       in_valid,
  input  wire [ELEMENT_BITS-1:0]    in_element,
  input  wire [LANE_BITS:0]         in_lanes,
  input  wire [SIMD*CODE_BITS-1:0]  in_codes,
  output reg  [BANKS-1:0]           write_enable,
  output reg  [BANKS*WORD_BITS-1:0] write_address,
  output reg  [BANKS*CODE_BITS-1:0] write_data
);

  wire [BANK_BITS-1:0] offset;
  wire [BANKS*WORD_BITS-1:0] address;
  wire [BANKS*CODE_BITS-1:0] codes, turned;
  wire [BANKS-1:0] lanes, banks;
  // bank b takes lane b - offset
  wire [BANK_BITS-1:0] back = {BANK_BITS{1'b0}} - offset;

  has_bank_address #(
    .BANKS(BANKS), .BANK_BITS(BANK_BITS), .ELEMENT_BITS(ELEMENT_BITS), .WORD_BITS(WORD_BITS)
  ) place (
    .element(in_element), .offset(offset), .address(address)
  );
  has_rotate #(.LANES(BANKS), .WIDTH(CODE_BITS), .BY_BITS(BANK_BITS)) turn_codes (
    .in(codes), .by(back), .out(turned)
  );
  has_rotate #(.LANES(BANKS), .WIDTH(1), .BY_BITS(BANK_BITS)) turn_lanes (
    .in(lanes), .by(back), .out(banks)
  );

  genvar i;
  generate
    for (i = 0; i < BANKS; i = i + 1) begin : g_lane
      if (i < SIMD) begin : g_code
        localparam [LANE_BITS:0] LANE = i;
        assign lanes[i] = LANE < in_lanes;
        assign codes[i*CODE_BITS +: CODE_BITS] = in_codes[i*CODE_BITS +: CODE_BITS];
      end else begin : g_none
        assign lanes[i] = 1'b0;
        assign codes[i*CODE_BITS +: CODE_BITS] = {CODE_BITS{1'b0}};
      end
    end
  endgenerate

  always @(posedge clk) begin
    write_enable <= in_valid ? banks : {BANKS{1'b0}};
    write_address <= address;
    write_data <= turned;
  end

endmodule

`default_nettype wire
