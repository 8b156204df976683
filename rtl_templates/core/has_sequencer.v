// has_sequencer: takes an image in, runs the network's stages one after the other, sends the result.
// An image whose tlast comes early is dropped at once, one without tlast at its last beat up to the
// next tlast. A fault in the weight stream or the row map halts: no result leaves until restart.
// restart: clear pulses, at once or, where an answer is leaving, after its last beat; with it all
// that is under way is forgotten. No beat is taken in that cycle.
// start pulses for each stage; the stage's constants stand still from then to its end.
// The image goes to buffer 0, which stage 0 reads.
// single = 1: stage 0 alone, which sends its results while it runs; drained = 1, all have been taken.
`default_nettype none

module has_sequencer #(
  parameter BEAT_BITS = 3,       // bits of an image's beats - 1, at least 1
  parameter STAGES = 1,          // stages of the network
  parameter STAGE_BITS = 1       // bits of STAGES - 1, at least 1
) (
  input  wire                  clk,
  input  wire                  rst,
  input  wire                  restart,
  output wire                  clear,        // rst, or a restart
  input  wire                  enable,
  input  wire [BEAT_BITS-1:0]  beats_less_1, // of an image
  input  wire                  single,
  input  wire                  drained,
  input  wire                  image_valid,
  input  wire                  image_last,
  output wire                  image_ready,
  output wire                  image_beat,   // a beat goes into the buffer
  output reg  [BEAT_BITS-1:0]  beat,
  output reg  [STAGE_BITS-1:0] stage,
  output reg                   start,
  input  wire                  stage_done,
  input  wire                  fault,        // halt
  output wire                  send,
  input  wire                  sent,
  output wire                  busy,
  output wire                  halted,
  output reg                   too_short,
  output reg                   too_long,
  output reg                   image_done,
  output reg  [31:0]           image_cycles,
  output wire                  stage_end,    // with stage: stage_cycles is its count
  output reg  [31:0]           stage_cycles
);

  localparam [2:0] LOAD = 3'd0, SKIP = 3'd1, SETTLE = 3'd2, RUN = 3'd3, SEND = 3'd4, SENDING = 3'd5,
                   HALT = 3'd6;
  localparam [31:0] STAGES_LESS_1 = STAGES - 1;
  localparam [1:0] SETTLED = 2'd3;  // cycles in which writes reach the buffer

  reg [2:0] state;
  reg [1:0] settle;
  reg answering;   // from the first beat that may leave to the last that has
  reg restarting;  // once the answer is out

  wire beat_end = beat == beats_less_1;
  wire beat_first = beat == {BEAT_BITS{1'b0}};
  wire stage_last = single || stage == STAGES_LESS_1[STAGE_BITS-1:0];
  wire answered = single ? drained && state != RUN && state != SEND : sent;
  wire taken = image_valid && image_ready;

  assign clear = rst || ((restart || restarting) && !answering);
  assign image_ready = !clear
    && ((state == LOAD && (enable || !beat_first)) || state == SKIP);
  assign image_beat = taken && state == LOAD;
  assign send = state == SEND && !clear;
  assign busy = restart || restarting || !(state == LOAD && beat_first);
  assign halted = state == HALT;
  assign stage_end = state == RUN && stage_done;

  always @(posedge clk) begin
    start <= 1'b0;
    image_done <= 1'b0;
    too_short <= image_beat && image_last && !beat_end;
    too_long <= image_beat && !image_last && beat_end;
    stage_cycles <= start ? 32'd1 : stage_cycles + 32'd1;
    image_cycles <= (image_beat && beat_first) ? 32'd1 : image_cycles + 32'd1;
    if (image_beat) beat <= (image_last || beat_end) ? {BEAT_BITS{1'b0}} : beat + 1'b1;
    if (rst) {answering, restarting} <= 2'b00;
    else begin
      answering <= send || (single && start && !clear) || (answering && !answered);
      restarting <= (restart || restarting) && answering;
    end
    if (clear) begin
      state <= LOAD;
      beat <= {BEAT_BITS{1'b0}};
      stage <= {STAGE_BITS{1'b0}};
    end else if (fault) begin
      state <= HALT;
    end else begin
      case (state)
        LOAD: begin
          stage <= {STAGE_BITS{1'b0}};
          settle <= 2'd0;
          if (image_beat && beat_end) state <= image_last ? SETTLE : SKIP;
        end
        SKIP: if (taken && image_last) state <= LOAD;
        SETTLE: begin
          settle <= settle + 2'd1;
          if (settle == SETTLED) begin
            start <= 1'b1;
            state <= RUN;
          end
        end
        RUN: begin
          settle <= 2'd0;
          if (stage_done) begin
            state <= stage_last ? SEND : SETTLE;
            if (!stage_last) stage <= stage + 1'b1;
          end
        end
        SEND: state <= SENDING;
        SENDING: begin
          if (answered) begin
            state <= LOAD;
            image_done <= 1'b1;
          end
        end
        default: state <= HALT;
      endcase
    end
  end

endmodule

`default_nettype wire
