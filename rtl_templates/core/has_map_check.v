// has_map_check: whether the row map names every row of every layer exactly once.
// It walks its own copy of the map, layer by layer: forgets the rows seen, then takes one slot a
// cycle. A new map or rst makes the last answer void; check = 1 then begins a new walk.
// good = 1: the map that is stored is right. wrong pulses where a row stands twice, is beyond the
// layer, or is missing; a new walk then waits for rst. checking = 1: a walk is under way.
`default_nettype none

module has_map_check #(
  parameter LAYERS = 1,        // multiply layers
  parameter LAYER_BITS = 1,    // bits of LAYERS - 1, at least 1
  parameter ROW_BITS = 5,      // bits of a row number and of a slot's word
  parameter SLOT_BITS = 4,     // bits of a slot's address
  parameter DEPTH = 16,        // slots
  parameter [32*LAYERS-1:0] ROWS = 0,  // rows of each layer, layer 0 lowest
  parameter [32*LAYERS-1:0] SLOTS = 0  // slots of each layer, layer 0 lowest
) (
  input  wire                 clk,
  input  wire                 rst,
  input  wire                 check,
  output wire                 checking,
  output wire                 good,
  output reg                  wrong,
  input  wire                 write_enable,
  input  wire [SLOT_BITS-1:0] write_address,
  input  wire [ROW_BITS-1:0]  write_value
);

  localparam [2:0] VOID = 3'd0, FORGET = 3'd1, WALK = 3'd2, COUNT = 3'd3, GOOD = 3'd4, WRONG = 3'd5;
  localparam [31:0] LAST = LAYERS - 1;

  reg [2:0] state;
  reg [LAYER_BITS-1:0] layer;
  reg [SLOT_BITS-1:0] slot;
  reg [SLOT_BITS:0] place;           // of the slot in its layer; of the row that is forgotten
  reg seen [0:(1<<ROW_BITS)-1];
  reg [ROW_BITS:0] count;            // different rows so far
  reg asking;                        // a slot's row is on its way
  reg asked;                         // row is that of a slot
  wire [ROW_BITS-1:0] row;
  wire used;

  /* verilator lint_off UNUSEDSIGNAL */  // no layer has more rows or slots than can be counted
  wire [31:0] rows = ROWS[32*layer +: 32];
  wire [31:0] rows_less_1 = rows - 32'd1;
  wire [31:0] slots_less_1 = SLOTS[32*layer +: 32] - 32'd1;
  /* verilator lint_on UNUSEDSIGNAL */
  wire forget_end = place == rows_less_1[SLOT_BITS:0];
  wire walk_end = place == slots_less_1[SLOT_BITS:0];
  wire bad_row = asked && used && ({1'b0, row} >= rows[ROW_BITS:0] || seen[row]);

  assign checking = (state == VOID && check) || state == FORGET || state == WALK || state == COUNT;
  assign good = state == GOOD;

  has_row_map #(
    .ROW_BITS(ROW_BITS), .DEPTH(DEPTH), .ADDRESS_BITS(SLOT_BITS), .WRITABLE(1)
  ) map (
    .clk(clk), .enable(1'b1), .slot(slot), .row(row), .used(used),
    .write_enable(write_enable), .write_address(write_address), .write_value(write_value)
  );

  // one write port: distributed RAM has no more
  wire forget = state == FORGET;
  wire [ROW_BITS-1:0] marked = forget ? place[ROW_BITS-1:0] : row;
  always @(posedge clk) if (forget || (asked && used)) seen[marked] <= !forget;

  always @(posedge clk) begin
    asking <= state == WALK;
    asked <= asking;
    wrong <= 1'b0;
    if (state == FORGET) count <= {(ROW_BITS+1){1'b0}};
    else if (asked && used) count <= count + 1'b1;
    if (rst || write_enable) begin
      state <= VOID;
      asking <= 1'b0;
      asked <= 1'b0;
    end else if (bad_row) begin
      state <= WRONG;
      wrong <= 1'b1;
      asking <= 1'b0;
      asked <= 1'b0;
    end else begin
      case (state)
        VOID: begin
          layer <= {LAYER_BITS{1'b0}};
          slot <= {SLOT_BITS{1'b0}};
          place <= {(SLOT_BITS+1){1'b0}};
          if (check) state <= FORGET;
        end
        FORGET: begin
          place <= forget_end ? {(SLOT_BITS+1){1'b0}} : place + 1'b1;
          if (forget_end) state <= WALK;
        end
        WALK: begin
          slot <= slot + 1'b1;
          place <= walk_end ? {(SLOT_BITS+1){1'b0}} : place + 1'b1;
          if (walk_end) state <= COUNT;
        end
        COUNT: begin
          if (!asking && !asked) begin
            layer <= layer + 1'b1;
            if (count != rows[ROW_BITS:0]) begin
              state <= WRONG;
              wrong <= 1'b1;
            end else begin
              state <= layer == LAST[LAYER_BITS-1:0] ? GOOD : FORGET;
            end
          end
        end
        default: state <= state;
      endcase
    end
  end

endmodule

`default_nettype wire
