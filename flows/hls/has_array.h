// The arithmetic of the array and of what follows it, for every function at a top.
#ifndef HAS_ARRAY_H
#define HAS_ARRAY_H

#include "has_config.h"
#include "has_faults.h"

typedef has_word<HAS_WEIGHT_BITS>::type weight_t;
typedef has_word<HAS_ACT_BITS + 1>::type act_t;  // holds codes of either signedness
typedef has_word<HAS_PRODUCT_BITS>::type product_t;
typedef has_word<HAS_ACC_BITS>::type acc_t;
typedef has_word<HAS_VALUE_BITS>::type value_t;

static const uint32_t idle = 0xffffffffu;  // -1: a slot without a row

// Bits of multiplier s in a PE's weight word; they may straddle two chunks.
static inline uint64_t weight_field(const has_weights_t &word, int s) {
  HAS_HLS(inline)
  const int low = s * HAS_WEIGHT_BITS;
  uint64_t field = word.chunk[low / 64] >> (low % 64);
  if (low % 64 + HAS_WEIGHT_BITS > 64) field |= word.chunk[low / 64 + 1] << (64 - low % 64);
  return field & ((1u << HAS_WEIGHT_BITS) - 1);
}

// One product of one PE. `code` is the activation on the PE's wires, and leaves as the PE saw it.
static inline product_t multiply(uint32_t pe, int s, const has_weights_t &word, uint32_t &code,
                                 bool act_signed, const has_use_t &use) {
  HAS_HLS(inline)
  const uint32_t mask = (1u << HAS_ACT_BITS) - 1;
  code = uint32_t(has_site(HAS_SITE_ACT, pe, s, code, use)) & mask;
  const act_t a = act_signed ? act_t(has_signed<HAS_ACT_BITS>(code)) : act_t(code);
  const uint64_t stored = has_bank(pe, s, weight_field(word, s), use);
  const weight_t w = has_signed<HAS_WEIGHT_BITS>(has_site(HAS_SITE_WEIGHT, pe, s, stored, use));
  const product_t m = w * a;
  return has_signed<HAS_PRODUCT_BITS>(has_site(HAS_SITE_PRODUCT, pe, s, uint64_t(int64_t(m)), use));
}

static inline acc_t add(has_site_t site, uint32_t pe, int s, acc_t acc, int64_t term,
                        const has_use_t &use) {
  HAS_HLS(inline)
  const uint64_t sum = uint64_t(int64_t(acc) + term);
  return has_signed<HAS_ACC_BITS>(has_site(site, pe, s, sum, use));
}

// One step of every PE: SIMD products each, added to the PE's accumulator.
static void step(const has_weights_t words[HAS_PE], const uint8_t beat[HAS_SIMD], bool act_signed,
                 const has_use_t &use, acc_t acc[HAS_PE]) {
  HAS_HLS(inline)
  uint32_t carried[HAS_SIMD];
  HAS_HLS(ARRAY_PARTITION variable=carried complete)
  for (int s = 0; s < HAS_SIMD; s++) {
    HAS_HLS(UNROLL)
    carried[s] = beat[s];
  }
  for (int pe = 0; pe < HAS_PE; pe++) {
    HAS_HLS(UNROLL)
    int64_t sum = 0;
    acc_t q = 0;
    for (int s = 0; s < HAS_SIMD; s++) {
      HAS_HLS(UNROLL)
      uint32_t code = HAS_SYSTOLIC ? carried[s] : uint32_t(beat[s]);
      const product_t m = multiply(pe, s, words[pe], code, act_signed, use);
      carried[s] = code;
      if (HAS_SYSTOLIC) {
        q = add(HAS_SITE_PSUM, pe, s, q, m, use);
      } else {
        sum += int64_t(m);
      }
    }
    if (HAS_SYSTOLIC) {
      acc[pe] = add(HAS_SITE_ACC, pe, 0, acc[pe], q, use);
    } else {
      acc[pe] = add(HAS_SITE_PSUM, pe, 0, acc[pe], sum, use);
    }
  }
}

// v / 2^shift rounded half to even.
static inline int64_t shift_half_even(int64_t v, uint32_t shift) {
  HAS_HLS(inline)
  if (shift == 0) return v;
  const int64_t quotient = v >> shift;
  const int64_t rest = v & ((int64_t(1) << shift) - 1);
  const int64_t half = int64_t(1) << (shift - 1);
  return quotient + (rest > half || (rest == half && (quotient & 1)));
}

// Number of thresholds passed, by a binary search: each stage finds one bit of the code.
static inline int32_t thresholds_passed(uint32_t row, int64_t v) {
  HAS_HLS(inline)
  uint32_t node = 0;
  for (int stage = 0; stage < HAS_STAGES; stage++) {
    HAS_HLS(UNROLL)
    const int64_t t = has_threshold(stage, row, node);
    const bool passed = descending[row] ? v <= t : v >= t;
    node = 2 * node + (passed ? 1 : 0);
  }
  return int32_t(node);
}

// A slot of the row map in the memories.
static inline uint32_t mapped(uint32_t at) {
  HAS_HLS(inline)
  return row_map[at] == ROW_MAP_IDLE ? idle : uint32_t(row_map[at]);
}

// The result of one row of a layer.
static inline has_result_t finish(const has_layer_t &layer, uint32_t row, int64_t v) {
  HAS_HLS(inline)
  if (layer.output == HAS_THRESHOLDS) {
    return has_result_t(layer.lowest + thresholds_passed(layer.row_base + row, v));
  }
  if (layer.output == HAS_SHIFT) {
    const int64_t code = shift_half_even(v, layer.shift);
    if (code < layer.lowest) return layer.lowest;
    return has_result_t(code > layer.high ? layer.high : code);
  }
  return has_result_t(v);
}

#endif  // HAS_ARRAY_H
