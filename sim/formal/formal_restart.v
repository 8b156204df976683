// formal_restart: has_sequencer with has_logits, as has_core joins them, under restarts at any time.
// What leaves is never withdrawn or changed by a restart; a restart acts at once or when the answer
// is out; no beat is lost to it. What the array does is free, but that no logit comes once all have
// (docs: the last stage is done when its results are). Reset: at the beginning.
// BATCHED: images go in batches of one or two, and each that was taken is answered once.
// single = 1, test mode: an answer is from the stage's start to when all that it gave is out.
`default_nettype none

module formal_restart (
  input wire       clk,
  input wire       rst,
  input wire       restart,
  input wire       enable,
  input wire       image_valid,
  input wire       image_last,
  input wire       stage_done,
  input wire       fault,
  input wire       take,
  input wire       take_class,
  input wire [1:0] take_logit,
  input wire       class_only,
  input wire       close,
  input wire       single,
  input wire       drained,
  input wire       ready,
  input wire       batch_less_1
);

  wire clear, image_ready, image_beat, start, send, sent, busy, halted, too_short, too_long;
  wire image_done, stage_end, beat, valid, last, user;
`ifdef BATCHED
  wire [1:0] stage;
  wire images_less_1, own;
  wire [3:0] own_base;
`else
  wire stage;
`endif
  wire [31:0] image_cycles, stage_cycles;
  wire [3:0] data;

  has_sequencer #(
`ifdef BATCHED
    .BEAT_BITS(1), .STAGES(3), .STAGE_BITS(2), .OWN(1), .IMAGE_BITS(1), .ELEMENT_BITS(4),
    .OWN_STEP(5), .LAST_STEP(3)
`else
    .BEAT_BITS(1), .STAGES(2), .STAGE_BITS(1)
`endif
  ) sequencer (
`ifdef BATCHED
    .batch_less_1(batch_less_1), .images_less_1(images_less_1), .own(own), .own_base(own_base),
`endif
    .clk(clk), .rst(rst), .restart(restart), .clear(clear), .enable(enable),
    .beats_less_1(1'b1), .single(single), .drained(drained), .image_valid(image_valid), .image_last(image_last), .image_ready(image_ready),
    .image_beat(image_beat), .beat(beat), .stage(stage), .start(start), .stage_done(stage_done),
    .fault(fault), .send(send), .sent(sent), .busy(busy), .halted(halted), .too_short(too_short),
    .too_long(too_long), .image_done(image_done), .image_cycles(image_cycles),
    .stage_end(stage_end), .stage_cycles(stage_cycles)
  );

  has_logits #(.CLASSES(2), .CLASS_BITS(1), .V_BITS(2), .DATA_BITS(4)) answer (
    .clk(clk), .rst(rst), .clear(start), .take(take), .take_class(take_class),
    .take_logit(take_logit), .send(send && !single), .class_only(class_only), .close(close), .sent(sent),
    .m_axis_tvalid(valid), .m_axis_tready(ready), .m_axis_tdata(data), .m_axis_tuser(user),
    .m_axis_tlast(last)
  );

  (* keep *) wire [2:0] peek_state;       // sequencer.state
  (* keep *) wire       peek_answering;   // sequencer.answering
  (* keep *) wire       peek_restarting;  // sequencer.restarting
  (* keep *) wire       peek_sending;     // answer.sending
  (* keep *) wire       peek_only;        // answer.only
  (* keep *) wire       peek_closing;     // answer.closing
  (* keep *) wire       peek_next;        // answer.next
  (* keep *) wire       peek_shown;       // answer.shown

  localparam [2:0] LOAD = 0, SKIP = 1, SETTLE = 2, RUN = 3, SEND = 4, SENDING = 5, HALT = 6,
                   NEXT = 7;

  reg past = 1'b0, past_rst = 1'b1;
  always @(posedge clk) begin
    past <= 1'b1;
    past_rst <= rst;
  end
  always @* assume (rst == !past);

  // the surroundings: logits come while a stage runs, and none in test mode
  always @* if (peek_state != RUN || single) assume (!take);
  always @(posedge clk) if (past) assume ($stable(single));
  always @(posedge clk) if (past && $past(image_valid && !image_ready)) begin
    assume (image_valid && $stable(image_last));
  end

  reg answering;  // from send to sent; in test mode from start to drained
  reg owed;       // a restart that waits
  reg beats;      // of this answer
  reg only;
  reg closing;    // the last answer of its packet
  wire shown = valid && ready;
  wire ending = only || beats == 1'b1;
  wire done = single ? drained && peek_state != RUN && peek_state != SEND : sent;
  always @(posedge clk) begin
    if (send && !single) {closing, only} <= {close, class_only};
    if (rst) {answering, owed, beats} <= 3'd0;
    else begin
      answering <= (single ? start && !clear : send) || (answering && !done);
      owed <= (owed || restart) && !clear;
      beats <= send ? 1'b0 : beats + shown;
    end
  end

  always @(posedge clk) if (past && !past_rst) begin
    if ($past(valid && !ready)) stable: assert (valid && $stable({data, user, last}));
    if ($past(shown && !ending)) whole: assert (valid || peek_sending);
    told: assert (sent == $past(shown && ending));
  end
  always @* if (past && !past_rst) begin
    if (valid) ends: assert (last == (ending && closing) && answering);
    alone: assert (!((single ? start : send) && answering));
    waits: assert (!(clear && answering));
    acts: assert (!((restart || owed) && !answering) || clear);
    asked: assert (!clear || restart || owed);
    no_beat: assert (!(clear && (image_ready || send)));
    shows: assert (!(owed || restart || answering) || busy);
`ifndef BATCHED
    known: assert (peek_state <= HALT);
`endif
  end
  // after a restart it takes the next image as after a reset
  always @(posedge clk) if (past && !past_rst && $past(clear)) begin
    anew: assert (beat == 0 && stage == 0 && peek_state == LOAD && !start);
    if (!clear && enable) open: assert (image_ready);
  end
  // an answer that is taken ends, and with it the restart that waits
  reg [2:0] waited = 3'd0;
  always @(posedge clk) waited <= (!single && answering && (ready || !valid)) ? waited + (waited != 7) : 3'd0;
  always @* in_time: assert (waited < 3'd6);

`ifdef BATCHED
  // images that have been taken whole and are not answered yet
  reg [1:0] held;
  wire complete = image_beat && beat && image_last;
  always @(posedge clk) begin
    if (clear) held <= 2'd0;
    else held <= held + complete - image_done;
  end
  always @* if (past && !past_rst) begin
    each: assert (busy || held == image_done);
    never_more: assert (!image_done || held != 2'd0);
    no_others: assert (held <= 2'd2);
    its_part: assert (peek_state == HALT || own_base == (!own ? 4'd0 : stage == 2'd2 ? 4'd3 : 4'd5));
  end
  // a batch that has begun takes its images, whatever enable says
  always @* if (past && !past_rst && !clear && peek_state == LOAD) begin
    its_images: assert (image_ready == (enable || busy));
  end
`ifndef OUTSIDE_ALONE
  wire loading = peek_state == LOAD || peek_state == SKIP || peek_state == NEXT;
  wire running = peek_state == SETTLE || peek_state == RUN;
  always @* if (past && !past_rst && peek_state != HALT) begin
    assert (stage <= 2'd2);
    assert (own <= images_less_1 || (peek_state == LOAD && own == 0));
    if (single) assert (own == 0 && images_less_1 == 0 || (peek_state == LOAD && own == 0));
    if (loading && own) assert (held == 2'd1 && !image_done && stage != 2'd2);
    if (loading && !own) assert (held == image_done && peek_state != NEXT);
    if (running && stage == 2'd0) assert (held == own + 2'd1 && !image_done);
    if (running && stage == 2'd1) assert (!own && held == images_less_1 + 2'd1 && !image_done);
    if ((running && stage == 2'd2) || peek_state == SEND || peek_state == SENDING) begin
      assert (held == images_less_1 + 2'd1 - own + image_done);
    end
    if (peek_state == SEND || peek_state == SENDING) assert (stage == (single ? 2'd0 : 2'd2));
    if (peek_state == NEXT) assert (stage == 2'd1);
    if (single) assert (stage == 2'd0);
  end
`endif
`endif
`ifndef OUTSIDE_ALONE
  // what ties the inside to the above
  always @* if (past && !past_rst) begin
    assert (peek_answering == answering && peek_restarting == owed);
    assert (!owed || answering || clear);
    assert (!answering || peek_state == SENDING || peek_state == HALT
            || (single && (peek_state == RUN || peek_state == SEND)));
    if (single) begin
      assert (answering || start || (peek_state != RUN && peek_state != SEND));
      assert (!peek_sending && !valid && !sent);
    end
    assert (peek_state != SENDING || answering);
    assert (!answering || single || {peek_closing, peek_only} == {closing, only});
    assert (answering || (!peek_sending && !valid && !sent));
    assert (!sent || (!peek_sending && !valid));
    assert (!answering || single || (peek_sending || valid || sent));
    if (answering && peek_sending) assert (peek_next == beats + valid);
    if (valid) assert (peek_shown == beats && peek_sending == !ending);
    if (!valid && peek_sending) assert (beats == 0);
  end
  always @* if (past) begin
    assert (waited < 6);
    if (answering && !single && !sent) assert (waited <= 1 + 2 * (beats + (valid || beats != 0)));
    if (sent) assert (waited <= 5);
  end
`endif

  always @(posedge clk) if (past && !past_rst) begin
    waiting: cover (clear && $past(sent) && $past(owed, 3));
    at_once: cover (clear && $past(peek_state == RUN) && stage);
    after: cover (image_done && image_beat);
    test: cover (image_done && single && $past(owed, 2));
`ifdef BATCHED
    two: cover (image_done && held == 2'd1 && own == 0);
    one: cover (image_done && own == 0 && images_less_1 == 0 && !single);
`endif
  end

endmodule

`default_nettype wire
