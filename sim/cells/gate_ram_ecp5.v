// gate_ram_ecp5: what an ECP5 block RAM does (Lattice's memory usage guide), in the modes that
// yosys maps to. Stands inside DP16KD, whose ports and parameters the netlist sets.
// Two ports, bit addresses, words of WIDTH bits: 1, 2 or 4 without the ninth bit of their byte, or
// 9, 18 or 36, whole bytes of 9. Words of 18 and 36 bits have a write enable for each byte in the
// lowest address bits. A write leaves the port's own output as it was (NORMAL), shows the new word
// (WRITETHROUGH) or the old one (READBEFOREWRITE); where the ports meet, the output is unknown.
// A 36-bit word takes both data buses: port A writes, port B reads. Anything that is not modelled
// does not elaborate.
`default_nettype none

module gate_ram_ecp5 #(
  parameter WIDTH_A = 18,
  parameter WIDTH_B = 18,
  parameter MODE_A = "NORMAL",
  parameter MODE_B = "NORMAL",
  parameter SYNC = 1,                  // synchronous reset; 0 = reset must stay low
  parameter REFUSED = 0,               // output registers, inverted pins
  parameter [18431:0] CONTENTS = 0     // at power-up, 9 bits a byte
) (
  input  wire        clk_a,
  input  wire        enable_a,
  input  wire        reset_a,
  input  wire        write_a,
  input  wire [13:0] address_a,
  input  wire [17:0] data_in_a,
  output wire [17:0] data_out_a,
  input  wire        clk_b,
  input  wire        enable_b,
  input  wire        reset_b,
  input  wire        write_b,
  input  wire [13:0] address_b,
  input  wire [17:0] data_in_b,
  output wire [17:0] data_out_b
);

  function integer shift_of(input integer width);  // bits of the address within a word
    case (width)
      1: shift_of = 0;
      2: shift_of = 1;
      4: shift_of = 2;
      9: shift_of = 3;
      18: shift_of = 4;
      36: shift_of = 5;
      default: shift_of = -1;
    endcase
  endfunction

  generate
    if (
      REFUSED != 0 || shift_of(WIDTH_A) < 0 || shift_of(WIDTH_B) < 0
      || (MODE_A != "NORMAL" && MODE_A != "WRITETHROUGH" && MODE_A != "READBEFOREWRITE")
      || (MODE_B != "NORMAL" && MODE_B != "WRITETHROUGH" && MODE_B != "READBEFOREWRITE")
      || ((WIDTH_A == 36 || WIDTH_B == 36) && (MODE_A != "NORMAL" || MODE_B != "NORMAL"))
    ) begin : g_refused
      GATE_LEVEL_BLOCK_RAM_MODE_NOT_MODELLED refused ();
    end
  endgenerate

  reg [8:0] bytes [0:2047];
  reg [18431:0] all_bits;  // a parameter of this size is slow to take apart
  integer place;
  initial begin
    all_bits = CONTENTS;
    for (place = 0; place < 2048; place = place + 1) bytes[place] = all_bits[9*place +: 9];
  end

  localparam SHIFT_A = shift_of(WIDTH_A);
  localparam SHIFT_B = shift_of(WIDTH_B);
  localparam MEET = SHIFT_A > SHIFT_B ? SHIFT_A : SHIFT_B;
  // a pseudo dual port writes through one port and reads through the other
  localparam WIDE = WIDTH_A == 36 || WIDTH_B == 36;

  reg [35:0] out_a = 36'd0;
  reg [35:0] out_b = 36'd0;

  function [3:0] byte_enables(input integer width, input [13:0] address);
    byte_enables = width == 36 ? address[3:0] : width == 18 ? {2'b00, address[1:0]} : 4'b0001;
  endfunction

  wire any_a = enable_a && write_a && |byte_enables(WIDTH_A, address_a);
  wire any_b = enable_b && write_b && |byte_enables(WIDTH_B, address_b);
  wire meet = (address_a >> MEET) === (address_b >> MEET)
              || ^(address_a >> MEET) === 1'bx || ^(address_b >> MEET) === 1'bx;

  function [35:0] word(input [13:0] address, input integer width);
    integer i;
    reg [8:0] here;
    begin
      word = 36'd0;
      if (width < 9) begin
        here = bytes[address >> 3];
        for (i = 0; i < width; i = i + 1) word[i] = here[(address & 7 & ~(width - 1)) + i];
      end else begin
        for (i = 0; i < width / 9; i = i + 1)
          word[9*i +: 9] = bytes[((address >> 3) & ~(width / 9 - 1)) + i];
      end
    end
  endfunction

  function [35:0] merged(
    input [35:0] old, input integer width, input [13:0] address, input [35:0] data
  );
    integer i;
    reg [3:0] enables;
    begin
      merged = old;
      enables = byte_enables(width, address);
      if (width < 9) merged[7:0] = data[7:0];
      else
        for (i = 0; i < width / 9; i = i + 1)
          if (enables[i]) merged[9*i +: 9] = data[9*i +: 9];
    end
  endfunction

  task store(input [13:0] address, input integer width, input [35:0] value);
    integer i;
    reg [8:0] here;
    begin
      if (^(address >> shift_of(width)) === 1'bx) begin
        $display("FATAL: %m writes to an unknown address");
        $finish;
      end
      if (width < 9) begin
        here = bytes[address >> 3];
        for (i = 0; i < width; i = i + 1) here[(address & 7 & ~(width - 1)) + i] = value[i];
        bytes[address >> 3] <= here;
      end else begin
        for (i = 0; i < width / 9; i = i + 1)
          bytes[((address >> 3) & ~(width / 9 - 1)) + i] <= value[9*i +: 9];
      end
    end
  endtask

  wire [35:0] into_a = WIDTH_A == 36 ? {data_in_b, data_in_a} : {18'd0, data_in_a};
  wire [35:0] into_b = {18'd0, data_in_b};
  reg [35:0] old_a, old_b;

  always @(posedge clk_a) if (enable_a !== 1'b0) begin
    old_a = word(address_a, WIDTH_A);
    if (any_a && !reset_a) store(address_a, WIDTH_A, merged(old_a, WIDTH_A, address_a, into_a));
    if (!reset_a) begin
      if (any_b !== 1'b0 && meet) out_a <= 36'bx;
      else if (any_a && MODE_A == "WRITETHROUGH")
        out_a <= merged(old_a, WIDTH_A, address_a, into_a);
      else if (!any_a || MODE_A == "READBEFOREWRITE") out_a <= old_a;
    end
  end

  always @(posedge clk_b) if (enable_b !== 1'b0) begin
    old_b = word(address_b, WIDTH_B);
    if (any_b && !reset_b) store(address_b, WIDTH_B, merged(old_b, WIDTH_B, address_b, into_b));
    if (!reset_b) begin
      if (any_a !== 1'b0 && meet) out_b <= 36'bx;
      else if (any_b && MODE_B == "WRITETHROUGH")
        out_b <= merged(old_b, WIDTH_B, address_b, into_b);
      else if (!any_b || MODE_B == "READBEFOREWRITE") out_b <= old_b;
    end
  end

  // resets act whatever the clock enable
  always @(posedge clk_a) if (reset_a) out_a <= 36'd0;
  always @(posedge clk_b) if (reset_b) out_b <= 36'd0;

  always @(posedge clk_a) if (any_a && any_b && meet) begin
    $display("FATAL: %m writes one place through both ports");
    $finish;
  end
  always @(posedge clk_a) if (SYNC == 0 && (reset_a !== 1'b0 || reset_b !== 1'b0)) begin
    $display("FATAL: %m has an asynchronous reset, which is not modelled");
    $finish;
  end
  always @(posedge clk_a) if (any_a && enable_b !== 1'b0 && clk_b === 1'b0) begin
    $display("FATAL: %m has two clocks, which is not modelled");
    $finish;
  end

  // a narrow read beside a wide write leaves by port B's upper half, as the wide word's does
  assign data_out_a = WIDTH_B == 36 ? out_b[17:0] : out_a[17:0];
  assign data_out_b = WIDTH_B == 36 ? out_b[35:18] : out_b[17:0];

endmodule

`default_nettype wire
