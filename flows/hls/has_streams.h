// AXI-Streams and words wider than an integer: the vendor's types under synthesis, plain C++
// that behaves alike everywhere else.
#ifndef HAS_STREAMS_H
#define HAS_STREAMS_H

#include "has_types.h"

#if HAS_AP_INT

#include <ap_axi_sdata.h>
#include <hls_stream.h>

// A beat of W bits with TKEEP, TSTRB and TLAST, and a stream of them.
template <int W>
struct has_axis {
  typedef ap_axiu<W, 0, 0, 0> beat;
  typedef hls::stream<beat> stream;
};

// `width` bits of a word from bit `low` on, at most 64.
template <typename Word>
static inline uint64_t has_field(const Word &word, int low, int width) {
  HAS_HLS(inline)
  const ap_uint<64> field = word.range(low + width - 1, low);
  return field.to_uint64();
}

template <typename Word>
static inline void has_put(Word &word, int low, int width, uint64_t value) {
  HAS_HLS(inline)
  word.range(low + width - 1, low) = ap_uint<64>(value);
}

#else

#include <deque>  // of the simulation alone; nothing that is synthesised allocates

template <int W>
struct has_wide {
  uint64_t chunk[(W + 63) / 64];  // lowest first
};

template <int W>
struct has_axis {
  struct beat {
    has_wide<W> data;
    uint64_t keep, strb;
    bool last;
  };
  class stream {
   public:
    bool empty() const { return beats.empty(); }
    void write(const beat &one) { beats.push_back(one); }
    beat read() {  // of an empty stream: a beat of zeros, as a stalled port has none
      if (beats.empty()) return beat();
      const beat first = beats.front();
      beats.pop_front();
      return first;
    }

   private:
    std::deque<beat> beats;
  };
};

template <typename Word>
static inline uint64_t has_field(const Word &word, int low, int width) {
  uint64_t field = word.chunk[low / 64] >> (low % 64);
  if (low % 64 + width > 64) field |= word.chunk[low / 64 + 1] << (64 - low % 64);
  return width < 64 ? field & ((uint64_t(1) << width) - 1) : field;
}

// Into a word whose bits there are 0.
template <typename Word>
static inline void has_put(Word &word, int low, int width, uint64_t value) {
  if (width < 64) value &= (uint64_t(1) << width) - 1;
  word.chunk[low / 64] |= value << (low % 64);
  if (low % 64 + width > 64) word.chunk[low / 64 + 1] |= value >> (64 - low % 64);
}

#endif

#endif  // HAS_STREAMS_H
