// Words of an exact width: ap_int under synthesis, 64-bit integers everywhere else.
#ifndef HAS_TYPES_H
#define HAS_TYPES_H

#include <stdint.h>

// 1: ap_int words. Set it for a C simulation with the very types of the synthesis.
#ifndef HAS_AP_INT
#ifdef __SYNTHESIS__
#define HAS_AP_INT 1
#else
#define HAS_AP_INT 0
#endif
#endif

#if HAS_AP_INT
#include <ap_int.h>
#endif

// A pragma of Vitis HLS; the indirection lets macros stand in it. Nothing for other compilers.
// `inline` is in small letters, for INLINE is a macro of the vendor's headers.
#ifdef __SYNTHESIS__
#define HAS_PRAGMA_TEXT(text) _Pragma(#text)
#define HAS_HLS(text) HAS_PRAGMA_TEXT(HLS text)
#else
#define HAS_HLS(text)
#endif

// A signed number of W bits, W at most 63.
template <int W>
struct has_word {
#if HAS_AP_INT
  typedef ap_int<W> type;
#else
  typedef int64_t type;
#endif
};

// A code of W bits without sign, W at most 8.
template <int W>
struct has_code {
#if HAS_AP_INT
  typedef ap_uint<W> type;
#else
  typedef uint8_t type;
#endif
};

// The low W bits of a word, read as two's complement.
template <int W>
static inline typename has_word<W>::type has_signed(uint64_t word) {
  HAS_HLS(inline)
#if HAS_AP_INT
  return typename has_word<W>::type(word);
#else
  const uint64_t sign = uint64_t(1) << (W - 1);
  return int64_t(((word & (2 * sign - 1)) ^ sign) - sign);
#endif
}

// How the sums of a layer become its results.
enum has_output_t { HAS_LOGITS, HAS_THRESHOLDS, HAS_SHIFT };

// One layer: its size on the array, where it starts in each memory, and its output.
struct has_layer_t {
  uint32_t rows;          // R
  uint32_t steps;         // T
  uint32_t passes;        // passes of the row map in the memories
  uint32_t act_signed;    // read the activations as two's complement
  uint32_t on_chip;       // the weights lie in the memories
  uint32_t weights_base;  // first word in the weight memories, where on chip
  uint32_t bank_base;     // first address in the weight banks of the array: counts every layer
  uint32_t map_base;      // first slot in the row map
  uint32_t row_base;      // first row in the biases and thresholds
  has_output_t output;
  int32_t lowest;  // thresholds: code where none is passed; shift: lowest code
  int32_t high;    // shift: highest code
  uint32_t shift;  // shift: bits
};

// When a value passes a site: what a transient fault depends on.
struct has_use_t {
  uint32_t layer;    // place of the layer, from 0
  uint32_t pass;     // from 0
  uint32_t column;   // the column counter
  uint32_t step;     // from 0
  uint32_t address;  // word of the weight banks
};

#endif  // HAS_TYPES_H
