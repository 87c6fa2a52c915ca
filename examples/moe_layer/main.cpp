// SPDX-License-Identifier: Apache-2.0
// Routes the recorded layers of a trained mixture-of-experts model: (a) as the model does, down to the layer's output;
// (b) by expert-token resonance. Exits non-zero where (a) is not reproduced or (b) contradicts itself.
#include <cstdio>
#include <cstdlib>
#include <string>
#include <thread>
#include <vector>

#include <resonance/core/executor_threads.hpp>

#include "recording.hpp"
#include "report.hpp"

namespace {

struct options {
  std::string data = RESONANCE_EXAMPLE_DATA_DIR;
  std::string svg = "moe_layer.svg";
  int threads = static_cast<int>(std::thread::hardware_concurrency());
  bool help = false;
};

constexpr const char* usage =
    "usage: moe_layer [--data DIR] [--svg FILE] [--threads N] [--help]\n"
    "  --data DIR     folder of the recorded layers, default: examples/data of the source tree\n"
    "  --svg FILE     where to write the picture, default: moe_layer.svg\n"
    "  --threads N    worker threads, 1 to 1024, default: one per processor\n";

//! Returns "" or one line about the argument that makes no sense.
std::string parse(int count, char** arguments, options& out) {
  for (int i = 1; i < count; ++i) {
    const std::string name = arguments[i];
    if (name == "--help") {
      out.help = true;
      continue;
    }
    if (name != "--data" && name != "--svg" && name != "--threads") return name + ": unknown option, see --help";
    if (++i == count) return name + ": needs a value";
    const std::string value = arguments[i];
    if (name == "--data") {
      out.data = value;
    } else if (name == "--svg") {
      out.svg = value;
    } else {
      char* end = nullptr;
      const long threads = std::strtol(value.c_str(), &end, 10);
      if (value.empty() || *end != '\0' || threads < 1 || threads > 1024)
        return "--threads: want a number from 1 to 1024, found '" + value + "'";
      out.threads = static_cast<int>(threads);
    }
  }
  return {};
}

int fail(const std::string& fault, int code) {
  std::fprintf(stderr, "moe_layer: %s\n", fault.c_str());
  return code;
}

}  // namespace

int main(int argc, char** argv) {
  options o;
  if (const std::string fault = parse(argc, argv, o); !fault.empty()) return fail(fault, 2);
  if (o.help) {
    std::fputs(usage, stdout);
    return 0;
  }
  demo::recording data;
  if (const std::string fault = demo::load(o.data, data); !fault.empty()) return fail(fault, 1);
  const resonance::thread_pool pool(o.threads);
  std::printf("Recorded router input: %d layers, %lld tokens, hidden size %lld, %d experts; worker threads: %d\n\n",
              demo::recording::layers, static_cast<long long>(data.tokens()), static_cast<long long>(data.hidden()),
              data.experts(), pool.workers());

  const demo::model_layer_result model = demo::run_model_layer(data, pool);
  demo::print_model_layer(data, model);

  std::vector<demo::layer_results> layers;
  bool sound = true;
  for (const demo::layer_input& input : data.inputs) {
    demo::layer_results& results = layers.emplace_back();
    for (const demo::metric m : demo::metrics) {
      results.push_back(demo::run_resonance(m, input, pool));
      sound = sound && results.back().by_mass.sound && results.back().by_bound.sound;
    }
  }
  demo::print_resonance(data, layers);

  const std::string fault = demo::write_picture(o.svg, data, layers[demo::recording::answered_layer]);
  if (!fault.empty()) return fail(fault, 1);
  std::printf("\nPicture: %s\n", o.svg.c_str());
  if (!model.reproduced()) return fail("(a) does not reproduce what the model recorded", 1);
  if (!sound) return fail("(b) gave a plan that its own counts contradict", 1);
  return 0;
}
