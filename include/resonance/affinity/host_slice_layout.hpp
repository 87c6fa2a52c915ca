// SPDX-License-Identifier: Apache-2.0
//! \file
//! How the slices of a row lie over the lanes of an ordered sum: the same for every token, so it is made once a call.
#ifndef RESONANCE_AFFINITY_HOST_SLICE_LAYOUT_HPP
#define RESONANCE_AFFINITY_HOST_SLICE_LAYOUT_HPP

#include <cstdint>

#include <resonance/affinity/metrics.hpp>
#include <resonance/config.hpp>
#include <resonance/core/ordered_sum.hpp>
#include <resonance/core/workspace.hpp>

RESONANCE_NAMESPACE_BEGIN
namespace detail {

//! Lanes of a group: neighbours that one AVX-512 register holds.
inline constexpr int group_lanes = 16;
inline constexpr int lane_groups = sum_lanes / group_lanes;

//! Segments, and pieces of short slices, are added up sixteen at a time.
inline constexpr int slice_batch = 16;
inline constexpr int whole_batches(int count) { return (count + slice_batch - 1) / slice_batch * slice_batch; }

//! The part of a slice in one chunk of 1024 columns; columns count from the chunk's first.
struct slice_piece {
  std::uint16_t begin;
  std::uint16_t end;
};

//! The part of a piece in one group of lanes. A short slice has one for every group that it touches.
struct slice_segment {
  std::uint16_t column;  // where the group begins
  std::uint16_t lanes;   // bit i: column + i is in it
};

//! Two neighbouring pieces of short slices: how the sums of their segments lie over the groups of lanes.
struct slice_pair {
  std::uint8_t source[2 * lane_groups];  // [piece, group]: which segment, counted from the pair's first
  std::uint16_t held;                    // bit 8 * piece + group: the piece has lanes there
  std::uint16_t first_segment;           // of the chunk's
};

struct slice_chunk {
  std::int32_t first_expert;
  std::uint16_t pieces;
  std::uint16_t segments;
  bool continues;  // the first piece is not the first of its slice
};

inline constexpr int most_chunk_segments = sum_chunk / group_lanes + sum_chunk;

//! Tables by chunk, filled up with empty entries to whole batches.
class slice_layout {
 public:
  void carve(workspace_carver& carver, std::int64_t experts, std::int64_t hidden) {
    experts_ = experts;
    hidden_ = hidden;
    const std::int64_t chunk_count = (hidden - 1) / sum_chunk + 1;
    const std::int64_t most_pieces = experts + chunk_count * slice_batch;
    chunks = carver.take<slice_chunk>(chunk_count);
    pieces = carver.take<slice_piece>(most_pieces);
    // Short: never meets a group of lanes twice, wherever it begins.
    short_slices = (hidden - 1) / experts + 1 <= sum_lanes - group_lanes + 1;
    if (!short_slices) return;
    segments = carver.take<slice_segment>(hidden / group_lanes + most_pieces);
    pairs = carver.take<slice_pair>(most_pieces / 2);
    if (hidden % experts != 0) return;
    const auto length = static_cast<int>(hidden / experts);
    if (length % group_lanes == 0) segment_columns = group_lanes;
    if (group_lanes % length == 0) segment_columns = length;
    if (segment_columns == length || length == 2 * group_lanes || length == 4 * group_lanes)
      segments_each = length / segment_columns;
  }

  void make() const {
    slice_piece* piece = pieces;
    slice_segment* segment = segments;
    slice_pair* pair = pairs;
    std::int64_t expert = 0;
    std::int64_t begin = 0;
    std::int64_t slice_end = affinity::slice_begin(1, experts_, hidden_);
    for (slice_chunk* chunk = chunks; begin < hidden_; ++chunk) {
      const std::int64_t first = begin;
      const std::int64_t stop = first + sum_chunk < hidden_ ? first + sum_chunk : hidden_;
      const slice_piece* const first_piece = piece;
      chunk->first_expert = static_cast<std::int32_t>(expert);
      chunk->continues = first != affinity::slice_begin(expert, experts_, hidden_);
      while (begin < stop) {
        const std::int64_t end = slice_end < stop ? slice_end : stop;
        *piece++ = {static_cast<std::uint16_t>(begin - first), static_cast<std::uint16_t>(end - first)};
        begin = end;
        if (begin == slice_end) slice_end = affinity::slice_begin(++expert + 1, experts_, hidden_);
      }
      chunk->pieces = static_cast<std::uint16_t>(piece - first_piece);
      if (all_regular()) {
        chunk->segments = static_cast<std::uint16_t>((stop - first) / segment_columns);
      } else if (short_slices) {
        cut(first_piece, *chunk, segment, pair);
      }
    }
  }

  bool short_slices = false;
  int segment_columns = 0;  // where all segments have as many columns, one after the other; else 0
  int segments_each = 0;    // where all slices have as many segments, one, two or four of them; else 0
  slice_chunk* chunks = nullptr;
  slice_piece* pieces = nullptr;
  slice_segment* segments = nullptr;
  slice_pair* pairs = nullptr;

 private:
  //! Nobody asks for segments and pairs then.
  bool all_regular() const { return segments_each != 0 && hidden_ % (slice_batch * segment_columns) == 0; }

  //! The segments and pairs of a chunk's pieces.
  static void cut(const slice_piece* piece, slice_chunk& chunk, slice_segment*& segment, slice_pair*& pair) {
    const slice_segment* const first = segment;
    for (int p = 0; p < whole_batches(chunk.pieces); ++p) {
      const int half = p % 2 * lane_groups;
      if (half == 0) *pair = {{}, 0, static_cast<std::uint16_t>(segment - first)};
      if (p < chunk.pieces) {
        for (int column = piece[p].begin / group_lanes * group_lanes; column < piece[p].end; column += group_lanes) {
          const int place = half + column / group_lanes % lane_groups;
          pair->source[place] = static_cast<std::uint8_t>(segment - first - pair->first_segment);
          pair->held = static_cast<std::uint16_t>(pair->held | 1u << place);
          const int from = piece[p].begin > column ? piece[p].begin - column : 0;
          const int to = piece[p].end < column + group_lanes ? piece[p].end - column : group_lanes;
          *segment++ = {static_cast<std::uint16_t>(column), static_cast<std::uint16_t>((1u << to) - (1u << from))};
        }
      }
      pair += half == 0 ? 0 : 1;
    }
    chunk.segments = static_cast<std::uint16_t>(segment - first);
    while ((segment - first) % slice_batch != 0) *segment++ = {0, 0};
  }

  std::int64_t experts_ = 1;
  std::int64_t hidden_ = 1;
};

}  // namespace detail
RESONANCE_NAMESPACE_END

#endif
