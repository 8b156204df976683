// formal_steps: has_steps lets in the beats of a layer, each once and in order, and none beyond.
// The surroundings are has_array's: no start while beats are to come; constants stand still.
// Resets come at any time after the first.
`default_nettype none

module formal_steps #(
  parameter HOLD_WEIGHTS = 0
) (
  input wire       clk,
  input wire       rst,
  input wire       start,
  input wire [1:0] steps_less_1,
  input wire       passes_less_1,
  input wire       columns_less_1,
  input wire [5:0] wmem_base,
  input wire       external,
  input wire       ready,
  input wire       act_valid,
  input wire       weight_valid
);

  wire act_ready, weight_ready, act_beat, weight_beat, first, last;
  wire [5:0] address;
  wire [1:0] step;
  wire pass, column;

  has_steps #(
    .STEP_BITS(2), .PASS_BITS(1), .COLUMN_BITS(1), .WMEM_BITS(6), .HOLD_WEIGHTS(HOLD_WEIGHTS)
  ) dut (
    .clk(clk), .rst(rst), .start(start), .steps_less_1(steps_less_1),
    .passes_less_1(passes_less_1), .columns_less_1(columns_less_1), .wmem_base(wmem_base),
    .external(external), .ready(ready), .act_valid(act_valid), .act_ready(act_ready),
    .weight_valid(weight_valid), .weight_ready(weight_ready), .act_beat(act_beat),
    .weight_beat(weight_beat), .address(address), .pass(pass), .column(column), .step(step),
    .first(first), .last(last)
  );

  (* keep *) wire       peek_running;    // dut.running
  (* keep *) wire       peek_loading;    // dut.loading
  (* keep *) wire [5:0] peek_pass_base;  // dut.pass_base

  reg past = 1'b0, past_rst = 1'b1;
  always @(posedge clk) begin
    past <= 1'b1;
    past_rst <= rst;
  end
  always @* if (!past) assume (rst && past_rst);

  // ---------------------------------------------------------------- beats to come, by number
  reg [6:0] acts;     // activation beats of the layer that are still to come
  reg [2:0] weights;  // weight beats that come before the next activation
  wire [6:0] column_beats = steps_less_1 + 7'd1;
  wire [6:0] pass_beats = column_beats * (columns_less_1 + 7'd1);
  wire [6:0] all_beats = pass_beats * (passes_less_1 + 7'd1);
  wire pass_ends = act_beat && acts != 7'd1 && (acts - 7'd1) % pass_beats == 7'd0;
  always @(posedge clk) begin
    if (rst) {acts, weights} <= 10'd0;
    else if (start) begin
      acts <= all_beats;
      weights <= external ? column_beats[2:0] : 3'd0;
    end else begin
      acts <= acts - act_beat;
      weights <= (pass_ends && external) ? column_beats[2:0] : weights - weight_beat;
    end
  end
  always @* if (start) assume (acts == 7'd0 && !rst);
  always @(posedge clk) if (past && $past(start || acts != 7'd0)) begin
    assume ($stable({steps_less_1, passes_less_1, columns_less_1, wmem_base, external}));
  end

  wire [6:0] done = all_beats - acts;
  wire [6:0] at_step = weights != 0 ? column_beats - weights : done % column_beats;
  wire [6:0] at_column = (done % pass_beats) / column_beats;
  wire [6:0] at_pass = done / pass_beats;
  wire [5:0] at_base = wmem_base + (external ? 7'd0 : at_pass * column_beats);
  wire [5:0] at_word = at_base + at_step;
  always @* if (past) begin
    lets_act: assert (act_ready == (acts != 0 && weights == 0 && ready));
    lets_weight: assert (weight_ready == (weights != 0 && (ready || HOLD_WEIGHTS == 0)));
    beat: assert (act_beat == (act_valid && act_ready));
    weight: assert (weight_beat == (weight_valid && weight_ready));
    if (acts != 0) begin
      place: assert (step == at_step && column == at_column && pass == at_pass);
      marks: assert (first == (at_step == 0) && last == (at_step == steps_less_1));
      word: assert (address == at_word);
    end
`ifndef OUTSIDE_ALONE
    // what ties the inside to the above
    assert (peek_running == (acts != 0));
    assert (acts == 0 ? weights == 0 : acts <= all_beats);
    assert (weights <= column_beats && (weights == 0 || (external && done % pass_beats == 0)));
    if (acts != 0) begin
      assert (peek_loading == (weights != 0));
      assert (peek_pass_base == at_base);
    end
`endif
  end

  always @(posedge clk) if (past && !past_rst && !rst) begin
    layer_ends: cover (act_beat && acts == 1 && passes_less_1 == 1 && columns_less_1 == 1);
    reloads: cover (weight_beat && at_pass == 1 && weights == 1 && steps_less_1 == 1);
  end

endmodule

`default_nettype wire
