// SPDX-License-Identifier: Apache-2.0
// Seeded random inputs. The distributions are written out, since the standard's differ from one library to another
// and a printed seed must give the same case everywhere.
#pragma once

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <random>
#include <vector>

namespace support {

class random_source {
 public:
  explicit random_source(std::uint64_t seed) : engine_(seed) {}

  std::uint64_t bits() { return engine_(); }

  //! Uniform in [0, 1), 53 bits.
  double uniform() { return static_cast<double>(engine_() >> 11) * 0x1p-53; }

  //! An integer in [0, bound), bound > 0. The bias of the remainder, bound / 2^64, is far below any test's sight.
  std::size_t below(std::size_t bound) { return static_cast<std::size_t>(engine_() % bound); }

  //! An integer in [first, last].
  std::size_t between(std::size_t first, std::size_t last) { return first + below(last - first + 1); }

  bool coin(double chance = 0.5) { return uniform() < chance; }

  //! N(0,1), by the polar method.
  double normal() {
    if (has_spare_) {
      has_spare_ = false;
      return spare_;
    }
    for (;;) {
      const double u = 2 * uniform() - 1;
      const double v = 2 * uniform() - 1;
      const double s = u * u + v * v;
      if (s >= 1 || s == 0) continue;
      const double scale = std::sqrt(-2 * std::log(s) / s);
      spare_ = v * scale;
      has_spare_ = true;
      return u * scale;
    }
  }

  template <class Value>
  const Value& pick(const std::vector<Value>& values) {
    return values[below(values.size())];
  }

 private:
  std::mt19937_64 engine_;
  double spare_ = 0;
  bool has_spare_ = false;
};

inline std::vector<float> normal_values(random_source& random, std::size_t count, double scale = 1) {
  std::vector<float> values(count);
  for (float& value : values) value = static_cast<float>(scale * random.normal());
  return values;
}

//! Rows [tokens, hidden] of independent N(0,1): every direction is equally likely. With `unit` each row has length 1.
inline std::vector<float> isotropic_tokens(random_source& random, std::size_t tokens, std::size_t hidden,
                                           bool unit = false) {
  std::vector<float> rows(tokens * hidden);
  std::vector<double> row(hidden);
  for (std::size_t t = 0; t < tokens; ++t) {
    double sum_of_squares = 0;
    for (double& value : row) {
      value = random.normal();
      sum_of_squares += value * value;
    }
    const double scale = unit ? 1 / std::sqrt(sum_of_squares) : 1;
    for (std::size_t j = 0; j < hidden; ++j) rows[t * hidden + j] = static_cast<float>(row[j] * scale);
  }
  return rows;
}

//! What makes a score hard: each kind of value, and all of them mixed.
enum class adversary { nans, infinities, signed_zeros, denormals, ties, constant, extremes, mixed };

inline const std::vector<adversary>& all_adversaries() {
  static const std::vector<adversary> kinds = {adversary::nans,      adversary::infinities, adversary::signed_zeros,
                                               adversary::denormals, adversary::ties,       adversary::constant,
                                               adversary::extremes,  adversary::mixed};
  return kinds;
}

inline const char* name_of(adversary kind) {
  switch (kind) {
    case adversary::nans: return "nans";
    case adversary::infinities: return "infinities";
    case adversary::signed_zeros: return "signed_zeros";
    case adversary::denormals: return "denormals";
    case adversary::ties: return "ties";
    case adversary::constant: return "constant";
    case adversary::extremes: return "extremes";
    case adversary::mixed: return "mixed";
  }
  return "unknown";
}

//! One value of the kind. Except for ties, constant and mixed, half of the values are plain N(0,1).
inline float adversarial_value(random_source& random, adversary kind) {
  using limits = std::numeric_limits<float>;
  if (kind == adversary::constant) return 0.25F;
  if (kind == adversary::ties) return static_cast<float>(static_cast<int>(random.below(3)) - 1);
  if (kind == adversary::mixed)
    return adversarial_value(random, all_adversaries()[random.below(all_adversaries().size() - 1)]);
  const auto ordinary = static_cast<float>(random.normal());
  if (random.coin()) return ordinary;
  const float sign = random.coin() ? 1.0F : -1.0F;
  switch (kind) {
    case adversary::nans: return std::copysign(limits::quiet_NaN(), sign);
    case adversary::infinities: return sign * limits::infinity();
    case adversary::signed_zeros: return sign * 0.0F;
    case adversary::denormals: return sign * limits::denorm_min() * static_cast<float>(1 + random.below(4));
    default: return sign * limits::max();
  }
}

inline std::vector<float> adversarial_values(random_source& random, std::size_t count, adversary kind) {
  std::vector<float> values(count);
  for (float& value : values) value = adversarial_value(random, kind);
  return values;
}

}  // namespace support
