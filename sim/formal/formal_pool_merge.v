// formal_pool_merge: has_pool_merge with the memory that it writes, bank by bank: at any time what
// stands in a word, with the write that is under way, is the greatest code since the last that began.
// The memory gives the word as it was before the write of the same cycle, a cycle later. Every word
// is begun before it is merged; the order of codes stands still.
`default_nettype none

module formal_pool_merge (
  input wire       clk,
  input wire       code_signed,
  input wire [1:0] in_enable,
  input wire [3:0] in_address,
  input wire [7:0] in_data,
  input wire [5:0] other_words
);

  wire [3:0] read_address, write_address;
  wire [1:0] write_enable;
  wire [5:0] read_data, write_data;

  has_pool_merge #(.BANKS(2), .CODE_BITS(3), .WORD_BITS(2)) dut (
    .clk(clk), .code_signed(code_signed), .in_enable(in_enable), .in_address(in_address),
    .in_data(in_data), .read_address(read_address), .read_data(read_data),
    .write_enable(write_enable), .write_address(write_address), .write_data(write_data)
  );

  (* keep *) wire [2:0] peek_held_0;    // dut.g_bank[0].held
  (* keep *) wire [2:0] peek_held_1;    // dut.g_bank[1].held
  (* keep *) wire       peek_begins_0;  // dut.g_bank[0].begins
  (* keep *) wire       peek_begins_1;  // dut.g_bank[1].begins

  reg past = 1'b0;  // there is a cycle before this one
  always @(posedge clk) past <= 1'b1;
  always @(posedge clk) if (past) assume ($stable(code_signed));
  always @* if (!past) assume (in_enable == 2'b00);

  one_bank bank_0 (
    .clk(clk), .past(past), .code_signed(code_signed), .in_enable(in_enable[0]),
    .in_address(in_address[1:0]), .in_data(in_data[3:0]), .read_address(read_address[1:0]),
    .other(other_words[2:0]), .read_data(read_data[2:0]), .write_enable(write_enable[0]),
    .write_address(write_address[1:0]), .write_data(write_data[2:0]), .held(peek_held_0),
    .begins(peek_begins_0)
  );
  one_bank bank_1 (
    .clk(clk), .past(past), .code_signed(code_signed), .in_enable(in_enable[1]),
    .in_address(in_address[3:2]), .in_data(in_data[7:4]), .read_address(read_address[3:2]),
    .other(other_words[5:3]), .read_data(read_data[5:3]), .write_enable(write_enable[1]),
    .write_address(write_address[3:2]), .write_data(write_data[5:3]), .held(peek_held_1),
    .begins(peek_begins_1)
  );

endmodule

module one_bank (
  input wire       clk,
  input wire       past,
  input wire       code_signed,
  input wire       in_enable,
  input wire [1:0] in_address,
  input wire [3:0] in_data,
  input wire [1:0] read_address,
  input wire [2:0] other,      // what any other word gives
  output reg [2:0] read_data,
  input wire       write_enable,
  input wire [1:0] write_address,
  input wire [2:0] write_data,
  input wire [2:0] held,
  input wire       begins
);

  // one word, whichever
  (* anyconst *) reg [1:0] word;
  reg [2:0] stored, wanted;
  reg known = 1'b0;  // it was begun
  wire [2:0] turn = {code_signed, 2'b00};
  wire [2:0] code = in_data[2:0];
  wire first = in_data[3];
  wire meant = past && in_enable && in_address == word;
  wire writes = past && write_enable && write_address == word;
  wire [2:0] now = writes ? write_data : stored;

  always @* if (meant && !known) assume (first);
  always @(posedge clk) begin
    known <= known || meant;
    if (meant && (first || (code ^ turn) > (wanted ^ turn))) wanted <= code;
    stored <= now;
    read_data <= read_address == word ? stored : other;
  end

  reg came = 1'b0;  // in the cycle before
  always @(posedge clk) came <= meant;
  always @* if (past && known) begin
    greatest: assert (now == wanted);
    in_time: assert (writes == came);
`ifndef OUTSIDE_ALONE
    // what ties the inside to the above
    if (writes && !begins) assert (held == stored);
`endif
  end

  always @(posedge clk) if (past) begin
    twice: cover (writes && meant && !first && !begins && code_signed && wanted == 3'd7);
    stays: cover (writes && !begins && wanted == 3'd5 && $past(wanted == 3'd5 && code != 3'd5));
  end

endmodule

`default_nettype wire
