// SPDX-License-Identifier: Apache-2.0
//! \file
//! How important a token is to those after it: the order of additions of both backends, and what both check.
#ifndef RESONANCE_PRUNE_TOKEN_IMPORTANCE_HPP
#define RESONANCE_PRUNE_TOKEN_IMPORTANCE_HPP

#include <resonance/config.hpp>
#include <resonance/core/status.hpp>
#include <resonance/core/std.hpp>
#include <resonance/core/views.hpp>
#include <resonance/core/workspace.hpp>

RESONANCE_NAMESPACE_BEGIN
namespace detail {

//! Queries are summed in tiles of fixed size, so that the sums do not depend on the workers.
inline constexpr std::int64_t importance_tile = 256;

RESONANCE_HOST_DEVICE constexpr std::int64_t importance_tiles(std::int64_t tokens) {
  return (tokens + importance_tile - 1) / importance_tile;
}

//! I_j from |t_j|_1 and the attention that key j received from the queries j to L - 1.
RESONANCE_HOST_DEVICE inline float importance_of(float length, double received, std::int64_t queries) {
  return static_cast<float>(static_cast<double>(length) * (received / static_cast<double>(queries)));
}

inline std::size_t importance_workspace_bytes(std::int64_t tokens) {
  workspace_carver counter;
  counter.take<double>(importance_tiles(tokens) * tokens);
  return counter.bytes();
}

template <class Row, class Attention>
status check_token_importance(const matrix_view<const Row>& hidden, const matrix_view<const Attention>& attention,
                              const float* importance, const workspace_view& workspace) {
  checks c;
  c.also(check_matrix(hidden, "hidden"));
  c.fits(hidden.rows <= max_int32, "hidden");
  c.also(check_matrix(attention, "attention"));
  c.matches(attention.rows == hidden.rows && attention.cols == hidden.rows, "attention");
  c.present(importance, hidden.rows > 0, "importance");
  if (!c.result().ok()) return c.result();
  return check_workspace(workspace, importance_workspace_bytes(hidden.rows));
}

}  // namespace detail
RESONANCE_NAMESPACE_END

#endif
