// formal_results: has_results loses nothing, gives nothing twice, and never runs over.
// One result is marked by a word that no other result is; it must come out once, at its bank, and
// in bounded time. The array holds back one cycle after ready falls. Resets: at the beginning.
`default_nettype none

module formal_results (
  input wire       clk,
  input wire       rst,
  input wire       one_bank,
  input wire [1:0] in_valid,
  input wire [5:0] in_element,
  input wire [1:0] in_code,
  input wire [1:0] in_v
);

  localparam LANES = 2, BANKS = 2;

  wire ready, empty, take;
  wire [BANKS-1:0] write_enable, write_data;
  wire [BANKS*2-1:0] write_address;
  wire [2:0] take_element;
  wire take_v;

  has_results #(
    .LANES(LANES), .BANKS(BANKS), .BANK_BITS(1), .CODE_BITS(1), .V_BITS(1), .ELEMENT_BITS(3),
    .WORD_BITS(2), .DEPTH_BITS(2)
  ) dut (
    .clk(clk), .rst(rst), .one_bank(one_bank), .in_valid(in_valid), .in_element(in_element),
    .in_code(in_code), .in_v(in_v), .ready(ready), .empty(empty), .write_enable(write_enable),
    .write_address(write_address), .write_data(write_data), .take(take),
    .take_element(take_element), .take_v(take_v)
  );

  (* keep *) wire [1:0]  peek_put_0;     // dut.g_lane[0].put
  (* keep *) wire [1:0]  peek_get_0;     // dut.g_lane[0].get
  (* keep *) wire [2:0]  peek_count_0;   // dut.g_lane[0].count
  (* keep *) wire [4:0]  peek_word_0_0;  // dut.g_lane[0].words[0]
  (* keep *) wire [4:0]  peek_word_0_1;  // dut.g_lane[0].words[1]
  (* keep *) wire [4:0]  peek_word_0_2;  // dut.g_lane[0].words[2]
  (* keep *) wire [4:0]  peek_word_0_3;  // dut.g_lane[0].words[3]
  (* keep *) wire [1:0]  peek_put_1;     // dut.g_lane[1].put
  (* keep *) wire [1:0]  peek_get_1;     // dut.g_lane[1].get
  (* keep *) wire [2:0]  peek_count_1;   // dut.g_lane[1].count
  (* keep *) wire [4:0]  peek_word_1_0;  // dut.g_lane[1].words[0]
  (* keep *) wire [4:0]  peek_word_1_1;  // dut.g_lane[1].words[1]
  (* keep *) wire [4:0]  peek_word_1_2;  // dut.g_lane[1].words[2]
  (* keep *) wire [4:0]  peek_word_1_3;  // dut.g_lane[1].words[3]

  reg past = 1'b0, past_rst = 1'b1;
  always @(posedge clk) begin
    past <= 1'b1;
    past_rst <= rst;
  end
  always @* assume (rst == !past);

  // ---------------------------------------------------------------- the surroundings
  always @(posedge clk) if (past) assume ($stable(one_bank));
  always @* if (!ready || rst) assume (in_valid == 0);

  // ---------------------------------------------------------------- the marked result
  (* anyconst *) wire [2:0] element;
  (* anyconst *) wire code;
  integer n;
  reg [1:0] ins, outs;
  always @* begin
    ins = 0;
    outs = 0;
    for (n = 0; n < LANES; n = n + 1) begin
      ins = ins + (in_valid[n] && in_element[3*n +: 3] == element);
      if (in_valid[n] && in_element[3*n +: 3] == element) begin
        assume (in_code[n] == code && in_v[n] == code);
      end
    end
    for (n = 0; n < BANKS; n = n + 1) begin
      outs = outs + (write_enable[n] && n == element[0] && write_address[2*n +: 2] == element[2:1]);
    end
    outs = outs + (take && take_element == element);
  end
  reg inside = 1'b0, done = 1'b0;  // it has come in; it has gone out
  reg [3:0] age = 4'd0;
  always @* assume (ins <= (inside ? 0 : 1));
  always @(posedge clk) begin
    inside <= inside || ins != 0;
    done <= !rst && (done || outs != 0);
    if (inside && !done && outs == 0) age <= age + 4'd1;
  end

  // ---------------------------------------------------------------- all results, counted
  reg [5:0] held = 6'd0;
  integer k;
  reg [2:0] came, went;
  always @* begin
    came = 0;
    went = take;
    for (k = 0; k < LANES; k = k + 1) came = came + in_valid[k];
    for (k = 0; k < BANKS; k = k + 1) went = went + write_enable[k];
  end
  always @(posedge clk) held <= rst ? 6'd0 : held + came - went;

  always @* if (past && !past_rst) begin
    once: assert (outs <= (inside && !done ? 1 : 0));
    in_time: assert (age < 4'd6);
    count: assert (went <= held);
    told: assert (!empty || held == 0 || (held == went));  // empty: the last leave in this cycle
    where: assert (!one_bank || write_enable == 0);
    where_many: assert (one_bank || !take);
    if (take && take_element == element) what: assert (take_v == code);
    for (n = 0; n < BANKS; n = n + 1) begin
      if (write_enable[n] && n == element[0] && write_address[2*n +: 2] == element[2:1]) begin
        assert (write_data[n] == code);
      end
    end
  end
  // nothing moving in: all is out at last, and ready for more
  reg [3:0] quiet = 4'd0;
  always @(posedge clk) quiet <= (came == 0) ? quiet + (quiet != 4'd7) : 4'd0;
  always @* if (past && quiet == 4'd7) flows: assert (ready && empty && held == 0);

`ifndef OUTSIDE_ALONE
  // what ties the inside to the above: where the marked result is
  wire [4:0] mark = {code, code, element};
  wire [19:0] words_0 = {peek_word_0_3, peek_word_0_2, peek_word_0_1, peek_word_0_0};
  wire [19:0] words_1 = {peek_word_1_3, peek_word_1_2, peek_word_1_1, peek_word_1_0};
  reg [3:0] places;
  reg [1:0] ahead_0, ahead_1;  // of a word, in its queue
  integer p;
  always @* begin
    places = {2'd0, outs};
    for (p = 0; p < 4; p = p + 1) begin
      ahead_0 = p[1:0] - peek_get_0;
      ahead_1 = p[1:0] - peek_get_1;
      places = places + (ahead_0 < peek_count_0 && words_0[5*p +: 3] == element)
        + (ahead_1 < peek_count_1 && words_1[5*p +: 3] == element);
      if (past && !past_rst) begin
        if (ahead_0 < peek_count_0 && words_0[5*p +: 3] == element) begin
          assert (words_0[5*p +: 5] == mark);
        end
        if (ahead_1 < peek_count_1 && words_1[5*p +: 3] == element) begin
          assert (words_1[5*p +: 5] == mark);
        end
      end
    end
  end
  wire [2:0] put_less_get_0 = {1'b0, peek_put_0 - peek_get_0};
  wire [2:0] put_less_get_1 = {1'b0, peek_put_1 - peek_get_1};
  always @* if (past && !past_rst) begin
    assert (places == (inside && !done));
    assert (inside || (!done && age == 0));
    assert (quiet <= 4'd7);
    assert (peek_count_0 <= 2 && peek_count_0 == put_less_get_0);
    assert (peek_count_1 <= 2 && peek_count_1 == put_less_get_1);
    assert (!ready || (peek_count_0 <= 1 && peek_count_1 <= 1));
    assert (held == peek_count_0 + peek_count_1 + went);
    assert (!empty || (peek_count_0 == 0 && peek_count_1 == 0));
  end
`endif

  always @(posedge clk) if (past && !past_rst) begin
    crowded: cover (held == 6'd4);
    out_at_last: cover (done && age == 4'd3);
    singly: cover (take && held == 6'd3);
    opens_again: cover (ready && $past(!ready && held > 1));
  end

endmodule

`default_nettype wire
