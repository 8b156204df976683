#include "has_network.h"

#include "has_array.h"

// Two feature maps: a stage reads one and writes the other. Element e lies in bank e mod SIMD,
// word e / SIMD; each bank has an address of its own, so any SIMD neighbours are read at once.
typedef has_code<HAS_ACT_BITS>::type code_t;
static code_t map_0[HAS_SIMD][HAS_MAP_0_WORDS];
static code_t map_1[HAS_SIMD][HAS_MAP_1_WORDS];

// Where the neighbours from one element on lie: lane 0 in bank `first` at `word`.
struct place_t {
  int32_t first, word;
};

static inline place_t place_of(int32_t element) {
  HAS_HLS(inline)
  const int32_t rest = element % HAS_SIMD;
  place_t place;
  place.first = rest < 0 ? rest + HAS_SIMD : rest;  // padding lies before element 0
  place.word = (element - place.first) / HAS_SIMD;
  return place;
}

static inline int32_t within(int32_t word, int32_t words) {
  HAS_HLS(inline)
  return word < 0 || word >= words ? 0 : word;
}

// The SIMD codes from one element on; what lies outside the map is some code or other.
static inline void neighbours(bool second, int32_t element, code_t lanes[HAS_SIMD]) {
  HAS_HLS(inline)
  const place_t at = place_of(element);
  code_t bank[HAS_SIMD];
  HAS_HLS(ARRAY_PARTITION variable=bank complete)
  for (int b = 0; b < HAS_SIMD; b++) {
    HAS_HLS(UNROLL)
    const int32_t word = at.word + (b < at.first ? 1 : 0);
    const code_t in_0 = map_0[b][within(word, HAS_MAP_0_WORDS)];
    const code_t in_1 = map_1[b][within(word, HAS_MAP_1_WORDS)];
    bank[b] = second ? in_1 : in_0;
  }
  for (int s = 0; s < HAS_SIMD; s++) {
    HAS_HLS(UNROLL)
    lanes[s] = bank[at.first + s < HAS_SIMD ? at.first + s : at.first + s - HAS_SIMD];
  }
}

// Writes `count` codes from one element on.
static inline void keep(bool second, int32_t element, int32_t count,
                        const code_t lanes[HAS_SIMD]) {
  HAS_HLS(inline)
  const place_t at = place_of(element);
  for (int b = 0; b < HAS_SIMD; b++) {
    HAS_HLS(UNROLL)
    const int32_t lane = b < at.first ? b - at.first + HAS_SIMD : b - at.first;
    const int32_t word = at.word + (b < at.first ? 1 : 0);
    if (lane < count) {
      if (second) {
        map_1[b][word] = lanes[lane];
      } else {
        map_0[b][word] = lanes[lane];
      }
    }
  }
}

// The column that is fed to the array, or whose sums leave it.
struct column_t {
  int32_t window_y, window_x, y, x;  // the window, and the column in it
};

// The next column: window by window, so that a window's maxima stay in registers.
static inline void advance(column_t &at, const has_stage_t &stage) {
  HAS_HLS(inline)
  if (at.x++ < stage.window_width_less_1) return;
  at.x = 0;
  if (at.y++ < stage.window_height_less_1) return;
  at.y = 0;
  if (++at.window_x < stage.windows_wide) return;
  at.window_x = 0;
  at.window_y++;
}

// A multiply layer: all its passes and columns; of a pooling behind it only the maxima are kept.
// Each turn of the loop reads a run of codes, ends a step where its SIMD codes are whole, and lets
// one result of the column before leave.
static void multiply(const has_stage_t &stage, uint32_t image,
#if HAS_STREAMED_STEPS
                     has_weights_in_t::stream &weights,
#endif
                     has_result_t logits[HAS_CLASSES]) {
  const has_layer_t here = HAS_LAYERS[stage.layer];
  const int32_t turns = stage.reads > HAS_PE ? stage.reads : HAS_PE;  // of a column
  const uint32_t columns = uint32_t(stage.windows_high * stage.windows_wide) *
                           uint32_t(stage.window_height_less_1 + 1) *
                           uint32_t(stage.window_width_less_1 + 1);
  const int32_t out_width = stage.out_width_less_1 + 1;
#if HAS_STREAMED_STEPS
  static has_weights_t fetched[HAS_STREAMED_STEPS][HAS_PE];
  HAS_HLS(ARRAY_PARTITION variable=fetched dim=2 complete)
#endif
  acc_t starts[HAS_PE], sums[HAS_PE], held[HAS_PE];
  HAS_HLS(ARRAY_PARTITION variable=starts complete)
  HAS_HLS(ARRAY_PARTITION variable=sums complete)
  HAS_HLS(ARRAY_PARTITION variable=held complete)
  has_result_t best[HAS_PE];
  HAS_HLS(ARRAY_PARTITION variable=best complete)
  uint8_t beat[HAS_SIMD];
  HAS_HLS(ARRAY_PARTITION variable=beat complete)

  for (uint32_t pass = 0; pass < here.passes; pass++) {
    HAS_HLS(LOOP_TRIPCOUNT min=1 max=HAS_MAX_PASSES)
#if HAS_STREAMED_STEPS
    for (uint32_t t = 0; t < (here.on_chip ? 0 : here.steps); t++) {
      HAS_HLS(LOOP_TRIPCOUNT min=0 max=HAS_STREAMED_STEPS)
      HAS_HLS(PIPELINE II=1)
      const has_weights_in_t::beat in = weights.read();
      for (int pe = 0; pe < HAS_PE; pe++) {
        HAS_HLS(UNROLL)
        for (int i = 0; i < HAS_CHUNKS; i++) {
          HAS_HLS(UNROLL)
          const int left = HAS_SIMD * HAS_WEIGHT_BITS - 64 * i;
          fetched[t][pe].chunk[i] = has_field(
              in.data, pe * HAS_SIMD * HAS_WEIGHT_BITS + 64 * i, left < 64 ? left : 64);
        }
      }
    }
#endif
    for (int pe = 0; pe < HAS_PE; pe++) {
      HAS_HLS(UNROLL)
      starts[pe] = acc_t(has_preload(pe, here.map_base / HAS_PE + pass));
      sums[pe] = starts[pe];
    }
    for (int s = 0; s < HAS_SIMD; s++) {
      HAS_HLS(UNROLL)
      beat[s] = 0;
    }
    column_t fed = {0, 0, 0, 0}, leaving = {0, 0, 0, 0};
    uint32_t step_of = 0;                         // of the column that is fed
    int32_t turn = 0, lane = 0, ky = 0, inside = 0;  // inside: place in the kernel's row
    for (uint32_t i = 0; i < columns * turns + HAS_PE; i++) {
      HAS_HLS(LOOP_TRIPCOUNT min=HAS_PE max=HAS_MAX_COUNT)
      HAS_HLS(PIPELINE II=1)
      HAS_HLS(DEPENDENCE variable=map_0 inter false)  // the one that is read is not written
      HAS_HLS(DEPENDENCE variable=map_1 inter false)
      if (i >= uint32_t(turns) && turn < HAS_PE) {  // a result of the column before leaves
        const uint32_t row = mapped(here.map_base + pass * HAS_PE + turn);
        if (row < here.rows) {
          const value_t v = value_t(held[turn]) + value_t(bias[here.row_base + row]);
          const has_result_t result = finish(here, row, int64_t(v));
          HAS_SEEN(stage.layer, image,
                   (leaving.window_y * (stage.window_height_less_1 + 1) + leaving.y) * out_width +
                       leaving.window_x * (stage.window_width_less_1 + 1) + leaving.x,
                   row, int64_t(held[turn]), int64_t(result));
          const bool first = leaving.y == 0 && leaving.x == 0;
          if (first || result > best[turn]) best[turn] = result;
          if (stage.final_layer) {
            logits[row] = result;
          } else if (leaving.y == stage.window_height_less_1 &&
                     leaving.x == stage.window_width_less_1) {
            code_t codes[HAS_SIMD] = {};
            HAS_HLS(ARRAY_PARTITION variable=codes complete)
            codes[0] = code_t(best[turn] & ((1 << HAS_ACT_BITS) - 1));
            keep(!stage.read_map,
                 leaving.window_y * stage.window_row + leaving.window_x * int32_t(here.rows) +
                     int32_t(row),
                 1, codes);
          }
        }
      }
      if (i < columns * turns && turn < stage.reads) {  // a run of codes comes
        const int32_t y = fed.window_y * (stage.window_height_less_1 + 1) + fed.y;
        const int32_t x = fed.window_x * (stage.window_width_less_1 + 1) + fed.x;
        const int32_t map_y = stage.y_first + y * stage.y_step + ky;
        const int32_t map_x = stage.x_first + x * stage.x_step + inside - lane;  // of lane 0
        const int32_t room = HAS_SIMD - lane, rest = stage.kernel_row - inside;
        const int32_t run = rest < room ? rest : room;
        code_t lanes[HAS_SIMD];
        HAS_HLS(ARRAY_PARTITION variable=lanes complete)
        neighbours(stage.read_map,
                   stage.base_first + y * stage.base_step + ky * stage.map_row + map_x, lanes);
        for (int s = 0; s < HAS_SIMD; s++) {
          HAS_HLS(UNROLL)
          const bool in_map = map_y >= 0 && map_y < stage.map_height && map_x + s >= 0 &&
                              map_x + s < stage.map_row;
          if (s >= lane && s < lane + run) beat[s] = in_map ? uint8_t(lanes[s]) : uint8_t(0);
        }
        const bool row_ends = inside + run == stage.kernel_row;
        const bool ends = row_ends && ky == stage.kernel_height_less_1;
        if (lane + run == HAS_SIMD || ends) {
          const uint32_t at = pass * here.steps + step_of;
          const uint32_t column = image * uint32_t(stage.columns) + uint32_t(y * out_width + x);
          const has_use_t use = {uint32_t(stage.layer), pass, column, step_of,
                                 here.bank_base + at};
          has_weights_t words[HAS_PE];
          HAS_HLS(ARRAY_PARTITION variable=words complete)
          for (int pe = 0; pe < HAS_PE; pe++) {
            HAS_HLS(UNROLL)
#if HAS_STREAMED_STEPS
            words[pe] = here.on_chip ? has_stored(pe, here.weights_base + at)
                                     : fetched[step_of][pe];
#else
            words[pe] = has_stored(pe, here.weights_base + at);
#endif
          }
          step(words, beat, here.act_signed != 0, use, sums);
          for (int s = 0; s < HAS_SIMD; s++) {
            HAS_HLS(UNROLL)
            beat[s] = 0;
          }
          lane = 0;
          step_of++;
        } else {
          lane += run;
        }
        inside = row_ends ? 0 : inside + run;
        ky += row_ends ? 1 : 0;
      }
      if (++turn == turns) {  // the column's sums are whole, and those before have left
        for (int pe = 0; pe < HAS_PE; pe++) {
          HAS_HLS(UNROLL)
          held[pe] = sums[pe];
          sums[pe] = starts[pe];
        }
        leaving = fed;
        advance(fed, stage);
        turn = lane = ky = inside = 0;
        step_of = 0;
      }
    }
  }
}

// A pooling of its own: SIMD channels of one code under the window in each turn.
static void pool(const has_stage_t &stage) {
  const int32_t channels = stage.out_channels;
  const int32_t width = stage.out_width_less_1 + 1, height = stage.out_height_less_1 + 1;
  const int32_t groups = (channels + HAS_SIMD - 1) / HAS_SIMD;
  const uint32_t count = uint32_t(width * height * groups) *
                         uint32_t(stage.kernel_height_less_1 + 1) *
                         uint32_t(stage.kernel_width_less_1 + 1);
  int32_t best[HAS_SIMD] = {};
  HAS_HLS(ARRAY_PARTITION variable=best complete)
  int32_t y = 0, x = 0, channel = 0, ky = 0, kx = 0;
  for (uint32_t i = 0; i < count; i++) {
    HAS_HLS(LOOP_TRIPCOUNT min=1 max=HAS_MAX_COUNT)
    HAS_HLS(PIPELINE II=1)
    HAS_HLS(DEPENDENCE variable=map_0 inter false)
    HAS_HLS(DEPENDENCE variable=map_1 inter false)
    code_t lanes[HAS_SIMD];
    HAS_HLS(ARRAY_PARTITION variable=lanes complete)
    neighbours(stage.read_map,
               y * stage.base_step + ky * stage.map_row + x * stage.x_step + kx * channels +
                   channel,
               lanes);
    const bool first = ky == 0 && kx == 0;
    for (int s = 0; s < HAS_SIMD; s++) {
      HAS_HLS(UNROLL)
      const int32_t code = stage.code_signed ? int32_t(has_signed<HAS_ACT_BITS>(lanes[s]))
                                             : int32_t(lanes[s]);
      best[s] = first || code > best[s] ? code : best[s];
      lanes[s] = code_t(best[s] & ((1 << HAS_ACT_BITS) - 1));
    }
    if (kx++ < stage.kernel_width_less_1) continue;
    kx = 0;
    if (ky++ < stage.kernel_height_less_1) continue;
    ky = 0;
    const int32_t rest = channels - channel;
    keep(!stage.read_map, (y * width + x) * channels + channel, rest < HAS_SIMD ? rest : HAS_SIMD,
         lanes);
    channel += HAS_SIMD;
    if (channel < channels) continue;
    channel = 0;
    if (++x < width) continue;
    x = 0;
    y++;
  }
}

void has_network(has_images_t::stream &images,
#if HAS_STREAMED_STEPS
                 has_weights_in_t::stream &weights,
#endif
                 has_answers_t::stream &answers, uint32_t count, uint32_t first_image) {
  HAS_HLS(INTERFACE axis port=images)
#if HAS_STREAMED_STEPS
  HAS_HLS(INTERFACE axis port=weights)
#endif
  HAS_HLS(INTERFACE axis port=answers)
  HAS_HLS(INTERFACE s_axilite port=count)
  HAS_HLS(INTERFACE s_axilite port=first_image)
  HAS_HLS(INTERFACE s_axilite port=return)
  HAS_HLS(ARRAY_PARTITION variable=map_0 dim=1 complete)
  HAS_HLS(ARRAY_PARTITION variable=map_1 dim=1 complete)
  has_result_t logits[HAS_CLASSES];

  for (uint32_t n = 0; n < count; n++) {
    HAS_HLS(LOOP_TRIPCOUNT min=1 max=1)
    for (uint32_t word = 0; word < HAS_IMAGE_BEATS; word++) {
      HAS_HLS(PIPELINE II=1)
      const has_images_t::beat in = images.read();
      for (int s = 0; s < HAS_SIMD; s++) {
        HAS_HLS(UNROLL)
        map_0[s][word] = code_t(has_field(in.data, s * HAS_ACT_BITS, HAS_ACT_BITS));
      }
    }
    for (uint32_t place = 0; place < HAS_STAGE_COUNT; place++) {
      const has_stage_t stage = HAS_NETWORK[place];
      if (stage.skipped) continue;  // the layer before has kept its maxima
      if (stage.pooling) {
        pool(stage);
      } else {
#if HAS_STREAMED_STEPS
        multiply(stage, first_image + n, weights, logits);
#else
        multiply(stage, first_image + n, logits);
#endif
      }
    }
    for (uint32_t row = 0; row < HAS_CLASSES; row++) {
      HAS_HLS(PIPELINE II=1)
      has_answers_t::beat out = {};
      has_put(out.data, 0, HAS_ANSWER_BITS, uint64_t(int64_t(logits[row])));
      out.keep = out.strb = (1 << (HAS_ANSWER_BITS / 8)) - 1;
      out.last = n + 1 == count && row + 1 == HAS_CLASSES;
      answers.write(out);
    }
  }
}
