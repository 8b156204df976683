// Test bench: runs the layers of the vector files named on the command line.
//
// A file is text, numbers apart by white space:
//   has_vectors 1 LAYER SOURCE PASSES COLUMNS
//   counters COLUMNS numbers          column counter of each column
//   activations COUNT numbers         [columns][steps][SIMD]
//   weights COUNT numbers             hex, [passes][steps][PE][chunks]; none: 0
//   row_map COUNT numbers             [passes][PE], as has_layer.h has map; none: 0
//   acc COUNT numbers                 expected, [columns][rows]
//   results COUNT numbers             expected, [columns][rows]
//
// Exit: 0 every number as expected, 1 any other, or a file that cannot be read.
#include <cstdio>
#include <fstream>
#include <ios>
#include <string>
#include <vector>

#include "has_layer.h"

namespace {

struct Vectors {
  uint32_t layer, source, passes, columns;
  std::vector<uint32_t> counters, activations;
  std::vector<int32_t> slots;
  std::vector<uint64_t> weights;
  std::vector<int64_t> acc, results;
};

template <typename T>
bool read_block(std::ifstream &in, const char *name, std::vector<T> &numbers, bool hex = false) {
  std::string word;
  size_t count = 0;
  if (!(in >> word >> count) || word != name) return false;
  numbers.resize(count);
  if (hex) in >> std::hex;
  for (T &number : numbers) in >> number;
  in >> std::dec;
  return bool(in);
}

bool read_vectors(const char *path, Vectors &v) {
  std::ifstream in(path);
  std::string magic;
  int version = 0;
  if (!(in >> magic >> version >> v.layer >> v.source >> v.passes >> v.columns)) return false;
  if (magic != "has_vectors" || version != 1 || v.layer >= HAS_LAYER_COUNT) return false;
  if (!read_block(in, "counters", v.counters) || !read_block(in, "activations", v.activations) ||
      !read_block(in, "weights", v.weights, true) || !read_block(in, "row_map", v.slots) ||
      !read_block(in, "acc", v.acc) || !read_block(in, "results", v.results)) {
    return false;
  }
  const has_layer_t &layer = HAS_LAYERS[v.layer];
  const size_t outputs = size_t(v.columns) * layer.rows;
  const size_t passes = v.source == HAS_BOTH_PORTS ? v.passes : layer.passes;
  const size_t words = passes * layer.steps * HAS_PE * HAS_CHUNKS;
  return v.columns > 0 && v.counters.size() == v.columns && v.acc.size() == outputs &&
         v.results.size() == outputs &&
         v.activations.size() == size_t(v.columns) * layer.steps * HAS_SIMD &&
         v.weights.size() == (v.source == HAS_FROM_MEMORIES ? 0 : words) &&
         v.slots.size() ==
             (v.source == HAS_BOTH_PORTS ? passes * HAS_PE * (1 + HAS_PRELOAD) : 0);
}

size_t mismatches = 0;

void compare(const char *path, const char *what, uint32_t row, uint32_t column, int64_t expected,
             int64_t got) {
  if (expected == got) return;
  if (++mismatches <= 5) {
    std::printf("%s: row %u column %u %s expected %lld got %lld\n", path, row, column, what,
                static_cast<long long>(expected), static_cast<long long>(got));
  }
}

// Elements of a port from any place on: a co-simulation takes HAS_PORT_DEPTH of them, used or not.
template <typename T>
void lengthen(std::vector<T> &port) {
  port.resize(port.size() + HAS_PORT_DEPTH);
}

// Columns of one call that no port is too short for.
uint32_t columns_of_call(const has_layer_t &layer) {
  const uint32_t beats = layer.steps * HAS_SIMD;
  return HAS_PORT_DEPTH / (beats > layer.rows ? beats : layer.rows);
}

// Runs the columns in stretches of consecutive counters, as the function counts by itself.
bool run(const char *path, Vectors &v) {
  const has_layer_t &layer = HAS_LAYERS[v.layer];
  const size_t beats = size_t(layer.steps) * HAS_SIMD;
  std::vector<uint8_t> codes(v.activations.begin(), v.activations.end());
  std::vector<int32_t> acc(v.acc.size());
  std::vector<has_result_t> results(v.results.size());
  lengthen(codes);
  lengthen(v.weights);
  lengthen(v.slots);
  lengthen(acc);
  lengthen(results);
  const uint32_t most = columns_of_call(layer);
  for (uint32_t first = 0, last = 1; first < v.columns; first = last++) {
    while (last < v.columns && last - first < most &&
           v.counters[last] == v.counters[last - 1] + 1) {
      last++;
    }
    const int status =
        has_layer(v.layer, last - first, v.counters[first], v.source, v.passes,
                  codes.data() + first * beats, v.weights.data(), v.slots.data(),
                  acc.data() + size_t(first) * layer.rows,
                  results.data() + size_t(first) * layer.rows);
    if (status != HAS_DONE) {
      std::printf("%s: has_layer returned %d\n", path, status);
      return false;
    }
  }
  for (uint32_t n = 0; n < v.columns; n++) {
    for (uint32_t row = 0; row < layer.rows; row++) {
      const size_t at = size_t(n) * layer.rows + row;
      compare(path, "acc", row, n, v.acc[at], acc[at]);
      compare(path, "result", row, n, v.results[at], results[at]);
    }
  }
  return true;
}

}  // namespace

int main(int argc, char **argv) {
  bool ran = argc > 1;
  if (!ran) std::printf("usage: %s VECTORS...\n", argv[0]);
  for (int i = 1; i < argc; i++) {
    Vectors vectors;
    if (!read_vectors(argv[i], vectors)) {
      std::printf("%s: not a vector file of this build\n", argv[i]);
      ran = false;
    } else {
      ran = run(argv[i], vectors) && ran;
    }
  }
  std::printf("%zu mismatches\n", mismatches);
  return ran && mismatches == 0 ? 0 : 1;
}
