// has_adder_tree: sum of COUNT signed words as a balanced tree, SUM_BITS bits, wraps.
// Combinational; halves itself until one word is left, which is sign-extended or cut to SUM_BITS.
// COUNT: words, at least 1. WIDTH, SUM_BITS: bits.
// words: word 0 in the lowest WIDTH bits. sum: two's complement.
// Cutting early is exact: addition modulo 2^SUM_BITS does not look at higher bits.
`default_nettype none

module has_adder_tree #(
  parameter COUNT = 8,     // words
  parameter WIDTH = 13,    // bits
  parameter SUM_BITS = 16  // bits
) (
  input  wire [COUNT*WIDTH-1:0] words,
  output wire [SUM_BITS-1:0]    sum
);

  localparam LEFT = COUNT / 2;
  localparam RIGHT = COUNT - LEFT;

  generate
    if (COUNT > 1) begin : g_add
      wire [SUM_BITS-1:0] left;
      wire [SUM_BITS-1:0] right;
      has_adder_tree #(.COUNT(LEFT), .WIDTH(WIDTH), .SUM_BITS(SUM_BITS)) left_half (
        .words(words[LEFT*WIDTH-1:0]), .sum(left)
      );
      has_adder_tree #(.COUNT(RIGHT), .WIDTH(WIDTH), .SUM_BITS(SUM_BITS)) right_half (
        .words(words[COUNT*WIDTH-1:LEFT*WIDTH]), .sum(right)
      );
      assign sum = left + right;
    end else if (SUM_BITS > WIDTH) begin : g_extend
      assign sum = {{(SUM_BITS-WIDTH){words[WIDTH-1]}}, words};
    end else begin : g_cut
      assign sum = words[SUM_BITS-1:0];
    end
  endgenerate

endmodule

`default_nettype wire
