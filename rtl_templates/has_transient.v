// has_transient: the draw of one transient fault at one use: which bit it inverts, or none.
// A hash of (seed, layer, entry, pass, column, step), so a draw depends on its place alone: word by
// word h = mix((h XOR word) + 9e3779b9h). It fires where h < threshold = floor(p * 2^32), and
// inverts bit lowest + ((mix(h + 9e3779b9h) * span) >> 32). Combinational.
// Only instantiated where FAULT_SITES is not 0. WIDTH: bits of the site's word.
`default_nettype none

module has_transient #(
  parameter WIDTH = 8  // bits
) (
  input  wire [31:0]      seed,
  input  wire [31:0]      layer,
  input  wire [31:0]      entry,
  input  wire [31:0]      pass,
  input  wire [31:0]      column,
  input  wire [31:0]      step,
  input  wire [32:0]      threshold,
  input  wire [5:0]       lowest,
  input  wire [5:0]       span,  // bits that it may invert, from lowest up
  output wire [WIDTH-1:0] flip
);

  function [31:0] mix;
    input [31:0] word;
    reg [31:0] x;
    begin
      x = word;
      x = x ^ (x >> 16);
      x = x * 32'h7feb352d;
      x = x ^ (x >> 15);
      x = x * 32'h846ca68b;
      mix = x ^ (x >> 16);
    end
  endfunction

  localparam [31:0] GOLDEN = 32'h9e3779b9;

  // one wire a word: a simulator works out again only what comes after the word that changed
  wire [31:0] h_seed = mix(seed + GOLDEN);
  wire [31:0] h_layer = mix((h_seed ^ layer) + GOLDEN);
  wire [31:0] h_entry = mix((h_layer ^ entry) + GOLDEN);
  wire [31:0] h_pass = mix((h_entry ^ pass) + GOLDEN);
  wire [31:0] h_column = mix((h_pass ^ column) + GOLDEN);
  wire [31:0] h = mix((h_column ^ step) + GOLDEN);
  wire [31:0] drawn = mix(h + GOLDEN);
  /* verilator lint_off UNUSEDSIGNAL */  // the fraction below the chosen bit
  wire [37:0] scaled = {6'd0, drawn} * {32'd0, span};
  /* verilator lint_on UNUSEDSIGNAL */
  wire [5:0] place = lowest + scaled[37:32];

  assign flip = ({1'b0, h} < threshold) ? {{(WIDTH-1){1'b0}}, 1'b1} << place : {WIDTH{1'b0}};

endmodule

`default_nettype wire
