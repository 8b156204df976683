// Test bench of the network: classifies the images of the files named on the command line.
//
// A file is text, numbers apart by white space:
//   has_images 1 COUNT FIRST BEATS EVERY
//   codes COUNT*codes numbers          of each image, in the order (y, x, channel)
//   weights BEATS*PE*chunks numbers    hex, of each image: what is not on chip; none: 0
//   logits COUNT*classes numbers       expected
//   acc_<i> and result_<i>             where EVERY is 1, of each layer, [images][columns][rows]
//
// EVERY needs a build with HAS_PROBE 1. Exit: 0 every number as expected, 1 any other, a number
// that never came, or a file that cannot be read.
#include <cstdio>
#include <fstream>
#include <ios>
#include <string>
#include <vector>

#include "has_network.h"

namespace {

struct Images {
  uint32_t count, first, beats, every;
  std::vector<uint32_t> codes;
  std::vector<uint64_t> weights;
  std::vector<int64_t> logits, acc[HAS_LAYER_COUNT], result[HAS_LAYER_COUNT];
};

template <typename T>
bool read_block(std::ifstream &in, const std::string &name, size_t size, std::vector<T> &numbers,
                bool hex = false) {
  std::string word;
  size_t count = 0;
  if (!(in >> word >> count) || word != name || (size && count != size)) return false;
  numbers.resize(count);
  if (hex) in >> std::hex;
  for (T &number : numbers) in >> number;
  in >> std::dec;
  return bool(in);
}

bool read_images(const char *path, Images &v) {
  std::ifstream in(path);
  std::string magic;
  int version = 0;
  if (!(in >> magic >> version >> v.count >> v.first >> v.beats >> v.every)) return false;
  if (magic != "has_images" || version != 1 || !v.count || (v.every && !HAS_PROBE)) return false;
  const size_t words = size_t(v.beats) * HAS_PE * HAS_CHUNKS;
  if (!read_block(in, "codes", size_t(v.count) * HAS_IMAGE_CODES, v.codes) ||
      !read_block(in, "weights", words, v.weights, true) || v.weights.size() != words ||
      !read_block(in, "logits", size_t(v.count) * HAS_CLASSES, v.logits)) {
    return false;
  }
  for (uint32_t i = 0; v.every && i < HAS_LAYER_COUNT; i++) {
    const std::string layer = std::to_string(i);
    if (!read_block(in, "acc_" + layer, 0, v.acc[i]) ||
        !read_block(in, "result_" + layer, v.acc[i].size(), v.result[i])) {
      return false;
    }
  }
  return true;
}

size_t compared = 0, mismatches = 0;

void compare(const char *what, uint32_t image, uint32_t column, uint32_t row, int64_t expected,
             int64_t got) {
  compared++;
  if (expected == got) return;
  if (++mismatches <= 5) {
    std::printf("%s: image %u column %u row %u expected %lld got %lld\n", what, image, column, row,
                static_cast<long long>(expected), static_cast<long long>(got));
  }
}

const Images *expected = nullptr;

}  // namespace

#if HAS_PROBE
void has_seen(uint32_t layer, uint32_t image, uint32_t column, uint32_t row, int64_t acc,
              int64_t result) {
  if (!expected->every) return;
  const uint32_t rows = HAS_LAYERS[layer].rows, n = image - expected->first;
  const size_t columns = expected->acc[layer].size() / expected->count / rows;
  const size_t at = (size_t(n) * columns + column) * rows + row;
  const std::string name = "layer " + std::to_string(layer);
  if (column >= columns || n >= expected->count) {
    mismatches++;
    std::printf("%s: no image %u column %u row %u\n", name.c_str(), n, column, row);
    return;
  }
  compare((name + " acc").c_str(), n, column, row, expected->acc[layer][at], acc);
  compare((name + " result").c_str(), n, column, row, expected->result[layer][at], result);
}
#endif

namespace {

has_images_t::beat image_beat(const Images &v, uint32_t image, uint32_t word) {
  has_images_t::beat beat = {};
  beat.last = word + 1 == HAS_IMAGE_BEATS;
  for (uint32_t s = 0; s < HAS_SIMD; s++) {
    const uint32_t element = word * HAS_SIMD + s;
    if (element >= HAS_IMAGE_CODES) break;
    has_put(beat.data, s * HAS_ACT_BITS, HAS_ACT_BITS,
            v.codes[size_t(image) * HAS_IMAGE_CODES + element]);
  }
  return beat;
}

#if HAS_STREAMED_STEPS
has_weights_in_t::beat weight_beat(const Images &v, uint32_t word) {
  has_weights_in_t::beat beat = {};
  for (int pe = 0; pe < HAS_PE; pe++) {
    for (int i = 0; i < HAS_CHUNKS; i++) {
      const int left = HAS_SIMD * HAS_WEIGHT_BITS - 64 * i;
      has_put(beat.data, pe * HAS_SIMD * HAS_WEIGHT_BITS + 64 * i, left < 64 ? left : 64,
              v.weights[(size_t(word) * HAS_PE + pe) * HAS_CHUNKS + i]);
    }
  }
  return beat;
}
#endif

bool run(const char *path, const Images &v) {
  static has_images_t::stream images;
  static has_answers_t::stream answers;
  expected = &v;
  for (uint32_t n = 0; n < v.count; n++) {
    for (uint32_t word = 0; word < HAS_IMAGE_BEATS; word++) images.write(image_beat(v, n, word));
  }
#if HAS_STREAMED_STEPS
  static has_weights_in_t::stream weights;
  for (uint32_t n = 0; n < v.count; n++) {
    for (uint32_t word = 0; word < v.beats; word++) weights.write(weight_beat(v, word));
  }
  has_network(images, weights, answers, v.count, v.first);
  const bool taken = images.empty() && weights.empty();
#else
  has_network(images, answers, v.count, v.first);
  const bool taken = images.empty();
#endif
  if (!taken) std::printf("%s: beats of its input are left over\n", path);
  bool whole = taken;
  for (uint32_t n = 0; n < v.count; n++) {
    for (uint32_t row = 0; row < HAS_CLASSES; row++) {
      if (answers.empty()) {
        std::printf("%s: image %u has no answer for class %u\n", path, n, row);
        return false;
      }
      const has_answers_t::beat beat = answers.read();
      const uint64_t word = has_field(beat.data, 0, HAS_ANSWER_BITS);
      const int64_t got = HAS_ANSWER_BITS == 32 ? int64_t(int32_t(word)) : int64_t(word);
      compare("logit", n, 0, row, v.logits[size_t(n) * HAS_CLASSES + row], got);
      const uint64_t bytes = (uint64_t(1) << (HAS_ANSWER_BITS / 8)) - 1;
      if (uint64_t(beat.keep) != bytes || uint64_t(beat.strb) != bytes) {
        std::printf("%s: TKEEP or TSTRB of image %u class %u lacks a byte\n", path, n, row);
        whole = false;
      }
      const bool last = n + 1 == v.count && row + 1 == HAS_CLASSES;
      if (bool(beat.last) != last) {
        std::printf("%s: TLAST of image %u class %u must be %d\n", path, n, row, int(last));
        whole = false;
      }
    }
  }
  if (!answers.empty()) std::printf("%s: more answers than images\n", path);
  return whole && answers.empty();
}

}  // namespace

int main(int argc, char **argv) {
  bool ran = argc > 1;
  if (!ran) std::printf("usage: %s IMAGES...\n", argv[0]);
  for (int i = 1; i < argc; i++) {
    Images images;
    if (!read_images(argv[i], images)) {
      std::printf("%s: not a file of images of this build\n", argv[i]);
      ran = false;
    } else {
      ran = run(argv[i], images) && ran;
    }
  }
  std::printf("%zu integers compared, %zu mismatches\n", compared, mismatches);
  return ran && mismatches == 0 ? 0 : 1;
}
