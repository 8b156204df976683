// The fault sites of the array: what a word is after the wires of one site.
#ifndef HAS_FAULTS_H
#define HAS_FAULTS_H

#include "faults.h"
#include "has_config.h"

#if HAS_FAULT_SITES

static inline uint64_t has_masked(uint64_t word, const has_mask_t &mask) {
  HAS_HLS(inline)
  return ((word & mask.keep) | mask.set) ^ mask.invert;
}

static inline uint32_t has_mix(uint32_t x) {
  HAS_HLS(inline)
  x ^= x >> 16;
  x *= 0x7feb352du;
  x ^= x >> 15;
  x *= 0x846ca68bu;
  return x ^ (x >> 16);
}

// The word after the transient faults of one site; a draw depends on its coordinates alone.
static inline uint64_t has_drawn(has_site_t site, uint32_t pe, uint32_t simd, uint64_t word,
                                 const has_use_t &use) {
  HAS_HLS(inline)
#if HAS_TRANSIENT_COUNT > 0
  const uint32_t golden = 0x9e3779b9u;
  for (int i = 0; i < HAS_TRANSIENT_COUNT; i++) {
    HAS_HLS(UNROLL)
    const has_transient_t &fault = HAS_TRANSIENTS[i];
    if (fault.site != site || fault.pe != pe || fault.simd != simd) continue;
    if (site == HAS_SITE_WMEM && fault.address != use.address) continue;
    const uint32_t at[6] = {HAS_TRANSIENT_SEED, use.layer, fault.entry, use.pass, use.column,
                            use.step};
    uint32_t h = 0;
    for (int k = 0; k < 6; k++) {
      HAS_HLS(UNROLL)
      h = has_mix((h ^ at[k]) + golden);
    }
    const uint64_t range = fault.hi - fault.lo + 1;
    if (h < fault.fires) word ^= uint64_t(1) << (fault.lo + ((has_mix(h + golden) * range) >> 32));
  }
#else
  (void)site;
  (void)pe;
  (void)simd;
  (void)use;
#endif
  return word;
}

// The word after the faults of one site, permanent ones first. Only the site's low bits count.
static inline uint64_t has_site(has_site_t site, uint32_t pe, uint32_t simd, uint64_t word,
                                const has_use_t &use) {
  HAS_HLS(inline)
  return has_drawn(site, pe, simd, has_masked(word, HAS_MASKS[site][pe][simd]), use);
}

// A stored weight after the faults of its word in the bank.
static inline uint64_t has_bank(uint32_t pe, uint32_t simd, uint64_t word, const has_use_t &use) {
  HAS_HLS(inline)
#if HAS_BANK_FAULT_COUNT > 0
  const uint32_t bank = pe * HAS_SIMD + simd;
  for (uint32_t i = HAS_BANK_FIRST[bank]; i < HAS_BANK_FIRST[bank + 1]; i++) {
    if (HAS_BANK_FAULTS[i].address == use.address) word = has_masked(word, HAS_BANK_FAULTS[i].mask);
  }
#endif
  return has_drawn(HAS_SITE_WMEM, pe, simd, word, use);
}

#else  // a healthy array: every site hands on what it is given

static inline uint64_t has_site(has_site_t, uint32_t, uint32_t, uint64_t word, const has_use_t &) {
  HAS_HLS(inline)
  return word;
}

static inline uint64_t has_bank(uint32_t, uint32_t, uint64_t word, const has_use_t &) {
  HAS_HLS(inline)
  return word;
}

#endif  // HAS_FAULT_SITES

#endif  // HAS_FAULTS_H
