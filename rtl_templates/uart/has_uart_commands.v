// has_uart_commands: does what frames ask for: register accesses, beats of streams, beats of answers.
// Each frame has one reply: its tag, what was read, in order, and in the end how it went. What cannot
// be done ends the frame, and all behind it is refused (`fail`). An abort is taken at any time: what
// is under way is left, a stream's beat that waits is withdrawn, a register access is finished.
// docs/serial.md has the commands. Control: synchronous reset.
`default_nettype none

module has_uart_commands #(
  parameter IMAGE_BYTES = 8,   // of a beat on the line
  parameter IMAGE_BITS = 64,   // of a beat
  parameter WEIGHT_BYTES = 0,  // likewise; 0 = no weights are streamed
  parameter WEIGHT_BITS = 64,
  parameter RESULT_BYTES = 4
) (
  input  wire        clk,
  input  wire        rst,

  input  wire        in_valid,
  output wire        in_ready,
  input  wire [7:0]  in_data,
  input  wire        in_last,
  output wire        fail,
  input  wire        abort,
  input  wire [7:0]  abort_tag,
  output wire        abort_taken,
  input  wire        refused,
  input  wire [7:0]  refused_why,
  output wire        refused_taken,

  output wire        cut,
  output wire        out_valid,
  input  wire        out_ready,
  output reg  [7:0]  out_data,
  output wire        out_last,

  output reg         m_axil_awvalid,
  input  wire        m_axil_awready,
  output wire [11:0] m_axil_awaddr,
  output reg         m_axil_wvalid,
  input  wire        m_axil_wready,
  output wire [31:0] m_axil_wdata,
  output wire [3:0]  m_axil_wstrb,
  input  wire        m_axil_bvalid,
  output wire        m_axil_bready,
  input  wire [1:0]  m_axil_bresp,
  output reg         m_axil_arvalid,
  input  wire        m_axil_arready,
  output wire [11:0] m_axil_araddr,
  input  wire        m_axil_rvalid,
  output wire        m_axil_rready,
  input  wire [31:0] m_axil_rdata,
  input  wire [1:0]  m_axil_rresp,

  output wire                      m_axis_image_tvalid,
  input  wire                      m_axis_image_tready,
  output wire                      m_axis_image_tlast,
  output wire [IMAGE_BITS-1:0]     m_axis_image_tdata,
  output wire                      m_axis_weight_tvalid,
  input  wire                      m_axis_weight_tready,
  output wire                      m_axis_weight_tlast,
  output wire [WEIGHT_BITS-1:0]    m_axis_weight_tdata,
  input  wire                      s_axis_result_tvalid,
  output wire                      s_axis_result_tready,
  input  wire                      s_axis_result_tlast,
  input  wire [8*RESULT_BYTES-1:0] s_axis_result_tdata
);

  // commands, the upper four bits of a head's second byte
  localparam [3:0] WRITE = 4'd1, READ = 4'd2, IMAGE = 4'd3, WEIGHT = 4'd4, RESULT = 4'd5, DROP = 4'd6;
  localparam [7:0] DONE = 8'd0, MALFORMED = 8'd1, BUS = 8'd2, LENGTH = 8'd6;

  localparam MORE = WEIGHT_BYTES > IMAGE_BYTES ? WEIGHT_BYTES : IMAGE_BYTES;
  localparam LEAST = RESULT_BYTES > 4 ? RESULT_BYTES : 4;
  localparam BYTES = MORE > LEAST ? MORE : LEAST;
  localparam BITS = 8 * BYTES, LEFT_BITS = $clog2(BYTES + 1);
  localparam [31:0] IMAGE_COUNT = IMAGE_BYTES, WEIGHT_COUNT = WEIGHT_BYTES,
                    RESULT_COUNT = RESULT_BYTES, WORD_COUNT = 4;

  localparam [3:0] IDLE = 4'd0, TAG = 4'd1, HEAD = 4'd2, COLLECT = 4'd3, WRITES = 4'd4, READS = 4'd5,
                   BEAT = 4'd6, ANSWER = 4'd7, SEND = 4'd8, STATUS = 4'd9;
  reg [3:0] state;
  reg ordered;                 // a frame with commands, not what is said of an empty or a refused one
  reg [7:0] tag, why;
  reg ended;                   // the frame's last byte has been taken
  reg dropping;                // answers that nobody waits for are taken, and lost
  reg [1:0] head_place;
  reg [3:0] command;
  reg [11:0] at;               // address; bit 0: tlast stands at the last beat
  reg [7:0] count;             // words or beats to come, with this one, less 1
  reg [BITS-1:0] held;         // a word or beat: bytes come in at the top, and go out at the bottom
  reg [LEFT_BITS-1:0] left;    // bytes of it to come or to go, less 1

  wire is_stream = command == IMAGE || command == WEIGHT;
  wire known = command >= WRITE && command <= DROP && (command != WEIGHT || WEIGHT_BYTES != 0);
  wire last_one = count == 8'd0;
  wire last_byte = left == {LEFT_BITS{1'b0}};
  wire on_bus = state == WRITES || state == READS;

  function [LEFT_BITS-1:0] less_1(input [31:0] bytes);
    /* verilator lint_off UNUSEDSIGNAL */
    reg [31:0] wide;
    /* verilator lint_on UNUSEDSIGNAL */
    begin
      wide = bytes - 32'd1;
      less_1 = wide[LEFT_BITS-1:0];
    end
  endfunction

  // ---------------------------------------------------------------- frames and replies
  assign abort_taken = abort && !on_bus;
  assign cut = abort_taken;
  assign refused_taken = state == IDLE && refused && !in_valid && !abort;
  assign in_ready = state == IDLE || state == HEAD || state == COLLECT;
  wire taken = in_valid && in_ready && !abort;
  wire sent = out_valid && out_ready && !abort;

  assign out_valid = state == TAG || state == SEND || state == STATUS;
  assign out_last = state == STATUS;
  assign fail = state == STATUS && sent && ordered && why != DONE;

  always @*
    case (state)
      TAG: out_data = tag;
      STATUS: out_data = why;
      default: out_data = held[7:0];
    endcase

  // ---------------------------------------------------------------- registers and streams
  assign m_axil_awaddr = at;
  assign m_axil_araddr = at;
  assign m_axil_wdata = held[BITS-1 -: 32];
  assign m_axil_wstrb = 4'hf;
  assign m_axil_bready = state == WRITES;
  assign m_axil_rready = state == READS;

  assign m_axis_image_tvalid = state == BEAT && command == IMAGE;
  assign m_axis_weight_tvalid = state == BEAT && command == WEIGHT;
  assign m_axis_image_tlast = at[0] && last_one;
  assign m_axis_weight_tlast = at[0] && last_one;
  /* verilator lint_off UNUSEDSIGNAL */  // what fills the beat's last byte, and more
  wire [8*IMAGE_BYTES-1:0] image_beat = held[BITS-1 -: 8*IMAGE_BYTES];
  assign m_axis_image_tdata = image_beat[IMAGE_BITS-1:0];
  generate
    if (WEIGHT_BYTES != 0) begin : weights
      wire [8*WEIGHT_BYTES-1:0] weight_beat = held[BITS-1 -: 8*WEIGHT_BYTES];
      assign m_axis_weight_tdata = weight_beat[WEIGHT_BITS-1:0];
    end else begin : no_weights
      assign m_axis_weight_tdata = {WEIGHT_BITS{1'b0}};
    end
  endgenerate
  /* verilator lint_on UNUSEDSIGNAL */
  assign s_axis_result_tready = state == ANSWER || dropping;

  wire beat_taken = command == IMAGE ? m_axis_image_tready : m_axis_weight_tready;
  wire written = state == WRITES && m_axil_bvalid;
  wire read = state == READS && m_axil_rvalid;
  wire answered = state == ANSWER && s_axis_result_tvalid;
  wire wrong_last = s_axis_result_tlast != (at[0] && last_one);

  /* verilator lint_off UNUSEDSIGNAL */  // zeros beyond
  wire [BITS+31:0] word_wide = {{BITS{1'b0}}, m_axil_rdata};
  wire [BITS+8*RESULT_BYTES-1:0] answer_wide = {{BITS{1'b0}}, s_axis_result_tdata};
  /* verilator lint_on UNUSEDSIGNAL */

  // one word or beat is done: the next, the next command, or the end of the frame
  wire [3:0] next_state = !last_one ? (command == WRITE || is_stream ? COLLECT
                                       : command == READ ? READS : ANSWER)
                          : ended ? STATUS : HEAD;
  wire one_done = (written && m_axil_bresp == 2'b00) || (state == BEAT && beat_taken)
    || (state == SEND && sent && last_byte && why == DONE);

  always @(posedge clk) begin
    if (taken && state == HEAD)
      case (head_place)
        2'd0: at[7:0] <= in_data;
        2'd1: {command, at[11:8]} <= in_data;
        default: count <= in_data;
      endcase
    else if (one_done) begin
      count <= count - 1'b1;
      if (command == WRITE || command == READ) at <= at + 12'd4;
    end

    if (taken && state == COLLECT) held <= {in_data, held[BITS-1:8]};
    else if (state == SEND && sent) held <= held >> 8;
    else if (read) held <= word_wide[BITS-1:0];
    else if (answered) held <= answer_wide[BITS-1:0];

    case (state)
      COLLECT: if (taken) left <= left - 1'b1;
      SEND: if (sent) left <= left - 1'b1;
      READS: left <= less_1(WORD_COUNT);
      ANSWER: left <= less_1(RESULT_COUNT);
      default:  // of what is collected next
        left <= less_1(command == IMAGE ? IMAGE_COUNT
                       : command == WEIGHT ? WEIGHT_COUNT : WORD_COUNT);
    endcase

    if (rst) begin
      state <= IDLE;
      dropping <= 1'b0;
      {m_axil_awvalid, m_axil_wvalid, m_axil_arvalid} <= 3'b000;
    end else if (abort_taken) begin
      state <= TAG;
      ordered <= 1'b0;
      tag <= abort_tag;
      why <= DONE;
      dropping <= 1'b0;
    end else begin
      case (state)
        IDLE: begin
          why <= refused_taken ? refused_why : DONE;
          ordered <= in_valid;
          tag <= in_valid ? in_data : 8'd0;
          if (in_valid || refused) state <= TAG;
        end
        TAG: begin
          head_place <= 2'd0;
          if (sent) state <= ordered ? HEAD : STATUS;
        end
        HEAD: if (taken) begin
          ended <= in_last;
          head_place <= head_place + 1'b1;
          if (in_last && head_place != 2'd2) begin
            why <= MALFORMED;
            state <= STATUS;
          end else if (head_place == 2'd2) begin
            head_place <= 2'd0;
            if (!known || (in_last && (command == WRITE || is_stream))) begin
              why <= MALFORMED;
              state <= STATUS;
            end else
              case (command)
                WRITE, IMAGE, WEIGHT: state <= COLLECT;
                READ: begin
                  m_axil_arvalid <= 1'b1;
                  state <= READS;
                end
                RESULT: begin
                  dropping <= 1'b0;
                  state <= ANSWER;
                end
                default: begin
                  dropping <= 1'b1;
                  state <= in_last ? STATUS : HEAD;
                end
              endcase
          end
        end
        COLLECT: if (taken) begin
          ended <= in_last;
          if (in_last && !(last_byte && last_one)) begin
            why <= MALFORMED;
            state <= STATUS;
          end else if (last_byte) begin
            {m_axil_awvalid, m_axil_wvalid} <= {2{command == WRITE}};
            state <= command == WRITE ? WRITES : BEAT;
          end
        end
        WRITES: begin
          if (m_axil_awready) m_axil_awvalid <= 1'b0;
          if (m_axil_wready) m_axil_wvalid <= 1'b0;
          if (written) begin
            if (m_axil_bresp != 2'b00) why <= BUS;
            state <= m_axil_bresp != 2'b00 ? STATUS : next_state;
          end
        end
        READS: begin
          if (m_axil_arready) m_axil_arvalid <= 1'b0;
          if (read) begin
            if (m_axil_rresp != 2'b00) why <= BUS;
            state <= SEND;
          end
        end
        BEAT: if (beat_taken) state <= next_state;
        ANSWER: if (answered) begin
          if (wrong_last) why <= LENGTH;
          state <= SEND;
        end
        SEND: if (sent && last_byte) begin
          state <= why == DONE ? next_state : STATUS;
          if (why == DONE && next_state == READS) m_axil_arvalid <= 1'b1;
        end
        default: if (sent) state <= IDLE;
      endcase
    end
  end

endmodule

`default_nettype wire
