// SPDX-License-Identifier: BSD-3-Clause
#include "base/sha256.hpp"

#include <algorithm>
#include <cstring>

#if (defined(__x86_64__) || defined(__i386__)) && defined(__GNUC__)
#define ZELOS_SHA256_X86 1
#include <cpuid.h>
#include <immintrin.h>
#endif

namespace zelos {
namespace {

constexpr std::size_t kBlock = 64;

alignas(16) constexpr std::uint32_t kRound[64] = {
    0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
    0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
    0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
    0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
    0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
    0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
    0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
    0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2};

std::uint32_t rotate(std::uint32_t x, int n) { return (x >> n) | (x << (32 - n)); }

void compress_portable(std::uint32_t* state, const std::uint8_t* blocks, std::size_t count) {
  for (; count > 0; --count, blocks += kBlock) {
    std::uint32_t w[64];
    for (std::size_t i = 0; i < 16; ++i) {
      w[i] = std::uint32_t{blocks[4 * i]} << 24 | std::uint32_t{blocks[4 * i + 1]} << 16 |
             std::uint32_t{blocks[4 * i + 2]} << 8 | std::uint32_t{blocks[4 * i + 3]};
    }
    for (int i = 16; i < 64; ++i) {
      const std::uint32_t s0 = rotate(w[i - 15], 7) ^ rotate(w[i - 15], 18) ^ (w[i - 15] >> 3);
      const std::uint32_t s1 = rotate(w[i - 2], 17) ^ rotate(w[i - 2], 19) ^ (w[i - 2] >> 10);
      w[i] = w[i - 16] + s0 + w[i - 7] + s1;
    }
    std::uint32_t a = state[0], b = state[1], c = state[2], d = state[3];
    std::uint32_t e = state[4], f = state[5], g = state[6], h = state[7];
    for (int i = 0; i < 64; ++i) {
      const std::uint32_t t1 =
          h + (rotate(e, 6) ^ rotate(e, 11) ^ rotate(e, 25)) + ((e & f) ^ (~e & g)) + kRound[i] + w[i];
      const std::uint32_t t2 = (rotate(a, 2) ^ rotate(a, 13) ^ rotate(a, 22)) + ((a & b) ^ (a & c) ^ (b & c));
      h = g;
      g = f;
      f = e;
      e = d + t1;
      d = c;
      c = b;
      b = a;
      a = t1 + t2;
    }
    const std::uint32_t sum[8] = {a, b, c, d, e, f, g, h};
    for (int i = 0; i < 8; ++i) state[i] += sum[i];
  }
}

#ifdef ZELOS_SHA256_X86

#define ZELOS_SHA_TARGET __attribute__((target("sha,sse4.1")))

struct ShaState {
  __m128i abef, cdgh;
};

ZELOS_SHA_TARGET inline void four_rounds(ShaState& s, __m128i w, int first) {
  const auto* constants = reinterpret_cast<const __m128i*>(kRound + first);
  const __m128i wk = _mm_add_epi32(w, _mm_load_si128(constants));
  s.cdgh = _mm_sha256rnds2_epu32(s.cdgh, s.abef, wk);
  s.abef = _mm_sha256rnds2_epu32(s.abef, s.cdgh, _mm_shuffle_epi32(wk, 0x0e));
}

/// Message words i..i+3 from the sixteen before them, oldest first.
ZELOS_SHA_TARGET inline __m128i next_words(__m128i w0, __m128i w1, __m128i w2, __m128i w3) {
  const __m128i sum = _mm_add_epi32(_mm_sha256msg1_epu32(w0, w1), _mm_alignr_epi8(w3, w2, 4));
  return _mm_sha256msg2_epu32(sum, w3);
}

ZELOS_SHA_TARGET void compress_sha_ni(std::uint32_t* state, const std::uint8_t* blocks, std::size_t count) {
  const __m128i big_endian = _mm_set_epi64x(0x0c0d0e0f08090a0bLL, 0x0405060700010203LL);
  auto* memory = reinterpret_cast<__m128i*>(state);
  // The instructions want the state as (a, b, e, f) and (c, d, g, h).
  const __m128i cdab = _mm_shuffle_epi32(_mm_loadu_si128(memory), 0xb1);
  const __m128i efgh = _mm_shuffle_epi32(_mm_loadu_si128(memory + 1), 0x1b);
  ShaState s = {_mm_alignr_epi8(cdab, efgh, 8), _mm_blend_epi16(efgh, cdab, 0xf0)};

  for (; count > 0; --count, blocks += kBlock) {
    const ShaState before = s;
    const auto* message = reinterpret_cast<const __m128i*>(blocks);
    __m128i w0 = _mm_shuffle_epi8(_mm_loadu_si128(message), big_endian);
    __m128i w1 = _mm_shuffle_epi8(_mm_loadu_si128(message + 1), big_endian);
    __m128i w2 = _mm_shuffle_epi8(_mm_loadu_si128(message + 2), big_endian);
    __m128i w3 = _mm_shuffle_epi8(_mm_loadu_si128(message + 3), big_endian);
    for (int i = 0;; i += 16) {
      four_rounds(s, w0, i);
      four_rounds(s, w1, i + 4);
      four_rounds(s, w2, i + 8);
      four_rounds(s, w3, i + 12);
      if (i == 48) break;
      w0 = next_words(w0, w1, w2, w3);
      w1 = next_words(w1, w2, w3, w0);
      w2 = next_words(w2, w3, w0, w1);
      w3 = next_words(w3, w0, w1, w2);
    }
    s.abef = _mm_add_epi32(s.abef, before.abef);
    s.cdgh = _mm_add_epi32(s.cdgh, before.cdgh);
  }

  const __m128i feba = _mm_shuffle_epi32(s.abef, 0x1b);
  const __m128i dchg = _mm_shuffle_epi32(s.cdgh, 0xb1);
  _mm_storeu_si128(memory, _mm_blend_epi16(feba, dchg, 0xf0));
  _mm_storeu_si128(memory + 1, _mm_alignr_epi8(dchg, feba, 8));
}

bool cpu_has_sha() {
  constexpr unsigned kSsse3 = 1u << 9, kSse41 = 1u << 19, kSha = 1u << 29;
  unsigned eax = 0, ebx = 0, ecx = 0, edx = 0;
  if (__get_cpuid(1, &eax, &ebx, &ecx, &edx) == 0) return false;
  if ((ecx & kSsse3) == 0 || (ecx & kSse41) == 0) return false;
  if (__get_cpuid_count(7, 0, &eax, &ebx, &ecx, &edx) == 0) return false;
  return (ebx & kSha) != 0;
}

#endif

}  // namespace

Sha256::Sha256(Kernel kernel) noexcept
    : compress_(compress_portable), state_{0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a,
                                           0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19} {
#ifdef ZELOS_SHA256_X86
  static const bool has_sha = cpu_has_sha();
  if (kernel == Kernel::automatic && has_sha) compress_ = compress_sha_ni;
#else
  static_cast<void>(kernel);
#endif
}

void Sha256::update(const void* data, std::size_t size) noexcept {
  if (size == 0) return;
  const auto* bytes = static_cast<const std::uint8_t*>(data);
  const std::size_t held = size_ % kBlock;
  size_ += size;
  if (held > 0) {
    const std::size_t taken = std::min(size, kBlock - held);
    std::memcpy(block_.data() + held, bytes, taken);
    bytes += taken;
    size -= taken;
    if (held + taken < kBlock) return;
    compress_(state_.data(), block_.data(), 1);
  }
  const std::size_t whole = size / kBlock;
  if (whole > 0) compress_(state_.data(), bytes, whole);
  const std::size_t rest = size % kBlock;
  if (rest > 0) std::memcpy(block_.data(), bytes + whole * kBlock, rest);
}

Sha256Digest Sha256::finish() noexcept {
  const std::uint64_t bits = size_ * 8;
  const std::size_t held = size_ % kBlock;
  constexpr std::size_t kLengthField = 8;
  std::array<std::uint8_t, 2 * kBlock> tail{};
  std::memcpy(tail.data(), block_.data(), held);
  tail[held] = 0x80;
  const std::size_t blocks = held + 1 + kLengthField <= kBlock ? 1 : 2;
  for (std::size_t i = 0; i < kLengthField; ++i) {
    tail[blocks * kBlock - 1 - i] = static_cast<std::uint8_t>(bits >> (8 * i));
  }
  compress_(state_.data(), tail.data(), blocks);

  Sha256Digest digest;
  for (std::size_t i = 0; i < digest.size(); ++i) {
    digest[i] = static_cast<std::uint8_t>(state_[i / 4] >> (24 - 8 * (i % 4)));
  }
  return digest;
}

Sha256Digest sha256(const void* data, std::size_t size) noexcept {
  Sha256 hash;
  hash.update(data, size);
  return hash.finish();
}

std::string to_hex(const Sha256Digest& digest) {
  constexpr char kDigits[] = "0123456789abcdef";
  std::string text;
  text.reserve(2 * digest.size());
  for (const std::uint8_t byte : digest) {
    text += kDigits[byte >> 4];
    text += kDigits[byte & 15];
  }
  return text;
}

std::string sha256_hex(const void* data, std::size_t size) { return to_hex(sha256(data, size)); }

}  // namespace zelos
