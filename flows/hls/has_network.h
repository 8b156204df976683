// The whole network on the PE array: images in, logits out.
#ifndef HAS_NETWORK_H
#define HAS_NETWORK_H

#include "has_stages.h"
#include "has_streams.h"

typedef has_axis<HAS_IMAGE_BITS> has_images_t;
typedef has_axis<HAS_STREAM_BITS> has_weights_in_t;
typedef has_axis<HAS_ANSWER_BITS> has_answers_t;

// 1: tell has_seen() of every sum and result. For the test bench alone.
#ifndef HAS_PROBE
#define HAS_PROBE 0
#endif

#if HAS_PROBE
void has_seen(uint32_t layer, uint32_t image, uint32_t column, uint32_t row, int64_t acc,
              int64_t result);
#define HAS_SEEN(layer, image, column, row, acc, result) \
  has_seen(layer, image, column, row, acc, result)
#else
#define HAS_SEEN(layer, image, column, row, acc, result)
#endif

// Classifies images one after the other.
//
// images       HAS_IMAGE_BEATS beats for each: HAS_SIMD codes of HAS_ACT_BITS, element 0 lowest,
//              in the order (y, x, channel), narrower codes extended; its TLAST is not looked at
// weights      only where a layer is not on chip: for every image, layer by layer, pass by pass,
//              step by step, HAS_PE * HAS_SIMD weights of HAS_WEIGHT_BITS, PE 0 lowest
// answers      HAS_CLASSES beats for each image, accumulator + bias, sign-extended; TLAST with the
//              last of the call
// count        images
// first_image  image counter of the first; only transient faults depend on it
void has_network(has_images_t::stream &images,
#if HAS_STREAMED_STEPS
                 has_weights_in_t::stream &weights,
#endif
                 has_answers_t::stream &answers, uint32_t count, uint32_t first_image);

#endif  // HAS_NETWORK_H
