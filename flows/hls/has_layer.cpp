#include "has_layer.h"

#include "has_array.h"

int has_layer(uint32_t layer, uint32_t columns, uint32_t first_column, uint32_t source,
              uint32_t passes, const uint8_t *activations, const uint64_t *weights,
              const int32_t *map, int32_t *acc, has_result_t *results) {
  HAS_HLS(INTERFACE s_axilite port=layer)
  HAS_HLS(INTERFACE s_axilite port=columns)
  HAS_HLS(INTERFACE s_axilite port=first_column)
  HAS_HLS(INTERFACE s_axilite port=source)
  HAS_HLS(INTERFACE s_axilite port=passes)
  HAS_HLS(INTERFACE s_axilite port=return)
  HAS_HLS(INTERFACE m_axi port=activations offset=slave bundle=activations depth=HAS_PORT_DEPTH)
  HAS_HLS(INTERFACE m_axi port=weights offset=slave bundle=weights depth=HAS_PORT_DEPTH)
  HAS_HLS(INTERFACE m_axi port=map offset=slave bundle=map depth=HAS_PORT_DEPTH)
  HAS_HLS(INTERFACE m_axi port=acc offset=slave bundle=acc depth=HAS_PORT_DEPTH)
  HAS_HLS(INTERFACE m_axi port=results offset=slave bundle=results depth=HAS_PORT_DEPTH)

  if (layer >= HAS_LAYER_COUNT) return HAS_NO_SUCH_LAYER;
  const has_layer_t here = HAS_LAYERS[layer];
  if (!here.on_chip && source == HAS_FROM_MEMORIES) return HAS_NOT_ON_CHIP;
  if (source != HAS_BOTH_PORTS) passes = here.passes;

  // The weights of one pass, so that a column does not fetch them again from the port.
  static has_weights_t fetched[HAS_MAX_STEPS][HAS_PE];
  HAS_HLS(ARRAY_PARTITION variable=fetched dim=2 complete)
  uint32_t slots[HAS_PE];
  acc_t starts[HAS_PE], sums[HAS_PE];
  HAS_HLS(ARRAY_PARTITION variable=starts complete)
  HAS_HLS(ARRAY_PARTITION variable=sums complete)
  int status = HAS_DONE;

  for (uint32_t pass = 0; pass < passes; pass++) {
    HAS_HLS(LOOP_TRIPCOUNT min=1 max=HAS_MAX_PASSES)
    for (uint32_t pe = 0; pe < HAS_PE; pe++) {
      HAS_HLS(PIPELINE)
      const uint32_t at = pass * HAS_PE + pe;
      if (source == HAS_BOTH_PORTS) {  // a row and, where preloads are built, its preload
        slots[pe] = uint32_t(map[at * (1 + HAS_PRELOAD)]);
        starts[pe] = HAS_PRELOAD ? acc_t(map[at * (1 + HAS_PRELOAD) + HAS_PRELOAD]) : acc_t(0);
      } else {
        slots[pe] = mapped(here.map_base + at);
        starts[pe] = acc_t(has_preload(pe, here.map_base / HAS_PE + pass));
      }
      if (slots[pe] >= here.rows && slots[pe] != idle) status = HAS_BAD_MAP;
    }
    if (source != HAS_FROM_MEMORIES) {
      for (uint32_t t = 0; t < here.steps; t++) {
        HAS_HLS(LOOP_TRIPCOUNT min=1 max=HAS_MAX_STEPS)
        for (uint32_t pe = 0; pe < HAS_PE; pe++) {
          for (uint32_t i = 0; i < HAS_CHUNKS; i++) {
            HAS_HLS(PIPELINE)
            fetched[t][pe].chunk[i] =
                weights[((pass * here.steps + t) * HAS_PE + pe) * HAS_CHUNKS + i];
          }
        }
      }
    }
    for (uint32_t n = 0; n < columns; n++) {
      HAS_HLS(LOOP_TRIPCOUNT min=1 max=1024)
      for (int pe = 0; pe < HAS_PE; pe++) {
        HAS_HLS(UNROLL)
        sums[pe] = starts[pe];
      }
      for (uint32_t t = 0; t < here.steps; t++) {
        HAS_HLS(LOOP_TRIPCOUNT min=1 max=HAS_MAX_STEPS)
        HAS_HLS(PIPELINE II=1)
        const uint32_t at = pass * here.steps + t;
        const has_use_t use = {layer, pass, first_column + n, t, here.bank_base + at};
        has_weights_t words[HAS_PE];
        HAS_HLS(ARRAY_PARTITION variable=words complete)
        uint8_t beat[HAS_SIMD];
        HAS_HLS(ARRAY_PARTITION variable=beat complete)
        for (int pe = 0; pe < HAS_PE; pe++) {
          HAS_HLS(UNROLL)
          words[pe] = source == HAS_FROM_MEMORIES ? has_stored(pe, here.weights_base + at)
                                                  : fetched[t][pe];
        }
        for (int s = 0; s < HAS_SIMD; s++) {
          HAS_HLS(UNROLL)
          beat[s] = activations[(n * here.steps + t) * HAS_SIMD + s];
        }
        step(words, beat, here.act_signed != 0, use, sums);
      }
      for (uint32_t pe = 0; pe < HAS_PE; pe++) {
        HAS_HLS(PIPELINE)
        const uint32_t row = slots[pe];
        if (row < here.rows) {
          const value_t v = value_t(sums[pe]) + value_t(bias[here.row_base + row]);
          acc[n * here.rows + row] = int32_t(sums[pe]);
          results[n * here.rows + row] = finish(here, row, int64_t(v));
        }
      }
    }
  }
  return status;
}
