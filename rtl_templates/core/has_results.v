// has_results: takes LANES results a cycle in any order of rows, and gives each to its bank.
// Every lane has a queue; of the lanes at whose head the same bank is wanted, the lowest goes first.
// one_bank = 1: all want the same one, and leave singly by take_* (the logits).
// ready = 0 one cycle before a queue could run over. empty: nothing is held here.
// LANES, BANKS: powers of two. DEPTH_BITS: bits that count a queue's words.
`default_nettype none

module has_results #(
  parameter LANES = 1,          // results a cycle
  parameter BANKS = 8,           // banks
  parameter BANK_BITS = 3,      // bits of BANKS - 1, at least 1
  parameter CODE_BITS = 8,      // bits
  parameter V_BITS = 25,        // bits
  parameter ELEMENT_BITS = 16,  // bits
  parameter WORD_BITS = 7,      // bits of a bank address
  parameter DEPTH_BITS = 3      // bits, 2 or more
) (
  input  wire                          clk,
  input  wire                          rst,
  input  wire                          one_bank,
  input  wire [LANES-1:0]              in_valid,
  input  wire [LANES*ELEMENT_BITS-1:0] in_element,
  input  wire [LANES*CODE_BITS-1:0]    in_code,
  input  wire [LANES*V_BITS-1:0]       in_v,
  output reg                           ready,
  output reg                           empty,
  output reg  [BANKS-1:0]               write_enable,
  output reg  [BANKS*WORD_BITS-1:0]     write_address,
  output reg  [BANKS*CODE_BITS-1:0]     write_data,
  output reg                           take,
  output reg  [ELEMENT_BITS-1:0]       take_element,
  output reg  [V_BITS-1:0]             take_v
);

  localparam WIDTH = ELEMENT_BITS + CODE_BITS + V_BITS;
  localparam SHIFT = BANKS > 1 ? BANK_BITS : 0;
  localparam [DEPTH_BITS:0] FULL = (1 << DEPTH_BITS) - 3;  // two more may be on their way

  wire [LANES-1:0] held, wanted, near_full, go;
  wire [LANES*WIDTH-1:0] heads;
  /* verilator lint_off UNUSEDSIGNAL */  // the lowest bits name the bank
  wire [LANES*ELEMENT_BITS-1:0] elements;
  /* verilator lint_on UNUSEDSIGNAL */
  wire [LANES*BANKS-1:0] banks, blocked;  // one-hot bank of each head; banks of the lower lanes

  genvar n, b;
  generate
    for (n = 0; n < LANES; n = n + 1) begin : g_lane
      reg [WIDTH-1:0] words [0:(1<<DEPTH_BITS)-1];
      reg [DEPTH_BITS-1:0] put, get;
      reg [DEPTH_BITS:0] count;
      wire [ELEMENT_BITS-1:0] element = heads[n*WIDTH +: ELEMENT_BITS];

      assign heads[n*WIDTH +: WIDTH] = words[get];
      assign elements[n*ELEMENT_BITS +: ELEMENT_BITS] = element;
      assign held[n] = count != {(DEPTH_BITS+1){1'b0}};
      assign near_full[n] = count >= FULL;
      for (b = 0; b < BANKS; b = b + 1) begin : g_bank
        if (BANKS == 1) begin : g_one
          assign banks[n] = held[n];
        end else begin : g_of_many
          localparam [31:0] BANK = b;
          assign banks[n*BANKS+b] = held[n]
            && (one_bank ? b == 0 : element[BANK_BITS-1:0] == BANK[BANK_BITS-1:0]);
        end
      end
      if (n == 0) begin : g_first
        assign blocked[BANKS-1:0] = {BANKS{1'b0}};
      end else begin : g_next
        assign blocked[n*BANKS +: BANKS] = blocked[(n-1)*BANKS +: BANKS] | banks[(n-1)*BANKS +: BANKS];
      end
      assign go[n] = |(banks[n*BANKS +: BANKS] & ~blocked[n*BANKS +: BANKS]);
      assign wanted[n] = held[n] || in_valid[n];

      always @(posedge clk) begin
        if (in_valid[n]) begin
          words[put] <= {in_v[n*V_BITS +: V_BITS], in_code[n*CODE_BITS +: CODE_BITS],
                         in_element[n*ELEMENT_BITS +: ELEMENT_BITS]};
        end
        if (rst) begin
          {put, get} <= {2*DEPTH_BITS{1'b0}};
          count <= {(DEPTH_BITS+1){1'b0}};
        end else begin
          if (in_valid[n]) put <= put + 1'b1;
          if (go[n]) get <= get + 1'b1;
          if (in_valid[n] && !go[n]) count <= count + 1'b1;
          else if (go[n] && !in_valid[n]) count <= count - 1'b1;
        end
      end
    end
  endgenerate

  always @(posedge clk) begin
    ready <= !(|near_full);
    empty <= !(|wanted);
  end

  // the lowest lane that wants a bank has it
  integer i, k;
  always @(posedge clk) begin
    write_enable <= {BANKS{1'b0}};
    take <= 1'b0;
    for (k = 0; k < BANKS; k = k + 1) begin
      for (i = LANES - 1; i >= 0; i = i - 1) begin
        if (banks[i*BANKS+k]) begin
          write_enable[k] <= !one_bank && !rst;
          write_address[k*WORD_BITS +: WORD_BITS] <= elements[i*ELEMENT_BITS+SHIFT +: WORD_BITS];
          write_data[k*CODE_BITS +: CODE_BITS] <= heads[i*WIDTH+ELEMENT_BITS +: CODE_BITS];
          if (k == 0) begin
            take <= one_bank && !rst;
            take_element <= elements[i*ELEMENT_BITS +: ELEMENT_BITS];
            take_v <= heads[i*WIDTH+ELEMENT_BITS+CODE_BITS +: V_BITS];
          end
        end
      end
    end
  end

endmodule

`default_nettype wire
