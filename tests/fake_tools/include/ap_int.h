// Stands in for the vendor's ap_int.h: words of an exact width that wrap, sums and products that
// grow, as UG1399 has them. A word that was given no value holds noise, as it may there.
#ifndef AP_INT_H
#define AP_INT_H

#include <stdint.h>

#include <type_traits>

// The vendor's ap_common.h defines this macro, too: a pragma that names it comes out as another.
#define INLINE inline __attribute__((always_inline))

#ifndef AP_INT_MAX_W
#define AP_INT_MAX_W 1024
#endif

template <int W, bool Signed>
struct ap_word {
  static_assert(W > 0 && W <= AP_INT_MAX_W && AP_INT_MAX_W <= 4096, "a word of 1 to 4096 bits");
  static const int chunks = (W + 63) / 64;
  uint64_t chunk[chunks];  // lowest first; the bits beyond W are 0

  ap_word() {
    for (uint64_t &one : chunk) one = 0xa5a5a5a5a5a5a5a5u;
    trim();
  }

  template <typename T, typename = typename std::enable_if<std::is_integral<T>::value>::type>
  ap_word(T value) {
    for (int i = 0; i < chunks; i++) chunk[i] = i == 0 ? uint64_t(value) : value < T(0) ? ~uint64_t(0) : 0;
    trim();
  }

  template <int W2, bool S2>
  ap_word(const ap_word<W2, S2> &other) {
    for (int i = 0; i < chunks; i++) chunk[i] = other.extended(i);
    trim();
  }

  uint64_t extended(int i) const {  // chunk i of a word without end
    const uint64_t above = Signed && (chunk[chunks - 1] >> ((W - 1) % 64) & 1) ? ~uint64_t(0) : 0;
    if (i >= chunks) return above;
    return i == chunks - 1 && W % 64 ? chunk[i] | above << (W % 64) : chunk[i];
  }

  typedef typename std::conditional<Signed, int64_t, uint64_t>::type number;
  operator number() const { return number(extended(0)); }
  uint64_t to_uint64() const { return extended(0); }

  struct field {
    ap_word *word;
    int high, low;

    template <int W2, bool S2>
    operator ap_word<W2, S2>() const {
      ap_word<W2, S2> found = 0;
      for (int i = low; i <= high && i - low < W2; i++) {
        found.chunk[(i - low) / 64] |= (word->chunk[i / 64] >> (i % 64) & 1) << ((i - low) % 64);
      }
      return found;
    }

    template <int W2, bool S2>
    void operator=(const ap_word<W2, S2> &value) {
      for (int i = low; i <= high; i++) {
        const uint64_t bit = uint64_t(1) << (i % 64);
        const bool set = value.extended((i - low) / 64) >> ((i - low) % 64) & 1;
        word->chunk[i / 64] = set ? word->chunk[i / 64] | bit : word->chunk[i / 64] & ~bit;
      }
    }
  };

  field range(int high, int low) const {
    return field{const_cast<ap_word *>(this), high, low};
  }

 private:
  void trim() {
    if (W % 64) chunk[chunks - 1] &= (uint64_t(1) << (W % 64)) - 1;
  }
};

template <int W, bool S, int W2, bool S2>
ap_word<W + W2, S || S2> operator*(const ap_word<W, S> &a, const ap_word<W2, S2> &b) {
  static_assert(W + W2 <= 64, "products of the array alone");
  return ap_word<W + W2, S || S2>(a.extended(0) * b.extended(0));
}

template <int W, bool S>
ap_word<W + 1, S> operator+(const ap_word<W, S> &a, const ap_word<W, S> &b) {
  static_assert(W < 64, "sums of the array alone");
  return ap_word<W + 1, S>(a.extended(0) + b.extended(0));
}

template <int W>
using ap_int = ap_word<W, true>;
template <int W>
using ap_uint = ap_word<W, false>;

#endif  // AP_INT_H
