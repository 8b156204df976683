// has_multiplier: weight times activation code, PB = WEIGHT_BITS + ACT_BITS + 1 bits, signed.
// The weight is two's complement; the activation is too where act_signed, else unsigned.
// Combinational. PB bits hold every product.
// WEIGHT_BITS, ACT_BITS: bits. USE_DSP: 1 asks synthesis for a DSP block, 0 for logic.
// Ports: weight, act, act_signed in, product out.
`default_nettype none

module has_multiplier #(
  parameter WEIGHT_BITS = 4,  // bits
  parameter ACT_BITS = 8,     // bits
  parameter USE_DSP = 1
) (
  input  wire [WEIGHT_BITS-1:0]          weight,
  input  wire [ACT_BITS-1:0]             act,
  input  wire                            act_signed,
  output wire [WEIGHT_BITS+ACT_BITS:0]   product
);

  localparam PRODUCT_BITS = WEIGHT_BITS + ACT_BITS + 1;

  wire signed [WEIGHT_BITS-1:0] w = weight;
  wire signed [ACT_BITS:0] a = {act_signed & act[ACT_BITS-1], act};

  generate
    if (USE_DSP != 0) begin : g_dsp
      (* use_dsp = "yes" *) wire signed [PRODUCT_BITS-1:0] m = w * a;
      assign product = m;
    end else begin : g_lut
      (* use_dsp = "no" *) wire signed [PRODUCT_BITS-1:0] m = w * a;
      assign product = m;
    end
  endgenerate

endmodule

`default_nettype wire
