// has_fault: the faults that sit on one set of wires, F(v) = ((v AND and) OR or) XOR xor.
// Combinational. Bit by bit, so the words of several multipliers may share one instance.
// Neutral masks: and = all ones, or = 0, xor = 0.
// WIDTH: wires. Ports: value in, masks in, faulty out.
// Only instantiated where FAULT_SITES is 1; a healthy build holds none.
`default_nettype none

module has_fault #(
  parameter WIDTH = 8  // bits
) (
  input  wire [WIDTH-1:0] value,
  input  wire [WIDTH-1:0] mask_and,
  input  wire [WIDTH-1:0] mask_or,
  input  wire [WIDTH-1:0] mask_xor,
  output wire [WIDTH-1:0] faulty
);

  assign faulty = ((value & mask_and) | mask_or) ^ mask_xor;

endmodule

`default_nettype wire
