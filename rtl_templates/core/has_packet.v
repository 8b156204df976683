// has_packet: counts answers into packets: close = 1, the next answer is the last of its packet.
// images: answers of a packet, 0 counts as 1. send pulses as an answer begins. set = 1: images has
// just changed; it and clear begin the count anew with the answer after that of this cycle.
`default_nettype none

module has_packet (
  input  wire        clk,
  input  wire        clear,
  input  wire        set,
  input  wire [15:0] images,
  input  wire        send,
  output wire        close
);

  reg [15:0] left;  // answers that follow the next in its packet
  wire [15:0] others = images == 16'd0 ? 16'd0 : images - 16'd1;

  assign close = left == 16'd0;

  always @(posedge clk) begin
    if (clear || set) left <= others;
    else if (send) left <= close ? others : left - 16'd1;
  end

endmodule

`default_nettype wire
