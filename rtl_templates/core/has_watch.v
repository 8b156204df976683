// has_watch: holds the array to what it was, between images, on the words that lie in its banks.
// due = 1: a check is to run before the next image: one after set, and one after every interval
// images; interval 0: none. A check is a stage of COLUMNS columns, the same in every pass: codes
// are its activations, step by step (take), from SEED on in each pass. signature is that of the
// accumulators as they leave; where it is not the expected one at the check's end, wrong pulses.
// A check that a restart cuts off is still due; rst is that of the core alone.
`default_nettype none

module has_watch #(
  parameter CODES_BITS = 64,     // SIMD activations
  parameter ACC_BITS = 24,       // at most 32
  parameter STEP_BITS = 4,       // bits of a pass's steps - 1
  parameter COLUMNS = 8,         // of every pass, a power of two, 2 at least
  parameter [31:0] SEED = 1,     // any but 0
  parameter [31:0] POLYNOMIAL = 1
) (
  input  wire                  clk,
  input  wire                  rst,
  input  wire                  set,        // one cycle: interval has just been written
  input  wire [15:0]           interval,
  input  wire                  image_done,
  output wire                  due,
  input  wire                  begins,     // a check does
  input  wire                  ends,
  input  wire [STEP_BITS-1:0]  steps_less_1,
  input  wire                  take,
  output wire [CODES_BITS-1:0] codes,
  input  wire                  acc_valid,
  input  wire [ACC_BITS-1:0]   acc,
  input  wire [31:0]           expected,
  output reg  [31:0]           signature,
  output reg                   wrong
);

  localparam COLUMN_BITS = $clog2(COLUMNS), WORDS = (CODES_BITS + 31) / 32;

  // ---------------------------------------------------------------- when
  reg waiting;
  reg [15:0] left;  // images until the next check, 0 with it
  wire last = image_done && left == 16'd1;
  assign due = waiting || last;

  always @(posedge clk) begin
    if (rst) waiting <= 1'b0;
    else if (set) waiting <= interval != 16'd0;
    else if (ends) waiting <= 1'b0;
    else if (last) waiting <= 1'b1;
    if (rst) left <= 16'd0;
    else if (set || ends) left <= interval;
    else if (image_done && left != 16'd0) left <= left - 16'd1;
  end

  // ---------------------------------------------------------------- activations: xorshift32
  reg [31:0] state;
  reg [STEP_BITS-1:0] step;
  reg [COLUMN_BITS-1:0] column;
  wire [31:0] once = state ^ (state << 13);
  wire [31:0] twice = once ^ (once >> 17);
  wire column_end = step == steps_less_1;
  wire pass_end = column_end && column == {COLUMN_BITS{1'b1}};

  /* verilator lint_off UNUSEDSIGNAL */  // a beat may end within a word
  wire [32*WORDS-1:0] words = {WORDS{state}};
  /* verilator lint_on UNUSEDSIGNAL */
  assign codes = words[CODES_BITS-1:0];

  always @(posedge clk) begin
    if (begins) begin
      state <= SEED;
      step <= {STEP_BITS{1'b0}};
      column <= {COLUMN_BITS{1'b0}};
    end else if (take) begin
      state <= pass_end ? SEED : twice ^ (twice << 5);
      step <= column_end ? {STEP_BITS{1'b0}} : step + 1'b1;
      if (column_end) column <= column + 1'b1;
    end
  end

  // ---------------------------------------------------------------- the signature
  wire [31:0] wide_acc = {{(32-ACC_BITS){acc[ACC_BITS-1]}}, acc};

  always @(posedge clk) begin
    if (begins) signature <= 32'd0;
    else if (acc_valid) begin
      signature <= {signature[30:0], 1'b0} ^ (signature[31] ? POLYNOMIAL : 32'd0) ^ wide_acc;
    end
    wrong <= ends && signature != expected && !rst;
  end

endmodule

`default_nettype wire
