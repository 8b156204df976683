// Stands in for the vendor's hls_stream.h.
#ifndef HLS_STREAM_H
#define HLS_STREAM_H

#include <cstdlib>
#include <deque>

namespace hls {

template <typename T>
class stream {
 public:
  stream() {}
  stream(const stream &) = delete;
  bool empty() const { return beats.empty(); }
  void write(const T &beat) { beats.push_back(beat); }
  T read() {
    if (beats.empty()) std::abort();
    const T first = beats.front();
    beats.pop_front();
    return first;
  }

 private:
  std::deque<T> beats;
};

}  // namespace hls

#endif  // HLS_STREAM_H
