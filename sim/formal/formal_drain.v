// formal_drain: has_drain gives every accumulator of every captured column once, with its slot.
// Three of them: one lane of three PEs; four lanes of one, where a column may end every cycle; and
// those four walked as a whole, where slots mean nothing.
// The surroundings are has_array's: a capture only where the drain is free, as many as the layer
// has columns in its passes, none in the cycle of a start. Resets come at any time.
`default_nettype none

module formal_drain #(
  parameter PE = 3,
  parameter OTHERS = 0,
  parameter WHOLE = 0
) (
  input wire       clk,
  input wire       rst,
  input wire       start,
  input wire [1:0] passes_less_1,
  input wire [1:0] columns_less_1,
  input wire [5:0] map_base,
  input wire       capture,
  input wire       enable
);

  localparam ALL = WHOLE != 0 ? PE + OTHERS : PE;
  localparam LESS_1 = ALL - 1;

  wire free, take, column_end, ending;
  wire [5:0] slot;
  wire [1:0] column;

  has_drain #(
    .PE(PE), .OTHERS(OTHERS), .PE_BITS(2), .PASS_BITS(2), .COLUMN_BITS(2), .SLOT_BITS(6)
  ) dut (
    .clk(clk), .rst(rst), .start(start), .whole(WHOLE != 0), .passes_less_1(passes_less_1),
    .columns_less_1(columns_less_1), .map_base(map_base), .capture(capture), .enable(enable),
    .free(free), .take(take), .slot(slot), .column(column), .column_end(column_end),
    .ending(ending)
  );

  (* keep *) wire       peek_full;  // dut.full
  (* keep *) wire [1:0] peek_pe;    // dut.pe
  (* keep *) wire [1:0] peek_pass;  // dut.pass

  reg past = 1'b0, past_rst = 1'b1;
  always @(posedge clk) begin
    past <= 1'b1;
    past_rst <= rst;
  end
  always @* if (!past) assume (rst && past_rst);

  // ---------------------------------------------------------------- the surroundings
  reg running;             // a layer was started, and not all its columns are captured
  reg [1:0] captured_column, captured_pass;
  reg [2:0] owed;          // accumulators captured and not taken
  wire last_capture = captured_column == columns_less_1 && captured_pass == passes_less_1;
  always @(posedge clk) if (past && $past(start || running || owed != 0)) begin
    assume ($stable({passes_less_1, columns_less_1, map_base}));
  end
  always @* begin
    if (start) assume (!capture && owed == 0 && !running && !rst);
    if (capture) assume (free && running && !rst);
  end
  always @(posedge clk) begin
    if (rst) begin
      running <= 1'b0;
      owed <= 3'd0;
    end else begin
      if (start) {captured_column, captured_pass, running} <= 5'd1;
      else if (capture) begin
        captured_column <= captured_column == columns_less_1 ? 2'd0 : captured_column + 2'd1;
        captured_pass <= captured_pass + (captured_column == columns_less_1);
        running <= !last_capture;
      end
      owed <= owed - take + (capture ? ALL : 0);
    end
  end

  // ---------------------------------------------------------------- what must come
  reg [1:0] pe, at_column, at_pass;  // of the next that is taken
  always @(posedge clk) begin
    if (start) {pe, at_column, at_pass} <= 6'd0;
    else if (take) begin
      pe <= pe == LESS_1 ? 2'd0 : pe + 2'd1;
      if (pe == LESS_1) at_column <= at_column == columns_less_1 ? 2'd0 : at_column + 2'd1;
      if (pe == LESS_1 && at_column == columns_less_1) at_pass <= at_pass + 2'd1;
    end
  end
  wire [5:0] place = map_base + at_pass * (PE + OTHERS) + pe;

  always @* if (past && !past_rst) begin
    taken_when_there: assert (take == (enable && owed != 0));  // none lost, none twice, no waiting
    if (owed != 0) begin
      where: assert ((WHOLE != 0 || slot == place) && column == at_column);
      column_last: assert (column_end == (at_column == columns_less_1));
      layer_last: assert (ending == (owed == 1 && !running));
    end
    // a column is not captured over one that is still to leave
    held: assert (!free || owed == 0 || (WHOLE == 0 && owed == 1 && take));
    opens: assert (owed != 0 || free);
  end

`ifndef OUTSIDE_ALONE
  // what ties the inside to the above
  reg known = 1'b0;  // a layer was started
  always @(posedge clk) known <= past && (start || known);
  always @* if (past) begin
    assert (owed <= ALL && peek_full == (owed != 0));
    assert (known || (owed == 0 && !running));
    if (known) begin
      assert (peek_pe == pe && pe <= LESS_1 && peek_pass == at_pass && column == at_column);
    end
    if (known && !past_rst && (owed != 0 || running)) begin
      assert (WHOLE != 0 || slot == place);
      assert (owed == 0 ? pe == 0 : pe == ALL - owed);
      assert (at_column <= columns_less_1 && captured_column <= columns_less_1);
      assert (at_pass <= passes_less_1);
      assert (!running || captured_pass <= passes_less_1);
      if (owed == 0) assert (captured_column == at_column && captured_pass == at_pass);
      else if (at_column == columns_less_1) begin
        assert (captured_column == 0 && captured_pass == at_pass + 2'd1);
        assert (running == (at_pass != passes_less_1));
      end else begin
        assert (running && captured_column == at_column + 2'd1 && captured_pass == at_pass);
      end
    end
  end
`endif

  always @(posedge clk) if (past && !past_rst && !rst) begin
    layer_ends: cover (take && ending && passes_less_1 == 1 && columns_less_1 == 1);
    stalled: cover (take && ending && $past(!enable && owed != 0));
    if (OTHERS != 0 && WHOLE == 0) chained: cover (take && capture);
  end

endmodule

`default_nettype wire
