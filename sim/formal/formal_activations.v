// formal_activations: a word that has_activations gives stands still until it is taken, and nothing
// behind it moves: no stage of it is lost, overwritten or given twice, whatever the stage reads.
// Constants, what the map holds and when a word is taken are free. Resets come at any time.
`default_nettype none

module formal_activations (
  input wire        clk,
  input wire        rst,
  input wire        start,
  input wire        ready,
  input wire [15:0] read_data
);

  (* anyconst *) wire       pooling, code_signed;
  (* anyconst *) wire [1:0] passes_less_1;
  (* anyconst *) wire [3:0] width, height, kernel_height, kernel_width, map_height, y_first, y_step;
  (* anyconst *) wire [5:0] map_row, kernel_row, x_first, x_step, base_first, base_step, channels;

  wire move, valid, ending;
  wire [3:0] codes;
  wire [1:0] lanes;
  wire [11:0] address, address_b;

  has_activations #(
    .RUNS(2), .SIMD(2), .LANE_BITS(1), .BANKS(4), .BANK_BITS(2), .CODE_BITS(2), .ELEMENT_BITS(6),
    .WORD_BITS(3), .SIDE_BITS(4), .PASS_BITS(2)
  ) dut (
    .clk(clk), .rst(rst), .start(start), .pooling(pooling), .code_signed(code_signed),
    .passes_less_1(passes_less_1), .out_width_less_1(width), .out_height_less_1(height),
    .kernel_height_less_1(kernel_height), .kernel_width_less_1(kernel_width),
    .map_height(map_height), .y_first(y_first), .y_step(y_step), .map_row(map_row),
    .kernel_row(kernel_row), .x_first(x_first), .x_step(x_step), .base_first(base_first),
    .base_step(base_step), .channels(channels), .read_enable(move), .read_address(address),
    .read_address_b(address_b), .read_data(read_data[7:0]), .read_data_b(read_data[15:8]),
    .ready(ready), .valid(valid), .codes(codes), .lanes(lanes), .ending(ending)
  );

  (* keep *) wire       peek_valid_2;   // dut.gather.valid_2
  (* keep *) wire       peek_valid_3;   // dut.gather.valid_3
  (* keep *) wire       peek_last_2;    // dut.gather.last_2
  (* keep *) wire       peek_last_3;    // dut.gather.last_3
  (* keep *) wire [3:0] peek_codes_3;   // dut.gather.codes_3
  (* keep *) wire [1:0] peek_meant_3;   // dut.gather.meant_3
  (* keep *) wire       peek_conv;      // dut.conv_walk.valid
  (* keep *) wire       peek_pool;      // dut.pool_walk.valid

  reg past = 1'b0, past_rst = 1'b1;
  always @(posedge clk) begin
    past <= 1'b1;
    past_rst <= rst;
  end
  always @* if (!past) assume (rst && past_rst);
  // a stage begins when the one before is through
  always @* if (start) assume (!rst && !peek_conv && !peek_pool && !valid && !peek_valid_2
                               && !peek_valid_3);

  wire run = pooling ? peek_pool : peek_conv;
  always @* if (past) moves: assert (move == (!valid || ready));  // never waits without a word
  always @(posedge clk) if (past && !past_rst) begin
    if ($past(valid && !ready)) begin
      stable: assert (valid && $stable({codes, lanes, ending}));
      behind: assert ($stable({address, address_b, peek_conv, peek_pool, peek_valid_2, peek_valid_3,
                               peek_last_2, peek_last_3, peek_codes_3, peek_meant_3}));
    end
    // a run goes on one place a move; its last makes one word
    if ($past(move)) begin
      read: assert (peek_valid_2 == $past(run));
      aligned: assert (peek_valid_3 == $past(peek_valid_2));
      merged: assert (valid == $past(peek_valid_3 && peek_last_3));
      marked: assert (peek_last_3 == $past(peek_last_2));
    end
  end

  always @(posedge clk) if (past && !past_rst && !rst) begin
    convolves: cover (valid && !pooling && $past(valid && !ready, 2) && peek_conv);
    pools: cover (valid && ending && pooling && kernel_width == 1 && $past(valid && !ready));
  end

endmodule

`default_nettype wire
