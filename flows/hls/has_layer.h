// One layer of the network on the PE array.
#ifndef HAS_LAYER_H
#define HAS_LAYER_H

#include "has_config.h"

// Where the weights and the row map of a call come from.
enum has_source_t {
  HAS_FROM_MEMORIES = 0,  // both from the memories of the build
  HAS_WEIGHTS_PORT = 1,   // weights from the port: a layer whose weights are not on chip
  HAS_BOTH_PORTS = 2      // row map and weights from the ports: another map without a new build
};

// What a call returns.
enum has_status_t {
  HAS_DONE = 0,
  HAS_NO_SUCH_LAYER = 1,
  HAS_NOT_ON_CHIP = 2,   // the layer's weights must come from the port
  HAS_BAD_MAP = 3        // a slot held neither a row nor idle; taken as idle
};

// Computes every row of one layer for a number of columns.
//
// layer         place in HAS_LAYERS
// columns       N, output positions of all images, image by image, then y, then x
// first_column  column counter of the first of them; only transient faults depend on it
// source        has_source_t
// passes        passes of the row map on the port; used with HAS_BOTH_PORTS only
// activations   [N][steps][HAS_SIMD] codes in the order of the steps, 0 at padding
// weights       [passes][steps][HAS_PE][HAS_CHUNKS] in map order, words as in the weight memories
// map           [passes][HAS_PE] row, or -1 for idle: the slots of schedule.json
//               with HAS_PRELOAD each is followed by what its accumulator starts from
// acc           [N][rows] accumulators, rows in their natural order
// results       [N][rows] codes or, in the last layer, accumulator + bias
int has_layer(uint32_t layer, uint32_t columns, uint32_t first_column, uint32_t source,
              uint32_t passes, const uint8_t *activations, const uint64_t *weights,
              const int32_t *map, int32_t *acc, has_result_t *results);

#endif  // HAS_LAYER_H
