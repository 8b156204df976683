// gate_ram_xc7: what a 7-series block RAM does (UG473), in the modes that yosys maps to.
// Stands inside RAMB18E1 and RAMB36E1, whose ports and parameters the netlist sets.
// Two ports, bit addresses, words of WIDTH bits: 1, 2 or 4 without the parity bit of their byte,
// or whole bytes of 9, parity bits apart on the buses. 0: the port does not read, or not write.
// A read in a cycle that writes the same place gives the old word if the writing port is
// READ_FIRST, else unknown bits. Anything that is not modelled does not elaborate.
`default_nettype none

module gate_ram_xc7 #(
  parameter BITS = 14,                 // address bits: 14 = 18 kbit, 15 = 36 kbit
  parameter RAM_MODE = "TDP",          // "SDP": port A reads, port B writes
  parameter READ_WIDTH_A = 0,
  parameter READ_WIDTH_B = 0,
  parameter WRITE_WIDTH_A = 0,
  parameter WRITE_WIDTH_B = 0,
  parameter WRITE_MODE_A = "WRITE_FIRST",
  parameter WRITE_MODE_B = "WRITE_FIRST",
  parameter REGISTERS = 0,             // output registers, inverted pins, cascades: none
  parameter [(1<<BITS)-1:0] DATA = 0,  // power-up contents, 8 bits a byte
  parameter [(1<<(BITS-3))-1:0] PARITY = 0,
  parameter [71:0] SRVAL_A = 0,        // as on the buses: parity bits above the data bits
  parameter [71:0] SRVAL_B = 0
) (
  input  wire            clk_a,
  input  wire            enable_a,
  input  wire            reset_a,
  input  wire [BITS-1:0] address_a,
  input  wire [7:0]      write_a,  // by byte
  input  wire [63:0]     data_in_a,
  input  wire [7:0]      parity_in_a,
  output wire [63:0]     data_out_a,
  output wire [7:0]      parity_out_a,
  input  wire            clk_b,
  input  wire            enable_b,
  input  wire            reset_b,
  input  wire [BITS-1:0] address_b,
  input  wire [7:0]      write_b,
  input  wire [63:0]     data_in_b,
  input  wire [7:0]      parity_in_b,
  output wire [63:0]     data_out_b,
  output wire [7:0]      parity_out_b
);

  localparam WIDEST = BITS == 14 ? 36 : 72;
  localparam SDP = RAM_MODE == "SDP";

  function integer shift_of(input integer width);  // bits of the address within a word
    case (width)
      0, 1: shift_of = 0;
      2: shift_of = 1;
      4: shift_of = 2;
      9: shift_of = 3;
      18: shift_of = 4;
      36: shift_of = 5;
      72: shift_of = 6;
      default: shift_of = -1;
    endcase
  endfunction

  function integer coarser(input integer one, input integer other);
    coarser = shift_of(one) > shift_of(other) ? shift_of(one) : shift_of(other);
  endfunction

  generate
    if (
      (RAM_MODE != "TDP" && RAM_MODE != "SDP") || REGISTERS != 0 || shift_of(READ_WIDTH_A) < 0
      || shift_of(READ_WIDTH_B) < 0 || shift_of(WRITE_WIDTH_A) < 0 || shift_of(WRITE_WIDTH_B) < 0
      || (SDP ? READ_WIDTH_B != 0 || WRITE_WIDTH_A != 0 || READ_WIDTH_A > WIDEST
                || WRITE_WIDTH_B > WIDEST || WRITE_MODE_A != WRITE_MODE_B
                || WRITE_MODE_B == "NO_CHANGE"
              : READ_WIDTH_A > WIDEST/2 || READ_WIDTH_B > WIDEST/2 || WRITE_WIDTH_A > WIDEST/2
                || WRITE_WIDTH_B > WIDEST/2)
      || (READ_WIDTH_A != 0 && WRITE_WIDTH_A != 0 && READ_WIDTH_A != WRITE_WIDTH_A)
      || (READ_WIDTH_B != 0 && WRITE_WIDTH_B != 0 && READ_WIDTH_B != WRITE_WIDTH_B)
    ) begin : g_refused
      GATE_LEVEL_BLOCK_RAM_MODE_NOT_MODELLED refused ();
    end
  endgenerate

  reg [8:0] bytes [0:(1<<(BITS-3))-1];
  reg [(1<<BITS)-1:0] data_bits;  // a parameter of this size is slow to take apart
  reg [(1<<(BITS-3))-1:0] parity_bits;
  integer place;
  initial begin
    data_bits = DATA;
    parity_bits = PARITY;
    for (place = 0; place < (1 << (BITS - 3)); place = place + 1)
      bytes[place] = {parity_bits[place], data_bits[8*place +: 8]};
  end

  reg [71:0] out_a, out_b;  // parity bits above data bits

  wire any_a = WRITE_WIDTH_A != 0 && enable_a && |write_a;
  wire any_b = WRITE_WIDTH_B != 0 && enable_b && |write_b;
  localparam A_SEES_B = coarser(READ_WIDTH_A, WRITE_WIDTH_B);
  localparam B_SEES_A = coarser(READ_WIDTH_B, WRITE_WIDTH_A);
  localparam BOTH_WRITE = coarser(WRITE_WIDTH_A, WRITE_WIDTH_B);
  // unknown addresses meet every place
  wire a_meets_b = (address_a >> A_SEES_B) === (address_b >> A_SEES_B)
                   || ^address_a === 1'bx || ^address_b === 1'bx;
  wire b_meets_a = (address_a >> B_SEES_A) === (address_b >> B_SEES_A)
                   || ^address_a === 1'bx || ^address_b === 1'bx;

  function [71:0] word(input [BITS-1:0] address, input integer width);
    integer i;
    reg [8:0] here;
    begin
      word = 72'd0;
      if (width < 9) begin
        here = bytes[address >> 3];
        for (i = 0; i < width; i = i + 1)
          word[i] = here[(address & 7 & ~(width - 1)) + i];
      end else begin
        for (i = 0; i < width / 9; i = i + 1) begin
          here = bytes[((address >> 3) & ~(width / 9 - 1)) + i];
          word[8*i +: 8] = here[7:0];
          word[64+i] = here[8];
        end
      end
    end
  endfunction

  // the word after this port's own write
  function [71:0] merged(
    input [71:0] old, input integer width, input [7:0] write, input [63:0] data, input [7:0] parity
  );
    integer i;
    begin
      merged = old;
      if (width < 9) begin
        if (write[0]) merged[7:0] = data[7:0];
      end else begin
        for (i = 0; i < width / 9; i = i + 1) begin
          if (write[i]) {merged[64+i], merged[8*i +: 8]} = {parity[i], data[8*i +: 8]};
        end
      end
    end
  endfunction

  task store(input [BITS-1:0] address, input integer width, input [71:0] value);
    integer i;
    reg [8:0] here;
    begin
      if (^address === 1'bx) begin
        $display("FATAL: %m writes to an unknown address");
        $finish;
      end
      if (width < 9) begin
        here = bytes[address >> 3];
        for (i = 0; i < width; i = i + 1)
          here[(address & 7 & ~(width - 1)) + i] = value[i];
        bytes[address >> 3] <= here;
      end else begin
        for (i = 0; i < width / 9; i = i + 1)
          bytes[((address >> 3) & ~(width / 9 - 1)) + i] <= {value[64+i], value[8*i +: 8]};
      end
    end
  endtask

  function [71:0] reset_word(input [71:0] value, input integer width);
    begin
      reset_word = 72'd0;
      if (width < 9) reset_word[7:0] = value[7:0];
      else if (width == 9) {reset_word[64], reset_word[7:0]} = value[8:0];
      else if (width == 18) {reset_word[65:64], reset_word[15:0]} = value[17:0];
      else {reset_word[67:64], reset_word[31:0]} = value[35:0];
    end
  endfunction

  reg [71:0] old_a, old_b;

  generate
    if (READ_WIDTH_A != 0 || WRITE_WIDTH_A != 0) begin : g_a
      localparam WIDTH = READ_WIDTH_A != 0 ? READ_WIDTH_A : WRITE_WIDTH_A;
      always @(posedge clk_a) if (enable_a !== 1'b0) begin
        old_a = word(address_a, WIDTH);
        if (any_a) store(address_a, WIDTH, merged(old_a, WIDTH, write_a, data_in_a, parity_in_a));
        if (reset_a) out_a <= WIDTH > 36 ? 72'bx : reset_word(SRVAL_A, WIDTH);
        else if (any_b !== 1'b0 && a_meets_b && WRITE_MODE_B != "READ_FIRST") out_a <= 72'bx;
        else if (any_a && WRITE_MODE_A == "WRITE_FIRST")
          out_a <= merged(old_a, WIDTH, write_a, data_in_a, parity_in_a);
        else if (!any_a || WRITE_MODE_A == "READ_FIRST") out_a <= old_a;
      end
    end
    if (READ_WIDTH_B != 0 || WRITE_WIDTH_B != 0) begin : g_b
      localparam WIDTH = READ_WIDTH_B != 0 ? READ_WIDTH_B : WRITE_WIDTH_B;
      always @(posedge clk_b) if (enable_b !== 1'b0) begin
        old_b = word(address_b, WIDTH);
        if (any_b) store(address_b, WIDTH, merged(old_b, WIDTH, write_b, data_in_b, parity_in_b));
        if (reset_b) out_b <= WIDTH > 36 ? 72'bx : reset_word(SRVAL_B, WIDTH);
        else if (any_a !== 1'b0 && b_meets_a && WRITE_MODE_A != "READ_FIRST") out_b <= 72'bx;
        else if (any_b && WRITE_MODE_B == "WRITE_FIRST")
          out_b <= merged(old_b, WIDTH, write_b, data_in_b, parity_in_b);
        else if (!any_b || WRITE_MODE_B == "READ_FIRST") out_b <= old_b;
      end
    end
    if (WRITE_WIDTH_A != 0 && WRITE_WIDTH_B != 0) begin : g_both
      always @(posedge clk_a)
        if (any_a && any_b && (address_a >> BOTH_WRITE) === (address_b >> BOTH_WRITE)) begin
          $display("FATAL: %m writes one place through both ports");
          $finish;
        end
    end
    if (WRITE_WIDTH_A != 0 || WRITE_WIDTH_B != 0) begin : g_one_clock
      if (READ_WIDTH_A + WRITE_WIDTH_A != 0 && READ_WIDTH_B + WRITE_WIDTH_B != 0) begin : g_two
        always @(posedge clk_a) if (clk_b !== 1'b1) begin
          $display("FATAL: %m has two clocks, which is not modelled");
          $finish;
        end
      end
    end
  endgenerate

  assign {parity_out_a, data_out_a} = out_a;
  assign {parity_out_b, data_out_b} = out_b;

endmodule

`default_nettype wire
