// has_threshold: v = acc + bias, then the number of the row's thresholds that v passes.
// A pipelined binary search: stage i reads the threshold that splits what the i bits found so far
// leave open (thresholds_<i>.mem, address {row, found bits}); one comparison a stage.
// passed = v >= t, or v <= t where the row is descending. One result a cycle; acc at time 0,
// v at 3 and passed at 3 + 3 * STAGES enabled cycles (v_late is v, delayed to that time).
`default_nettype none

module has_threshold #(
  parameter ACC_BITS = 24,   // bits of acc
  parameter BIAS_BITS = 16,  // bits of a bias
  parameter V_BITS = 25,     // bits of v: the wider of the two and 1
  parameter STAGES = 4,      // bits of the count, 0 to 8; 0 = bias only
  parameter ROWS = 16,       // rows of all layers together
  parameter ROW_BITS = 4,    // bits that count ROWS, at least 1
  parameter WRITABLE = 0,    // 1 = the write ports act
  parameter SPACE = 32       // bits between two of words, more than V_BITS
) (
  input  wire                                clk,
  input  wire                                enable,
  input  wire [ROW_BITS-1:0]                 row,
  input  wire [ACC_BITS-1:0]                 acc,
  output wire [V_BITS-1:0]                   v_late,
  output wire [(STAGES > 0 ? STAGES : 1)-1:0] passed,
  // reading back: found stands for the comparisons, stage 0 lowest; a word of each memory, bias
  // lowest, then descending, then the stages, words SPACE bits apart, for row and found that stand
  /* verilator lint_off UNUSEDSIGNAL */  // of the last stage only the word counts
  input  wire                                fetching,
  input  wire [(STAGES > 0 ? STAGES : 1)-1:0] found,
  /* verilator lint_on UNUSEDSIGNAL */
  output wire [SPACE*(STAGES+2)-1:0]         words,
  // one enable each for bias, descending and the search's stages; address {row, node}
  /* verilator lint_off UNUSEDSIGNAL */  // a memory takes as many bits as it has
  input  wire [STAGES+1:0]                   write_enable,
  input  wire [ROW_BITS+(STAGES > 1 ? STAGES-1 : 0)-1:0] write_address,
  input  wire [V_BITS:0]                       write_value
  /* verilator lint_on UNUSEDSIGNAL */
);

  wire [BIAS_BITS-1:0] bias;
  wire [ACC_BITS-1:0] acc_held;
  wire [V_BITS-1:0] wide_bias = {{(V_BITS-BIAS_BITS){bias[BIAS_BITS-1]}}, bias};
  wire [V_BITS-1:0] wide_acc = {{(V_BITS-ACC_BITS){acc_held[ACC_BITS-1]}}, acc_held};
  reg [V_BITS-1:0] v;

  has_rom #(
    .WIDTH(BIAS_BITS), .DEPTH(ROWS), .ADDRESS_BITS(ROW_BITS), .INIT_FILE("bias.mem"),
    .WRITABLE(WRITABLE)
  ) bias_rom (
    .clk(clk), .enable(enable), .address(row), .value(bias),
    .write_enable(write_enable[0]), .write_address(write_address[ROW_BITS-1:0]),
    .write_value(write_value[BIAS_BITS-1:0])
  );
  has_delay #(.WIDTH(ACC_BITS), .DEPTH(2)) acc_register (
    .clk(clk), .enable(enable), .in(acc), .out(acc_held)
  );
  always @(posedge clk) if (enable) v <= wide_acc + wide_bias;
  assign words[0 +: SPACE] = {{(SPACE-BIAS_BITS){1'b0}}, bias};

  generate
    if (STAGES == 0) begin : g_none
      assign passed = 1'b0;
      assign v_late = v;
      assign words[SPACE +: SPACE] = {SPACE{1'b0}};
    end else begin : g_search
      wire [ROW_BITS-1:0] row_held;
      wire descending_read, descending;

      has_rom #(
        .WIDTH(1), .DEPTH(ROWS), .ADDRESS_BITS(ROW_BITS), .INIT_FILE("descending.mem"),
        .WRITABLE(WRITABLE)
      ) descending_rom (
        .clk(clk), .enable(enable), .address(row), .value(descending_read),
        .write_enable(write_enable[1]), .write_address(write_address[ROW_BITS-1:0]),
        .write_value(write_value[0])
      );
      assign words[SPACE +: SPACE] = {{(SPACE-1){1'b0}}, descending_read};
      has_delay descending_register (
        .clk(clk), .enable(enable), .in(descending_read), .out(descending)
      );
      has_delay #(.WIDTH(ROW_BITS), .DEPTH(3)) row_register (
        .clk(clk), .enable(enable), .in(row), .out(row_held)
      );

      genvar i;
      for (i = 0; i < STAGES; i = i + 1) begin : g_stage
        wire [ROW_BITS+i-1:0] node_in;
        wire [V_BITS-1:0] v_in, v_out;
        wire descending_in;
        wire [V_BITS:0] limit_word;
        /* verilator lint_off UNUSEDSIGNAL */  // after the last stage only the count is read
        wire descending_out;
        wire [ROW_BITS+i:0] node_out;
        /* verilator lint_on UNUSEDSIGNAL */
        if (i == 0) begin : g_first
          assign node_in = row_held;
          assign v_in = v;
          assign descending_in = descending;
        end else begin : g_next
          assign node_in = g_stage[i-1].node_out;
          assign v_in = g_stage[i-1].v_out;
          assign descending_in = g_stage[i-1].descending_out;
        end
        has_threshold_stage #(
          .V_BITS(V_BITS), .NODE_BITS(ROW_BITS + i), .DEPTH(ROWS << i), .STAGE(i),
          .WRITABLE(WRITABLE)
        ) stage (
          .clk(clk), .enable(enable), .node_in(node_in), .v_in(v_in),
          .descending_in(descending_in), .fetching(fetching), .found(found[i]),
          .limit_word(limit_word), .node_out(node_out), .v_out(v_out),
          .descending_out(descending_out),
          .write_enable(write_enable[i+2]), .write_address(write_address[ROW_BITS+i-1:0]),
          .write_value(write_value[V_BITS:0])
        );
        assign words[SPACE*(i+2) +: SPACE] = {{(SPACE-V_BITS-1){1'b0}}, limit_word};
      end
      assign passed = g_stage[STAGES-1].node_out[STAGES-1:0];
      assign v_late = g_stage[STAGES-1].v_out;
    end
  endgenerate

endmodule

`default_nettype wire
