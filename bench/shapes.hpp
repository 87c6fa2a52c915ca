// SPDX-License-Identifier: Apache-2.0
//! \file
//! The shapes that every benchmark runs: routers of published models, awkward expert counts, batch sizes.
#ifndef RESONANCE_BENCH_SHAPES_HPP
#define RESONANCE_BENCH_SHAPES_HPP

#include <cstdint>
#include <iterator>
#include <string>
#include <vector>

namespace bench {

struct shape {
  const char* model;
  std::int64_t hidden;   // H
  std::int32_t experts;  // E
  std::int32_t top_k;    // K
  std::int64_t tokens;   // T

  std::int64_t slots() const { return tokens * top_k; }
  std::string name() const { return std::string(model) + "/T:" + std::to_string(tokens); }
};

//! Which shapes to register: `few` keeps a run of every benchmark short, `all` is --all_shapes.
enum class sizes { few, all };

inline constexpr int thread_counts[] = {1, 2};

inline constexpr shape common_models[] = {
    {"Mixtral", 4096, 8, 2, 0},
    {"Qwen3", 2048, 128, 8, 0},
    {"DeepSeek-V3", 7168, 256, 8, 0},
};

inline constexpr shape other_models[] = {
    {"OLMoE", 2048, 64, 8, 0},
    {"Qwen3-Next", 2048, 512, 10, 0},
    {"Kimi-K2", 7168, 384, 8, 0},
    {"gpt-oss", 2880, 128, 4, 0},
    {"Llama-4-Scout", 5120, 16, 1, 0},
    {"Llama-4-Maverick", 5120, 128, 1, 0},
    {"GLM-4.5", 5120, 160, 8, 0},
    {"MiniMax-M2", 3072, 256, 8, 0},
    {"Nemotron-3", 4096, 512, 22, 0},
    {"one-expert", 2048, 1, 1, 0},
    {"E6", 2048, 6, 2, 0},
    {"E7", 2048, 7, 2, 0},
    {"E13", 2048, 13, 4, 0},
    {"E72", 2048, 72, 6, 0},
    {"E257", 2048, 257, 8, 0},
    {"E288", 2048, 288, 8, 0},
    {"E576", 2048, 576, 8, 0},
    {"E1024", 2048, 1024, 8, 0},
    {"E4096", 4096, 4096, 8, 0},
    {"every-expert", 2048, 64, 64, 0},
};

//! The models at the given batch sizes; with sizes::all every model at every batch size.
inline std::vector<shape> shapes(sizes which, std::vector<std::int64_t> batches) {
  std::vector<shape> models(std::begin(common_models), std::end(common_models));
  if (which == sizes::all) {
    models.insert(models.end(), std::begin(other_models), std::end(other_models));
    batches = {0, 1, 8, 64, 256, 1024, 4096, 16384, 65536};
  }
  std::vector<shape> result;
  for (shape model : models) {
    for (const std::int64_t tokens : batches) {
      model.tokens = tokens;
      result.push_back(model);
    }
  }
  return result;
}

}  // namespace bench

#endif
