// has_pool_merge: keeps the maximum of the codes that are written to one element of a map.
// A code that begins is written as it is, any other where it is greater than what stands there.
// read_address goes to the map that is written; read_data comes one cycle later, and then the
// write. What the cycle before has written to the same word counts.
// Datapath without reset; in_enable is control.
`default_nettype none

module has_pool_merge #(
  parameter BANKS = 8,      // banks
  parameter CODE_BITS = 8,  // bits of a code
  parameter WORD_BITS = 7   // bits of a bank address
) (
  input  wire                       clk,
  input  wire                       code_signed,  // stands still while a stage runs
  input  wire [BANKS-1:0]           in_enable,
  input  wire [BANKS*WORD_BITS-1:0] in_address,
  input  wire [BANKS*(CODE_BITS+1)-1:0] in_data,  // of each bank: begins, code
  output wire [BANKS*WORD_BITS-1:0] read_address,
  input  wire [BANKS*CODE_BITS-1:0] read_data,
  output reg  [BANKS-1:0]           write_enable,
  output reg  [BANKS*WORD_BITS-1:0] write_address,
  output wire [BANKS*CODE_BITS-1:0] write_data
);

  assign read_address = in_address;

  always @(posedge clk) begin
    write_enable <= in_enable;
    write_address <= in_address;
  end

  // with the sign bit turned over, two's complement compares as unsigned
  wire [CODE_BITS-1:0] turn = {code_signed, {(CODE_BITS-1){1'b0}}};

  genvar b;
  generate
    for (b = 0; b < BANKS; b = b + 1) begin : g_bank
      reg begins, again;  // again: the cycle before wrote this word
      reg [CODE_BITS-1:0] code, written;
      wire [CODE_BITS-1:0] held = again ? written : read_data[b*CODE_BITS +: CODE_BITS];
      wire [CODE_BITS-1:0] most = (begins || (code ^ turn) > (held ^ turn)) ? code : held;

      assign write_data[b*CODE_BITS +: CODE_BITS] = most;

      always @(posedge clk) begin
        {begins, code} <= in_data[b*(CODE_BITS+1) +: CODE_BITS+1];
        again <= write_enable[b]
          && in_address[b*WORD_BITS +: WORD_BITS] == write_address[b*WORD_BITS +: WORD_BITS];
        written <= most;
      end
    end
  endgenerate

endmodule

`default_nettype wire
