// formal_packet: has_packet closes every N-th answer, counted from the last clear or new N.
// clear comes with the first cycle, as rst does; images stands still but where set tells of it.
`default_nettype none

module formal_packet (
  input wire        clk,
  input wire        clear,
  input wire        set,
  input wire [15:0] images,
  input wire        send
);

  wire close;

  has_packet dut (
    .clk(clk), .clear(clear), .set(set), .images(images), .send(send), .close(close)
  );

  (* keep *) wire [15:0] peek_left;  // dut.left

  reg past = 1'b0;
  always @(posedge clk) past <= 1'b1;
  always @* if (!past) assume (clear);
  always @(posedge clk) if (past && !set) assume ($stable(images));

  wire [15:0] size = images == 16'd0 ? 16'd1 : images;
  reg [15:0] count;  // answers of this packet that have begun
  always @(posedge clk) begin
    if (clear || set) count <= 16'd0;
    else if (send) count <= close ? 16'd0 : count + 16'd1;
  end

  always @* if (past && !set) begin
    closes: assert (close == (count == size - 16'd1));
    within: assert (count < size);
`ifndef OUTSIDE_ALONE
    assert (peek_left == size - 16'd1 - count);
`endif
  end

  always @(posedge clk) if (past && !clear && !set) begin
    third: cover (send && close && size == 16'd3 && $past(send, 2));
    single: cover (send && close && images == 16'd0);
  end

endmodule

`default_nettype wire
