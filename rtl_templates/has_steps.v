// has_steps: counts a layer's steps, columns and passes, and lets the streams in accordingly.
// For each pass (external layers: STEPS weight beats first), for each column, for each step: one
// activation beat. Gives the bank address and the first/last marks of each beat.
// start loads the layer; no beat is let in after its last. ready = 0 holds activations, and with
// HOLD_WEIGHTS = 1 weights too.
// Control: synchronous reset.
`default_nettype none

module has_steps #(
  parameter STEP_BITS = 8,     // bits of steps - 1
  parameter PASS_BITS = 4,     // bits of passes - 1
  parameter COLUMN_BITS = 24,  // bits of columns
  parameter WMEM_BITS = 8,     // bits of a bank address
  parameter HOLD_WEIGHTS = 0   // 1 = ready holds the weight stream too
) (
  input  wire                   clk,
  input  wire                   rst,
  input  wire                   start,
  input  wire [STEP_BITS-1:0]   steps_less_1,
  input  wire [PASS_BITS-1:0]   passes_less_1,
  input  wire [COLUMN_BITS-1:0] columns_less_1,
  input  wire [WMEM_BITS-1:0]   wmem_base,
  input  wire                   external,
  input  wire                   ready,
  input  wire                   act_valid,
  output wire                   act_ready,
  input  wire                   weight_valid,
  output wire                   weight_ready,
  output wire                   act_beat,
  output wire                   weight_beat,
  output reg  [WMEM_BITS-1:0]   address,
  output reg  [PASS_BITS-1:0]   pass,
  output reg  [COLUMN_BITS-1:0] column,
  output reg  [STEP_BITS-1:0]   step,
  output wire                   first,
  output wire                   last
);

  reg running;  // beats of the layer are still to come
  reg loading;  // they are weights
  reg [WMEM_BITS-1:0] pass_base;

  wire step_end = step == steps_less_1;
  wire column_end = column == columns_less_1;
  wire pass_end = pass == passes_less_1;
  wire beat = act_beat || weight_beat;
  wire pass_done = act_beat && step_end && column_end;
  wire [WMEM_BITS-1:0] next_base = external ? pass_base : address + 1'b1;

  assign act_ready = running && !loading && ready;
  assign weight_ready = running && loading && (ready || HOLD_WEIGHTS == 0);
  assign act_beat = act_valid && act_ready;
  assign weight_beat = weight_valid && weight_ready;
  assign first = step == {STEP_BITS{1'b0}};
  assign last = step_end;

  always @(posedge clk) begin
    if (start) begin
      loading <= external;
      step <= {STEP_BITS{1'b0}};
      column <= {COLUMN_BITS{1'b0}};
      pass <= {PASS_BITS{1'b0}};
      pass_base <= wmem_base;
      address <= wmem_base;
    end else if (beat) begin
      step <= step_end ? {STEP_BITS{1'b0}} : step + 1'b1;
      address <= pass_done ? next_base : step_end ? pass_base : address + 1'b1;
      if (weight_beat && step_end) loading <= 1'b0;
      if (act_beat && step_end) column <= column_end ? {COLUMN_BITS{1'b0}} : column + 1'b1;
      if (pass_done) begin
        pass <= pass + 1'b1;
        pass_base <= next_base;
        loading <= external;
      end
    end
  end

  always @(posedge clk) begin
    if (rst) running <= 1'b0;
    else if (start) running <= 1'b1;
    else if (pass_done && pass_end) running <= 1'b0;
  end

endmodule

`default_nettype wire
