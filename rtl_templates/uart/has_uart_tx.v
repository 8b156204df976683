// has_uart_tx: sends 8N1: a start bit 0, eight data bits with the lowest first, a stop bit 1.
// Control: synchronous reset.
`default_nettype none

module has_uart_tx #(
  parameter DIVISOR = 25  // clock cycles of a bit, at least 2
) (
  input  wire       clk,
  input  wire       rst,
  input  wire       valid,
  output wire       ready,
  input  wire [7:0] data,
  output reg        line
);

  localparam COUNT_BITS = $clog2(DIVISOR);
  localparam [31:0] WHOLE = DIVISOR - 1;

  reg [8:0] bits;              // to come, the next lowest
  reg [3:0] bits_left;         // with the one that shows
  reg [COUNT_BITS-1:0] left;   // cycles that it shows still
  wire over = left == {COUNT_BITS{1'b0}};
  assign ready = bits_left == 4'd0;

  always @(posedge clk) begin
    left <= ready || over ? WHOLE[COUNT_BITS-1:0] : left - 1'b1;
    if (ready) bits <= {1'b1, data};
    else if (over) bits <= {1'b1, bits[8:1]};
    if (rst) begin
      bits_left <= 4'd0;
      line <= 1'b1;
    end else if (ready) begin
      bits_left <= valid ? 4'd10 : 4'd0;
      line <= !valid;
    end else if (over) begin
      bits_left <= bits_left - 1'b1;
      line <= bits_left == 4'd1 || bits[0];
    end
  end

endmodule

`default_nettype wire
