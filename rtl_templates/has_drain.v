// has_drain: walks the captured accumulators of one column slot by slot, PE 0 first; with several
// lanes, each of PE PEs, all walk in step and slot is lane 0's.
// take = 1: the head accumulator enters the output path in this cycle with slot (the address in
// the row map), column and ending (last slot of the layer). free = 1: the shadow may be captured;
// of several lanes of one PE in the very cycle in which it is taken (free then depends on enable),
// so that a column may end every cycle.
// Counts passes and columns by itself, in the order in which has_steps takes them.
// whole = 1: lane 0 walks the accumulators of all lanes, one a cycle; slot means nothing then.
// Control: synchronous reset.
`default_nettype none

module has_drain #(
  parameter PE = 16,           // processing elements of a lane
  parameter OTHERS = 0,        // processing elements of all other lanes
  parameter PE_BITS = 4,       // bits of PE - 1, at least 1
  parameter PASS_BITS = 4,     // bits of passes - 1
  parameter COLUMN_BITS = 24,  // bits of columns
  parameter SLOT_BITS = 8      // bits of a row-map address
) (
  input  wire                   clk,
  input  wire                   rst,
  input  wire                   start,
  input  wire                   whole,
  input  wire [PASS_BITS-1:0]   passes_less_1,
  input  wire [COLUMN_BITS-1:0] columns_less_1,
  input  wire [SLOT_BITS-1:0]   map_base,
  input  wire                   capture,
  input  wire                   enable,
  output wire                   free,
  output wire                   take,
  output reg  [SLOT_BITS-1:0]   slot,
  output reg  [COLUMN_BITS-1:0] column,
  output wire                   column_end,
  output wire                   ending
);

  localparam [31:0] PE_LESS_1 = PE - 1, ALL_LESS_1 = PE + OTHERS - 1, TO_NEXT_PASS = OTHERS + 1;

  reg full;
  reg [PE_BITS-1:0] pe;
  reg [PASS_BITS-1:0] pass;

  wire pe_end = pe == (whole ? ALL_LESS_1[PE_BITS-1:0] : PE_LESS_1[PE_BITS-1:0]);

  assign take = full && enable;
  assign free = !full || (PE == 1 && OTHERS != 0 && take && !whole);
  assign column_end = column == columns_less_1;
  assign ending = pe_end && column_end && pass == passes_less_1;

  always @(posedge clk) begin
    if (start) begin
      pe <= {PE_BITS{1'b0}};
      pass <= {PASS_BITS{1'b0}};
      column <= {COLUMN_BITS{1'b0}};
      slot <= map_base;
    end else if (take) begin
      pe <= pe_end ? {PE_BITS{1'b0}} : pe + 1'b1;
      slot <= !pe_end ? slot + 1'b1 :
        column_end ? slot + TO_NEXT_PASS[SLOT_BITS-1:0] : slot - PE_LESS_1[SLOT_BITS-1:0];
      if (pe_end) column <= column_end ? {COLUMN_BITS{1'b0}} : column + 1'b1;
      if (pe_end && column_end) pass <= pass + 1'b1;
    end
  end

  always @(posedge clk) begin
    if (rst) full <= 1'b0;
    else if (capture) full <= 1'b1;
    else if (take && pe_end) full <= 1'b0;
  end

endmodule

`default_nettype wire
