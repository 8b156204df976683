// has_uart_bridge: a serial line, 8N1, to the registers and streams of has_core.
// docs/serial.md has the protocol. Control: synchronous reset.
`default_nettype none

module has_uart_bridge #(
  parameter DIVISOR = 25,      // clock cycles of a bit, at least 4
  parameter RING_BITS = 11,    // of the bytes of frames that may wait
  parameter IMAGE_BYTES = 8,   // of a beat on the line
  parameter IMAGE_BITS = 64,   // of a beat
  parameter WEIGHT_BYTES = 0,  // likewise; 0 = no weights are streamed
  parameter WEIGHT_BITS = 64,
  parameter RESULT_BYTES = 4
) (
  input  wire        clk,
  input  wire        rst,
  input  wire        line_in,   // of another clock
  output wire        line_out,
  output wire        closed,    // frames are refused: nobody is there yet, or one was broken

  output wire        m_axil_awvalid,
  input  wire        m_axil_awready,
  output wire [11:0] m_axil_awaddr,
  output wire        m_axil_wvalid,
  input  wire        m_axil_wready,
  output wire [31:0] m_axil_wdata,
  output wire [3:0]  m_axil_wstrb,
  input  wire        m_axil_bvalid,
  output wire        m_axil_bready,
  input  wire [1:0]  m_axil_bresp,
  output wire        m_axil_arvalid,
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

  wire rx_valid, rx_broken;
  wire [7:0] rx_data;

  has_uart_rx #(.DIVISOR(DIVISOR)) rx (
    .clk(clk), .rst(rst), .line(line_in), .valid(rx_valid), .broken(rx_broken), .data(rx_data)
  );

  wire frame_valid, frame_ready, frame_last, fail, abort, abort_taken, refused, refused_taken;
  wire [7:0] frame_data, abort_tag, refused_why;

  has_uart_frame_in #(.ADDRESS_BITS(RING_BITS)) frame_in (
    .clk(clk), .rst(rst), .in_valid(rx_valid), .in_broken(rx_broken), .in_data(rx_data),
    .out_valid(frame_valid), .out_ready(frame_ready), .out_data(frame_data),
    .out_last(frame_last), .fail(fail), .abort(abort), .abort_tag(abort_tag),
    .abort_taken(abort_taken), .refused(refused), .refused_why(refused_why),
    .refused_taken(refused_taken), .closed(closed)
  );

  wire cut, reply_valid, reply_ready, reply_last, tx_valid, tx_ready;
  wire [7:0] reply_data, tx_data;

  has_uart_commands #(
    .IMAGE_BYTES(IMAGE_BYTES), .IMAGE_BITS(IMAGE_BITS), .WEIGHT_BYTES(WEIGHT_BYTES),
    .WEIGHT_BITS(WEIGHT_BITS), .RESULT_BYTES(RESULT_BYTES)
  ) commands (
    .clk(clk), .rst(rst), .in_valid(frame_valid), .in_ready(frame_ready), .in_data(frame_data),
    .in_last(frame_last), .fail(fail), .abort(abort), .abort_tag(abort_tag),
    .abort_taken(abort_taken), .refused(refused), .refused_why(refused_why),
    .refused_taken(refused_taken), .cut(cut), .out_valid(reply_valid), .out_ready(reply_ready),
    .out_data(reply_data), .out_last(reply_last),
    .m_axil_awvalid(m_axil_awvalid), .m_axil_awready(m_axil_awready),
    .m_axil_awaddr(m_axil_awaddr), .m_axil_wvalid(m_axil_wvalid), .m_axil_wready(m_axil_wready),
    .m_axil_wdata(m_axil_wdata), .m_axil_wstrb(m_axil_wstrb), .m_axil_bvalid(m_axil_bvalid),
    .m_axil_bready(m_axil_bready), .m_axil_bresp(m_axil_bresp), .m_axil_arvalid(m_axil_arvalid),
    .m_axil_arready(m_axil_arready), .m_axil_araddr(m_axil_araddr), .m_axil_rvalid(m_axil_rvalid),
    .m_axil_rready(m_axil_rready), .m_axil_rdata(m_axil_rdata), .m_axil_rresp(m_axil_rresp),
    .m_axis_image_tvalid(m_axis_image_tvalid), .m_axis_image_tready(m_axis_image_tready),
    .m_axis_image_tlast(m_axis_image_tlast), .m_axis_image_tdata(m_axis_image_tdata),
    .m_axis_weight_tvalid(m_axis_weight_tvalid), .m_axis_weight_tready(m_axis_weight_tready),
    .m_axis_weight_tlast(m_axis_weight_tlast), .m_axis_weight_tdata(m_axis_weight_tdata),
    .s_axis_result_tvalid(s_axis_result_tvalid), .s_axis_result_tready(s_axis_result_tready),
    .s_axis_result_tlast(s_axis_result_tlast), .s_axis_result_tdata(s_axis_result_tdata)
  );

  has_uart_frame_out frame_out (
    .clk(clk), .rst(rst), .cut(cut), .in_valid(reply_valid), .in_ready(reply_ready),
    .in_data(reply_data), .in_last(reply_last), .out_valid(tx_valid), .out_ready(tx_ready),
    .out_data(tx_data)
  );

  has_uart_tx #(.DIVISOR(DIVISOR)) tx (
    .clk(clk), .rst(rst), .valid(tx_valid), .ready(tx_ready), .data(tx_data), .line(line_out)
  );

endmodule

`default_nettype wire
