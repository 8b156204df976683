// has_logits: keeps the last layer's results by class, finds the class, and sends them as a stream.
// take writes one logit; the class is that of the greatest, of equal ones the lowest.
// send starts the stream: CLASSES beats of a logit each, tuser = class, or with class_only one beat
// whose data is the class. sent pulses when the last beat is taken. Where close was 1 with send, that
// beat has tlast: a packet may be several answers.
// clear forgets the class so far.
`default_nettype none

module has_logits #(
  parameter CLASSES = 10,    // logits of an image
  parameter CLASS_BITS = 4,  // bits of CLASSES - 1, at least 1
  parameter V_BITS = 25,     // bits of a logit
  parameter DATA_BITS = 32   // bits of a beat, more than V_BITS
) (
  input  wire                  clk,
  input  wire                  rst,
  input  wire                  clear,
  input  wire                  take,
  input  wire [CLASS_BITS-1:0] take_class,
  input  wire [V_BITS-1:0]     take_logit,
  input  wire                  send,
  input  wire                  class_only,
  input  wire                  close,
  output reg                   sent,
  output reg                   m_axis_tvalid,
  input  wire                  m_axis_tready,
  output wire [DATA_BITS-1:0]  m_axis_tdata,
  output wire [CLASS_BITS-1:0] m_axis_tuser,
  output wire                  m_axis_tlast
);

  localparam [31:0] CLASSES_LESS_1 = CLASSES - 1;

  reg [V_BITS-1:0] logits [0:CLASSES-1];
  reg [V_BITS-1:0] value;
  reg found;
  reg [V_BITS-1:0] best;
  reg [CLASS_BITS-1:0] best_class;
  reg sending, only, closing;
  reg [CLASS_BITS-1:0] next, shown;

  wire greater = $signed(take_logit) > $signed(best);
  wire lower = take_logit == best && take_class < best_class;
  wire beat = m_axis_tvalid && m_axis_tready;
  wire load = sending && (!m_axis_tvalid || m_axis_tready);
  wire answer_end = only || shown == CLASSES_LESS_1[CLASS_BITS-1:0];

  assign m_axis_tuser = best_class;
  assign m_axis_tlast = answer_end && closing;
  assign m_axis_tdata = only
    ? {{(DATA_BITS-CLASS_BITS){1'b0}}, best_class} : {{(DATA_BITS-V_BITS){value[V_BITS-1]}}, value};

  always @(posedge clk) begin
    if (take) begin
      logits[take_class] <= take_logit;
      if (!found || greater || lower) begin
        best <= take_logit;
        best_class <= take_class;
      end
    end
    if (send) {closing, only} <= {close, class_only};
    if (load) begin
      value <= logits[next];
      shown <= next;
    end
  end

  always @(posedge clk) begin
    sent <= beat && answer_end && !rst;
    if (rst) begin
      {found, sending, m_axis_tvalid} <= 3'b000;
      next <= {CLASS_BITS{1'b0}};
    end else begin
      if (clear) found <= 1'b0;
      else if (take) found <= 1'b1;
      if (send) begin
        sending <= 1'b1;
        next <= {CLASS_BITS{1'b0}};
      end else if (load) begin
        next <= next + 1'b1;
        if (only || next == CLASSES_LESS_1[CLASS_BITS-1:0]) sending <= 1'b0;
      end
      if (load) m_axis_tvalid <= 1'b1;
      else if (beat) m_axis_tvalid <= 1'b0;
    end
  end

endmodule

`default_nettype wire
