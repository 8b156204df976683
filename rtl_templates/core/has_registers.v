// has_registers: the AXI4-Lite side of has_core: control, status, counters, run-time memory writes.
// 32-bit registers at multiples of 4; docs/core.md has the map. Any other address, a write to a
// read-only register, a write of less than 32 bits and a memory write out of turn answer SLVERR and
// change nothing. Address and data of a write come in either order; the ready outputs are registers.
// Of writes and of reads one each is under way: the next is taken when the answer has been.
// Control: synchronous reset; a memory's contents are not touched by it.
`default_nettype none

module has_registers #(
  parameter [31:0] VERSION = 1,  // of this register map
  parameter [31:0] SHAPE = 0,    // act bits, weight bits, SIMD, PE, a byte each, PE lowest
  parameter STAGES = 1,          // stages of the network
  parameter STAGE_BITS = 1,      // bits of STAGES - 1, at least 1
  parameter MEMORIES = 4,        // memories that can be written
  parameter MEMORY_BITS = 8,     // bits that address each of them
  parameter VALUE_BITS = 32,     // bits of the widest word
  parameter VALUE_WORDS = 1,     // registers that hold them
  parameter [32*MEMORIES-1:0] DEPTHS = 0  // words of each memory, memory 0 lowest
) (
  input  wire                   clk,
  input  wire                   rst,
  input  wire                   s_axil_awvalid,
  output reg                    s_axil_awready,
  input  wire [11:0]            s_axil_awaddr,
  input  wire                   s_axil_wvalid,
  output reg                    s_axil_wready,
  input  wire [31:0]            s_axil_wdata,
  input  wire [3:0]             s_axil_wstrb,
  output reg                    s_axil_bvalid,
  input  wire                   s_axil_bready,
  output reg  [1:0]             s_axil_bresp,
  input  wire                   s_axil_arvalid,
  output reg                    s_axil_arready,
  input  wire [11:0]            s_axil_araddr,
  output reg                    s_axil_rvalid,
  input  wire                   s_axil_rready,
  output reg  [31:0]            s_axil_rdata,
  output reg  [1:0]             s_axil_rresp,

  output reg                    enable,      // images may begin
  output reg                    class_only,
  output reg                    restart,     // one cycle: forget the image under way
  input  wire                   busy,
  input  wire                   halted,
  input  wire [3:0]             errors,      // one cycle each: short, long, weights, row map
  output reg  [31:0]            images,      // answered, or as last set
  input  wire                   image_done,
  input  wire [31:0]            image_cycles,
  input  wire                   stage_done,
  input  wire [STAGE_BITS-1:0]  stage,
  input  wire [31:0]            stage_cycles,
  output reg  [MEMORIES-1:0]    memory_write,
  output wire [MEMORY_BITS-1:0] memory_address,
  output wire [VALUE_BITS-1:0]  memory_value
);

  localparam [1:0] OKAY = 2'b00, SLVERR = 2'b10;
  localparam [7:0] CONTROL = 8'h00, STATUS = 8'h04, CYCLES = 8'h08, IMAGES = 8'h0c, SHAPES = 8'h10,
                   VERSIONS = 8'h14, SELECT = 8'h20, ADDRESS = 8'h24, COMMIT = 8'h28;
  localparam [3:0] PAGE_0 = 4'h0, PAGE_STAGES = 4'h4, PAGE_VALUES = 4'h8;
  localparam [31:0] COUNT_OF_STAGES = STAGES, COUNT_OF_WORDS = VALUE_WORDS,
                    COUNT_OF_MEMORIES = MEMORIES;

  localparam WORD_BITS = VALUE_WORDS > 1 ? $clog2(VALUE_WORDS) : 1;
  localparam SELECT_BITS = $clog2(MEMORIES);

  reg [3:0] error;
  reg [31:0] cycles, select, address;
  reg [31:0] cycles_of [0:STAGES-1];
  reg [31:0] value [0:VALUE_WORDS-1];

  // ---------------------------------------------------------------- writes
  reg address_held, data_held;  // taken, and not yet written
  reg [11:0] write_address;
  reg [31:0] write_data;
  reg [3:0] write_strobe;
  wire address_taken = s_axil_awvalid && s_axil_awready;
  wire data_taken = s_axil_wvalid && s_axil_wready;
  wire write = address_held && data_held && !s_axil_bvalid;

  always @(posedge clk) begin
    if (address_taken) write_address <= s_axil_awaddr;
    if (data_taken) {write_strobe, write_data} <= {s_axil_wstrb, s_axil_wdata};
    if (rst) begin
      {address_held, data_held} <= 2'b00;
      {s_axil_awready, s_axil_wready} <= 2'b00;
    end else begin
      address_held <= address_taken || (address_held && !write);
      data_held <= data_taken || (data_held && !write);
      s_axil_awready <= !address_taken && (write || !address_held);
      s_axil_wready <= !data_taken && (write || !data_held);
    end
  end

  wire write_whole = write_strobe == 4'hf && write_address[1:0] == 2'b00;
  wire write_page_0 = write_address[11:8] == PAGE_0;
  wire write_value = write_address[11:8] >= PAGE_VALUES
    && {23'd0, write_address[10:2]} < COUNT_OF_WORDS;
  wire [31:0] depth = select < COUNT_OF_MEMORIES ? DEPTHS[32*select[SELECT_BITS-1:0] +: 32] : 32'd0;
  wire may_commit = !enable && !busy && address < depth;
  reg legal;

  always @* begin
    legal = 1'b0;
    if (write_whole && write_value) legal = 1'b1;
    else if (write_whole && write_page_0) begin
      case (write_address[7:0])
        CONTROL, STATUS, IMAGES, SELECT, ADDRESS: legal = 1'b1;
        COMMIT: legal = may_commit;
        default: legal = 1'b0;
      endcase
    end
  end

  wire act = write && legal;
  wire act_page_0 = act && write_page_0;
  wire set_control = act_page_0 && write_address[7:0] == CONTROL;
  wire set_status = act_page_0 && write_address[7:0] == STATUS;
  wire set_images = act_page_0 && write_address[7:0] == IMAGES;
  wire set_select = act_page_0 && write_address[7:0] == SELECT;
  wire set_address = act_page_0 && write_address[7:0] == ADDRESS;
  wire commit = act_page_0 && write_address[7:0] == COMMIT;

  always @(posedge clk) begin
    if (act && write_value) value[write_address[2 +: WORD_BITS]] <= write_data;
  end

  genvar i;
  generate
    /* verilator lint_off UNUSEDSIGNAL */  // the widest word may end within a register
    wire [32*VALUE_WORDS-1:0] values;
    /* verilator lint_on UNUSEDSIGNAL */
    for (i = 0; i < VALUE_WORDS; i = i + 1) begin : g_value
      assign values[32*i +: 32] = value[i];
    end
  endgenerate
  assign memory_value = values[VALUE_BITS-1:0];

  // the address has moved on when the word is written
  assign memory_address = address[MEMORY_BITS-1:0] - 1'b1;

  always @(posedge clk) begin
    restart <= set_control && write_data[2] && !rst;
    memory_write <= {MEMORIES{1'b0}};
    if (commit && !rst) memory_write[select[SELECT_BITS-1:0]] <= 1'b1;
    if (rst) begin
      enable <= 1'b1;
      class_only <= 1'b0;
      {select, address, images} <= 96'd0;
      error <= 4'd0;
    end else begin
      if (set_control) {class_only, enable} <= write_data[1:0];
      error <= (error & ~(set_status ? write_data[11:8] : 4'd0)) | errors;
      if (set_images) images <= write_data;
      else if (image_done) images <= images + 32'd1;
      if (set_select) select <= write_data;
      if (set_address) address <= write_data;
      else if (commit) address <= address + 32'd1;
    end
  end

  always @(posedge clk) begin
    if (rst) s_axil_bvalid <= 1'b0;
    else if (write) s_axil_bvalid <= 1'b1;
    else if (s_axil_bready) s_axil_bvalid <= 1'b0;
    if (write) s_axil_bresp <= legal ? OKAY : SLVERR;
  end

  // ---------------------------------------------------------------- reads
  integer place;
  initial begin
    cycles = 32'd0;
    for (place = 0; place < STAGES; place = place + 1) cycles_of[place] = 32'd0;
  end

  wire read = s_axil_arvalid && s_axil_arready;
  wire read_whole = s_axil_araddr[1:0] == 2'b00;
  wire read_stage = s_axil_araddr[11:8] == PAGE_STAGES
    && {26'd0, s_axil_araddr[7:2]} < COUNT_OF_STAGES;
  wire [31:0] stage_word = cycles_of[s_axil_araddr[2 +: STAGE_BITS]];
  reg [31:0] word;
  reg known;

  always @* begin
    word = 32'd0;
    known = read_whole;
    if (read_stage) word = stage_word;
    else if (s_axil_araddr[11:8] == PAGE_0) begin
      case (s_axil_araddr[7:0])
        CONTROL: word = {30'd0, class_only, enable};
        STATUS: word = {20'd0, error, 6'd0, halted, busy};
        CYCLES: word = cycles;
        IMAGES: word = images;
        SHAPES: word = SHAPE;
        VERSIONS: word = VERSION;
        SELECT: word = select;
        ADDRESS: word = address;
        default: known = 1'b0;
      endcase
    end else known = 1'b0;
  end

  always @(posedge clk) begin
    if (read) begin
      s_axil_rdata <= known ? word : 32'd0;
      s_axil_rresp <= known ? OKAY : SLVERR;
    end
    if (image_done) cycles <= image_cycles;
    if (stage_done) cycles_of[stage] <= stage_cycles;
  end

  always @(posedge clk) begin
    if (rst) begin
      s_axil_rvalid <= 1'b0;
      s_axil_arready <= 1'b0;
    end else begin
      s_axil_rvalid <= read || (s_axil_rvalid && !s_axil_rready);
      s_axil_arready <= !read && (!s_axil_rvalid || s_axil_rready);
    end
  end

endmodule

`default_nettype wire
