// SPDX-License-Identifier: Apache-2.0
#include "recording.hpp"

#include <cstddef>
#include <iterator>
#include <utility>

#include "support/npy.hpp"

namespace demo {
namespace {

// Reads the files one after the other; after the first fault it reads nothing more.
class reader {
 public:
  explicit reader(std::string folder) : folder_(std::move(folder)) {}

  const std::string& fault() const { return fault_; }

  void require(bool holds, const std::string& file, const char* message) {
    if (fault_.empty() && !holds) fault_ = folder_ + "/" + file + ": " + message;
  }

  // The elements of a file that must have this shape; an extent of -1 takes what the file has.
  template <class T>
  std::vector<T> values(const std::string& file, std::vector<std::int64_t>& shape) {
    if (!fault_.empty()) return {};
    npy::expect wanted;
    wanted.rank = static_cast<int>(shape.size());
    wanted.types = {npy::dtype_of<T>::value};
    const npy::result<npy::array> read = npy::load(folder_ + "/" + file, wanted);
    fault_ = read.error;
    if (!fault_.empty()) return {};
    for (std::size_t i = 0; i < shape.size(); ++i) {
      const std::int64_t extent = static_cast<std::int64_t>(read.value.shape()[i]);
      require(shape[i] < 0 || shape[i] == extent, file, "does not match the shapes of the other files");
      shape[i] = extent;
    }
    return read.value.values<T>();
  }

  template <class T>
  std::vector<T> values(const std::string& file, std::vector<std::int64_t>&& shape) {
    return values<T>(file, shape);
  }

  half_matrix matrix(const std::string& file, std::int64_t rows, std::int64_t cols) {
    std::vector<std::int64_t> shape{rows, cols};
    half_matrix out;
    for (const std::uint16_t bits : values<std::uint16_t>(file, shape)) out.values.push_back({bits});
    out.rows = shape[0];
    out.cols = shape[1];
    return out;
  }

  std::vector<float> widened(const std::string& file, std::vector<std::int64_t>& shape) {
    std::vector<float> out;
    for (const std::uint16_t bits : values<std::uint16_t>(file, shape))
      out.push_back(resonance::row_traits<resonance::float16>::widen({bits}));
    return out;
  }

 private:
  std::string folder_;
  std::string fault_;
};

}  // namespace

std::string load(const std::string& folder, recording& out) {
  reader files(folder);
  std::int64_t tokens = -1;
  std::int64_t hidden = -1;
  std::int64_t experts = -1;
  for (int i = 0; i < recording::layers; ++i) {
    const std::string layer = "layer" + std::to_string(i);
    out.inputs[i].hidden = files.matrix(layer + "_hidden.npy", tokens, hidden);
    tokens = out.inputs[i].hidden.rows;
    hidden = out.inputs[i].hidden.cols;
    out.inputs[i].gate = files.matrix(layer + "_gate.npy", experts, hidden);
    experts = out.inputs[i].gate.rows;
  }
  files.require(tokens > 0 && hidden > 0, "layer0_hidden.npy", "holds no tokens");
  files.require(experts >= recording::top_k && experts <= hidden, "layer0_gate.npy",
                "must hold from 2 to as many experts as a token has features");

  const std::string layer = "layer" + std::to_string(recording::answered_layer);
  std::vector<std::int64_t> w1_shape{experts, hidden, -1};
  out.w1 = files.widened(layer + "_w1.npy", w1_shape);
  out.expert_width = w1_shape[2];
  std::vector<std::int64_t> w2_shape{experts, out.expert_width, hidden};
  out.w2 = files.widened(layer + "_w2.npy", w2_shape);
  out.topk_ids = files.values<std::int32_t>(layer + "_topk_ids.npy", {tokens, recording::top_k});
  out.topk_weights = files.values<float>(layer + "_topk_weights.npy", {tokens, recording::top_k});
  out.output = files.values<float>(layer + "_output.npy", {tokens, hidden});
  out.source = files.values<std::uint8_t>("source.npy", {tokens});
  for (const std::uint8_t kind : out.source)
    files.require(kind < std::size(source_names), "source.npy", "holds a number that stands for no source");
  return files.fault();
}

}  // namespace demo
