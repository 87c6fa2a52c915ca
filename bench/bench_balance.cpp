// SPDX-License-Identifier: Apache-2.0
// Batch statistics: mean probabilities with the z-loss, the Calinski-Harabasz ratio, Sinkhorn's bias.

#include <cmath>

#include <resonance/balance/host_balance.hpp>
#include <resonance/balance/host_sinkhorn.hpp>
#include "choices.hpp"
#include "harness.hpp"

namespace bench {
namespace {

namespace balance = resonance::balance;

bool near(double a, double b) { return std::fabs(a - b) <= 1e-4 * (std::fabs(a) + std::fabs(b)) + 1e-12; }

// T*E logits in, E means out.
class statistics_case {
 public:
  static std::string name() { return "balance/router_statistics/f32"; }
  static double fewest_bytes(const shape& s) {
    return 4.0 * static_cast<double>(s.tokens * s.experts) + 8.0 * s.experts;
  }

  explicit statistics_case(const shape& s)
      : shape_(s),
        logits_(normal_values<float>(s.tokens * s.experts, 1)),
        mean_(zeros<double>(s.experts)),
        naive_mean_(mean_) {}

  std::size_t workspace_bytes(const pool& workers) {
    return balance::host_router_statistics_workspace_bytes(workers, shape_.tokens, shape_.experts);
  }
  resonance::status run(const pool& workers, resonance::workspace_view workspace) {
    return balance::host_router_statistics(workers, view(), mean_.data(), &z_loss_, workspace);
  }

  void naive() {
    std::vector<float> numerator(static_cast<std::size_t>(shape_.experts));
    std::fill(naive_mean_.begin(), naive_mean_.end(), 0.0);
    naive_z_loss_ = 0.0;
    const double tokens = static_cast<double>(std::max<std::int64_t>(shape_.tokens, 1));
    for (std::int64_t t = 0; t < shape_.tokens; ++t) {
      const float* row = view().row(t);
      const float largest = *std::max_element(row, row + shape_.experts);
      float sum = 0.0f;
      for (std::int32_t e = 0; e < shape_.experts; ++e) sum += numerator[e] = std::exp(row[e] - largest);
      for (std::int32_t e = 0; e < shape_.experts; ++e) naive_mean_[e] += numerator[e] / sum / tokens;
      const double log_sum = largest + std::log(sum);
      naive_z_loss_ += log_sum * log_sum / tokens;
    }
  }

  bool agrees() const {
    for (std::size_t e = 0; e < mean_.size(); ++e)
      if (!near(mean_[e], naive_mean_[e])) return false;
    return near(z_loss_, naive_z_loss_);
  }

 private:
  resonance::matrix_view<const float> view() const { return {logits_.data(), shape_.tokens, shape_.experts}; }

  shape shape_;
  std::vector<float> logits_;
  std::vector<double> mean_;
  std::vector<double> naive_mean_;
  double z_loss_ = 0.0;
  double naive_z_loss_ = 0.0;
};

// T*H rows and T*K ids in, twice: the second pass needs the centers.
class separation_case {
 public:
  static std::string name() { return "balance/calinski_harabasz/f32"; }
  static double fewest_bytes(const shape& s) {
    return 8.0 * static_cast<double>(s.tokens * s.hidden) + 8.0 * static_cast<double>(s.slots());
  }

  explicit separation_case(const shape& s) : shape_(s), choices_(s), x_(normal_values<float>(s.tokens * s.hidden, 2)) {}

  std::size_t workspace_bytes(const pool&) {
    return balance::host_calinski_harabasz_workspace_bytes(shape_.hidden, shape_.experts);
  }
  resonance::status run(const pool& workers, resonance::workspace_view workspace) {
    return balance::host_calinski_harabasz(workers,
                                           resonance::matrix_view<const float>(x_.data(), shape_.tokens, shape_.hidden),
                                           choices_.view, &ratio_, workspace);
  }

  // Row by row: centers first, distances second.
  void naive() {
    const std::int64_t hidden = shape_.hidden;
    std::vector<double> center(static_cast<std::size_t>(shape_.experts * hidden), 0.0);
    std::vector<double> middle(static_cast<std::size_t>(hidden), 0.0);
    std::vector<double> count(static_cast<std::size_t>(shape_.experts), 0.0);
    const double slots = static_cast<double>(shape_.slots());
    const auto row_of = [&](std::int64_t slot) { return x_.data() + slot / shape_.top_k * hidden; };
    for (std::int64_t slot = 0; slot < shape_.slots(); ++slot) {
      count[choices_.ids[slot]] += 1.0;
      double* own = center.data() + choices_.ids[slot] * hidden;
      for (std::int64_t j = 0; j < hidden; ++j) {
        own[j] += row_of(slot)[j];
        middle[j] += row_of(slot)[j] / slots;
      }
    }
    double between = 0.0;
    double within = 0.0;
    for (std::int32_t e = 0; e < shape_.experts; ++e) {
      for (std::int64_t j = 0; count[e] > 0.0 && j < hidden; ++j) {
        double& own = center[e * hidden + j];
        own /= count[e];
        between += count[e] * (own - middle[j]) * (own - middle[j]);
      }
    }
    for (std::int64_t slot = 0; slot < shape_.slots(); ++slot) {
      const double* own = center.data() + choices_.ids[slot] * hidden;
      for (std::int64_t j = 0; j < hidden; ++j) within += (row_of(slot)[j] - own[j]) * (row_of(slot)[j] - own[j]);
    }
    naive_ratio_ = within > 0.0 ? between / within : (between > 0.0 ? HUGE_VAL : 0.0);
  }

  bool agrees() const { return ratio_ == naive_ratio_ || near(ratio_, naive_ratio_); }

 private:
  shape shape_;
  choices choices_;
  std::vector<float> x_;
  double ratio_ = 0.0;
  double naive_ratio_ = 0.0;
};

// T*E logits in per iteration, E biases out.
class sinkhorn_case {
 public:
  static std::string name() { return "balance/sinkhorn/f32"; }
  static double fewest_bytes(const shape& s) {
    return iterations * 4.0 * static_cast<double>(s.tokens * s.experts) + 4.0 * s.experts;
  }

  explicit sinkhorn_case(const shape& s)
      : shape_(s),
        logits_(normal_values<float>(s.tokens * s.experts, 3)),
        bias_(zeros<float>(s.experts)),
        naive_bias_(bias_) {}

  std::size_t workspace_bytes(const pool& workers) {
    return balance::host_sinkhorn_workspace_bytes(workers, shape_.tokens, shape_.experts);
  }
  resonance::status run(const pool& workers, resonance::workspace_view workspace) {
    balance::sinkhorn_options options;
    options.iterations = iterations;
    return balance::host_sinkhorn(workers,
                                  resonance::matrix_view<const float>(logits_.data(), shape_.tokens, shape_.experts),
                                  options, bias_.data(), workspace);
  }

  // The matrix of exponentials once, then rows and columns of it scaled in turns.
  void naive() {
    const auto experts = static_cast<std::size_t>(shape_.experts);
    std::vector<float> plan(logits_.size());
    for (std::size_t i = 0; i < plan.size(); ++i) plan[i] = std::exp(logits_[i]);
    std::vector<float> columns(experts, 1.0f);
    const float tokens = static_cast<float>(shape_.tokens);
    for (int i = 0; i < iterations; ++i) {
      std::vector<float> sums(experts, 0.0f);
      for (std::size_t first = 0; first < plan.size(); first += experts) {
        float row = 0.0f;
        for (std::size_t e = 0; e < experts; ++e) row += columns[e] * plan[first + e];
        for (std::size_t e = 0; e < experts; ++e) sums[e] += plan[first + e] / (row * tokens);
      }
      for (std::size_t e = 0; e < experts; ++e) columns[e] = 1.0f / (static_cast<float>(experts) * sums[e]);
    }
    for (std::size_t e = 0; e < experts; ++e) naive_bias_[e] = shape_.tokens > 0 ? std::log(columns[e]) : 0.0f;
  }

  bool agrees() const {
    for (std::size_t e = 0; e < bias_.size(); ++e)
      if (!(std::fabs(bias_[e] - naive_bias_[e]) <= 1e-3f)) return false;
    return true;
  }

 private:
  static constexpr int iterations = 8;
  shape shape_;
  std::vector<float> logits_, bias_, naive_bias_;
};

}  // namespace
}  // namespace bench

int main(int argc, char** argv) {
  using namespace bench;
  const sizes which = read_sizes(argc, argv);
  add<statistics_case>(shapes(which, {1024}));
  add<separation_case>(shapes(which, {256}));
  add<sinkhorn_case>(shapes(which, {1024}));
  return run_all(argc, argv);
}
