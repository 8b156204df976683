// formal_registers: has_registers against the register map of docs/core.md, written down once more.
// The manager is any that keeps to the AXI4-Lite rules; resets come at any time after the first.
`default_nettype none

module formal_registers (
  input wire        clk,
  input wire        rst,
  input wire        awvalid,
  input wire [11:0] awaddr,
  input wire        wvalid,
  input wire [31:0] wdata,
  input wire [3:0]  wstrb,
  input wire        bready,
  input wire        arvalid,
  input wire [11:0] araddr,
  input wire        rready,
  input wire        busy,
  input wire        halted,
  input wire [3:0]  errors,
  input wire        image_done,
  input wire [31:0] image_cycles,
  input wire        stage_done,
  input wire        stage,
  input wire [31:0] stage_cycles,
  input wire        packet_left,
  input wire [31:0] memory_read,
  input wire        test_next
);

  localparam [31:0] SHAPE = 32'h04030201, VERSION = 2;
  localparam FETCH_CYCLES = 2;

  wire awready, wready, bvalid, arready, rvalid, enable, class_only, restart;
  wire packet_set, interrupt, place;
  wire [15:0] packet;
  wire [2:0] memory_select;
  wire [1:0] lane;
  wire test, test_signed, test_base;
  wire [2:0] test_steps_less_1;
  wire [1:0] test_passes_less_1;
  wire [1:0] bresp, rresp;
  wire [31:0] rdata, images;
  wire [4:0] memory_write;
  wire [2:0] memory_address;
  wire [39:0] memory_value;

  has_registers #(
    .VERSION(VERSION), .SHAPE(SHAPE), .STAGES(2), .STAGE_BITS(1), .MEMORIES(5), .MEMORY_BITS(3),
    .VALUE_BITS(40), .VALUE_WORDS(2), .PLACE_BITS(1), .LANES(3), .LANE_BITS(2),
    .FETCH_CYCLES(FETCH_CYCLES), .DEPTHS({32'd8, 32'd5, 32'd7, 32'd0, 32'd2}), .TEST(1),
    .MOST_STEPS(16'd6), .MOST_PASSES(16'd3), .STEP_BITS(3), .PASS_BITS(2), .BASE_BITS(1)
  ) dut (
    .clk(clk), .rst(rst), .s_axil_awvalid(awvalid), .s_axil_awready(awready),
    .s_axil_awaddr(awaddr), .s_axil_wvalid(wvalid), .s_axil_wready(wready), .s_axil_wdata(wdata),
    .s_axil_wstrb(wstrb), .s_axil_bvalid(bvalid), .s_axil_bready(bready), .s_axil_bresp(bresp),
    .s_axil_arvalid(arvalid), .s_axil_arready(arready), .s_axil_araddr(araddr),
    .s_axil_rvalid(rvalid), .s_axil_rready(rready), .s_axil_rdata(rdata), .s_axil_rresp(rresp),
    .enable(enable), .class_only(class_only), .restart(restart), .packet(packet),
    .packet_set(packet_set), .packet_left(packet_left), .interrupt(interrupt), .busy(busy),
    .halted(halted),
    .errors(errors), .images(images), .image_done(image_done), .image_cycles(image_cycles),
    .stage_done(stage_done), .stage(stage), .stage_cycles(stage_cycles),
    .memory_write(memory_write), .memory_address(memory_address), .memory_value(memory_value),
    .memory_select(memory_select), .memory_lane(lane), .memory_place(place),
    .memory_read(memory_read), .test(test), .test_signed(test_signed),
    .test_steps_less_1(test_steps_less_1), .test_passes_less_1(test_passes_less_1),
    .test_base(test_base), .test_next(test_next)
  );

  (* keep *) wire [31:0] peek_select;         // dut.select
  (* keep *) wire [31:0] peek_address;        // dut.address
  (* keep *) wire        peek_in_memory;      // dut.in_memory
  (* keep *) wire [4:0]  peek_error;          // dut.error
  (* keep *) wire        peek_strict;         // dut.strict
  (* keep *) wire [1:0]  peek_irq;            // dut.irq
  (* keep *) wire [1:0]  peek_irq_enable;     // dut.irq_enable
  (* keep *) wire        peek_illegal_write;  // dut.illegal_write
  (* keep *) wire [11:0] peek_illegal_address;  // dut.illegal_address
  (* keep *) wire [1:0]  peek_waiting;        // dut.waiting
  (* keep *) wire [2:0]  peek_reading;        // dut.reading
  (* keep *) wire        peek_advance;        // dut.advance
  (* keep *) wire [31:0] peek_cycles;         // dut.cycles
  (* keep *) wire [31:0] peek_stage_0;        // dut.cycles_of[0]
  (* keep *) wire [31:0] peek_stage_1;        // dut.cycles_of[1]
  (* keep *) wire [31:0] peek_value_0;        // dut.value[0]
  (* keep *) wire [31:0] peek_value_1;        // dut.value[1]
  (* keep *) wire        peek_address_held;   // dut.address_held
  (* keep *) wire        peek_data_held;      // dut.data_held
  (* keep *) wire [11:0] peek_write_address;  // dut.write_address
  (* keep *) wire [31:0] peek_write_data;     // dut.write_data
  (* keep *) wire [3:0]  peek_write_strobe;   // dut.write_strobe

  reg past = 1'b0;  // there is a cycle before this one
  reg past_rst = 1'b1;
  always @(posedge clk) begin
    past <= 1'b1;
    past_rst <= rst;
  end
  always @* if (!past) assume (rst && past_rst);

  // ---------------------------------------------------------------- the rules of the channels
  always @(posedge clk) begin
    if (past && !past_rst) begin
      if ($past(awvalid && !awready)) assume (awvalid && $stable(awaddr));
      if ($past(wvalid && !wready)) assume (wvalid && $stable({wdata, wstrb}));
      if ($past(arvalid && !arready)) assume (arvalid && $stable(araddr));
      if ($past(bvalid && !bready)) stable_b: assert (bvalid && $stable(bresp));
      if ($past(rvalid && !rready)) stable_r: assert (rvalid && $stable({rdata, rresp}));
    end
  end

  // ---------------------------------------------------------------- one answer for each request
  reg [1:0] addresses, datas;  // taken, and not answered
  reg reads;
  reg [1:0] fetching;    // cycles until a FETCH is answered
  reg [1:0] delivering;  // until a word that was fetched is
  wire answering = bvalid || fetching != 2'd0;
  wire write = addresses != 2'd0 && datas != 2'd0 && !answering;
  wire read = arvalid && arready;
  always @(posedge clk) begin
    if (rst) {addresses, datas, reads} <= 5'd0;
    else begin
      addresses <= addresses + (awvalid && awready) - (bvalid && bready);
      datas <= datas + (wvalid && wready) - (bvalid && bready);
      reads <= reads + read - (rvalid && rready);
    end
  end
  always @* if (past) begin
    asked_address: assert (addresses == answering || addresses == answering + 2'd1);
    asked_data: assert (datas == answering || datas == answering + 2'd1);
    asked_read: assert (reads == (rvalid || delivering != 2'd0));
    alone: assert (!(bvalid && fetching != 2'd0) && !(rvalid && delivering != 2'd0));
    if (!past_rst) begin  // never waits for a valid: it is ready unless it holds one
      open_address: assert (awready == (addresses == answering));
      open_data: assert (wready == (datas == answering));
      open_read: assert (arready == (!rvalid && delivering == 2'd0));
    end else begin
      shut: assert (!awready && !wready && !arready && !bvalid && !rvalid);
    end
`ifndef OUTSIDE_ALONE
    // what ties the inside to the above, here and below
    assert (peek_address_held == (addresses != answering));
    assert (peek_data_held == (datas != answering));
    assert (peek_waiting == fetching && fetching <= FETCH_CYCLES);
    assert (peek_reading == (delivering == 3 ? 3'b001 : delivering == 2 ? 3'b010
                             : delivering == 1 ? 3'b100 : 3'b000));
`endif
  end
  always @(posedge clk) if (past && !past_rst) begin
    // in the next cycle, but where a word comes from its memory
    answered_write: assert (!$past(write && !fetch && !rst) || bvalid);
    answered_read: assert (!$past(read && !at_value && !rst) || rvalid);
    answered_fetch: assert (!$past(fetching == 2'd1 && !rst) || bvalid);
    answered_value: assert (!$past(delivering == 2'd1 && !rst) || rvalid);
  end

  // ---------------------------------------------------------------- what a write may do
  reg [11:0] at;
  reg [31:0] data;
  reg [3:0] strobe;
  reg [31:0] select, address, count, value_0, value_1;
  reg enabled, only, hard;
  reg [4:0] error;
  reg [1:0] pending, lines;
  reg [15:0] size;
  reg [12:0] first;  // illegal access: a write, its address
  reg [1:0] answer;
  wire [31:0] depth = select == 0 ? 2 : select == 1 ? 0 : select == 2 ? 7 : select == 3 ? 5 :
    select == 4 ? 8 : 0;
  reg past_write = 1'b1;  // or a reset: the memory and its address have just moved
  always @(posedge clk) past_write <= write || rst;
  wire at_rest = !enabled && !busy;
  wire may_access = at_rest && address < depth;
  wire legal = strobe == 4'b1111 && (at == 12'h000 || at == 12'h004 || at == 12'h00c
    || at == 12'h01c || at == 12'h020 || at == 12'h024 || (at == 12'h028 && may_access)
    || (at == 12'h02c && may_access && data < 3) || at == 12'h030 || at == 12'h034
    || (at == 12'h040 && at_rest) || (at == 12'h048 && at_rest && data < 2)
    || (at == 12'h044 && at_rest && data[15:0] < 6 && data[31:16] < 3)
    || at == 12'h800 || at == 12'h804);
  wire act = write && legal;
  wire fetch = act && at == 12'h02c;
  wire at_value = araddr == 12'h800 || araddr == 12'h804;
  wire bad_write = write && !legal, bad_read = read && given[33];
  wire [4:0] kept = error & ~((act && at == 12'h004) ? data[12:8] : 5'd0);
  wire [4:0] comes = {bad_write || bad_read, errors};
  reg [4:0] pulses;  // of the memories
  reg again;         // the restart
  reg resized;       // the packet
  reg raised;        // the interrupt
  reg [1:0] meant;   // lane
  always @(posedge clk) begin
    if (awvalid && awready) at <= awaddr;
    if (wvalid && wready) {strobe, data} <= {wstrb, wdata};
    if (write) answer <= legal || !hard ? 2'b00 : 2'b10;
    if (fetch) meant <= data[1:0];
    resized <= act && at == 12'h01c && !rst;
    raised <= |(pending & lines) && !rst;
    if (act && at == 12'h800) value_0 <= data;
    if (act && at == 12'h804) value_1 <= data;
    again <= act && at == 12'h000 && data[2] && !rst;
    pulses <= (act && at == 12'h028 && !rst) ? 5'd1 << select[2:0] : 5'd0;
    if (rst) begin
      {enabled, only, hard} <= 3'b100;
      {select, address, count, error} <= 101'd0;
      {pending, lines, first, fetching, delivering} <= 21'd0;
      size <= 16'd1;
    end else begin
      if (act && at == 12'h000) {hard, only, enabled} <= {data[3], data[1:0]};
      error <= kept | comes;
      if (comes[4] && !kept[4]) first <= bad_write ? {1'b1, at} : {1'b0, araddr};
      if (act && at == 12'h01c) size <= data[15:0];
      if (act && at == 12'h030) lines <= data[1:0];
      pending <= (pending & ~((act && at == 12'h034) ? data[1:0] : 2'd0))
        | {comes != 5'd0, packet_left};
      fetching <= fetch ? FETCH_CYCLES : fetching - (fetching != 2'd0);
      delivering <= (read && at_value) ? 2'd3 : delivering - (delivering != 2'd0);
      if (act && at == 12'h00c) count <= data;
      else if (image_done) count <= count + 1;
      if (act && at == 12'h020) select <= data;
      if (act && at == 12'h024) address <= data;
      if ((act && at == 12'h028) || fetch) address <= address + 1;
    end
  end
  // test mode; its sizes are unknown until written
  reg [2:0] mode;
  reg [2:0] steps;
  reg [1:0] passes;
  reg base, sized = 1'b0, based = 1'b0;
  always @(posedge clk) begin
    if (act && at == 12'h044) {passes, steps} <= {data[17:16], data[2:0]};
    if (act && at == 12'h048) base <= data[0];
    else if (image_done && mode[0] && mode[2]) base <= test_next;
    sized <= sized || (past && act && at == 12'h044);
    based <= based || (past && act && at == 12'h048);
    if (rst) mode <= 3'd0;
    else if (act && at == 12'h040) mode <= data[2:0];
  end
  always @* if (past) begin
    tests: assert ({test_signed, test} == mode[1:0]);
`ifndef OUTSIDE_ALONE
    assert (peek_advance == mode[2]);
`endif
    if (sized) shape: assert ({test_passes_less_1, test_steps_less_1} == {passes, steps});
    if (based) from: assert (test_base == base);
  end

  wire [31:0] last_word = address - 1;
  always @* if (past) begin
    if (bvalid) response: assert (bresp == answer);
`ifndef OUTSIDE_ALONE
    if (peek_address_held) assert (peek_write_address == at);
    if (peek_data_held) assert ({peek_write_strobe, peek_write_data} == {strobe, data});
    assert (peek_select == select && peek_address == address);
    if (!past_write) assert (peek_in_memory == (address < depth));
`endif
    noted: assert ({peek_error, peek_illegal_write, peek_illegal_address} == {error, first});
    raising: assert ({peek_strict, peek_irq, peek_irq_enable} == {hard, pending, lines});
    packets: assert ({packet, packet_set} == {size, resized});
    level: assert (interrupt == raised);
    chosen: assert (memory_select == select[2:0]);
    settings: assert ({enable, class_only} == {enabled, only});
    counted: assert (images == count);
    pulsed: assert ({restart, memory_write} == {again, pulses});
    word_address: assert (memory_address == last_word[2:0]);
  end

  // an illegal write, whatever came before: nothing moves but the answer and what notes it
  always @(posedge clk) if (past && !past_rst && $past(write && !legal)) begin
    illegal_answer: assert (bvalid && bresp == ($past(hard) ? 2'b10 : 2'b00));
    illegal_pulse: assert (!restart && !packet_set && memory_write == 5'd0);
    illegal_state: assert ($stable({enable, class_only, packet, peek_strict, peek_irq_enable,
                                    peek_select, peek_address, peek_value_0, peek_value_1}));
    illegal_error: assert (peek_error == (5'b10000 | $past(peek_error) | $past(errors)));
    illegal_note: assert ($past(error[4]) || first == {1'b1, $past(at)});
    illegal_count: assert (images == $past(images) + $past(image_done));
  end

  // values are unknown until written
  reg written_0 = 1'b0, written_1 = 1'b0, named = 1'b0;
  always @(posedge clk) named <= named || (past && fetch);
  always @* if (past && named) lane_named: assert (lane == meant);
  always @(posedge clk) begin
    written_0 <= written_0 || (past && act && at == 12'h800);
    written_1 <= written_1 || (past && act && at == 12'h804);
  end
  always @* if (past) begin
    if (written_0) value_low: assert (memory_value[31:0] == value_0 && peek_value_0 == value_0);
    if (written_1) value_high: assert (memory_value[39:32] == value_1[7:0]
                                       && peek_value_1 == value_1);
  end

  // ---------------------------------------------------------------- what a read gives
  reg [31:0] cycles = 32'd0, stage_0 = 32'd0, stage_1 = 32'd0;
  reg [33:0] got;
  reg shown;  // which part of the word is asked for
  wire [33:0] given =
    araddr == 12'h000 ? {2'b00, 28'd0, hard, 1'b0, only, enabled} :
    araddr == 12'h004 ? {2'b00, 19'd0, error, 6'd0, halted, busy} :
    araddr == 12'h008 ? {2'b00, cycles} : araddr == 12'h00c ? {2'b00, count} :
    araddr == 12'h010 ? {2'b00, SHAPE} : araddr == 12'h014 ? {2'b00, VERSION} :
    araddr == 12'h018 ? {2'b00, first[12], 19'd0, first[11:0]} :
    araddr == 12'h01c ? {2'b00, 16'd0, size} :
    araddr == 12'h020 ? {2'b00, select} : araddr == 12'h024 ? {2'b00, address} :
    araddr == 12'h030 ? {2'b00, 30'd0, lines} : araddr == 12'h034 ? {2'b00, 30'd0, pending} :
    araddr == 12'h038 ? {2'b00, 32'd3} : araddr == 12'h040 ? {2'b00, 29'd0, mode} :
    araddr == 12'h044 ? {2'b00, 14'd0, test_passes_less_1, 13'd0, test_steps_less_1} :
    araddr == 12'h048 ? {2'b00, 31'd0, test_base} :
    araddr == 12'h04c ? {2'b00, 16'd3, 16'd6} : araddr == 12'h050 ? {2'b00, 32'd2} : at_value ? 34'd0 :
    araddr == 12'h400 ? {2'b00, stage_0} : araddr == 12'h404 ? {2'b00, stage_1} : {2'b10, 32'd0};
  always @(posedge clk) begin
    if (image_done) cycles <= image_cycles;
    if (stage_done && !stage) stage_0 <= stage_cycles;
    if (stage_done && stage) stage_1 <= stage_cycles;
    if (read) got <= {given[33] && hard ? 2'b10 : 2'b00, given[31:0]};
    else if (delivering == 2'd1) got[31:0] <= memory_read;
    if (read) shown <= araddr[2];
  end
  always @* if (past) begin
`ifndef OUTSIDE_ALONE
    assert (peek_cycles == cycles && peek_stage_0 == stage_0 && peek_stage_1 == stage_1);
`endif
    if (rvalid) read_data: assert ({rresp, rdata} == got);
`ifndef OUTSIDE_ALONE
    if (delivering != 2'd0) assert ({rresp, rdata} == got);
    if (fetching != 2'd0) assert (bresp == answer);
`endif
    if (delivering != 2'd0) read_place: assert (place == shown && got[33:32] == 2'b00);
  end

  // ---------------------------------------------------------------- all this can come about
  always @(posedge clk) if (past && !past_rst && !rst) begin
    address_first: cover (addresses == 2'd1 && datas == 2'd0 && wvalid && wready);
    data_first: cover (datas == 2'd1 && addresses == 2'd0 && awvalid && awready);
    late_answer: cover (bvalid && bready && $past(bvalid, 2) && addresses == 2'd2 && datas == 2'd2);
    committed: cover (memory_write == 5'b00100);
    refused: cover (bvalid && bready && bresp == 2'b10 && rvalid && rready && rresp == 2'b10);
    both: cover ($past(bad_write && bad_read && !kept[4]) && first[12]);
    fetched: cover (rvalid && rready && rdata == 32'h5eed && $past(delivering == 2'd1) && named);
    goes_on: cover (test && test_base && $past(image_done && !test_base));
    told: cover (interrupt && $past(packet_left, 2) && pending == 2'b01);
    restarted: cover (restart);
  end

endmodule

`default_nettype wire
