// Stands in for the vendor's ap_axi_sdata.h.
#ifndef AP_AXI_SDATA_H
#define AP_AXI_SDATA_H

#include "ap_int.h"
#include "hls_stream.h"

namespace hls {

struct axis_disabled_signal {};

template <typename T, int W>
struct axis {
  T data;
  ap_uint<W / 8> keep, strb;
  axis_disabled_signal user;
  ap_uint<1> last;
  axis_disabled_signal id, dest;
};

}  // namespace hls

template <int W, int WUser, int WId, int WDest>
using ap_axiu = hls::axis<ap_uint<W>, W>;

#endif  // AP_AXI_SDATA_H
