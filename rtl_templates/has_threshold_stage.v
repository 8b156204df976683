// has_threshold_stage: one comparison of a binary search over thresholds.
// Reads the threshold of node_in, compares v with it, and appends the answer to the node.
// Three enabled cycles, one result a cycle. Thresholds are V_BITS + 1 bits, so that every v has
// values which it always or never passes.
// NODE_BITS: bits of the address {row, found bits}. DEPTH: thresholds. STAGE: names the ROM, 0-9.
`default_nettype none

module has_threshold_stage #(
  parameter V_BITS = 25,    // bits
  parameter NODE_BITS = 4,  // bits
  parameter DEPTH = 16,     // words
  parameter STAGE = 0,
  parameter WRITABLE = 0    // 1 = the write port acts
) (
  input  wire                 clk,
  input  wire                 enable,
  input  wire [NODE_BITS-1:0] node_in,
  input  wire [V_BITS-1:0]    v_in,
  input  wire                 descending_in,
  input  wire                 fetching,   // 1 = found stands for the comparison: reads back
  input  wire                 found,
  output wire [V_BITS:0]      limit_word, // the threshold that was read
  output reg  [NODE_BITS:0]   node_out,
  output reg  [V_BITS-1:0]    v_out,
  output reg                  descending_out,
  input  wire                 write_enable,
  input  wire [NODE_BITS-1:0] write_address,
  input  wire [V_BITS:0]      write_value
);

  localparam [7:0] DIGIT = 48 + STAGE;  // ASCII

  wire [NODE_BITS-1:0] node;
  wire [V_BITS-1:0] v;
  wire descending;

  has_rom #(
    .WIDTH(V_BITS + 1), .DEPTH(DEPTH), .ADDRESS_BITS(NODE_BITS),
    .INIT_FILE({"thresholds_", DIGIT, ".mem"}), .WRITABLE(WRITABLE)
  ) rom (
    .clk(clk), .enable(enable), .address(node_in), .value(limit_word),
    .write_enable(write_enable), .write_address(write_address), .write_value(write_value)
  );

  has_delay #(.WIDTH(NODE_BITS + V_BITS + 1), .DEPTH(2)) read_delay (
    .clk(clk), .enable(enable), .in({node_in, v_in, descending_in}), .out({node, v, descending})
  );

  wire signed [V_BITS:0] limit = limit_word;
  wire signed [V_BITS:0] value = {v[V_BITS-1], v};
  wire passed = fetching ? found : descending ? (value <= limit) : (value >= limit);

  always @(posedge clk) begin
    if (enable) begin
      node_out <= {node, passed};
      v_out <= v;
      descending_out <= descending;
    end
  end

endmodule

`default_nettype wire
