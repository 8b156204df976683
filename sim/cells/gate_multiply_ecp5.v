// gate_multiply_ecp5: the 18 x 18 multiplier of an ECP5 without its registers, as yosys maps to it.
// Stands inside MULT18X18D. Anything that is not modelled does not elaborate.
`default_nettype none

module gate_multiply_ecp5 #(
  parameter REFUSED = 0  // registers, bypass, cascades
) (
  input  wire [17:0] a,
  input  wire [17:0] b,
  input  wire        signed_a,
  input  wire        signed_b,
  input  wire        cascaded,  // an operand of the neighbour
  output wire [35:0] p
);

  generate
    if (REFUSED != 0) begin : g_refused
      GATE_LEVEL_MULTIPLIER_MODE_NOT_MODELLED refused ();
    end
  endgenerate

  wire signed [18:0] wide_a = {signed_a && a[17], a};
  wire signed [18:0] wide_b = {signed_b && b[17], b};
  wire signed [37:0] product = wide_a * wide_b;
  assign p = cascaded === 1'b0 ? product[35:0] : 36'bx;

endmodule

`default_nettype wire
