// formal_logits: has_logits sends each answer whole, once, right, and stands still while it waits.
// The surroundings are has_core's: all classes are taken once between clear and send, nothing is
// taken or cleared from send to sent. Resets come at any time after the first.
`default_nettype none

module formal_logits (
  input wire       clk,
  input wire       rst,
  input wire       clear,
  input wire       take,
  input wire [1:0] take_class,
  input wire [2:0] take_logit,
  input wire       send,
  input wire       class_only,
  input wire       close,
  input wire       ready
);

  localparam CLASSES = 3;

  wire sent, valid, last;
  wire [4:0] data;
  wire [1:0] user;

  has_logits #(.CLASSES(CLASSES), .CLASS_BITS(2), .V_BITS(3), .DATA_BITS(5)) dut (
    .clk(clk), .rst(rst), .clear(clear), .take(take), .take_class(take_class),
    .take_logit(take_logit), .send(send), .class_only(class_only), .close(close), .sent(sent),
    .m_axis_tvalid(valid), .m_axis_tready(ready), .m_axis_tdata(data), .m_axis_tuser(user),
    .m_axis_tlast(last)
  );

  (* keep *) wire       peek_sending;  // dut.sending
  (* keep *) wire       peek_only;     // dut.only
  (* keep *) wire       peek_closing;  // dut.closing
  (* keep *) wire [1:0] peek_next;     // dut.next
  (* keep *) wire [1:0] peek_shown;    // dut.shown
  (* keep *) wire       peek_found;    // dut.found
  (* keep *) wire [2:0] peek_best;     // dut.best
  (* keep *) wire [2:0] peek_value;    // dut.value
  (* keep *) wire [2:0] peek_logit_0;  // dut.logits[0]
  (* keep *) wire [2:0] peek_logit_1;  // dut.logits[1]
  (* keep *) wire [2:0] peek_logit_2;  // dut.logits[2]

  reg past = 1'b0, past_rst = 1'b1;
  always @(posedge clk) begin
    past <= 1'b1;
    past_rst <= rst;
  end
  always @* if (!past) assume (rst && past_rst);

  // ---------------------------------------------------------------- the surroundings
  reg [2:0] taken;  // classes since clear
  reg answering;    // from send to sent
  reg only;         // one beat
  reg closing;      // the last of its packet
  reg [1:0] beats;  // of this answer
  wire beat = valid && ready;
  wire end_beat = beats == (only ? 2'd0 : CLASSES - 1);
  always @(posedge clk) begin
    if (send) {closing, only} <= {close, class_only};
    if (rst) begin
      {taken, answering, beats} <= 6'd0;
    end else begin
      taken <= clear ? 3'd0 : take ? taken | 3'd1 << take_class : taken;
      answering <= send || (answering && !sent);
      beats <= send ? 2'd0 : beats + beat;
    end
  end
  always @* begin
    if (take) assume (take_class < CLASSES && !taken[take_class] && !clear && !send);
    if (answering) assume (!take && !clear && !send);
    if (send) assume (taken == 3'b111 && !clear);
    if (rst) assume (!send && !take);
  end

  // ---------------------------------------------------------------- the answer
  reg [2:0] logit_0, logit_1, logit_2;
  always @(posedge clk) begin
    if (take && take_class == 0) logit_0 <= take_logit;
    if (take && take_class == 1) logit_1 <= take_logit;
    if (take && take_class == 2) logit_2 <= take_logit;
  end
  wire [2:0] up_0 = logit_0 ^ 3'b100, up_1 = logit_1 ^ 3'b100, up_2 = logit_2 ^ 3'b100;
  wire [1:0] best = up_0 >= up_1 && up_0 >= up_2 ? 2'd0 : up_1 >= up_2 ? 2'd1 : 2'd2;
  wire [2:0] logit = beats == 0 ? logit_0 : beats == 1 ? logit_1 : logit_2;

  reg [1:0] waited;  // cycles of an answer in which nothing is shown
  always @(posedge clk) waited <= (rst || !answering || valid) ? 2'd0 : waited + 2'd1;

  always @(posedge clk) if (past && !past_rst && $past(valid && !ready)) begin
    stable: assert (valid && $stable({data, user, last}));
  end
  always @* if (past && !past_rst) begin
    only_asked: assert (!valid || answering);
    if (valid) begin
      last_beat: assert (last == (end_beat && closing));
      class_data: assert (user == best && (!only || data == {3'd0, best}));
      logit_data: assert (only || data == {{2{logit[2]}}, logit});
    end
    in_time: assert (waited < 2'd3);
  end
  // sent once, after the last beat
  always @(posedge clk) if (past) begin
    told: assert (sent == (!past_rst && $past(beat && end_beat && !rst)));
  end

`ifndef OUTSIDE_ALONE
  // what ties the inside to the above
  always @* if (past) begin
    if (taken[0]) assert (peek_logit_0 == logit_0);
    if (taken[1]) assert (peek_logit_1 == logit_1);
    if (taken[2]) assert (peek_logit_2 == logit_2);
    assert (taken[0] || taken[1] || taken[2] || !peek_found);
    assert (!answering || taken == 3'b111);
    assert (!(answering && (peek_sending || valid)) || {peek_closing, peek_only} == {closing, only});
    assert (answering || (!peek_sending && !valid && !sent));
    assert (!answering || (peek_sending + valid + sent > 0));
    assert (!sent || (!peek_sending && !valid));
    if (answering && peek_sending) assert (peek_next == beats + valid && peek_next < CLASSES);
    if (valid) assert (peek_shown == beats && peek_sending == !end_beat);
    if (answering && only) assert (beats == (sent ? 1 : 0));
    if (answering) assert (beats < CLASSES || (sent && beats == CLASSES));
    if (valid && !only) assert (peek_value == logit);
    if (!valid && peek_sending) assert (beats == 0);
    if (answering && peek_sending && only) assert (!valid);
    assert (taken == 3'd0 || peek_found);
    if (peek_found) begin
      assert (taken != 3'd0 && user < CLASSES && taken[user]);
      assert (peek_best == (user == 0 ? logit_0 : user == 1 ? logit_1 : logit_2));
      if (taken[0]) assert ((peek_best ^ 3'b100) > up_0 || (peek_best == logit_0 && user == 0));
      if (taken[1]) assert ((peek_best ^ 3'b100) > up_1 || (peek_best == logit_1 && user <= 1));
      if (taken[2]) assert ((peek_best ^ 3'b100) >= up_2);
    end
  end
`endif

  always @(posedge clk) if (past && !past_rst && !rst) begin
    whole: cover (sent && !only && user == 2'd1 && $past(valid && !ready, 3));
    alone: cover (sent && only && user == 2'd2);
    open: cover (sent && !closing && $past(valid && !last));
    tie: cover (sent && logit_0 != logit_1 && logit_1 == logit_2 && user == 2'd1);
  end

endmodule

`default_nettype wire
