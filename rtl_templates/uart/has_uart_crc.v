// has_uart_crc: CRC-16 of one byte more: x^16 + x^12 + x^5 + 1, the highest bit first.
// Over a message and, behind it, its CRC with every bit turned round, high byte first, it is 1d0f.
`default_nettype none

module has_uart_crc (
  input  wire [15:0] crc,   // before; all ones before the first byte
  input  wire [7:0]  data,
  output reg  [15:0] after
);

  integer i;

  always @* begin
    after = crc ^ {data, 8'd0};
    for (i = 0; i < 8; i = i + 1)
      after = {after[14:0], 1'b0} ^ (after[15] ? 16'h1021 : 16'h0000);
  end

endmodule

`default_nettype wire
