// has_fetch: the word of a memory of has_array that stands at its door, 32 bits at a time.
// The memories are read by the ways that the array itself takes: row and found name the word on the
// way through the threshold search, where it is one of a memory that is read by row.
// memory_select: 0 weights (words), 1 to STAGES + 3 those of the lanes (lane_words, a copy each),
// STAGES + 4 preloads (started). part: bits 32*place.. of it, two cycles after place, which stands
// still.
`default_nettype none

module has_fetch #(
  parameter WORDS_BITS = 32,    // a step of all PEs' weights
  parameter STARTED_BITS = 32,  // a pass of all PEs' preloads
  parameter STAGES = 4,         // of the threshold search, 0 to 8
  parameter LANES = 1,          // copies of the memories that are read by slot and by row
  parameter LANE_BITS = 1,      // bits of LANES - 1, at least 1
  parameter SPACE = 32,         // bits that hold a word of theirs, a power of two
  parameter ROW_BITS = 4,       // bits that count the rows of all layers
  parameter ADDRESS_BITS = 8,   // bits of memory_address
  parameter SELECT_BITS = 3,    // bits of memory_select
  parameter PLACE_BITS = 1      // bits that count the parts of the widest word
) (
  input  wire                    clk,
  input  wire [SELECT_BITS-1:0]  memory_select,
  /* verilator lint_off UNUSEDSIGNAL */  // as many bits as the largest memory that is read by row
  input  wire [ADDRESS_BITS-1:0] memory_address,
  /* verilator lint_on UNUSEDSIGNAL */
  input  wire [LANE_BITS-1:0]    memory_lane,
  input  wire [PLACE_BITS-1:0]   place,
  output wire [ROW_BITS-1:0]     row,
  output reg  [(STAGES > 0 ? STAGES : 1)-1:0] found,  // what each stage of the search is to find
  input  wire [WORDS_BITS-1:0]   words,
  input  wire [STARTED_BITS-1:0] started,
  input  wire [LANES*SPACE-1:0]  lane_words,
  output reg  [31:0]             part
);

  localparam DEEP = STAGES > 1 ? STAGES - 1 : 0;  // bits of the deepest node
  localparam NODE_BITS = ROW_BITS + DEEP;
  localparam [31:0] FIRST = 4, LAST = DEEP, PRELOADS = STAGES + 4;
  localparam WIDE = 32 << PLACE_BITS, MOST = SPACE < WIDE ? SPACE : WIDE;

  generate
    if (DEEP == 0) begin : g_rows
      assign row = memory_address[ROW_BITS-1:0];
      always @(posedge clk) found <= 1'b0;
    end else begin : g_nodes
      // an address is {row, node}; a stage's node has as many bits as there are stages before it
      wire [SELECT_BITS-1:0] level = memory_select < FIRST[SELECT_BITS-1:0]
        ? {SELECT_BITS{1'b0}} : memory_select - FIRST[SELECT_BITS-1:0];
      wire [NODE_BITS-1:0] node =
        memory_address[NODE_BITS-1:0] << (LAST[SELECT_BITS-1:0] - level);
      integer i;
      assign row = node[NODE_BITS-1:DEEP];
      always @(posedge clk) begin
        found <= {STAGES{1'b0}};
        for (i = 0; i < DEEP; i = i + 1) found[i] <= node[DEEP-1-i];
      end
    end
  endgenerate

  reg [(SPACE<<LANE_BITS)-1:0] copies;
  reg [SPACE-1:0] lane_word;
  reg [WIDE-1:0] wide_words, wide_started, wide_lane_word;
  wire [WIDE-1:0] word = memory_select == {SELECT_BITS{1'b0}} ? wide_words
    : memory_select == PRELOADS[SELECT_BITS-1:0] ? wide_started : wide_lane_word;

  always @* begin
    copies = {(SPACE<<LANE_BITS){1'b0}};
    copies[0 +: LANES*SPACE] = lane_words;
    {wide_words, wide_started, wide_lane_word} = {(3*WIDE){1'b0}};
    wide_words[0 +: WORDS_BITS] = words;
    wide_started[0 +: STARTED_BITS] = started;
    wide_lane_word[0 +: MOST] = lane_word[0 +: MOST];
  end

  always @(posedge clk) begin
    lane_word <= copies[SPACE*memory_lane +: SPACE];
  end

  // in two steps, as the memories lie far apart: one part of each group of neighbours, then a group
  localparam IN_GROUP_BITS = (PLACE_BITS + 1) / 2;
  localparam GROUP_BITS = PLACE_BITS - IN_GROUP_BITS;
  reg [(32<<GROUP_BITS)-1:0] parts;
  wire [31:0] wide_place = {{(32-PLACE_BITS){1'b0}}, place};
  integer g;

  always @(posedge clk) begin
    for (g = 0; g < (1 << GROUP_BITS); g = g + 1) begin
      parts[32*g +: 32] <= word[32*((g << IN_GROUP_BITS) + place[IN_GROUP_BITS-1:0]) +: 32];
    end
    part <= parts[32*(wide_place >> IN_GROUP_BITS) +: 32];
  end

endmodule

`default_nettype wire
