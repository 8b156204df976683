// has_uart_rx: receives 8N1: a start bit 0, eight data bits with the lowest first, a stop bit 1.
// A byte shows for one cycle; `broken` shows in its place where the stop bit is 0 (a break, another
// baud, a bit turned round). A line that is held at 0 is one broken byte. Control: synchronous reset.
`default_nettype none

module has_uart_rx #(
  parameter DIVISOR = 25  // clock cycles of a bit, at least 4
) (
  input  wire       clk,
  input  wire       rst,
  input  wire       line,    // of another clock; 1 at rest
  output reg        valid,
  output reg        broken,
  output reg  [7:0] data
);

  localparam COUNT_BITS = $clog2(DIVISOR);
  localparam [31:0] WHOLE = DIVISOR - 1, HALF = DIVISOR / 2 - 1;
  localparam [3:0] STOP = 4'd9;

  reg meta, level;               // the line, behind two registers
  reg high;                      // it was 1: the next 0 is a start
  reg running;
  reg [COUNT_BITS-1:0] left;     // cycles to the middle of the next bit
  reg [3:0] place;               // 0 = start bit
  wire sample = running && left == {COUNT_BITS{1'b0}};

  always @(posedge clk) begin
    {level, meta} <= {meta, line};
    if (sample && place != STOP) data <= {level, data[7:1]};
    if (rst) begin
      running <= 1'b0;
      high <= 1'b0;
      valid <= 1'b0;
      broken <= 1'b0;
    end else begin
      valid <= sample && place == STOP && level;
      broken <= sample && place == STOP && !level;
      if (!running) begin
        high <= level;
        running <= high && !level;
      end else if (sample && (place == STOP || (place == 4'd0 && level))) begin
        running <= 1'b0;         // all of a byte, or a spike
        high <= level;
      end
    end
    if (!running) begin
      left <= HALF[COUNT_BITS-1:0];
      place <= 4'd0;
    end else begin
      left <= sample ? WHOLE[COUNT_BITS-1:0] : left - 1'b1;
      place <= place + {3'd0, sample};
    end
  end

  initial if (DIVISOR < 4) $error("DIVISOR must be at least 4");

endmodule

`default_nettype wire
