// SPDX-License-Identifier: Apache-2.0
//! \file
//! Affinity by the threads of a warp: rows of delta in shared memory, straight into the next stage.
//!
//! A row source of the device is any trivially copyable type with the members of warp_source: what token choice pulls
//! rows of delta from, so that no [T,E] matrix has to exist. It is given to kernels by value.
#ifndef RESONANCE_AFFINITY_WARP_AFFINITY_CUH
#define RESONANCE_AFFINITY_WARP_AFFINITY_CUH

#include <resonance/affinity/input.hpp>
#include <resonance/affinity/metrics.hpp>
#include <resonance/core/collectives.cuh>
#include <resonance/core/math.hpp>
#include <resonance/core/ordered_sum.hpp>
#include <resonance/core/row_type.hpp>
#include <resonance/core/status.hpp>
#include <resonance/core/std.hpp>
#include <resonance/core/vector_io.cuh>
#include <resonance/core/warp_sum.cuh>

RESONANCE_NAMESPACE_BEGIN
namespace detail {

//! Metrics on slices: a chunk of the token's row is staged in shared memory, then every slice's part of it is summed,
//! by one thread where slices are short and by the warp where they are long.
template <class Metric, class Input>
class slice_source {
 public:
  static constexpr float largest = row_traits<float>::largest;
  static constexpr int block = 1;
  static constexpr bool whole_warp = true;
  static constexpr int scratch_floats = sum_chunk + sum_chunk / warp_size;

  slice_source(const Metric& metric, const Input& input) : metric_(metric), input_(input) {}

  RESONANCE_HOST_DEVICE std::int64_t tokens() const { return input_.hidden.rows; }
  RESONANCE_HOST_DEVICE std::int32_t experts() const { return experts_of<Metric>(input_); }
  status check() const { return check_input<Metric>(input_); }

  RESONANCE_DEVICE void fill(const warp_team& warp, std::int64_t first, int, float* row, std::int64_t, float* scratch,
                             int part, int parts) const {
    const std::int64_t hidden = input_.hidden.cols;
    const auto* x = input_.hidden.row(first);
    float square_sum = 0.0f;
    for (std::int64_t chunk = 0; chunk < hidden; chunk += sum_chunk) {
      const std::int64_t stop = chunk + sum_chunk < hidden ? chunk + sum_chunk : hidden;
      load_row(warp, x + chunk, stop - chunk, [scratch](std::int64_t j, float value) { scratch[spread(j)] = value; });
      warp.sync();
      const auto column = [scratch, chunk](std::int64_t j) { return scratch[spread(j - chunk)]; };
      if (Metric::needs_norms) {
        square_sum += tile_ordered_sum(warp, chunk, stop,
                                       [&](float sum, std::int64_t j) { return math::fma(column(j), column(j), sum); });
      }
      add_slices(warp, chunk, stop, column, row, part, parts);
      warp.sync();
    }
    const float token_norm = Metric::needs_norms ? math::sqrt(square_sum) : 0.0f;
    finish(warp, token_norm, row, part, parts);
  }

 private:
  //! Neighbouring slices of a power-of-two length would meet in one bank of shared memory.
  RESONANCE_DEVICE static int spread(std::int64_t j) { return static_cast<int>(j) + static_cast<int>(j) / warp_size; }

  RESONANCE_DEVICE bool short_slices() const {
    return input_.hidden.cols <= std::int64_t{thread_sum_longest} * input_.experts;
  }

  //! slice_begin without a 64-bit division where 32 bits do.
  RESONANCE_DEVICE std::int64_t begin_of(std::int32_t expert) const {
    const std::int64_t hidden = input_.hidden.cols;
    if (hidden <= 0xffff && input_.experts < 0xffff) {
      const auto experts = static_cast<std::uint32_t>(input_.experts);
      return (static_cast<std::uint32_t>(expert) * static_cast<std::uint32_t>(hidden) + experts - 1u) / experts;
    }
    return affinity::slice_begin(expert, input_.experts, hidden);
  }

  //! The expert whose slice holds a column.
  RESONANCE_DEVICE std::int32_t expert_at(std::int64_t column) const {
    return static_cast<std::int32_t>(column * input_.experts / input_.hidden.cols);
  }

  template <class Column>
  RESONANCE_DEVICE void add_slices(const warp_team& warp, std::int64_t chunk, std::int64_t stop, const Column& column,
                                   float* row, int part, int parts) const {
    const float* weights = input_.slice_weights;
    const auto step = [&](float sum, std::int64_t j) {
      return weights == nullptr ? sum + column(j) : math::fma(column(j), load(weights + j), sum);
    };
    const bool by_thread = short_slices();
    const int first = by_thread ? part * warp_size + warp.rank() : part;
    const int stride = by_thread ? parts * warp_size : parts;
    const std::int32_t last = expert_at(stop - 1);
    for (std::int32_t e = expert_at(chunk) + first; e <= last; e += stride) {
      const std::int64_t begin = begin_of(e);
      const std::int64_t end = begin_of(e + 1) < stop ? begin_of(e + 1) : stop;
      const std::int64_t from = begin < chunk ? chunk : begin;
      const float sum = by_thread ? thread_ordered_sum(static_cast<int>(from - chunk), static_cast<int>(end - chunk),
                                                       [&](float s, int j) { return step(s, chunk + j); })
                                  : tile_ordered_sum(warp, from, end, step);
      if (by_thread || warp.rank() == 0) row[e] = begin < chunk ? row[e] + sum : sum;
    }
  }

  RESONANCE_DEVICE void finish(const warp_team& warp, float token_norm, float* row, int part, int parts) const {
    const float* weights = input_.slice_weights;
    const auto square = [weights](float sum, std::int64_t j) {
      return math::fma(load(weights + j), load(weights + j), sum);
    };
    const bool by_warp = weights != nullptr && Metric::needs_norms;
    const int first = by_warp ? part : part * warp_size + warp.rank();
    const int stride = by_warp ? parts : parts * warp_size;
    for (std::int32_t e = first; e < input_.experts; e += stride) {
      const std::int64_t begin = begin_of(e);
      const std::int64_t end = begin_of(e + 1);
      const float length = static_cast<float>(end - begin);
      float expert_norm = Metric::needs_norms ? math::sqrt(length) : length;
      if (by_warp) expert_norm = math::sqrt(tile_ordered_sum(warp, begin, end, square));
      if (!by_warp || warp.rank() == 0) row[e] = metric_.finish(row[e], token_norm, expert_norm);
    }
  }

  Metric metric_;
  Input input_;
};

//! Metrics on a gate: products of four tokens with two experts at a time, so that what is read from W serves four rows
//! and what is read from X two.
template <class Metric, class Input>
class gate_source {
 public:
  static constexpr float largest = row_traits<float>::largest;
  static constexpr int block = 4;
  static constexpr bool whole_warp = true;
  static constexpr int scratch_floats = 0;

  gate_source(const Metric& metric, const Input& input) : metric_(metric), input_(input) {}

  RESONANCE_HOST_DEVICE std::int64_t tokens() const { return input_.hidden.rows; }
  RESONANCE_HOST_DEVICE std::int32_t experts() const { return experts_of<Metric>(input_); }
  status check() const { return check_input<Metric>(input_); }

  RESONANCE_DEVICE void fill(const warp_team& warp, std::int64_t first, int count, float* rows, std::int64_t stride,
                             float*, int part, int parts) const {
    with_each(warp, first, count, part, parts,
              [&](int t, std::int32_t e, float delta) { rows[t * stride + e] = delta; });
  }

  //! put(t, expert, delta) for each pair of this part, from the thread that finished it.
  template <class Put>
  RESONANCE_DEVICE void with_each(const warp_team& warp, std::int64_t first, int count, int part, int parts,
                                  const Put& put) const {
    // Thread t * pair + i of the first eight finishes token t with expert e + i.
    const int own_token = warp.rank() / pair;
    const int own_expert = warp.rank() % pair;
    float token_norm = 0.0f;
    if (Metric::needs_norms) {
      RESONANCE_NO_UNROLL
      for (int t = 0; t < count; ++t) {
        const float square_sum = row_square_sum(warp, first + t);
        token_norm = t == own_token ? square_sum : token_norm;
      }
      token_norm = math::sqrt(token_norm);
    }
    const std::int32_t experts = experts_of<Metric>(input_);
    for (std::int32_t e = part * pair; e < experts; e += parts * pair) {
      sums s;
      products(warp, first, count, e, s);
      float product = 0.0f;
      float square = 0.0f;
      RESONANCE_UNROLL
      for (int i = 0; i < pair; ++i) {
        square = i == own_expert ? s.square[i] : square;
        RESONANCE_UNROLL
        for (int t = 0; t < block; ++t) product = i == own_expert && t == own_token ? s.product[t][i] : product;
      }
      const float expert_norm = Metric::needs_norms ? math::sqrt(square) : 0.0f;
      if (own_token < count && e + own_expert < experts)
        put(own_token, e + own_expert, metric_.finish(product, token_norm, expert_norm));
    }
  }

 private:
  static constexpr int pair = 2;

  struct sums {
    float product[block][pair] = {};
    float square[pair] = {};
  };

  //! Four elements of a row may be read at once.
  template <class T>
  RESONANCE_DEVICE static bool by_four(const matrix_view<const T>& m) {
    return alignment_bits(m.data, m.rows > 1 ? m.stride : 0) % (4 * sizeof(T)) == 0;
  }

  RESONANCE_DEVICE float row_square_sum(const warp_team& warp, std::int64_t token) const {
    const bool aligned = by_four(input_.hidden);
    const std::int64_t hidden = input_.hidden.cols;
    float total = 0.0f;
    for (std::int64_t chunk = 0; chunk < hidden; chunk += sum_chunk) {
      float lanes[lanes_per_thread] = {};
      for (std::int64_t row = chunk; row < hidden && row < chunk + sum_chunk; row += sum_lanes) {
        float x[lanes_per_thread];
        load_four(input_.hidden.row(token), row + lanes_per_thread * warp.rank(), hidden, aligned, x);
        RESONANCE_UNROLL
        for (int i = 0; i < lanes_per_thread; ++i) lanes[i] = math::fma(x[i], x[i], lanes[i]);
      }
      total += tile_sum_lanes(warp, lanes);
    }
    return total;
  }

  //! Columns past the row read as 0 and add +0; tokens and experts past the last repeat it and are not written.
  RESONANCE_DEVICE void products(const warp_team& warp, std::int64_t first, int count, std::int32_t expert,
                                 sums& s) const {
    const bool x_aligned = by_four(input_.hidden);
    const bool w_aligned = by_four(input_.gate);
    const std::int64_t hidden = input_.hidden.cols;
    const std::int64_t last_expert = input_.gate.rows - 1;
    for (std::int64_t chunk = 0; chunk < hidden; chunk += sum_chunk) {
      float product[block][pair][lanes_per_thread] = {};
      float square[pair][lanes_per_thread] = {};
      for (std::int64_t row = chunk; row < hidden && row < chunk + sum_chunk; row += sum_lanes) {
        const std::int64_t j = row + lanes_per_thread * warp.rank();
        float w[pair][lanes_per_thread];
        RESONANCE_UNROLL
        for (int i = 0; i < pair; ++i)
          load_four(input_.gate.row(expert + i < last_expert ? expert + i : last_expert), j, hidden, w_aligned, w[i]);
        RESONANCE_UNROLL
        for (int t = 0; t < block; ++t) {
          float x[lanes_per_thread];
          load_four(input_.hidden.row(first + (t < count ? t : count - 1)), j, hidden, x_aligned, x);
          RESONANCE_UNROLL
          for (int i = 0; i < pair; ++i) {
            RESONANCE_UNROLL
            for (int l = 0; l < lanes_per_thread; ++l) product[t][i][l] = math::fma(x[l], w[i][l], product[t][i][l]);
          }
        }
        if (Metric::needs_norms) {
          RESONANCE_UNROLL
          for (int i = 0; i < pair; ++i) {
            RESONANCE_UNROLL
            for (int l = 0; l < lanes_per_thread; ++l) square[i][l] = math::fma(w[i][l], w[i][l], square[i][l]);
          }
        }
      }
      RESONANCE_UNROLL
      for (int i = 0; i < pair; ++i) {
        if (Metric::needs_norms) s.square[i] += tile_sum_lanes(warp, square[i]);
        RESONANCE_UNROLL
        for (int t = 0; t < block; ++t) s.product[t][i] += tile_sum_lanes(warp, product[t][i]);
      }
    }
  }

  Metric metric_;
  Input input_;
};

template <class Metric, class Input>
using hidden_source = std::conditional_t<Metric::reads == affinity::operand::gate, gate_source<Metric, Input>,
                                         slice_source<Metric, Input>>;

}  // namespace detail

namespace affinity {

//! Rows of delta for the metrics of metrics.hpp, or one of your own.
//!
//! Members    block          tokens that one call of fill handles at most
//!            whole_warp     true: fill is called by 32 threads; false: by a tile of any size
//!            scratch_floats floats of shared memory per warp that fill needs
//!            fill(tile, first, count, rows, stride, scratch, part, parts): delta of the tokens [first, first + count)
//!            into rows[t * stride + e]. `parts` tiles may share the experts of one call, each with its own `part` and
//!            scratch. The caller synchronizes before it reads rows.
//! Contract   the host's bits: sums in the order of ordered_sum.hpp, fused multiply-adds, correctly rounded sqrt and /
//! Cost       slices: H elements read once, 16 bytes at a time; gate: W read from cache once per 4 tokens
template <class Metric, class Input>
class warp_source {
  static_assert(detail::always_false<Metric>,
                "resonance: this metric does not read this input (dot, cosine, grouped_average_cosine and "
                "grouped_average read hidden_input; logits and cosine_of_logits read logits_input)");
};

template <class Metric, class L>
class warp_source<Metric, logits_input<L>> {
 public:
  static constexpr float largest = row_traits<L>::largest;
  static constexpr int block = 1;
  static constexpr bool whole_warp = false;
  static constexpr int scratch_floats = 0;

  warp_source(const Metric& metric, const logits_input<L>& input) : metric_(metric), input_(input) {}

  RESONANCE_HOST_DEVICE std::int64_t tokens() const { return input_.logits.rows; }
  RESONANCE_HOST_DEVICE std::int32_t experts() const { return detail::experts_of<Metric>(input_); }
  status check() const { return detail::check_input<Metric>(input_); }

  template <class Tile>
  RESONANCE_DEVICE void fill(const Tile& tile, std::int64_t first, int count, float* rows, std::int64_t stride, float*,
                             int part, int parts) const {
    for (int t = part; t < count; t += parts) {
      const float token_norm = Metric::needs_norms ? load(input_.token_norms + first + t) : 0.0f;
      load_row(tile, input_.logits.row(first + t), input_.logits.cols, [&](std::int64_t e, float logit) {
        rows[t * stride + e] =
            metric_.finish(logit, token_norm, Metric::needs_norms ? load(input_.gate_norms + e) : 0.0f);
      });
    }
  }

 private:
  Metric metric_;
  logits_input<L> input_;
};

template <class Metric, class X, class W>
class warp_source<Metric, hidden_input<X, W>> : public detail::hidden_source<Metric, hidden_input<X, W>> {
 public:
  warp_source(const Metric& metric, const hidden_input<X, W>& input)
      : detail::hidden_source<Metric, hidden_input<X, W>>(metric, input) {}
};

}  // namespace affinity
RESONANCE_NAMESPACE_END

#endif
