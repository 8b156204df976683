// formal_multiplier_pair: two products by one multiplication are those of two plain multipliers,
// for any weights and activations, a cycle later where enabled; else nothing moves. With APART = 1
// each product has an activation of its own, for faults that part them; else both have one.
`default_nettype none

module formal_multiplier_pair #(
  parameter APART = 0
) (
  input wire              clk,
  input wire              enable,
  input wire signed [3:0] weight_low,
  input wire signed [3:0] weight_high,
  input wire signed [8:0] act_low,
  input wire signed [8:0] act_other
);

  wire signed [8:0] act_high = APART != 0 ? act_other : act_low;
  wire signed [12:0] low, high;

  has_multiplier_pair #(
    .WEIGHT_BITS(4), .ACT_BITS(8), .REGISTER(1), .SHARED(APART != 0 ? 0 : 1)
  ) dut (
    .clk(clk), .enable(enable), .weight_low(weight_low), .weight_high(weight_high),
    .act_low(act_low), .act_high(act_other), .low(low), .high(high)
  );

  reg known = 1'b0;  // something was multiplied
  reg signed [3:0] held_low, held_high;
  reg signed [8:0] held_act, held_other;
  wire signed [12:0] plain_low = held_low * held_act;
  wire signed [12:0] plain_high = held_high * held_other;

  always @(posedge clk) begin
    known <= known || enable;
    if (enable) begin
      held_low <= weight_low;
      held_high <= weight_high;
      held_act <= act_low;
      held_other <= act_high;
    end
  end

  always @* if (known) begin
    of_low: assert (low == plain_low);
    of_high: assert (high == plain_high);
  end

  always @(posedge clk) if (known) begin
    borrowed: cover (low < 0 && high > 0);
    least: cover (held_low == -4'sd8 && held_high == -4'sd8 && held_act == 9'sd255);
    unsigned_act: cover (low == 13'sd1785 && high == -13'sd2040);
    signed_act: cover (held_act == -9'sd128 && low == 13'sd1024);
  end

endmodule

`default_nettype wire
