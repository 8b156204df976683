// has_uart_frame_in: takes frames out of the bytes of a line, and hands on what whole ones hold.
// A frame stands between two END bytes, END and ESC in it escaped (SLIP, RFC 1055); at its end is a
// CRC. What is not whole, not in its turn or too much is refused, and so is all behind it until an
// empty frame, a tag alone, comes, which also drops what waits. Nothing of a frame is handed on
// before all of it has come. docs/serial.md has the protocol. Control: synchronous reset.
`default_nettype none

module has_uart_frame_in #(
  parameter ADDRESS_BITS = 11  // of the bytes that may wait
) (
  input  wire       clk,
  input  wire       rst,
  input  wire       in_valid,    // one cycle: a byte
  input  wire       in_broken,   // one cycle: a byte that is none
  input  wire [7:0] in_data,

  output reg        out_valid,   // contents of frames; the tag first
  input  wire       out_ready,
  output reg  [7:0] out_data,
  output reg        out_last,    // of its frame

  input  wire       fail,        // one cycle: what a frame asks for cannot be done
  output reg        abort,       // an empty frame has come, till it is taken
  output reg  [7:0] abort_tag,
  input  wire       abort_taken,
  output reg        refused,     // a frame was refused, till that is taken
  output reg  [7:0] refused_why,
  input  wire       refused_taken,
  output reg        closed       // all but an empty frame is refused
);

  localparam [7:0] END = 8'hc0, ESC = 8'hdb, ESC_END = 8'hdc, ESC_ESC = 8'hdd;
  localparam [15:0] WHOLE = 16'h1d0f;  // CRC over contents and their CRC, its bits turned round
  localparam [7:0] BROKEN = 8'd3, OVERRUN = 8'd4, SEQUENCE = 8'd5;

  // ---------------------------------------------------------------- bytes of a frame
  reg escaped, bad, over;      // of the frame under way: after ESC; not whole; too long for the room
  reg any;                     // a byte of it is in the ring
  reg [1:0] count;             // bytes in held, at most 3
  reg [23:0] held;             // the last three: the last of the contents, and the CRC
  reg [15:0] crc;
  reg [7:0] tag, expected;     // the frame's first byte; of the next frame
  wire [15:0] crc_after;

  wire at_end = in_valid && in_data == END;
  wire escape = in_valid && in_data == ESC;
  wire byte_comes = in_valid && !at_end && !escape;
  wire [7:0] plain = !escaped ? in_data : in_data == ESC_END ? END : ESC;
  wire wrong_escape = escaped && in_data != ESC_END && in_data != ESC_ESC;
  wire full_hold = count == 2'd3;

  has_uart_crc next_crc (.crc(crc), .data(plain), .after(crc_after));

  wire something = count != 2'd0 || bad || escaped;
  wire whole = full_hold && !bad && !escaped && crc == WHOLE;
  wire empty = at_end && whole && !any && !over;
  wire in_turn = tag == expected && !closed && !fail;

  // ---------------------------------------------------------------- the ring
  reg [ADDRESS_BITS-1:0] put, kept, got;  // next to write; behind the last whole frame; next to read
  wire [ADDRESS_BITS-1:0] after_put = put + 1'b1;
  wire room = after_put != got;
  wire write = (byte_comes && full_hold || at_end && whole && any) && room;
  wire take = at_end && whole && any && !over && room && in_turn;
  reg word_valid;                    // the ring's word is there; a register holds it before any logic
  wire pass = word_valid && (!out_valid || out_ready);
  wire fetch = got != kept && (!word_valid || pass);
  wire flush = empty || fail;

  reg [8:0] ring [0:(1 << ADDRESS_BITS)-1];
  reg [8:0] word;

  always @(posedge clk) begin
    if (write) ring[put] <= {at_end, held[23:16]};
    if (fetch) word <= ring[got];
    if (pass) {out_last, out_data} <= word;
  end

  always @(posedge clk) begin
    if (byte_comes) begin
      held <= {held[15:0], plain};
      if (full_hold && !any) tag <= held[23:16];
    end
    if (at_end) crc <= 16'hffff;
    else if (byte_comes) crc <= crc_after;
    if (empty) abort_tag <= held[23:16];
    if (at_end && !refused) refused_why <= !whole ? BROKEN : over || !room ? OVERRUN : SEQUENCE;

    if (rst) begin
      {escaped, bad, over, any} <= 4'b0000;
      count <= 2'd0;
      put <= {ADDRESS_BITS{1'b0}};
      kept <= {ADDRESS_BITS{1'b0}};
      got <= {ADDRESS_BITS{1'b0}};
      {word_valid, out_valid} <= 2'b00;
      abort <= 1'b0;
      refused <= 1'b0;
      closed <= 1'b1;
      crc <= 16'hffff;
    end else begin
      if (at_end) begin
        {escaped, bad, over, any} <= 4'b0000;
        count <= 2'd0;
        put <= take ? after_put : kept;
        if (take) begin
          kept <= after_put;
          expected <= expected + 1'b1;
        end
      end else begin
        if (escape) escaped <= 1'b1;
        else if (byte_comes) escaped <= 1'b0;
        if (in_broken || (byte_comes && wrong_escape) || (escape && escaped)) bad <= 1'b1;
        if (byte_comes && !full_hold) count <= count + 1'b1;
        if (byte_comes && full_hold) begin
          any <= 1'b1;
          if (room) put <= after_put;
          else over <= 1'b1;
        end
      end

      if (flush) begin
        got <= kept;
        {word_valid, out_valid} <= 2'b00;
      end else begin
        if (fetch) got <= got + 1'b1;
        word_valid <= fetch || (word_valid && !pass);
        out_valid <= pass || (out_valid && !out_ready);
      end

      if (empty) begin
        abort <= 1'b1;
        closed <= 1'b0;
        refused <= 1'b0;
        expected <= held[23:16] + 1'b1;
      end else begin
        if (abort_taken) abort <= 1'b0;
        if (refused_taken) refused <= 1'b0;
        if (fail) closed <= 1'b1;
        if (at_end && something && !take) begin
          closed <= 1'b1;
          refused <= 1'b1;
        end
      end
    end
  end

endmodule

`default_nettype wire
