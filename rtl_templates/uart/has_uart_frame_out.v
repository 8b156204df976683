// has_uart_frame_out: makes frames of bytes: END, the bytes with END and ESC escaped, CRC with its
// bits turned round, END.
// The first END ends whatever stands before it on the line. docs/serial.md has the protocol.
// Control: synchronous reset.
`default_nettype none

module has_uart_frame_out (
  input  wire       clk,
  input  wire       rst,
  input  wire       cut,       // one cycle: forget the frame under way
  input  wire       in_valid,
  output wire       in_ready,
  input  wire [7:0] in_data,
  input  wire       in_last,   // of the frame

  output wire       out_valid,
  input  wire       out_ready,
  output reg  [7:0] out_data
);

  localparam [7:0] END = 8'hc0, ESC = 8'hdb, ESC_END = 8'hdc, ESC_ESC = 8'hdd;
  localparam [2:0] FIRST = 3'd0, BODY = 3'd1, HIGH = 3'd2, LOW = 3'd3, LAST = 3'd4;

  reg [2:0] state;
  reg escaped;                 // ESC has gone
  reg [15:0] crc;
  wire [15:0] crc_after;
  reg [7:0] plain;
  wire mark = state == FIRST || state == LAST;
  wire special = !mark && (plain == END || plain == ESC);
  wire sent = out_valid && out_ready;
  wire step = sent && (!special || escaped);

  has_uart_crc next_crc (.crc(crc), .data(in_data), .after(crc_after));

  always @* begin
    case (state)
      HIGH: plain = ~crc[15:8];
      LOW: plain = ~crc[7:0];
      default: plain = in_data;
    endcase
    if (mark) out_data = END;
    else if (!special) out_data = plain;
    else if (!escaped) out_data = ESC;
    else out_data = plain == END ? ESC_END : ESC_ESC;
  end

  assign out_valid = in_valid || !(state == FIRST || state == BODY);
  assign in_ready = state == BODY && out_ready && (!special || escaped);

  always @(posedge clk) begin
    if (step) crc <= state == BODY ? crc_after : state == FIRST ? 16'hffff : crc;
    if (rst || cut) begin
      state <= FIRST;
      escaped <= 1'b0;
    end else if (sent) begin
      escaped <= special && !escaped;
      if (step)
        case (state)
          FIRST: state <= BODY;
          BODY: state <= in_last ? HIGH : BODY;
          HIGH: state <= LOW;
          LOW: state <= LAST;
          default: state <= FIRST;
        endcase
    end
  end

endmodule

`default_nettype wire
